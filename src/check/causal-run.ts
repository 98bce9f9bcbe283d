import { emptyPast, joined, reach, withReach, type CausalPast } from './causal-past.ts'
import type { CausalGraph } from './causal-graph.ts'
import { Column } from './column.ts'
import { none } from './history.ts'

/** What is told of each event, in an order that agrees with the causal one. */
export interface CausalVisitor {
  /**
   * @param past what comes before the event. Of the event's own strand it may lack what {@link isBefore} knows anyway.
   * @param latest of the writes in it, the one with the highest version; `none` where there is none.
   * @param before what its session knew before the event: the past without what the event itself saw.
   */
  visit(event: number, past: CausalPast, latest: number, before: CausalPast): void
}

/** Whether a write comes before an event that has this past. */
export function isBefore(graph: CausalGraph, write: number, event: number, past: CausalPast): boolean {
  return graph.positionOf(write) <= reachBefore(graph, graph.strandOf(write), event, past)
}

/** Up to which position a strand comes before an event that has this past. */
export function reachBefore(graph: CausalGraph, strand: number, event: number, past: CausalPast): number {
  return strand === graph.strandOf(event) ? graph.positionOf(event) - 1 : reach(past, strand)
}

/**
 * Goes through the events of a history, causes before effects, and works out what comes before each.
 *
 * It follows the lines of the history as far as it can, since recorders write down causes first, mostly. An event that
 * has read what is still to come waits for that, and its session with it. So little has to be remembered at a time: what
 * came before each session's last event, and before each write that is still to be read.
 *
 * When nothing can go on, there is a cycle. Of the events that come before each other, the observations of each other's
 * writes are set aside: they are wrong, whatever else is. What remains has no cycle, and all that it implies is so.
 */
export class CausalRun {
  readonly #graph: CausalGraph
  readonly #visitor: CausalVisitor
  readonly #sessions: Session[]
  readonly #sessionOf: (event: number) => Session
  /** The first session that waits for an event. */
  readonly #waiting: Column
  readonly #isDone: Uint8Array
  /** Of writes that are still to be read: what comes before them. */
  readonly #pasts = new Map<number, CausalPast>()
  readonly #latest: Column
  readonly #readersLeft: Column
  readonly #cycles: (readonly number[])[] = []

