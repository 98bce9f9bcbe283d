import type {
  ClientResult,
  KeyValue,
  KeyVersions,
  LinkState,
  MissingEntry,
  MissingVersion,
  RequestStamp,
  Story,
} from '../replica/messages.ts'
import type { Notification } from '../replica/output.ts'
import type { JsonValue } from '../replica/update.ts'
import { serverOf, showVersion, type ServerId } from '../replica/version.ts'
import type { ReplicaCall } from './client-messages.ts'
import { invalidParams, ProtocolError, protocolError } from './errors.ts'
import { encodeError, encodeNotice, encodeResponse, responseWith, type JsonRpcId } from './json-rpc.ts'
import { protocolVersion, replyBytesMax, shortAnswerLengthMax } from './limits.ts'
import type { LineParts } from './line-decoder.ts'
import {
  cutText,
  cutToWire,
  show,
  siblingToWire,
  versionText,
  versionToWire,
  type Member,
} from './wire-forms.ts'

/**
 * What a server says to its clients: the answers to their requests, and what a watch is pushed.
 *
 * An answer may be far longer than any line that a client may send, because it can hold many values. None is
 * longer than a bound, so that no request can make a server hold more: see `replyBytesMax`.
 */

/** What `status` tells of the process around the replica. */
export interface ShellStatus {
  readonly peers: readonly {
    /** `?` for an address that has never answered. */
    readonly id: ServerId
    readonly address: string
    /** `connected` where links are up in both directions; the other words stand in docs/protocol.md. */
    readonly state: string
    /** This server's outgoing link to it. */
    readonly link: LinkState['state']
  }[]
  /** All servers that this one knows of, with itself. */
  readonly members: readonly Member[]
  readonly durability: 'sync' | 'async' | 'memory'
  /** Where its disk is; absent where it has none. */
  readonly folder?: string
  readonly uptimeMs: number
  /** Whether anybody who reaches the port may ask. */
  readonly insecure: boolean
  /** Whether links can be held and cut. */
  readonly lab: boolean
}

/** How long an answer may be, and what is said in place of a longer one. */
export interface Room {
  /** Of UTF-8; an answer that can only be short is given whatever this says. */
  readonly bytes: number
  readonly refusal: (call: ReplicaCall) => ProtocolError
}

/** For an answer by itself. */
export const roomOfReply: Room = {
  bytes: replyBytesMax,
  refusal: ({ method }) => {
    const message = `the answer to ${method} would be longer than ${replyBytesMax} bytes; ask for fewer keys, or a longer prefix`
    return protocolError('tooLarge', message, { data: { replyBytesMax } })
  },
}

/**
 * The line that answers a request that the replica has answered: its result, or the error where the replica
 * refused, where it has not caught up with what the request is to come after, or where the answer would be too long.
 *
 * @param host is asked for the rest of `status`.
 */
export function encodeReply(
  id: JsonRpcId,
  call: ReplicaCall,
  result: ClientResult,
  host: { readonly status: () => ShellStatus },
  room: Room = roomOfReply,
): string {
  const plain = plainText(call, result)
  if (plain !== undefined) return responseWith(id, plain)
  try {
    const encoded = encodeResult(call, result, host)
    if (isShort(result)) return encodeResponse(id, encoded)
    const text = boundedText(encoded, room.bytes)
    if (text === undefined) throw room.refusal(call)
    return responseWith(id, text)
  } catch (error) {
    if (error instanceof ProtocolError) return encodeError(error, id)
    throw error
  }
}

/**
 * What `JSON.stringify` makes of {@link encodeResult} for nearly all that is asked, a write or a short value that is
 * read: in half of the time. Undefined for everything else.
 */
function plainText(call: ReplicaCall, result: ClientResult): string | undefined {
  if (result.method === 'write') {
    const version = versionText(result.version)
    if (call.method !== 'write' && call.method !== 'delete') return `{"version":${version}}`
    return `{"key":${JSON.stringify(call.key)},"version":${version}}`
  }
  if (result.method !== 'read' || call.method !== 'read' || call.form === 'keys' || !isShort(result))
    return undefined
  const [{ key, winner } = { key: '' }] = result.values
  if (winner?.value === undefined) return undefined
  return `{"key":${JSON.stringify(key)},"found":true,"value":${JSON.stringify(winner.value)},"version":${versionText(winner.version)}}`
}

