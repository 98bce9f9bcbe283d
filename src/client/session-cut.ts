import { covers, entryOf, raise, type Cut, type MutableCut } from '../replica/cut.ts'
import { cutToWire, type WireCut } from '../protocol/wire-forms.ts'
import type { Origin, Version } from '../replica/version.ts'

/** A cut that keeps what it says on its way through JSON, where any other Map becomes `{}`. */
export type KeptCut = Cut & { readonly toJSON: () => WireCut }

/**
 * What a client has seen, and what of it the server that it talks to has to be shown (R9).
 *
 * Rules:
 * - `owed` is exactly those entries of `seen` that `covered` is below. They go with every request, as `after`.
 * - `covered` is what the server is known to have applied: what it said when it greeted, what it has shown, and what
 *   requests came after that it has answered. One server in one run of its process never goes back behind that.
 * - So once a server has answered, nothing is owed to it, and a request costs nothing for what was seen before, however
 *   many origins that names. A move to another server makes everything owed that this one has not applied.
 */
export class SessionCut {
  readonly #seen: MutableCut
  readonly #owed: MutableCut
  #covered: MutableCut = new Map()
  /** The server that `covered` is about; undefined before the first connection. */
  #server: Origin | undefined

  /** @param seen by an earlier client whose session goes on in this one. It is not copied. */
  constructor(seen: MutableCut = new Map()) {
    this.#seen = seen
    this.#owed = new Map(seen)
  }

  /** All that was seen, as it is now. */
  get seen(): KeptCut {
    const cut = new Map(this.#seen)
    // Not enumerable, so that it is shown and compared as the Map that it is.
    return Object.defineProperty(cut, 'toJSON', { value: () => cutToWire(cut) }) as MutableCut & KeptCut
  }

  /** A connection was made. @param applied what the server said then that it had applied. */
  connected(server: Origin, applied: Cut): void {
    this.#server = server
    this.#covered = new Map(applied)
    this.#owed.clear()
    for (const [origin, timestamp] of this.#seen) {
      if (entryOf(applied, origin) < timestamp) this.#owed.set(origin, timestamp)
    }
  }

  /**
   * Something was seen.
   *
   * @param shownBy the server that showed it; not always the present one, for a watch may have a connection of its own.
   */
  learn(version: Version, shownBy: Origin | undefined): void {
    const { origin, timestamp } = version
    raise(this.#seen, origin, timestamp)
    if (shownBy !== undefined && shownBy === this.#server) this.#cover(origin, timestamp)
    else if (!covers(this.#covered, version)) raise(this.#owed, origin, timestamp)
  }

  /** What the next request has to show; undefined where the server knows it all. */
  after(): Cut | undefined {
    return this.#owed.size === 0 ? undefined : new Map(this.#owed)
  }

  /** The present server has carried out a request that came after this. */
  accepted(after: Cut): void {
    for (const [origin, timestamp] of after) this.#cover(origin, timestamp)
  }

  /**
   * Some versions are lost: nobody has them any more. What the present server has of their origins stays seen.
   *
   * @returns those of them that were seen and owed; the others have been dropped before, or have come after all.
   */
  drop(lost: readonly Version[]): readonly Version[] {
    const dropped: Version[] = []
    for (const version of lost) {
      const { origin } = version
      if (!covers(this.#owed, version)) continue
      // What was seen of this origin later is lost with it.
      this.#owed.delete(origin)
      const kept = entryOf(this.#covered, origin)
      if (kept === 0) this.#seen.delete(origin)
      else this.#seen.set(origin, kept)
      dropped.push(version)
    }
    return dropped
  }

  #cover(origin: Origin, timestamp: number): void {
    raise(this.#covered, origin, timestamp)
    if (this.#owed.size > 0 && entryOf(this.#owed, origin) <= timestamp) this.#owed.delete(origin)
  }
}
