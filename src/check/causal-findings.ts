import type { CausalCheck, Suspect } from './causal-check.ts'
import type { CausalGraph } from './causal-graph.ts'
import type { Findings } from './findings.ts'
import { none, type History } from './history.ts'
import { Paths, type Hop, type Path } from './paths.ts'
import type { Guarantee, Pattern, Step, Violation } from './verdict.ts'

/**
 * Names what a {@link CausalCheck} has found, and finds the smallest cycle of each violation.
 *
 * One part of an event is at most one violation: of the patterns that it has, the one that says most. That half a batch
 * was seen says more than that a value was overwritten, and that says more than that a version is too low.
 */
export class CausalFindings {
  readonly #check: CausalCheck
  readonly #graph: CausalGraph
  readonly #history: History
  readonly #findings: Findings
  readonly #paths: Paths
  /** For a search within a search. */
  readonly #innerPaths: Paths

  constructor(check: CausalCheck, findings: Findings) {
    this.#check = check
    this.#graph = check.graph
    this.#history = check.graph.history
    this.#findings = findings
    this.#paths = new Paths(check.graph, { isWithSetAside: false, visitsMax })
    this.#innerPaths = new Paths(check.graph, { isWithSetAside: false, visitsMax })
  }

  report(): void {
    for (const cycle of this.#check.cycles) this.#reportCycle(cycle)
    for (const event of this.#check.misplaced) this.#reportMisplaced(event)
    for (const suspect of this.#check.suspects) this.#reportSuspect(suspect)
  }

  /** Every cycle leads over an observation, so the smallest is found from those. */
  #reportCycle(cycle: readonly number[]): void {
    const members = new Set(cycle)
    const paths = new Paths(this.#graph, { isWithSetAside: true, visitsMax })
    let best: Path | undefined
    for (const event of cycle) {
      for (let part = this.#history.eventParts.get(event); part < this.#history.partsEnd(event); part++) {
        const source = this.#graph.writtenBy(part)
        if (!members.has(source)) continue
        const lengthMax = best === undefined ? Infinity : best.hops.length - 2
        const path = paths.shortest(source, (cause) => cause === event, lengthMax)
        if (path !== undefined) best = { from: source, hops: [{ event, by: { part } }, ...path.hops] }
      }
    }
    if (best === undefined) return this.#findings.count()
    const { from, hops } = best
    const chain = new Chain(this.#graph, from)
    chain.follow(hops)
    this.#add('CyclicCO', undefined, chain, () => `line ${this.#lineOf(from)} comes before itself`)
  }

  /** A write has a version that is not above one that comes before it. */
  #reportMisplaced(event: number): void {
    const path = this.#isBusy
      ? undefined
      : this.#paths.shortest(event, (cause) => this.#history.isUpdate(cause) && !this.#isAbove(event, cause))
    if (path === undefined) return this.#findings.count()
    const chain = new Chain(this.#graph, path.from)
    chain.follow(path.hops)
    const shape = shapeOf(path)
    const guarantee = shape === 's' ? 'monotonic writes' : shape === 'rs' ? 'writes follow reads' : undefined
    this.#add('CyclicCF', guarantee, chain, () => {
      const [earlier, later] = [this.#lineOf(path.from), this.#lineOf(event)]
      return `line ${later} comes after line ${earlier}, and its version is not above that one’s`
    })
  }

  #reportSuspect(suspect: Suspect): void {
    const { part, highest, questions } = suspect
    const isPush = this.#history.kindOf(part) === 'push'
    const isOverwritten = questions.some((question) => question.isOverwritten)
    if (!isOverwritten && (isPush || highest === undefined)) return
    if (this.#isBusy) return this.#findings.count()
    const seen = this.#graph.sourceOf(part)
    const fractured = isPush || highest === undefined ? undefined : this.#fracture(part, highest)
    if (fractured !== undefined) return this.#reportFracture(part, seen, fractured)
    if (seen === none) return this.#reportNothing(part)
    if (isOverwritten) return this.#reportOverwritten(part, seen)
    return this.#reportBelow(part, seen)
  }

  /**
   * Looks for a batch whose write a part should have shown, and of which another key was seen in the same event, or
   * earlier in the same session.
   *
   * @param highest of the writes to the key that come before the part, the one with the highest version.
   */
  #fracture(part: number, highest: number): Path | undefined {
    const key = this.#history.partKey.get(part)
    const event = this.#history.partEvent.get(part)
    const isTorn = (witness: number, batch: number): boolean =>
      batch !== none &&
      this.#history.partKey.get(witness) !== key &&
      this.#writes(batch, key) &&
      !this.#isAbove(highest, batch)
    const within = this.#witness(event, isTorn)
    if (within !== undefined) return within
    const session = this.#history.eventSession.get(event)
    const { requests, pushes } = this.#graph
    const before = [
      ...(requests[session] ?? []).slice(0, this.#graph.requestsBefore(event)),
      ...(pushes[session] ?? []).slice(0, this.#graph.pushesBefore(event)),
    ]
    for (const witness of before) {
      const path = this.#witness(witness, isTorn)
      if (path !== undefined) return { ...path, hops: [...path.hops, { event, by: 'session' }] }
    }
    return undefined
  }

  #witness(event: number, isTorn: (part: number, batch: number) => boolean): Path | undefined {
    for (let part = this.#history.eventParts.get(event); part < this.#history.partsEnd(event); part++) {
      const batch = this.#graph.sourceOf(part)
      if (isTorn(part, batch)) return { from: batch, hops: [{ event, by: { part } }] }
    }
    return undefined
  }

  #writes(event: number, key: number): boolean {
    const part = this.#history.partAbout(event, key)
    return part !== none && this.#history.isWriting(part) && this.#graph.attribution.hasHappened(part)
  }

  #reportFracture(part: number, seen: number, path: Path): void {
    const chain = this.#chainFrom(seen, path, part)
    chain.follow(path.hops)
    chain.close(part, seen)
    this.#add('FracturedRead', guaranteeOf(path), chain, () => {
      const key = this.#history.keys.nameOf(this.#history.partKey.get(part))
      return `one write of the batch in line ${this.#lineOf(path.from)} was seen, and of its key ${JSON.stringify(key)} ${seen === none ? 'nothing' : 'something older'}`
    })
  }

  #reportNothing(part: number): void {
    const key = this.#history.partKey.get(part)
    const event = this.#history.partEvent.get(part)
    const path = this.#paths.shortest(event, (cause) => this.#writes(cause, key))
    if (path === undefined) return this.#findings.count()
    const chain = this.#chainFrom(none, path, part)
    chain.follow(path.hops)
    chain.close(part, none)
    this.#add('WriteCOInitRead', guaranteeOf(path), chain, () => {
      return `line ${this.#lineOf(event)} finds nothing, though line ${this.#lineOf(path.from)}, which comes before it, wrote the key`
    })
  }

  /** The write that was seen, then a later one to the same key, then whoever saw the first: the shortest way. */
  #reportOverwritten(part: number, seen: number): void {
    const key = this.#history.partKey.get(part)
    const event = this.#history.partEvent.get(part)
    let best: { readonly first: Path; readonly second: Path } | undefined
    let lengthMax = Infinity
    for (const { event: later, distance } of this.#paths.before(event)) {
      if (distance + 1 > lengthMax) break
      if (later === seen || !this.#writes(later, key)) continue
      const first = this.#innerPaths.shortest(later, (cause) => cause === seen, lengthMax - distance)
      if (first === undefined) continue
      best = { first, second: this.#paths.pathFrom(later, event) }
      lengthMax = distance + first.hops.length - 1
    }
    if (best === undefined) return this.#findings.count()
    const { first, second } = best
    const chain = new Chain(this.#graph, seen, key)
    chain.follow(first.hops)
    chain.mention(second.from, key)
    chain.follow(second.hops)
    chain.close(part, seen)
    this.#add('WriteCORead', guaranteeOf(second), chain, () => {
      return `line ${this.#lineOf(event)} sees what line ${this.#lineOf(seen)} wrote, though line ${this.#lineOf(second.from)} overwrote it and comes before line ${this.#lineOf(event)}`
    })
  }

  #reportBelow(part: number, seen: number): void {
    const key = this.#history.partKey.get(part)
    const event = this.#history.partEvent.get(part)
    const path = this.#paths.shortest(
      event,
      (cause) => this.#writes(cause, key) && this.#isAbove(cause, seen),
    )
    if (path === undefined) return this.#findings.count()
    const chain = this.#chainFrom(seen, path, part)
    chain.follow(path.hops)
    chain.close(part, seen)
    this.#add('CyclicCF', guaranteeOf(path), chain, () => {
      return `line ${this.#lineOf(event)} reads what line ${this.#lineOf(seen)} wrote, though line ${this.#lineOf(path.from)}, which comes before it, has a higher version`
    })
  }

  /** A chain that begins at what was seen, and goes on to a higher version of the same key. */
  #chainFrom(seen: number, path: Path, part: number): Chain {
    const key = this.#history.partKey.get(part)
    if (seen === none) return new Chain(this.#graph, path.from, key)
    const chain = new Chain(this.#graph, seen, key)
    chain.rise(path.from, key)
    return chain
  }

  #add(pattern: Pattern, guarantee: Guarantee | undefined, chain: Chain, message: () => string): void {
    this.#findings.add({
      size: chain.length,
      line: chain.lastLine,
      word: (): Violation => ({
        pattern,
        ...(guarantee === undefined ? {} : { guarantee }),
        message: message(),
        steps: chain.steps(),
      }),
    })
  }

  get #isBusy(): boolean {
    return this.#findings.hasEnough || this.#paths.isExhausted || this.#innerPaths.isExhausted
  }

  #lineOf(event: number): number {
    return this.#history.eventLine.get(event)
  }

  #isAbove(a: number, b: number): boolean {
    const { attribution } = this.#graph
    return this.#history.versions.isAbove(attribution.versionOf(a), attribution.versionOf(b))
  }
}

