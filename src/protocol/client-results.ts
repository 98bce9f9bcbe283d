import type { Cut } from '../replica/cut.ts'
import type { LinkState } from '../replica/messages.ts'
import type { JsonValue, Write } from '../replica/update.ts'
import type { Origin, ServerId, Timestamp, Version } from '../replica/version.ts'
import { hex32At, type ClientMethod } from './client-messages.ts'
import { ProtocolError, protocolError } from './errors.ts'
import {
  booleanAt,
  countAt,
  cutAt,
  expected,
  faultOfValue,
  keyAt,
  linkStateAt,
  membersAt,
  objectAt,
  originAt,
  serverIdAt,
  versionAt,
  type Member,
  type ParsedObject,
} from './wire-forms.ts'

/**
 * A client's view of what a server answers and pushes: read into types, so that a client does not fall over a
 * server that is faulty, foreign or hostile. Members that are not known here are ignored.
 */
export interface ClientResults {
  readonly hello: {
    readonly server: ServerId
    readonly origin: Origin
    readonly protocol: number
    readonly applied: Cut
  }
  readonly challenge: { readonly nonce: string; readonly proof: string }
  readonly write: { readonly key: string; readonly version: Version }
  readonly delete: { readonly key: string; readonly version: Version }
  readonly batch: { readonly version: Version }
  /** `{ values }` answers a read of `keys`; the other a read of `key`. */
  readonly read: ReadValue | { readonly values: readonly ReadValue[] }
  readonly keys: { readonly keys: readonly string[]; readonly next?: string }
  readonly watch: { readonly watch: number; readonly applied: Cut }
  readonly unwatch: object
  readonly conflicts: { readonly keys: readonly ToldKeyVersions[] }
  readonly status: ToldStatus
  readonly waiting: readonly ToldWaiting[]
  readonly why: ToldStory
  readonly link: LinkState & { readonly peer: ServerId }
}

/** One key as read. */
export interface ReadValue {
  readonly key: string
  /** Whether it has a value. Without one it may have a version: then it was deleted. */
  readonly found: boolean
  readonly value?: JsonValue
  readonly version?: Version
  /** The other siblings, highest first (R5); absent where there are none. */
  readonly conflicts?: readonly ToldSibling[]
}

/** A sibling as told: with a value, or `deleted`, or, in a push that would have been too long, `omitted`. */
export interface ToldSibling {
  readonly version: Version
  readonly value?: JsonValue
  readonly deleted?: true
  readonly omitted?: true
}

export interface ToldKeyVersions {
  readonly key: string
  /** The winner first. */
  readonly versions: readonly ToldSibling[]
}

export interface ToldWaiting {
  readonly key: string
  readonly keys: readonly string[]
  readonly version: Version
  readonly waitsFor: readonly Version[]
  readonly from: ServerId
  readonly sinceMs: number
}

export interface ToldMissing {
  readonly version: Version
  readonly keys?: readonly string[]
  readonly waitsHere: boolean
  readonly holders: readonly ServerId[]
  /** Those of the holders whose links to the asked server a lab holds, so that they are not asked for it. */
  readonly heldHolders: readonly ServerId[]
  readonly link: LinkState | 'absent'
}

/** What `why` answers; see `Story` of the replica. */
export interface ToldStory {
  readonly key: string
  readonly versions: readonly ToldSibling[]
  readonly waiting: readonly {
    readonly version: Version
    readonly from: ServerId
    readonly sinceMs: number
    readonly waitsFor: readonly ToldMissing[]
  }[]
  readonly missing: readonly ToldMissing[]
  readonly silent: readonly ServerId[]
}

/** A version that a request was to come after, and that the asked server has not applied (R9). */
export interface ToldMissingEntry {
  readonly version: Version
  /** The server that took it. */
  readonly server: ServerId
  /** Servers that the asked one is connected to and that have it. */
  readonly holders: readonly ServerId[]
  /** Every server is connected and none has it: it is no use waiting for it. */
  readonly lost: boolean
}

