import type { Origin, Timestamp, Version } from './version.ts'

/**
 * A map from versions to anything.
 *
 * What lies under the versions of one origin lies in parts, each for a range of timestamps: a table that held all of a
 * million would be made anew each time that it has to grow, and nobody is served meanwhile. A part is never large, and
 * there are few where timestamps follow each other, as those of busy origins do. Where they lie far apart, each has a
 * part of its own, at some 200 bytes: whoever keeps versions here has a bound for how many.
 */
export class VersionMap<Item> {
  readonly #byOrigin = new Map<Origin, Map<number, Map<Timestamp, Item>>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  get(version: Version): Item | undefined {
    return this.#byOrigin.get(version.origin)?.get(partOf(version.timestamp))?.get(version.timestamp)
  }

  set(version: Version, item: Item): void {
    const { origin, timestamp } = version
    let parts = this.#byOrigin.get(origin)
    if (parts === undefined) {
      parts = new Map()
      this.#byOrigin.set(origin, parts)
    }
    let items = parts.get(partOf(timestamp))
    if (items === undefined) {
      items = new Map()
      parts.set(partOf(timestamp), items)
    }
    const before = items.size
    items.set(timestamp, item)
    this.#size += items.size - before
  }

  /** @returns whether there was anything. */
  delete(version: Version): boolean {
    const { origin, timestamp } = version
    const parts = this.#byOrigin.get(origin)
    const items = parts?.get(partOf(timestamp))
    if (parts === undefined || items?.delete(timestamp) !== true) return false
    this.#size--
    if (items.size === 0) parts.delete(partOf(timestamp))
    if (parts.size === 0) this.#byOrigin.delete(origin)
    return true
  }

  /** By origin, and in no order that would mean anything. */
  *values(): Generator<Item, void, undefined> {
    for (const parts of this.#byOrigin.values()) {
      for (const items of parts.values()) yield* items.values()
    }
  }
}

function partOf(timestamp: Timestamp): number {
  return Math.floor(timestamp / timestampsPerPart)
}

/** So many that the parts of a million make a small map, and so few that a part grows in a moment. */
const timestampsPerPart = 1_024
