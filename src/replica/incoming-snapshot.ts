import { coversCut, raise, raiseAll, type Cut, type MutableCut } from './cut.ts'
import type { Sibling, Siblings } from './key-space.ts'
import type { SessionRecord, SnapshotPage, SnapshotSibling } from './messages.ts'
import { versionKey } from './questions.ts'
import { compareVersions, type Origin, type ServerId, type Version } from './version.ts'

/**
 * A snapshot of a peer's state on its way here: kept beside the own state, without effect on it, until its last
 * page has come (R8).
 *
 * What is told again replaces what was told before. A sibling that stays in its key's set keeps the place in which it
 * was first told, so the order of the arrivals is causal.
 *
 * Its size is the peer's to choose: a peer that lies can fill the memory here, as it could by updates (peers are trusted).
 */
export class IncomingSnapshot {
  readonly from: ServerId
  readonly number: number
  /** In the order in which each was first told; those that have been replaced are passed over, and cut out in time. */
  #arrivals: Arrival[] = []
  #replacedCount = 0
  readonly #siblings = new Map<string, KeyArrivals>()
  readonly #rows = new Map<Origin, Cut>()
  readonly #sessions = new Map<string, SessionRecord>()
  /** Everything that any part of it names: all of it must be covered by `applied` in the end. */
  readonly #named: MutableCut = new Map()
  #applied: Cut | undefined
  #pages = 0
  /** The arrivals of the key that is being told, as they were before it was told again. */
  #before: KeyArrivals = new Map()
  #key: string | undefined

  constructor(from: ServerId, number: number) {
    this.from = from
    this.number = number
  }

  /** What it is a snapshot of; undefined until its last page has come. */
  get applied(): Cut | undefined {
    return this.#applied
  }

  get rows(): ReadonlyMap<Origin, Cut> {
    return this.#rows
  }

  get sessions(): Iterable<SessionRecord> {
    return this.#sessions.values()
  }

  /** Whether a page is the next of this snapshot. */
  expects(from: ServerId, page: SnapshotPage): boolean {
    return from === this.from && page.snapshot === this.number && page.page === this.#pages + 1
  }

  /** @returns the rule that the snapshot breaks, or undefined. */
  take(page: SnapshotPage): string | undefined {
    this.#pages++
    const isEmpty = page.siblings.length === 0 && page.rows.length === 0 && page.sessions.length === 0
    if (isEmpty && page.applied === undefined) return 'it has a page with nothing on it that is not its last'
    for (const sibling of page.siblings) this.#takeSibling(sibling)
    for (const { origin, known } of page.rows) {
      this.#rows.set(origin, known)
      raiseAll(this.#named, known)
    }
    for (const session of page.sessions) {
      this.#sessions.set(session.session, session)
      for (const { version } of session.answers) raise(this.#named, version.origin, version.timestamp)
    }
    if (this.#replacedCount > keptReplacedMax && this.#replacedCount * 2 > this.#arrivals.length) {
      this.#arrivals = this.#arrivals.filter((arrival) => arrival.isCurrent)
      this.#replacedCount = 0
    }
    if (page.applied === undefined) return undefined
    for (const timestamp of page.applied.values()) {
      if (timestamp > timestampMax) return `its cut names timestamp ${timestamp}, which no mesh has come to`
    }
    if (!coversCut(page.applied, this.#named)) {
      return 'it holds versions that the cut on its last page does not cover'
    }
    this.#applied = page.applied
    return undefined
  }

  /** The siblings of a key as they were told last, the winner first. */
  siblingsOf(key: string): Siblings {
    const siblings = [...(this.#siblings.get(key)?.values() ?? [])].map(({ sibling }) => asSibling(sibling))
    return siblings.toSorted((a, b) => compareVersions(b.version, a.version)) as unknown as Siblings
  }

  /** What has arrived and was not replaced, in causal order. */
  *arrivals(): Generator<SnapshotSibling, void, undefined> {
    for (const { sibling, isCurrent } of this.#arrivals) if (isCurrent) yield sibling
  }

  /** How many siblings of a key the peer has. */
  countOf(key: string): number {
    return this.#siblings.get(key)?.size ?? 0
  }

  /** Whether the peer has a version among the siblings of a key. */
  has(key: string, version: Version): boolean {
    return this.#siblings.get(key)?.has(versionKey(version)) === true
  }

  #takeSibling(told: SnapshotSibling): void {
    const { key, version } = told
    raise(this.#named, version.origin, version.timestamp)
    if (told.first === true || key !== this.#key) {
      this.#forgetReplaced()
      this.#key = key
      if (told.first === true) {
        this.#before = this.#siblings.get(key) ?? new Map()
        this.#siblings.set(key, new Map())
        for (const arrival of this.#before.values()) {
          arrival.isCurrent = false
          this.#replacedCount++
        }
      }
    }
    let siblings = this.#siblings.get(key)
    if (siblings === undefined) {
      siblings = new Map()
      this.#siblings.set(key, siblings)
    }
    const name = versionKey(version)
    if (siblings.has(name)) return
    let arrival = this.#before.get(name)
    if (arrival === undefined) {
      arrival = { sibling: told, isCurrent: true }
      this.#arrivals.push(arrival)
    } else {
      arrival.isCurrent = true
      this.#replacedCount--
    }
    siblings.set(name, arrival)
  }

  /** The key before has been told to its end. */
  #forgetReplaced(): void {
    this.#before = new Map()
  }
}

function asSibling({ version, value, deleted }: SnapshotSibling): Sibling {
  return deleted === true ? { version, deleted } : { version, value: value ?? null }
}

interface Arrival {
  readonly sibling: SnapshotSibling
  /** Whether it is among its key's siblings as they were told last. */
  isCurrent: boolean
}

/** Of one key, by version. */
type KeyArrivals = Map<string, Arrival>

/** Cutting out fewer is not worth the while. */
const keptReplacedMax = 1_024

/**
 * A snapshot cannot prove its timestamps as updates can (R1). This keeps a faulty one from using them up: as many again
 * are left, and counting to here takes 140,000 years of a thousand writes a second.
 */
const timestampMax = 2 ** 52
