import { booleanAt, cutAt, listAt, objectAt, versionAt } from '../protocol/wire-forms.ts'

/**
 * What a client is answered, in the form that it has on the wire: so what a program gets from this library, from
 * `tidings client --json` and from a bare socket is the same.
 */

/** Any JSON value. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue }

/**
 * The identity of an update: its Lamport time, and its origin, which is the server that took it in one run of
 * its process (`1~m3k9x`). {@link showVersion} shortens it for people.
 */
export type Version = readonly [timestamp: number, origin: string]

/** Of each origin, all updates up to a timestamp. An origin that is absent stands at 0. */
export interface Cut {
  readonly [origin: string]: number
}

/** One key's part of a batch or of an update: a new value, or its deletion. */
export type Write =
  | { readonly key: string; readonly value: JsonValue; readonly deleted?: never }
  | { readonly key: string; readonly deleted: true; readonly value?: never }

export interface Written {
  readonly key: string
  /** Under which the write is known to all servers from now on. */
  readonly version: Version
}

/** A version of a key with its value; `omitted` where the value was left out because it was too long to push. */
export type KeyVersion =
  | { readonly version: Version; readonly value: JsonValue; readonly deleted?: never; readonly omitted?: never }
  | { readonly version: Version; readonly deleted: true; readonly value?: never; readonly omitted?: never }
  | { readonly version: Version; readonly omitted: true; readonly value?: never; readonly deleted?: never }

export interface ReadResult {
  readonly key: string
  /** Whether the key has a value at this server now. */
  readonly found: boolean
  /** Present iff `found`. */
  readonly value?: JsonValue
  /** Absent where the key was never written here; that of the deletion where it was deleted. */
  readonly version?: Version
  /** Concurrent versions that lost, the highest first; absent where there are none. */
  readonly conflicts?: readonly KeyVersion[]
}

export interface KeyList {
  /** Sorted by code unit. */
  readonly keys: readonly string[]
  /** Where the next list begins (`from`); absent on the last. */
  readonly next?: string
}

/** A key with more than one version that no other has causally overwritten; the winner first. */
export interface Conflict {
  readonly key: string
  readonly versions: readonly KeyVersion[]
}

/** A directed link between two servers. `queued` is how many updates are in it. */
export interface LinkState {
  readonly state: 'open' | 'held' | 'delayed' | 'cut'
  readonly delayMs: number
  readonly queued: number
}

export interface PeerStatus {
  readonly id: string
  readonly address: string
  /** `connected`, or what is the matter. */
  readonly state: string
  /** This server's outgoing link to the peer. */
  readonly link: LinkState['state']
  /** What the peer has told of its own cut; absent while it is not connected. */
  readonly applied?: Cut
}

/** How a server is. More members may be there than are listed. */
export interface Status {
  readonly server: string
  readonly origin: string
  /** The Lamport clock: the highest timestamp applied. */
  readonly clock: number
  readonly applied: Cut
  readonly peers: readonly PeerStatus[]
  /** Updates that have arrived and wait for their causes. */
  readonly waiting: number
  /** Keys with a value. */
  readonly keys: number
  readonly tombstones: number
  /** Keys with conflicting versions. */
  readonly conflicts: number
  /** All servers known here, itself included. */
  readonly members: readonly { readonly id: string; readonly host: string; readonly port: number }[]
  readonly [more: string]: unknown
}

/** An update that has arrived and waits for its causes. */
export interface Waiting {
  /** The first of `keys`. */
  readonly key: string
  /** All that the update writes. */
  readonly keys: readonly string[]
  readonly version: Version
  /** The versions that it needs and that are not applied here. */
  readonly waitsFor: readonly Version[]
  /** The server that sent it. */
  readonly from: string
  readonly sinceMs: number
}

