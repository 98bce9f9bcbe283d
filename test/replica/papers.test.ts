import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareVersions } from '../../src/replica/version.ts'
import { outcomesOf, type Program } from './litmus.ts'
import { Mesh } from './mesh.ts'
import { Model } from './model.ts'
import { versionOf } from './update-builder.ts'

describe('Lamport 1978, “Time, Clocks, and the Ordering of Events in a Distributed System”', () => {
  /** A mesh after a random history of writes and deliveries, with the model that looked on. */
  const histories = fc
    .array(fc.tuple(fc.nat(2), fc.nat(2), fc.boolean()), { maxLength: 60, size: 'max' })
    .map((moves) => {
      const model = new Model()
      const mesh = new Mesh({ servers: ['1', '2', '3'], observe: (id, output) => model.observe(id, output) })
      mesh.connectAll()
      for (const [from, to, isWrite] of moves) {
        if (isWrite) mesh.write(`${from + 1}`, 'x', to)
        else mesh.deliver(`${from + 1}`, `${to + 1}`)
      }
      return { mesh, model }
    })

  it('IR1, “Logical Clocks”: a process increments its clock between any two successive events', () => {
    fc.assert(
      fc.property(histories, ({ mesh }) => {
        for (const id of mesh.ids) {
          const own = mesh.applications(id).filter(({ origin }) => origin === mesh.originOf(id))
          for (const [index, update] of own.entries()) {
            expect(update.timestamp).toBeGreaterThan(own[index - 1]?.timestamp ?? 0)
            expect(update.previous).toBe(own[index - 1]?.timestamp ?? 0)
          }
        }
      }),
    )
  })

  it('IR2, “Logical Clocks”: on receiving a message a process sets its clock to at least its timestamp', () => {
    fc.assert(
      fc.property(histories, ({ mesh }) => {
        for (const id of mesh.ids) {
          const applied = mesh.applications(id)
          for (const [index, update] of applied.entries()) {
            const received = Math.max(0, ...applied.slice(0, index).map(({ timestamp }) => timestamp))
            const isOwn = update.origin === mesh.originOf(id)
            // Its own event comes after all that it has received, and is stamped above it.
            expect(isOwn ? update.timestamp : received + 1).toBe(received + 1)
          }
          expect(mesh.replica(id).clock).toBe(Math.max(0, ...applied.map(({ timestamp }) => timestamp)))
        }
      }),
    )
  })

  it('the Clock Condition, “Logical Clocks”: if a → b then C(a) < C(b)', () => {
    let causeCount = 0
    fc.assert(
      fc.property(histories, ({ model }) => {
        for (const b of model.updates) {
          const causes = model.updates.filter((a) => model.happenedBefore(a, b))
          causeCount += causes.length
          expect(causes.filter((a) => a.timestamp >= b.timestamp)).toEqual([])
        }
      }),
    )
    expect(causeCount).toBeGreaterThan(1_000)
  })

  it('and not its converse: of two concurrent events one may have the lower timestamp', () => {
    const model = new Model()
    const mesh = new Mesh({ servers: ['1', '2'], observe: (id, output) => model.observe(id, output) })
    const a = mesh.write('1', 'x', 'a')
    mesh.write('2', 'y', 'before b')
    const b = mesh.write('2', 'x', 'b')
    expect(a.timestamp).toBeLessThan(b.timestamp)
    expect([model.happenedBefore(a, b), model.happenedBefore(b, a)]).toEqual([false, false])
  })

  it('the relation ⇒, “Ordering the Events Totally”: all events in one order, which extends →', () => {
    fc.assert(
      fc.property(histories, ({ model }) => {
        const ordered = model.updates.toSorted(compareVersions)
        for (const [index, a] of ordered.entries()) {
          for (const b of ordered.slice(index + 1)) {
            expect(compareVersions(a, b)).toBeLessThan(0)
            expect(model.happenedBefore(b, a)).toBe(false)
          }
        }
      }),
    )
  })
})

