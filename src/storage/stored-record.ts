import type { SessionRecord } from '../replica/messages.ts'
import type { KeyRecord } from '../replica/output.ts'
import type { Update } from '../replica/update.ts'
import type { Origin, Timestamp } from '../replica/version.ts'
import type { KnownServer } from './store.ts'

/**
 * The shapes of what a store keeps as JSON, looked at when it is read again. What has the right shape can still be
 * wrong, as there are no checksums; but nothing that a server does with it fails in a way that nobody foresaw.
 */

/** A cut as it is stored. */
export type StoredCut = readonly (readonly [Origin, Timestamp])[]

export function isStoredCut(value: unknown): value is StoredCut {
  return isListOf(
    value,
    (entry) =>
      Array.isArray(entry) && entry.length === 2 && typeof entry[0] === 'string' && isNumber(entry[1]),
  )
}

export function isStoredKey(value: unknown): value is Omit<KeyRecord, 'key'> {
  return (
    isObject(value) &&
    isNumber(value.position) &&
    isListOf(
      value.siblings,
      (sibling) => isObject(sibling) && isVersion(sibling.version) && isWritten(sibling),
    ) &&
    value.siblings.length > 0
  )
}

export function isStoredSession(value: unknown): value is Omit<SessionRecord, 'session'> {
  return (
    isObject(value) &&
    isNumber(value.letGo) &&
    isListOf(
      value.answers,
      (answer) =>
        isObject(answer) &&
        isNumber(answer.number) &&
        isVersion(answer.version) &&
        isNumber(answer.fingerprint),
    )
  )
}

export function isStoredUpdates(value: unknown): value is readonly Update[] {
  return isListOf(value, isUpdate)
}

export function isStoredAddresses(value: unknown): value is readonly KnownServer[] {
  return isListOf(
    value,
    (known) =>
      isObject(known) &&
      (known.host === undefined
        ? typeof known.id === 'string'
        : typeof known.host === 'string' && isNumber(known.port) && isTextOrAbsent(known.id)),
  )
}

function isUpdate(value: unknown): boolean {
  return (
    isObject(value) &&
    isVersion(value) &&
    isNumber(value.previous) &&
    isObject(value.dependencies) &&
    Object.values(value.dependencies).every(isNumber) &&
    isListOf(value.writes, (write) => isObject(write) && typeof write.key === 'string' && isWritten(write)) &&
    (value.request === undefined || isRequest(value.request))
  )
}

function isRequest(value: unknown): boolean {
  return isObject(value) && typeof value.session === 'string' && isNumber(value.number)
}

/** A value, or a tombstone. */
function isWritten(value: Fields): boolean {
  return value.deleted === true || value.value !== undefined
}

function isVersion(value: unknown): boolean {
  return isObject(value) && isNumber(value.timestamp) && typeof value.origin === 'string'
}

function isNumber(value: unknown): value is number {
  return Number.isSafeInteger(value)
}

function isTextOrAbsent(value: unknown): boolean {
  return value === undefined || typeof value === 'string'
}

type Fields = { readonly [name: string]: unknown }

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isListOf(value: unknown, isItem: (item: unknown) => boolean): value is readonly unknown[] {
  return Array.isArray(value) && value.every(isItem)
}
