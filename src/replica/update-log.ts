import { entryOf, raise, raiseAll, type Cut, type MutableCut } from './cut.ts'
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
 * What this replica has applied, in the order in which it did, as far back as its limits allow.
 *
 * That order is causal, so any page of it that begins where the asker's cut ends can be applied at once by
 * the asker: what an update on it depends on is either covered by that cut or earlier on the same page (R8).
 *
 * Positions count updates and are never used twice. The log loses its oldest updates as it grows (R12), a segment at
 * a time; `floor` covers those, and whoever has not applied all of it cannot be served from here. Taking in a
 * snapshot leaves a gap in the positions, which stands for what came with it and is covered by `floor` too.
 */
export class UpdateLog {
  /** Oldest first; none is empty but the last. Each has consecutive positions. */
  readonly #segments: Segment[] = []
  readonly #byOrigin = new Map<Origin, OriginRun>()
  readonly #floor: MutableCut = new Map()
  readonly #limits: PageLimits
  #end = 0
  #gapEnd = 0
  #length = 0
  #bytes = 0

  /** @param limits what is kept at most; the log is trimmed to within an eighth below it. */
  constructor(limits: PageLimits) {
    this.#limits = limits
  }

  /** The position of the oldest update that is still here; `end` where there is none. */
  get start(): number {
    return this.#segments[0]?.first ?? this.#end
  }

  /** The position that the next update will have. */
  get end(): number {
    return this.#end
  }

  /** The end of the last gap: from there, or from `start` where that is later, no position is missing. */
  get gapEnd(): number {
    return this.#gapEnd
  }

  /** How many updates are here. */
  get length(): number {
    return this.#length
  }

  /** Their sizes, summed. */
  get bytes(): number {
    return this.#bytes
  }

  /** Covers everything that was applied and is not here: `logFloor` of R8. */
  get floor(): Cut {
    return this.#floor
  }

  /** @returns the update at a position, or undefined where it was trimmed, is in a gap, or is yet to come. */
  at(position: number): LogEntry | undefined {
    let low = 0
    let high = this.#segments.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#segments[middle] as Segment).first <= position) low = middle + 1
      else high = middle
    }
    const segment = this.#segments[low - 1]
    if (segment === undefined) return undefined
    const index = position - segment.first
    const update = segment.updates[index]
    return update === undefined ? undefined : { update, bytes: segment.sizes[index] as number }
  }

  append(entry: LogEntry): void {
    const segment = this.#segmentFor(entry)
    segment.updates.push(entry.update)
    segment.sizes.push(entry.bytes)
    const { origin, timestamp } = entry.update
    const run = this.#byOrigin.get(origin)
    if (run === undefined) {
      this.#byOrigin.set(origin, { timestamps: [timestamp], positions: [this.#end], first: 0 })
    } else {
      run.timestamps.push(timestamp)
      run.positions.push(this.#end)
    }
    this.#end++
    this.#length++
    this.#bytes += entry.bytes
    while (this.#isTooLong() && this.#segments.length > 1) this.#trim()
  }

  /** Leaves out positions up to `end`; whatever they stand for is covered by `floor`. */
  skipTo(end: number, floor: Cut): void {
    raiseAll(this.#floor, floor)
    if (end <= this.#end) return
    this.#end = end
    this.#gapEnd = end
  }

  /** Whether everything that `cut` does not cover is here, but for the origins in `except`. */
  reaches(cut: Cut, except?: ReadonlySet<Origin>): boolean {
    for (const [origin, timestamp] of this.#floor) {
      if (entryOf(cut, origin) < timestamp && except?.has(origin) !== true) return false
    }
    return true
  }

  find(version: Version): Update | undefined {
    const run = this.#byOrigin.get(version.origin)
    if (run === undefined) return undefined
    const index = firstAbove(run, version.timestamp - 1)
    return run.timestamps[index] === version.timestamp
      ? this.at(run.positions[index] as number)?.update
      : undefined
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
    for (const [origin, run] of this.#byOrigin) {
      if (except?.has(origin) === true || (only !== undefined && !only.has(origin))) continue
      const next = firstAbove(run, entryOf(cut, origin))
      if (next < run.positions.length) runs.add({ positions: run.positions, next })
    }
    const entries: LogEntry[] = []
    let bytes = 0
    // What the asker will have applied after this page; only exceptions can make it less than the log's order says.
    const reached = except === undefined || except.size === 0 ? undefined : new Map(cut)
    for (;;) {
      const earliest = runs.earliest
      if (earliest === undefined) return { entries, more: false }
      const entry = this.at(positionOf(earliest)) as LogEntry
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

  #isTooLong(): boolean {
    return this.#length > this.#limits.updatesMax || this.#bytes > this.#limits.bytesMax
  }

  #segmentFor(entry: LogEntry): Segment {
    const last = this.#segments.at(-1)
    const { updatesMax, bytesMax } = this.#limits
    const isOpen =
      last !== undefined &&
      last.first + last.updates.length === this.#end &&
      last.updates.length < Math.min(segmentUpdatesMax, Math.ceil(updatesMax / segmentsMin)) &&
      last.bytes < bytesMax / segmentsMin
    if (isOpen) {
      last.bytes += entry.bytes
      return last
    }
    const segment: Segment = { first: this.#end, updates: [], sizes: [], bytes: entry.bytes }
    this.#segments.push(segment)
    return segment
  }

  /** Lets go of the oldest segment. */
  #trim(): void {
    const segment = this.#segments.shift()
    if (segment === undefined) return
    for (const { origin, timestamp } of segment.updates) {
      raise(this.#floor, origin, timestamp)
      const run = this.#byOrigin.get(origin) as OriginRun
      run.first++
      if (run.first === run.positions.length) this.#byOrigin.delete(origin)
      else if (run.first > segmentUpdatesMax && run.first * 2 > run.positions.length) {
        run.positions.splice(0, run.first)
        run.timestamps.splice(0, run.first)
        run.first = 0
      }
    }
    this.#length -= segment.updates.length
    this.#bytes -= segment.bytes
  }
}

/**
 * Updates with consecutive positions, which are let go together, and the size of each. No entries are kept: one more
 * object for each update is as much work for the collector of garbage as putting the update into the log.
 */
interface Segment {
  readonly first: number
  readonly updates: Update[]
  readonly sizes: number[]
  bytes: number
}

/** The log is trimmed by whole segments; so many at least keep it near its limits. */
const segmentsMin = 8
const segmentUpdatesMax = 1_024

/** The updates of one origin, oldest first: timestamps and positions both rise. Those before `first` are trimmed. */
interface OriginRun {
  readonly timestamps: Timestamp[]
  readonly positions: number[]
  first: number
}

/** The index of an origin's first update above `timestamp`. */
function firstAbove(run: OriginRun, timestamp: Timestamp): number {
  let low = run.first
  let high = run.timestamps.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((run.timestamps[middle] as Timestamp) <= timestamp) low = middle + 1
    else high = middle
  }
  return low
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
