import { describe, expect, it } from 'vitest'
import type { Output } from '../../src/replica/output.ts'
import { Replica } from '../../src/replica/replica.ts'
import { defaultLimits, defaultTiming } from '../../src/replica/configuration.ts'
import type { Update } from '../../src/replica/update.ts'
import { makeOrigin, type Origin } from '../../src/replica/version.ts'
import { Random } from '../durability/random.ts'
import { Chronicle, Witness } from './chronicle.ts'
import { noFaults } from './faults.ts'
import { SimulatedDisk } from './simulated-disk.ts'
import { SimulatedProcess } from './simulated-process.ts'
import { Sometimes } from './sometimes.ts'
import { Violations } from './violations.ts'
import { WatchAudit } from './watch-audit.ts'
import { drawWorkload } from './workload.ts'
import { World } from './world.ts'

/**
 * The observers, shown what they are there to see: a simulator whose observers see nothing proves nothing.
 */
const west = makeOrigin({ server: '1', incarnation: 'a' })
const east = makeOrigin({ server: '2', incarnation: 'a' })

const lost: Update = {
  origin: west,
  timestamp: 1,
  previous: 0,
  dependencies: {},
  writes: [{ key: 'x', value: 'lost' }],
}
const found: Update = {
  origin: west,
  timestamp: 2,
  previous: 1,
  dependencies: {},
  writes: [{ key: 'y', value: 'found' }],
}
const glad: Update = {
  origin: east,
  timestamp: 3,
  previous: 0,
  dependencies: { [west]: 2 },
  writes: [{ key: 'x', value: 'glad' }],
}

/** Two processes that have done everything right: 1 wrote `lost` and `found`, and 2 answered with `glad`. */
function twoWitnesses(): { chronicle: Chronicle; violations: Violations; third: Witness } {
  const violations = new Violations()
  const chronicle = new Chronicle(violations)
  const witness = (origin: Origin): Witness =>
    new Witness({ who: origin, origin, chronicle, violations, view: [] })
  witness(west).step(applying(lost, found), holding(lost, found))
  witness(east).step(applying(lost, found, glad), holding(lost, found, glad))
  expect(violations.found).toEqual([])
  return { chronicle, violations, third: witness(makeOrigin({ server: '3', incarnation: 'a' })) }
}

/** What a step that applies these says. */
function applying(...updates: Update[]): Output {
  const persist = updates.map((update) => ({ update, bytes: 1 }))
  return {
    persist,
    stage: [],
    send: [],
    broadcast: [],
    notify: [],
    reply: [],
    refuse: [],
    events: [],
    awaitDrain: [],
    more: false,
  }
}

/** A replica that has applied these. */
function holding(...updates: Update[]): Replica {
  const origin = makeOrigin({ server: '9', incarnation: 'a' })
  const replica = new Replica({ server: '9', origin, limits: defaultLimits, timing: defaultTiming })
  replica.step({ kind: 'message', from: '1', message: { kind: 'updates', updates } })
  return replica
}

