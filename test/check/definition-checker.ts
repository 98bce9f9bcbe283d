import type {
  EventLine,
  FinalLine,
  HistoryLine,
  SeenVersion,
  TransactionPart,
} from '../../src/check/history-line.ts'
import type { Pattern } from '../../src/check/verdict.ts'

/** A violation, as far as two checkers have to agree on it. */
export interface DefinedViolation {
  readonly pattern: Pattern
  /** The line that cannot be so; 0 where several lines together cannot. */
  readonly line: number
  /** How many events show it at least; 0 where that is a matter of wording. */
  readonly size: number
}

/**
 * The violations of a history by their definitions, and nothing clever: the causal order is a matrix that is closed in n³
 * steps, and every condition is tried on every pair. What the checker must agree with.
 */
export function violationsByDefinition(lines: readonly HistoryLine[]): readonly DefinedViolation[] {
  return new Definitions(lines).violations
}

class Definitions {
  readonly violations: DefinedViolation[] = []
  readonly #events: Event[] = []
  readonly #finals: Sighting[] = []
  readonly #lost = new Set<string>()
  readonly #sightings: Sighting[] = []

  constructor(lines: readonly HistoryLine[]) {
    for (const [index, line] of lines.entries()) {
      if (line.op === 'lost') this.#lost.add(nameOf(line.version))
      else if (line.op === 'final') this.#finals.push(sightingOf(line, undefined))
      else this.#events.push(eventOf(line, index + 1))
    }
    this.#explain()
    this.#judgeOrder()
    this.#judgeEnd()
  }

  // ── who wrote what was seen ────────────────────────────────────────────────────────────────────────────

  #explain(): void {
    const updates = this.#events.filter(isUpdate)
    for (const event of updates.filter(({ ok }) => ok === true)) {
      event.version = event.parts[0]?.version ?? undefined
      if (event.parts.some(({ version }) => nameOf(version) !== nameOf(event.version)))
        this.#add('ThinAirRead')
      if (updates.some((other) => other !== event && isSame(other.version, event.version)))
        this.#add('ThinAirRead')
    }
    for (const event of this.#events) {
      if (isUpdate(event) || event.ok !== true) continue
      for (const part of event.parts) if (hasVersion(part)) this.#sightings.push(sightingOf(part, event))
      event.sightings = this.#sightings.filter((sighting) => sighting.event === event)
    }
    const all = [...this.#sightings, ...this.#finals]
    for (const sighting of all) if (sighting.value !== undefined) this.#explainValue(sighting, updates)
    const unexplained = all.filter((sighting) => {
      if (sighting.value !== undefined) return false
      const event = updates.find(({ version }) => isSame(version, sighting.version))
      if (event === undefined) return true
      if (deletes(event, sighting.key)) sighting.source = event
      else this.#add('ThinAirRead')
      return false
    })
    this.#explainTombstones(unexplained, updates)
  }

