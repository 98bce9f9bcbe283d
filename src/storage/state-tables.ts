import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Database } from 'lmdb'
import { isKey, isName, isOrigin } from '../protocol/wire-forms.ts'
import type { Recovered } from '../replica/recovered.ts'
import { pageBytes } from './data-file.ts'
import { damaged, lost, unwritable } from './folder-errors.ts'
import { bytesOf, parsed, parsedText, textIn, type Bytes, type LmdbFolder } from './lmdb-folder.ts'
import {
  recordKinds,
  type Progress,
  type RecordKind,
  type TableChanges,
  type TableRecord,
} from './stored-batch.ts'
import { isStoredAddresses, isStoredCut, isStoredSession, KeyReader } from './stored-record.ts'
import { StorageError, type KnownServer } from './store.ts'

/** What the tables say of themselves: how far they are. */
export interface TableProgress extends Progress {
  /** The number of the last commit whose changes are in the tables. */
  readonly commit: number
}

/**
 * The state of a store in tables, on LMDB: a B+ tree in a file, which never writes over a page that is in use, so that a
 * crash at any moment leaves the last transaction, whole, and nothing to repair.
 *
 *     meta     `progress`: positions, cuts, and the commit up to which all is here; `addresses`; `log`, once there
 *              is one; and what {@link openLmdbFolder} keeps
 *     state    `k` + key, `r` + origin, `s` + session → JSON of its record
 *     staged   as `state`: records of a snapshot that is being taken in; or, while `progress.isInstalled`, records
 *              that come before those of `state`, and are being moved there
 *
 * Rules:
 * - Changes come here when they are durable in the log, in the order of their commits. What a crash keeps from getting
 *   here is done again at the next start, from the log; so each transaction says which commit it has come to.
 * - One transaction is under way at a time; what comes meanwhile shares the next. If there were two, a large one could
 *   fail on a disk that is nearly full, and a small one behind it get through.
 * - To install is a small transaction however much was staged: it only says that `staged` comes first. Each
 *   transaction after it moves a part of that into `state`, and so do some of their own while nothing else is to do,
 *   until all of it is there. Nothing is staged before.
 * - What a transaction may need of the disk is there before it begins; see {@link DataFile}.
 * - After a failure the library is left alone, closing included: it may have damaged its memory. Whoever is told that
 *   a store has failed ends the process, by `process.exit`.
 */
export class StateTables {
  readonly #folder: LmdbFolder
  readonly #settleMsMax: number
  readonly #settled: (progress: TableProgress) => void
  readonly #failed: (cause: unknown) => void
  /** What `meta` says when the last transaction that has begun is through. */
  #progress: TableProgress
  /** Changes whose transaction has not begun, in order. */
  #queue: QueuedChanges[] = []
  #queuedBytes = 0
  #isLogNoted: boolean
  /** Settles, without fail, when nothing is queued or under way. */
  #work: Promise<void> | undefined
  #room: (() => void) | undefined
  #isClosing = false
  #hasFailed = false

  /**
   * @param folder nobody else uses it.
   * @param options.settleMsMax after which a transaction that has not come to its end counts as failed.
   * @param options.settled a transaction has come to its end: all of it is durable here.
   * @param options.failed nothing gets here any more.
   * @throws StorageError where a record in it cannot be read.
   */
  constructor(
    folder: LmdbFolder,
    options: {
      readonly settleMsMax: number
      readonly settled: (progress: TableProgress) => void
      readonly failed: (cause: unknown) => void
    },
  ) {
    this.#folder = folder
    this.#settleMsMax = options.settleMsMax
    this.#settled = options.settled
    this.#failed = options.failed
    const { path, meta, state, staged } = folder
    const progress = meta.get('progress')
    this.#progress = progress === undefined ? noProgress : progressOf(path, parsed(path, progress))
    this.#isLogNoted = meta.get('log') !== undefined
    for (const database of [state, staged]) this.#requireKnownKinds(database)
  }

