import { SortedKeys } from './sorted-keys.ts'
import { AppliedVersion, SurvivingUpdates } from './surviving-updates.ts'
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

/** A sibling that is held here, so that its version leads to its update's other keys. */
export interface HeldSibling extends Sibling {
  readonly version: AppliedVersion
}

export type HeldSiblings = readonly [HeldSibling, ...HeldSibling[]]

/**
 * What every key holds: for each key the set of its siblings, at most one per origin.
 *
 * Invariants: two siblings of a key are concurrent, neither's origin had applied the other when it was written.
 * The sets depend only on which updates were applied, not on their order. Both follow from R5 and from
 * updates being applied in causal order; this class relies on the caller for the latter. A version is in
 * {@link survivors} with exactly those keys that have it among their siblings.
 */
export class KeySpace {
  /** The same as updates in the order of application. */
  readonly survivors = new SurvivingUpdates()
  /** Of nearly all keys one, which is held without a list: there may be millions, and each write makes one anew. */
  readonly #siblings = new Map<string, HeldSibling | HeldSiblings>()
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

  siblingsOf(key: string): HeldSiblings | undefined {
    const held = this.#siblings.get(key)
    return held === undefined || isList(held) ? held : [held]
  }

  /**
   * Takes one write of an update that is being applied: what it has seen it overwrites, the rest stays (R5).
   *
   * @param version of the update: one object for all its writes, with the position that it is applied at.
   * @param overwrites whether the update's origin had applied the given version when it issued the update.
   * @returns the key's siblings from now on.
   */
  apply(write: Write, version: AppliedVersion, overwrites: (version: Version) => boolean): HeldSiblings {
    const written: HeldSibling =
      write.deleted === true ? { version, deleted: true } : { version, value: write.value }
    const before = this.siblingsOf(write.key)
    let after: HeldSiblings = [written]
    if (before !== undefined && (before.length > 1 || !overwrites(before[0].version))) {
      const rest = before.filter((sibling) => !overwrites(sibling.version))
      after = [written, ...rest].toSorted(byVersionDownwards) as unknown as HeldSiblings
    }
    this.#hold(write.key, before, after)
    return after
  }

