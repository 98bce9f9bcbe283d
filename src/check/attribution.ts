import { Column } from './column.ts'
import type { Findings } from './findings.ts'
import { none, type History } from './history.ts'
import type { Step } from './verdict.ts'

/** Stands for the writer of what was seen and cannot have been written so: it is reported, and not judged further. */
export const nobody = -2

/**
 * Who wrote what was seen.
 *
 * A value names its write, because it is written once; a tombstone is found by its version. A write whose outcome its
 * client does not know has happened if somebody saw it, and has the version under which it was first seen. A
 * tombstone that no acknowledged deletion explains belongs to a deletion of unknown outcome. Where several could have
 * made it, it is known that one did and when it was seen, but not which: that deletion is *placeless*, it comes after
 * nothing in its session.
 *
 * Whatever cannot be so is a `ThinAirRead`.
 */
export class Attribution {
  readonly #history: History
  readonly #findings: Findings
  readonly #writers: Column
  readonly #finalWriters: Column
  readonly #versions: Column
  /** Of each version, the event that has it. */
  readonly #updates: Column
  /** Of each write of unknown outcome that happened, how that is known. */
  readonly #firstSightings = new Map<number, Sighting>()
  readonly #placeless = new Set<number>()
  /** Of placeless events, the parts that were seen: of the others nobody knows. */
  readonly #seenOfPlaceless = new Set<number>()

  constructor(history: History, findings: Findings) {
    this.#history = history
    this.#findings = findings
    this.#writers = new Column(history.partCount, none)
    this.#finalWriters = new Column(history.finalCount, none)
    this.#versions = new Column(history.eventCount, none)
    this.#updates = new Column(history.versions.size, none)
    this.#takeAcknowledgements()
    const tombstones = this.#attribute()
    this.#attributeTombstones(tombstones)
  }

  /** The part that wrote what a part saw: `none` where it saw that nothing was written, or `nobody`. */
  writerOf(part: number): number {
    return this.#writers.get(part)
  }

  /** The part that wrote what a server holds in the end, or `nobody`. */
  finalWriterOf(final: number): number {
    return this.#finalWriters.get(final)
  }

  /** The version of an event that wrote, by number; `none` where it is not known to have happened. */
  versionOf(event: number): number {
    return this.#versions.get(event)
  }

