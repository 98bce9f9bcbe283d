import type { RequestLimits } from './configuration.ts'
import type { KeptAnswer, RequestStamp, SessionRecord } from './messages.ts'
import { compareVersions, type Version } from './version.ts'

/** What is known of a request before it is carried out (R10). */
export type Recognition =
  /** It is to be carried out. */
  | { readonly kind: 'new' }
  /** It was carried out before, and this was the answer. */
  | { readonly kind: 'known'; readonly version: Version }
  /** Its session has used its number for other writes. */
  | { readonly kind: 'other' }
  /** It may have been carried out before: it must not be now. */
  | { readonly kind: 'unknown' }

/**
 * The first answers to the requests of clients, by which a retry is recognised (R10). It is filled by the updates
 * that are applied, wherever they were taken, so that any server that has applied a write recognises it.
 *
 * Of a session, the answers to its highest numbers are kept, and the highest number that was let go. Nothing is known
 * at or below that, and so nothing at or below it is ever carried out: letting go makes an outcome unknown, and never
 * a write happen twice.
 *
 * Invariants:
 * - The answers of a session are sorted by number, no number twice, and all numbers are above its `letGo`, which only
 *   rises.
 * - Of all answers to one request that came here while it was not let go, the lowest version is kept. There can be
 *   several, where a client had it carried out again; so all replicas end with the same.
 * - Every answer is in `#answers`, in the order in which the numbers were first recorded, and every session in
 *   `#sessions`, in the order in which they last changed: `changed` rises along it.
 *
 * A session that is forgotten, because others came, is forgotten with its `letGo`. Only then can a retry be carried
 * out a second time, and only one that does not say that it is a retry, or that asks for just that.
 *
 * Recording costs O(log n), and the shifting of at most a session's answers where the number is not its highest.
 */
export class RequestTable {
  readonly #byName = new Map<string, Session>()
  readonly #sessions = new LinkedList<Session>()
  readonly #answers = new LinkedList<Answer>()
  readonly #limits: RequestLimits
  #changes = 0
  #forgotten: string[] = []

  /** @param limits each at least 1. */
  constructor(limits: RequestLimits) {
    this.#limits = limits
  }

  get sessionCount(): number {
    return this.#sessions.length
  }

  /** How many answers are kept, of all sessions. */
  get answerCount(): number {
    return this.#answers.length
  }

  /** @param fingerprint of the request's writes. */
  recognise(stamp: RequestStamp, fingerprint: number): Recognition {
    const session = this.#byName.get(stamp.session)
    if (session !== undefined) {
      if (stamp.number <= session.letGo) return { kind: 'unknown' }
      const answer = session.answers[firstAtLeast(session.answers, stamp.number)]
      if (answer?.number === stamp.number) {
        return answer.fingerprint === fingerprint
          ? { kind: 'known', version: answer.version }
          : { kind: 'other' }
      }
    }
    return stamp.retry === true ? { kind: 'unknown' } : { kind: 'new' }
  }

