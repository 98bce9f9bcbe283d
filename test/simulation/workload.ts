import type { Random } from '../durability/random.ts'
import type { Durability } from './simulated-process.ts'

/** What clients do in a run. */
export interface Workload {
  /** Servers at the beginning; more may join. */
  readonly servers: number
  readonly clients: number
  /** Requests of all clients together. */
  readonly operations: number
  /** Keys that are written, `a/0`, `b/1` and so on: the fewer, the more happens to each. */
  readonly keys: number
  /** How much more often the first keys are chosen than the last; 1 is not at all. */
  readonly skew: number
  /** Shares of the requests; what is left are reads of one key. */
  readonly writeShare: number
  readonly deleteShare: number
  readonly batchShare: number
  readonly readManyShare: number
  /** A write goes to the key after the one that was read last: chains of causes over many clients and servers. */
  readonly chainChance: number
  /** The chance to go to another server before a request. */
  readonly hopChance: number
  /** The chance to ask once more for a write that was answered, as if it were new. */
  readonly repeatChance: number
  /** How many of the clients watch, too. */
  readonly watchers: number
  /** How long a client waits at most between two requests, in milliseconds. */
  readonly thinkMs: number
  /** How long a server may wait for what a request comes after, at most, in milliseconds. */
  readonly patienceMs: number
  /** Of each server; the first is repeated where there are more servers. */
  readonly durabilities: readonly Durability[]
  /** What a commit takes at most, in milliseconds. */
  readonly commitMs: number
}

export function drawWorkload(random: Random, given: Partial<Workload> = {}): Workload {
  const isChained = random.chance(0.3)
  const drawn: Workload = {
    servers: random.chance(0.9) ? 3 : random.between(3, 7),
    clients: random.between(4, 10),
    operations: 2_000,
    keys: random.oneOf([1, 3, 6, 12, 12, 40, 150]),
    skew: random.oneOf([1, 1, 3]),
    writeShare: random.within(0.2, 0.5),
    deleteShare: random.within(0, 0.1),
    batchShare: random.within(0, 0.15),
    readManyShare: random.within(0, 0.15),
    chainChance: isChained ? 0.9 : random.within(0, 0.3),
    hopChance: random.chance(0.3) ? 0 : random.within(0.01, 0.1),
    watchers: random.between(0, 3),
    thinkMs: random.oneOf([1, 3, 10]),
    patienceMs: random.oneOf([30, 150, 600]),
    durabilities: random.chance(0.6)
      ? ['sync']
      : Array.from({ length: 7 }, () => random.oneOf<Durability>(['sync', 'sync', 'async', 'memory'])),
    commitMs: random.oneOf([0.5, 3, 10]),
    repeatChance: random.chance(0.3) ? 0.05 : 0,
  }
  return { ...drawn, ...given }
}
