import type { CausalGraph } from './causal-graph.ts'
import { Column } from './column.ts'
import { none } from './history.ts'

/** One step of a causal path. */
export interface Hop {
  /** Where it leads to. */
  readonly event: number
  /** How it gets there: by session order, or because a part of the event saw what the event before wrote. */
  readonly by: 'session' | { readonly part: number }
}

/** A path from an event to another; the hops follow each other, and the last leads to its end. */
export interface Path {
  readonly from: number
  readonly hops: readonly Hop[]
}

/**
 * Finds shortest causal paths. One step of session order may pass over any number of events, so a path names only those
 * that matter.
 *
 * A search goes backwards, breadth first, and looks at each event once. All searches together look at a fixed number of
 * events: a million violations are not each worth a path.
 */
export class Paths {
  readonly #graph: CausalGraph
  readonly #isWithSetAside: boolean
  readonly #visitedIn: Column
  /** The event after this one on the way to the end, and the part of that which saw it; `none` for session order. */
  readonly #after: Column
  readonly #by: Column
  #search = 0
  #budget: number

  /** @param options.isWithSetAside whether paths may lead over observations that were set aside. */
  constructor(graph: CausalGraph, options: { readonly isWithSetAside: boolean; readonly visitsMax: number }) {
    this.#graph = graph
    this.#isWithSetAside = options.isWithSetAside
    this.#budget = options.visitsMax
    this.#visitedIn = new Column(graph.history.eventCount, 0)
    this.#after = new Column(graph.history.eventCount, none)
    this.#by = new Column(graph.history.eventCount, none)
  }

  get isExhausted(): boolean {
    return this.#budget <= 0
  }

  /** The shortest path of at least one and at most `lengthMax` hops to an event, from one that fulfils a condition. */
  shortest(to: number, isStart: (event: number) => boolean, lengthMax = Infinity): Path | undefined {
    for (const { event } of this.before(to, lengthMax)) if (isStart(event)) return this.pathFrom(event, to)
    return undefined
  }

  /** The events before an event, the nearest first. Until the next search, {@link pathFrom} knows the way from each. */
  *before(
    to: number,
    lengthMax = Infinity,
  ): Generator<{ readonly event: number; readonly distance: number }> {
    const graph = this.#graph
    const { history } = graph
    const search = ++this.#search
    /** How many requests and pushes of each session have been reached: the first so many. */
    const reached = new Map<number, { requests: number; pushes: number }>()
    let frontier = [to]
    const visit = (event: number, after: number, by: number): boolean => {
      if (this.#visitedIn.get(event) === search) return false
      this.#visitedIn.set(event, search)
      this.#after.set(event, after)
      this.#by.set(event, by)
      this.#budget--
      return true
    }
    for (let distance = 1; distance <= lengthMax && frontier.length > 0; distance++) {
      const next: number[] = []
      for (const event of frontier) {
        const session = history.eventSession.get(event)
        let of = reached.get(session)
        if (of === undefined) reached.set(session, (of = { requests: 0, pushes: 0 }))
        for (const [events, count, seen] of [
          [graph.requests[session], graph.requestsBefore(event), of.requests],
          [graph.pushes[session], graph.pushesBefore(event), of.pushes],
        ] as const) {
          for (let index = count - 1; index >= seen; index--) {
            const cause = events?.[index] as number
            if (!visit(cause, event, none)) continue
            yield { event: cause, distance }
            // What comes before a write in its session has been reached in this very step.
            if (!history.isUpdate(cause)) next.push(cause)
          }
        }
        of.requests = Math.max(of.requests, graph.requestsBefore(event))
        of.pushes = Math.max(of.pushes, graph.pushesBefore(event))
        for (let part = history.eventParts.get(event); part < history.partsEnd(event); part++) {
          const cause = this.#isWithSetAside ? graph.writtenBy(part) : graph.sourceOf(part)
          if (cause === none || !visit(cause, event, part)) continue
          yield { event: cause, distance }
          next.push(cause)
        }
      }
      if (this.#budget <= 0) return
      frontier = next
    }
  }

  /** The way from an event that the last search has come to. */
  pathFrom(from: number, to: number): Path {
    const hops: Hop[] = []
    let event = from
    do {
      const part = this.#by.get(event)
      event = this.#after.get(event)
      hops.push({ event, by: part === none ? 'session' : { part } })
    } while (event !== to)
    return { from, hops }
  }
}
