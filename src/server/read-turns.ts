import { performance } from 'node:perf_hooks'

/**
 * What all queues of readers have in common: the event loop. A line that takes long has a turn of it to itself, whoever it
 * came from: until the next, nobody else is to hand on another. Then the other queue goes first, if it waits by then.
 */
export class LoopShare {
  readonly #schedule: (run: () => void) => void
  #isTaken = false
  /** Who had the last such line. */
  #taker: ReadTurns | undefined
  #owed: ReadTurns | undefined

  /** @param schedule runs a function in the next turn of the event loop. */
  constructor(schedule: (run: () => void) => void = setImmediate) {
    this.#schedule = schedule
  }

  /** Whether this queue may hand on lines now. */
  isFor(queue: ReadTurns): boolean {
    return !this.#isTaken && (this.#owed === undefined || this.#owed === queue)
  }

  take(queue: ReadTurns): void {
    if (this.#isTaken) return
    this.#taker = queue
    this.#isTaken = true
    // What is scheduled now may still be of this turn, so it lasts to the end of the one after.
    this.#schedule(() => {
      this.#schedule(() => {
        this.#isTaken = false
      })
    })
  }

  /** A queue could not go on. Where it was not its own line that took long, it goes on first. */
  putOff(queue: ReadTurns): void {
    if (queue !== this.#taker) this.#owed ??= queue
  }

  /** A queue goes on. */
  settle(queue: ReadTurns): void {
    if (this.#owed === queue) this.#owed = undefined
  }
}

/**
 * Who may hand on what has come, so that there is never more than a slice of it and one line without a turn of the
 * event loop, however many connections have much to hand on, and however dear.
 *
 * Whoever finds the slice over waits for a later turn of the loop, and is served before whoever comes after it. Among
 * those that wait each has a part of the slice, and goes to the end when it is over: whoever asks little is served
 * after a part of each of the others, however much they ask.
 */
export class ReadTurns {
  readonly #now: () => number
  readonly #schedule: (run: () => void) => void
  readonly #share: LoopShare
  readonly #waiting = new Set<Reader>()
  #served: Reader | undefined
  /** When the part of the one that is served is over; undefined before its first line, which it is always given. */
  #partEndMs: number | undefined
  /** When the slice of this turn of the loop is over; undefined where nobody has read anything in it yet. */
  #endMs: number | undefined
  #isScheduled = false

  constructor(
    surroundings: {
      readonly now?: () => number
      /** Runs a function in the next turn of the event loop. */
      readonly schedule?: (run: () => void) => void
      readonly share?: LoopShare
    } = {},
  ) {
    this.#now = surroundings.now ?? (() => performance.now())
    this.#schedule = surroundings.schedule ?? setImmediate
    this.#share = surroundings.share ?? new LoopShare(this.#schedule)
  }

  /** Whether a reader may hand on one more line now. Where not it is to {@link wait}. */
  mayRead(reader: Reader): boolean {
    if (this.#served !== reader) return this.#waiting.size === 0 && this.#share.isFor(this) && !this.#isOver()
    const isFirst = this.#partEndMs === undefined
    this.#partEndMs ??= this.#now() + partMs
    return isFirst || (this.#now() < this.#partEndMs && this.#share.isFor(this))
  }

  /** A line has taken long: that was enough for this turn of the loop. */
  tookLong(): void {
    this.#share.take(this)
  }

  /** Calls a reader later, behind those that wait already. */
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
    if (this.#waiting.size > 0 && !this.#share.isFor(this)) {
      this.#share.putOff(this)
      this.#scheduleTurn()
      return
    }
    this.#share.settle(this)
    this.#endMs = this.#waiting.size === 0 ? undefined : this.#now() + sliceMs
    // Who reads on and is not done waits anew, at the end.
    for (const reader of this.#waiting) {
      this.#waiting.delete(reader)
      this.#served = reader
      this.#partEndMs = undefined
      reader()
      this.#served = undefined
      if (this.#isOver() || !this.#share.isFor(this)) break
    }
    // The next begins a slice anew.
    if (this.#endMs !== undefined) this.#scheduleTurn()
  }
}

/** Hands on lines for as long as {@link ReadTurns.mayRead} lets it, which is asked before each; then it waits again. */
export type Reader = () => void

/** There is one event loop in a process; and those of servers never wait for those of clients. */
const share = new LoopShare()
export const clientTurns = new ReadTurns({ share })
export const peerTurns = new ReadTurns({ share })

/** In milliseconds; hundreds of ordinary requests are looked at in it. */
const sliceMs = 5
const partMs = 1
