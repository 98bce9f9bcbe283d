import { isUtf8 } from 'node:buffer'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Database } from 'lmdb'
import { isKey, isName, isOrigin } from '../protocol/wire-forms.ts'
import type { StateRecords } from '../replica/output.ts'
import type { Recovered } from '../replica/recovered.ts'
import { sizeOf } from '../replica/update.ts'
import type { Origin, ServerId } from '../replica/version.ts'
import { pageBytes } from './data-file.ts'
import { bytesOf, damaged, openLmdbFolder, parsed, type Bytes, type LmdbFolder } from './lmdb-folder.ts'
import { logStart, positionsAfter, type Positions } from './positions.ts'
import { StorageError, type KnownServer, type Store, type StoreBatch } from './store.ts'
import {
  isStoredAddresses,
  isStoredCut,
  isStoredKey,
  isStoredSession,
  isStoredUpdates,
  type StoredCut,
} from './stored-record.ts'

/**
 * Opens the store of a server in a folder, which is made where there is none.
 *
 * @param options.settleMsMax after which a transaction that has not come to its end counts as failed; 30 s where absent.
 * @throws StorageError where the folder is in use, belongs to another server, was written by a newer release, is
 * damaged, holds something else, or cannot be used by this user.
 */
export async function openLmdbStore(options: {
  readonly folder: string
  readonly server: ServerId
  readonly settleMsMax?: number
}): Promise<LmdbStore> {
  const folder = await openLmdbFolder(options)
  try {
    return new LmdbStore(folder, options)
  } catch (cause) {
    // Of a file that is damaged, not even that may succeed.
    await folder.release({ orderly: false }).catch(() => undefined)
    throw unreadable(options.folder, cause)
  }
}

/**
 * A store in a folder, on LMDB: a B+ tree in a file, which never writes over a page that is in use, so that a crash
 * at any moment leaves the last commit, whole, and nothing to repair.
 *
 *     meta     `progress`: positions and cuts; `addresses`; and what {@link openLmdbFolder} keeps
 *     log      position of the first of some updates whose positions follow each other → JSON of them all
 *     state    `k` + key, `r` + origin, `s` + session → JSON of its record
 *     staged   as `state`: records of a snapshot that is being taken in; or, while `progress.isInstalled`, records
 *              that come before those of `state`, and are being moved there
 *
 * Rules:
 * - What a commit appends to the log is a few records at the end of one tree. A record of its own for each update, or
 *   keys in no order, would cost several times as much.
 * - One transaction is under way at a time; what is committed meanwhile shares the next. If there were two, a
 *   large one could fail on a disk that is nearly full, and a small one behind it get through: a hole in the log.
 * - To install is a small transaction however much was staged: it only says that `staged` comes first. Each
 *   transaction after it moves a part of that into `state`, and so do some of their own while nothing else is to do,
 *   until all of it is there. Nothing is staged before.
 * - What a transaction may need of the disk is there before it begins; see {@link DataFile}.
 * - After a failure the library is left alone, closing included: it may have damaged its memory. Whoever is told that
 *   a store has failed ends the process, by `process.exit`.
 *
 * Durable: without `overlappingSync`, LMDB's commit writes the pages that are new, has the system bring them to the
 * disk (`fdatasync`), and only then writes the one page that makes them valid, through a descriptor on which
 * a write returns when it is on the disk (`O_DSYNC`). The library's promise resolves after that commit has returned.
 */
export class LmdbStore implements Store {
  readonly isFresh: boolean
  readonly addresses: readonly KnownServer[]
  readonly #folder: LmdbFolder
  readonly #settleMsMax: number
  /** The keys of the log's records, those before `#trimmed` gone. */
  readonly #records: number[]
  #trimmed = 0
  /** Where all the commits that were made leave the positions. */
  #positions: Positions
  /** What `meta` says when the last transaction that has begun is through. */
  #progress: Progress
  /** Commits whose transaction has not begun, in order. */
  #queue: Commit[] = []
  /** Settles, without fail, when nothing is queued or under way. */
  #work: Promise<void> | undefined
  #failure: StorageError | undefined
  #closing: Promise<void> | undefined