  /** Whether a part is a write that is known to have happened. */
  hasHappened(part: number): boolean {
    const event = this.#history.partEvent.get(part)
    if (this.#versions.get(event) === none) return false
    return !this.#placeless.has(event) || this.#seenOfPlaceless.has(part)
  }

  isPlaceless(event: number): boolean {
    return this.#placeless.has(event)
  }

  #takeAcknowledgements(): void {
    const history = this.#history
    for (let event = 0; event < history.eventCount; event++) {
      if (history.outcomeOf(event) !== true || !history.isUpdate(event)) continue
      const first = history.eventParts.get(event)
      const version = history.partVersion.get(first)
      this.#versions.set(event, version)
      for (let part = first + 1; part < history.partsEnd(event); part++) {
        if (history.partVersion.get(part) === version) continue
        this.#report('one batch has two versions', [
          this.#step(first, ''),
          this.#step(part, 'the same batch'),
        ])
        break
      }
      this.#claim(version, event)
    }
  }

  /** Notes whose a version is. @returns whether it is nobody else's. */
  #claim(version: number, event: number): boolean {
    const other = this.#updates.get(version)
    if (other === event) return true
    if (other !== none) {
      const history = this.#history
      this.#report('two writes have one version', [
        this.#step(history.eventParts.get(other), ''),
        this.#step(history.eventParts.get(event), 'the same version'),
      ])
      return false
    }
    this.#updates.set(version, event)
    return true
  }

  /** @returns the tombstones that no acknowledged deletion explains: of each version, who saw which keys. */
  #attribute(): Map<number, Sighting[]> {
    const history = this.#history
    const unexplained = new Map<number, Sighting[]>()
    const take = (sighting: Sighting): void => {
      const writer = sighting.value === undefined ? this.#deletionOf(sighting) : this.#writeOf(sighting)
      if (writer === undefined) {
        const sightings = unexplained.get(sighting.version)
        if (sightings === undefined) unexplained.set(sighting.version, [sighting])
        else sightings.push(sighting)
      } else {
        this.#note(sighting, writer)
      }
    }
    // A value that was seen tells the version of the batch that it belongs to, so tombstones of that batch come later.
    const tombstones: Sighting[] = []
    const sort = (sighting: Sighting): void => {
      if (sighting.value === undefined) tombstones.push(sighting)
      else take(sighting)
    }
    for (let event = 0; event < history.eventCount; event++) {
      if (history.outcomeOf(event) !== true || history.isUpdate(event)) continue
      for (let part = history.eventParts.get(event); part < history.partsEnd(event); part++) {
        const version = history.partVersion.get(part)
        if (version === none) continue
        sort({ part, final: none, key: history.partKey.get(part), version, value: history.valueOf(part) })
      }
    }
    for (let final = 0; final < history.finalCount; final++) {
      const version = history.finalVersion.get(final)
      const value = history.finalValueOf(final)
      sort({ part: none, final, key: history.finalKey.get(final), version, value })
    }
    tombstones.forEach(take)
    return unexplained
  }

  #note({ part, final }: Sighting, writer: number): void {
    if (part === none) this.#finalWriters.set(final, writer)
    else this.#writers.set(part, writer)
  }

  /** Who wrote a value that was seen. */
  #writeOf(sighting: Sighting): number {
    const history = this.#history
    const write = history.writeOf(sighting.value as string)
    if (write === undefined) return this.#thinAir('nobody wrote this value', sighting)
    const event = history.partEvent.get(write)
    const because = 'the write of this value'
    if (history.outcomeOf(event) === false) {
      return this.#thinAir('this write certainly did not happen', sighting, [this.#step(write, because)])
    }
    if (history.partKey.get(write) !== sighting.key) {
      return this.#thinAir('this value was written to another key', sighting, [this.#step(write, because)])
    }
    const version = this.#versions.get(event)
    if (version === sighting.version) return write
    if (version === none) {
      const other = this.#updates.get(sighting.version)
      if (other !== none) {
        return this.#thinAir('this version is another write’s', sighting, [
          this.#step(history.eventParts.get(other), 'the write of this version'),
          this.#step(write, because),
        ])
      }
      this.#versions.set(event, sighting.version)
      this.#updates.set(sighting.version, event)
      this.#firstSightings.set(event, sighting)
      return write
    }
    const first = this.#firstSightings.get(event)
    if (first === undefined) {
      const message = 'this value was acknowledged under another version'
      return this.#thinAir(message, sighting, [this.#step(write, because)])
    }
    const isOfBatch = first.key !== sighting.key
    const message = `${isOfBatch ? 'one batch' : 'one value'} was seen under two versions: the write happened twice`
    return this.#thinAir(message, sighting, [
      this.#step(write, because),
      this.#stepOf(first, isOfBatch ? 'the batch was seen' : 'the value was seen'),
    ])
  }

  /** Who made a tombstone that was seen; undefined where its version is nobody's so far. */
  #deletionOf(sighting: Sighting): number | undefined {
    const history = this.#history
    const event = this.#updates.get(sighting.version)
    if (event === none) return undefined
    const part = history.partAbout(event, sighting.key)
    const first = history.eventParts.get(event)
    if (part === none) {
      return this.#thinAir('the write of this version did not touch this key', sighting, [
        this.#step(first, 'the write of this version'),
      ])
    }
    if (history.kindOf(part) === 'delete') return part
    return this.#thinAir('the write of this version did not delete this key', sighting, [
      this.#step(part, 'the write of this version'),
    ])
  }

  /** Finds the deletions of unknown outcome to which tombstones belong. */
  #attributeTombstones(unexplained: ReadonlyMap<number, readonly Sighting[]>): void {
    if (unexplained.size === 0) return
    const deletions = this.#unknownDeletions()
    const puzzles: Puzzle[] = []
    for (const [version, sightings] of unexplained) {
      const keys = [...new Set(sightings.map(({ key }) => key))]
      const [first = none] = keys
      const candidates = (deletions.get(first) ?? []).filter((event) =>
        keys.every((key) => this.#deletes(event, key)),
      )
      puzzles.push({ version, sightings, deletions: candidates, candidates: new Set(candidates) })
    }
    const open = this.#settleForced(puzzles)
    const matches = matched(open)
    for (const puzzle of open) {
      const event = matches.get(puzzle)
      if (event === undefined) this.#leaveUnexplained(puzzle)
      else this.#explain(puzzle, event, 'placeless')
    }
  }

  /** Those whose version no sighting of a value has told, by the keys that they delete. */
  #unknownDeletions(): ReadonlyMap<number, readonly number[]> {
    const history = this.#history
    const deletions = new Map<number, number[]>()
    for (let part = 0; part < history.partCount; part++) {
      const event = history.partEvent.get(part)
      if (history.kindOf(part) !== 'delete' || history.outcomeOf(event) !== null) continue
      if (this.#versions.get(event) !== none) continue
      const ofKey = deletions.get(history.partKey.get(part))
      if (ofKey === undefined) deletions.set(history.partKey.get(part), [event])
      else ofKey.push(event)
    }
    return deletions
  }

  #deletes(event: number, key: number): boolean {
    const part = this.#history.partAbout(event, key)
    return part !== none && this.#history.kindOf(part) === 'delete'
  }

  /** Settles what can have one explanation only, and what then can. @returns the others. */
  #settleForced(puzzles: readonly Puzzle[]): readonly Puzzle[] {
    const byCandidate = new Map<number, Puzzle[]>()
    for (const puzzle of puzzles) {
      for (const event of puzzle.candidates) {
        const list = byCandidate.get(event)
        if (list === undefined) byCandidate.set(event, [puzzle])
        else list.push(puzzle)
      }
    }
    const settled = new Set<Puzzle>()
    const forced = puzzles.filter(({ candidates }) => candidates.size === 1)
    for (const puzzle of forced) {
      const [event] = puzzle.candidates
      if (event === undefined) continue
      this.#explain(puzzle, event, 'placed')
      settled.add(puzzle)
      for (const other of byCandidate.get(event) ?? []) {
        // Those that are forced as this grows are looked at by the same loop.
        if (other.candidates.delete(event) && other.candidates.size === 1 && !settled.has(other))
          forced.push(other)
      }
    }
    return puzzles.filter((puzzle) => !settled.has(puzzle))
  }

  #explain({ version, sightings }: Puzzle, event: number, where: 'placed' | 'placeless'): void {
    this.#versions.set(event, version)
    this.#updates.set(version, event)
    if (where === 'placeless') this.#placeless.add(event)
    for (const sighting of sightings) {
      const part = this.#history.partAbout(event, sighting.key)
      if (where === 'placeless') this.#seenOfPlaceless.add(part)
      this.#note(sighting, part)
    }
  }

  #leaveUnexplained({ sightings, deletions }: Puzzle): void {
    const message =
      deletions.length === 0
        ? 'no deletion can have made this tombstone'
        : 'there are more tombstones than deletions: one of the deletions happened twice'
    for (const sighting of sightings) {
      const steps = deletions
        .slice(0, deletionsShownMax)
        .map((event) => this.#step(this.#history.partAbout(event, sighting.key), 'a deletion that was seen'))
      this.#note(sighting, this.#thinAir(message, sighting, steps))
    }
  }

  #thinAir(message: string, sighting: Sighting, before: readonly Step[] = []): typeof nobody {
    this.#report(message, [...before, this.#stepOf(sighting, before.length === 0 ? '' : 'this was seen')])
    return nobody
  }

  #stepOf({ part, final }: Sighting, because: string): Step {
    if (part !== none) return this.#step(part, because)
    return { line: this.#history.finalLine.get(final), event: this.#history.finalLineOf(final), because }
  }

  #step(part: number, because: string): Step {
    const event = this.#history.partEvent.get(part)
    return { line: this.#history.eventLine.get(event), event: this.#history.lineOf(event, [part]), because }
  }

  #report(message: string, steps: readonly Step[]): void {
    const line = steps.at(-1)?.line ?? 0
    this.#findings.add({
      size: steps.length,
      line,
      word: () => ({ pattern: 'ThinAirRead', message, steps }),
    })
  }
}

