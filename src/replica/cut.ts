import type { Origin, Timestamp, Version } from './version.ts'

/**
 * "Of each origin, all updates up to here": a version vector whose entries are Lamport timestamps. An origin
 * that is absent stands at 0.
 */
export type Cut = ReadonlyMap<Origin, Timestamp>

/** A cut that its owner may raise. Entries never fall. */
export type MutableCut = Map<Origin, Timestamp>

export function entryOf(cut: Cut, origin: Origin): Timestamp {
  return cut.get(origin) ?? 0
}

export function covers(cut: Cut, version: Version): boolean {
  return entryOf(cut, version.origin) >= version.timestamp
}

/** Whether `cut` covers every version that `other` covers. */
export function coversCut(cut: Cut, other: Cut): boolean {
  for (const [origin, timestamp] of other) {
    if (entryOf(cut, origin) < timestamp) return false
  }
  return true
}

/** Raises one entry. @returns whether it rose. */
export function raise(cut: MutableCut, origin: Origin, timestamp: Timestamp): boolean {
  if (timestamp <= entryOf(cut, origin)) return false
  cut.set(origin, timestamp)
  return true
}

/** The least cut that covers both, into `cut`. */
export function raiseAll(cut: MutableCut, other: Iterable<readonly [Origin, Timestamp]>): void {
  for (const [origin, timestamp] of other) raise(cut, origin, timestamp)
}