  /**
   * @param folder nobody else uses it.
   * @param options.settleMsMax see {@link openLmdbStore}.
   * @throws StorageError where a record in it cannot be read.
   */
  constructor(folder: LmdbFolder, { settleMsMax = 30_000 }: { readonly settleMsMax?: number } = {}) {
    this.#folder = folder
    this.#settleMsMax = settleMsMax
    this.isFresh = folder.isFresh
    const { path, meta, log, state, staged } = folder
    const addresses = meta.get('addresses')
    this.addresses = addresses === undefined ? [] : recordIn(path, addresses, isStoredAddresses)
    const progress = meta.get('progress')
    this.#progress = progress === undefined ? noProgress : progressOf(path, parsed(path, progress))
    this.#records = [...log.getKeys()]
    const { checkpoint, trim } = this.#progress
    this.#positions = { checkpoint, trim, logEnd: Math.max(checkpoint, this.#endOfRecords()) }
    if (trim > this.#positions.logEnd) throw damaged(path, 'its log begins after its end')
    for (const database of [state, staged]) this.#requireKnownKinds(database)
    // Records of a snapshot that was under way when the process ended: nobody goes on with it.
    if (!this.#progress.isInstalled && staged.getKeysCount() > 0) staged.clearSync()
  }

  recover(): Recovered {
    const { applied, logFloor } = this.#progress
    return {
      keys: this.#again(() => this.#stateOf('k', isKey, isStoredKey, (key, stored) => ({ ...stored, key }))),
      rows: this.#again(() =>
        this.#stateOf('r', isOrigin, isStoredCut, (origin, stored) => ({
          origin,
          known: new Map(stored),
        })),
      ),
      sessions: this.#again(() =>
        this.#stateOf('s', isName, isStoredSession, (session, stored) => ({ ...stored, session })),
      ),
      applied: new Map(applied),
      checkpoint: this.#positions.checkpoint,
      log: this.#again(() => this.#updates(logStart(this.#positions))),
      logEnd: this.#positions.logEnd,
      logFloor: new Map(logFloor),
    }
  }

  async commit(batch: StoreBatch): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#closing !== undefined) throw new StorageError(`${this.#folder.path} has been closed`)
    const positions = positionsAfter(batch, this.#positions)
    this.#positions = positions
    await new Promise<void>((resolve, reject) => {
      this.#queue.push({ batch: taken(batch, positions), resolve, reject })
      this.#work ??= this.#drain()
    })
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close()
    await this.#closing
  }

  async #close(): Promise<void> {
    await this.#work
    if (this.#failure === undefined) await this.#folder.release({ orderly: true })
  }

  /** @throws StorageError where there is a record that is of no kind, which nobody would look at. */
  #requireKnownKinds(database: Database<Bytes, Bytes>): void {
    let end = 0
    const firstBytes = [...stateKinds.map((kind) => kind.charCodeAt(0)), 0x100]
    for (const first of firstBytes) {
      const until = first > 0xff ? {} : { end: Buffer.of(first) }
      for (const key of database.getKeys({ start: Buffer.of(end), ...until, limit: 1 })) {
        throw damaged(this.#folder.path, `a record in it has the name ${JSON.stringify(key.toString())}`)
      }
      end = first + 1
    }
  }

  /** Something that can be read from its beginning more than once. It throws nothing but StorageErrors. */
  #again<Item>(read: () => Iterable<Item>): Iterable<Item> {
    const { path } = this.#folder
    return {
      *[Symbol.iterator]() {
        try {
          yield* read()
        } catch (cause) {
          throw unreadable(path, cause)
        }
      },
    }
  }

  /** The records of one kind of the state, with what was installed before what it replaces. */
  *#stateOf<Name extends string, Stored, Item>(
    kind: StateKind,
    isNameOf: (value: unknown) => value is Name,
    isStored: (value: unknown) => value is Stored,
    itemOf: (name: Name, stored: Stored) => Item,
  ): Generator<Item, void, undefined> {
    const { path, state, staged } = this.#folder
    const start = Buffer.from(kind)
    const range = { start, end: Buffer.of((start[0] as number) + 1) }
    const item = ({ key, value }: Put<Bytes>): Item => {
      const name = key.toString('utf8', start.length)
      if (!isUtf8(key) || !isNameOf(name)) throw damaged(path, 'a record in it has no name that could be')
      return itemOf(name, recordIn(path, value, isStored))
    }
    if (!this.#progress.isInstalled) {
      for (const record of state.getRange(range)) yield item(record)
      return
    }
    for (const record of staged.getRange(range)) if (record.value.length > 0) yield item(record)
    for (const record of state.getRange(range)) {
      if (!staged.doesExist(record.key)) yield item(record)
    }
  }

  *#updates(start: number): Generator<LogItem, void, undefined> {
    const { path, log } = this.#folder
    let position = 0
    for (const { key, value } of log.getRange()) {
      if (!isPosition(key) || key < position) {
        throw damaged(path, `a part of its log is at ${key}, and the part before it ends at ${position}`)
      }
      position = key
      for (const update of recordIn(path, value, isStoredUpdates)) {
        if (position >= start) yield { position, entry: { update, bytes: sizeOf(update) } }
        position++
      }
    }
  }

  /** The position after the last update in the log. */
  #endOfRecords(): number {
    const { path, log } = this.#folder
    const key = this.#records.at(-1)
    const value = key === undefined ? undefined : log.get(key)
    if (key === undefined || value === undefined) return 0
    return key + recordIn(path, value, isStoredUpdates).length
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0 || this.#mayMove()) {
      const commits = this.#next()
      try {
        const encoded: EncodedBatch[] = []
        const pace = new Pace()
        for (const { batch } of commits) encoded.push(await encode(batch, pace))
        await this.#write(encoded)
        for (const { resolve } of commits) resolve()
      } catch (cause) {
        const failure = await this.#failureOf(cause)
        this.#failure = failure
        for (const { reject } of [...commits, ...this.#queue]) reject(failure)
        this.#queue = []
      }
    }
    this.#work = undefined
  }

  /** Whether there is something to do while nothing is queued. */
  #mayMove(): boolean {
    return this.#progress.isInstalled && this.#failure === undefined && this.#closing === undefined
  }

  /** The commits of the next transaction; none while what was installed has to be out of their way first. */
  #next(): readonly Commit[] {
    // What is staged after an install must not get among what was installed, so it waits for a later transaction.
    const installs = this.#queue.findIndex(({ batch }) => batch.install !== undefined)
    let end = installs === -1 ? this.#queue.length : installs + 1
    if (this.#progress.isInstalled) {
      const stages = this.#queue.findIndex(
        ({ batch }) => batch.unstage === true || batch.staged !== undefined,
      )
      if (stages !== -1 && stages < end) end = stages
    }
    return this.#queue.splice(0, end)
  }

  async #failureOf(cause: unknown): Promise<StorageError> {
    if (cause instanceof StorageError) return cause
    // The library rejects with an error that only says so, and that holds the promise of another with the reason.
    const reason = await Promise.resolve((cause as { readonly commitError?: unknown }).commitError).catch(
      (error: unknown) => error,
    )
    const error = reason instanceof Error ? reason : (cause as Error)
    return new StorageError(
      `${this.#folder.path} cannot be written (${error.message}): its disk may be full or broken; ` +
        'make room on it or replace it, and start the server again',
      { cause: error },
    )
  }

  async #write(commits: readonly EncodedBatch[]): Promise<void> {
    // The library would die of a file that has been cut off.
    this.#requireFile()
    // All of it is known before the first is handed over: an error in between would leave a part of a transaction.
    const operations = this.#operationsOf(commits)
    await this.#makeRoom(operations)
    await this.#settled(
      this.#folder.root.batch(() => {
        for (const { kind, database, key, value } of operations) {
          if (kind === 'clear') void database.clearAsync()
          else if (kind === 'put') void database.put(key, value)
          else void database.remove(key)
        }
      }),
    )
    this.#requireFile()
  }

  /** @throws StorageError where somebody has laid hands on the file: see {@link DataFile}. */
  #requireFile(): void {
    const loss = this.#folder.file.loss()
    if (loss === undefined) return
    throw new StorageError(
      `the data.mdb of ${this.#folder.path} ${loss} while the server was using it: what was acknowledged may be lost; ` +
        'put the folder back as it was, or restore it from a copy, and start the server again',
      { isLoss: true },
    )
  }

  /** Waits for a transaction, though not for ever: the library never tells of some that it could not begin. */
  async #settled(transaction: Promise<unknown>): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      const failure = new StorageError(
        `${this.#folder.path} has not taken a commit in ${this.#settleMsMax / 1_000} s: its disk may be broken or far ` +
          'too slow, or another process holds its data.mdb; end that or replace the disk, and start the server again',
      )
      timer = setTimeout(() => reject(failure), this.#settleMsMax).unref()
    })
    try {
      await Promise.race([transaction, late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** Fails before the disk is full; see {@link DataFile}. What is durable is safe either way. */
  async #makeRoom(operations: readonly Operation[]): Promise<void> {
    const { file, freeBytes } = this.#folder
    const needed = bytesNeeded(operations, file.pages)
    const free = freeBytes()
    if (free < needed + roomBytesMin) {
      const [left, wanted] = [Math.floor(free / mebi), Math.ceil((needed + roomBytesMin) / mebi)]
      throw new Error(`its disk has ${left} MiB left and ${wanted} MiB are needed`)
    }
    await file.reserve(needed)
  }

  /** What is to be written for these commits, of which only the last may install. */
  #operationsOf(commits: readonly EncodedBatch[]): readonly Operation[] {
    const { meta, log, state, staged } = this.#folder
    const before = this.#progress
    const operations: Operation[] = []
    const put = <Key extends StoredKey>(database: Database<Bytes, Key>, record: Put<Key>): void => {
      operations.push({ kind: 'put', database, ...record })
    }
    if (before.isInstalled) this.#moveInstalled(operations)
    for (const commit of commits) {
      for (const record of commit.log) {
        put(log, record)
        this.#records.push(record.key)
      }
      for (const record of commit.state) {
        operations.push(replacement(state, record))
        if (this.#progress.isInstalled) operations.push(removal(staged, record.key))
      }
      if (commit.unstage) operations.push({ kind: 'clear', database: staged, key: '', value: nothing })
      for (const record of commit.staged) put(staged, record)
      if (commit.progress !== undefined) this.#progress = { ...this.#progress, ...commit.progress }
      if (commit.addresses !== undefined) put(meta, { key: 'addresses', value: commit.addresses })
    }
    const last = commits.at(-1)
    if (last !== undefined) this.#trim(operations, last.positions)
    if (this.#progress !== before) put(meta, { key: 'progress', value: bytesOf(this.#progress) })
    return operations
  }

  /**
   * Moves some of what was installed to where it belongs. It comes first in its transaction, so that what the commits
   * write goes over it.
   */
  #moveInstalled(operations: Operation[]): void {
    const { state, staged } = this.#folder
    let bytes = 0
    for (const { key, value } of staged.getRange()) {
      if (bytes >= movedBytesMax || operations.length >= movedOperationsMax) return
      bytes += key.length + value.length
      operations.push(replacement(state, { key, value }), removal(staged, key))
    }
    this.#progress = { ...this.#progress, isInstalled: false }
  }

  /** Lets go of records of the log that are not needed any more: whole ones, and no more than so many at once. */
  #trim(operations: Operation[], positions: Positions): void {
    const start = logStart(positions)
    for (let left = trimmedRecordsMax; left > 0; left--) {
      const key = this.#records[this.#trimmed]
      const end = this.#records[this.#trimmed + 1] ?? positions.logEnd
      if (key === undefined || end > start) break
      operations.push(removal(this.#folder.log, key))
      this.#trimmed++
    }
    if (this.#trimmed < trimmedRecordsMax) return
    this.#records.splice(0, this.#trimmed)
    this.#trimmed = 0
  }
}

const mebi = 1 << 20

/** What is left alone on a disk: a transaction can write some more than it seems, and others write there too. */
const roomBytesMin = 8 * mebi

/** A page at the bottom of a tree and its part of those above, for an operation whose neighbours do not change. */
const pagesPerOperation = 2

/** Those at the top of all trees, and what the lists of free pages take. */
const pagesPerTransaction = 16

/** What a tree keeps with an entry. */
const bytesPerEntry = 16

/**
 * What a transaction may add to a file that has so many pages, if none of those is free: a copy of each page that it
 * touches, of which there are no more than there were; what is new, in pages that are half full at worst; and lists
 * of the pages that it sets free.
 */
function bytesNeeded(operations: readonly Operation[], pages: number): number {
  let bytes = 0
  let clears = 0
  for (const { kind, key, value } of operations) {
    if (kind === 'put') bytes += value.length + lengthOf(key) + bytesPerEntry
    else if (kind === 'clear') clears++
  }
  const touched = Math.min(operations.length * pagesPerOperation, pages)
  const listed = Math.ceil(((touched + clears * pages) * 8) / pageBytes)
  return 2 * bytes + (touched + listed + pagesPerTransaction) * pageBytes
}

function lengthOf(key: StoredKey): number {
  return typeof key === 'number' ? 8 : key.length
}

/** Moved with one transaction after an installation: some milliseconds of work, for which a commit may have to wait. */
const movedBytesMax = 512 << 10
const movedOperationsMax = 2_000

/** Removed with one commit, at most. More than it can append, so the log does not grow for want of time. */
const trimmedRecordsMax = 2_000

/**
 * Updates of a commit are divided into records of about this length, so that a record is read in a moment, and the
 * space of one that is let go is easily used again.
 */
const recordLengthMax = 64 << 10

/** What the library can take: a key, `k` in front of it, and something to spare. */
const nameBytesMax = 1_900

/** What `meta` holds of a checkpoint and of the log's start. */
interface Progress extends Omit<Positions, 'logEnd'> {
  readonly applied: StoredCut
  readonly logFloor: StoredCut
  /** Whether what is staged comes before the state. */
  readonly isInstalled: boolean
}

const noProgress: Progress = { checkpoint: 0, trim: 0, applied: [], logFloor: [], isInstalled: false }

/** @throws StorageError where it is none. */
function progressOf(path: string, stored: unknown): Progress {
  const progress = (stored ?? {}) as Progress
  const isWhole =
    isPosition(progress.checkpoint) &&
    isPosition(progress.trim) &&
    typeof progress.isInstalled === 'boolean' &&
    isStoredCut(progress.applied) &&
    isStoredCut(progress.logFloor)
  if (!isWhole) throw damaged(path, 'it does not say where its log begins')
  return progress
}

function isPosition(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** @throws StorageError where a record is not what it has to be. */
function recordIn<Stored>(path: string, bytes: Bytes, isStored: (value: unknown) => value is Stored): Stored {
  const value = parsed(path, bytes)
  if (!isStored(value)) throw damaged(path, 'a record in it makes no sense')
  return value
}

type StoredKey = Bytes | number | string

type LogItem = Recovered['log'] extends Iterable<infer Item> ? Item : never

interface Put<Key extends StoredKey> {
  readonly key: Key
  readonly value: Bytes
}

interface Operation {
  readonly kind: 'put' | 'remove' | 'clear'
  readonly database: Database<Bytes, StoredKey>
  /** Of `put` and `remove`. */
  readonly key: StoredKey
  /** Of `put`. */
  readonly value: Bytes
}

const nothing: Bytes = Buffer.alloc(0)

function removal<Key extends StoredKey>(database: Database<Bytes, Key>, key: Key): Operation {
  return { kind: 'remove', database, key, value: nothing }
}

/** A record of the state, in the place of what was there; one that is empty leaves nothing there. */
function replacement(state: Database<Bytes, Bytes>, { key, value }: Put<Bytes>): Operation {
  return value.length === 0 ? removal(state, key) : { kind: 'put', database: state, key, value }
}

/** A batch whose lists and cuts are its own: whoever made it may raise and fill those again. */
interface TakenBatch {
  readonly log: NonNullable<StoreBatch['log']>
  readonly state: TakenRecords | undefined
  /** Those of a checkpoint. */
  readonly rows: readonly StoredRow[]
  readonly unstage: boolean | undefined
  readonly staged: TakenRecords | undefined
  readonly install: true | undefined
  readonly progress: Partial<Progress> | undefined
  readonly addresses: readonly KnownServer[] | undefined
  /** After it. */
  readonly positions: Positions
}

interface TakenRecords extends Omit<StateRecords, 'rows'> {
  readonly rows: readonly StoredRow[]
}

interface StoredRow {
  readonly origin: Origin
  readonly known: StoredCut
}

interface Commit {
  readonly batch: TakenBatch
  readonly resolve: () => void
  readonly reject: (error: StorageError) => void
}

/** A batch in bytes. */
interface EncodedBatch {
  readonly log: readonly Put<number>[]
  readonly state: readonly Put<Bytes>[]
  readonly unstage: boolean
  readonly staged: readonly Put<Bytes>[]
  readonly progress: Partial<Progress> | undefined
  readonly addresses: Bytes | undefined
  readonly positions: Positions
}

function taken(batch: StoreBatch, positions: Positions): TakenBatch {
  const { log, state, checkpoint, trim, unstage, staged, install, addresses } = batch
  const applied = install?.applied ?? checkpoint?.applied
  const logFloor = install?.logFloor ?? trim?.logFloor
  return {
    log: log === undefined ? [] : [...log],
    state: state && takenRecords(state),
    rows: checkpoint === undefined ? [] : takenRows(checkpoint.rows),
    unstage,
    staged: staged && takenRecords(staged),
    install: install && true,
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
    positions,
  }
}

function takenRecords({ keys, rows, sessions }: StateRecords): TakenRecords {
  return { keys: [...keys], rows: takenRows(rows), sessions: [...sessions] }
}

function takenRows(rows: StateRecords['rows']): readonly StoredRow[] {
  return rows.map(({ origin, known }) => ({ origin, known: [...known] }))
}

async function encode(batch: TakenBatch, pace: Pace): Promise<EncodedBatch> {
  const { log, state, rows, unstage, staged, progress, addresses, positions } = batch
  return {
    log: await pace.gather(encodeLog(log)),
    state: [
      ...(state === undefined ? [] : await pace.gather(encodeRecords(state))),
      ...(await pace.gather(encodeRecords({ keys: [], rows, sessions: [] }))),
    ],
    unstage: unstage === true,
    staged: staged === undefined ? [] : await pace.gather(encodeRecords(staged)),
    progress,
    addresses: addresses && bytesOf(addresses),
    positions,
  }
}

/** Long work in turns that are short enough for the process to keep up with its sockets. */
class Pace {
  #start = performance.now()

  async gather<Item>(items: Iterable<Item>): Promise<Item[]> {
    const gathered: Item[] = []
    for (const item of items) {
      gathered.push(item)
      if (performance.now() - this.#start < turnMsMax) continue
      await nextTurn()
      this.#start = performance.now()
    }
    return gathered
  }
}

const turnMsMax = 5

/** Records of the log: updates whose positions follow each other, and not too many of them. */
function* encodeLog(log: TakenBatch['log']): Generator<Put<number>, void, undefined> {
  let texts: string[] = []
  let length = 0
  let first = 0
  const finished = (): Put<number> => ({ key: first, value: Buffer.from(`[${texts.join()}]`) })
  for (const { position, entry } of log) {
    if (texts.length > 0 && (position !== first + texts.length || length >= recordLengthMax)) {
      yield finished()
      texts = []
      length = 0
    }
    if (texts.length === 0) first = position
    const text = JSON.stringify(entry.update)
    texts.push(text)
    length += text.length
  }
  if (texts.length > 0) yield finished()
}

/** What a record of the state is of, as its name begins: a key, a row, a session. In their order. */
const stateKinds = ['k', 'r', 's'] as const

type StateKind = (typeof stateKinds)[number]

function* encodeRecords({ keys, rows, sessions }: TakenRecords): Generator<Put<Bytes>, void, undefined> {
  for (const { key, ...record } of keys) yield { key: keyOf('k', key), value: bytesOf(record) }
  for (const { origin, known } of rows) yield { key: keyOf('r', origin), value: bytesOf(known) }
  for (const { session, ...record } of sessions) {
    const isKept = record.letGo > 0 || record.answers.length > 0
    yield { key: keyOf('s', session), value: isKept ? bytesOf(record) : nothing }
  }
}

/** @throws Error for a name that the protocol would not have let in. */
function keyOf(kind: StateKind, name: string): Bytes {
  const key = Buffer.from(kind + name)
  if (key.length > nameBytesMax) throw new Error(`a name of ${key.length} bytes is too long to be stored`)
  return key
}

/** The error that there is, or one for what the library says of a file that it cannot make sense of. */
function unreadable(path: string, cause: unknown): StorageError {
  if (cause instanceof StorageError) return cause
  const reason = cause instanceof Error ? cause.message : String(cause)
  return damaged(path, `it cannot be read (${reason})`, cause)
}