  get progress(): TableProgress {
    return this.#progress
  }
  /** Whether it has been noted that there is a log, so that one that is missing is missed. */
  get isLogNoted(): boolean {
    return this.#isLogNoted
  }

  async noteLog(): Promise<void> {
    await this.#folder.meta.put('log', bytesOf('begun'))
    this.#isLogNoted = true
  }

  get addresses(): readonly KnownServer[] {
    const { path, meta } = this.#folder
    const addresses = meta.get('addresses')
    return addresses === undefined ? [] : recordIn(path, addresses, isStoredAddresses)
  }

  keys(): Recovered['keys'] {
    const reader = new KeyReader()
    return this.#stateOf('k', isKey, (key, stored) => reader.read(key, stored))
  }

  rows(): Recovered['rows'] {
    return this.#stateOf('r', isOrigin, (origin, stored) =>
      isStoredCut(stored) ? { origin, known: new Map(stored) } : undefined,
    )
  }

  sessions(): Recovered['sessions'] {
    return this.#stateOf('s', isName, (session, stored) =>
      isStoredSession(stored) ? { ...stored, session } : undefined,
    )
  }

  /** Brings the tables up to date at a start, with what a crash has kept from them. */
  catchUp(commits: Iterable<CommittedChanges>): void {
    for (const changes of commits) {
      // Nothing is staged before what was installed has been moved.
      if (changes.unstage || changes.staged.length > 0) while (this.#progress.isInstalled) this.#writeSync([])
      this.#writeSync([changes])
    }
    const { staged } = this.#folder
    // Records of a snapshot that was under way when the process ended: nobody goes on with it.
    if (!this.#progress.isInstalled && staged.getKeysCount() > 0) staged.clearSync()
  }

  /** Takes the changes of a commit that is durable in the log. */
  take(changes: CommittedChanges): void {
    const bytes = lengthOfTexts(changes)
    this.#queue.push({ changes, bytes })
    this.#queuedBytes += bytes
    this.#work ??= this.#drain()
  }

  /** @returns when so little waits that more may come. */
  async room(): Promise<void> {
    while (this.#queuedBytes > queuedBytesMax && !this.#hasFailed) {
      await new Promise<void>((resolve) => {
        this.#room = resolve
      })
    }
  }

  /** @returns when all that was taken is there, or nothing can be. What was installed may still be on its way. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.#work
  }

  /** @throws StorageError where there is a record that is of no kind, which nobody would look at. */
  #requireKnownKinds(database: Database<string, string>): void {
    let start = firstName
    for (const kind of [...recordKinds, undefined]) {
      for (const name of database.getKeys({ start, ...(kind && { end: kind }), limit: 1 })) {
        throw damaged(this.#folder.path, `a record in it has the name ${JSON.stringify(name)}`)
      }
      if (kind !== undefined) start = endOf(kind)
    }
  }

  /** The records of one kind of the state, with what was installed before what it replaces. */
  *#stateOf<Name extends string, Item>(
    kind: RecordKind,
    isNameOf: (value: unknown) => value is Name,
    itemOf: (name: Name, stored: unknown) => Item | undefined,
  ): Generator<Item, void, undefined> {
    const { path, state, staged } = this.#folder
    const range = { start: kind, end: endOf(kind) }
    const item = (database: Database<string, string>, record: Put): Item => {
      const text = textIn(this.#folder, database, record)
      const name = record.key.slice(kind.length)
      if (!isNameOf(name)) throw damaged(path, 'a record in it has no name that could be')
      const found = itemOf(name, parsedText(path, text))
      if (found === undefined) throw damaged(path, makesNoSense)
      return found
    }
    if (!this.#progress.isInstalled) {
      for (const record of state.getRange(range)) yield item(state, record)
      return
    }
    for (const record of staged.getRange(range)) if (record.value.length > 0) yield item(staged, record)
    for (const record of state.getRange(range)) {
      if (!staged.doesExist(record.key)) yield item(state, record)
    }
  }

  async #drain(): Promise<void> {
    // What else is committed in this turn shares the transaction.
    await nextTurn()
    while ((this.#queue.length > 0 || this.#mayMove()) && !this.#hasFailed) {
      const next = this.#shift()
      try {
        await this.#write(next.map(({ changes }) => changes))
      } catch (cause) {
        this.#hasFailed = true
        this.#failed(await reasonOf(cause))
      }
      for (const { bytes } of next) this.#queuedBytes -= bytes
      if (!this.#hasFailed) this.#settled(this.#progress)
      this.#room?.()
      this.#room = undefined
    }
    this.#work = undefined
  }

  /** Whether there is something to do while nothing is queued. */
  #mayMove(): boolean {
    return this.#progress.isInstalled && !this.#isClosing
  }

  /** The changes of the next transaction; none while what was installed has to be out of their way first. */
  #shift(): readonly QueuedChanges[] {
    // What is staged after an install must not get among what was installed, so it waits for a later transaction.
    const installs = this.#queue.findIndex(({ changes }) => changes.progress?.isInstalled === true)
    let end = installs === -1 ? this.#queue.length : installs + 1
    if (this.#progress.isInstalled) {
      const stages = this.#queue.findIndex(({ changes }) => changes.unstage || changes.staged.length > 0)
      if (stages !== -1 && stages < end) end = stages
    }
    return this.#queue.splice(0, end)
  }

  async #write(commits: readonly CommittedChanges[]): Promise<void> {
    // The library would die of a file that has been cut off.
    this.#requireFile()
    // All of it is known before the first is handed over: an error in between would leave a part of a transaction.
    const operations = this.#operationsOf(commits)
    await this.#makeRoom(operations)
    await this.#inTime(
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

  /** Waits for a transaction, though not for ever: the library never tells of some that it could not begin. */
  async #inTime(transaction: Promise<unknown>): Promise<void> {
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

  #writeSync(commits: readonly CommittedChanges[]): void {
    this.#requireFile()
    const operations = this.#operationsOf(commits)
    this.#folder.file.reserveSync(this.#requireRoom(operations))
    try {
      this.#folder.root.transactionSync(() => {
        for (const { kind, database, key, value } of operations) {
          if (kind === 'clear') database.clearSync()
          else if (kind === 'put') database.putSync(key, value)
          else database.removeSync(key)
        }
      })
    } catch (cause) {
      throw unwritable(this.#folder.path, cause, true)
    }
  }

  /** @throws StorageError where somebody has laid hands on the file: see {@link DataFile}. */
  #requireFile(): void {
    const loss = this.#folder.file.loss()
    if (loss !== undefined) throw lost(this.#folder.path, 'data.mdb', loss)
  }

  /** Fails before the disk is full; see {@link DataFile}. What is durable is safe either way. */
  async #makeRoom(operations: readonly Operation[]): Promise<void> {
    await this.#folder.file.reserve(this.#requireRoom(operations))
  }

  /** @returns how many bytes are needed. @throws Error where there are not so many. */
  #requireRoom(operations: readonly Operation[]): number {
    const { file, freeBytes } = this.#folder
    const needed = bytesNeeded(operations, file.pages)
    const free = freeBytes()
    if (free < needed + roomBytesMin) {
      const [left, wanted] = [Math.floor(free / mebi), Math.ceil((needed + roomBytesMin) / mebi)]
      throw new Error(`its disk has ${left} MiB left and ${wanted} MiB are needed`)
    }
    return needed
  }

  /** What is to be written for these commits, of which only the last may install. */
  #operationsOf(commits: readonly CommittedChanges[]): readonly Operation[] {
    const { meta, state, staged } = this.#folder
    const before = this.#progress
    const operations: Operation[] = []
    if (before.isInstalled) this.#moveInstalled(operations)
    for (const changes of commits) {
      for (const record of changes.state) {
        const put = putOf(record)
        operations.push(replacement(state, put))
        if (this.#progress.isInstalled) operations.push(removal(staged, put.key))
      }
      if (changes.unstage) operations.push({ kind: 'clear', database: staged, key: '', value: nothing })
      for (const record of changes.staged)
        operations.push({ kind: 'put', database: staged, ...putOf(record) })
      this.#progress = { ...this.#progress, ...changes.progress, commit: changes.commit }
      if (changes.addresses !== undefined) {
        operations.push({ kind: 'put', database: meta, key: 'addresses', value: changes.addresses })
      }
    }
    if (this.#progress !== before) {
      operations.push({ kind: 'put', database: meta, key: 'progress', value: JSON.stringify(this.#progress) })
    }
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
      // What has been garbled must not be made sound.
      const text = textIn(this.#folder, staged, { key, value })
      operations.push(replacement(state, { key, value: text }), removal(staged, key))
    }
    this.#progress = { ...this.#progress, isInstalled: false }
  }
}

/** The library rejects with an error that only says so, and that holds the promise of another with the reason. */
async function reasonOf(cause: unknown): Promise<unknown> {
  if (cause instanceof StorageError) return cause
  const reason = await Promise.resolve((cause as { readonly commitError?: unknown }).commitError).catch(
    (error: unknown) => error,
  )
  return reason instanceof Error ? reason : cause
}

/** The changes of one commit. */
export interface CommittedChanges extends TableChanges {
  /** Its number. */
  readonly commit: number
}

interface QueuedChanges {
  readonly changes: CommittedChanges
  readonly bytes: number
}

/** What may wait for the tables: so much is written in some tenths of a second. */
const queuedBytesMax = 16 << 20

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
    if (kind === 'put') bytes += Buffer.byteLength(value) + Buffer.byteLength(key) + bytesPerEntry
    else if (kind === 'clear') clears++
  }
  const touched = Math.min(operations.length * pagesPerOperation, pages)
  const listed = Math.ceil(((touched + clears * pages) * 8) / pageBytes)
  return 2 * bytes + (touched + listed + pagesPerTransaction) * pageBytes
}

