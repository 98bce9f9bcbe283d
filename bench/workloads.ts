import type { LoadPlan } from './support/load.ts'

/** A kind of work, and how much of it at once. */
export interface Workload {
  readonly name: string
  readonly plan: Pick<LoadPlan, 'connections' | 'inFlight' | 'writesPerThousand' | 'keys' | 'valueBytes'>
  /** Whether all servers are asked, and not the first alone. */
  readonly isEverywhere: boolean
}

const plain = { keys: 10_000, valueBytes: 100 } as const

const depths = [
  { connections: 1, inFlight: 1 },
  { connections: 50, inFlight: 1 },
  { connections: 1, inFlight: 64 },
  { connections: 16, inFlight: 16 },
] as const

function nameOf({ connections, inFlight }: (typeof depths)[number]): string {
  return `${connections}×${inFlight}`
}

const wide = { connections: 50, inFlight: 1 } as const
const deep = { connections: 16, inFlight: 16 } as const

/** In the order in which they are told of. */
export const workloads: readonly Workload[] = [
  ...depths.map((depth) => ({
    name: `writes ${nameOf(depth)}`,
    plan: { ...plain, ...depth, writesPerThousand: 1_000 },
    isEverywhere: false,
  })),
  ...depths.map((depth) => ({
    name: `reads ${nameOf(depth)}`,
    plan: { ...plain, ...depth, writesPerThousand: 0 },
    isEverywhere: false,
  })),
  {
    name: '95 reads to 5 writes 16×16',
    plan: { ...plain, ...deep, writesPerThousand: 50 },
    isEverywhere: false,
  },
  {
    name: 'writes at all servers 48×1',
    plan: { ...plain, ...wide, connections: 48, writesPerThousand: 1_000 },
    isEverywhere: true,
  },
  {
    name: 'writes of one hot key 16×16',
    plan: { ...plain, ...deep, keys: 1, writesPerThousand: 1_000 },
    isEverywhere: false,
  },
  {
    name: 'writes of 10 KB 16×16',
    plan: { ...plain, ...deep, keys: 1_000, valueBytes: 10_000, writesPerThousand: 1_000 },
    isEverywhere: false,
  },
]