/** Enough for every violation that a person would want to look at, and seconds of work at most. */
const visitsMax = 30_000_000

/** A path in letters: `s` for session order, `r` for having seen a write. */
function shapeOf({ hops }: Path): string {
  return hops.map(({ by }) => (by === 'session' ? 's' : 'r')).join('')
}

/** What a path from a write to a read that should have shown it says of the guarantees of sessions. */
function guaranteeOf(path: Path): Guarantee | undefined {
  const shape = shapeOf(path)
  switch (shape) {
    case 's':
      return 'read your writes'
    case 'rs':
      return 'monotonic reads'
    case 'srs':
      return 'monotonic writes'
    case 'rsrs':
      return 'writes follow reads'
    default:
      return shape.endsWith('r') ? 'causal snapshot' : undefined
  }
}

/** The steps of a violation, put together event by event. */
class Chain {
  readonly #graph: CausalGraph
  readonly #links: { readonly event: number; readonly parts: Set<number>; because: string }[] = []

  /** @param key the one that matters of the first event, if it is known. */
  constructor(graph: CausalGraph, event: number, key: number = none) {
    this.#graph = graph
    this.#links.push({ event, parts: new Set(), because: '' })
    if (key !== none) this.mention(event, key)
  }

  get length(): number {
    return this.#links.length
  }

