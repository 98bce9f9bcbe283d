import type {
  EventLine,
  FinalLine,
  HistoryLine,
  SeenVersion,
  TransactionPart,
} from '../../src/check/history-line.ts'
import type { Pattern } from '../../src/check/verdict.ts'

/**
 * The patterns of a history by their definitions, and nothing clever: the causal order is a matrix that is closed in n³
 * steps, and every condition is tried on every pair. What the checker must agree with.
 */
export function patternsByDefinition(lines: readonly HistoryLine[]): ReadonlySet<Pattern> {
  return new Definitions(lines).patterns
}

class Definitions {
  readonly patterns = new Set<Pattern>()
  readonly #events: Event[] = []
  readonly #finals: Sighting[] = []
  readonly #lost = new Set<string>()
  readonly #sightings: Sighting[] = []

  constructor(lines: readonly HistoryLine[]) {
    for (const line of lines) {
      if (line.op === 'lost') this.#lost.add(nameOf(line.version))
      else if (line.op === 'final') this.#finals.push(sightingOf(line, undefined))
      else this.#events.push(eventOf(line))
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
        this.patterns.add('ThinAirRead')
      if (updates.some((other) => other !== event && isSame(other.version, event.version)))
        this.patterns.add('ThinAirRead')
    }
    for (const event of this.#events) {
      if (isUpdate(event) || event.ok !== true) continue
      for (const part of event.parts) if (part.version != null) this.#sightings.push(sightingOf(part, event))
      event.sightings = this.#sightings.filter((sighting) => sighting.event === event)
    }
    const all = [...this.#sightings, ...this.#finals]
    for (const sighting of all) if (sighting.value !== undefined) this.#explainValue(sighting, updates)
    const unexplained = all.filter((sighting) => {
      if (sighting.value !== undefined) return false
      const event = updates.find(({ version }) => isSame(version, sighting.version))
      if (event === undefined) return true
      if (deletes(event, sighting.key)) sighting.source = event
      else this.patterns.add('ThinAirRead')
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
    this.patterns.add('ThinAirRead')
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
        this.patterns.add('ThinAirRead')
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
    const all = closure(events, (a, b) => isSessionBefore(a, b) || sees(b, a))
    if (events.some((event) => all(event, event))) this.patterns.add('CyclicCO')
    // A set-aside observation is one of a write that comes after the observer.
    for (const event of events) {
      event.sightings = event.sightings.filter(({ source }) => source !== undefined)
      for (const sighting of event.sightings) sighting.isSetAside = all(event, sighting.source as Event)
    }
    const before = closure(events, (a, b) => isSessionBefore(a, b) || sees(b, a))
    const updates = events.filter(isUpdate)
    for (const later of updates) {
      if (updates.some((earlier) => before(earlier, later) && !isAbove(later.version, earlier.version))) {
        this.patterns.add('CyclicCF')
      }
    }
    for (const event of events) {
      if (isUpdate(event)) continue
      for (const part of event.parts) this.#judgePart(event, part, events, before)
    }
  }

  #judgePart(event: Event, part: TransactionPart, events: readonly Event[], before: Relation): void {
    const sighting = event.sightings.find(({ of }) => of === part)
    if (part.version != null && (sighting === undefined || sighting.isSetAside)) return
    const seen = sighting?.source
    const known = events.filter((write) => write !== seen && writes(write, part.key) && before(write, event))
    const isOverwritten = seen !== undefined && known.some((write) => before(seen, write))
    const higher = known.filter((write) => seen === undefined || isAbove(write.version, seen.version))
    if (event.isPush) {
      if (isOverwritten) this.patterns.add('WriteCORead')
      return
    }
    if (!isOverwritten && higher.length === 0) return
    const witnesses = events.filter((other) => other === event || isSessionBefore(other, event))
    const highest = higher.filter((write) => !higher.some((other) => isAbove(other.version, write.version)))
    const isTorn = highest.some((batch) =>
      witnesses.some(({ sightings }) =>
        sightings.some(({ key, source, isSetAside }) => source === batch && key !== part.key && !isSetAside),
      ),
    )
    if (isTorn) this.patterns.add('FracturedRead')
    else if (seen === undefined) this.patterns.add('WriteCOInitRead')
    else this.patterns.add(isOverwritten ? 'WriteCORead' : 'CyclicCF')
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
      if (new Set(told).size > 1) this.patterns.add('DivergentFinal')
      for (const event of this.#events) {
        if (!isUpdate(event) || event.version === undefined || !writes(event, key)) continue
        if (this.#lost.has(nameOf(event.version))) continue
        if (ends.some((end) => end === undefined || isAbove(event.version, end.version)))
          this.patterns.add('LostWrite')
      }
    }
  }
}

type Relation = (a: Event, b: Event) => boolean

interface Event {
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

function eventOf(line: EventLine): Event {
  const parts =
    line.op === 'txn'
      ? line.ops
      : [line.op === 'push' ? { ...line, op: 'read' as const } : (line as TransactionPart)]
  return {
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

function closure(events: readonly Event[], direct: Relation): Relation {
  const numbers = new Map(events.map((event, number) => [event, number]))
  const reaches = events.map((a) => events.map((b) => direct(a, b)))
  for (const via of reaches.keys()) {
    for (const row of reaches) {
      if (row[via] !== true) continue
      for (const to of reaches.keys()) if (reaches[via]?.[to] === true) row[to] = true
    }
  }
  return (a, b) => reaches[numbers.get(a) ?? -1]?.[numbers.get(b) ?? -1] === true
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