export interface ToldStatus {
  readonly server: ServerId
  readonly origin: Origin
  readonly clock: Timestamp
  readonly applied: Cut
  readonly peers: readonly {
    /** `?` for an address that has never answered. */
    readonly id: ServerId
    readonly address: string
    readonly state: string
    readonly link: string
    readonly origin?: Origin
    readonly applied?: Cut
  }[]
  readonly waiting: number
  readonly keys: number
  readonly tombstones: number
  readonly conflicts: number
  readonly log: number
  /** This and the four below are absent where the server is of an earlier release. */
  readonly logBytes?: number
  readonly origins?: number
  readonly sessions?: number
  readonly answers?: number
  readonly parked?: number
  readonly watches: number
  readonly members: readonly Member[]
  readonly durability: string
  /** Where its disk is; absent where it has none. */
  readonly folder?: string
  readonly uptimeMs: number
  readonly insecure: boolean
  readonly lab: boolean
}

/** What a server pushes to a watcher. */
export type ClientNotification =
  | {
      readonly kind: 'update'
      readonly watch: number
      readonly version: Version
      readonly writes: readonly Write[]
      /** Of the keys written, those that have several siblings now, with all of them; may be empty. */
      readonly conflict: readonly ToldKeyVersions[]
      /** It was read from the state: what was overwritten before it was left out. */
      readonly coalesced: boolean
    }
  /** `applied` is the whole cut the first time, and then the entries that have changed since. */
  | { readonly kind: 'caughtUp'; readonly watch: number; readonly applied: Cut }
  | { readonly kind: 'resync'; readonly watch: number }

/**
 * Reads the result of a request.
 *
 * @throws ProtocolError −32603, not definite, where it is not what the method answers: the request may well have
 *   been carried out.
 */
export function checkClientResult<Method extends ClientMethod>(
  method: Method,
  result: unknown,
): ClientResults[Method] {
  return reading(`the answer to ${method}`, () => readers[method](result))
}

/**
 * Reads what an error −32001 says is missing: what is lost first, at most a hundred versions.
 *
 * @throws ProtocolError −32603 where it makes no sense; the request did not happen all the same.
 */
export function checkMissing(error: ProtocolError): readonly ToldMissingEntry[] {
  return reading('the error of a request that was not carried out', () =>
    all(error.data.missing, 'error.data.missing', missingEntryAt),
  )
}

/**
 * Reads a notification.
 *
 * @returns undefined for one of a method that is not known here, which a newer server may send.
 * @throws ProtocolError −32603 for one that makes no sense.
 */
export function checkClientNotification(method: string, params: unknown): ClientNotification | undefined {
  switch (method) {
    case 'update':
      return reading('an update', () => {
        const { watch, version, writes, conflict, coalesced } = objectAt(params, 'params')
        return {
          kind: method,
          watch: countAt(watch, 'params.watch', { min: 1 }),
          version: versionAt(version, 'params.version'),
          writes: all(writes, 'params.writes', writeAt),
          conflict: conflict === undefined ? [] : all(conflict, 'params.conflict', keyVersionsAt),
          coalesced: coalesced !== undefined && booleanAt(coalesced, 'params.coalesced'),
        }
      })
    case 'caughtUp':
      return reading('a caughtUp', () => {
        const { watch, applied } = objectAt(params, 'params')
        const number = countAt(watch, 'params.watch', { min: 1 })
        return { kind: method, watch: number, applied: cutAt(applied, 'params.applied') }
      })
    case 'resync':
      return reading('a resync', () => {
        return { kind: method, watch: countAt(objectAt(params, 'params').watch, 'params.watch', { min: 1 }) }
      })
    default:
      return undefined
  }
}

