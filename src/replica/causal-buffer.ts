import type { Update } from './update.ts'
import { VersionMap } from './version-map.ts'
import type { ServerId, Version } from './version.ts'

/** An update that has arrived and is not yet allowed to apply (R3). */
export interface WaitingUpdate {
  readonly update: Update
  /** The server whose link brought it. */
  readonly from: ServerId
  /** Its size on the wire, in bytes; what the buffer's bound counts. */
  readonly bytes: number
  /** When it arrived, on the clock of the ticks. */
  readonly sinceMs: number
  /** One version that it needs and that was not applied when last looked; undefined before it first waited. */
  waitsFor: Version | undefined
  /**
   * How many of its dependencies are known to be applied; where the next examination goes on. Entries of
   * `applied` never fall, so what was found once need not be looked at again.
   */
  dependenciesMet: number
}

/**
 * The waiting updates, found by the one version that each waits for (R3).
 *
 * Applying a version wakes exactly those that waited for it: no list is ever rescanned, so draining n updates
 * in the worst order costs a constant number of map operations each. The woken queue up here until they are
 * taken, so that a long drain can be done in slices. The buffer is a cache with a bound: what it refuses has
 * not been applied, so the sender's cut still shows it and it is pulled again later (R8).
 *
 * Invariant: every update in `#byVersion` is either in exactly one list of `#byMissing` or in `#woken`.
 */
export class CausalBuffer {
  readonly #byVersion = new VersionMap<WaitingUpdate>()
  readonly #byMissing = new VersionMap<WaitingUpdate[]>()
  /** Consumed from `#wokenNext` on, and cut off when it is empty: a shift for each would be quadratic. */
  readonly #woken: WaitingUpdate[] = []
  #wokenNext = 0
  readonly #limits: BufferLimits
  #bytes = 0

  constructor(limits: BufferLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#byVersion.size
  }

  get bytes(): number {
    return this.#bytes
  }

  find(version: Version): WaitingUpdate | undefined {
    return this.#byVersion.get(version)
  }

  hasRoomFor(bytes: number): boolean {
    return this.size < this.#limits.updatesMax && this.#bytes + bytes <= this.#limits.bytesMax
  }

  get wokenCount(): number {
    return this.#woken.length - this.#wokenNext
  }

  /** Adds an update that is not in the buffer, to be woken by `missing`; the caller has asked for room. */
  add(waiting: WaitingUpdate, missing: Version): void {
    waiting.waitsFor = missing
    this.#byVersion.set(waiting.update, waiting)
    const list = this.#byMissing.get(missing)
    if (list === undefined) this.#byMissing.set(missing, [waiting])
    else list.push(waiting)
    this.#bytes += waiting.bytes
  }

  /** Queues the updates that waited for `version`, in the order of their arrival at it. */
  wake(version: Version): void {
    const list = this.#byMissing.get(version)
    if (list === undefined) return
    this.#byMissing.delete(version)
    for (const waiting of list) this.#woken.push(waiting)
  }

  /** Takes out the next update that was woken. */
  takeWoken(): WaitingUpdate | undefined {
    const waiting = this.#woken[this.#wokenNext]
    if (waiting === undefined) return undefined
    this.#wokenNext++
    if (this.#wokenNext === this.#woken.length) {
      this.#woken.length = 0
      this.#wokenNext = 0
    }
    this.#forget(waiting)
    return waiting
  }

  /** The updates that wait for a version. */
  waitersOf(version: Version): readonly WaitingUpdate[] {
    return this.#byMissing.get(version) ?? []
  }

  /** Takes out updates that still wait; all at once, so that those that share a cause are not each searched for. */
  removeAll(removed: ReadonlySet<WaitingUpdate>): void {
    const causes = new VersionMap<Version>()
    for (const { update, waitsFor } of removed) {
      if (waitsFor === undefined) continue
      causes.set(waitsFor, waitsFor)
      const waiting = this.find(update)
      if (waiting !== undefined) this.#forget(waiting)
    }
    for (const cause of causes.values()) {
      const kept = this.waitersOf(cause).filter((waiting) => !removed.has(waiting))
      if (kept.length > 0) this.#byMissing.set(cause, kept)
      else this.#byMissing.delete(cause)
    }
  }

  /** All waiting updates, in no order that would mean anything. */
  [Symbol.iterator](): Generator<WaitingUpdate, void, undefined> {
    return this.#byVersion.values()
  }

  /** The `count` updates that arrived first, the oldest first; those of one moment as they lie. */
  oldest(count: number): readonly WaitingUpdate[] {
    let oldest: WaitingUpdate[] = []
    let cutoffMs = Infinity
    for (const waiting of this) {
      if (waiting.sinceMs > cutoffMs) continue
      oldest.push(waiting)
      // Cut down now and then, not for each: so it costs about as much as looking at all of them once.
      if (oldest.length < 2 * count) continue
      oldest = oldest.toSorted(byAge).slice(0, count)
      cutoffMs = oldest.at(-1)?.sinceMs ?? cutoffMs
    }
    return oldest.toSorted(byAge).slice(0, count)
  }

  #forget(waiting: WaitingUpdate): void {
    if (this.#byVersion.delete(waiting.update)) this.#bytes -= waiting.bytes
  }
}

export interface BufferLimits {
  readonly updatesMax: number
  readonly bytesMax: number
}

function byAge(a: WaitingUpdate, b: WaitingUpdate): number {
  return a.sinceMs - b.sinceMs
}
