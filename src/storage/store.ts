import type { Address } from '../protocol/address.ts'
import type { Cut } from '../replica/cut.ts'
import type { StateRecords } from '../replica/output.ts'
import type { Recovered } from '../replica/recovered.ts'
import type { LogEntry } from '../replica/update-log.ts'

/**
 * Where a server keeps what must not be lost: the port that every store implements, and its specification.
 *
 * A store holds a *log* of updates by position, a *state* (the siblings of each key, the rows of the matrix of R5,
 * the answers to requests) as a checkpoint at some position of that log, a *staged* state beside it while a
 * snapshot is taken in, and the addresses of other servers.
 *
 * Rules:
 * - A commit is atomic: after a crash at any moment, all of it is there or nothing.
 * - Commits are durable in the order in which they were made: a later one is never there without an earlier one.
 * - When the promise of a commit has resolved, what it holds is as durable as the store makes anything.
 * - A commit that fails has failed for good: the store accepts no other after it, and all later ones reject too.
 * - A store belongs to one process at a time, and to one server id for good.
 */
export interface Store {
  /** What was there when the store was opened. To be taken once, before the first commit. */
  recover(): Recovered

  /** The addresses of other servers that were kept last. To be asked before the first commit. */
  readonly addresses: readonly Address[]

  /**
   * Makes a batch durable. May be called again before the one before has resolved.
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
  /** Parts of the state to replace: a checkpoint in the making. */
  readonly state?: StateRecords
  /** All of the state is now at least as new as this position; `applied` and `rows` are as they were at it. */
  readonly checkpoint?: {
    readonly position: number
    readonly applied: Cut
    readonly rows: StateRecords['rows']
  }
  /** Updates before this position may go, once the checkpoint no longer needs them; `logFloor` covers them. */
  readonly trim?: { readonly position: number; readonly logFloor: Cut }
  /** What has been staged is of no use. */
  readonly unstage?: true
  /** Parts of the staged state, after `unstage`. */
  readonly staged?: StateRecords
  /** The staged state takes the place of the state, as a checkpoint at `position`, where the log goes on. */
  readonly install?: { readonly position: number; readonly applied: Cut; readonly logFloor: Cut }
  /** Replaces the addresses. */
  readonly addresses?: readonly Address[]
}

/** The store cannot be opened or written; the message says why and what to try. */
export class StorageError extends Error {
  override readonly name = 'StorageError'
}
