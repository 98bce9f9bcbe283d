import { SortedKeys } from './sorted-keys.ts'
import type { JsonValue, Write } from './update.ts'
import { compareVersions, type Version } from './version.ts'

/** A version of a key that no other version of that key has causally overwritten (R5). */
export interface Sibling {
  readonly version: Version
  /** Absent on a tombstone. JSON has no undefined, so a sibling is a tombstone iff `deleted`. */
  readonly value?: JsonValue
  readonly deleted?: true
}

/** The siblings of one key, the winner first, then downwards by version (R4); never empty. */
export type Siblings = readonly [Sibling, ...Sibling[]]

/**
 * What every key holds: for each key the set of its siblings, at most one per origin.
 *
 * Invariant: two siblings of a key are concurrent, neither's origin had applied the other when it was written.
 * The sets depend only on which updates were applied, not on their order. Both follow from R5 and from
 * updates being applied in causal order; this class relies on the caller for the latter.
 */
export class KeySpace {
  readonly #siblings = new Map<string, Siblings>()
  readonly #sorted = new SortedKeys()
  #tombstones = 0
  /** Keys with more than one sibling: few, so that they are sorted only when somebody asks. */
  readonly #conflicting = new Set<string>()

  /** Keys that have a value, tombstones not counted. */
  get keyCount(): number {
    return this.#siblings.size - this.#tombstones
  }

  /** Keys whose winner is a tombstone (R12: kept, and counted). */
  get tombstoneCount(): number {
    return this.#tombstones
  }

  /** Keys with more than one sibling. */
  get conflictCount(): number {
    return this.#conflicting.size
  }

  siblingsOf(key: string): Siblings | undefined {
    return this.#siblings.get(key)
  }

  /**
   * Takes one write of an update that is being applied: what it has seen it overwrites, the rest stays (R5).
   *
   * @param overwrites whether the update's origin had applied the given version when it issued the update.
   * @returns the key's siblings from now on.
   */
  apply(write: Write, version: Version, overwrites: (version: Version) => boolean): Siblings {
    const written: Sibling =
      write.deleted === true ? { version, deleted: true } : { version, value: write.value }
    const before = this.#siblings.get(write.key)
    let after: Siblings = [written]
    if (before === undefined) {
      this.#sorted.add(write.key)
    } else if (before.length > 1 || !overwrites(before[0].version)) {
      const rest = before.filter((sibling) => !overwrites(sibling.version))
      after = [written, ...rest].toSorted((a, b) => compareVersions(b.version, a.version)) as [
        Sibling,
        ...Sibling[],
      ]
    }
    this.#tombstones += tombstoneOf(after) - tombstoneOf(before)
    if (after.length > 1) this.#conflicting.add(write.key)
    else this.#conflicting.delete(write.key)
    this.#siblings.set(write.key, after)
    return after
  }

  /** Keys with a value that start with `prefix`, sorted by code unit, at or after `from`. */
  list(range: { readonly prefix: string; readonly from: string; readonly limit: number }): KeyPage {
    const keys: string[] = []
    for (const [key, siblings] of this.#scan(range.prefix, range.from)) {
      if (siblings[0].deleted === true) continue
      if (keys.length === range.limit) return { keys, next: key }
      keys.push(key)
    }
    return { keys }
  }

  /** Keys with more than one sibling that start with `prefix`, sorted. */
  conflicts(prefix: string): readonly { readonly key: string; readonly siblings: Siblings }[] {
    return [...this.#conflicting]
      .filter((key) => key.startsWith(prefix))
      .toSorted(byCodeUnit)
      .map((key) => ({ key, siblings: this.#siblings.get(key) as Siblings }))
  }

  /** All keys, tombstones too, sorted, with their siblings. */
  *entries(): Generator<readonly [string, Siblings], void, undefined> {
    yield* this.#scan('', '')
  }

  *#scan(prefix: string, from: string): Generator<readonly [string, Siblings], void, undefined> {
    for (const key of this.#sorted.from(from > prefix ? from : prefix)) {
      if (!key.startsWith(prefix)) return
      yield [key, this.#siblings.get(key) as Siblings]
    }
  }
}

/** One page of a listing; `next` is where the following page begins, absent on the last. */
export interface KeyPage {
  readonly keys: readonly string[]
  readonly next?: string
}

function tombstoneOf(siblings: Siblings | undefined): number {
  return siblings?.[0].deleted === true ? 1 : 0
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