/**
 * The result as it goes to the wire: plain data for `JSON.stringify`.
 *
 * @throws ProtocolError where the replica refused or has not caught up.
 */
export function encodeResult(
  call: ReplicaCall,
  result: ClientResult,
  host: { readonly status: () => ShellStatus },
): unknown {
  switch (result.method) {
    case 'write': {
      const version = versionToWire(result.version)
      return call.method === 'write' || call.method === 'delete' ? { key: call.key, version } : { version }
    }
    case 'read': {
      if (call.method === 'read' && call.form === 'keys') return { values: result.values.map(keyValueToWire) }
      const [value] = result.values
      if (value === undefined) throw new Error('a read of one key was answered with none')
      return keyValueToWire(value)
    }
    case 'hello': {
      const { origin, applied } = result
      return { server: serverOf(origin), origin, protocol: protocolVersion, applied: cutToWire(applied) }
    }
    case 'keys':
      return result.next === undefined ? { keys: result.keys } : { keys: result.keys, next: result.next }
    case 'watch':
      return { watch: result.watch, applied: cutToWire(result.applied) }
    case 'unwatch':
      return {}
    case 'conflicts':
      return { keys: result.keys.map(keyVersionsToWire) }
    case 'status':
      return statusToWire(result.status, host.status())
    case 'waiting':
      return result.waiting.map(({ keys, version, waitsFor, from, sinceMs }) => ({
        key: keys[0],
        keys,
        version: versionToWire(version),
        waitsFor: waitsFor.map(versionToWire),
        from,
        sinceMs,
      }))
    case 'why':
      return storyToWire(result.story)
    case 'notCaughtUp':
      throw notCaughtUp(result, call)
    case 'refused':
      throw refusal(result.reason, call)
  }
}

/** The line that tells a watcher. What is long in it, and the same for all watchers of a prefix, is there once. */
export function encodeNotification(notification: Notification): LineParts {
  const { watch } = notification
  switch (notification.kind) {
    case 'update': {
      const head = `{"jsonrpc":"2.0","method":"update","params":{"watch":${watch},`
      const text = pushText(notification)
      return typeof text === 'string' ? [`${head}${text}}}\n`] : [head, text, '}}\n']
    }
    case 'caughtUp':
      return [
        `{"jsonrpc":"2.0","method":"caughtUp","params":{"watch":${watch},"applied":${cutText(notification.applied)}}}\n`,
      ]
    case 'resync':
      return [encodeNotice({ method: 'resync', params: { watch } })]
  }
}

type Push = Extract<Notification, { readonly kind: 'update' }>

/**
 * What was told last. All watchers of one prefix are told of an update one after the other, with the same arrays, so it
 * is put into words once.
 */
let lastPush: { readonly push: Push; readonly text: string | Buffer } | undefined

/** Bytes where it is long: then to copy it for each watcher would take longest. */
function pushText(push: Push): string | Buffer {
  const { version, writes, conflict, coalesced } = push
  if (lastPush !== undefined && isToldAlike(lastPush.push, push)) return lastPush.text
  let text = `"version":${JSON.stringify(versionToWire(version))},"writes":${JSON.stringify(writes)}`
  if (conflict.length > 0) {
    const told = boundedText(conflict.map(keyVersionsToWire), replyBytesMax - 3 * text.length)
    text += `,"conflict":${told ?? JSON.stringify(conflict.map(withoutValues))}`
  }
  if (coalesced === true) text += ',"coalesced":true'
  lastPush = { push, text: text.length < sharedLengthMin ? text : Buffer.from(text) }
  return lastPush.text
}

function isToldAlike(one: Push, other: Push): boolean {
  return (
    one.writes === other.writes &&
    one.conflict === other.conflict &&
    one.version === other.version &&
    one.coalesced === other.coalesced
  )
}

/** A shorter text is copied into a line sooner than it is kept apart. */
const sharedLengthMin = 16_384

/** A push cannot be refused. So where its conflicts are too long it names them, and who wants them reads. */
function withoutValues({ key, versions }: KeyVersions): object {
  return {
    key,
    versions: versions.map(({ version }) => ({ version: versionToWire(version), omitted: true })),
  }
}

