import { covers, coversCut, type Cut } from './cut.ts'
import type { IncomingSnapshot } from './incoming-snapshot.ts'
import type { KeySpace, Siblings } from './key-space.ts'
import type { KnownMatrix } from './known-matrix.ts'
import type { SnapshotRow, SnapshotSibling } from './messages.ts'
import { writeOf } from './outgoing-snapshot.ts'
import type { KeyRecord, StateRecords } from './output.ts'
import type { RequestTable } from './request-table.ts'
import { AppliedVersion } from './surviving-updates.ts'
import type { Version } from './version.ts'

/**
 * Takes a complete snapshot into the own state, a slice at a time (R8). Between the first slice and the last
 * nothing else may happen to the state, and nobody may look at it: to everyone else it is installed whole.
 *
 * Of a key's siblings those are kept that both sides have, and those that the other side's cut has not seen; one that
 * the other side's cut covers and that it does not have has been overwritten there. Whatever the snapshot brings is
 * applied at positions of its own, after all that was applied here before: no sibling of ours can depend on one that
 * we had not applied, so the order stays causal.
 */
export class SnapshotInstallation {
  readonly snapshot: IncomingSnapshot
  /** The cut that the snapshot is of. */
  readonly theirs: Cut
  readonly #own: OwnState
  readonly #arrivals: ReturnType<IncomingSnapshot['arrivals']>
  readonly #rows: Iterator<readonly [SnapshotRow['origin'], Cut]>
  readonly #sessions: Iterator<Parameters<RequestTable['merge']>[0]>
  /** Where the state on a disk will say that it stands: after all positions that the snapshot can take. */
  #position: number
  #version: AppliedVersion | undefined
  #keys = 0
  #isDone = false

  constructor(snapshot: IncomingSnapshot, theirs: Cut, own: OwnState) {
    this.snapshot = snapshot
    this.theirs = theirs
    this.#own = own
    this.#position = own.position
    this.#arrivals = snapshot.arrivals()
    this.#rows = snapshot.rows.entries()
    this.#sessions = snapshot.sessions[Symbol.iterator]()
  }

  get isDone(): boolean {
    return this.#isDone
  }

  /** The position after the last that the snapshot has taken. */
  get position(): number {
    return this.#position
  }

  /** The position of the next update when it began, which must not have been taken since. */
  get began(): number {
    return this.#own.position
  }

  /** How many writes were new here. */
  get keys(): number {
    return this.#keys
  }

  /**
   * Takes in some of it.
   *
   * @param count of parts, a key with several siblings counting as many.
   * @returns what the state is by that, where it is not just what has arrived.
   */
  advance(count: number): StateRecords {
    const { known, requests } = this.#own
    const keys: KeyRecord[] = []
    const rows: SnapshotRow[] = []
    const sessions: StateRecords['sessions'][number][] = []
    let left = count
    while (left > 0) {
      left--
      const arrival = this.#arrivals.next()
      if (arrival.done !== true) {
        const key = this.#takeSibling(arrival.value)
        if (key !== undefined) {
          keys.push(key)
          left -= key.siblings.length - 1
        }
        continue
      }
      const row = this.#rows.next()
      if (row.done !== true) {
        const [origin, cut] = row.value
        known.merge(origin, cut)
        const merged = known.row(origin)
        if (merged !== undefined && !coversCut(cut, merged)) rows.push({ origin, known: new Map(merged) })
        continue
      }
      const session = this.#sessions.next()
      if (session.done === true) {
        this.#isDone = true
        break
      }
      const wasKnown = requests.sessionRecord(session.value.session) !== undefined
      requests.merge(session.value)
      const merged = requests.sessionRecord(session.value.session)
      if (wasKnown && merged !== undefined) sessions.push(merged)
    }
    return { keys, rows, sessions }
  }

  /** @returns the key as it is from now on; undefined where that is just what has arrived. */
  #takeSibling(sibling: SnapshotSibling): KeyRecord | undefined {
    const { keySpace, applied } = this.#own
    const before = keySpace.siblingsOf(sibling.key)
    const isAsArrived = before === undefined || this.#isAsArrived(sibling.key, before)
    // Applied here before: it is here, or has been overwritten.
    if (covers(applied, sibling.version)) {
      if (before === undefined || isAsArrived) return undefined
      return { key: sibling.key, position: this.#position, siblings: before }
    }
    if (this.#version === undefined || !isSame(this.#version, sibling.version)) {
      this.#version = new AppliedVersion(sibling.version, this.#position++)
    }
    this.#keys++
    const isOverwritten = (version: Version): boolean =>
      covers(this.theirs, version) && !this.snapshot.has(sibling.key, version)
    const siblings = keySpace.apply(writeOf(sibling), this.#version, isOverwritten)
    return isAsArrived ? undefined : { key: sibling.key, position: this.#position, siblings }
  }

  /** Whether a key had just the siblings that have arrived, so that whatever has been staged of it is right. */
  #isAsArrived(key: string, siblings: Siblings): boolean {
    return (
      siblings.length === this.snapshot.countOf(key) &&
      siblings.every(({ version }) => this.snapshot.has(key, version))
    )
  }
}

/** The state that a snapshot is taken into. */
export interface OwnState {
  readonly keySpace: KeySpace
  readonly known: KnownMatrix
  readonly requests: RequestTable
  /** As it was when the installation began: a copy. */
  readonly applied: Cut
  /** The position that the next update would have had. */
  readonly position: number
}

function isSame(a: Version, b: Version): boolean {
  return a.timestamp === b.timestamp && a.origin === b.origin
}
