/**
 * The only clock of a simulation: it moves from one planned event to the next, and never by itself.
 *
 * Events of one moment run in the order in which they were planned. So the same plans make the same run.
 */
export class VirtualTime {
  #nowMs = 0
  /** A binary heap, the next event first. */
  readonly #planned: Planned[] = []
  #planCount = 0
  #mayHaveSettled = false

  /** In milliseconds, since the run began. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** Plans something for a moment later than now by `delayMs`. */
  in(delayMs: number, run: () => void): void {
    this.at(this.#nowMs + delayMs, run)
  }

  /** Plans something for a moment. What keeps an order names moments: sums of delays differ in their last digit. */
  at(atMs: number, run: () => void): void {
    const planned: Planned = { atMs, order: this.#planCount++, run }
    const heap = this.#planned
    let index = heap.length
    while (index > 0) {
      const parentIndex = (index - 1) >> 1
      const parent = heap[parentIndex] as Planned
      if (isBefore(parent, planned)) break
      heap[index] = parent
      index = parentIndex
    }
    heap[index] = planned
  }

  /** Something that a promise waits for has come about: whoever awaits it has its turn before the next event. */
  settleSoon(): void {
    this.#mayHaveSettled = true
  }

  /**
   * Runs what is planned, in order, up to a moment.
   *
   * @param isStopped is asked after each event.
   * @param isOver is asked now and then, as it takes longer to say.
   */
  async run(untilMs: number, isStopped: () => boolean, isOver: () => boolean = () => false): Promise<void> {
    let lookedMs = this.#nowMs
    for (;;) {
      if (this.#nowMs - lookedMs >= lookMs) {
        lookedMs = this.#nowMs
        if (isOver()) return
      }
      const next = this.#planned[0]
      if (next === undefined || next.atMs > untilMs) {
        this.#nowMs = Math.max(this.#nowMs, untilMs)
        return
      }
      this.#takeFirst()
      this.#nowMs = next.atMs
      next.run()
      if (this.#mayHaveSettled) {
        this.#mayHaveSettled = false
        // A tick comes when all that follows from a promise is done, however long the chain.
        await new Promise<void>((resolve) => {
          process.nextTick(resolve)
        })
      }
      if (isStopped()) return
    }
  }

  #takeFirst(): void {
    const heap = this.#planned
    const last = heap.pop() as Planned
    if (heap.length === 0) return
    let index = 0
    for (;;) {
      let childIndex = 2 * index + 1
      const left = heap[childIndex]
      if (left === undefined) break
      const right = heap[childIndex + 1]
      if (right !== undefined && isBefore(right, left)) childIndex++
      const child = heap[childIndex] as Planned
      if (isBefore(last, child)) break
      heap[index] = child
      index = childIndex
    }
    heap[index] = last
  }
}

const lookMs = 50

interface Planned {
  readonly atMs: number
  /** Which one it was of all that were ever planned. */
  readonly order: number
  readonly run: () => void
}

function isBefore(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}
