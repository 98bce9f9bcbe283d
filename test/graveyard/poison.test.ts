import { describe, expect, it } from 'vitest'
import type { Update } from '../../src/replica/update.ts'
import { Mesh } from '../replica/mesh.ts'
import { buildUpdate } from '../replica/update-builder.ts'

/** A clock as Lamport's rules have it for those who can be trusted: it takes over whatever is ahead of it. */
class TrustingClock {
  #time = 0

  receive(timestamp: number): void {
    this.#time = Math.max(this.#time, timestamp)
  }

  next(): number {
    return ++this.#time
  }
}

function malicious(timestamp: number): Update {
  return buildUpdate({ server: '3', timestamp, writes: [{ key: 'x', value: 'mine, for ever' }] })
}

describe('a writer that invents timestamps', () => {
  it('OrbitDB #512: one entry with the clock 2^54 ends the ordering of all later ones — here it is refused, no clock moves, and its sender is told the rule (R1)', () => {
    // Control: above 2^53 one more is the same, so that no two later writes differ.
    const trusting = new TrustingClock()
    trusting.receive(2 ** 54)
    expect(trusting.next()).toBe(trusting.next())

    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connectAll()
    mesh.write('1', 'x', 'honest')
    mesh.settle()
    for (const timestamp of [2 ** 54, Number.MAX_SAFE_INTEGER, 3]) {
      const { refuse } = mesh.step('1', {
        kind: 'message',
        from: '3',
        message: { kind: 'updates', updates: [malicious(timestamp)] },
      })
      expect(refuse).toMatchObject([
        { peer: '3', reason: expect.stringContaining(`${timestamp}@3 (x) is refused`) },
      ])
      expect(mesh.replica('1').clock).toBe(1)
    }
    // Nor does it help to wait for something that is to come, and then be too far ahead.
    mesh.step('1', {
      kind: 'message',
      from: '3',
      message: {
        kind: 'updates',
        updates: [{ ...malicious(1_000), dependencies: { [mesh.originOf('2')]: 2 } }],
      },
    })
    expect(mesh.answer('1', 'status', { method: 'status' }).status.waiting).toBe(1)
    mesh.write('2', 'y', 'what it waited for')
    mesh.settle()
    expect(mesh.refusals('1').at(-1)).toMatchObject({ peer: '3', reason: expect.stringContaining('1000@3') })

    expect(mesh.read('1', 'x')).toBe('honest')
    const after = [mesh.write('1', 'x', 'honest 3'), mesh.write('1', 'x', 'honest 4')]
    expect(after.map(({ timestamp }) => timestamp)).toEqual([3, 4])
    mesh.settle()
    expect(mesh.read('2', 'x')).toBe('honest 4')
  })

  it('OrbitDB #512: a writer puts its entry wherever it likes in the order — here one that hides what it has seen is concurrent to it, loses to it, and is listed as a conflict (R1, R4, R5)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connectAll()
    for (let count = 1; count <= 5; count++) mesh.write('1', 'x', count)
    mesh.settle()
    // It is well-formed, and says that its writer had seen nothing.
    mesh.step('1', {
      kind: 'message',
      from: '3',
      message: { kind: 'updates', updates: [malicious(1)] },
    })
    expect(mesh.refusals('1')).toEqual([])
    expect(mesh.read('1', 'x')).toBe(5)
    expect(
      mesh
        .replica('1')
        .siblingsOf('x')
        ?.map(({ value }) => value),
    ).toEqual([5, 'mine, for ever'])
  })
})
