import type { KeyRecord, Output, StageItem, StateRecords } from '../replica/output.ts'
import { sizeOfValue } from '../replica/update.ts'
import type { LogEntry } from '../replica/update-log.ts'
import type { KnownServer, Store, StoreBatch } from '../storage/store.ts'
import type { Checkpointer } from './checkpointer.ts'

/** What may leave once what it reveals is durable: a step's output, or an act in its turn. */
export type Follower = Output | (() => void)

/**
 * The one law of durability (R6): what has been stepped, on its way to the disk, and what follows it out.
 *
 * All that is stepped while a commit is under way goes into the next one, so a slow disk makes commits larger and
 * not more numerous. There is one commit at a time, and each is told what follows it:
 *
 *     stepped …   [ gathered | gathered ]   →   [ under way ]   →   durable, followers leave in order
 *
 * Invariant: whatever a follower reveals is in the commit that it follows, or in an earlier one. A follower with
 * nothing of its own to store reveals what was stepped before it, and so it follows the last commit there is.
 *
 * What a snapshot stages may be many times what comes between two commits otherwise, and a commit is encoded in one go:
 * so it is cut into batches that are encoded in some milliseconds each, and counted like updates, so that stepping
 * waits for the disk.
 *
 * `async` lets followers go at once, and commits in the background. That is bounded: as long as the oldest of what
 * is not durable is older, or all of it larger, than a crash may cost, followers wait as with `sync`.
 *
 * A commit costs much the same whatever is in it, so one that would be small waits a little for more to share it. One for
 * which nobody waits (no client, no watcher, no peer) is that of a server to which others send what they take: its disk
 * then does not keep theirs, or its own clients, from theirs. And whoever has just been answered may ask again at once:
 * so one of many writes is put off until nearly as many are in it as had not been answered when the one before ended,
 * though for about as long as that one took at most. A few writers at a time never wait for each other.
 *
 * A commit that fails has failed for good: nothing leaves after it, and the process has to end.
 */
export class GroupCommit {
  readonly #store: Store
  readonly #mode: 'sync' | 'async'
  readonly #checkpointer: Checkpointer
  readonly #now: () => number
  readonly #later: ((ms: number, run: () => void) => void) | undefined
  readonly #durable: (followers: readonly Follower[]) => void
  readonly #failed: (error: unknown) => void
  /** In order. All but the last hold as much as may be staged at once, or end with an `install`: nothing may follow it. */
  readonly #gathered: Batch[] = []
  #underWay: Batch | undefined
  /** Settles when the commit under way has come to its end. */
  #running: Promise<void> | undefined
  /** The position that the next update will have. */
  #position: number
  #known: readonly KnownServer[] | undefined
  #waiting = 0
  #unsavedBytes = 0
  #isFinishing = false
  /** How many writes had not been answered when the last commit ended, its own among them; and when that was. */
  #expected = 0
  #endedMs = 0
  /** How long it took. */
  #tookMs = 0
  /** When {@link begin} is called next because a time to gather is over, as far as is remembered; Infinity for never. */
  #wakesMs = Infinity
  #hasFailed = false

  constructor(options: {
    readonly store: Store
    readonly mode: 'sync' | 'async'
    readonly checkpointer: Checkpointer
    /** Where the log goes on. */
    readonly position: number
    readonly now: () => number
    /** Runs a function after so many milliseconds. Where absent, no commit waits for more to share it. */
    readonly later?: ((ms: number, run: () => void) => void) | undefined
    /** What followed a commit may leave now, in this order. Called after the next commit has begun. */
    readonly durable: (followers: readonly Follower[]) => void
    /** A commit has failed. Nothing is durable after it, and `durable` is never called again. */
    readonly failed: (error: unknown) => void
  }) {
    this.#store = options.store
    this.#mode = options.mode
    this.#checkpointer = options.checkpointer
    this.#position = options.position
    this.#now = options.now
    this.#later = options.later
    this.#durable = options.durable
    this.#failed = options.failed
  }

  /** Followers that have not left. */
  get waiting(): number {
    return this.#waiting
  }

  /** Of updates and staged records that are not known to be durable. */
  get unsavedBytes(): number {
    return this.#unsavedBytes
  }

