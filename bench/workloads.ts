import type { LoadPlan, WatchPlan } from './support/load.ts'

/** A kind of work, and how much of it at once. */
export type Workload = Requests | Watching

export interface Requests {
  readonly kind: 'requests'
  readonly name: string
  readonly plan: Pick<LoadPlan, 'connections' | 'inFlight' | 'writesPerThousand' | 'keys' | 'valueBytes'>
  /** Whether all servers are asked, and not the first alone. */
  readonly isEverywhere: boolean
}

/** Writes at the first server, told to watchers at the second. */
export interface Watching {
  readonly kind: 'watching'
  readonly name: string
  readonly plan: Pick<WatchPlan, 'watchers' | 'inFlight' | 'valueBytes'>
}

const plain = { keys: 10_000, valueBytes: 100 } as const
const single = { connections: 1, inFlight: 1 } as const
const wide = { connections: 50, inFlight: 1 } as const
const piped = { connections: 1, inFlight: 64 } as const
const deep = { connections: 16, inFlight: 16 } as const

type Depth = Pick<LoadPlan, 'connections' | 'inFlight'>

function requests(name: string, plan: Requests['plan']): Requests {
  const { connections, inFlight } = plan
  return { kind: 'requests', name: `${name} ${connections}×${inFlight}`, plan, isEverywhere: false }
}

function writes(depth: Depth): Requests {
  return requests('writes', { ...plain, ...depth, writesPerThousand: 1_000 })
}

function reads(depth: Depth): Requests {
  return requests('reads', { ...plain, ...depth, writesPerThousand: 0 })
}

function watching(name: string, plan: Pick<WatchPlan, 'watchers' | 'inFlight'>): Watching {
  return { kind: 'watching', name, plan: { ...plan, valueBytes: 100 } }
}

/** What an echo is asked where others are watched: the round trip of one frame. */
export const roundTrip = writes(single)

/** In the order in which they are told of. */
export const workloads: readonly Workload[] = [
  ...[single, wide, piped, deep].map(writes),
  ...[single, wide, piped, deep].map(reads),
  requests('95 reads to 5 writes', { ...plain, ...deep, writesPerThousand: 50 }),
  {
    ...requests('writes at all servers', {
      ...plain,
      connections: 48,
      inFlight: 1,
      writesPerThousand: 1_000,
    }),
    isEverywhere: true,
  },
  requests('writes of one hot key', { ...plain, ...deep, keys: 1, writesPerThousand: 1_000 }),
  requests('writes of 10 KB', { ...deep, keys: 1_000, valueBytes: 10_000, writesPerThousand: 1_000 }),
  watching('visibility: sent to one server until pushed by another', { watchers: 1, inFlight: 1 }),
  watching('pushes to 1 watcher, 64 in flight', { watchers: 1, inFlight: 64 }),
  watching('pushes to 100 watchers, 64 in flight', { watchers: 100, inFlight: 64 }),
  watching('pushes to 1,000 watchers, 64 in flight', { watchers: 1_000, inFlight: 64 }),
]
