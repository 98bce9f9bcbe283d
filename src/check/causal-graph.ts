import type { Attribution } from './attribution.ts'
import { Column } from './column.ts'
import { none, type History } from './history.ts'
import { HistoryFault } from './history-line.ts'

/**
 * The events that count, and what comes directly before each: the causal order is the transitive closure of that.
 *
 * Session order is not one line, but two:
 * - A *request* comes after everything that its session did or saw before, for it is sent with all of that in its cut.
 * - A *push* comes after the pushes before it, and not after requests: a watch tells what happened in causal order, and
 *   may be behind what the same session has read or written meanwhile.
 * - A write whose outcome its client does not know comes after what was before it, as any request. But what the session
 *   did next does not come after *it*: nobody had seen it, and it may happen later still. So it stands beside its session.
 *
 * A *strand* is a line of events of which each comes after all before it, as far as somebody can have seen them: the
 * requests of a session, or one write that stands beside it.
 */
export class CausalGraph {
  readonly history: History
  readonly attribution: Attribution
  /** Of each session, the events that count, in session order. */
  readonly sessionEvents: readonly (readonly number[])[]
  /** Of each session, the requests and the pushes of that, without the writes that stand beside it. */
  readonly requests: readonly (readonly number[])[]
  readonly pushes: readonly (readonly number[])[]
  /** How many requests of its session come before an event, and how many pushes do. */
  readonly #priorRequests: Column
  readonly #priorPushes: Column
  readonly #strands: Column
  readonly #setAside: Column
  #strandCount = 0

  /** @throws HistoryFault where two events of a session have one place. */
  constructor(history: History, attribution: Attribution) {
    this.history = history
    this.attribution = attribution
    this.#priorRequests = new Column(history.eventCount, 0)
    this.#priorPushes = new Column(history.eventCount, 0)
    this.#strands = new Column(history.eventCount, none)
    this.#setAside = new Column(history.partCount, 0)
    this.sessionEvents = this.#inSessionOrder()
    const requests: number[][] = []
    const pushes: number[][] = []
    for (const events of this.sessionEvents) this.#place(events, requests, pushes)
    this.requests = requests
    this.pushes = pushes
    // Strands that are known at about the same time stand together, so that most of a vector soon changes no more.
    for (const ofSession of requests) this.#numberStrand(ofSession)
    for (let event = 0; event < history.eventCount; event++) {
      if (this.isBeside(event) && this.counts(event)) this.#strands.set(event, this.#strandCount++)
    }
  }

  get strandCount(): number {
    return this.#strandCount
  }

  /** Whether an event has a place in the causal order: it happened, as far as anybody can tell. */
  counts(event: number): boolean {
    if (this.history.isUpdate(event)) return this.attribution.versionOf(event) !== none
    return this.history.outcomeOf(event) === true
  }

  /** Whether an event is a write that stands beside its session. */
  isBeside(event: number): boolean {
    return this.history.outcomeOf(event) === null
  }

  /** Of the requests of its session, how many come before an event: the first so many. */
  requestsBefore(event: number): number {
    return this.#priorRequests.get(event)
  }

  /** Of the pushes of its session, how many come before an event. */
  pushesBefore(event: number): number {
    return this.#priorPushes.get(event)
  }

  /** The strand of a request; `none` of a push, and of a request in whose session nothing is written. */
  strandOf(event: number): number {
    return this.#strands.get(event)
  }

  /** Where an event stands in its strand, from 1. */
  positionOf(event: number): number {
    return this.isBeside(event) ? 1 : this.requestsBefore(event) + 1
  }

  /** The event that wrote what a part saw; `none` where none did, or where that was set aside. */
  sourceOf(part: number): number {
    return this.#setAside.get(part) === 1 ? none : this.writtenBy(part)
  }

  /** As {@link sourceOf}, but also where it was set aside. */
  writtenBy(part: number): number {
    const writer = this.attribution.writerOf(part)
    return writer < 0 ? none : this.history.partEvent.get(writer)
  }

  /** From here on, nothing is concluded from what this part saw. */
  setAside(part: number): void {
    this.#setAside.set(part, 1)
  }

  isSetAside(part: number): boolean {
    return this.#setAside.get(part) === 1
  }

  #inSessionOrder(): readonly (readonly number[])[] {
    const { history } = this
    const bySession: number[][] = []
    for (let session = 0; session < history.sessions.size; session++) bySession.push([])
    for (let event = 0; event < history.eventCount; event++) {
      bySession[history.eventSession.get(event)]?.push(event)
    }
    return bySession.map((events) => {
      const sorted = events.sort((a, b) => history.placeOf(a) - history.placeOf(b))
      this.#requireDistinctPlaces(sorted)
      return sorted.filter((event) => this.counts(event))
    })
  }

  #requireDistinctPlaces(sorted: readonly number[]): void {
    const { history } = this
    for (let index = 1; index < sorted.length; index++) {
      const [before, event] = [sorted[index - 1] as number, sorted[index] as number]
      const place = history.placeOf(event)
      if (history.placeOf(before) !== place) continue
      const session = history.sessions.nameOf(history.eventSession.get(event))
      throw new HistoryFault(
        history.eventLine.get(event),
        `session ${JSON.stringify(session)} has a line with i ${place} already: line ${history.eventLine.get(before)}`,
      )
    }
  }

  #place(events: readonly number[], requests: number[][], pushes: number[][]): void {
    const ownRequests: number[] = []
    const ownPushes: number[] = []
    for (const event of events) {
      const isPlaced = !this.attribution.isPlaceless(event)
      const isPush = this.history.isPush(event)
      this.#priorRequests.set(event, isPlaced && !isPush ? ownRequests.length : 0)
      this.#priorPushes.set(event, isPlaced ? ownPushes.length : 0)
      if (isPush) ownPushes.push(event)
      else if (!this.isBeside(event)) ownRequests.push(event)
    }
    requests.push(ownRequests)
    pushes.push(ownPushes)
  }

  #numberStrand(requests: readonly number[]): void {
    if (!requests.some((event) => this.history.isUpdate(event))) return
    for (const event of requests) this.#strands.set(event, this.#strandCount)
    this.#strandCount++
  }
}
