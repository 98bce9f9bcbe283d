import { nobody } from './attribution.ts'
import type { CausalGraph } from './causal-graph.ts'
import type { CausalPast } from './causal-past.ts'
import { CausalRun, isBefore, reachBefore } from './causal-run.ts'
import { Column } from './column.ts'
import { none } from './history.ts'
import { highestOf, KeyWrites, lastWithin } from './key-writes.ts'

/** What a part saw although it should not have, or may not have. */
export interface Suspect {
  readonly part: number
  /** The write to the same key with the highest version of those that come before the part and are above what it saw. */
  readonly highest: number | undefined
  /** Writes to the same key, each before the part: does what the part saw come before one of them? */
  readonly questions: Question[]
}

export interface Question {
  /** The write that was seen. */
  readonly seen: number
  /** A write that comes before whoever saw that. */
  readonly later: number
  /** Whether the first comes before the second. */
  isOverwritten: boolean
}

/**
 * Whether what was seen agrees with the causal order and with the order of versions, for a whole history in two runs.
 *
 * The first run compares what each part saw with the writes before it. Where the order of versions agrees with the
 * causal order, whatever was overwritten has a lower version than what overwrote it, so only what has a higher version
 * matters; and a key for which they disagree is *doubted*, and everything seen of it is looked at. Whether one write
 * comes before another can be told when the run is at the second: so the second run answers the questions that the first
 * has left.
 */
export class CausalCheck {
  readonly graph: CausalGraph
  readonly cycles: readonly (readonly number[])[]
  /** Writes whose version is not above all versions that come before them. */
  readonly misplaced: number[] = []
  /** In the order in which they were met. */
  readonly suspects: Suspect[] = []
  readonly #writes: KeyWrites
  readonly #doubtedKeys = new Set<number>()
  /** The questions about each later write, in lists. */
  readonly #questions: Question[] = []
  readonly #nextQuestion = new Column()
  readonly #firstQuestion: Column
  /** Of each session, the last write that was pushed and was news. */
  readonly #lastNews: Column

  constructor(graph: CausalGraph) {
    this.graph = graph
    this.#writes = new KeyWrites(graph)
    this.#firstQuestion = new Column(graph.history.eventCount, none)
    this.#lastNews = new Column(graph.history.sessions.size, none)
    this.cycles = new CausalRun(graph, {
      visit: (event, past, latest, before) => {
        if (graph.history.isUpdate(event)) this.#takeUpdate(event, past, latest)
        else if (!graph.history.isPush(event)) this.#takeObservations(event, past)
        else if (!this.#isNews(event, before)) this.#takeObservations(event, past)
      },
    }).run()
    if (this.#questions.length === 0) return
    new CausalRun(graph, { visit: (event, past) => this.#answer(event, past) }).run()
  }

  #takeUpdate(event: number, past: CausalPast, latest: number): void {
    const { history } = this.graph
    const isMisplaced = latest !== none && !this.#isAbove(event, latest)
    if (isMisplaced) this.misplaced.push(event)
    for (let part = history.eventParts.get(event); part < history.partsEnd(event); part++) {
      if (!this.graph.attribution.hasHappened(part)) continue
      const key = history.partKey.get(part)
      if (isMisplaced && this.#hasHigherBefore(key, event, past)) this.#doubtedKeys.add(key)
      this.#writes.add(key, event)
    }
  }

  /** Whether a write to a key that comes before another has a version that is not below that one's. */
  #hasHigherBefore(key: number, event: number, past: CausalPast): boolean {
    for (let writes = this.#writes.firstOf(key); writes !== undefined; writes = writes.next) {
      if (this.#isAbove(event, highestOf(writes))) return false
      const last = lastWithin(writes, reachBefore(this.graph, writes.strand, event, past))
      if (last >= 0 && !this.#isAbove(event, writes.highest[last] as number)) return true
    }
    return false
  }

  /**
   * Whether a push told its watcher of a write that nothing which it had been told came after; then it cannot have been told
   * of one that overwrote it. So it is with nearly all pushes, and they are not looked at any closer.
   */
  #isNews(push: number, before: CausalPast): boolean {
    const source = this.graph.sourceOf(this.graph.history.eventParts.get(push))
    if (source === none) return false
    const session = this.graph.history.eventSession.get(push)
    // The pushes of one update follow each other, and what comes before it has not overwritten it.
    if (this.#lastNews.get(session) === source) return true
    if (isBefore(this.graph, source, push, before)) return false
    this.#lastNews.set(session, source)
    return true
  }

  #takeObservations(event: number, past: CausalPast): void {
    const { history } = this.graph
    for (let part = history.eventParts.get(event); part < history.partsEnd(event); part++) {
      const writer = this.graph.attribution.writerOf(part)
      if (writer === nobody || this.graph.isSetAside(part)) continue
      if (writer === none) this.#takeNothing(part, event, past)
      else this.#takeSeen(part, event, past)
    }
  }

  /** A part found nothing. */
  #takeNothing(part: number, event: number, past: CausalPast): void {
    const key = this.graph.history.partKey.get(part)
    let highest: number | undefined
    for (let writes = this.#writes.firstOf(key); writes !== undefined; writes = writes.next) {
      const last = lastWithin(writes, reachBefore(this.graph, writes.strand, event, past))
      if (last < 0) continue
      const write = writes.highest[last] as number
      if (highest === undefined || this.#isAbove(write, highest)) highest = write
    }
    if (highest !== undefined) this.suspects.push({ part, highest, questions: [] })
  }

  /** A part saw a write. */
  #takeSeen(part: number, event: number, past: CausalPast): void {
    const seen = this.graph.sourceOf(part)
    const key = this.graph.history.partKey.get(part)
    const isDoubted = this.#doubtedKeys.has(key)
    const questions: Question[] = []
    let highest: number | undefined
    for (let writes = this.#writes.firstOf(key); writes !== undefined; writes = writes.next) {
      if (!isDoubted && !this.#isAbove(highestOf(writes), seen)) break
      const last = lastWithin(writes, reachBefore(this.graph, writes.strand, event, past))
      if (last < 0) continue
      const write = writes.highest[last] as number
      if (this.#isAbove(write, highest ?? seen)) highest = write
      const later = writes.events[last] as number
      if (later !== seen) questions.push(this.#ask(seen, later))
    }
    if (highest !== undefined || questions.length > 0) this.suspects.push({ part, highest, questions })
  }

  #ask(seen: number, later: number): Question {
    const question: Question = { seen, later, isOverwritten: false }
    this.#nextQuestion.push(this.#firstQuestion.get(later))
    this.#firstQuestion.set(later, this.#questions.length)
    this.#questions.push(question)
    return question
  }

  #answer(event: number, past: CausalPast): void {
    for (
      let number = this.#firstQuestion.get(event);
      number !== none;
      number = this.#nextQuestion.get(number)
    ) {
      const question = this.#questions[number] as Question
      question.isOverwritten = isBefore(this.graph, question.seen, event, past)
    }
  }

  #isAbove(a: number, b: number): boolean {
    const { attribution, history } = this.graph
    return history.versions.isAbove(attribution.versionOf(a), attribution.versionOf(b))
  }
}