  get lastLine(): number {
    return this.#graph.history.eventLine.get(this.#links.at(-1)?.event ?? 0)
  }

  follow(hops: readonly Hop[]): void {
    for (const { event, by } of hops) {
      const before = this.#links.at(-1)
      const line = before === undefined ? 0 : this.#graph.history.eventLine.get(before.event)
      if (by === 'session') {
        this.#links.push({ event, parts: new Set(), because: `session order: after line ${line}` })
      } else {
        before?.parts.add(this.#graph.attribution.writerOf(by.part))
        const verb = this.#graph.history.isPush(event) ? 'was told' : 'reads'
        this.#links.push({ event, parts: new Set([by.part]), because: `${verb} what line ${line} wrote` })
      }
    }
  }

  /** Goes on to a write of the same key with a higher version. */
  rise(event: number, key: number): void {
    const before = this.#links.at(-1)?.event ?? event
    const [low, high] = [this.#showVersion(before), this.#showVersion(event)]
    this.#links.push({ event, parts: new Set(), because: `version order: ${high} is above ${low}` })
    this.mention(event, key)
  }

  /** What an event did to a key matters here. */
  mention(event: number, key: number): void {
    this.#links.find((link) => link.event === event)?.parts.add(this.#graph.history.partAbout(event, key))
  }

  /** The last event saw something that it should not have. */
  close(part: number, seen: number): void {
    const last = this.#links.at(-1)
    if (last === undefined) return
    last.parts.add(part)
    const line = seen === none ? 0 : this.#graph.history.eventLine.get(seen)
    const verb = this.#graph.history.isPush(last.event) ? 'is told' : 'reads'
    last.because += seen === none ? ', and finds nothing' : `, and ${verb} what line ${line} wrote`
  }

  steps(): readonly Step[] {
    const { history } = this.#graph
    return this.#links.map(({ event, parts, because }) => {
      const told = parts.size > 0 ? [...parts].sort((a, b) => a - b) : this.#allParts(event)
      return { line: history.eventLine.get(event), event: history.lineOf(event, told), because }
    })
  }

  #allParts(event: number): readonly number[] {
    const first = this.#graph.history.eventParts.get(event)
    const end = this.#graph.history.partsEnd(event)
    return Array.from({ length: end - first }, (_, index) => first + index)
  }

  #showVersion(event: number): string {
    const { attribution, history } = this.#graph
    return JSON.stringify(history.versions.versionOf(attribution.versionOf(event)))
  }
}