  constructor(graph: CausalGraph, visitor: CausalVisitor) {
    const { history } = graph
    this.#graph = graph
    this.#visitor = visitor
    const nothingKnown: Known = { past: emptyPast(graph.strandCount), latest: none }
    this.#sessions = graph.sessionEvents.map((events, number) => ({
      number,
      events,
      next: 0,
      end: 0,
      isWaiting: false,
      nextWaiting: none,
      requests: nothingKnown,
      pushes: nothingKnown,
      pushesJoined: nothingKnown,
    }))
    this.#sessionOf = (event) => this.#sessions[history.eventSession.get(event)] as Session
    this.#waiting = new Column(history.eventCount, none)
    this.#isDone = new Uint8Array(history.eventCount)
    this.#latest = new Column(history.eventCount, none)
    this.#readersLeft = new Column(history.eventCount, 0)
    for (let part = 0; part < history.partCount; part++) {
      const source = graph.sourceOf(part)
      if (source !== none) this.#readersLeft.set(source, this.#readersLeft.get(source) + 1)
    }
  }

  /** @returns the cycles: sets of events that come before each other. */
  run(): readonly (readonly number[])[] {
    const { history, attribution } = this.#graph
    const nothing: Known = { past: emptyPast(this.#graph.strandCount), latest: none }
    for (let event = 0; event < history.eventCount; event++) {
      if (attribution.isPlaceless(event)) this.#finish(event, nothing, nothing)
    }
    for (let event = 0; event < history.eventCount; event++) {
      if (!this.#graph.counts(event)) continue
      const session = this.#sessionOf(event)
      session.end++
      if (!session.isWaiting) this.#advance(session)
    }
    while (this.#sessions.some((session) => session.next < session.end)) this.#breakCycles()
    return this.#cycles
  }

  /** Does a session's next events, and what waited for them, until each has come to its end or waits itself. */
  #advance(session: Session): void {
    const ready = [session]
    for (let current = ready.pop(); current !== undefined; current = ready.pop()) {
      while (current.next < current.end) {
        const event = current.events[current.next] as number
        const missing = this.#missingOf(event)
        if (missing !== none) {
          this.#wait(current, missing)
          break
        }
        current.next++
        if (this.#isDone[event] === 0) this.#do(event, current)
        this.#wake(event, ready)
      }
    }
  }

  /** A write that an event has seen and that has not been done. */
  #missingOf(event: number): number {
    const { history } = this.#graph
    const end = history.partsEnd(event)
    for (let part = history.eventParts.get(event); part < end; part++) {
      const source = this.#graph.sourceOf(part)
      if (source !== none && this.#isDone[source] === 0) return source
    }
    return none
  }

  #wait(session: Session, missing: number): void {
    session.isWaiting = true
    session.nextWaiting = this.#waiting.get(missing)
    this.#waiting.set(missing, session.number)
  }

  #wake(event: number, ready: Session[]): void {
    let number = this.#waiting.get(event)
    this.#waiting.set(event, none)
    while (number !== none) {
      const session = this.#sessions[number] as Session
      ready.push(session)
      session.isWaiting = false
      number = session.nextWaiting
    }
  }

  #do(event: number, session: Session): void {
    const { history } = this.#graph
    if (history.isPush(event)) {
      const before = session.pushes
      session.pushes = this.#withSources(event, before)
      this.#finish(event, session.pushes, before)
      return
    }
    const before = this.#withPushes(session)
    if (this.#graph.isBeside(event)) {
      session.requests = before
      const known = { past: this.#withRequests(event, before.past), latest: before.latest }
      this.#finish(event, known, known)
      return
    }
    const known = this.#withSources(event, before)
    this.#finish(event, known, before)
    session.requests = history.isUpdate(event)
      ? { past: known.past, latest: this.#later(known.latest, event) }
      : known
  }

  /** What comes before an event, given what its session had before it. */
  #withSources(event: number, before: Known): Known {
    const graph = this.#graph
    let { past, latest } = before
    const end = graph.history.partsEnd(event)
    for (let part = graph.history.eventParts.get(event); part < end; part++) {
      const source = graph.sourceOf(part)
      if (source === none) continue
      if (!isBefore(graph, source, event, past)) {
        past = joined(past, this.#pasts.get(source) as CausalPast)
        past = withReach(past, graph.strandOf(source), graph.positionOf(source))
        latest = this.#later(this.#later(latest, this.#latest.get(source)), source)
      }
      const readersLeft = this.#readersLeft.get(source) - 1
      this.#readersLeft.set(source, readersLeft)
      if (readersLeft === 0) this.#pasts.delete(source)
    }
    return { past, latest }
  }

  /** A write that stands beside its session has a strand of its own, so its past names that of the session. */
  #withRequests(event: number, past: CausalPast): CausalPast {
    const graph = this.#graph
    const count = graph.requestsBefore(event)
    const [first = none] = graph.requests[graph.history.eventSession.get(event)] ?? []
    const strand = first === none ? none : graph.strandOf(first)
    if (count === 0 || strand === none || reach(past, strand) >= count) return past
    return withReach(past, strand, count)
  }

  /** What comes before a session's next request. */
  #withPushes(session: Session): Known {
    const { requests, pushes } = session
    if (pushes === session.pushesJoined) return requests
    session.pushesJoined = pushes
    return { past: joined(requests.past, pushes.past), latest: this.#later(requests.latest, pushes.latest) }
  }

  #finish(event: number, { past, latest }: Known, before: Known): void {
    this.#isDone[event] = 1
    this.#latest.set(event, latest)
    if (this.#readersLeft.get(event) > 0) this.#pasts.set(event, past)
    this.#visitor.visit(event, past, latest, before.past)
  }

  /** Of two writes the one with the higher version. */
  #later(a: number, b: number): number {
    if (a === none) return b
    if (b === none) return a
    const { attribution, history } = this.#graph
    return history.versions.isAbove(attribution.versionOf(b), attribution.versionOf(a)) ? b : a
  }

  #breakCycles(): void {
    const graph = this.#graph
    const { history } = graph
    const cycles = stronglyConnected(graph, (event) => this.#isDone[event] === 0)
    if (cycles.length === 0) throw new Error('the run stands still, and there is no cycle')
    for (const cycle of cycles) {
      const members = new Set(cycle)
      this.#cycles.push(cycle)
      for (const event of cycle) {
        for (let part = history.eventParts.get(event); part < history.partsEnd(event); part++) {
          if (members.has(graph.sourceOf(part))) graph.setAside(part)
        }
      }
    }
    for (const session of this.#sessions) session.isWaiting = false
    for (let event = 0; event < history.eventCount; event++) this.#waiting.set(event, none)
    for (const session of this.#sessions) if (!session.isWaiting) this.#advance(session)
  }
}

interface Session {
  readonly number: number
  readonly events: readonly number[]
  /** What is done comes before this; what may be done, before `end`. */
  next: number
  end: number
  isWaiting: boolean
  /** The next session that waits for the same event. */
  nextWaiting: number
  requests: Known
  pushes: Known
  /** What of the pushes the requests have already. */
  pushesJoined: Known
}

interface Known {
  readonly past: CausalPast
  readonly latest: number
}

/** The sets of more than one event in which each comes before each other, among some of the events (Tarjan 1972). */
function stronglyConnected(
  graph: CausalGraph,
  isAmong: (event: number) => boolean,
): readonly (readonly number[])[] {
  const { history } = graph
  const index = new Column(history.eventCount, none)
  const low = new Column(history.eventCount, 0)
  const isOpen = new Uint8Array(history.eventCount)
  const open: number[] = []
  const found: number[][] = []
  let count = 0
  const enter = (event: number): Visit => {
    index.set(event, count)
    low.set(event, count)
    count++
    open.push(event)
    isOpen[event] = 1
    return { event, causes: causesOf(graph, event), next: 0 }
  }
  for (let start = 0; start < history.eventCount; start++) {
    if (!graph.counts(start) || !isAmong(start) || index.get(start) !== none) continue
    const path = [enter(start)]
    for (let visit = path.at(-1); visit !== undefined; visit = path.at(-1)) {
      const { event } = visit
      const cause = visit.causes[visit.next++]
      if (cause !== undefined) {
        if (!isAmong(cause)) continue
        if (index.get(cause) === none) path.push(enter(cause))
        else if (isOpen[cause] === 1) low.set(event, Math.min(low.get(event), index.get(cause)))
        continue
      }
      path.pop()
      const effect = path.at(-1)
      if (effect !== undefined) low.set(effect.event, Math.min(low.get(effect.event), low.get(event)))
      if (low.get(event) !== index.get(event)) continue
      const members = open.splice(open.lastIndexOf(event))
      for (const member of members) isOpen[member] = 0
      if (members.length > 1) found.push(members)
    }
  }
  return found
}

interface Visit {
  readonly event: number
  readonly causes: readonly number[]
  next: number
}

/** What comes directly before an event. */
function causesOf(graph: CausalGraph, event: number): readonly number[] {
  const { history } = graph
  const session = history.eventSession.get(event)
  const causes: number[] = []
  const requests = graph.requestsBefore(event)
  if (requests > 0) causes.push(graph.requests[session]?.[requests - 1] as number)
  const pushes = graph.pushesBefore(event)
  if (pushes > 0) causes.push(graph.pushes[session]?.[pushes - 1] as number)
  for (let part = history.eventParts.get(event); part < history.partsEnd(event); part++) {
    const source = graph.sourceOf(part)
    if (source !== none) causes.push(source)
  }
  return causes
}