describe('Lloyd et al. 2011, “Don’t Settle for Eventual” (COPS), section 3: causal+ consistency', () => {
  it('execution thread: of two operations of one process the first comes before the second, everywhere', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.connectAll()
    mesh.write('1', 'x', 'lost')
    mesh.write('1', 'y', 'found')
    mesh.settle()
    expect(mesh.applications('2').map(({ writes }) => writes[0]?.key)).toEqual(['x', 'y'])
  })

  it('gets from: what was written after a value was read comes after that value', () => {
    expect(outcomesOf([['w x photo'], ['r x', 'w y album'], ['r y', 'r x']])).not.toContain('photo | album -')
  })

  it('transitivity: the ring. Nobody who reads “glad” finds the ring still lost', () => {
    // Alice at 1 has lost her ring, and found it; Bob at 2 reads that and is glad; Carol is at 3.
    const outcomes = outcomesOf([
      ['w ring lost', 'w ring found'],
      ['r ring', 'w answer glad'],
      ['r answer', 'r ring'],
    ])
    expect(outcomes).toContain('found | glad found')
    expect(outcomes).not.toContain('found | glad lost')
    expect(outcomes).not.toContain('found | glad -')
    // Had Bob been glad of the loss, Carol could see that.
    expect(outcomes).toContain('lost | glad lost')
  })

  it('the same ring with three keys: x lost, y found, z glad, and the news of the finding late', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connectAll()
    mesh.write('1', 'x', 'lost')
    mesh.settle()
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.settle()
    expect(mesh.read('2', 'y')).toBe('found')
    mesh.write('2', 'z', 'glad')
    mesh.settle()
    expect(['x', 'y', 'z'].map((key) => mesh.read('3', key))).toEqual(['lost', undefined, undefined])
    expect(mesh.answer('3', 'waiting', { method: 'waiting' }).waiting).toMatchObject([
      { keys: ['z'], waitsFor: [versionOf('1', 2)] },
    ])
    mesh.release('1', '3')
    mesh.settle()
    expect(['x', 'y', 'z'].map((key) => mesh.read('3', key))).toEqual(['lost', 'found', 'glad'])
    expect(mesh.state('3')).toEqual(mesh.state('1'))
    expect(mesh.state('3')).toEqual(mesh.state('2'))
  })

  it('convergent conflict handling: conflicting writes are handled in the same manner everywhere', () => {
    const outcomes = outcomesOf([
      ['w x one', 'r x'],
      ['w x two', 'r x'],
    ])
    // Each may read its own before the other's has come, and either may have seen the other's before it wrote.
    // What cannot be is that each gives up its own for the other's.
    expect([...outcomes].toSorted()).toEqual(['one | one', 'one | two', 'two | two'])
  })
})

/**
 * Histories by the definition of Ahamad, Neiger, Burns, Kohli and Hutto 1995, “Causal memory: definitions,
 * implementation, and programming”: the causality order is the transitive closure of program order and of
 * writes-into order, and no read may return a value that this order has overwritten.
 *
 * This store gives more: all servers order concurrent writes to one key alike (R4). So of the histories that causal
 * memory allows, those are possible here that agree on such an order, and the others are not.
 */
describe('Ahamad et al. 1995, “Causal memory”: histories that are not causal cannot happen', () => {
  const impossible: readonly { title: string; programs: readonly Program[]; outcome: string }[] = [
    {
      title: 'a process that does not find its own write',
      programs: [['w x 1', 'r x'], ['r x']],
      outcome: '- | -',
    },
    {
      title: 'a process that sees the later of two writes of another, and then not the earlier',
      programs: [
        ['w x 1', 'w y 2'],
        ['r y', 'r x'],
      ],
      outcome: '2 -',
    },
    {
      title: 'a process that goes back from a value to the one that it overwrote',
      programs: [
        ['w x 1', 'w x 2'],
        ['r x', 'r x'],
      ],
      outcome: '2 1',
    },
    {
      title: 'an effect without its cause, over a third process',
      programs: [['w x 1'], ['r x', 'w y 2'], ['r y', 'r x']],
      outcome: '1 | 2 -',
    },
    {
      title: 'two reads of values that each depend on the other',
      programs: [
        ['r x', 'w y 1'],
        ['r y', 'w x 1'],
      ],
      outcome: '1 | 1',
    },
    {
      title:
        'two processes that disagree on writes to one key of which the second depends on the first (Tanenbaum 1995, ' +
        '“Distributed Operating Systems”, section 6.3.3)',
      programs: [['w x 1'], ['r x', 'w x 2'], ['r x', 'r x'], ['r x', 'r x']],
      outcome: '1 | 2 1 | 1 2',
    },
  ]
  it.each(impossible.map(({ title, ...rest }) => [title, rest] as const))(
    '%s',
    (_, { programs, outcome }) => {
      const outcomes = outcomesOf(programs)
      expect(outcomes.size).toBeGreaterThan(1)
      expect(outcomes).not.toContain(outcome)
    },
  )
})

describe('Ahamad et al. 1995, “Causal memory”: histories that are causal and not sequentially consistent', () => {
  it('happen here: two processes that each write and do not yet see the other’s write', () => {
    expect(
      outcomesOf([
        ['w x 1', 'r y'],
        ['w y 1', 'r x'],
      ]),
    ).toContain('- | -')
  })

  it('happen here: two readers that see two independent writes in different orders', () => {
    expect(outcomesOf([['w x 1'], ['w y 1'], ['r x', 'r y'], ['r y', 'r x']])).toContain('1 - | 1 -')
  })

  it('do not happen here where they would never converge: readers that disagree on concurrent writes to one key', () => {
    // Causal memory lets one reader see 1 then 2, and the other 2 then 1; here one of them is the winner (R4).
    const outcomes = outcomesOf([['w x 1'], ['w x 2'], ['r x', 'r x'], ['r x', 'r x']])
    expect(outcomes).toContain('1 2 | 1 2')
    expect(outcomes).not.toContain('1 2 | 2 1')
    expect(outcomes).not.toContain('2 1 | 1 2')
  })

  it('do not happen here where each of two writers would end with the other’s value (R4)', () => {
    expect(
      outcomesOf([
        ['w x 1', 'r x'],
        ['w x 2', 'r x'],
      ]),
    ).not.toContain('2 | 1')
  })
})
