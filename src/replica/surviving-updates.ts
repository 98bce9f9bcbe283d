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

  /** While {@link SurvivingUpdates} are being filled: the position has become known. */
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
 * list from the application of its first write until its last is overwritten. Its slot may stay a while longer, and is
 * passed over; never more than half of the slots are such.
 *
 * The list lies in segments of bounded length, so that clearing the slots of one is never long. A write costs
 * O(log n), a search over the segments, and the clearing amortised.
 */
export class SurvivingUpdates {
  /** None is without slots. */
  readonly #segments: Segment[] = []
  #size = 0
  #isFilling = false

  /** How many updates survive. */
  get size(): number {
    return this.#size
  }

  /** The key has this version among its siblings. An update that is new here is the last that was applied. */
  add(version: AppliedVersion, key: string): void {
    if (!version.survives && !this.#isFilling) this.#append(version)
    version.addKey(key)
  }

  /** The key has this version among its siblings no longer. */
  remove(version: AppliedVersion, key: string): void {
    version.removeKey(key)
    if (version.survives || this.#isFilling) return
    this.#size--
    const index = this.#segmentAt(version.position)
    const segment = this.#segments[index] as Segment
    segment.emptyCount++
    if (segment.emptyCount * 2 > segment.slots.length) this.#clear(index)
  }

  /**
   * The survivors at or after a position, a page of them.
   *
   * @param examinedMax slots to look at, empty ones too, so that no page takes long; at least 1.
   */
  page(from: number, examinedMax: number): SurvivorPage {
    const versions: AppliedVersion[] = []
    let examined = 0
    let index = this.#segmentAt(from)
    let slot = firstAtLeast(this.#segments[index]?.slots ?? [], from)
    for (;;) {
      const segment = this.#segments[index]
      if (segment === undefined) return { versions, next: undefined, examined }
      for (; slot < segment.slots.length; slot++) {
        const version = segment.slots[slot] as AppliedVersion
        if (examined === examinedMax) return { versions, next: version.position, examined }
        examined++
        if (version.survives) versions.push(version)
      }
      index++
      slot = 0
    }
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

  /** From now on versions are added and removed in any order; until {@link order} says which it is, none is listed. */
  fill(): void {
    this.#isFilling = true
  }

  /**
   * Lists what has survived of the versions that were added since {@link fill}, in the causal order.
   *
   * @param gaplessFrom those at or after this position keep theirs. The others are put before them in the order of
   * their versions, which is causal too (R1), and get positions that are only right in that they rise.
   * @throws where more have survived from before `gaplessFrom` than there were positions.
   */
  order(versions: Iterable<AppliedVersion>, gaplessFrom: number): void {
    const placed: AppliedVersion[] = []
    const unplaced: AppliedVersion[] = []
    for (const version of versions) {
      if (version.survives) (version.position >= gaplessFrom ? placed : unplaced).push(version)
    }
    if (unplaced.length > gaplessFrom) {
      const found = `${unplaced.length} surviving updates stand before position ${gaplessFrom}`
      throw new Error(`${found}, which so many cannot: the log and the keys are not of one state`)
    }
    unplaced.sort(compareVersions)
    for (const [index, version] of unplaced.entries()) version.moveTo(gaplessFrom - unplaced.length + index)
    placed.sort((a, b) => a.position - b.position)
    this.#isFilling = false
    for (const version of unplaced) this.#append(version)
    for (const version of placed) this.#append(version)
  }

  #append(version: AppliedVersion): void {
    const last = this.#segments.at(-1)
    if (last !== undefined && last.slots.length < slotsMax) last.slots.push(version)
    else this.#segments.push({ first: version.position, slots: [version], emptyCount: 0 })
    this.#size++
  }

  /** Takes the empty slots out of a segment, and joins what is left to a neighbour where both are short. */
  #clear(index: number): void {
    const segment = this.#segments[index] as Segment
    segment.slots = segment.slots.filter((version) => version.survives)
    segment.emptyCount = 0
    if (segment.slots.length === 0) this.#segments.splice(index, 1)
    else if (!this.#join(index)) this.#join(index - 1)
  }

  /** @returns whether a segment and the one after it have become one. */
  #join(index: number): boolean {
    const segment = this.#segments[index]
    const next = this.#segments[index + 1]
    if (segment === undefined || next === undefined) return false
    if (segment.slots.length + next.slots.length > slotsMax / 2) return false
    segment.slots.push(...next.slots)
    segment.emptyCount += next.emptyCount
    this.#segments.splice(index + 1, 1)
    return true
  }

  /** The index of the last segment that begins at or before a position; 0 where there is none. */
  #segmentAt(position: number): number {
    let low = 0
    let high = this.#segments.length
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((this.#segments[middle]?.first ?? Infinity) <= position) low = middle
      else high = middle
    }
    return low
  }
}

/** Some consecutive updates of the list, survivors or not. */
interface Segment {
  /** The position of the first slot that it ever had: none of its own is before that, and all of those before it are. */
  readonly first: number
  /** At least one, and no more than {@link slotsMax}. */
  slots: AppliedVersion[]
  /** Of how many nothing survives. */
  emptyCount: number
}

export interface SurvivorPage {
  readonly versions: readonly AppliedVersion[]
  /** Where the next page begins; absent where this one came to the end. */
  readonly next: number | undefined
  /** How many slots were looked at. */
  readonly examined: number
}

/** Short enough to be cleared in some microseconds, long enough that a million survivors make few segments. */
const slotsMax = 1_024

const walkedAtOnceMax = 256

/** The index of the first slot at or after a position. */
function firstAtLeast(slots: readonly AppliedVersion[], position: number): number {
  let low = 0
  let high = slots.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((slots[middle] as AppliedVersion).position < position) low = middle + 1
    else high = middle
  }
  return low
}