  #explainValue(sighting: Sighting, updates: readonly Event[]): void {
    const { value, key, version } = sighting
    const event = updates.find(({ parts }) =>
      parts.some((part) => part.op === 'write' && part.value === value),
    )
    const isOfKey = event?.parts.some((part) => part.value === value && part.key === key) === true
    if (event !== undefined && isOfKey && event.ok !== false) {
      if (event.version === undefined && !updates.some((other) => isSame(other.version, version)))
        event.version = version
      if (isSame(event.version, version)) {
        sighting.source = event
        return
      }
    }
    this.#add('ThinAirRead')
  }

  /** First what has one explanation only, over and over; then what can be explained beside all that was seen before. */
  #explainTombstones(unexplained: readonly Sighting[], updates: readonly Event[]): void {
    let versions = [...new Set(unexplained.map(({ version }) => nameOf(version)))]
    const seenUnder = (name: string) => unexplained.filter(({ version }) => nameOf(version) === name)
    const candidatesOf = (name: string): readonly Event[] =>
      updates.filter(
        (event) =>
          event.ok === null &&
          event.version === undefined &&
          seenUnder(name).every(({ key }) => deletes(event, key)),
      )
    const explain = (name: string, event: Event): void => {
      for (const sighting of seenUnder(name)) {
        sighting.source = event
        event.version = sighting.version
      }
    }
    for (let isSettling = true; isSettling;) {
      isSettling = false
      for (const name of versions) {
        const [event, ...others] = candidatesOf(name)
        if (event === undefined || others.length > 0) continue
        explain(name, event)
        versions = versions.filter((other) => other !== name)
        isSettling = true
        break
      }
    }
    const explained = explainable(versions, candidatesOf)
    for (const name of versions) {
      const event = explained.get(name)
      if (event === undefined) {
        this.#add('ThinAirRead')
        continue
      }
      explain(name, event)
      event.seenKeys = new Set(seenUnder(name).map(({ key }) => key))
    }
  }

  // ── the causal order ───────────────────────────────────────────────────────────────────────────────────

  #judgeOrder(): void {
    const events = this.#events.filter((event) =>
      isUpdate(event) ? event.version !== undefined : event.ok === true,
    )
    const cyclic = distances(events, (a, b) => isSessionBefore(a, b) || sees(b, a))
    this.#judgeCycles(events, cyclic)
    // A set-aside observation is one of a write that comes after the observer.
    for (const event of events) {
      event.sightings = event.sightings.filter(({ source }) => source !== undefined)
      for (const sighting of event.sightings)
        sighting.isSetAside = isBefore(cyclic, event, sighting.source as Event)
    }
    const distance = distances(events, (a, b) => isSessionBefore(a, b) || sees(b, a))
    const updates = events.filter(isUpdate)
    for (const later of updates) {
      const earlier = updates.filter((one) => !isAbove(later.version, one.version))
      const size = 1 + least(earlier.map((one) => distance(one, later)))
      if (size < Infinity) this.#add('CyclicCF', later, size)
    }
    for (const event of events) {
      if (isUpdate(event)) continue
      for (const part of event.parts) this.#judgePart(event, part, events, distance)
    }
  }

  /** Events that come before each other are one violation, as long as the shortest cycle through one of them. */
  #judgeCycles(events: readonly Event[], distance: Distance): void {
    const judged = new Set<Event>()
    for (const event of events) {
      if (judged.has(event) || !isBefore(distance, event, event)) continue
      const members = events.filter(
        (other) => isBefore(distance, event, other) && isBefore(distance, other, event),
      )
      for (const member of members) judged.add(member)
      this.#add('CyclicCO', undefined, 1 + least(members.map((member) => distance(member, member))))
    }
  }

  #judgePart(event: Event, part: TransactionPart, events: readonly Event[], distance: Distance): void {
    const sighting = event.sightings.find(({ of }) => of === part)
    if (hasVersion(part) && (sighting === undefined || sighting.isSetAside)) return
    const seen = sighting?.source
    const known = events.filter(
      (write) => write !== seen && writes(write, part.key) && isBefore(distance, write, event),
    )
    const overwritten =
      seen === undefined
        ? Infinity
        : 1 + least(known.map((write) => distance(seen, write) + distance(write, event)))
    if (event.isPush) {
      if (overwritten < Infinity) this.#add('WriteCORead', event, overwritten)
      return
    }
    const higher = known.filter((write) => seen === undefined || isAbove(write.version, seen.version))
    if (overwritten === Infinity && higher.length === 0) return
    const first = seen === undefined ? 1 : 2
    const highest = higher.filter((write) => !higher.some((other) => isAbove(other.version, write.version)))
    const showsOther = (witness: Event, batch: Event): boolean =>
      witness.sightings.some(
        ({ key, source, isSetAside }) => source === batch && key !== part.key && !isSetAside,
      )
    const isTornWithin = highest.some((batch) => showsOther(event, batch))
    const isTorn = highest.some((batch) =>
      events.some((witness) => isSessionBefore(witness, event) && showsOther(witness, batch)),
    )
    if (isTornWithin) this.#add('FracturedRead', event, first + 1)
    else if (isTorn) this.#add('FracturedRead', event, first + 2)
    else if (overwritten < Infinity) this.#add('WriteCORead', event, overwritten)
    else {
      const size = first + least(higher.map((write) => distance(write, event)))
      this.#add(seen === undefined ? 'WriteCOInitRead' : 'CyclicCF', event, size)
    }
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────────

  #judgeEnd(): void {
    const servers = new Set(this.#finals.map(({ server }) => server))
    const keys = new Set([
      ...this.#finals.map(({ key }) => key),
      ...this.#events.flatMap(({ parts }) => parts.map(({ key }) => key)),
    ])
    for (const key of keys) {
      const ends = [...servers].map((server) =>
        this.#finals.find((final) => final.server === server && final.key === key),
      )
      const told = ends.map((end) =>
        end === undefined ? 'nothing' : JSON.stringify([end.version, end.value]),
      )
      if (new Set(told).size > 1) this.#add('DivergentFinal')
      const isMissing = (event: Event): boolean =>
        writes(event, key) &&
        event.version !== undefined &&
        !this.#lost.has(nameOf(event.version)) &&
        ends.some((end) => end === undefined || isAbove(event.version, end.version))
      if (this.#events.some(isMissing)) this.#add('LostWrite')
    }
  }

  #add(pattern: Pattern, event?: Event, size = 0): void {
    this.violations.push({ pattern, line: event?.line ?? 0, size })
  }
}

type Distance = (a: Event, b: Event) => number

