import { setImmediate as nextTurn } from 'node:timers/promises'
import { encodeUpdate } from '../protocol/peer-messages.ts'
import type { StateRecords } from '../replica/output.ts'
import type { Origin } from '../replica/version.ts'
import type { Positions } from './positions.ts'
import type { KnownServer, StoreBatch } from './store.ts'
import { storedKey, type StoredCut } from './stored-record.ts'

/**
 * A batch in words, as the commit log keeps it: lines, each of which is a JSON text.
 *
 *     [17,{"origin":…},{"origin":…}]      updates from a position on
 *     {"state":{"kx":[…],"salice":null}}  records of the state, by the names that they have in its table
 *     {"unstage":true}                    what has been staged is of no use
 *     {"staged":{"kx":[…]}}               records beside the state
 *     {"progress":{"checkpoint":17,…}}    what else is known of the state; with `isInstalled` it is an installation
 *     {"addresses":[…]}                   of other servers
 */

/** What a store knows of its state besides its records. */
export interface Progress extends Omit<Positions, 'logEnd'> {
  readonly applied: StoredCut
  readonly logFloor: StoredCut
  /** Whether what is staged comes before the state. */
  readonly isInstalled: boolean
}

/** What a commit changes besides the log of updates. Its parts take effect in this order. */
export interface TableChanges {
  readonly state: readonly TableRecord[]
  readonly unstage: boolean
  readonly staged: readonly TableRecord[]
  readonly progress: Partial<Progress> | undefined
  /** In JSON. */
  readonly addresses: string | undefined
}

export interface TableRecord {
  readonly name: string
  /** In JSON; `null` of a session of which nothing is kept. */
  readonly text: string
}

/** What a record of the state is of, as its name begins: a key, a row, a session. In their order. */
export const recordKinds = ['k', 'r', 's'] as const

export type RecordKind = (typeof recordKinds)[number]

/** A batch whose lists and cuts are its own: whoever made it may raise and fill those again. */
export interface TakenBatch {
  readonly log: NonNullable<StoreBatch['log']>
  readonly state: TakenRecords | undefined
  /** Those of a checkpoint. */
  readonly rows: readonly StoredRow[]
  readonly unstage: boolean
  readonly staged: TakenRecords | undefined
  readonly progress: Partial<Progress> | undefined
  readonly addresses: readonly KnownServer[] | undefined
}

interface TakenRecords extends Omit<StateRecords, 'rows'> {
  readonly rows: readonly StoredRow[]
}

interface StoredRow {
  readonly origin: Origin
  readonly known: StoredCut
}

/** @param positions after it. */
export function taken(batch: StoreBatch, positions: Positions): TakenBatch {
  const { log, state, checkpoint, trim, unstage, staged, install, addresses } = batch
  const applied = install?.applied ?? checkpoint?.applied
  const logFloor = install?.logFloor ?? trim?.logFloor
  return {
    log: log === undefined ? [] : [...log],
    state: state && takenRecords(state),
    rows: checkpoint === undefined ? [] : takenRows(checkpoint.rows),
    unstage: unstage === true,
    staged: staged && takenRecords(staged),
    progress:
      applied === undefined && logFloor === undefined
        ? undefined
        : {
            checkpoint: positions.checkpoint,
            trim: positions.trim,
            ...(applied && { applied: [...applied] }),
            ...(logFloor && { logFloor: [...logFloor] }),
            ...(install && { isInstalled: true }),
          },
    addresses: addresses && [...addresses],
  }
}

function takenRecords({ keys, rows, sessions }: StateRecords): TakenRecords {
  return { keys: [...keys], rows: takenRows(rows), sessions: [...sessions] }
}

function takenRows(rows: StateRecords['rows']): readonly StoredRow[] {
  return rows.map(({ origin, known }) => ({ origin, known: [...known] }))
}

/**
 * Puts a batch into lines, in turns that are short enough for the process to keep up with its sockets.
 *
 * @returns what it changes in the tables, too; undefined where it only adds to the log.
 */
