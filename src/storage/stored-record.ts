import { isUpdate } from '../protocol/peer-messages.ts'
import { faultOfValue, isOrigin, isServerId } from '../protocol/wire-forms.ts'
import type { Sibling } from '../replica/key-space.ts'
import type { KeptAnswer, SessionRecord } from '../replica/messages.ts'
import type { KeyRecord } from '../replica/output.ts'
import { malformation, type Update } from '../replica/update.ts'
import { compareVersions, type Origin, type Timestamp, type Version } from '../replica/version.ts'
import type { KnownServer } from './store.ts'

/**
 * The shapes of what a store keeps as JSON, looked at when it is read again. A record is held to be sound only if it
 * could have been written: whatever is kept has passed the gateway once, so a name, a value or a version that could not
 * pass it has been garbled, and would be refused by every peer that was told of it. There are no checksums: a value
 * that is another, and still a value, cannot be told.
 */

/** A cut as it is stored. */
export type StoredCut = readonly (readonly [Origin, Timestamp])[]

export function isStoredCut(value: unknown): value is StoredCut {
  return isListOf(value, isEntry) && new Set(value.map(([origin]) => origin)).size === value.length
}

/** Its siblings stand in their order, the highest first (R4). */
export function isStoredKey(value: unknown): value is Omit<KeyRecord, 'key'> {
  if (!hasOnly(value, keyMembers) || !isNumber(value.position, 0)) return false
  const { siblings } = value
  if (!isListOf(siblings, isSibling) || siblings.length === 0) return false
  for (let index = 1; index < siblings.length; index++) {
    const [higher, lower] = [siblings[index - 1] as Sibling, siblings[index] as Sibling]
    if (compareVersions(higher.version, lower.version) <= 0) return false
  }
  return true
}

/** Its answers may stand in any order: so a peer may have told them. */
export function isStoredSession(value: unknown): value is Omit<SessionRecord, 'session'> {
  return hasOnly(value, sessionMembers) && isNumber(value.letGo, 0) && isListOf(value.answers, isAnswer)
}

export function isStoredUpdates(value: unknown): value is readonly Update[] {
  return isListOf(value, isUpdate) && value.every((update) => malformation(update) === undefined)
}

export function isStoredAddresses(value: unknown): value is readonly KnownServer[] {
  return isListOf(value, isKnownServer)
}

function isKnownServer(value: unknown): value is KnownServer {
  if (!isObject(value)) return false
  const { id, host, port } = value
  if (host === undefined) return isServerId(id)
  return (
    typeof host === 'string' &&
    host !== '' &&
    isNumber(port, 1) &&
    port <= 65_535 &&
    (id === undefined || isServerId(id))
  )
}

function isEntry(value: unknown): value is readonly [Origin, Timestamp] {
  return Array.isArray(value) && value.length === 2 && isOrigin(value[0]) && isNumber(value[1], 1)
}

/** A value, or a tombstone. */
function isSibling(value: unknown): value is Sibling {
  if (!hasOnly(value, siblingMembers) || !isVersion(value.version)) return false
  return value.deleted === undefined
    ? value.value !== undefined && faultOfValue(value.value) === undefined
    : value.deleted === true && value.value === undefined
}

function isAnswer(value: unknown): value is KeptAnswer {
  return (
    hasOnly(value, answerMembers) &&
    isNumber(value.number, 1) &&
    isVersion(value.version) &&
    Number.isSafeInteger(value.fingerprint)
  )
}

function isVersion(value: unknown): value is Version {
  return hasOnly(value, versionMembers) && isNumber(value.timestamp, 1) && isOrigin(value.origin)
}

function isNumber(value: unknown, min: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min
}

/** A member that is not known could only stand in the place of one that is. */
const keyMembers: ReadonlySet<string> = new Set(['position', 'siblings'])
const siblingMembers: ReadonlySet<string> = new Set(['version', 'value', 'deleted'])
const sessionMembers: ReadonlySet<string> = new Set(['letGo', 'answers'])
const answerMembers: ReadonlySet<string> = new Set(['number', 'version', 'fingerprint'])
const versionMembers: ReadonlySet<string> = new Set(['timestamp', 'origin'])

function hasOnly(value: unknown, names: ReadonlySet<string>): value is Fields {
  if (!isObject(value)) return false
  for (const name in value) if (!names.has(name)) return false
  return true
}

type Fields = { readonly [name: string]: unknown }

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isListOf<Item>(value: unknown, isItem: (item: unknown) => item is Item): value is readonly Item[] {
  return Array.isArray(value) && value.every(isItem)
}
