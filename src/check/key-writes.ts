import type { CausalGraph } from './causal-graph.ts'

/** The writes of one strand to one key, in their order. */
export interface StrandWrites {
  readonly strand: number
  readonly positions: number[]
  readonly events: number[]
  /** Of each, the one with the highest version up to it. */
  readonly highest: number[]
  /** The strand with the next highest version of the key. */
  next: StrandWrites | undefined
  previous: StrandWrites | undefined
}

/**
 * The writes to each key, by strand, those strands first whose highest version of the key is highest.
 *
 * Whoever asks for writes above some version looks at the first few strands, however many have written the key before;
 * within a strand, what an event can have seen is found by halving.
 */
export class KeyWrites {
  readonly #graph: CausalGraph
  readonly #first: (StrandWrites | undefined)[] = []
  readonly #byKey: Map<number, StrandWrites>[] = []

  constructor(graph: CausalGraph) {
    this.#graph = graph
  }

  /** The strand with the highest version of a key. */
  firstOf(key: number): StrandWrites | undefined {
    return this.#first[key]
  }

  /** Adds a write of a key; those of a strand come in their order. */
  add(key: number, event: number): void {
    const strand = this.#graph.strandOf(event)
    const byStrand = (this.#byKey[key] ??= new Map<number, StrandWrites>())
    let writes = byStrand.get(strand)
    if (writes === undefined) {
      writes = { strand, positions: [], events: [], highest: [], next: undefined, previous: undefined }
      byStrand.set(strand, writes)
    } else {
      if (!this.#isAbove(event, highestOf(writes))) {
        this.#push(writes, event, highestOf(writes))
        return
      }
      this.#unlink(key, writes)
    }
    this.#push(writes, event, event)
    this.#link(key, writes)
  }

  #push(writes: StrandWrites, event: number, highest: number): void {
    writes.positions.push(this.#graph.positionOf(event))
    writes.events.push(event)
    writes.highest.push(highest)
  }

  #unlink(key: number, writes: StrandWrites): void {
    const { next, previous } = writes
    if (previous === undefined) this.#first[key] = next
    else previous.next = next
    if (next !== undefined) next.previous = previous
  }

  #link(key: number, writes: StrandWrites): void {
    let previous: StrandWrites | undefined
    let next = this.#first[key]
    while (next !== undefined && this.#isAbove(highestOf(next), highestOf(writes))) {
      previous = next
      next = next.next
    }
    writes.previous = previous
    writes.next = next
    if (previous === undefined) this.#first[key] = writes
    else previous.next = writes
    if (next !== undefined) next.previous = writes
  }

  #isAbove(a: number, b: number): boolean {
    const { attribution, history } = this.#graph
    return history.versions.isAbove(attribution.versionOf(a), attribution.versionOf(b))
  }
}

/** The write with the highest version that a strand has of a key. */
export function highestOf(writes: StrandWrites): number {
  return writes.highest.at(-1) as number
}

/** The last of a strand's writes at or before a position: its index, or −1. */
export function lastWithin({ positions }: StrandWrites, position: number): number {
  // Mostly it is one of the last.
  const last = positions.length - 1
  if ((positions[last] as number) <= position) return last
  let [low, high] = [0, last]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((positions[middle] as number) <= position) low = middle + 1
    else high = middle
  }
  return low - 1
}
