import type { EventLine, FinalLine } from './history-line.ts'

/**
 * How a history can fail. The first five are the bad patterns of Bouajjani, Enea, Guerraoui and Hamza, "On verifying
 * causal consistency" (POPL 2017), with the order of conflicting writes pinned to the order of their versions.
 *
 * - `ThinAirRead`: something was seen that nobody wrote, or not so: another version, another key, or twice.
 * - `CyclicCO`: an event comes before itself.
 * - `WriteCOInitRead`: a read finds nothing, though a write to its key comes before it.
 * - `WriteCORead`: what is seen had been overwritten by a write that comes before the observation.
 * - `CyclicCF`: the order of versions contradicts the causal order: a read returns a version below one that comes
 *   before it, or a write has a version that is not above all that come before it.
 * - `FracturedRead`: one write of a batch was seen, and of another key of the batch something older.
 * - `DivergentFinal`: the servers differ in the end.
 * - `LostWrite`: a write that was acknowledged or seen is missing in the end.
 */
export type Pattern =
  | 'ThinAirRead'
  | 'CyclicCO'
  | 'WriteCOInitRead'
  | 'WriteCORead'
  | 'CyclicCF'
  | 'FracturedRead'
  | 'DivergentFinal'
  | 'LostWrite'

/**
 * What a user would call it, where the violation lies between one or two sessions: the guarantees of Terry et al.,
 * "Session guarantees for weakly consistent replicated data" (PDIS 1994), and the causal snapshot of a read of several keys.
 */
export type Guarantee =
  | 'read your writes'
  | 'monotonic reads'
  | 'monotonic writes'
  | 'writes follow reads'
  | 'causal snapshot'

/** One event of a violation. */
export interface Step {
  /** Where it stands in the history, from 1. */
  readonly line: number
  /** As it stands there; of a transaction, only the parts that matter. */
  readonly event: EventLine | FinalLine
  /** Why it is here: mostly, why it comes after the step before. */
  readonly because: string
}

export interface Violation {
  readonly pattern: Pattern
  /** The session guarantee that is broken, where the shape of the violation is that of one. */
  readonly guarantee?: Guarantee
  /** What is wrong, in one sentence. */
  readonly message: string
  /** The smallest cycle, path or set of lines that shows it. */
  readonly steps: readonly Step[]
}

export interface Counts {
  /** Lines of sessions, whatever their outcome. */
  readonly events: number
  readonly sessions: number
  /** Keys written or deleted, by writes that happened. */
  readonly writes: number
  /** Keys read. */
  readonly reads: number
  readonly pushes: number
  /** Requests that certainly did not happen, reads of unknown outcome, and writes of unknown outcome that nobody saw. */
  readonly ignored: number
  /** Servers whose end state is known. */
  readonly servers: number
}

export interface Verdict {
  readonly ok: boolean
  readonly counts: Counts
  /** All violations that were met; `violations` has at most as many as were asked for. */
  readonly found: number
  /** The smallest first; of equal size, the one that happened first. */
  readonly violations: readonly Violation[]
}
