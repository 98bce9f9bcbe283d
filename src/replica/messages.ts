import type { Cut } from './cut.ts'
import type { Sibling } from './key-space.ts'
import type { Update, Write } from './update.ts'
import type { Origin, ServerId, Version } from './version.ts'

/**
 * What one replica says to another, over its own outgoing link to it. A link carries them in order, and is
 * otherwise free to be slow or to break: the cuts say what is missing after that (R8).
 */
export type PeerMessage =
  /** The sender's own new updates, as they happen; and, on connecting, those that the receiver lacks. */
  | { readonly kind: 'updates'; readonly updates: readonly Update[] }
  /** An answer to a pull: a part of the sender's log, in its order of application. */
  | {
      readonly kind: 'page'
      readonly pull: number
      readonly updates: readonly Update[]
      readonly more: boolean
    }
  /**
   * Asks for what the sender lacks, of all origins but those in `except`. `applied` is its whole cut. `snapshot`
   * is the number of the snapshot that is under way, to go on with; absent to begin.
   */
  | {
      readonly kind: 'pull'
      readonly pull: number
      readonly applied: Cut
      readonly except: readonly Origin[]
      readonly snapshot?: number
    }
  /** An answer to a pull that the log does not reach: a part of the sender's state (R8). */
  | ({ readonly kind: 'snapshot'; readonly pull: number } & SnapshotPage)
  /** Entries of the sender's cut: the whole on connecting, later those that have changed. */
  | { readonly kind: 'cut'; readonly entries: Cut }
  /** The state of the sender's outgoing link to the receiver: a lab's theatre, which is not routed around. */
  | { readonly kind: 'link'; readonly state: LinkState }
  /**
   * Asks what the receiver knows of versions that the sender lacks, and of a key, for `why`; without a key, only for
   * its cut, which goes before the answer.
   */
  | {
      readonly kind: 'ask'
      readonly question: number
      readonly key?: string
      readonly versions: readonly Version[]
    }
  /** Answers `ask`. */
  | {
      readonly kind: 'tell'
      readonly question: number
      readonly siblings: readonly Version[]
      readonly keys: readonly VersionKeys[]
    }

/**
 * A part of a snapshot. What comes later replaces what came before: a key whose `first` sibling comes again is
 * told anew, and so are a row and a session. So the pages may be made while writes go on; all of them together
 * are the sender's state at the moment of the last one, which alone has `applied`.
 */
export interface SnapshotPage {
  /** Which snapshot of the sender's this is a part of. A first page of another number begins anew. */
  readonly snapshot: number
  /** Its place among the pages of its snapshot: 1, 2, … A page out of its place ends the snapshot. */
  readonly page: number
  /** Siblings and tombstones; those of one key follow each other. */
  readonly siblings: readonly SnapshotSibling[]
  /** Rows of the matrix of R5. */
  readonly rows: readonly SnapshotRow[]
  /** The answers that are kept for retried requests (R10). */
  readonly sessions: readonly SessionRecord[]
  /** On the last page only: what the whole is a snapshot of. */
  readonly applied?: Cut
}

export interface SnapshotSibling extends Sibling {
  readonly key: string
  /** Whether the key's siblings begin with it. */
  readonly first?: true
}

export interface SnapshotRow {
  readonly origin: Origin
  readonly known: Cut
}

/** What is kept of one session's requests (R10). One without answers whose `letGo` is 0 says that nothing is kept. */
export interface SessionRecord {
  readonly session: string
  /** The highest number whose answer was let go; 0 for none. At or below it, nothing is known. */
  readonly letGo: number
  readonly answers: readonly KeptAnswer[]
}

/** The first answer to a request. */
export interface KeptAnswer {
  readonly number: number
  readonly version: Version
  /** Of the writes, to tell a retry from another request under the same number. */
  readonly fingerprint: number
}

/** What an update wrote to, told by somebody who has it. */
export interface VersionKeys {
  readonly version: Version
  readonly keys: readonly string[]
}

/** A directed link as a lab has set it (design §5); `open` without one. */
export interface LinkState {
  readonly state: 'open' | 'held' | 'delayed' | 'cut'
  /** How long each update stays in the link, in milliseconds; 0 unless delayed. */
  readonly delayMs: number
  /** How many updates are in the link. */
  readonly queued: number
}

/** What a client asks of the replica. Methods that concern the process alone never come here. */
export type ClientRequest =
  | { readonly method: 'hello' }
  | ({
      readonly method: 'write'
      readonly writes: readonly Write[]
      readonly request?: RequestStamp
    } & Patience)
  | ({ readonly method: 'read'; readonly keys: readonly string[] } & Patience)
  | ({
      readonly method: 'keys'
      readonly prefix: string
      readonly from: string
      readonly limit: number
    } & Patience)
  | { readonly method: 'watch'; readonly prefix: string; readonly since: 'now' | 'start' | Cut }
  | { readonly method: 'unwatch'; readonly watch: number }
  | ({ readonly method: 'conflicts'; readonly prefix: string } & Patience)
  | { readonly method: 'status' }
  | { readonly method: 'waiting' }
  | { readonly method: 'why'; readonly key: string }

