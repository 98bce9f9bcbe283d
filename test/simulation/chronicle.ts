import type { Siblings } from '../../src/replica/key-space.ts'
import type { Cut } from '../../src/replica/cut.ts'
import type { Output } from '../../src/replica/output.ts'
import type { Replica } from '../../src/replica/replica.ts'
import { dependenciesOf, type Update, type Write } from '../../src/replica/update.ts'
import { compareVersions, type Origin, type Version } from '../../src/replica/version.ts'
import type { Violations } from './violations.ts'

/**
 * Everything that was ever written in a run, and what had happened before it; kept by somebody who looks on.
 *
 * It knows of each process how many updates of each origin it has applied, and of each update how many its process had
 * applied of each when it took it. That is happened-before in Lamport's sense, counted and not told: no timestamp,
 * `previous` or dependency enters into it. From that alone it says what may be applied next (R3), what a key's siblings are
 * (R5), and what an update's dependencies have to be (R2).
 */
export class Chronicle {
  readonly #violations: Violations
  readonly #indexes = new Map<Origin, number>()
  /** By the index of the origin: its updates in the order in which it issued them. */
  readonly #facts: Fact[][] = []
  readonly #byTimestamp: Map<number, Fact>[] = []
  /** By session and number of a request: the updates that carried it out (R10). */
  readonly #carriedOut = new Map<string, Fact>()
  /** By session: the highest number that was carried out. */
  readonly #latest = new Map<string, number>()
  readonly #byKey = new Map<string, Fact[]>()
  #count = 0

  constructor(violations: Violations) {
    this.#violations = violations
  }

  /** How many updates there have been. */
  get count(): number {
    return this.#count
  }