/** Moved with one transaction after an installation: some milliseconds of work, for which a commit may have to wait. */
const movedBytesMax = 512 << 10
const movedOperationsMax = 2_000

const noProgress: TableProgress = {
  commit: 0,
  checkpoint: 0,
  trim: 0,
  applied: [],
  logFloor: [],
  isInstalled: false,
}

/** @throws StorageError where it is none. */
function progressOf(path: string, stored: unknown): TableProgress {
  const progress = (stored ?? {}) as TableProgress
  const isWhole =
    isPosition(progress.commit) &&
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
  if (!isStored(value)) throw damaged(path, makesNoSense)
  return value
}

const makesNoSense = 'a record in it makes no sense'

interface Put {
  readonly key: string
  readonly value: string
}

interface Operation {
  readonly kind: 'put' | 'remove' | 'clear'
  readonly database: Database<string | Bytes, string>
  /** Of `put` and `remove`. */
  readonly key: string
  /** Of `put`. */
  readonly value: string
}

const nothing = ''

/** What is kept of a record; nothing of one that says so. */
function putOf({ name, text }: TableRecord): Put {
  return { key: name, value: text === 'null' ? nothing : text }
}

/** Before any other: where no start is given, the library begins behind some that nobody gives. */
const firstName = '\0'

/** All names of a kind lie between the kind itself and this. */
function endOf(kind: RecordKind): string {
  return String.fromCharCode(kind.charCodeAt(0) + 1)
}

function lengthOfTexts({ state, staged }: CommittedChanges): number {
  let length = 0
  for (const { name, text } of state) length += name.length + text.length
  for (const { name, text } of staged) length += name.length + text.length
  return length
}

function removal(database: Database<string, string>, key: string): Operation {
  return { kind: 'remove', database, key, value: nothing }
}

/** A record of the state, in the place of what was there; one that is empty leaves nothing there. */
function replacement(state: Database<string, string>, { key, value }: Put): Operation {
  return value.length === 0 ? removal(state, key) : { kind: 'put', database: state, key, value }
}
