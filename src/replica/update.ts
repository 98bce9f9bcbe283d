import type { Origin, Timestamp, Version } from './version.ts'

/** Any JSON value, as `JSON.parse` returns it; the protocol has checked its depth, numbers and strings. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue }

/** One key's part of an update: a new value, or a tombstone. */
export type Write =
  | { readonly key: string; readonly value: JsonValue; readonly deleted?: never }
  | { readonly key: string; readonly deleted: true; readonly value?: never }

/** Versions of other origins, by origin: what {@link Update.dependencies} holds, as on the wire. */
export type Dependencies = { readonly [origin: Origin]: Timestamp }

/**
 * One replicated write, applied all together or not at all (R2). It has the shape it has on the wire, so
 * that it is passed on as it came, and it is frozen by agreement: nobody ever changes one.
 */
export interface Update extends Version {
  /** The timestamp of the same origin's update just before; 0 for none. So a gap shows. */
  readonly previous: Timestamp
  /**
   * Those entries of other origins in the origin's `applied` that rose since its previous update. With
   * `previous` it says, transitively, all that the server had applied when it took the write.
   */
  readonly dependencies: Dependencies
  /** At least one; no key twice. */
  readonly writes: readonly Write[]
  /** Which request of which session it carried out (R10); absent where the client gave none. */
  readonly request?: { readonly session: string; readonly number: number }
}

/** What most updates name in a quiet mesh. One object for all of them, which like every update's is never changed. */
export const noDependencies: Dependencies = {}

/** The entries of {@link Update.dependencies}, typed: `Object.entries` would forget that they are origins. */
export function dependenciesOf({ dependencies }: Update): readonly Dependency[] {
  for (const origin in dependencies) {
    if (Object.hasOwn(dependencies, origin))
      return Object.entries(dependencies) as unknown as readonly Dependency[]
  }
  // Asked several times for every update.
  return nothing
}

type Dependency = readonly [Origin, Timestamp]

const nothing: readonly Dependency[] = []

/**
 * What makes an update impossible whatever has been applied (R1): returns the rule that it breaks, or
 * undefined for a well-formed one.
 */
export function malformation(update: Update): string | undefined {
  if (!Number.isSafeInteger(update.timestamp) || update.timestamp < 1) {
    return `its timestamp ${update.timestamp} is not a positive safe integer`
  }
  if (update.timestamp <= update.previous) {
    return `its timestamp ${update.timestamp} is not above its previous ${update.previous}`
  }
  for (const [origin, timestamp] of dependenciesOf(update)) {
    if (origin === update.origin) return `it depends on its own origin ${origin}, whose entry is \`previous\``
    if (update.timestamp <= timestamp) {
      return `its timestamp ${update.timestamp} is not above its dependency ${timestamp} of ${origin}`
    }
  }
  return undefined
}

/**
 * About how many bytes an update takes, on the wire and in memory: what all bounds in bytes count.
 *
 * A property of the update, measured where it is needed: sizes that somebody else tells could be wrong, and a bound
 * built on them would be none. Strings count their UTF-16 units, so the truth is at most six times as much, for a
 * string of nothing but control characters.
 */
export function sizeOf(update: Update): number {
  let size = updateOverheadBytes + dependenciesOf(update).length * dependencyBytes
  if (update.request !== undefined) size += requestOverheadBytes + update.request.session.length
  return size + sizeOfWrites(update.writes)
}

/** About how many bytes writes take, counted as {@link sizeOf} does. */
export function sizeOfWrites(writes: readonly Write[]): number {
  let size = 0
  for (const write of writes) size += writeOverheadBytes + write.key.length + sizeOfValue(write.value)
  return size
}

/** An update's members without its dependencies and writes: names, an origin, two numbers. */
const updateOverheadBytes = 100
const dependencyBytes = 32
const requestOverheadBytes = 48
const writeOverheadBytes = 24

/** About how many bytes a value takes, counted as {@link sizeOf} does. */
export function sizeOfValue(value: JsonValue | undefined): number {
  if (typeof value === 'string') return value.length + 2
  if (typeof value !== 'object' || value === null) return 8
  let size = 2
  if (Array.isArray(value)) for (const item of value as readonly JsonValue[]) size += 1 + sizeOfValue(item)
  else for (const [name, member] of Object.entries(value)) size += 4 + name.length + sizeOfValue(member)
  return size
}