  *facts(): Generator<Fact, void, undefined> {
    for (const facts of this.#facts) yield* facts
  }

  /** The update of a version; undefined where nobody has ever issued it. */
  find(version: Version): Fact | undefined {
    const index = this.#indexes.get(version.origin)
    return index === undefined ? undefined : this.#byTimestamp[index]?.get(version.timestamp)
  }

  carriedOut(session: string, number: number): Fact | undefined {
    return this.#carriedOut.get(`${session} ${number}`)
  }

  /** Whether a later request of the same session was carried out, so that the answer to this one may have been let go. */
  isFollowed(session: string, number: number): boolean {
    return (this.#latest.get(session) ?? 0) > number
  }

  /** Whether some other update of a key, that a view has, had seen this one: so it is no sibling there. */
  isOverwritten(fact: Fact, key: string, view: View): boolean {
    return this.#byKey.get(key)?.some((other) => covers(view, other) && happenedBefore(fact, other)) === true
  }

  /** Whether a view has an update; what was never issued, nobody has. */
  has(view: View, version: Version): boolean {
    const fact = this.find(version)
    return fact !== undefined && covers(view, fact)
  }

  /** What a cut covers, counted. */
  viewOf(cut: Cut): View {
    const view: View = []
    for (const [origin, timestamp] of cut) {
      const fact = this.find({ origin, timestamp })
      if (fact === undefined) {
        this.#violations.add('R1', `a cut names update ${timestamp} of ${origin}, which was never issued`)
        continue
      }
      view[fact.originIndex] = fact.sequence
    }
    return view
  }

  /** The cut that covers a view. */
  cutOf(view: View): Map<Origin, number> {
    const cut = new Map<Origin, number>()
    for (const [originIndex, sequence] of view.entries()) {
      const fact = this.#facts[originIndex]?.[(sequence ?? 0) - 1]
      if (fact !== undefined) cut.set(fact.update.origin, fact.update.timestamp)
    }
    return cut
  }

  /** An update was applied at a process, which had applied `view` before. It is added to the view. */
  apply(who: string, own: Origin, view: View, update: Update): Fact | undefined {
    const known = this.find(update)
    if (known === undefined) {
      if (update.origin === own) return this.#issue(who, view, update)
      this.#violations.add('R1', `${who} applied ${nameOf(update)}, which nobody issued`)
      return undefined
    }
    if (known.update !== update && JSON.stringify(known.update) !== JSON.stringify(update)) {
      this.#violations.add('R1', `${who} applied ${nameOf(update)} with other contents than were issued`)
    }
    const { originIndex, sequence, past } = known
    const before = view[originIndex] ?? 0
    if (before >= sequence) this.#violations.add('R3', `${who} applied ${nameOf(update)} twice`)
    else if (before < sequence - 1) {
      this.#violations.add('R3', `${who} applied ${nameOf(update)} before an earlier one of its origin`)
    }
    for (let index = 0; index < past.length; index++) {
      if (index === originIndex || (view[index] ?? 0) >= (past[index] as number)) continue
      const cause = this.#facts[index]?.[(past[index] as number) - 1]
      const name = cause === undefined ? 'a cause' : nameOf(cause.update)
      this.#violations.add('R3', `${who} applied ${nameOf(update)} before its cause ${name}`)
      break
    }
    view[originIndex] = Math.max(before, sequence)
    return known
  }

  #issue(who: string, view: View, update: Update): Fact {
    const { origin, timestamp, request } = update
    let originIndex = this.#indexes.get(origin)
    if (originIndex === undefined) {
      originIndex = this.#facts.length
      this.#indexes.set(origin, originIndex)
      this.#facts.push([])
      this.#byTimestamp.push(new Map())
    }
    const facts = this.#facts[originIndex] as Fact[]
    const past = new Int32Array(view.length)
    for (let index = 0; index < view.length; index++) past[index] = view[index] ?? 0
    const fact: Fact = {
      update,
      originIndex,
      sequence: facts.length + 1,
      past,
      isExcused: false,
      isRevealed: false,
    }
    this.#checkStamp(who, fact, facts.at(-1))
    facts.push(fact)
    this.#byTimestamp[originIndex]?.set(timestamp, fact)
    this.#count++
    for (const { key } of update.writes) {
      const ofKey = this.#byKey.get(key)
      if (ofKey === undefined) this.#byKey.set(key, [fact])
      else ofKey.push(fact)
    }
    view[originIndex] = fact.sequence
    if (request !== undefined) {
      const name = `${request.session} ${request.number}`
      const first = this.#carriedOut.get(name)
      if (first !== undefined) {
        const both = `${nameOf(first.update)} and ${nameOf(update)}`
        this.#violations.add('R10', `request ${name} was carried out as ${both}`)
      }
      this.#carriedOut.set(name, fact)
      this.#latest.set(request.session, Math.max(request.number, this.#latest.get(request.session) ?? 0))
    }
    return fact
  }

  /** R1 and R2, from what had been applied and not from what anybody says. */
  #checkStamp(who: string, fact: Fact, before: Fact | undefined): void {
    const { update, past, originIndex } = fact
    let clock = 0
    const expected = new Map<Origin, number>()
    for (let index = 0; index < past.length; index++) {
      const last = this.#facts[index]?.[(past[index] as number) - 1]
      if (last === undefined) continue
      const { origin, timestamp } = last.update
      clock = Math.max(clock, timestamp)
      if (index !== originIndex && (past[index] as number) > (before?.past[index] ?? 0))
        expected.set(origin, timestamp)
    }
    if (update.timestamp !== clock + 1) {
      this.#violations.add('R1', `${who} stamped ${nameOf(update)}, and its clock was ${clock}`)
    }
    if (update.previous !== (before?.update.timestamp ?? 0)) {
      this.#violations.add('R2', `${nameOf(update)} names ${update.previous} as the one before it`)
    }
    const named = dependenciesOf(update)
    const isExact =
      named.length === expected.size && named.every(([origin, time]) => expected.get(origin) === time)
    if (!isExact) {
      const told = JSON.stringify(Object.fromEntries(expected))
      this.#violations.add(
        'R2',
        `${nameOf(update)} depends on ${JSON.stringify(update.dependencies)}, not on ${told}`,
      )
    }
  }

  /** Updates that `to` has and `from` has not, causes first. */
  between(from: View, to: View): readonly Fact[] {
    const risen: Fact[] = []
    for (const [index, count] of to.entries()) {
      const facts = this.#facts[index] as Fact[]
      for (let sequence = from[index] ?? 0; sequence < (count ?? 0); sequence++)
        risen.push(facts[sequence] as Fact)
    }
    return risen.sort((a, b) => compareVersions(a.update, b.update))
  }

  /** Whether a view has all causes of all that it has. */
  isClosed(view: View): boolean {
    for (const [index, count] of view.entries()) {
      const last = this.#facts[index]?.[(count ?? 0) - 1]
      if (
        last !== undefined &&
        !last.past.every((needed, other) => other === index || (view[other] ?? 0) >= needed)
      ) {
        return false
      }
    }
    return true
  }

  /** Copies of updates were destroyed: what no disk and no process has any more need not be in the end state. */
  excuse(before: readonly View[], after: readonly View[]): void {
    for (const [index, facts] of this.#facts.entries()) {
      const most = highest(before, index)
      for (let sequence = highest(after, index); sequence < most; sequence++)
        (facts[sequence] as Fact).isExcused = true
    }
  }
}

/** One update, and what had happened before it. */
export interface Fact {
  readonly update: Update
  readonly originIndex: number
  /** Which of its origin's updates it is, from 1. */
  readonly sequence: number
  /** How many updates of each origin its process had applied when it issued this one. */
  readonly past: Int32Array
  /** A fault has destroyed every copy that there was. */
  isExcused: boolean
  /** A client has been shown it: in an acknowledgement, a read or a push. */
  isRevealed: boolean
}

/** How many updates of each origin somebody has, by the origin's index. */
export type View = number[]

export function covers(view: View, fact: Fact): boolean {
  return (view[fact.originIndex] ?? 0) >= fact.sequence
}

export function happenedBefore(fact: Fact, later: Fact): boolean {
  const count =
    fact.originIndex === later.originIndex ? later.sequence - 1 : (later.past[fact.originIndex] ?? 0)
  return count >= fact.sequence
}

