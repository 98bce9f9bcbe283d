import { performance } from 'node:perf_hooks'

/**
 * Who may hand on what has come, so that one turn of the event loop takes no longer than a slice and one line,
 * however many connections have much to hand on, and however dear.
 *
 * Whoever finds the slice over waits for a later turn of the loop, and is served before whoever comes after it.
 */
export class ReadTurns {
  readonly #now: () => number
  readonly #schedule: (run: () => void) => void
  readonly #waiting = new Set<Reader>()
  #served: Reader | undefined
  /** When the slice of this turn of the loop is over; undefined where nobody has read anything in it yet. */
  #endMs: number | undefined
  #isScheduled = false

  constructor(
    surroundings: {
      readonly now?: () => number
      /** Runs a function in the next turn of the event loop. */
      readonly schedule?: (run: () => void) => void
    } = {},
  ) {
    this.#now = surroundings.now ?? (() => performance.now())
    this.#schedule = surroundings.schedule ?? setImmediate
  }

  /** Whether a reader may hand on one more line now. Where not it {@link wait waits}. */
  mayRead(reader: Reader): boolean {
    const isBehind = this.#waiting.size > 0 && this.#served !== reader
    if (!isBehind && !this.#isOver()) return true
    this.wait(reader)
    return false
  }

  /** Calls a reader in a later turn of the event loop, behind those that wait already. */
  wait(reader: Reader): void {
    this.#waiting.add(reader)
    this.#scheduleTurn()
  }

  #isOver(): boolean {
    if (this.#endMs !== undefined) return this.#now() >= this.#endMs
    this.#endMs = this.#now() + sliceMs
    this.#scheduleTurn()
    return false
  }

  #scheduleTurn(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#schedule(() => this.#turn())
  }

  #turn(): void {
    this.#isScheduled = false
    this.#endMs = undefined
    // Who reads on and is not done waits anew, at the end.
    for (const reader of this.#waiting) {
      this.#waiting.delete(reader)
      this.#served = reader
      reader()
      this.#served = undefined
      if (this.#isOver()) break
    }
    if (this.#waiting.size > 0) this.#scheduleTurn()
  }
}

/** Hands on lines for as long as {@link ReadTurns.mayRead} lets it, which is asked before each. */
export type Reader = () => void

/** There is one event loop in a process. */
export const readTurns = new ReadTurns()

/** So many milliseconds, in which hundreds of ordinary requests are looked at. */
const sliceMs = 5
