import { describe, expect, it } from 'vitest'
import type { JsonValue, Update } from '../../src/replica/update.ts'
import { Mesh } from '../replica/mesh.ts'

/** What a server ends with that keeps whichever write of a key came to it last. */
function lastToArrive(applications: readonly Update[], key: string): JsonValue | undefined {
  return applications.flatMap(({ writes }) => writes).findLast((write) => write.key === key)?.value
}

describe('two servers that took writes to one key without knowing of each other', () => {
  it('KeyDB #366: after a split both servers keep different values — here both end with the version that is highest (R4)', () => {
    const mesh = new Mesh({ servers: ['20000', '21000'] })
    mesh.connectAll()
    mesh.settle()
    mesh.disconnect('20000', '21000')
    mesh.write('20000', 'b', 'b2')
    mesh.write('21000', 'b', 'b1')
    const highest = mesh.write('20000', 'b', 'b3')
    mesh.run(1_000)
    // Both did take writes, and neither knows of the other's.
    expect(mesh.read('20000', 'b')).toBe('b3')
    expect(mesh.read('21000', 'b')).toBe('b1')

    mesh.connectAll()
    mesh.run(1_000)
    // Control: these servers got the writes in orders in which the last to arrive leaves them with each other's value.
    expect(lastToArrive(mesh.applications('20000'), 'b')).toBe('b1')
    expect(lastToArrive(mesh.applications('21000'), 'b')).toBe('b3')

    expect(mesh.state('20000')).toEqual(mesh.state('21000'))
    for (const id of mesh.ids) {
      const { winner, conflicts } = mesh.answer(id, 'read', { method: 'read', keys: ['b'] }).values[0] ?? {}
      expect(winner).toMatchObject({ value: 'b3', version: { timestamp: highest.timestamp } })
      // And the write that lost is not gone (R5).
      expect(conflicts?.map(({ value }) => value)).toEqual(['b1'])
    }
  })

  it('KeyDB #366: of two keys that were set in opposite orders while split each is swapped — here both servers agree on both, and on which writes lost (R4, R5)', () => {
    const mesh = new Mesh({ servers: ['A', 'B'] })
    mesh.connectAll()
    mesh.settle()
    mesh.disconnect('A', 'B')
    // `ab` is set on A and then on B, `ba` the other way round.
    mesh.write('A', 'ab', 'a')
    mesh.write('B', 'ab', 'b')
    mesh.write('B', 'ba', 'b')
    mesh.write('A', 'ba', 'a')
    for (const key of ['ab', 'ba']) {
      expect(mesh.read('A', key)).toBe('a')
      expect(mesh.read('B', key)).toBe('b')
    }
    mesh.connectAll()
    mesh.run(1_000)
    // Control: by arrival, A would have all of B's values, and B all of A's.
    for (const key of ['ab', 'ba']) {
      expect(lastToArrive(mesh.applications('A'), key)).toBe('b')
      expect(lastToArrive(mesh.applications('B'), key)).toBe('a')
    }
    expect(mesh.state('A')).toEqual(mesh.state('B'))
    for (const key of ['ab', 'ba']) {
      const [kept, lost] = mesh.replica('A').siblingsOf(key) ?? []
      expect(new Set([kept?.value, lost?.value])).toEqual(new Set(['a', 'b']))
      expect(mesh.read('B', key)).toBe(kept?.value)
    }
  })

  it('KeyDB #247: two writes that cross leave each server with the value of the other, because their clocks differ — here no clock is asked, and one of the two wins on both (R1, R4)', () => {
    const mesh = new Mesh({ servers: ['Host1', 'Host2'] })
    mesh.connectAll()
    mesh.settle()
    // Host2's clock is an hour ahead.
    mesh.step('Host2', { kind: 'tick', nowMs: mesh.nowMs + 3_600_000 })
    const [first, second] = [
      mesh.write('Host1', 'thehostname', 'Host1'),
      mesh.write('Host2', 'thehostname', 'Host2'),
    ]
    // They were taken at the same moment, and are on their way to each other.
    expect(first.timestamp).toBe(second.timestamp)
    for (const [from, to] of [
      ['Host1', 'Host2'],
      ['Host2', 'Host1'],
    ] as const) {
      expect(mesh.queued(from, to).filter(({ kind }) => kind === 'updates')).toHaveLength(1)
      expect(mesh.read(from, 'thehostname')).toBe(from)
    }
    mesh.settle()
    // Control: by arrival they are reversed.
    expect(lastToArrive(mesh.applications('Host1'), 'thehostname')).toBe('Host2')
    expect(lastToArrive(mesh.applications('Host2'), 'thehostname')).toBe('Host1')

    expect(mesh.state('Host1')).toEqual(mesh.state('Host2'))
    expect(mesh.read('Host1', 'thehostname')).toBe('Host2')
    // Nobody wanted either to win in silence (R5).
    const { keys } = mesh.answer('Host1', 'conflicts', { method: 'conflicts', prefix: '' })
    expect(keys.map(({ versions }) => versions.map(({ value }) => value))).toEqual([['Host2', 'Host1']])
  })
})
