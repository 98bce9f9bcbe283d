import { describe, expect, it } from 'vitest'
import type { Replica } from '../../src/replica/replica.ts'
import type { Update } from '../../src/replica/update.ts'
import type { Version } from '../../src/replica/version.ts'
import { buildUpdate, freshReplica, hand } from './update-builder.ts'

/**
 * R3's cost, counted and not timed. An update with d dependencies is looked at when it arrives and once for each
 * time that it is woken, at most d + 1 times; each look costs one examination of `previous` and one of the dependency
 * that is missing, and each dependency is found met once. So it costs at most 3d + 4 examinations, whatever the
 * order in which n of them come, and n of them cost n times that: never a rescan.
 */
function boundFor(updates: readonly Update[]): number {
  return updates.reduce((sum, update) => sum + 3 * Object.keys(update.dependencies).length + 4, 0)
}

const count = 100_000
const appliedPerStepMax = 1_000

/** Hands over the updates in frames, then lets the replica finish; returns how many each step applied. */
function drain(replica: Replica, updates: readonly Update[]): readonly number[] {
  const slices: number[] = []
  for (let start = 0; start < updates.length; start += 1_000) {
    let output = hand(replica, '1', ...updates.slice(start, start + 1_000))
    slices.push(output.persist.length)
    while (output.more) {
      output = replica.step({ kind: 'continue' })
      slices.push(output.persist.length)
    }
  }
  return slices.filter((applied) => applied > 0)
}

function roomyReplica(): Replica {
  const buffer = { updatesMax: count, bytesMax: count * 400 }
  return freshReplica({ limits: { appliedPerStepMax, buffer } })
}

describe('draining 100,000 waiting updates (R3)', () => {
  it('of a chain that came backwards costs two examinations each', () => {
    const chain = Array.from({ length: count }, (_, index) =>
      buildUpdate({ server: '1', timestamp: index + 1, previous: index }),
    )
    const replica = roomyReplica()
    const slices = drain(replica, chain.toReversed())
    expect(replica.clock).toBe(count)
    expect(replica.examined).toBeLessThanOrEqual(2 * count)
    expect(replica.examined).toBeLessThanOrEqual(boundFor(chain))
    // The last to arrive applies at once, the others in slices.
    expect(Math.max(...slices)).toBeLessThanOrEqual(appliedPerStepMax + 1)
    expect(slices).toHaveLength(count / appliedPerStepMax)
  })

  it('of a star, where all wait for one, costs four examinations each', () => {
    const hub = buildUpdate({ server: 'hub', timestamp: 1 })
    const rays = Array.from({ length: count - 1 }, (_, index) =>
      buildUpdate({ server: `${index}`, timestamp: 2, needs: { hub: 1 }, key: `${index}` }),
    )
    const replica = roomyReplica()
    const slices = drain(replica, [...rays, hub])
    expect(replica.applied.size).toBe(count)
    expect(replica.examined).toBeLessThanOrEqual(4 * count)
    expect(Math.max(...slices)).toBeLessThanOrEqual(appliedPerStepMax + 1)
  })

  it('of a comb, where each of many origins waits for several others, stays within the bound', () => {
    const teeth = 50
    const needsMax = 5
    const comb: Update[] = []
    // Round by round: every origin writes once, having applied the last round's updates of five others.
    for (let round = 0; round < count / teeth; round++) {
      for (let tooth = 0; tooth < teeth; tooth++) {
        const others = Array.from({ length: needsMax }, (_, other) => (tooth + 7 * other + 1) % teeth)
        comb.push(
          buildUpdate({
            server: `${tooth}`,
            timestamp: round + 1,
            previous: round,
            key: `${tooth}`,
            needs: round === 0 ? {} : Object.fromEntries(others.map((other) => [`${other}`, round])),
          }),
        )
      }
    }
    const replica = roomyReplica()
    const slices = drain(replica, comb.toReversed())
    expect(replica.applied.size).toBe(teeth)
    expect(replica.clock).toBe(count / teeth)
    expect(replica.examined).toBeLessThanOrEqual(boundFor(comb))
    expect(Math.max(...slices)).toBeLessThanOrEqual(appliedPerStepMax + teeth)
  })

  it('of one update that is woken a thousand times examines each of its dependencies but three times', () => {
    const needs = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`${index}`, 1]))
    const patient = buildUpdate({ server: 'patient', timestamp: 2, needs })
    const causes = Object.keys(needs).map((server) => buildUpdate({ server, timestamp: 1, key: server }))
    const replica = roomyReplica()
    drain(replica, [patient])
    // Each wakes it, only to wait for the next.
    for (const cause of causes) hand(replica, '1', cause)
    expect(replica.clock).toBe(2)
    expect(replica.examined).toBeLessThanOrEqual(boundFor([patient]) + causes.length)
  })

  it('is not slowed by duplicates: one that waits already, or was applied, is not examined at all', () => {
    const chain = Array.from({ length: 1_000 }, (_, index) =>
      buildUpdate({ server: '1', timestamp: index + 1, previous: index }),
    )
    const replica = roomyReplica()
    const backwards = chain.toReversed()
    drain(replica, [...backwards.slice(0, -1), ...backwards, ...backwards])
    expect(replica.clock).toBe(1_000)
    expect(replica.examined).toBeLessThanOrEqual(2 * 1_000)
  })
})

describe('giving up 100,000 updates that are lost (R3)', () => {
  it('is done in one step, without looking for each among all that wait for the same', () => {
    const replica = roomyReplica()
    const gone: Version = { ...buildUpdate({ server: 'gone', timestamp: 1 }) }
    const orphans = Array.from({ length: count }, (_, index) =>
      buildUpdate({ server: `${index}`, timestamp: 2, needs: { gone: gone.timestamp } }),
    )
    drain(replica, orphans)
    const output = replica.step({ kind: 'tick', nowMs: 60_000 })
    expect(output.events.filter(({ kind }) => kind === 'lost')).toHaveLength(count)
    const { reply } = replica.step({ kind: 'request', client: 1, id: 1, request: { method: 'status' } })
    expect(reply[0]?.result).toMatchObject({ status: { waiting: 0 } })
  })

  it('takes a whole chain with its lost root, in the same step', () => {
    const replica = roomyReplica()
    const chain = Array.from({ length: 10_000 }, (_, index) =>
      buildUpdate({ server: '1', timestamp: index + 2, previous: index + 1 }),
    )
    drain(replica, chain)
    const output = replica.step({ kind: 'tick', nowMs: 60_000 })
    expect(output.events.filter(({ kind }) => kind === 'lost')).toHaveLength(chain.length)
    const { reply } = replica.step({ kind: 'request', client: 1, id: 1, request: { method: 'status' } })
    expect(reply[0]?.result).toMatchObject({ status: { waiting: 0 } })
  })
})
