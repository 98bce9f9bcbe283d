import { covers, raise, type Cut, type MutableCut } from './cut.ts'
import { dependenciesOf, type Update } from './update.ts'
import type { Origin, Version } from './version.ts'

/**
 * The matrix of R5: row o is what origin o had applied when it issued the last update of its that is applied here.
 *
 * It costs no bytes on the wire: an update's dependencies say what has risen, and its `previous` that nothing of
 * its own is missing, so a row is the sum of what its origin's updates have said. A row has no entry for its own
 * origin; there the update's `previous` stands in its place.
 */
export class KnownMatrix {
  readonly #rows = new Map<Origin, MutableCut>()

  get origins(): Iterable<Origin> {
    return this.#rows.keys()
  }

  /** Row `origin`; undefined before its first update is applied here. */
  row(origin: Origin): Cut | undefined {
    return this.#rows.get(origin)
  }

  /** Takes in what an update that is being applied says, and returns whether it overwrites a given version. */
  learn(update: Update): (version: Version) => boolean {
    const { origin, previous } = update
    const row = this.#rowOf(origin)
    for (const [other, timestamp] of dependenciesOf(update)) raise(row, other, timestamp)
    return (version) => (version.origin === origin ? version.timestamp <= previous : covers(row, version))
  }

  /** The least row that covers what was known and what is given: of two rows of one origin, one is the later. */
  merge(origin: Origin, known: Cut): void {
    const row = this.#rowOf(origin)
    for (const [other, timestamp] of known) raise(row, other, timestamp)
  }

  #rowOf(origin: Origin): MutableCut {
    let row = this.#rows.get(origin)
    if (row === undefined) {
      row = new Map()
      this.#rows.set(origin, row)
    }
    return row
  }
}