  /** An update that carried out a request was applied. Comes for each, in the order of application. */
  record(
    request: { readonly session: string; readonly number: number },
    version: Version,
    fingerprint: number,
  ): void {
    const session = this.#byName.get(request.session) ?? this.#add(request.session)
    if (this.#keep(session, request.number, version, fingerprint)) this.#touch(session)
  }

  /** What is kept of one session, the answers by number. */
  sessionRecord(name: string): SessionRecord | undefined {
    const session = this.#byName.get(name)
    return session === undefined ? undefined : recordOf(session)
  }

  /**
   * Sessions that were forgotten since this was last asked, for whoever keeps copies of their records. They may have
   * come back since; and where nobody asks, no more are listed than sessions may be kept.
   */
  takeForgotten(): readonly string[] {
    const forgotten = this.#forgotten
    this.#forgotten = []
    return forgotten
  }

  /**
   * What is kept of all sessions, in the order in which they last changed. A session that changes while this is being
   * consumed comes, or comes again, at the end; one that is forgotten before its turn does not come. To let an answer
   * go for the sake of another session is no change: whoever was told of it knows more, and that is no harm.
   *
   * A reader that takes its time holds no memory. If the session where it stopped has changed since, it goes
   * through the list once to find its place.
   */
  *sessions(): Generator<SessionRecord, void, undefined> {
    let session = this.#sessions.first
    while (session !== undefined) {
      const { changed } = session
      yield recordOf(session)
      session = session.changed === changed ? session.next : this.#firstChangedAfter(changed)
    }
  }

  /**
   * Takes in what another replica, or a disk, has kept of a session: all answers of both that neither has let go.
   * In any order, and any number of times, it comes to the same, as far as the bounds allow.
   */
  merge(record: SessionRecord): void {
    if (record.letGo === 0 && record.answers.length === 0) return
    const session = this.#byName.get(record.session) ?? this.#add(record.session)
    let isChanged = record.letGo > session.letGo
    if (isChanged) this.#letGo(session, record.letGo)
    for (const { number, version, fingerprint } of record.answers) {
      if (this.#keep(session, number, version, fingerprint)) isChanged = true
    }
    if (isChanged) this.#touch(session)
  }

  #add(name: string): Session {
    const session: Session = {
      name,
      letGo: 0,
      answers: [],
      changed: ++this.#changes,
      previous: undefined,
      next: undefined,
    }
    this.#byName.set(name, session)
    this.#sessions.append(session)
    const oldest = this.#sessions.first
    if (oldest !== undefined && this.#sessions.length > this.#limits.sessionsMax) this.#forget(oldest)
    return session
  }

  #touch(session: Session): void {
    session.changed = ++this.#changes
    this.#sessions.remove(session)
    this.#sessions.append(session)
  }

  #forget(session: Session): void {
    for (const answer of session.answers) this.#answers.remove(answer)
    session.answers = []
    session.changed = 0
    if (this.#forgotten.length < this.#limits.sessionsMax) this.#forgotten.push(session.name)
    this.#byName.delete(session.name)
    this.#sessions.remove(session)
  }

  /** @returns whether it was news. */
  #keep(session: Session, number: number, version: Version, fingerprint: number): boolean {
    if (number <= session.letGo) return false
    const { answers } = session
    const index = firstAtLeast(answers, number)
    const known = answers[index]
    if (known?.number === number) {
      if (compareVersions(version, known.version) >= 0) return false
      known.version = version
      known.fingerprint = fingerprint
      return true
    }
    const answer: Answer = { number, version, fingerprint, session, previous: undefined, next: undefined }
    if (index === answers.length) answers.push(answer)
    else answers.splice(index, 0, answer)
    this.#answers.append(answer)
    const lowest = answers[0]
    if (lowest !== undefined && answers.length > this.#limits.answersPerSessionMax) {
      this.#letGo(session, lowest.number)
    }
    const oldest = this.#answers.first
    if (oldest !== undefined && this.#answers.length > this.#limits.answersMax) {
      this.#letGo(oldest.session, oldest.number)
    }
    return true
  }

  /** Lets go of the answers up to a number, which is above what was let go before. */
  #letGo(session: Session, number: number): void {
    session.letGo = number
    const { answers } = session
    let count = 0
    for (const answer of answers) {
      if (answer.number > number) break
      this.#answers.remove(answer)
      count++
    }
    if (count === 1) answers.shift()
    else answers.splice(0, count)
  }

  #firstChangedAfter(changed: number): Session | undefined {
    let session = this.#sessions.first
    while (session !== undefined && session.changed <= changed) session = session.next
    return session
  }
}

interface Session extends Linked<Session> {
  readonly name: string
  letGo: number
  answers: Answer[]
  /** Rises with every change, over all sessions; 0 once it is forgotten. */
  changed: number
}

/** One object per answer holds everything, its places in both orders too: there may be hundreds of thousands. */
interface Answer extends Linked<Answer> {
  readonly session: Session
  readonly number: number
  version: Version
  fingerprint: number
}

function recordOf({ name, letGo, answers }: Session): SessionRecord {
  return { session: name, letGo, answers: answers.map(answerOf) }
}

function answerOf({ number, version, fingerprint }: Answer): KeptAnswer {
  return { number, version, fingerprint }
}

/** The index of the first answer to that number or one above it; most requests have the highest so far. */
function firstAtLeast(answers: readonly Answer[], number: number): number {
  const last = answers.at(-1)
  if (last === undefined || last.number < number) return answers.length
  let low = 0
  let high = answers.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((answers[middle] as Answer).number < number) low = middle + 1
    else high = middle
  }
  return low
}

/** What an item of a {@link LinkedList} knows of its neighbours. */
interface Linked<Item> {
  previous: Item | undefined
  next: Item | undefined
}

/**
 * A list that any of its items can be taken out of at once. (A `Map` has an order too, but to find its first entry it
 * passes over all that were deleted before it.)
 */
class LinkedList<Item extends Linked<Item>> {
  #first: Item | undefined
  #last: Item | undefined
  #length = 0

  get first(): Item | undefined {
    return this.#first
  }

  get length(): number {
    return this.#length
  }

  /** Adds an item that is in no list. */
  append(item: Item): void {
    item.previous = this.#last
    item.next = undefined
    if (this.#last === undefined) this.#first = item
    else this.#last.next = item
    this.#last = item
    this.#length++
  }

  /** Takes out an item of this list. */
  remove(item: Item): void {
    if (item.previous === undefined) this.#first = item.next
    else item.previous.next = item.next
    if (item.next === undefined) this.#last = item.previous
    else item.next.previous = item.previous
    item.previous = undefined
    item.next = undefined
    this.#length--
  }
}
