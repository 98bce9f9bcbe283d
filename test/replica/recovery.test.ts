import { describe, expect, it } from 'vitest'
import { notificationsOf } from '../../src/replica/output.ts'
import { defaultLimits, defaultTiming } from '../../src/replica/configuration.ts'
import type { Recovered } from '../../src/replica/recovered.ts'
import { Replica } from '../../src/replica/replica.ts'
import { sizeOf, type Update } from '../../src/replica/update.ts'
import { makeOrigin, type Origin } from '../../src/replica/version.ts'
import { buildUpdate, originOf, versionOf } from './update-builder.ts'

const emptyFolder: Recovered = {
  keys: [],
  rows: [],
  sessions: [],
  applied: new Map(),
  checkpoint: 0,
  log: [],
  logEnd: 0,
  logFloor: new Map(),
}

function logged(...updates: readonly Update[]): Pick<Recovered, 'log' | 'logEnd'> {
  const log = updates.map((update, position) => ({ position, entry: { update, bytes: sizeOf(update) } }))
  return { log, logEnd: updates.length }
}

/** The second run of server 1. */
function restart(recovered?: Recovered): Replica {
  const origin = makeOrigin({ server: '1', incarnation: 'b' })
  return new Replica({ server: '1', origin, limits: defaultLimits, timing: defaultTiming }, recovered)
}

function meet(replica: Replica, applied: Readonly<Record<string, number>>) {
  const cut = new Map(Object.entries(applied) as [Origin, number][])
  return replica.step({ kind: 'linkUp', peer: '2', origin: originOf('2'), applied: cut }).events
}

describe('a replica that starts with what a disk has kept', () => {
  it('goes on where the log ends, under a new origin that follows all of it (R2, R7)', () => {
    const first = buildUpdate({ server: '1', timestamp: 1, key: 'x' })
    const second = buildUpdate({ server: '2', timestamp: 2, needs: { '1': 1 }, key: 'y' })
    const replica = restart({ ...emptyFolder, ...logged(first, second) })
    expect(replica.clock).toBe(2)
    const request = { method: 'write', writes: [{ key: 'z', value: 1 }] } as const
    const [entry] = replica.step({ kind: 'request', client: 1, id: 1, request }).persist
    expect(entry?.update).toMatchObject({
      origin: '1~b',
      timestamp: 3,
      previous: 0,
      dependencies: { '1~a': 1, '2~a': 2 },
    })
  })

  it('enters no cut before it writes, so idle restarts cost nothing (R7)', () => {
    const replica = restart({ ...emptyFolder, ...logged(buildUpdate({ server: '1', timestamp: 1 })) })
    expect([...replica.applied.keys()]).toEqual([originOf('1')])
  })

  it('applies an update of the log only to those of its keys that were kept before it (R6)', () => {
    const older = buildUpdate({ server: '1', timestamp: 1, key: 'x' })
    const both = buildUpdate({
      server: '2',
      timestamp: 2,
      writes: [
        { key: 'x', value: 'theirs' },
        { key: 'y', value: 'theirs' },
      ],
    })
    const newest = buildUpdate({ server: '3', timestamp: 3, needs: { '1': 1, '2': 2 }, key: 'x' })
    const replica = restart({
      ...emptyFolder,
      ...logged(older, both, newest),
      // `x` was written to the disk after all three, `y` before the second.
      keys: [{ key: 'x', position: 3, siblings: [{ version: versionOf('3', 3), value: '3@3' }] }],
      checkpoint: 1,
      applied: new Map([[originOf('1'), 1]]),
    })
    expect([...replica.entries()]).toEqual([
      ['x', [{ version: versionOf('3', 3), value: '3@3' }]],
      ['y', [{ version: versionOf('2', 2), value: 'theirs' }]],
    ])
  })

  it('tells a watch from the start each update once, its keys together and in causal order (R11)', () => {
    const both = buildUpdate({
      server: '2',
      timestamp: 2,
      writes: [
        { key: 'a', value: 1 },
        { key: 'z', value: 1 },
      ],
    })
    const replica = restart({
      ...emptyFolder,
      log: [{ position: 7, entry: { update: both, bytes: 100 } }],
      logEnd: 8,
      logFloor: new Map([[originOf('1'), 1]]),
      keys: [
        { key: 'a', position: 8, siblings: [{ version: versionOf('2', 2), value: 1 }] },
        { key: 'b', position: 5, siblings: [{ version: versionOf('1', 1), value: 'before the log' }] },
      ],
      checkpoint: 7,
      applied: new Map([[originOf('1'), 1]]),
    })
    replica.step({
      kind: 'request',
      client: 1,
      id: 1,
      request: { method: 'watch', prefix: '', since: 'start' },
    })
    const told = [...notificationsOf(replica.step({ kind: 'tick', nowMs: 1 }))]
    expect(told).toMatchObject([
      { kind: 'update', version: versionOf('1', 1), writes: [{ key: 'b' }] },
      { kind: 'update', version: versionOf('2', 2), writes: [{ key: 'a' }, { key: 'z' }] },
      { kind: 'caughtUp' },
    ])
  })
})

describe('a peer that has more of an earlier run than the folder', () => {
  it('is told to the operator: the folder is restored, copied or new (R7)', () => {
    const recovered = { ...emptyFolder, ...logged(buildUpdate({ server: '1', timestamp: 1 })) }
    expect(meet(restart(recovered), { '1~a': 9 })).toEqual([
      { kind: 'restored', peer: '2', origin: '1~a', here: 1, there: 9, others: 0 },
    ])
    expect(meet(restart(emptyFolder), { '1~a': 9 })).toMatchObject([{ kind: 'restored', here: 0, there: 9 }])
  })

  it('is told in one sentence, however many runs there were (R7)', () => {
    const events = meet(restart(emptyFolder), { '1~x': 3, '1~y': 9, '1~z': 5 })
    expect(events).toEqual([{ kind: 'restored', peer: '2', origin: '1~y', here: 0, there: 9, others: 2 }])
  })

  it('is told once, and again only where another has yet more (R7)', () => {
    const replica = restart(emptyFolder)
    meet(replica, { '1~a': 9 })
    const cut = (there: number) =>
      replica.step({
        kind: 'message',
        from: '2',
        message: { kind: 'cut', entries: new Map([[originOf('1'), there]]) },
      }).events
    expect(cut(9)).toEqual([])
    expect(cut(10)).toMatchObject([{ kind: 'restored', here: 9, there: 10 }])
  })

  it('is nothing to tell where the folder has as much, where there is none, or of other servers (R7)', () => {
    const recovered = { ...emptyFolder, ...logged(buildUpdate({ server: '1', timestamp: 1 })) }
    expect(meet(restart(recovered), { '1~a': 1, '2~a': 5 })).toEqual([])
    expect(meet(restart(), { '1~a': 9 })).toEqual([])
  })
})
