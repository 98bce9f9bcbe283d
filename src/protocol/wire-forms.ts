import type { Cut } from '../replica/cut.ts'
import type { Sibling } from '../replica/key-space.ts'
import type { LinkState } from '../replica/messages.ts'
import type { JsonValue } from '../replica/update.ts'
import type { Origin, ServerId, Timestamp, Version } from '../replica/version.ts'
import type { Address } from './address.ts'
import { invalidParams, protocolError, type ProtocolError } from './errors.ts'
import { keyBytesMax, membersMax, nameBytesMax, protocolVersion, valueDepthMax } from './limits.ts'
import { nearestWord } from './nearest-word.ts'

/**
 * The forms that many messages share, written and read: versions, cuts, keys, values, servers.
 *
 * The readers are named `…At`: each takes something parsed and the path where it stood, and returns it typed, or
 * throws −32602 with that path. They make no copies but of cuts and versions.
 */

/** A version on the wire: `[3, "1~m3k9x"]`. */
export type WireVersion = readonly [Timestamp, Origin]

/** A cut on the wire: `{ "1~m3k9x": 3 }`. */
export interface WireCut {
  readonly [origin: string]: Timestamp
}

/** A sibling on the wire; `omitted` where a push left its value out because it would have been too long. */
export type WireSibling =
  | { readonly version: WireVersion; readonly value: JsonValue }
  | { readonly version: WireVersion; readonly deleted: true }
  | { readonly version: WireVersion; readonly omitted: true }

/** Another server and where it listens. */
export interface Member extends Address {
  readonly id: ServerId
}

export interface ParsedObject {
  readonly [name: string]: unknown
}

export function versionToWire(version: Version): WireVersion {
  return [version.timestamp, version.origin]
}

/** What `JSON.stringify` makes of {@link versionToWire}: no character that an origin may have is escaped in JSON. */
export function versionText({ timestamp, origin }: Version): string {
  return `[${timestamp},"${origin}"]`
}

export function cutToWire(cut: Cut): WireCut {
  return Object.fromEntries(cut)
}

/**
 * What `JSON.stringify` makes of {@link cutToWire}: to make an object of ten thousand names, and then to put it into words,
 * takes several times as long. As in {@link versionText}, nothing is escaped.
 */
export function cutText(cut: Cut): string {
  let text = ''
  for (const [origin, timestamp] of cut) {
    text += `${text === '' ? '{' : ','}"${origin}":${timestamp}`
  }
  return text === '' ? '{}' : `${text}}`
}

export function siblingToWire(sibling: Sibling): WireSibling {
  const version = versionToWire(sibling.version)
  return sibling.value === undefined ? { version, deleted: true } : { version, value: sibling.value }
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

export function objectAt(value: unknown, path: string): ParsedObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw expected(path, 'an object', value)
  return value as ParsedObject
}

export function listAt(value: unknown, path: string, lengthMax: number): readonly unknown[] {
  if (!Array.isArray(value)) throw expected(path, 'a list', value)
  if (value.length > lengthMax) {
    throw invalidParams(path, `has ${value.length} items; send at most ${lengthMax} at once`)
  }
  return value
}

export function booleanAt(value: unknown, path: string): boolean {
  if (typeof value !== 'boolean') throw expected(path, 'true or false', value)
  return value
}

/** A whole number from `min` on, which a double holds exactly. */
export function countAt(
  value: unknown,
  path: string,
  range: { readonly min: number; readonly max?: number },
): number {
  const { min, max = Number.MAX_SAFE_INTEGER } = range
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
    const upTo = range.max === undefined ? '' : ` to ${max}`
    throw expected(path, `a whole number from ${min}${upTo}`, value)
  }
  return value
}

/** Well-formed text. @param bytesMax of UTF-8. */
export function textAt(value: unknown, path: string, bytesMax: number): string {
  if (typeof value !== 'string') throw expected(path, 'a string', value)
  if (!fits(value, bytesMax)) throw invalidParams(path, `is longer than ${bytesMax} bytes`)
  if (!isWellFormed(value)) throw invalidParams(path, 'holds half of a surrogate pair; send whole characters')
  return value
}

