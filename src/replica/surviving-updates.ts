import { compareVersions, type Origin, type Timestamp, type Version } from './version.ts'

/**
 * The version of an applied update, which also knows when it was applied and which of its keys still have it
 * among their siblings.
 *
 * One such object is made when the update is applied, and all its siblings share it as their version. So whoever
 * overwrites a sibling has the update's place in {@link SurvivingUpdates} in hand, and nothing is ever looked up.
 * To everybody else it is a {@link Version} like any other: what it knows beyond that is no property of its own, and
 * is neither compared nor encoded.
 */
export class AppliedVersion implements Version {
  readonly timestamp: Timestamp
  readonly origin: Origin
  #position: number
  /** Most updates write one key, which needs no set. */
  #keys: string | Set<string> | undefined

  /** @param position where in the order of application the update stands: its position in the log. */
  constructor(version: Version, position: number) {
    this.timestamp = version.timestamp
    this.origin = version.origin
    this.#position = position
  }

  get position(): number {
    return this.#position
  }

  /** Whether any of the update's writes is a sibling. */
  get survives(): boolean {
    return this.#keys !== undefined
  }

  /** The update's keys that have it among their siblings, in the order of its writes. */
  get keys(): readonly string[] {
    if (this.#keys === undefined) return []
    return typeof this.#keys === 'string' ? [this.#keys] : [...this.#keys]
  }

  /** For {@link SurvivingUpdates} and for who fills one: the position has become known. */
  moveTo(position: number): void {
    this.#position = position
  }

  /** For {@link SurvivingUpdates} alone. */
  addKey(key: string): void {
    if (this.#keys === undefined) this.#keys = key
    else if (typeof this.#keys !== 'string') this.#keys.add(key)
    else this.#keys = new Set([this.#keys, key])
  }

  /** For {@link SurvivingUpdates} alone. */
  removeKey(key: string): void {
    if (this.#keys === key) this.#keys = undefined
    else if (typeof this.#keys === 'object' && this.#keys.delete(key) && this.#keys.size === 0) {
      this.#keys = undefined
    }
  }
}

/**
 * Every update of which at least one write is still a sibling of its key, in the order of application: the state,
 * told as the updates that made it (R11).
 *
 * Each has its position in the log, whether or not the log still reaches back to it, and a reader that walks them
 * remembers nothing but the position that it has come to. So however slow it is, it holds no memory; what is
 * overwritten meanwhile it never sees, so values coalesce by key for free; what is applied meanwhile it finds at
 * the end; and when it has come to the end, it has seen all that is in the state at that moment. (An iterator of a `Map`
 * would do the same, but one that is not moved keeps every table that its map has outgrown, with all that was
 * overwritten since.)
 *
 * Invariants: positions rise along the list, which is the order of application and so is causal. An update is in the
 * list from the application of its first write until its last is overwritten. Its slot may stay a while longer,
 * and is passed over; never more than half of the slots are such, but for a few.
 *
 * A write costs O(1), amortised over the compactions.
 */
export class SurvivingUpdates {
  readonly #slots: AppliedVersion[] = []
  #emptyCount = 0

  /** How many updates survive. */
  get size(): number {
    return this.#slots.length - this.#emptyCount
  }

  /** The key has this version among its siblings. An update that is new here is the last that was applied. */
  add(version: AppliedVersion, key: string): void {
    if (!version.survives) this.#slots.push(version)
    version.addKey(key)
  }

  /** The key has this version among its siblings no longer. */
  remove(version: AppliedVersion, key: string): void {
    version.removeKey(key)
    if (version.survives) return
    this.#emptyCount++
    if (this.#emptyCount > keptEmptyMax && this.#emptyCount * 2 > this.#slots.length) this.#compact()
  }

  /**
   * The survivors at or after a position, a page of them.
   *
   * @param examinedMax slots to look at, empty ones too, so that no page takes long; at least 1.
   */
  page(from: number, examinedMax: number): SurvivorPage {
    const start = this.#firstAt(from)
    const end = Math.min(this.#slots.length, start + examinedMax)
    const versions = this.#slots.slice(start, end).filter((version) => version.survives)
    return { versions, next: this.#slots[end]?.position, examined: end - start }
  }

  /** All survivors, one at a time: whoever takes its time sees what the header says of slow readers. */
  *walk(): Generator<AppliedVersion, void, undefined> {
    for (let from: number | undefined = 0; from !== undefined;) {
      const page = this.page(from, walkedAtOnceMax)
      for (const version of page.versions) if (version.survives) yield version
      // What has come meanwhile is at the end, and so may be a next page that was not there before.
      const last = page.versions.at(-1)
      from = page.next ?? (last === undefined ? undefined : last.position + 1)
    }
  }

  /**
   * Puts survivors that were added in any order into the causal one.
   *
   * @param gaplessFrom those at or after this position keep theirs. The others are put before them in the order of
   * their versions, which is causal too (R1), and get positions that are only right in that they rise.
   * @throws where more have survived from before `gaplessFrom` than there were positions.
   */
  sort(gaplessFrom: number): void {
    const versions = this.#slots.splice(0).filter((version) => version.survives)
    const placed = versions.filter((version) => version.position >= gaplessFrom)
    const unplaced = versions.filter((version) => version.position < gaplessFrom)
    if (unplaced.length > gaplessFrom) {
      const found = `${unplaced.length} surviving updates stand before position ${gaplessFrom}`
      throw new Error(`${found}, which so many cannot: the log and the keys are not of one state`)
    }
    unplaced.sort(compareVersions)
    for (const [index, version] of unplaced.entries()) version.moveTo(gaplessFrom - unplaced.length + index)
    placed.sort((a, b) => a.position - b.position)
    for (const version of unplaced) this.#slots.push(version)
    for (const version of placed) this.#slots.push(version)
    this.#emptyCount = 0
  }

  /** The index of the first slot at or after a position. */
  #firstAt(position: number): number {
    let low = 0
    let high = this.#slots.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#slots[middle] as AppliedVersion).position < position) low = middle + 1
      else high = middle
    }
    return low
  }

  #compact(): void {
    let length = 0
    for (const version of this.#slots) {
      if (version.survives) this.#slots[length++] = version
    }
    this.#slots.length = length
    this.#emptyCount = 0
  }
}

export interface SurvivorPage {
  readonly versions: readonly AppliedVersion[]
  /** Where the next page begins; absent where this one came to the end. */
  readonly next: number | undefined
  /** How many slots were looked at. */
  readonly examined: number
}

/** Compacting a short list is not worth the while. */
const keptEmptyMax = 1_024

const walkedAtOnceMax = 256