describe('a witness', () => {
  it('sees an effect that is applied before its cause (R3)', () => {
    const { third, violations } = twoWitnesses()
    third.step(applying(lost, glad), holding(lost, found, glad))
    expect(violations.found).toContain(`R3: 3~a applied 3@${east} before its cause 2@${west}`)
  })

  it('sees an update that is applied twice, and one that is passed over (R3)', () => {
    const { third, violations } = twoWitnesses()
    third.step(applying(lost, lost), holding(lost))
    expect(violations.found[0]).toBe(`R3: 3~a applied 1@${west} twice`)
    const other = twoWitnesses()
    other.third.step(applying(found), holding(lost, found))
    expect(other.violations.found[0]).toBe(`R3: 3~a applied 2@${west} before an earlier one of its origin`)
  })

  it('sees an update that nobody issued, and one whose contents have changed (R1)', () => {
    const { third, violations } = twoWitnesses()
    third.step(applying({ ...lost, writes: [{ key: 'x', value: 'other' }] }), holding(lost))
    expect(violations.found[0]).toContain('with other contents than were issued')
    third.step(applying({ ...found, timestamp: 7 }), holding(lost))
    expect(violations.found.at(-1)).toContain('which nobody issued')
  })

  it('sees a key that holds too little, or too much (R5)', () => {
    const { third, violations } = twoWitnesses()
    third.step(applying(lost, found, glad), holding(lost, found))
    expect(violations.found[0]).toBe(`R5: 3~a holds [1@${west}] of x, where the siblings are [3@${east}]`)
  })

  it('sees a stamp that is not one above all that was applied, and dependencies that are not all (R1, R2)', () => {
    const { chronicle, violations } = twoWitnesses()
    const origin = makeOrigin({ server: '3', incarnation: 'a' })
    const own: Update = {
      origin,
      timestamp: 9,
      previous: 0,
      dependencies: {},
      writes: [{ key: 'z', value: 1 }],
    }
    chronicle.apply('3~a', origin, [2], own)
    expect(violations.found).toEqual([
      'R1: 3~a stamped 9@3~a, and its clock was 2',
      `R2: 9@3~a depends on {}, not on {"${west}":2}`,
    ])
  })

  it('sees a request that is carried out twice (R10)', () => {
    const { chronicle, violations } = twoWitnesses()
    const request = { session: 'alice', number: 1 }
    const view = [2, 1]
    const first: Update = { ...glad, timestamp: 4, previous: 3, dependencies: {}, request }
    chronicle.apply(east, east, view, first)
    chronicle.apply(east, east, view, { ...first, timestamp: 5, previous: 4 })
    expect(violations.found).toEqual([`R10: request alice 1 was carried out as 4@${east} and 5@${east}`])
  })
})

describe('an audit of a watch', () => {
  function watched(): {
    world: World
    audit: WatchAudit
    tell: (...updates: Update[]) => void
    bookmark: (...cut: [Origin, number][]) => void
  } {
    const random = new Random(1)
    const workload = drawWorkload(random)
    const world = new World({
      random,
      faults: noFaults,
      workload,
      sometimes: new Sometimes(),
      trace: undefined,
    })
    for (const [origin, updates] of [
      [west, [lost, found]],
      [east, [lost, found, glad]],
    ] as const) {
      const view: number[] = []
      for (const update of updates) world.chronicle.apply(origin, origin, view, update)
    }
    const audit = new WatchAudit({ name: 'alice', world, prefix: '', since: 'start' })
    audit.began({ method: 'watch', watch: 1, applied: new Map() })
    const at = { client: 1, watch: 1 } as const
    return {
      world,
      audit,
      tell: (...updates) => {
        for (const update of updates) {
          audit.notified(
            { ...at, kind: 'update', version: update, writes: update.writes, conflict: [] },
            () => {},
          )
        }
      },
      bookmark: (...cut) => audit.notified({ ...at, kind: 'caughtUp', applied: new Map(cut) }, () => {}),
    }
  }

  it('finds nothing wrong with one that is told everything once, causes first (R11)', () => {
    const { world, tell, bookmark } = watched()
    tell(lost, found, glad)
    bookmark([west, 2], [east, 3])
    expect(world.violations.found).toEqual([])
  })

  it('sees what is told twice, and after its effect (R11)', () => {
    const { world, tell } = watched()
    tell(lost, lost)
    expect(world.violations.found[0]).toBe(`R11: the watch of alice: it was told 1@${west} twice`)
    const other = watched()
    other.tell(lost, glad, found)
    expect(other.world.violations.found[0]).toContain('after something that depends on it')
  })

  it('sees a bookmark over what was never told (R11)', () => {
    const { world, tell, bookmark } = watched()
    tell(lost)
    bookmark([west, 2])
    expect(world.violations.found[0]).toContain(`a bookmark covers 2@${west}, which it was never told`)
  })

  it('sees a beginning anew that nothing was lost for (R11)', () => {
    const { world, audit, tell } = watched()
    const disk = new SimulatedDisk({ time: world.time, random: world.random, observer: world, commitMs: 1 })
    world.idleDisks.set(disk, '1')
    world.durableOf(disk).push(2)
    const other = new SimulatedProcess(world, { ...memoryServer, id: '2', port: 2 })
    other.knownServers = ['1']
    world.processes.add(other)
    tell(lost)
    audit.notified({ client: 1, watch: 1, kind: 'resync' }, () => {})
    expect(world.violations.found).toHaveLength(1)
  })
})

const memoryServer = {
  incarnation: 'a',
  durability: 'memory',
  disk: undefined,
  peers: [],
  diskFailed: () => {},
} as const