export async function linesOf(
  batch: TakenBatch,
): Promise<{ readonly lines: readonly string[]; readonly changes: TableChanges | undefined }> {
  const lines: string[] = []
  const pace = new Pace()
  for (const line of updateLines(batch.log)) {
    lines.push(line)
    if (pace.isOver) await pace.nextTurn()
  }
  const { progress, unstage, addresses } = batch
  const gathered = async (
    member: 'state' | 'staged',
    records: Iterable<TableRecord>,
  ): Promise<TableRecord[]> => {
    const all: TableRecord[] = []
    let texts: string[] = []
    let length = 0
    const endLine = (): void => {
      if (texts.length > 0) lines.push(`{"${member}":{${texts.join()}}}`)
      texts = []
      length = 0
    }
    for (const record of records) {
      const text = `${JSON.stringify(record.name)}:${record.text}`
      all.push(record)
      texts.push(text)
      length += text.length
      if (length < lineLengthMin) continue
      endLine()
      if (pace.isOver) await pace.nextTurn()
    }
    endLine()
    return all
  }
  const state = await gathered('state', stateRecords(batch))
  if (unstage) lines.push('{"unstage":true}')
  const staged = batch.staged === undefined ? [] : await gathered('staged', tableRecords(batch.staged))
  if (progress !== undefined) lines.push(JSON.stringify({ progress }))
  if (addresses !== undefined) lines.push(JSON.stringify({ addresses }))
  const isOnlyLog =
    state.length + staged.length === 0 && !unstage && progress === undefined && addresses === undefined
  const changes = { state, unstage, staged, progress, addresses: addresses && JSON.stringify(addresses) }
  return { lines, changes: isOnlyLog ? undefined : changes }
}

/**
 * What the lines of a commit change in the tables; undefined where they only add to the log.
 *
 * @throws SyntaxError or TypeError where they are no lines of {@link linesOf}.
 */
export function changesIn(lines: readonly string[]): TableChanges | undefined {
  const state: TableRecord[] = []
  const staged: TableRecord[] = []
  let unstage = false
  let progress: Partial<Progress> | undefined
  let addresses: string | undefined
  let isOnlyLog = true
  for (const line of lines) {
    if (line === '' || isUpdateLine(line)) continue
    isOnlyLog = false
    const members = JSON.parse(line) as { readonly [member: string]: unknown }
    for (const [member, value] of Object.entries(members)) {
      if (member === 'state') state.push(...recordsIn(value))
      else if (member === 'staged') staged.push(...recordsIn(value))
      else if (member === 'unstage') unstage = true
      else if (member === 'progress') progress = value as Partial<Progress>
      else if (member === 'addresses') addresses = JSON.stringify(value)
      else throw new TypeError(`a line of the log tells of ${member}`)
    }
  }
  return isOnlyLog ? undefined : { state, unstage, staged, progress, addresses }
}

/** Whether a line holds updates: `[position, update, …]`. */
export function isUpdateLine(line: string): boolean {
  return line.startsWith('[')
}

function recordsIn(value: unknown): readonly TableRecord[] {
  return Object.entries(value as object).map(([name, record]) => ({ name, text: JSON.stringify(record) }))
}

/** Updates whose positions follow each other share a line, as far as it is not too long. */
function* updateLines(log: TakenBatch['log']): Generator<string, void, undefined> {
  let line = ''
  let next = 0
  for (const { position, entry } of log) {
    if (line !== '' && (position !== next || line.length >= lineLengthMin)) {
      yield `${line}]`
      line = ''
    }
    line = `${line === '' ? `[${position}` : line},${encodeUpdate(entry.update)}`
    next = position + 1
  }
  if (line !== '') yield `${line}]`
}

function* stateRecords({ state, rows }: TakenBatch): Generator<TableRecord, void, undefined> {
  if (state !== undefined) yield* tableRecords(state)
  yield* tableRecords({ keys: [], rows, sessions: [] })
}

function* tableRecords({ keys, rows, sessions }: TakenRecords): Generator<TableRecord, void, undefined> {
  for (const record of keys) yield { name: nameOf('k', record.key), text: storedKey(record) }
  for (const { origin, known } of rows) yield { name: nameOf('r', origin), text: JSON.stringify(known) }
  for (const { session, ...record } of sessions) {
    const isKept = record.letGo > 0 || record.answers.length > 0
    yield { name: nameOf('s', session), text: isKept ? JSON.stringify(record) : 'null' }
  }
}

/** @throws Error for a name that the protocol would not have let in. */
function nameOf(kind: RecordKind, name: string): string {
  const bytes = Buffer.byteLength(name)
  if (bytes > nameBytesMax) throw new Error(`a name of ${bytes} bytes is too long to be stored`)
  return kind + name
}

/** What a table can take, the kind in front of it, and something to spare. */
const nameBytesMax = 1_900

/** A line is ended when it is so long, so that it is read in a moment. */
const lineLengthMin = 64 << 10

/** Long work in turns that are short enough for the process to keep up with its sockets. */
class Pace {
  #start = performance.now()

  get isOver(): boolean {
    return performance.now() - this.#start >= turnMsMax
  }

  async nextTurn(): Promise<void> {
    await nextTurn()
    this.#start = performance.now()
  }
}

const turnMsMax = 5