  /** Fills a key space that is empty with what was kept of another. Until it is finished, nobody walks the survivors. */
  restoration(): Restoration {
    return new Restoration(this.survivors, (key, siblings) => this.#hold(key, undefined, siblings))
  }

  /** All that follows from a key's having other siblings than before. */
  #hold(key: string, before: HeldSiblings | undefined, after: HeldSiblings): void {
    if (before === undefined) this.#sorted.add(key)
    else for (const { version } of before) if (!isAmong(after, version)) this.survivors.remove(version, key)
    for (const { version } of after) {
      if (before === undefined || !isAmong(before, version)) this.survivors.add(version, key)
    }
    this.#tombstones += tombstoneOf(after) - tombstoneOf(before)
    if (after.length > 1) this.#conflicting.add(key)
    else if (this.#conflicting.size > 0) this.#conflicting.delete(key)
    this.#siblings.set(key, after.length === 1 ? after[0] : after)
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
  conflicts(prefix: string): readonly { readonly key: string; readonly siblings: HeldSiblings }[] {
    return [...this.#conflicting]
      .filter((key) => key.startsWith(prefix))
      .toSorted(byCodeUnit)
      .map((key) => ({ key, siblings: this.siblingsOf(key) as HeldSiblings }))
  }

  /** All keys, tombstones too, sorted, with their siblings. */
  *entries(): Generator<readonly [string, HeldSiblings], void, undefined> {
    yield* this.#scan('', '')
  }

  *#scan(prefix: string, from: string): Generator<readonly [string, HeldSiblings], void, undefined> {
    for (const key of this.#sorted.from(from > prefix ? from : prefix)) {
      if (!key.startsWith(prefix)) return
      yield [key, this.siblingsOf(key) as HeldSiblings]
    }
  }
}

/**
 * Brings back a key space from a disk (R6). Each key is restored as it was at some moment; then the log is replayed,
 * each update to those of its keys that were kept before it was applied. The caller sees to which those are.
 *
 * Invariant: equal versions are one object, whether they come with several keys or with the log, as in a key space
 * that was never away. For the keys that is so once all of them are there: sorting them finds the few that are equal
 * at a fraction of what a table of a million costs.
 */
export class Restoration {
  readonly #survivors: SurvivingUpdates
  readonly #hold: (key: string, siblings: HeldSiblings) => void
  /** All that were restored; undefined once equal versions of theirs are one. */
  #restored: { version: AppliedVersion }[] | undefined = []
  /** Of those that were restored, in their order. */
  readonly #versions: AppliedVersion[] = []
  /** Of updates that only the log has. */
  readonly #logged: AppliedVersion[] = []

  /** Made by {@link KeySpace.restoration}. */
  constructor(survivors: SurvivingUpdates, hold: (key: string, siblings: HeldSiblings) => void) {
    this.#survivors = survivors
    this.#hold = hold
    survivors.fill()
  }

  /** Sets the siblings of a key that has none yet, the winner first. To be called for all keys before the log. */
  restore(key: string, siblings: Siblings): void {
    const restored = this.#restored
    if (restored === undefined) throw new Error('a key is restored behind the log')
    const held = siblings.map(({ version, value, deleted }): HeldSibling => {
      const applied = new AppliedVersion(version, unknownPosition)
      return deleted === true
        ? { version: applied, deleted }
        : { version: applied, value: value as JsonValue }
    })
    for (const sibling of held) restored.push(sibling)
    this.#hold(key, held as unknown as HeldSiblings)
  }

  /**
   * The one object for a version, for {@link KeySpace.apply}. To be called once for every update of the log, applied
   * anew or not: only the log knows the positions.
   */
  locate(version: Version, position: number): AppliedVersion {
    this.#join()
    let located = this.#find(version)
    if (located === undefined) {
      located = new AppliedVersion(version, position)
      this.#logged.push(located)
    } else located.moveTo(position)
    return located
  }

  /** @param gaplessFrom the position from which on the log has all updates; see {@link SurvivingUpdates.order}. */
  finish(gaplessFrom: number): void {
    this.#join()
    this.#survivors.order([...this.#versions, ...this.#logged], gaplessFrom)
  }

  /** Equal versions, which several keys have brought, become one. */
  #join(): void {
    if (this.#restored === undefined) return
    let last: AppliedVersion | undefined
    for (const sibling of this.#restored.sort((a, b) => compareVersions(a.version, b.version))) {
      const { version } = sibling
      if (last === undefined || compareVersions(last, version) !== 0) {
        last = version
        this.#versions.push(version)
        continue
      }
      for (const key of version.keys) last.addKey(key)
      sibling.version = last
    }
    this.#restored = undefined
  }

  #find(version: Version): AppliedVersion | undefined {
    let low = 0
    let high = this.#versions.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (compareVersions(this.#versions[middle] as AppliedVersion, version) < 0) low = middle + 1
      else high = middle
    }
    const found = this.#versions[low]
    return found !== undefined && compareVersions(found, version) === 0 ? found : undefined
  }
}

/** Before all positions of a log. */
const unknownPosition = -1

/** One page of a listing; `next` is where the following page begins, absent on the last. */
export interface KeyPage {
  readonly keys: readonly string[]
  readonly next?: string
}

function isList(held: HeldSibling | HeldSiblings): held is HeldSiblings {
  return Array.isArray(held)
}

function tombstoneOf(siblings: Siblings | undefined): number {
  return siblings?.[0].deleted === true ? 1 : 0
}

function isAmong(siblings: HeldSiblings, version: AppliedVersion): boolean {
  for (const sibling of siblings) if (sibling.version === version) return true
  return false
}

function byVersionDownwards(a: Sibling, b: Sibling): number {
  return compareVersions(b.version, a.version)
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
