import { isUpdate } from '../protocol/peer-messages.ts'
import { faultOfValue, isOrigin, isServerId } from '../protocol/wire-forms.ts'
import type { Sibling, Siblings } from '../replica/key-space.ts'
import type { KeptAnswer, SessionRecord } from '../replica/messages.ts'
import type { KeyRecord } from '../replica/output.ts'
import { malformation, type JsonValue, type Update } from '../replica/update.ts'
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

/**
 * What is kept of a key is a list, as there may be millions: up to which position it is current, and then its siblings in
 * their order, the highest first (R4), each as `[timestamp, origin, value]` or, a tombstone, `[timestamp, origin]`.
 */
export function storedKey({ position, siblings }: KeyRecord): string {
  let text = `[${position}`
  for (const { version, value, deleted } of siblings) {
    const origin = JSON.stringify(version.origin)
    text += `,[${version.timestamp},${origin}${deleted === true ? '' : `,${JSON.stringify(value)}`}]`
  }
  return `${text}]`
}

/** Reads what {@link storedKey} has written. */
export class KeyReader {
  /** One string for all versions of an origin, where each record brings one of its own. */
  readonly #origins = new Map<unknown, Origin>()

  /** @returns undefined where it makes no sense. */
  read(key: string, stored: unknown): KeyRecord | undefined {
    if (!Array.isArray(stored)) return undefined
    const [position, ...items] = stored as readonly unknown[]
    if (!isNumber(position, 0)) return undefined
    const siblings: Sibling[] = []
    for (const item of items) {
      const sibling = this.#sibling(item)
      if (sibling === undefined) return undefined
      const higher = siblings.at(-1)
      if (higher !== undefined && compareVersions(higher.version, sibling.version) <= 0) return undefined
      siblings.push(sibling)
    }
    return siblings.length === 0 ? undefined : { key, position, siblings: siblings as unknown as Siblings }
  }

  #sibling(item: unknown): Sibling | undefined {
    if (!Array.isArray(item)) return undefined
    const [timestamp, name, value] = item as readonly unknown[]
    const origin = this.#origin(name)
    if (origin === undefined || !isNumber(timestamp, 1)) return undefined
    const version = { timestamp, origin }
    if (item.length === 2) return { version, deleted: true }
    return item.length === 3 && faultOfValue(value) === undefined
      ? { version, value: value as JsonValue }
      : undefined
  }

  #origin(name: unknown): Origin | undefined {
    const known = this.#origins.get(name)
    if (known !== undefined || !isOrigin(name)) return known
    this.#origins.set(name, name)
    return name
  }
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