/** Whether something is the name of a session: 1 to {@link nameBytesMax} bytes of well-formed UTF-8. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && fits(value, nameBytesMax) && isWellFormed(value)
}

export function nameAt(value: unknown, path: string): string {
  if (value === '') throw invalidParams(path, `is empty; a name has 1 to ${nameBytesMax} bytes`)
  return textAt(value, path, nameBytesMax)
}

/** Whether something is a key: 1 to 1,024 bytes of well-formed UTF-8. Fast: it runs for every write. */
export function isKey(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && fits(value, keyBytesMax) && isWellFormed(value)
}

/** @throws ProtocolError −32602, or −32010 for a key that is too long. */
export function keyAt(value: unknown, path: string): string {
  if (isKey(value)) return value
  if (value === '') throw invalidParams(path, `is empty; a key has 1 to ${keyBytesMax} bytes`)
  if (typeof value === 'string' && !fits(value, keyBytesMax)) {
    const message = `${path} has ${Buffer.byteLength(value)} bytes; a key has at most ${keyBytesMax}`
    throw protocolError('tooLarge', message, { path })
  }
  return textAt(value, path, keyBytesMax)
}

/** Whether something is an origin: `<server id>~<incarnation>`. */
export function isOrigin(value: unknown): value is Origin {
  if (typeof value !== 'string') return false
  // Updates come in runs of one origin.
  if (value === lastOrigin) return true
  if (!originForm.test(value)) return false
  lastOrigin = value
  return true
}

export function originAt(value: unknown, path: string): Origin {
  if (!isOrigin(value)) throw expected(path, 'an origin such as "1~m3k9x"', value)
  return value
}

/** Whether a text may be a server's id: 1 to 32 of `A–Z a–z 0–9 _ . -`. */
export function isServerId(value: unknown): value is ServerId {
  return typeof value === 'string' && serverIdForm.test(value)
}

export function serverIdAt(value: unknown, path: string): ServerId {
  if (!isServerId(value)) throw expected(path, 'a server id: 1 to 32 letters, digits, or _ . -', value)
  return value
}

export function timestampAt(value: unknown, path: string): Timestamp {
  return countAt(value, path, { min: 1 })
}

/** `[timestamp, origin]`. */
export function versionAt(value: unknown, path: string): Version {
  if (!Array.isArray(value) || value.length !== 2) {
    throw expected(path, 'a version such as [3, "1~m3k9x"]', value)
  }
  const [timestamp, origin] = value as readonly unknown[]
  return { timestamp: timestampAt(timestamp, `${path}[0]`), origin: originAt(origin, `${path}[1]`) }
}

/** `{ origin: timestamp, … }`. */
export function cutAt(value: unknown, path: string): Cut {
  const cut = new Map<Origin, Timestamp>()
  const entries = objectAt(value, path)
  for (const origin in entries) {
    const timestamp = entries[origin]
    if (!isOrigin(origin))
      throw invalidParams(path, `has ${show(origin)}, which is no origin such as "1~m3k9x"`)
    // The place is put into words only where it is needed: sessions show a cut with every request.
    if (typeof timestamp === 'number' && Number.isSafeInteger(timestamp) && timestamp >= 1)
      cut.set(origin, timestamp)
    else timestampAt(timestamp, `${path}[${JSON.stringify(origin)}]`)
  }
  return cut
}

/** Other servers, each with where it listens. */
export function membersAt(value: unknown, path: string): readonly Member[] {
  return listAt(value, path, membersMax).map((item, index) => {
    const { id, host, port } = objectAt(item, `${path}[${index}]`)
    return {
      id: serverIdAt(id, `${path}[${index}].id`),
      host: hostAt(host, `${path}[${index}].host`),
      port: portAt(port, `${path}[${index}].port`),
    }
  })
}

export function hostAt(value: unknown, path: string): string {
  const host = textAt(value, path, 255)
  if (!/^[\w.:%-]+$/.test(host)) throw expected(path, 'a host name or an IP address', value)
  return host
}

export function portAt(value: unknown, path: string): number {
  return countAt(value, path, { min: 1, max: 65_535 })
}

export function linkStateAt(value: unknown, path: string): LinkState {
  const { state, delayMs, queued } = objectAt(value, path)
  if (state !== 'open' && state !== 'held' && state !== 'delayed' && state !== 'cut') {
    throw expected(`${path}.state`, '"open", "held", "delayed" or "cut"', state)
  }
  return {
    state,
    delayMs: countAt(delayMs, `${path}.delayMs`, { min: 0 }),
    queued: countAt(queued, `${path}.queued`, { min: 0 }),
  }
}

