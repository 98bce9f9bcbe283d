import { versionKey } from './questions.ts'
import type { ServerId, Version } from './version.ts'

/**
 * Asks every member for its cut, before a version is called lost (R9).
 *
 * What was last heard of a peer's cut is a moment old. Only when each has answered a question that was asked after
 * the doubt arose, and still none shows the version or says that it has it waiting, does nobody have it. Who answers says
 * by that that it reaches all whom it knows of; so nobody is passed over whom only one of the others knows. One enquiry
 * is under way at a time; what comes to be doubted meanwhile waits for the next.
 */
export class Enquiry<Doubt> {
  #open:
    | { readonly number: number; readonly unanswered: Set<ServerId>; readonly deadlineMs: number }
    | undefined
  #doubts: readonly Doubt[] = []
  #known = new Set<string>()

  get isOpen(): boolean {
    return this.#open !== undefined
  }

  begin(question: {
    readonly number: number
    readonly asked: Iterable<ServerId>
    readonly doubts: readonly Doubt[]
    readonly deadlineMs: number
  }): void {
    const { number, asked, doubts, deadlineMs } = question
    this.#open = { number, unanswered: new Set(asked), deadlineMs }
    this.#doubts = doubts
    this.#known = new Set()
  }

  /** @param versions those of the doubted ones that the server has, applied or waiting. */
  answer(from: ServerId, number: number, versions: Iterable<Version>): void {
    if (this.#open?.number !== number || !this.#open.unanswered.delete(from)) return
    for (const version of versions) this.#known.add(versionKey(version))
  }

  /** Whether anybody has said that it has a version, in the enquiry that was settled last. */
  isKnown(version: Version): boolean {
    return this.#known.has(versionKey(version))
  }

  /** A member is gone: it can no longer be said that all were asked. */
  abandon(): void {
    this.#open = undefined
    this.#doubts = []
  }

  /** @returns what was doubted, once, when all have answered; nothing before that, or where one has not in time. */
  takeSettled(nowMs: number): readonly Doubt[] {
    if (this.#open === undefined) return []
    const isSettled = this.#open.unanswered.size === 0
    if (!isSettled && nowMs < this.#open.deadlineMs) return []
    const doubts = this.#doubts
    this.abandon()
    return isSettled ? doubts : []
  }
}
