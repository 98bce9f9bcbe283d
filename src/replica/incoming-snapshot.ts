import { coversCut, raise, raiseAll, type Cut, type MutableCut } from './cut.ts'
import type { SessionRecord, SnapshotPage, SnapshotSibling } from './messages.ts'
import type { Origin, ServerId, Version } from './version.ts'

/**
 * A snapshot of a peer's state on its way here: kept beside the own state, without effect on it, until its last
 * page has come (R8).
 */
export class IncomingSnapshot {
  readonly from: ServerId
  readonly number: number
  /**
   * Siblings in the order in which each was first told, which is causal. One that has been replaced since is no
   * longer among its key's in `#siblings`, and is passed over.
   */
  readonly #arrivals: SnapshotSibling[] = []
  readonly #siblings = new Map<string, SnapshotSibling[]>()
  readonly #rows = new Map<Origin, Cut>()
  readonly #sessions = new Map<string, SessionRecord>()
  /** Everything that any part of it names: all of it must be covered by `applied` in the end. */
  readonly #named: MutableCut = new Map()
  #applied: Cut | undefined
  #pages = 0
  /** The siblings of the key that is being told, as they were before it was told again. */
  #replaced: readonly SnapshotSibling[] = []

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
    for (const sibling of page.siblings) this.#takeSibling(sibling)
    for (const { origin, known } of page.rows) {
      this.#rows.set(origin, known)
      raiseAll(this.#named, known)
    }
    for (const session of page.sessions) {
      this.#sessions.set(session.session, session)
      for (const { version } of session.answers) raise(this.#named, version.origin, version.timestamp)
    }
    if (page.applied === undefined) return undefined
    if (!coversCut(page.applied, this.#named))
      return 'it holds versions that the cut on its last page does not cover'
    this.#applied = page.applied
    return undefined
  }

  /** What has arrived and was not replaced, in causal order, with the other siblings of its key. */
  *arrivals(): Generator<
    { readonly sibling: SnapshotSibling; readonly all: readonly SnapshotSibling[] },
    void,
    undefined
  > {
    for (const sibling of this.#arrivals) {
      const all = this.#siblings.get(sibling.key) ?? []
      if (all.includes(sibling)) yield { sibling, all }
    }
  }

  #takeSibling(told: SnapshotSibling): void {
    const { key, version, first } = told
    raise(this.#named, version.origin, version.timestamp)
    if (first === true) {
      this.#replaced = this.#siblings.get(key) ?? []
      this.#siblings.set(key, [])
    }
    const known = this.#replaced.find((sibling) => sibling.key === key && isSame(sibling.version, version))
    if (known === undefined) this.#arrivals.push(told)
    const siblings = this.#siblings.get(key)
    if (siblings === undefined) this.#siblings.set(key, [known ?? told])
    else siblings.push(known ?? told)
  }
}

function isSame(a: Version, b: Version): boolean {
  return a.timestamp === b.timestamp && a.origin === b.origin
}