/**
 * The protocol that the other side speaks. To be read before anything else of a greeting: in another protocol, all
 * of it may mean something else.
 *
 * @throws ProtocolError −32005 where it is not this one.
 */
export function protocolAt(value: unknown, path: string): number {
  const protocol = countAt(value, path, { min: 1 })
  if (protocol === protocolVersion) return protocol
  const message = `this server speaks protocol ${protocolVersion}, and the other side ${protocol}; run the same release on both`
  throw protocolError('protocolVersion', message, { path, data: { protocol: protocolVersion } })
}

/** How many numbers a value holds; undefined where it is nested deeper than a value may be. */
export function numbersIn(value: unknown, levels: number = valueDepthMax): number | undefined {
  if (typeof value !== 'object' || value === null) return typeof value === 'number' ? 1 : 0
  if (levels === 0) return undefined
  let count = 0
  if (Array.isArray(value)) {
    for (const item of value) {
      const inner = numbersIn(item, levels - 1)
      if (inner === undefined) return undefined
      count += inner
    }
    return count
  }
  for (const name in value) {
    const inner = numbersIn((value as ParsedObject)[name], levels - 1)
    if (inner === undefined) return undefined
    count += inner
  }
  return count
}

/**
 * Why a parsed value cannot be kept, or undefined for a good one: for values whose text has not been checked.
 * What `JSON.parse` has lost cannot be seen any more; what it returned is kept by everybody alike.
 */
export function faultOfValue(value: unknown, levels: number = valueDepthMax): string | undefined {
  if (typeof value === 'string') return isWellFormed(value) ? undefined : 'holds half of a surrogate pair'
  if (typeof value === 'number') {
    return Number.isFinite(value) && !Object.is(value, -0)
      ? undefined
      : 'holds a number that JSON cannot carry'
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (levels === 0) return `is nested deeper than ${valueDepthMax} levels`
  if (Array.isArray(value)) {
    for (const item of value) {
      const fault = faultOfValue(item, levels - 1)
      if (fault !== undefined) return fault
    }
    return undefined
  }
  for (const name in value) {
    const fault = isWellFormed(name)
      ? faultOfValue((value as ParsedObject)[name], levels - 1)
      : 'has a name with half of a surrogate pair'
    if (fault !== undefined) return fault
  }
  return undefined
}

/** −32602 for something of the wrong kind: what stands there, and what should. */
export function expected(path: string, what: string, value: unknown): ProtocolError {
  return invalidParams(
    path,
    value === undefined ? `is missing; it must be ${what}` : `must be ${what}, not ${show(value)}`,
  )
}

/** −32602 for a member that a message does not have, with the one that was probably meant. */
export function unknownMember(path: string, name: string, known: readonly string[]): ProtocolError {
  const near = name.length <= nameLengthMax ? nearestWord(name, known) : undefined
  const hint =
    near !== undefined
      ? `did you mean ${near}?`
      : known.length === 0
        ? 'there are none'
        : `there is ${known.join(', ')}`
  const isPlain = name.length <= nameLengthMax && /^\w+$/.test(name)
  const member = isPlain ? `${path}.${name}` : `${path}[${show(name)}]`
  return invalidParams(member, `is not known here; ${hint}`)
}

/** No member of any message has a longer name, and nobody means one of those by it. */
const nameLengthMax = 40

/** A parsed thing in at most a line, for messages to people. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'string' && value.length > 40) return `${JSON.stringify(value.slice(0, 40))}…`
  return JSON.stringify(value) ?? 'nothing'
}

/** `String.prototype.isWellFormed`, which the type library of ES2023 does not know; constant time for Latin-1. */
export function isWellFormed(text: string): boolean {
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed()
}

const originForm = /^[A-Za-z0-9_.-]{1,32}~[a-z0-9]{1,16}$/
const serverIdForm = /^[A-Za-z0-9_.-]{1,32}$/
let lastOrigin = ''

/** A UTF-16 unit takes at most three bytes of UTF-8. */
function fits(text: string, bytesMax: number): boolean {
  return text.length * 3 <= bytesMax || (text.length <= bytesMax && Buffer.byteLength(text) <= bytesMax)
}