interface Event {
  readonly line: number
  readonly session: string
  readonly i: number
  readonly ok: boolean | null
  readonly isPush: boolean
  readonly parts: readonly TransactionPart[]
  sightings: Sighting[]
  version: SeenVersion | undefined
  /** Of a deletion that is only one of several possible: the keys of which it is known to have deleted one. */
  seenKeys: ReadonlySet<string> | undefined
}

interface Sighting {
  readonly of: TransactionPart | FinalLine
  readonly event: Event | undefined
  readonly server: string | undefined
  readonly key: string
  readonly value: string | undefined
  readonly version: SeenVersion
  source: Event | undefined
  isSetAside: boolean
}

function eventOf(line: EventLine, number: number): Event {
  const parts =
    line.op === 'txn'
      ? line.ops
      : [line.op === 'push' ? { ...line, op: 'read' as const } : (line as TransactionPart)]
  return {
    line: number,
    session: line.session,
    i: line.i,
    ok: line.ok === undefined ? true : line.ok,
    isPush: line.op === 'push',
    parts,
    sightings: [],
    version: undefined,
    seenKeys: undefined,
  }
}

function sightingOf(of: TransactionPart | FinalLine, event: Event | undefined): Sighting {
  return {
    of,
    event,
    server: of.op === 'final' ? of.server : undefined,
    key: of.key,
    value: of.value ?? undefined,
    version: of.version as SeenVersion,
    source: undefined,
    isSetAside: false,
  }
}

function isUpdate({ parts }: Event): boolean {
  return parts.some(({ op }) => op !== 'read')
}

function writes(event: Event, key: string): boolean {
  if (!isUpdate(event)) return false
  return event.parts.some((part) => part.key === key) && (event.seenKeys?.has(key) ?? true)
}

function deletes(event: Event, key: string): boolean {
  return event.parts.some((part) => part.op === 'delete' && part.key === key)
}

function sees(observer: Event, write: Event): boolean {
  return observer.sightings.some(({ source, isSetAside }) => source === write && !isSetAside)
}

function isSessionBefore(a: Event, b: Event): boolean {
  if (a.session !== b.session || a.i >= b.i) return false
  // Nobody has seen a write of unknown outcome come before what its session did next.
  if (isUpdate(a) && a.ok === null) return false
  // Where a deletion may be one of several, it is not known where it stands.
  if (b.seenKeys !== undefined) return false
  return !b.isPush || a.isPush
}

/** How many steps there are at least from one event to another, one or more; without a path, infinitely many. */
function distances(events: readonly Event[], direct: (a: Event, b: Event) => boolean): Distance {
  const numbers = new Map(events.map((event, number) => [event, number]))
  const rows = events.map((a) => events.map((b) => (direct(a, b) ? 1 : Infinity)))
  for (const via of rows.keys()) {
    for (const row of rows) {
      for (const to of rows.keys()) row[to] = least([row[to], (row[via] ?? 0) + (rows[via]?.[to] ?? 0)])
    }
  }
  return (a, b) => rows[numbers.get(a) ?? -1]?.[numbers.get(b) ?? -1] ?? Infinity
}

function isBefore(distance: Distance, a: Event, b: Event): boolean {
  return distance(a, b) < Infinity
}

function least(numbers: readonly (number | undefined)[]): number {
  return Math.min(Infinity, ...numbers.map((number) => number ?? Infinity))
}

/** One after the other, each that can have an explanation together with those before it; by trying all. */
function explainable(
  names: readonly string[],
  candidatesOf: (name: string) => readonly Event[],
): ReadonlyMap<string, Event> {
  let explained: ReadonlyMap<string, Event> = new Map()
  for (const name of names) {
    explained = assignment([...explained.keys(), name], candidatesOf) ?? explained
  }
  return explained
}

/** An event for each name, no event twice; undefined where there is none. */
function assignment(
  names: readonly string[],
  candidatesOf: (name: string) => readonly Event[],
): ReadonlyMap<string, Event> | undefined {
  const [name, ...rest] = names
  if (name === undefined) return new Map()
  for (const event of candidatesOf(name)) {
    const others = assignment(rest, (other) => candidatesOf(other).filter((one) => one !== event))
    if (others !== undefined) return new Map([...others, [name, event]])
  }
  return undefined
}

function hasVersion({ version }: TransactionPart): boolean {
  return version !== undefined && version !== null
}

function nameOf(version: SeenVersion | null | undefined): string {
  return JSON.stringify(version ?? null)
}

function isSame(a: SeenVersion | undefined, b: SeenVersion | undefined): boolean {
  return a !== undefined && b !== undefined && nameOf(a) === nameOf(b)
}

function isAbove(a: SeenVersion | undefined, b: SeenVersion | undefined): boolean {
  if (a === undefined || b === undefined) return false
  return a[0] === b[0] ? a[1] > b[1] : a[0] > b[0]
}