  /** Takes what a step has to store into the next commit. */
  take({ persist, stage }: Pick<Output, 'persist' | 'stage'>): void {
    for (const entry of persist) {
      const batch = this.#open()
      batch.log.push({ position: this.#position++, entry })
      this.#count(batch, entry.bytes)
      this.#checkpointer.note(entry)
    }
    for (const item of stage) this.#stage(item)
    // What is taken in of a snapshot goes on behind it.
    const last = this.#gathered.at(-1)
    if (stage.length > 0 && last !== undefined) last.isUrgent = true
  }

  /**
   * Puts a follower behind all that has been taken so far.
   *
   * @returns false where there is nothing that it has to wait for, and then it is not kept.
   */
  follow(follower: Follower): boolean {
    const batch = this.#gathered.at(-1) ?? this.#underWay
    if (batch === undefined || isHousekeeping(batch)) return false
    if (this.#mode === 'async' && this.#waiting === 0 && !this.#isOverdue()) return false
    batch.followers.push(follower)
    if (isAwaited(follower)) {
      batch.isAwaited = true
      if (typeof follower !== 'function' && follower.persist.length > 0) batch.writes++
    }
    this.#waiting++
    return true
  }

  /** What is known of other servers goes into the next commit; nothing waits for them. */
  keepKnown(known: readonly KnownServer[]): void {
    this.#known = known
    this.begin()
  }

  /** Begins the next commit where there is something to store and none is under way. */
  begin(): void {
    if (this.#underWay !== undefined || this.#hasFailed || this.#mayGather()) return
    const mayIdle = this.#known !== undefined || (this.#checkpointer.isUnderWay && !this.#isFinishing)
    const batch = this.#gathered.shift() ?? (mayIdle ? emptyBatch(this.#now()) : undefined)
    if (batch === undefined) return
    this.#underWay = batch
    this.#running = this.#commit(batch)
  }

  /** Whether what has been gathered is to wait for more; then {@link begin} is called again in time. */
  #mayGather(): boolean {
    const [batch] = this.#gathered
    if (this.#later === undefined || this.#isFinishing || batch === undefined) return false
    if (this.#gathered.length > 1 || batch.isUrgent || batch.bytes > gatheredBytesMax) return false
    const untilMs = this.#gathersUntilMs(batch)
    const leftMs = untilMs - this.#now()
    if (leftMs <= 0) return false
    if (untilMs < this.#wakesMs) {
      this.#wakesMs = untilMs
      this.#later(leftMs, () => {
        this.#wakesMs = Infinity
        this.begin()
      })
    }
    return true
  }

  /** When a batch is stored, if not much more is stepped sooner. */
  #gathersUntilMs(batch: Batch): number {
    const untilMs = batch.sinceMs + gatherMs
    if (!batch.isAwaited) return untilMs
    const isPutOff = this.#expected >= sharersMin && batch.writes < expectedPart * this.#expected
    return isPutOff ? Math.min(untilMs, this.#endedMs + Math.min(this.#tookMs, shareMsMax)) : 0
  }

  /** Stores all that has been taken. @returns when it is durable, or when a commit has failed. */
  async finish(): Promise<void> {
    this.#isFinishing = true
    this.begin()
    while (this.#underWay !== undefined) await this.#running
  }

  async #commit(batch: Batch): Promise<void> {
    const stored = this.#assemble(batch)
    const beganMs = this.#now()
    try {
      await this.#store.commit(stored)
    } catch (error) {
      this.#hasFailed = true
      this.#underWay = undefined
      this.#failed(error)
      return
    }
    this.#underWay = undefined
    this.#waiting -= batch.followers.length
    this.#unsavedBytes -= batch.bytes
    this.#expected = batch.writes + (this.#gathered[0]?.writes ?? 0)
    this.#endedMs = this.#now()
    this.#tookMs = this.#endedMs - beganMs
    // The disk works on while the answers are put into words.
    this.begin()
    this.#durable(batch.followers)
  }

  #assemble(batch: Batch): StoreBatch {
    // What it captures reflects all that has been stepped, so all of that must be in this commit.
    const isLast = this.#gathered.length === 0
    const slice = isLast ? this.#checkpointer.slice(this.#position) : undefined
    const addresses = this.#known
    this.#known = undefined
    return {
      ...(batch.log.length > 0 ? { log: batch.log } : {}),
      ...slice,
      ...(batch.unstage ? { unstage: true } : {}),
      ...(batch.staged === undefined ? {} : { staged: batch.staged }),
      ...(batch.install === undefined ? {} : { install: batch.install }),
      ...(addresses === undefined ? {} : { addresses }),
    }
  }

  #stage(item: StageItem): void {
    switch (item.kind) {
      case 'open': {
        const batch = this.#open()
        batch.unstage = true
        batch.staged = undefined
        this.#count(batch, -batch.stagedBytes)
        batch.stagedBytes = 0
        return
      }
      case 'arrived':
        this.#addStaged(item.records)
        return
      case 'begin':
        this.#checkpointer.beginInstall()
        return
      case 'records':
        this.#addStaged(item.records)
        // What no checkpoint holds yet has to be staged too, and as it is now at the earliest.
        this.#addStaged(this.#checkpointer.stage(this.#position))
        return
      case 'install': {
        const { position, applied, logFloor } = item
        this.#addStaged(this.#checkpointer.completeInstall(this.#position))
        this.#open().install = { position, applied, logFloor }
        this.#position = position
      }
    }
  }

  #addStaged({ keys, rows, sessions }: StateRecords): void {
    for (const record of keys) this.#stagedFor(sizeOfKey(record)).keys.push(record)
    for (const record of rows) this.#stagedFor(entryBytes * (1 + record.known.size)).rows.push(record)
    for (const record of sessions)
      this.#stagedFor(recordBytes + entryBytes * record.answers.length).sessions.push(record)
  }