/** What was seen of a key: by a part of an event, or as the end state of a server. */
interface Sighting {
  readonly part: number
  readonly final: number
  readonly key: number
  readonly version: number
  readonly value: string | undefined
}

/** Tombstones of one version, and the deletions of unknown outcome that can have made them. */
interface Puzzle {
  readonly version: number
  readonly sightings: readonly Sighting[]
  /** All of them. */
  readonly deletions: readonly number[]
  /** Those that are not known to have made other tombstones. */
  readonly candidates: Set<number>
}

/** Enough to see what it is about. */
const deletionsShownMax = 5

/**
 * A greatest matching of puzzles with candidates, by augmenting paths (Kuhn 1955). Whoever has been matched stays so: of
 * too many puzzles, those that came first are matched.
 */
function matched(puzzles: readonly Puzzle[]): ReadonlyMap<Puzzle, number> {
  const puzzleOf = new Map<number, Puzzle>()
  const place = (puzzle: Puzzle, tried: Set<number>): boolean => {
    for (const event of puzzle.candidates) {
      if (tried.has(event)) continue
      tried.add(event)
      const other = puzzleOf.get(event)
      if (other !== undefined && !place(other, tried)) continue
      puzzleOf.set(event, puzzle)
      return true
    }
    return false
  }
  for (const puzzle of puzzles) place(puzzle, new Set())
  return new Map([...puzzleOf].map(([event, puzzle]) => [puzzle, event]))
}