function keyValueToWire({ key, winner, conflicts }: KeyValue): object {
  if (winner === undefined) return { key, found: false }
  const version = versionToWire(winner.version)
  const found = winner.deleted !== true
  const value = found ? { key, found, value: winner.value, version } : { key, found, version }
  return conflicts.length === 0 ? value : { ...value, conflicts: conflicts.map(siblingToWire) }
}

function keyVersionsToWire({ key, versions }: KeyVersions): object {
  return { key, versions: versions.map(siblingToWire) }
}

function statusToWire(
  status: Extract<ClientResult, { method: 'status' }>['status'],
  shell: ShellStatus,
): object {
  const { server, origin, clock, applied, peers: cuts, ...counts } = status
  const told = new Map(cuts.map((peer) => [peer.id, peer]))
  const peers = shell.peers.map(({ id, address, state, link }) => {
    const peer = told.get(id)
    const known = peer === undefined ? {} : { origin: peer.origin, applied: cutToWire(peer.applied) }
    return { id, address, state, link, ...known }
  })
  return {
    server,
    origin,
    protocol: protocolVersion,
    clock,
    applied: cutToWire(applied),
    ...(counts satisfies { readonly [name: string]: number }),
    ...shell,
    peers,
  }
}

function storyToWire({ key, versions, waiting, missing, silent }: Story): object {
  return {
    key,
    versions: versions.map(siblingToWire),
    waiting: waiting.map(({ version, from, sinceMs, waitsFor }) => ({
      version: versionToWire(version),
      from,
      sinceMs,
      waitsFor: waitsFor.map(missingToWire),
    })),
    missing: missing.map(missingToWire),
    silent,
  }
}

function missingToWire({ version, keys, waitsHere, holders, heldHolders, link }: MissingVersion): object {
  const known = keys === undefined ? {} : { keys }
  return { version: versionToWire(version), ...known, waitsHere, holders, heldHolders, link }
}

/** −32001: what is missing, who has it, and what to try. */
function notCaughtUp(
  { missing, more }: Extract<ClientResult, { method: 'notCaughtUp' }>,
  call: ReplicaCall,
): ProtocolError {
  const told = missing.slice(0, 3).map(missingInWords)
  const untold = missing.length - told.length + more
  if (untold > 0) told.push(`and ${untold} more`)
  const time = 'timeoutMs' in call.request ? ` within ${call.request.timeoutMs} ms` : ''
  const message =
    `this server has not applied ${told.join(', ')}` +
    (missing.some((entry) => entry.lost)
      ? '; leave what is lost out of `after`'
      : `${time}; ask again with a longer \`timeout\`, or ask another server`)
  return protocolError('notCaughtUp', message, {
    data: {
      missing: missing.map(missingEntryToWire),
      ...(more === 0 ? {} : { more }),
    },
  })
}

function missingEntryToWire({ version, holders, lost }: MissingEntry): object {
  const entry = { version: versionToWire(version), server: serverOf(version.origin), holders }
  return lost ? { ...entry, lost } : entry
}

function missingInWords({ version, holders, lost }: MissingEntry): string {
  const shown = showVersion(version)
  if (lost) return `${shown} (lost: every server is connected, and none has it)`
  if (holders.length === 0) return `${shown} (no server that is connected has it)`
  const servers = holders.slice(0, 3).join(', ') + (holders.length > 3 ? ', …' : '')
  return `${shown} (${holders.length === 1 ? `server ${servers} has it` : `servers ${servers} have it`})`
}

function refusal(
  reason: Extract<ClientResult, { method: 'refused' }>['reason'],
  call: ReplicaCall,
): ProtocolError {
  switch (reason) {
    case 'noSuchWatch':
      return invalidParams('params.watch', 'is no open watch of this connection')
    case 'tooManyWatches': {
      const message =
        'this connection has as many watches as it may have; unwatch one, or watch a shorter prefix'
      return protocolError('overloaded', message, { data: { retryAfterMs: 1_000 } })
    }
    case 'clockExhausted':
      return protocolError('internal', 'the clock has reached its end: no timestamp is left', {
        data: { definite: true },
      })
    case 'tooManyWaiting':
      return protocolError(
        'overloaded',
        'as many requests and watches wait here for what they come after as may; ask again later, or ask another server',
        { data: { retryAfterMs: 1_000 } },
      )
    case 'outcomeUnknown':
      return outcomeUnknown(stampOf(call))
    case 'requestReused': {
      const { session, number } = stampOf(call)
      const rule = `is ${number}, which session ${show(session)} has used for other writes; give each request a number of its own`
      return invalidParams('params.request.number', rule)
    }
  }
}