  /** @returns where the next record of about this size goes. */
  #stagedFor(bytes: number): StagedRecords {
    let batch = this.#open()
    if (batch.staged !== undefined && isFilled(batch)) {
      batch = emptyBatch(this.#now())
      this.#gathered.push(batch)
    }
    this.#count(batch, bytes)
    batch.stagedBytes += bytes
    batch.staged ??= { keys: [], rows: [], sessions: [] }
    return batch.staged
  }

  #count(batch: Batch, bytes: number): void {
    batch.bytes += bytes
    this.#unsavedBytes += bytes
  }

  /** The batch that takes what is stepped now. */
  #open(): Batch {
    const last = this.#gathered.at(-1)
    if (last !== undefined && last.install === undefined) return last
    const batch = emptyBatch(this.#now())
    this.#gathered.push(batch)
    return batch
  }

  #isOverdue(): boolean {
    const oldest = this.#underWay ?? this.#gathered[0]
    if (oldest === undefined) return false
    return this.#now() - oldest.sinceMs > asyncAgeMsMax || this.unsavedBytes > asyncBytesMax
  }
}

type StagedRecords = { [Part in keyof StateRecords]: StateRecords[Part][number][] }

interface Batch {
  readonly log: { readonly position: number; readonly entry: LogEntry }[]
  unstage: boolean
  staged: StagedRecords | undefined
  install: StoreBatch['install']
  readonly followers: Follower[]
  /** Whether anybody outside waits for what follows it. */
  isAwaited: boolean
  /** How many of those that are waited for store something. */
  writes: number
  /** A snapshot that is being taken in goes on behind it. */
  isUrgent: boolean
  /** Of the log and of what is staged. */
  bytes: number
  stagedBytes: number
  /** When the oldest of it was stepped. */
  readonly sinceMs: number
}

function emptyBatch(nowMs: number): Batch {
  return {
    log: [],
    unstage: false,
    staged: undefined,
    install: undefined,
    followers: [],
    isAwaited: false,
    writes: 0,
    isUrgent: false,
    bytes: 0,
    stagedBytes: 0,
    sinceMs: nowMs,
  }
}

/** Whether it holds as much of a snapshot as one commit is to. */
function isFilled({ staged, stagedBytes }: Batch): boolean {
  if (staged === undefined) return false
  const count = staged.keys.length + staged.rows.length + staged.sessions.length
  return stagedBytes >= stagedBytesMax || count >= stagedRecordsMax
}

function sizeOfKey({ key, siblings }: KeyRecord): number {
  let bytes = key.length + recordBytes
  for (const { value } of siblings) bytes += entryBytes + sizeOfValue(value)
  return bytes
}

/** Whether anybody outside learns from it what he may wait for. */
function isAwaited(follower: Follower): boolean {
  if (typeof follower === 'function') return true
  const { reply, notify, broadcast, send, refuse, awaitDrain } = follower
  return reply.length + notify.length + broadcast.length + send.length + refuse.length + awaitDrain.length > 0
}

/** Whether it stores nothing that any output reveals: addresses, or a part of a checkpoint. */
function isHousekeeping(batch: Batch): boolean {
  return batch.log.length === 0 && !batch.unstage && batch.staged === undefined && batch.install === undefined
}

/**
 * For how long, in milliseconds, and up to what a commit gathers for which nobody waits. Peers are told what is durable
 * here every 50 ms, so nobody notices; a disk that takes one in half a millisecond is left alone for most of the time.
 */
const gatherMs = 5
const gatheredBytesMax = 1 << 20

/**
 * What part of those that had not been answered makes a commit, if they are so many that it pays; and how long, in
 * milliseconds, one is put off for them at most, to which a timer adds some of its own. Not all: some may have gone, or
 * be about something else.
 */
const sharersMin = 16
const expectedPart = 0.8
const shareMsMax = 2

/** What one commit holds of a snapshot: encoded in about ten milliseconds. */
const stagedBytesMax = 4 << 20
const stagedRecordsMax = 5_000

/** About what a record takes besides its key and values, and what a version, an entry of a cut or an answer takes. */
const recordBytes = 100
const entryBytes = 64

/**
 * What a crash may cost with `async`: the last second, as with the everysec of Redis, or this much, which a disk
 * of our days takes in well under a second.
 */
const asyncAgeMsMax = 1_000
const asyncBytesMax = 16 << 20