/** A version that is needed or known of, and is not applied at the server that was asked. */
export interface MissingVersion {
  readonly version: Version
  /** What it writes, where anybody connected knows. */
  readonly keys?: readonly string[]
  /** Whether it has arrived, and waits in its turn. */
  readonly waitsHere: boolean
  /** Connected servers that have applied it. */
  readonly holders: readonly string[]
  /** The link to here from the server that took it; `absent` where there is no connection. */
  readonly link: LinkState | 'absent'
}

/** All that is known about one key at one server, and from the servers connected to it. */
export interface Story {
  readonly key: string
  /** The winner first; empty where the key was never written here. */
  readonly versions: readonly KeyVersion[]
  /** Updates to the key that wait here, with each version that they need. */
  readonly waiting: readonly {
    readonly version: Version
    readonly from: string
    readonly sinceMs: number
    readonly waitsFor: readonly MissingVersion[]
  }[]
  /** Versions of the key that a connected server has and that have not arrived here. */
  readonly missing: readonly MissingVersion[]
  /** Connected servers that did not answer in time: their part of the story is not in it. */
  readonly silent: readonly string[]
}

/** The state of a server's outgoing link after a lab's action on it. */
export interface LinkResult extends LinkState {
  readonly peer: string
}

/** How people are shown a version: `3@1`, Lamport time 3 at server 1. */
export function showVersion([timestamp, origin]: Version): string {
  return `${timestamp}@${serverOf(origin)}`
}

/** The server that people know an origin by: `1~m3k9x` → `1`. */
export function serverOf(origin: string): string {
  const end = origin.indexOf('~')
  return end === -1 ? origin : origin.slice(0, end)
}

/** What a {@link Watch} yields. */
export type WatchEvent =
  /** One update, with its writes to keys of the watched prefix, together. */
  | {
      readonly kind: 'update'
      readonly version: Version
      readonly writes: readonly [Write, ...Write[]]
      /** Of those keys, the ones that have conflicting versions now; absent where there are none. */
      readonly conflict?: readonly Conflict[]
    }
  /** All that the server had applied has been yielded: `applied` is where a later watch can go on (`since`). */
  | { readonly kind: 'caughtUp'; readonly applied: Cut }

// ── reading answers ──────────────────────────────────────────────────────────────────────────────────────
//
// A server of this protocol has been greeted by now. So this looks at what the library itself relies on, and
// passes on as it came what only its user will look at.

export function writtenFrom(result: unknown): Written {
  versionAt(objectAt(result, 'result').version, 'result.version')
  return result as Written
}

export function readResultFrom(result: unknown): ReadResult {
  booleanAt(objectAt(result, 'result').found, 'result.found')
  return result as ReadResult
}

/** The answer to a method that answers with an object. */
export function objectFrom<Result extends object>(result: unknown): Result {
  return objectAt(result, 'result') as Result
}

/** The answer to a method that answers with a list, or with an object that has the list as its member `name`. */
export function listFrom<Item>(result: unknown, name?: string): readonly Item[] {
  const list = name === undefined ? result : objectAt(result, 'result')[name]
  return listAt(list, name === undefined ? 'result' : `result.${name}`, Infinity) as readonly Item[]
}

/** The cut that an answer or a push has as `applied`. */
export function appliedFrom(message: unknown): Cut {
  const { applied } = objectAt(message, 'result')
  cutAt(applied, 'applied')
  return applied as Cut
}

/** What a server pushes; undefined for something that a later release may push. */
export function watchEventFrom(method: string, params: unknown): WatchEvent | undefined {
  const push = objectAt(params, 'params')
  if (method === 'caughtUp') return { kind: 'caughtUp', applied: appliedFrom(push) }
  if (method !== 'update') return undefined
  versionAt(push.version, 'params.version')
  listAt(push.writes, 'params.writes', Infinity)
  const { version, writes, conflict } = push as unknown as Omit<WatchEvent & { kind: 'update' }, 'kind'>
  return conflict === undefined ? { kind: 'update', version, writes } : { kind: 'update', version, writes, conflict }
}