/** What must have been applied before a request is carried out, and how long that may take (R9). */
export interface Patience {
  readonly after?: Cut
  /** In milliseconds, from its arrival. */
  readonly timeoutMs?: number
}

/** Makes a write one that happens once, however often it is sent (R10). */
export interface RequestStamp {
  /** Whoever writes: a name that nobody else uses. */
  readonly session: string
  /** Rises within the session. */
  readonly number: number
  /** `true`: it may have been sent before. `again`: as `true`, and it is to be carried out where it is unknown. */
  readonly retry?: true | 'again'
}

export type ClientResult =
  | { readonly method: 'hello'; readonly origin: Origin; readonly applied: Cut }
  | { readonly method: 'write'; readonly version: Version }
  | { readonly method: 'read'; readonly values: readonly KeyValue[] }
  | { readonly method: 'keys'; readonly keys: readonly string[]; readonly next?: string }
  | { readonly method: 'watch'; readonly watch: number; readonly applied: Cut }
  | { readonly method: 'unwatch' }
  | { readonly method: 'conflicts'; readonly keys: readonly KeyVersions[] }
  | { readonly method: 'status'; readonly status: ReplicaStatus }
  | { readonly method: 'waiting'; readonly waiting: readonly WaitingReport[] }
  | { readonly method: 'why'; readonly story: Story }
  /** What the request was to come after has not been applied here in time (R9); nothing was changed. */
  | {
      readonly method: 'notCaughtUp'
      /** What is lost before all else, and of many, the first. */
      readonly missing: readonly MissingEntry[]
      /** How many more there are. */
      readonly more: number
    }
  /** The request was understood and cannot be done; nothing was changed by it. */
  | { readonly method: 'refused'; readonly reason: RefusalReason }

export type RefusalReason =
  | 'noSuchWatch'
  | 'tooManyWatches'
  | 'clockExhausted'
  /** As many requests wait for their `after` as may. */
  | 'tooManyWaiting'
  /** A retry that this server knows nothing of: it may have happened elsewhere (R10). */
  | 'outcomeUnknown'
  /** Its session has used its number for other writes. */
  | 'requestReused'

/** An entry of a client's cut that is not applied here. */
export interface MissingEntry {
  readonly version: Version
  /** Connected servers that have told that they applied it. */
  readonly holders: readonly ServerId[]
  /** Every member is connected, and none has it or can issue it any more. */
  readonly lost: boolean
}

export interface KeyValue {
  readonly key: string
  /** The winner; absent where the key was never written here. A tombstone is a winner too. */
  readonly winner?: Sibling
  /** The other siblings, highest first (R5). */
  readonly conflicts: readonly Sibling[]
}

export interface KeyVersions {
  readonly key: string
  /** The winner first. */
  readonly versions: readonly Sibling[]
}

export interface ReplicaStatus {
  readonly server: ServerId
  readonly origin: Origin
  readonly clock: number
  readonly applied: Cut
  /** Updates that wait for their causes. */
  readonly waiting: number
  readonly keys: number
  readonly tombstones: number
  /** Keys that have more than one sibling. */
  readonly conflicts: number
  /** Updates in the log. */
  readonly log: number
  /** Their bytes. */
  readonly logBytes: number
  /** Runs of processes that have written something: the entries of `applied` (R12: kept, and counted). */
  readonly origins: number
  /** Sessions whose answers are kept, and how many answers that are (R10). */
  readonly sessions: number
  readonly answers: number
  /** Requests that wait for what they are to come after (R9). */
  readonly parked: number
  readonly watches: number
  /** What each connected server has told of its cut. */
  readonly peers: readonly { readonly id: ServerId; readonly origin: Origin; readonly applied: Cut }[]
}

/** One waiting update: what `waiting` lists. */
export interface WaitingReport {
  readonly keys: readonly string[]
  readonly version: Version
  /** All versions that it needs and that are not applied here. */
  readonly waitsFor: readonly Version[]
  readonly from: ServerId
  readonly sinceMs: number
}

/** Everything that is known here about one key: what `why` answers. */
export interface Story {
  readonly key: string
  /** Empty where the key was never written here. */
  readonly versions: readonly Sibling[]
  /** Updates to this key that wait here, with each version that they need. */
  readonly waiting: readonly {
    readonly version: Version
    readonly from: ServerId
    readonly sinceMs: number
    readonly waitsFor: readonly MissingVersion[]
  }[]
  /** Versions of this key that a connected server has applied and that have not arrived here. */
  readonly missing: readonly MissingVersion[]
  /** Servers that could not be asked or did not answer in time: their part of the story is not in it. */
  readonly silent: readonly ServerId[]
}

/** A version that is needed or known of, and is not applied here. */
export interface MissingVersion {
  readonly version: Version
  /** The keys that it writes, where anybody connected knows. */
  readonly keys?: readonly string[]
  /** Whether it is here, waiting in its turn. */
  readonly waitsHere: boolean
  /** Connected servers that have applied it. */
  readonly holders: readonly ServerId[]
  /** Those of the holders whose links to this server a lab holds, so that they are not asked for it. */
  readonly heldHolders: readonly ServerId[]
  /** The link from its server to this one; `absent` where there is no such connection. */
  readonly link: LinkState | 'absent'
}
