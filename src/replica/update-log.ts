import { entryOf, raise, type Cut } from './cut.ts'
import { dependenciesOf, type Update } from './update.ts'
import type { Origin, Timestamp, Version } from './version.ts'

/** An update with its size on the wire in bytes, which pages and bounds count. */
export interface LogEntry {
  readonly update: Update
  readonly bytes: number
}

/** A part of the log, in the order of application, for somebody who has applied a given cut. */
export interface LogPage {
  readonly entries: readonly LogEntry[]
  /** Whether the log holds more that the asker lacks. */
  readonly more: boolean
}

/**
 * What this replica has applied, in the order in which it did.
 *
 * That order is causal, so any page of it that begins where the asker's cut ends can be applied at once by
 * the asker: what an update on it depends on is either covered by that cut or earlier on the same page (R8).
 */
export class UpdateLog {
  readonly #entries: LogEntry[] = []
  /** Per origin the positions of its updates. Both their timestamps and their positions rise. */
  readonly #positions = new Map<Origin, number[]>()

  /** The position that the next update will have. */
  get end(): number {
    return this.#entries.length
  }

  at(position: number): LogEntry | undefined {
    return this.#entries[position]
  }

  append(entry: LogEntry): void {
    const { origin } = entry.update
    const positions = this.#positions.get(origin)
    if (positions === undefined) this.#positions.set(origin, [this.#entries.length])
    else positions.push(this.#entries.length)
    this.#entries.push(entry)
  }

  find(version: Version): Update | undefined {
    const positions = this.#positions.get(version.origin) ?? []
    const position = positions[this.#firstAbove(positions, version.timestamp - 1)]
    const update = position === undefined ? undefined : this.#entries[position]?.update
    return update?.timestamp === version.timestamp ? update : undefined
  }

  /**
   * The next page for somebody who has applied `cut`: all origins together, in the order of application.
   *
   * @param only of these origins; all where absent.
   * @param except not of these origins, whose links are held by a lab (R8), nor what could only wait for them:
   * a page of that would leave the asker's cut where it is, and so be asked for again and again.
   */
  page(request: PageRequest): LogPage {
    const { cut, only, except, limits } = request
    const runs = new RunHeap()
    for (const [origin, positions] of this.#positions) {
      if (except?.has(origin) === true || (only !== undefined && !only.has(origin))) continue
      const next = this.#firstAbove(positions, entryOf(cut, origin))
      if (next < positions.length) runs.add({ positions, next })
    }
    const entries: LogEntry[] = []
    let bytes = 0
    // What the asker will have applied after this page; only exceptions can make it less than the log's order says.
    const reached = except === undefined || except.size === 0 ? undefined : new Map(cut)
    for (;;) {
      const earliest = runs.earliest
      if (earliest === undefined) return { entries, more: false }
      const entry = this.#entries[positionOf(earliest)] as LogEntry
      if (reached !== undefined && !mayFollow(entry.update, reached)) {
        // Nor can what the same origin did after it.
        runs.advance(earliest.positions.length)
        continue
      }
      const fits = entries.length < limits.updatesMax && bytes + entry.bytes <= limits.bytesMax
      // One update always fits, however large: otherwise a pull would never get past it.
      if (!fits && entries.length > 0) return { entries, more: true }
      entries.push(entry)
      bytes += entry.bytes
      runs.advance(earliest.next + 1)
      if (reached !== undefined) raise(reached, entry.update.origin, entry.update.timestamp)
    }
  }

  /** The index, in an origin's positions, of its first update above `timestamp`. */
  #firstAbove(positions: readonly number[], timestamp: Timestamp): number {
    let low = 0
    let high = positions.length
    while (low < high) {
      const middle = (low + high) >> 1
      const entry = this.#entries[positions[middle] as number] as LogEntry
      if (entry.update.timestamp <= timestamp) low = middle + 1
      else high = middle
    }
    return low
  }
}

export interface PageRequest {
  readonly cut: Cut
  readonly only?: ReadonlySet<Origin>
  readonly except?: ReadonlySet<Origin>
  readonly limits: PageLimits
}

export interface PageLimits {
  readonly updatesMax: number
  readonly bytesMax: number
}

/** What of one origin is yet to come: its positions in the log from index `next` on. */
interface Run {
  readonly positions: readonly number[]
  next: number
}

function positionOf(run: Run): number {
  return run.positions[run.next] ?? Infinity
}

/**
 * Runs, the one with the earliest position first: a binary heap, because origins are as many as starts of
 * processes, and a scan of all for each entry of a page would be quadratic in what a newcomer lacks.
 */
class RunHeap {
  readonly #runs: Run[] = []

  get earliest(): Run | undefined {
    return this.#runs[0]
  }

  add(run: Run): void {
    let index = this.#runs.push(run) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (positionOf(this.#runs[parent] as Run) <= positionOf(run)) break
      this.#runs[index] = this.#runs[parent] as Run
      index = parent
    }
    this.#runs[index] = run
  }

  /** Moves the earliest run on to the given index of its positions, or out where there is none. */
  advance(next: number): void {
    let run = this.#runs[0]
    if (run === undefined) return
    run.next = next
    if (next >= run.positions.length) {
      const last = this.#runs.pop()
      if (last === undefined || this.#runs.length === 0) return
      run = last
    }
    const position = positionOf(run)
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      const left = this.#runs[child]
      if (left === undefined) break
      const right = this.#runs[child + 1]
      if (right !== undefined && positionOf(right) < positionOf(left)) child++
      const earlier = this.#runs[child] as Run
      if (positionOf(earlier) >= position) break
      this.#runs[index] = earlier
      index = child
    }
    this.#runs[index] = run
  }
}

/** Whether somebody who has applied `cut` can apply this update next (R3). */
function mayFollow(update: Update, cut: Cut): boolean {
  return (
    entryOf(cut, update.origin) >= update.previous &&
    dependenciesOf(update).every(([origin, timestamp]) => entryOf(cut, origin) >= timestamp)
  )
}
