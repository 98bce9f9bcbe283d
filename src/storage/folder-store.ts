import type { Recovered } from '../replica/recovered.ts'
import { sizeOf } from '../replica/update.ts'
import type { ServerId } from '../replica/version.ts'
import { CommitLog } from './commit-log.ts'
import { damaged, unwritable } from './folder-errors.ts'
import { openLmdbFolder, type LmdbFolder } from './lmdb-folder.ts'
import { logStart, positionsAfter, type Positions } from './positions.ts'
import { StateTables, type CommittedChanges } from './state-tables.ts'
import { StorageError, type KnownServer, type Store, type StoreBatch } from './store.ts'
import { changesIn, isUpdateLine, linesOf, taken, type TakenBatch } from './stored-batch.ts'
import { isStoredUpdates } from './stored-record.ts'

/**
 * Opens the store of a server in a folder, which is made where there is none.
 *
 * @param options.settleMsMax after which a commit that has not come to its end counts as failed; 30 s where absent.
 * @param options.logFileBytes see {@link CommitLog}.
 * @throws StorageError where the folder is in use, belongs to another server, was written by a newer release, is
 * damaged, holds something else, or cannot be used by this user.
 */
export async function openFolderStore(options: {
  readonly folder: string
  readonly server: ServerId
  readonly settleMsMax?: number
  readonly logFileBytes?: number
}): Promise<FolderStore> {
  const folder = await openLmdbFolder(options)
  try {
    return new FolderStore(folder, options)
  } catch (cause) {
    const error = unreadable(options.folder, cause)
    // Of a file that is damaged, not even that may succeed.
    if (!error.isBroken) await folder.release({ orderly: false }).catch(() => undefined)
    throw error
  }
}

/**
 * A store in a folder: a {@link CommitLog}, in which every commit is as a whole, and behind it {@link StateTables}, which
 * hold the state as it is after the last commits but few.
 *
 * Rules:
 * - A commit is one entry of the log, whatever is in it. It is acknowledged when it is durable there.
 * - What it says of the state then goes into the tables. What a crash keeps from getting there is done again from the log
 *   at the next start, before anything is recovered.
 * - A file of the log is let go when the tables hold all that its commits say of the state, and no update in it is kept.
 */
export class FolderStore implements Store {
  readonly isFresh: boolean
  readonly addresses: readonly KnownServer[]
  readonly #folder: LmdbFolder
  readonly #settleMsMax: number
  readonly #log: CommitLog
  readonly #tables: StateTables
  /** Where all the commits that were made leave the positions. */
  #positions: Positions
  /** Commits that are not in the log, in order. */
  #queue: Commit[] = []
  /** Settles, without fail, when nothing is queued or under way. */
  #work: Promise<void> | undefined
  /** Rejects the commit under way, which has taken too long. */
  #abandon: ((failure: StorageError) => void) | undefined
  readonly #deadline: NodeJS.Timeout
  #failure: StorageError | undefined
  #closing: Promise<void> | undefined

