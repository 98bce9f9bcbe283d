import type { ClientId } from './input.ts'
import type { LogEntry } from './update-log.ts'
import type { Update, Write } from './update.ts'
import type { ClientResult, KeyVersions, PeerMessage, SessionRecord, SnapshotRow } from './messages.ts'
import type { Cut } from './cut.ts'
import type { Origin, ServerId, Timestamp, Version } from './version.ts'
import type { Siblings } from './key-space.ts'

/**
 * What a step asks of the shell, in this order: that order is R6.
 *
 * The shell may collect the outputs of many steps, store all their `persist` in one commit, and then release
 * the rest, field by field or step by step; but nothing of a step leaves the process before that step's
 * `persist`, and that of every step before it, is as durable as the mode promises.
 */
export interface Output {
  /** First: the updates applied by this step, in the order of application. */
  readonly persist: readonly LogEntry[]
  /** After those, still before anything leaves: a snapshot that is being taken in (R8). */
  readonly stage: readonly StageItem[]
  /** Then, in order for each peer. */
  readonly send: readonly { readonly to: ServerId; readonly message: PeerMessage }[]
  /** Then, in order for each client: pushes come before the reply, so a reader of its own write has seen it. */
  readonly broadcast: readonly Broadcast[]
  /** Of a client's pushes these are the later ones. */
  readonly notify: readonly Notification[]
  /** Then the answers. A client's answers may come in another order than its requests (`why` asks others). */
  readonly reply: readonly { readonly client: ClientId; readonly id: number; readonly result: ClientResult }[]
  /** Peers whose last message broke a rule: tell them so and close their connections. */
  readonly refuse: readonly { readonly peer: ServerId; readonly reason: string }[]
  /** What an operator is told. It reveals state, so it leaves with the rest. */
  readonly events: readonly ReplicaEvent[]
  /** Clients in the middle of catching up: `clientDrained` is to come when all of the above has left for them. */
  readonly awaitDrain: readonly ClientId[]
  /** Whether work is left that was put off so as not to keep the process from its other sockets. */
  readonly more: boolean
}

/**
 * What becomes of the state on a disk while a snapshot is taken in: first beside it, as its pages arrive; then, when
 * all are there, what of it is different here; then in its place.
 */
export type StageItem =
  /** A snapshot begins to arrive; what was staged before is of no use. It may never come to its end. */
  | { readonly kind: 'open' }
  /** A part of it as it arrived, while everything else goes on. */
  | { readonly kind: 'arrived'; readonly records: StateRecords }
  /** All of it is there. From here to `install`, nothing but that changes the state. */
  | { readonly kind: 'begin' }
  /**
   * What the state will be where that is not just what has arrived. A key, row or session that is staged again replaces
   * what was staged before; what never is stays as it is.
   */
  | { readonly kind: 'records'; readonly records: StateRecords }
  /**
   * What was staged is part of the state from now on, all at once. The next update has the position `position`, and
   * what lies before the log is covered by `logFloor`.
   */
  | { readonly kind: 'install'; readonly position: number; readonly applied: Cut; readonly logFloor: Cut }

/** A part of a replica's state, as it is kept on a disk. */
export interface StateRecords {
  readonly keys: readonly KeyRecord[]
  readonly rows: readonly SnapshotRow[]
  readonly sessions: readonly SessionRecord[]
}

/** The siblings of one key, as they were when all updates before `position` had been applied, and no other. */
export interface KeyRecord {
  readonly key: string
  readonly position: number
  readonly siblings: Siblings
}

export type Notification = {
  readonly client: ClientId
  readonly watch: number
} & (
  | {
      readonly kind: 'update'
      readonly version: Version
      /** The update's writes to keys with the watch's prefix, together. */
      readonly writes: readonly Write[]
      /** Of those keys, the ones that have several siblings now, with all of them (R5). */
      readonly conflict: readonly KeyVersions[]
      /**
       * It was read from the state: updates before it that have been overwritten since were left out. So until the next
       * `caughtUp`, what the watch has been told is no cut that it could go on from.
       */
      readonly coalesced?: true
    }
  /** `applied` holds all entries the first time, and then those that have changed since. */
  | { readonly kind: 'caughtUp'; readonly applied: Cut }
  /** What this watch has been told is no longer known to be so: a fresh snapshot follows (R11). */
  | { readonly kind: 'resync' }
)

/** An update that several clients are told alike, each under the same number of its own watches. */
export interface Broadcast {
  /** The same list as long as it is the same clients. */
  readonly clients: readonly ClientId[]
  readonly watch: number
  readonly push: UpdatePush
}

/** What an update is to a watch. */
export type UpdatePush = Omit<Extract<Notification, { kind: 'update' }>, 'client' | 'watch'>

/** All that a step tells clients, one by one and in order for each. */
export function* notificationsOf({
  broadcast,
  notify,
}: Pick<Output, 'broadcast' | 'notify'>): Generator<Notification, void, undefined> {
  for (const { clients, watch, push } of broadcast) {
    for (const client of clients) yield { client, watch, ...push }
  }
  yield* notify
}

export type ReplicaEvent =
  /** A client's write was stamped and applied. */
  | { readonly kind: 'taken'; readonly update: Update }
  /** A peer's update was applied; `waitedMs` where it had to wait for its causes. */
  | { readonly kind: 'applied'; readonly update: Update; readonly from: ServerId; readonly waitedMs?: number }
  | {
      readonly kind: 'waiting'
      readonly update: Update
      readonly from: ServerId
      readonly waitsFor: readonly Version[]
    }
  /** The buffer is full; the update will be pulled again (R3). */
  | { readonly kind: 'dropped'; readonly update: Update; readonly from: ServerId }
  /** It claims to come from this server's own run, which never issued it: it is dropped (R7). */
  | { readonly kind: 'forged'; readonly update: Update; readonly from: ServerId }
  /** Nobody connected has what it waits for, and nobody can issue it any more (R3). */
  | { readonly kind: 'lost'; readonly update: Update; readonly waitsFor: readonly Version[] }
  /** A peer answered a pull with this many updates; `more` are to come. */
  | { readonly kind: 'pulled'; readonly from: ServerId; readonly count: number; readonly more: boolean }
  /** A snapshot of a peer's state has been taken in: so many keys were new or newer. */
  | { readonly kind: 'installed'; readonly from: ServerId; readonly keys: number }
  /**
   * A peer has more of an earlier run of this server than its folder had at the start: the folder is an older
   * copy, was copied, or is new (R7). Nothing of it is lost, as it comes back from the peer.
   */
  | {
      readonly kind: 'restored'
      readonly peer: ServerId
      readonly origin: Origin
      readonly here: Timestamp
      readonly there: Timestamp
      /** How many runs it has more of besides this, the latest of them. */
      readonly others: number
    }
  /** A key got a concurrent version. */
  | { readonly kind: 'conflict'; readonly key: string; readonly versions: readonly Version[] }