const readers: { readonly [Method in ClientMethod]: (result: unknown) => ClientResults[Method] } = {
  hello: (result) => {
    const { server, origin, protocol, applied } = objectAt(result, 'result')
    return {
      server: serverIdAt(server, 'result.server'),
      origin: originAt(origin, 'result.origin'),
      protocol: countAt(protocol, 'result.protocol', { min: 1 }),
      applied: cutAt(applied, 'result.applied'),
    }
  },
  challenge: (result) => {
    const { nonce, proof } = objectAt(result, 'result')
    return { nonce: hex32At(nonce, 'result.nonce'), proof: hex32At(proof, 'result.proof') }
  },
  write: keyAndVersionOf,
  delete: keyAndVersionOf,
  batch: (result) => ({ version: versionAt(objectAt(result, 'result').version, 'result.version') }),
  read: (result) => {
    const { values } = objectAt(result, 'result')
    return values === undefined
      ? readValueAt(result, 'result')
      : { values: all(values, 'result.values', readValueAt) }
  },
  keys: (result) => {
    const { keys, next } = objectAt(result, 'result')
    const checked = all(keys, 'result.keys', keyAt)
    return next === undefined ? { keys: checked } : { keys: checked, next: keyAt(next, 'result.next') }
  },
  watch: (result) => {
    const { watch, applied } = objectAt(result, 'result')
    return { watch: countAt(watch, 'result.watch', { min: 1 }), applied: cutAt(applied, 'result.applied') }
  },
  unwatch: () => ({}),
  conflicts: (result) => ({ keys: all(objectAt(result, 'result').keys, 'result.keys', keyVersionsAt) }),
  status: statusOf,
  waiting: (result) => all(result, 'result', waitingAt),
  why: storyOf,
  link: (result) => {
    const peer = serverIdAt(objectAt(result, 'result').peer, 'result.peer')
    return { peer, ...linkStateAt(result, 'result') }
  },
}

/** Runs a reader, and turns what it throws into words for somebody who did nothing wrong. */
function reading<Read>(what: string, read: () => Read): Read {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    const message = `${what} makes no sense: ${error.message}; is this a Tidings server of the same release?`
    throw protocolError('internal', message, {
      ...(error.path === undefined ? {} : { path: error.path }),
      cause: error,
    })
  }
}

/** A list as long as it is: what it may cost was bounded by the line that it came in. */
function all<Item>(
  value: unknown,
  path: string,
  itemAt: (item: unknown, path: string) => Item,
): readonly Item[] {
  if (!Array.isArray(value)) throw expected(path, 'a list', value)
  return value.map((item, index) => itemAt(item, `${path}[${index}]`))
}

function keyAndVersionOf(result: unknown): { readonly key: string; readonly version: Version } {
  const { key, version } = objectAt(result, 'result')
  return { key: keyAt(key, 'result.key'), version: versionAt(version, 'result.version') }
}

function readValueAt(value: unknown, path: string): ReadValue {
  const given = objectAt(value, path)
  const found = booleanAt(given.found, `${path}.found`)
  return {
    key: keyAt(given.key, `${path}.key`),
    found,
    ...(found ? { value: toldValueAt(given.value, `${path}.value`) } : {}),
    ...(given.version === undefined ? {} : { version: versionAt(given.version, `${path}.version`) }),
    ...(given.conflicts === undefined
      ? {}
      : { conflicts: all(given.conflicts, `${path}.conflicts`, siblingAt) }),
  }
}

function toldValueAt(value: unknown, path: string): JsonValue {
  if (value === undefined) throw expected(path, 'any JSON', value)
  const fault = faultOfValue(value)
  if (fault !== undefined) throw expected(path, `a value that can be kept; this one ${fault}`, value)
  return value as JsonValue
}

function siblingAt(value: unknown, path: string): ToldSibling {
  const given = objectAt(value, path)
  const version = versionAt(given.version, `${path}.version`)
  if (given.deleted === true) return { version, deleted: true }
  if (given.omitted === true) return { version, omitted: true }
  return { version, value: toldValueAt(given.value, `${path}.value`) }
}

function keyVersionsAt(value: unknown, path: string): ToldKeyVersions {
  const { key, versions } = objectAt(value, path)
  return { key: keyAt(key, `${path}.key`), versions: all(versions, `${path}.versions`, siblingAt) }
}

function writeAt(value: unknown, path: string): Write {
  const given = objectAt(value, path)
  const key = keyAt(given.key, `${path}.key`)
  return given.deleted === true
    ? { key, deleted: true }
    : { key, value: toldValueAt(given.value, `${path}.value`) }
}

function waitingAt(value: unknown, path: string): ToldWaiting {
  const given = objectAt(value, path)
  return {
    key: keyAt(given.key, `${path}.key`),
    keys: all(given.keys, `${path}.keys`, keyAt),
    version: versionAt(given.version, `${path}.version`),
    waitsFor: all(given.waitsFor, `${path}.waitsFor`, versionAt),
    from: serverIdAt(given.from, `${path}.from`),
    sinceMs: millisecondsAt(given.sinceMs, `${path}.sinceMs`),
  }
}

