import type { Database } from 'lmdb'
import type { Address } from '../protocol/address.ts'
import type { Cut } from '../replica/cut.ts'
import type { SessionRecord } from '../replica/messages.ts'
import type { KeyRecord, StateRecords } from '../replica/output.ts'
import type { Recovered } from '../replica/recovered.ts'
import { sizeOf, type Update } from '../replica/update.ts'
import type { Origin, ServerId, Timestamp } from '../replica/version.ts'
import {
  bytesOf,
  damaged,
  openLmdbFolder,
  pageBytes,
  parsed,
  type Bytes,
  type LmdbFolder,
} from './lmdb-folder.ts'
import { logStart, positionsAfter, type Positions } from './positions.ts'
import { StorageError, type Store, type StoreBatch } from './store.ts'

/**
 * Opens the store of a server in a folder, which is made where there is none.
 *
 * @throws StorageError where the folder is in use, belongs to another server, was written by a newer release, is
 * damaged, holds something else, or cannot be used by this user.
 */
export async function openLmdbStore(options: {
  readonly folder: string
  readonly server: ServerId
}): Promise<LmdbStore> {
  const folder = await openLmdbFolder(options)
  try {
    return new LmdbStore(folder)
  } catch (error) {
    await folder.release({ orderly: true })
    throw error
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
 *   transaction after it moves a part of that into `state`.
 *
 * Durable: without `overlappingSync`, LMDB's commit writes the pages that are new, has the system bring them to the
 * disk (`fdatasync`), and only then writes the one page that makes them valid, through a descriptor on which
 * a write returns when it is on the disk (`O_DSYNC`). The library's promise resolves after that commit has returned.
 */
export class LmdbStore implements Store {
  readonly isFresh: boolean
  readonly addresses: readonly Address[]
  readonly #folder: LmdbFolder
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

  /** @param folder nobody else uses it. @throws StorageError where a record in it cannot be read. */
  constructor(folder: LmdbFolder) {
    this.#folder = folder
    this.isFresh = folder.isFresh
    const { path, meta, log, staged } = folder
    const addresses = meta.get('addresses')
    this.addresses = addresses === undefined ? [] : (parsed(path, addresses) as readonly Address[])
    const progress = meta.get('progress')
    this.#progress = progress === undefined ? noProgress : progressOf(path, parsed(path, progress))
    this.#records = [...log.getKeys()]
    const { checkpoint, trim } = this.#progress
    this.#positions = { checkpoint, trim, logEnd: Math.max(checkpoint, this.#endOfRecords()) }
    // Records of a snapshot that was under way when the process ended: nobody goes on with it.
    if (!this.#progress.isInstalled && staged.getKeysCount() > 0) staged.clearSync()
  }

  recover(): Recovered {
    const { applied, logFloor } = this.#progress
    return {
      keys: again(() =>
        this.#stateOf('k', (key, stored) => ({ key, ...(stored as Omit<KeyRecord, 'key'>) })),
      ),
      rows: again(() =>
        this.#stateOf('r', (origin, stored) => ({
          origin: origin as Origin,
          known: new Map(stored as StoredCut),
        })),
      ),
      sessions: again(() =>
        this.#stateOf('s', (session, stored) => ({ session, ...(stored as Omit<SessionRecord, 'session'>) })),
      ),
      applied: new Map(applied),
      checkpoint: this.#positions.checkpoint,
      log: again(() => this.#updates(logStart(this.#positions))),
      logEnd: this.#positions.logEnd,
      logFloor: new Map(logFloor),
    }
  }

  async commit(batch: StoreBatch): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#closing !== undefined) throw new StorageError(`${this.#folder.path} has been closed`)
    const positions = positionsAfter(batch, this.#positions)
    const encoded = encode(batch, positions)
    this.#positions = positions
    await new Promise<void>((resolve, reject) => {
      this.#queue.push({ ...encoded, resolve, reject })
      this.#work ??= this.#drain()
    })
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close()
    await this.#closing
  }

  async #close(): Promise<void> {
    await this.#work
    await this.#folder.release({ orderly: this.#failure === undefined })
  }

  /** The records of one kind of the state, with what was installed before what it replaces. */
  *#stateOf<Item>(
    kind: string,
    itemOf: (name: string, stored: unknown) => Item,
  ): Generator<Item, void, undefined> {
    const { path, state, staged } = this.#folder
    const start = Buffer.from(kind)
    const range = { start, end: Buffer.of((start[0] as number) + 1) }
    const item = ({ key, value }: Put<Bytes>): Item =>
      itemOf(key.toString('utf8', start.length), parsed(path, value))
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
    for (const { key, value } of log.getRange()) {
      let position = key
      for (const update of parsed(path, value) as readonly Update[]) {
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
    return key + (parsed(path, value) as readonly Update[]).length
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      // What is staged after an install must not get among what was installed, so it waits for the next transaction.
      const installs = this.#queue.findIndex(({ installs }) => installs)
      const commits = this.#queue.splice(0, installs === -1 ? this.#queue.length : installs + 1)
      try {
        await this.#write(commits)
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

  async #failureOf(cause: unknown): Promise<StorageError> {
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

  async #write(commits: readonly Commit[]): Promise<void> {
    // All of it is known before the first is handed over: an error in between would leave a part of a transaction.
    const operations = this.#operationsOf(commits)
    this.#checkRoom(operations)
    await this.#folder.root.batch(() => {
      for (const { kind, database, key, value } of operations) {
        if (kind === 'clear') void database.clearAsync()
        else if (kind === 'put') void database.put(key, value)
        else void database.remove(key)
      }
    })
  }

  /**
   * Fails before the disk is full: the library, which puts the error of the system into words, can bring the process
   * down at it. What is durable is safe even then, but nobody would be told what happened.
   */
  #checkRoom(operations: readonly Operation[]): void {
    let needed = roomBytesMin
    for (const { value } of operations) needed += value.length + pagesPerOperation * pageBytes
    const free = this.#folder.freeBytes()
    if (free < needed)
      throw new Error(
        `its disk has ${Math.floor(free / mebi)} MiB left and ${Math.ceil(needed / mebi)} MiB are needed`,
      )
  }

  /** What is to be written for these commits, of which only the last may install. */
  #operationsOf(commits: readonly Commit[]): readonly Operation[] {
    const { meta, log, state, staged } = this.#folder
    const before = this.#progress
    const operations: Operation[] = []
    const put = <Key extends StoredKey>(database: Database<Bytes, Key>, record: Put<Key>): void => {
      operations.push({ kind: 'put', database, ...record })
    }
    if (before.isInstalled) {
      const stages = commits.some((commit) => commit.unstage || commit.staged.length > 0)
      this.#moveInstalled(operations, stages ? Infinity : movedBytesMax)
    }
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
   * Moves what was installed to where it belongs, about so many bytes of it. It comes first in its transaction, so that
   * what the commits write goes over it.
   */
  #moveInstalled(operations: Operation[], bytesMax: number): void {
    const { state, staged } = this.#folder
    let bytes = 0
    for (const { key, value } of staged.getRange()) {
      if (bytes >= bytesMax) return
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

/** Moved with each commit after an installation: some milliseconds of work. */
const movedBytesMax = 1 * mebi

/** Removed with one commit, at most. More than it can append, so the log does not grow for want of time. */
const trimmedRecordsMax = 2_000

/**
 * Updates of a commit are divided into records of about this length, so that a record is read in a moment, and the
 * space of one that is let go is easily used again.
 */
const recordLengthMax = 64 << 10

/** What the library can take: a key, `k` in front of it, and something to spare. */
const nameBytesMax = 1_900

/** A cut as it is stored. */
type StoredCut = readonly (readonly [Origin, Timestamp])[]

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
  const progress = stored as Progress
  const isWhole =
    Number.isSafeInteger(progress.checkpoint) &&
    Number.isSafeInteger(progress.trim) &&
    Array.isArray(progress.applied) &&
    Array.isArray(progress.logFloor)
  if (!isWhole) throw damaged(path, 'it does not say where its log begins')
  return progress
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

/** A batch in bytes, and so independent of what becomes of its cuts and lists. */
interface EncodedBatch {
  readonly log: readonly Put<number>[]
  readonly state: readonly Put<Bytes>[]
  readonly unstage: boolean
  readonly staged: readonly Put<Bytes>[]
  readonly installs: boolean
  readonly progress: Partial<Progress> | undefined
  readonly addresses: Bytes | undefined
  /** After it. */
  readonly positions: Positions
}

interface Commit extends EncodedBatch {
  readonly resolve: () => void
  readonly reject: (error: StorageError) => void
}

function encode(batch: StoreBatch, positions: Positions): EncodedBatch {
  const { log, state, checkpoint, trim, unstage, staged, install, addresses } = batch
  const records = state === undefined ? [] : encodeRecords(state)
  if (checkpoint !== undefined)
    records.push(...encodeRecords({ keys: [], rows: checkpoint.rows, sessions: [] }))
  const applied = install?.applied ?? checkpoint?.applied
  const logFloor = install?.logFloor ?? trim?.logFloor
  return {
    log: encodeLog(log ?? []),
    state: records,
    unstage: unstage === true,
    staged: staged === undefined ? [] : encodeRecords(staged),
    installs: install !== undefined,
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
    addresses: addresses === undefined ? undefined : bytesOf(addresses),
    positions,
  }
}

/** Records of the log: updates whose positions follow each other, and not too many of them. */
function encodeLog(log: NonNullable<StoreBatch['log']>): readonly Put<number>[] {
  const records: Put<number>[] = []
  let texts: string[] = []
  let length = 0
  let first = 0
  const finish = (): void => {
    if (texts.length > 0) records.push({ key: first, value: Buffer.from(`[${texts.join()}]`) })
    texts = []
    length = 0
  }
  for (const { position, entry } of log) {
    if (position !== first + texts.length || length >= recordLengthMax) finish()
    if (texts.length === 0) first = position
    const text = JSON.stringify(entry.update)
    texts.push(text)
    length += text.length
  }
  finish()
  return records
}

function encodeRecords({ keys, rows, sessions }: StateRecords): Put<Bytes>[] {
  const records: Put<Bytes>[] = []
  for (const { key, ...record } of keys) records.push({ key: keyOf('k', key), value: bytesOf(record) })
  for (const { origin, known } of rows) records.push({ key: keyOf('r', origin), value: encodeCut(known) })
  for (const { session, ...record } of sessions) {
    const isKept = record.letGo > 0 || record.answers.length > 0
    records.push({ key: keyOf('s', session), value: isKept ? bytesOf(record) : nothing })
  }
  return records
}

function encodeCut(cut: Cut): Bytes {
  const stored: StoredCut = [...cut]
  return bytesOf(stored)
}

/** @throws Error for a name that the protocol would not have let in. */
function keyOf(kind: string, name: string): Bytes {
  const key = Buffer.from(kind + name)
  if (key.length > nameBytesMax) throw new Error(`a name of ${key.length} bytes is too long to be stored`)
  return key
}

/** Something that can be read from its beginning more than once. */
function again<Item>(read: () => Iterator<Item>): Iterable<Item> {
  return { [Symbol.iterator]: read }
}