export function nameOf({ timestamp, origin }: Version): string {
  return `${timestamp}@${origin}`
}

function highest(views: readonly View[], index: number): number {
  return views.reduce((most, view) => Math.max(most, view[index] ?? 0), 0)
}

/**
 * What one process has applied, and what its keys hold by that: the model that its replica is compared with after every step.
 */
export class Witness {
  readonly view: View
  readonly #who: string
  readonly #own: Origin
  readonly #chronicle: Chronicle
  readonly #violations: Violations
  readonly #siblings = new Map<string, Fact[]>()

  /** @param options.view what the process begins with. */
  constructor(options: {
    readonly who: string
    readonly origin: Origin
    readonly chronicle: Chronicle
    readonly violations: Violations
    readonly view: View
  }) {
    this.#who = options.who
    this.#own = options.origin
    this.#chronicle = options.chronicle
    this.#violations = options.violations
    this.view = []
    this.#raise(options.view)
  }

  /** The key's siblings, in no order. */
  siblingsOf(key: string): readonly Fact[] {
    return this.#siblings.get(key) ?? []
  }

  /** A step was made. Compares what it says with what has to be. */
  step(output: Output, replica: Replica): void {
    if (output.persist.length === 0 && output.stage.length === 0) return
    const touched = new Set<string>()
    for (const { update } of output.persist) {
      const fact = this.#chronicle.apply(this.#who, this.#own, this.view, update)
      if (fact === undefined) continue
      this.#write(fact)
      for (const { key } of update.writes) touched.add(key)
    }
    for (const item of output.stage) {
      if (item.kind === 'install') for (const key of this.#install(item.applied)) touched.add(key)
    }
    for (const key of touched) this.compare(key, replica.siblingsOf(key))
  }

  /** Everything there is. */
  compareAll(replica: Replica): void {
    const applied = this.#chronicle.viewOf(replica.applied)
    const length = Math.max(applied.length, this.view.length)
    for (let index = 0; index < length; index++) {
      if ((applied[index] ?? 0) === (this.view[index] ?? 0)) continue
      const isLess = (applied[index] ?? 0) < (this.view[index] ?? 0)
      this.#violations.add(
        'R6',
        `${this.#who} has applied ${isLess ? 'less' : 'more'} than its steps and its disk say`,
      )
    }
    let count = 0
    for (const [key, siblings] of replica.entries()) {
      count++
      this.compare(key, siblings)
    }
    if (count !== this.#siblings.size) {
      this.#violations.add('R5', `${this.#who} has ${count} keys, and ${this.#siblings.size} were written`)
    }
  }

  compare(key: string, siblings: Siblings | undefined): void {
    const expected = this.siblingsOf(key)
    let isExact = (siblings?.length ?? 0) === expected.length
    let before: Version | undefined
    for (const sibling of siblings ?? []) {
      const { version } = sibling
      const fact = expected.find(
        ({ update }) => update.timestamp === version.timestamp && update.origin === version.origin,
      )
      const write = fact?.update.writes.find((one) => one.key === key)
      isExact &&= write !== undefined && isSameContent(write, sibling)
      isExact &&= before === undefined || compareVersions(before, version) > 0
      before = version
    }
    if (isExact) return
    const told = (siblings ?? []).map(({ version }) => nameOf(version)).join(', ')
    const wanted = expected.map(({ update }) => nameOf(update)).join(', ')
    this.#violations.add('R5', `${this.#who} holds [${told}] of ${key}, where the siblings are [${wanted}]`)
  }

  /** A snapshot was taken in: all that its cut covers has been applied, at once. @returns the keys that it may have changed. */
  #install(applied: Cut): ReadonlySet<string> {
    const changed = this.#raise(this.#chronicle.viewOf(applied))
    if (!this.#chronicle.isClosed(this.view)) {
      this.#violations.add('R8', `${this.#who} took in a snapshot that lacks causes of what it has`)
    }
    return changed
  }

  #raise(to: View): ReadonlySet<string> {
    const changed = new Set<string>()
    for (const fact of this.#chronicle.between(this.view, to)) {
      this.#write(fact)
      for (const { key } of fact.update.writes) changed.add(key)
    }
    for (const [index, count] of to.entries()) this.view[index] = Math.max(this.view[index] ?? 0, count ?? 0)
    return changed
  }

  /** What an update has seen it overwrites, and what has seen it has overwritten it. */
  #write(fact: Fact): void {
    for (const { key } of fact.update.writes) {
      const before = this.#siblings.get(key)
      if (before === undefined) {
        this.#siblings.set(key, [fact])
        continue
      }
      if (before.some((other) => happenedBefore(fact, other))) continue
      const kept = before.filter((other) => !happenedBefore(other, fact))
      kept.push(fact)
      this.#siblings.set(key, kept)
    }
  }
}

function isSameContent(
  write: Write,
  sibling: { readonly value?: unknown; readonly deleted?: true },
): boolean {
  return write.deleted === true
    ? sibling.deleted === true
    : sibling.deleted !== true && write.value === sibling.value
}
