/**
 * Texts, taken down in any order and read in the order of their code units, with no step of it long: they are sorted
 * in runs as they come, and the runs are merged as they are read.
 */
export class SortedRuns {
  readonly #runs: string[][] = []
  #newest: string[] = []

  add(text: string): void {
    this.#newest.push(text)
    if (this.#newest.length === runLength) this.#endRun()
  }

  /** Reads all that was added, in order. To be called once, and nothing is added after it. */
  *read(): Generator<string, undefined> {
    if (this.#newest.length > 0) this.#endRun()
    // A heap by what is next of each: no run comes before the one above it, at half its place.
    const heap = this.#runs.map((run): Cursor => ({ run, next: 0 }))
    for (let place = (heap.length >> 1) - 1; place >= 0; place--) sink(heap, place)
    for (let first = heap[0]; first !== undefined; first = heap[0]) {
      yield headOf(first)
      first.next++
      if (first.next === first.run.length) {
        const last = heap.pop()
        if (last === undefined || last === first) continue
        heap[0] = last
      }
      sink(heap, 0)
    }
    return undefined
  }

  #endRun(): void {
    this.#runs.push(this.#newest.toSorted(byCodeUnit))
    this.#newest = []
  }
}

interface Cursor {
  readonly run: readonly string[]
  /** Where in the run, which is never its end. */
  next: number
}

/** Sorted in two milliseconds or so; and a hundred thousand texts are few enough runs to be merged in no time. */
const runLength = 2_048

function headOf({ run, next }: Cursor): string {
  return run[next] as string
}

/** Moves a cursor down the heap until neither of the two below it comes before it. */
function sink(heap: Cursor[], from: number): void {
  const sinking = heap[from] as Cursor
  const head = headOf(sinking)
  let place = from
  for (;;) {
    let below = 2 * place + 1
    if (below >= heap.length) break
    let next = headOf(heap[below] as Cursor)
    if (below + 1 < heap.length) {
      const other = headOf(heap[below + 1] as Cursor)
      if (other < next) {
        below++
        next = other
      }
    }
    if (next >= head) break
    heap[place] = heap[below] as Cursor
    place = below
  }
  heap[place] = sinking
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
