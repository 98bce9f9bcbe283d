import type { Cut } from '../../src/replica/cut.ts'
import type { StateRecords } from '../../src/replica/output.ts'
import { Replica } from '../../src/replica/replica.ts'
import { defaultLimits, defaultTiming } from '../../src/replica/configuration.ts'
import type { Update, Write } from '../../src/replica/update.ts'
import { makeOrigin, type Origin } from '../../src/replica/version.ts'
import type { StoreBatch } from '../../src/storage/store.ts'

/**
 * What a server of some history has on its disk, as the commits that wrote it: a log, and a checkpoint of the state
 * behind it, with conflicts, tombstones, and requests that may come again.
 */
export function storedState(): readonly StoreBatch[] {
  const replica = new Replica({
    server: '1',
    origin: makeOrigin({ server: '1', incarnation: 'past' }),
    limits: defaultLimits,
    timing: defaultTiming,
  })
  const batches: StoreBatch[] = []
  for (const updates of [history.slice(0, 5), history.slice(5)]) {
    const first = replica.logEnd
    const { persist } = replica.step({ kind: 'message', from: '9', message: { kind: 'updates', updates } })
    batches.push({ log: persist.map((entry, index) => ({ position: first + index, entry })) })
    if (batches.length === 1) batches.push(checkpointOf(replica))
  }
  const address = { id: '9', host: '127.0.0.1', port: 60_009, isProven: true } as const
  return [...batches, { addresses: [address, { id: '8' }], trim: { position: 1, logFloor: firstCut } }]
}

/** All of the state, as it is in memory. */
function checkpointOf(replica: Replica): StoreBatch {
  const position = replica.logEnd
  const rows = origins.flatMap((origin) => {
    const known = replica.knownBy(origin)
    return known === undefined ? [] : [{ origin, known }]
  })
  const state: StateRecords = {
    keys: [...replica.entries()].map(([key, siblings]) => ({ key, position, siblings })),
    rows,
    sessions: ['alice', 'bob'].flatMap((session) => replica.sessionRecord(session) ?? []),
  }
  return { state, checkpoint: { position, applied: new Map(replica.applied), rows } }
}

const east = makeOrigin({ server: '9', incarnation: 'a' })
const west = makeOrigin({ server: '8', incarnation: 'a' })
const origins: readonly Origin[] = [east, west]

const firstCut: Cut = new Map([[east, 1]])

function update(
  origin: Origin,
  timestamp: number,
  previous: number,
  more: {
    readonly needs?: Readonly<Record<string, number>>
    readonly writes: readonly Write[]
    readonly request?: NonNullable<Update['request']>
  },
): Update {
  const { needs, ...rest } = more
  return { origin, timestamp, previous, dependencies: needs ?? {}, ...rest }
}

/** Two servers that write at the same time, and see each other now and then. */
const history: readonly Update[] = [
  update(east, 1, 0, { writes: [{ key: 'x', value: 'lost' }], request: { session: 'alice', number: 1 } }),
  update(west, 1, 0, { writes: [{ key: 'x', value: { found: [1.5, null, true] } }] }),
  update(east, 2, 1, {
    writes: [
      { key: 'y', value: 'ü😀' },
      { key: '__proto__', deleted: true },
    ],
  }),
  update(west, 3, 1, {
    needs: { [east]: 2 },
    writes: [{ key: 'y', value: 7 }],
    request: { session: 'bob', number: 4 },
  }),
  update(east, 3, 2, { writes: [{ key: 'user:1', value: [] }], request: { session: 'alice', number: 2 } }),
  update(west, 4, 3, { writes: [{ key: 'user:1', deleted: true }] }),
  update(east, 4, 3, { needs: { [west]: 3 }, writes: [{ key: 'z', value: 'glad' }] }),
  update(east, 5, 4, { needs: { [west]: 4 }, writes: [{ key: 'x', value: 0 }] }),
  update(west, 6, 4, {
    needs: { [east]: 5 },
    writes: [
      { key: 'z', value: false },
      { key: 'w', value: 'w' },
    ],
  }),
]
