import type { Address } from '../protocol/address.ts'
import type { Output, StageItem, StateRecords } from '../replica/output.ts'
import type { LogEntry } from '../replica/update-log.ts'
import type { Store, StoreBatch } from '../storage/store.ts'
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
 * `async` lets followers go at once, and commits in the background. That is bounded: as long as the oldest of what
 * is not durable is older, or all of it larger, than a crash may cost, followers wait as with `sync`.
 *
 * A commit that fails has failed for good: nothing leaves after it, and the process has to end.
 */
export class GroupCommit {
  readonly #store: Store
  readonly #mode: 'sync' | 'async'
  readonly #checkpointer: Checkpointer
  readonly #now: () => number
  readonly #durable: (followers: readonly Follower[]) => void
  readonly #failed: (error: unknown) => void
  /** In order. All but the last end with an `install`, which has to be the last thing of its commit. */
  readonly #gathered: Batch[] = []
  #underWay: Batch | undefined
  /** Settles when the commit under way has come to its end. */
  #running: Promise<void> | undefined
  /** The position that the next update will have. */
  #position: number
  #addresses: readonly Address[] | undefined
  #waiting = 0
  #isFinishing = false
  #hasFailed = false

  constructor(options: {
    readonly store: Store
    readonly mode: 'sync' | 'async'
    readonly checkpointer: Checkpointer
    /** Where the log goes on. */
    readonly position: number
    readonly now: () => number
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
    this.#durable = options.durable
    this.#failed = options.failed
  }

  /** Followers that have not left. */
  get waiting(): number {
    return this.#waiting
  }

  /** Of updates and staged records that are not known to be durable. */
  get unsavedBytes(): number {
    let bytes = this.#underWay?.bytes ?? 0
    for (const batch of this.#gathered) bytes += batch.bytes
    return bytes
  }

  /** Takes what a step has to store into the next commit. */
  take({ persist, stage }: Pick<Output, 'persist' | 'stage'>): void {
    for (const entry of persist) {
      const batch = this.#open()
      batch.log.push({ position: this.#position++, entry })
      batch.bytes += entry.bytes
      this.#checkpointer.note(entry)
    }
    for (const item of stage) this.#stage(item)
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
    this.#waiting++
    return true
  }

  /** The addresses of other servers go into the next commit; nothing waits for them. */
  keepAddresses(addresses: readonly Address[]): void {
    this.#addresses = addresses
    this.begin()
  }

  /** Begins the next commit where there is something to store and none is under way. */
  begin(): void {
    if (this.#underWay !== undefined || this.#hasFailed) return
    const mayIdle = this.#addresses !== undefined || (this.#checkpointer.isUnderWay && !this.#isFinishing)
    const batch = this.#gathered.shift() ?? (mayIdle ? emptyBatch(this.#now()) : undefined)
    if (batch === undefined) return
    this.#underWay = batch
    this.#running = this.#commit(batch)
  }

  /** Stores all that has been taken. @returns when it is durable, or when a commit has failed. */
  async finish(): Promise<void> {
    this.#isFinishing = true
    this.begin()
    while (this.#underWay !== undefined) await this.#running
  }

  async #commit(batch: Batch): Promise<void> {
    const stored = this.#assemble(batch)
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
    // The disk works on while the answers are put into words.
    this.begin()
    this.#durable(batch.followers)
  }

  #assemble(batch: Batch): StoreBatch {
    // What it captures reflects all that has been stepped, so all of that must be in this commit.
    const isLast = this.#gathered.length === 0
    const slice = isLast ? this.#checkpointer.slice(this.#position) : undefined
    const addresses = this.#addresses
    this.#addresses = undefined
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
    const batch = this.#open()
    switch (item.kind) {
      case 'begin':
        batch.unstage = true
        batch.staged = undefined
        this.#checkpointer.beginInstall()
        return
      case 'records':
        this.#addStaged(batch, item.records)
        // What no checkpoint holds yet has to be staged too, and as it is now at the earliest.
        this.#addStaged(batch, this.#checkpointer.stage(this.#position))
        return
      case 'install': {
        const { position, applied, logFloor } = item
        this.#addStaged(batch, this.#checkpointer.completeInstall(this.#position))
        batch.install = { position, applied, logFloor }
        this.#position = position
      }
    }
  }

  #addStaged(batch: Batch, { keys, rows, sessions }: StateRecords): void {
    batch.staged ??= { keys: [], rows: [], sessions: [] }
    for (const key of keys) batch.staged.keys.push(key)
    for (const row of rows) batch.staged.rows.push(row)
    for (const session of sessions) batch.staged.sessions.push(session)
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

interface Batch {
  readonly log: { readonly position: number; readonly entry: LogEntry }[]
  unstage: boolean
  staged: { [Part in keyof StateRecords]: StateRecords[Part][number][] } | undefined
  install: StoreBatch['install']
  readonly followers: Follower[]
  /** Of the log. Staged records come a slice of a step at a time, and are not counted. */
  bytes: number
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
    bytes: 0,
    sinceMs: nowMs,
  }
}

/** Whether it stores nothing that any output reveals: addresses, or a part of a checkpoint. */
function isHousekeeping(batch: Batch): boolean {
  return batch.log.length === 0 && !batch.unstage && batch.staged === undefined && batch.install === undefined
}

/**
 * What a crash may cost with `async`: the last second, as with the everysec of Redis, or this much, which a disk
 * of our days takes in well under a second.
 */
const asyncAgeMsMax = 1_000
const asyncBytesMax = 16 << 20