function missingAt(value: unknown, path: string): ToldMissing {
  const given = objectAt(value, path)
  return {
    version: versionAt(given.version, `${path}.version`),
    ...(given.keys === undefined ? {} : { keys: all(given.keys, `${path}.keys`, keyAt) }),
    waitsHere: booleanAt(given.waitsHere, `${path}.waitsHere`),
    holders: all(given.holders, `${path}.holders`, serverIdAt),
    heldHolders: all(given.heldHolders, `${path}.heldHolders`, serverIdAt),
    link: given.link === 'absent' ? given.link : linkStateAt(given.link, `${path}.link`),
  }
}

function missingEntryAt(value: unknown, path: string): ToldMissingEntry {
  const given = objectAt(value, path)
  return {
    version: versionAt(given.version, `${path}.version`),
    server: serverIdAt(given.server, `${path}.server`),
    holders: all(given.holders, `${path}.holders`, serverIdAt),
    lost: given.lost === undefined ? false : booleanAt(given.lost, `${path}.lost`),
  }
}

function storyOf(result: unknown): ToldStory {
  const given = objectAt(result, 'result')
  return {
    key: keyAt(given.key, 'result.key'),
    versions: all(given.versions, 'result.versions', siblingAt),
    waiting: all(given.waiting, 'result.waiting', (item, path) => {
      const { version, from, sinceMs, waitsFor } = objectAt(item, path)
      return {
        version: versionAt(version, `${path}.version`),
        from: serverIdAt(from, `${path}.from`),
        sinceMs: millisecondsAt(sinceMs, `${path}.sinceMs`),
        waitsFor: all(waitsFor, `${path}.waitsFor`, missingAt),
      }
    }),
    missing: all(given.missing, 'result.missing', missingAt),
    silent: all(given.silent, 'result.silent', serverIdAt),
  }
}

function statusOf(result: unknown): ToldStatus {
  const given = objectAt(result, 'result')
  const count = (name: string): number => countAt(given[name], `result.${name}`, { min: 0 })
  const newer = ['logBytes', 'origins', 'sessions', 'answers', 'parked'] as const
  return {
    server: serverIdAt(given.server, 'result.server'),
    origin: originAt(given.origin, 'result.origin'),
    clock: count('clock'),
    applied: cutAt(given.applied, 'result.applied'),
    peers: all(given.peers, 'result.peers', statusPeerAt),
    waiting: count('waiting'),
    keys: count('keys'),
    tombstones: count('tombstones'),
    conflicts: count('conflicts'),
    log: count('log'),
    ...Object.fromEntries(
      newer.filter((name) => given[name] !== undefined).map((name) => [name, count(name)]),
    ),
    watches: count('watches'),
    members: membersAt(given.members, 'result.members'),
    durability: wordAt(given.durability, 'result.durability'),
    ...(given.folder === undefined ? {} : { folder: wordAt(given.folder, 'result.folder') }),
    uptimeMs: millisecondsAt(given.uptimeMs, 'result.uptimeMs'),
    insecure: booleanAt(given.insecure, 'result.insecure'),
    lab: booleanAt(given.lab, 'result.lab'),
  }
}

function statusPeerAt(value: unknown, path: string): ToldStatus['peers'][number] {
  const given: ParsedObject = objectAt(value, path)
  return {
    id: given.id === '?' ? given.id : serverIdAt(given.id, `${path}.id`),
    address: wordAt(given.address, `${path}.address`),
    state: wordAt(given.state, `${path}.state`),
    link: wordAt(given.link, `${path}.link`),
    ...(given.origin === undefined ? {} : { origin: originAt(given.origin, `${path}.origin`) }),
    ...(given.applied === undefined ? {} : { applied: cutAt(given.applied, `${path}.applied`) }),
  }
}

function wordAt(value: unknown, path: string): string {
  if (typeof value !== 'string') throw expected(path, 'a string', value)
  return value
}

/** A duration; a fraction of a millisecond does no harm. */
function millisecondsAt(value: unknown, path: string): number {
  if (typeof value !== 'number' || !(value >= 0)) throw expected(path, 'a number of milliseconds', value)
  return value
}