  /**
   * @param folder nobody else uses it.
   * @param options see {@link openFolderStore}.
   * @throws StorageError where something in it cannot be read.
   */
  constructor(
    folder: LmdbFolder,
    options: { readonly settleMsMax?: number; readonly logFileBytes?: number } = {},
  ) {
    const { settleMsMax = 30_000, logFileBytes: fileBytes } = options
    this.#folder = folder
    this.#settleMsMax = settleMsMax
    this.isFresh = folder.isFresh
    this.#log = new CommitLog({ folder: folder.path, path: folder.realPath, ...(fileBytes && { fileBytes }) })
    this.#tables = new StateTables(folder, {
      settleMsMax,
      settled: (progress) => this.#log.letGo(progress.commit, logStart(progress)),
      failed: (cause) => this.#fail(cause),
    })
    this.#requireLog()
    this.#catchUp()
    this.addresses = this.#tables.addresses
    const { checkpoint, trim } = this.#tables.progress
    this.#positions = { checkpoint, trim, logEnd: Math.max(checkpoint, this.#endOfUpdates()) }
    if (trim > this.#positions.logEnd) throw damaged(folder.path, 'its log begins after its end')
    this.#deadline = setTimeout(() => this.#abandon?.(this.#tooLate()), settleMsMax).unref()
  }

  recover(): Recovered {
    const { applied, logFloor } = this.#tables.progress
    return {
      keys: this.#again(() => this.#tables.keys()),
      rows: this.#again(() => this.#tables.rows()),
      sessions: this.#again(() => this.#tables.sessions()),
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
    const before = this.#positions
    const after = positionsAfter(batch, before)
    this.#positions = after
    await new Promise<void>((resolve, reject) => {
      const ends = { start: before.logEnd, end: after.logEnd }
      this.#queue.push({ batch: taken(batch, after), ends, resolve, reject })
      this.#work ??= this.#drain()
    })
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close()
    await this.#closing
  }

  async #close(): Promise<void> {
    await this.#work
    await this.#tables.close()
    clearTimeout(this.#deadline)
    // After a failure a write may still be under way.
    if (this.#failure !== undefined) return
    await this.#log.close()
    await this.#folder.release({ orderly: true })
  }

  async #drain(): Promise<void> {
    for (let commit = this.#queue.shift(); commit !== undefined; commit = this.#queue.shift()) {
      try {
        await this.#keep(commit)
        commit.resolve()
      } catch (cause) {
        commit.reject(this.#fail(cause))
      }
    }
    this.#work = undefined
  }

  /** Has a commit in the log, and on its way into the tables. */
  async #keep({ batch, ends }: Commit): Promise<void> {
    const { lines, changes } = await linesOf(batch)
    await this.#tables.room()
    if (this.#failure !== undefined) throw this.#failure
    const commit = await this.#inTime(async () => {
      const number = await this.#log.append(lines, ends)
      if (!this.#tables.isLogNoted) await this.#tables.noteLog()
      return number
    })
    if (changes !== undefined) this.#tables.take({ ...changes, commit })
  }

  /** Waits for something, though not for ever. */
  async #inTime<Result>(act: () => Promise<Result>): Promise<Result> {
    this.#deadline.refresh()
    try {
      return await new Promise<Result>((resolve, reject) => {
        this.#abandon = reject
        act().then(resolve, reject)
      })
    } finally {
      this.#abandon = undefined
    }
  }

  #tooLate(): StorageError {
    return new StorageError(
      `${this.#folder.path} has not taken a commit in ${this.#settleMsMax / 1_000} s: its disk may be broken or far ` +
        'too slow; replace it, and start the server again',
    )
  }

  /** Nothing can be kept any more. @returns why. */
  #fail(cause: unknown): StorageError {
    this.#failure ??= this.#failureOf(cause)
    for (const { reject } of this.#queue) reject(this.#failure)
    this.#queue = []
    return this.#failure
  }

  #failureOf(cause: unknown): StorageError {
    if (cause instanceof StorageError) return cause
    return unwritable(this.#folder.path, cause)
  }

  /** @throws StorageError where the log and the tables are not of one store at one time. */
  #requireLog(): void {
    const { path } = this.#folder
    const { progress } = this.#tables
    if (this.#log.isEmpty) {
      if (this.#tables.isLogNoted || progress.commit > 0) throw damaged(path, 'its log is missing')
      return
    }
    if (this.#log.last < progress.commit) throw damaged(path, 'its log ends before its state')
    const isThere = this.#log.first <= progress.commit + 1 && this.#log.firstPosition <= logStart(progress)
    if (!isThere) throw damaged(path, 'the beginning of its log is missing')
  }

  #catchUp(): void {
    try {
      this.#tables.catchUp(this.#changesAfter(this.#tables.progress.commit))
    } catch (cause) {
      throw this.#failureOf(cause)
    }
  }

  *#changesAfter(commit: number): Generator<CommittedChanges, void, undefined> {
    for (const { number, lines } of this.#log.commits(commit)) {
      const changes = this.#read(() => changesIn(lines))
      if (changes !== undefined) yield { ...changes, commit: number }
    }
  }

  *#updates(start: number): Generator<LogItem, void, undefined> {
    const { path } = this.#folder
    let next = 0
    for (const { lines } of this.#log.commits()) {
      for (const line of lines) {
        if (!isUpdateLine(line)) continue
        const [first, ...updates] = this.#read(() => JSON.parse(line) as readonly unknown[])
        if (!Number.isSafeInteger(first) || (first as number) < next) {
          throw damaged(
            path,
            `a part of its log is at ${String(first)}, and the part before it ends at ${next}`,
          )
        }
        if (!isStoredUpdates(updates)) throw damaged(path, 'a record in it makes no sense')
        next = first as number
        for (const update of updates) {
          if (next >= start) yield { position: next, entry: { update, bytes: sizeOf(update) } }
          next++
        }
      }
    }
  }

  /** @throws StorageError where what is to be read throws. */
  #read<Result>(parse: () => Result): Result {
    try {
      return parse()
    } catch (cause) {
      throw damaged(this.#folder.path, 'a record in it cannot be read', cause)
    }
  }

  /** The position after the last update in the log. */
  #endOfUpdates(): number {
    let last: string | undefined
    for (const { lines } of this.#log.commits(this.#log.newest.commit - 1)) {
      last = lines.findLast(isUpdateLine) ?? last
    }
    if (last === undefined) return this.#log.newest.position
    const [first = 0, ...updates] = this.#read(() => JSON.parse(last) as readonly number[])
    return first + updates.length
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
}

interface Commit {
  readonly batch: TakenBatch
  /** Of the updates, before and after it. */
  readonly ends: { readonly start: number; readonly end: number }
  readonly resolve: () => void
  readonly reject: (error: StorageError) => void
}

type LogItem = Recovered['log'] extends Iterable<infer Item> ? Item : never

/** The error that there is, or one for what cannot be made sense of. */
function unreadable(path: string, cause: unknown): StorageError {
  if (cause instanceof StorageError) return cause
  const reason = cause instanceof Error ? cause.message : String(cause)
  // The system names its errors; the library, which finds a file garbled, numbers them.
  if (typeof (cause as NodeJS.ErrnoException).code === 'string') {
    return new StorageError(`${path} cannot be read (${reason}): its disk may be broken`, { cause })
  }
  return damaged(path, `it cannot be read (${reason})`, cause)
}