/**
 * −32007. A request that may be carried out where it is unknown, or that says that it was never sent before, is
 * refused only because its number is no longer remembered: then nothing but a new number helps.
 */
function outcomeUnknown({ session, number, retry }: RequestStamp): ProtocolError {
  const name = `request ${number} of session ${show(session)}`
  const message =
    retry === true
      ? `this server does not know ${name}: it may have been carried out by another, or so long ago that its answer is not kept`
      : `the answer to ${name} is no longer kept, if there was one`
  const advice =
    retry === true
      ? 'then, if it is not there, send it with retry "again", or under a new number'
      : 'then, if it is not there, send it under a new number'
  return protocolError('outcomeUnknown', `${message}; read what it was to write, and ${advice}`)
}

/** Only a write that came with a stamp is refused because of it. */
function stampOf(call: ReplicaCall): RequestStamp {
  if (call.request.method === 'write' && call.request.request !== undefined) return call.request.request
  throw new Error(`${call.method} was refused for a request that it did not name`)
}

/** Whether a result cannot come near any bound. */
function isShort(result: ClientResult): boolean {
  switch (result.method) {
    case 'read': {
      const [value] = result.values
      return result.values.length === 1 && value?.conflicts.length === 0 && isShortValue(value.winner?.value)
    }
    case 'conflicts':
    case 'status':
    case 'waiting':
    case 'why':
    case 'keys':
      return false
    default:
      return true
  }
}

function isShortValue(value: JsonValue | undefined): boolean {
  // A character takes six bytes at most.
  if (typeof value === 'string') return value.length < shortAnswerLengthMax / 6
  return typeof value !== 'object' || value === null
}

/** How many bytes of memory a result holds at about, beside what the replica holds anyway. */
export function heldBytes(result: ClientResult): number {
  switch (result.method) {
    case 'read':
      return result.values.length * heldBytesPerItem
    case 'keys':
    case 'conflicts':
      return result.keys.length * heldBytesPerItem
    case 'waiting':
      return result.waiting.length * heldBytesPerItem
    default:
      return heldBytesPerItem
  }
}

const heldBytesPerItem = 128

/**
 * `JSON.stringify`: undefined where the text would take more than `bytesMax`. Nothing is made where it is longer for
 * certain, and elsewhere it is made piece by piece, so that it stops early. What is called `value` is one piece.
 */
function boundedText(value: unknown, bytesMax: number): string | undefined {
  if (lengthLeft(value, bytesMax) < 0) return undefined
  const pieces: string[] = []
  return addText(pieces, value, bytesMax) < 0 ? undefined : pieces.join('')
}

/** @returns what is left of so many bytes; less than 0 where the text does not fit. */
function addText(pieces: string[], value: unknown, bytes: number, isPiece = false): number {
  if (isPiece || typeof value !== 'object' || value === null) {
    const text = JSON.stringify(value)
    pieces.push(text)
    return bytes - Buffer.byteLength(text)
  }
  const isList = Array.isArray(value)
  let left = bytes - 2
  let before = isList ? '[' : '{'
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) continue
    const head = isList ? before : `${before}${JSON.stringify(name)}:`
    pieces.push(head)
    left = addText(pieces, member, left - head.length, !isList && name === 'value')
    if (left < 0) return left
    before = ','
  }
  const isEmpty = before !== ','
  pieces.push(isEmpty ? (isList ? '[]' : '{}') : isList ? ']' : '}')
  return left
}

/** What is left of a length when the characters are taken from it that the text of a value has at least. */
function lengthLeft(value: unknown, length: number): number {
  if (typeof value === 'string') return length - value.length - 2
  if (typeof value !== 'object' || value === null) return length - 1
  let left = length - 2
  if (Array.isArray(value)) {
    for (const item of value) {
      if (left < 0) break
      left = lengthLeft(item, left) - 1
    }
    return left + 1
  }
  for (const name in value) {
    if (left < 0) break
    const member = (value as { readonly [name: string]: unknown })[name]
    if (member !== undefined) left = lengthLeft(member, left - name.length - 4)
  }
  return left + 1
}
