import type { PageLimits, UpdateLog } from './update-log.ts'
import type { Cut } from './cut.ts'
import type { KeySpace } from './key-space.ts'
import type { KnownMatrix } from './known-matrix.ts'
import type { SessionRecord, SnapshotPage, SnapshotRow, SnapshotSibling } from './messages.ts'
import type { RequestTable } from './request-table.ts'
import { sizeOfValue, type Write } from './update.ts'
import type { Origin } from './version.ts'

/**
 * This replica's whole state, page by page, for a peer whom the log does not reach (R8).
 *
 * The pages are made while writes go on, and cost no copy of anything: first a walk over the surviving updates in the
 * order of their application, then the rows and the sessions, then, by the log, whatever was applied since the
 * walk came to its end. What is told again replaces what was told before. So when that last part has reached the
 * end of the log, all pages together are the state of that very moment, whose cut the last page carries.
 *
 * Siblings are told in an order that is causal: each in the turn of the update that wrote it.
 */
export class OutgoingSnapshot {
  readonly number: number
  readonly #items: Iterator<Item, 'complete' | 'overtaken'>
  #page = 0
  /** An item that did not fit the page before. */
  #held: Item | undefined

  constructor(number: number, state: SnapshotState) {
    this.number = number
    this.#items = itemsOf(state)
  }

  /**
   * The next page.
   *
   * @param applied the replica's own cut, as it is now.
   * @returns undefined where the log no longer holds what was applied since the walk ended: begin anew.
   */
  next(applied: Cut, limits: PageLimits): SnapshotPage | undefined {
    const siblings: SnapshotSibling[] = []
    const rows: SnapshotRow[] = []
    const sessions: SessionRecord[] = []
    const page = { snapshot: this.number, page: ++this.#page, siblings, rows, sessions }
    let count = 0
    let bytes = 0
    for (;;) {
      let item = this.#held
      this.#held = undefined
      if (item === undefined) {
        const next = this.#items.next()
        if (next.done === true) {
          return next.value === 'overtaken' ? undefined : { ...page, applied: new Map(applied) }
        }
        item = next.value
      }
      if (count > 0 && (count === limits.updatesMax || bytes + item.bytes > limits.bytesMax)) {
        this.#held = item
        return page
      }
      count++
      bytes += item.bytes
      if (item.kind === 'sibling') siblings.push(item.sibling)
      else if (item.kind === 'row') rows.push(item.row)
      else sessions.push(item.session)
    }
  }
}

/** What a snapshot is made of, live. */
export interface SnapshotState {
  readonly keySpace: KeySpace
  readonly log: UpdateLog
  readonly known: KnownMatrix
  readonly requests: RequestTable
}

type Item =
  | { readonly kind: 'sibling'; readonly sibling: SnapshotSibling; readonly bytes: number }
  | { readonly kind: 'row'; readonly row: SnapshotRow; readonly bytes: number }
  | { readonly kind: 'session'; readonly session: SessionRecord; readonly bytes: number }

/** It is only ever left at a `yield`, so what it finds at the end of the log is the state of the present step. */
function* itemsOf(state: SnapshotState): Generator<Item, 'complete' | 'overtaken', undefined> {
  const { keySpace, log, known, requests } = state
  for (const { position, keys } of keySpace.survivors.walk()) {
    for (const key of keys) yield* siblingsOf(keySpace, key, position)
  }
  let position = log.end
  // A row that comes to be meanwhile is told here too, which does no harm.
  for (const origin of known.origins) yield* rowOf(known, origin)
  // A walk sees what changes while it is under way again, at its end.
  for (const session of requests.sessions()) yield sessionItem(session)
  for (; position < log.end; position++) {
    const update = log.at(position)?.update
    if (update === undefined) return 'overtaken'
    for (const { key } of update.writes) yield* siblingsOf(keySpace, key, position)
    yield* rowOf(known, update.origin)
    const session = update.request === undefined ? undefined : requests.sessionRecord(update.request.session)
    if (session !== undefined) yield sessionItem(session)
  }
  return 'complete'
}

/** The siblings of a key that were applied up to a position, in that order: later ones come in their own turn. */
function* siblingsOf(keySpace: KeySpace, key: string, position: number): Generator<Item, void, undefined> {
  const siblings = (keySpace.siblingsOf(key) ?? [])
    .filter(({ version }) => version.position <= position)
    .toSorted((a, b) => a.version.position - b.version.position)
  for (const [index, sibling] of siblings.entries()) {
    const bytes = siblingOverheadBytes + key.length + sizeOfValue(sibling.value)
    const told: SnapshotSibling = { key, ...sibling, ...(index === 0 ? { first: true } : {}) }
    yield { kind: 'sibling', sibling: told, bytes }
  }
}

function* rowOf(known: KnownMatrix, origin: Origin): Generator<Item, void, undefined> {
  const row = known.row(origin)
  if (row === undefined) return
  yield { kind: 'row', row: { origin, known: new Map(row) }, bytes: (row.size + 1) * entryBytes }
}

function sessionItem(session: SessionRecord): Item {
  const bytes = entryBytes + session.session.length + session.answers.length * answerBytes
  return { kind: 'session', session, bytes }
}

/** What a sibling takes beside its key and value: names, a version. */
const siblingOverheadBytes = 80
const entryBytes = 32
const answerBytes = 64

/** A sibling as a write, as if its update were applied now. */
export function writeOf({ key, value, deleted }: SnapshotSibling): Write {
  if (deleted === true) return { key, deleted }
  return { key, value: value ?? null }
}
