import type { Address } from '../protocol/address.ts'
import type { Cut } from '../replica/cut.ts'
import type { StateRecords } from '../replica/output.ts'
import type { Recovered } from '../replica/recovered.ts'
import type { LogEntry } from '../replica/update-log.ts'
import type { ServerId } from '../replica/version.ts'

/**
 * Where a server keeps what must not be lost: the port that every store implements, and its specification.
 *
 * A store holds a *log* of updates by position, a *state* (the siblings of each key, the rows of the matrix of R5,
 * the answers to requests) as a checkpoint at some position of that log, *staged* records beside it while a
 * snapshot is taken in, and who and where the other servers are.
 *
 * Rules:
 * - A commit is atomic: after a crash at any moment, all of it is there or nothing.
 * - Commits are durable in the order in which they were made: a later one is never there without an earlier one.
 * - When the promise of a commit has resolved, what it holds is as durable as the store makes anything.
 * - A commit that fails has failed for good: the store accepts no other after it, and all later ones reject too.
 * - A store belongs to one process at a time, and to one server id for good.
 */
export interface Store {
  /** Whether nothing had ever been kept there when the store was opened: a new folder. */
  readonly isFresh: boolean

  /** What was there when the store was opened. To be taken once, and read to its end before the first commit. */
  recover(): Recovered

  /** What was kept last of other servers. To be asked before the first commit. */
  readonly addresses: readonly KnownServer[]

  /**
   * Makes a batch durable. May be called again before the one before has resolved; what it holds is taken at once,
   * so that cuts in it may rise afterwards.
   *
   * @throws StorageError, as a rejection, where it cannot be stored.
   */
  commit(batch: StoreBatch): Promise<void>

  /** Lets go of everything, when all commits have come to their end. */
  close(): Promise<void>
}

/** One commit. Its parts take effect in the order of these fields. */
export interface StoreBatch {
  /** Updates to append to the log. Positions rise, from one commit to the next too; they may leave gaps. */
  readonly log?: readonly { readonly position: number; readonly entry: LogEntry }[]
  /** Parts of the state to replace, each key, row and session as a whole: a checkpoint in the making. A session of which nothing is kept is removed. */
  readonly state?: StateRecords
  /**
   * All of the state is now at least as new as this position, which never falls; `applied` and `rows` are as they
   * were at it. A row that is not among `rows` stays as it is kept.
   */
  readonly checkpoint?: {
    readonly position: number
    readonly applied: Cut
    readonly rows: StateRecords['rows']
  }
  /**
   * Updates before this position, which never falls, may go, once the checkpoint no longer needs them; `logFloor`
   * covers them.
   */
  readonly trim?: { readonly position: number; readonly logFloor: Cut }
  /** What has been staged is of no use. What was installed stays. */
  readonly unstage?: true
  /** Records to come, after `unstage`: beside the state and without effect on it until `install`. */
  readonly staged?: StateRecords
  /**
   * All that has been staged takes the place of the same records of the state, at once; records of the state that
   * were not staged stay. That is a checkpoint at `position`, where the log goes on: so whoever installs has staged
   * whatever had changed since the checkpoint before, too, and no update before `position` is ever replayed.
   */
  readonly install?: { readonly position: number; readonly applied: Cut; readonly logFloor: Cut }
  /** Replaces what is kept of other servers. */
  readonly addresses?: readonly KnownServer[]
}

/**
 * What is kept of another server: where it may be found, and who that is where anybody has said so; or, of one that
 * may be found nowhere now, who it is.
 */
export type KnownServer = KnownAddress | { readonly id: ServerId }

export interface KnownAddress extends Address {
  readonly id?: ServerId
  /** Whether it has answered there. */
  readonly isProven?: true
}

/** The store cannot be opened or written; the message says why and what to try. */
export class StorageError extends Error {
  override readonly name = 'StorageError'
  /** Whether somebody has taken away what had been stored, so that even what is durable may be gone. */
  readonly isLoss: boolean
  /** Whether a write has failed in the midst of it, after which not even closing is safe. */
  readonly isBroken: boolean

  constructor(message: string, options: StorageErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.isLoss = options.isLoss === true
    this.isBroken = options.isBroken === true
  }
}

interface StorageErrorOptions {
  readonly cause?: unknown
  readonly isLoss?: boolean
  readonly isBroken?: boolean
}
