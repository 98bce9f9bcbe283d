import type { Random } from '../durability/random.ts'

/**
 * What may go wrong in a run, and how often.
 *
 * A rate is how often something happens in a virtual second, to each server, each directed link or the whole mesh, as
 * the field says; 0 is never. A chance is that of one message or one request. Faults that are not given are drawn from
 * the seed: each kind is left out of about half of the runs, so that some runs have but one or two and go deep there.
 */
export interface Faults {
  /** A directed link takes this much longer for a while. Per link. */
  readonly delayRate: number
  /** How far the times of two messages on different links may lie apart, in milliseconds: what reorders across links. */
  readonly jitterMs: number
  /** A message of a link arrives twice. Chance of a message. */
  readonly duplicateChance: number
  /** A connection breaks, what is in it is lost, and it is dialled again. Per link. */
  readonly disconnectRate: number
  /** One direction between two servers is cut for a while, and says so at once. Per link. */
  readonly oneWayCutRate: number
  /** One direction swallows everything without a word, until somebody has waited for too long. Per link. */
  readonly blackHoleRate: number
  /** The servers fall into two halves that do not reach each other. Of the mesh. */
  readonly partitionRate: number
  /** A link goes down and up again, many times in a row. Per link. */
  readonly flapRate: number
  /** A process is told to stop, and does so in order: what has arrived is stored and answered first. Per server. */
  readonly stopRate: number
  /** A process ends; what its disk has been given becomes durable, and the answers never leave. Per server. */
  readonly crashRate: number
  /** A process ends, and some of what its disk has been given, or all, is lost. Per server. */
  readonly powerLossRate: number
  /** A process ends and comes back with an empty disk. Per server. */
  readonly wipeRate: number
  /** A process ends and comes back with a copy of its disk that was made before. Per server. */
  readonly restoreRate: number
  /** A copy of a disk is started while the original runs, under the same id; now and then after it has crashed. Per server. */
  readonly twinRate: number
  /** A server that nobody has heard of joins, knowing one address. Of the mesh. */
  readonly joinRate: number
  /** A process stops and goes on later, as after SIGSTOP. Per server. */
  readonly pauseRate: number
  /** A client stops reading for a while. Per client. */
  readonly stalledReaderRate: number
  /** A disk is full: the process ends at its next commit, and is started again once there is room. Per server. */
  readonly fullDiskRate: number
  /** A disk takes many times as long for a while. Per server. */
  readonly slowDiskRate: number
  /** The connection breaks after a write was sent, before or after it was carried out. Chance of a write. */
  readonly lostAnswerChance: number
  /** A retry goes to another server. Chance of a retry. */
  readonly retryElsewhereChance: number
  /** A lab holds, delays, releases, cuts or heals a link. Per link. */
  readonly labRate: number
  /** The logs keep next to nothing, so that whoever is behind gets a snapshot. */
  readonly isLogTrimmedEarly: boolean
  /** The causal buffers hold next to nothing, and what does not fit is dropped. */
  readonly isBufferSmall: boolean
  /** Servers are slow: their slices end after a few inputs. */
  readonly isSlow: boolean
}

const rates = {
  delayRate: 0.5,
  disconnectRate: 0.3,
  oneWayCutRate: 0.15,
  blackHoleRate: 0.05,
  partitionRate: 0.4,
  flapRate: 0.05,
  stopRate: 0.1,
  crashRate: 0.25,
  powerLossRate: 0.25,
  wipeRate: 0.06,
  restoreRate: 0.08,
  twinRate: 0.06,
  joinRate: 0.2,
  pauseRate: 0.1,
  stalledReaderRate: 0.5,
  fullDiskRate: 0.08,
  slowDiskRate: 0.3,
  labRate: 0.2,
} as const satisfies Partial<Record<keyof Faults, number>>

const chances = {
  duplicateChance: 0.05,
  lostAnswerChance: 0.1,
  retryElsewhereChance: 0.7,
} as const satisfies Partial<Record<keyof Faults, number>>

/** Faults of which those that are given are as given, and all others as the seed says. */
export function drawFaults(random: Random, given: Partial<Faults> = {}): Faults {
  const drawn: Record<string, number | boolean> = {}
  // Each is drawn whether or not it is given, so that giving one changes no other.
  for (const [name, most] of Object.entries({ ...rates, ...chances })) {
    const isIn = random.chance(0.5)
    const value = random.within(0.2, 1) * most
    drawn[name] = isIn ? Number(value.toFixed(3)) : 0
  }
  drawn.jitterMs = Number((random.chance(0.5) ? random.within(0, 3) : random.within(0, 60)).toFixed(1))
  drawn.isLogTrimmedEarly = random.chance(0.6)
  drawn.isBufferSmall = random.chance(0.3)
  drawn.isSlow = random.chance(0.3)
  return { ...(drawn as unknown as Faults), ...given }
}

/** A mesh in which nothing goes wrong. */
export const noFaults: Faults = {
  ...(Object.fromEntries([...Object.keys(rates), ...Object.keys(chances)].map((name) => [name, 0])) as Pick<
    Faults,
    keyof typeof rates | keyof typeof chances
  >),
  jitterMs: 0,
  isLogTrimmedEarly: false,
  isBufferSmall: false,
  isSlow: false,
}

/** The names of all faults, for whoever takes them from a command line. */
export const faultNames: readonly (keyof Faults)[] = Object.keys(noFaults) as (keyof Faults)[]
