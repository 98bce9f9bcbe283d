/**
 * A history: what clients saw of a store, one object a line, and what the servers held in the end.
 *
 * These types are the format; `line-parser.ts` reads it from text. Where they allow `null`, absent means the same.
 */

/** The identity of a write that happened: its timestamp, and the origin that gave it. */
export type SeenVersion = readonly [timestamp: number, origin: string]

/** `true`: it happened. `false`: it certainly did not. `null`: whoever asked does not know. */
export type Outcome = boolean | null

/** Where an operation stands: `i` rises within a session and is given when the operation is begun, or a push is seen. */
interface Placed {
  readonly session: string
  readonly i: number
}

/** `value` is unique in the whole history. `version` stands on what is `ok`, and on nothing else. */
export interface WriteLine extends Placed {
  readonly op: 'write'
  readonly key: string
  readonly value: string
  readonly version?: SeenVersion | null
  readonly ok: Outcome
}

export interface DeleteLine extends Placed {
  readonly op: 'delete'
  readonly key: string
  readonly version?: SeenVersion | null
  readonly ok: Outcome
}

/** Without a version: nothing was ever written there. With a version and no value: a tombstone. */
export interface ReadLine extends Placed {
  readonly op: 'read'
  readonly key: string
  readonly value?: string | null
  readonly version?: SeenVersion | null
  readonly ok: Outcome
}

/** One key's write, as a watcher was told it. Without a value: a tombstone. */
export interface PushLine extends Placed {
  readonly op: 'push'
  readonly key: string
  readonly value?: string | null
  readonly version: SeenVersion
  readonly ok?: true
}

/** One batch of writes, all with one version; or one read of several keys at one moment. */
export interface TransactionLine extends Placed {
  readonly op: 'txn'
  readonly ops: readonly TransactionPart[]
  readonly ok: Outcome
}

export interface TransactionPart {
  readonly op: 'write' | 'delete' | 'read'
  readonly key: string
  readonly value?: string | null
  readonly version?: SeenVersion | null
}

/** What a server holds of a key in the end. Without a value: a tombstone. */
export interface FinalLine {
  readonly op: 'final'
  readonly server: string
  readonly key: string
  readonly value?: string | null
  readonly version: SeenVersion
}

/** A fault that was staged on purpose has destroyed every copy of this update, so the end state need not have it. */
export interface LostLine {
  readonly op: 'lost'
  readonly version: SeenVersion
}

/** What a session did or saw: one event of the causal order. */
export type EventLine = WriteLine | DeleteLine | ReadLine | PushLine | TransactionLine

export type HistoryLine = EventLine | FinalLine | LostLine

/** This is no history: a line of it says what cannot be. The fault is the recorder's, not the store's. */
export class HistoryFault extends Error {
  override readonly name = 'HistoryFault'
  /** Counted from 1. */
  readonly line: number

  constructor(line: number, message: string) {
    super(`line ${line}: ${message}`)
    this.line = line
  }
}
