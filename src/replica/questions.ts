import type { ClientId } from './input.ts'
import type { PeerMessage } from './messages.ts'
import { compareVersions, type ServerId, type Version } from './version.ts'

/** A `why` that waits for what the other servers know. */
export interface Question {
  readonly client: ClientId
  readonly id: number
  readonly key: string
  readonly deadlineMs: number
  /** Servers that have not answered yet. */
  readonly unanswered: Set<ServerId>
  /** Versions of the key that somebody has applied, the highest first, each once. */
  readonly siblings: Version[]
  /** What each version wrote, by {@link versionKey}. */
  readonly keysOf: Map<string, readonly string[]>
}

/** The questions that are open. Each is closed by its last answer or by its deadline, whichever is first. */
export class Questions {
  readonly #open = new Map<number, Question>()
  #next = 1

  ask(options: {
    readonly client: ClientId
    readonly id: number
    readonly key: string
    readonly deadlineMs: number
    readonly asked: Iterable<ServerId>
  }): { readonly number: number; readonly question: Question } {
    const { asked, ...rest } = options
    const question: Question = { ...rest, unanswered: new Set(asked), siblings: [], keysOf: new Map() }
    const number = this.nextNumber()
    this.#open.set(number, question)
    return { number, question }
  }

  /** A number that no other question has. */
  nextNumber(): number {
    return this.#next++
  }

  answer(from: ServerId, told: Extract<PeerMessage, { kind: 'tell' }>): void {
    const question = this.#open.get(told.question)
    if (question?.unanswered.delete(from) !== true) return
    for (const version of told.siblings) {
      if (!question.siblings.some((known) => compareVersions(known, version) === 0))
        question.siblings.push(version)
    }
    question.siblings.sort((a, b) => compareVersions(b, a))
    for (const { version, keys } of told.keys) question.keysOf.set(versionKey(version), keys)
  }

  /** A server that is gone answers nothing. */
  forgetServer(id: ServerId): void {
    for (const question of this.#open.values()) question.unanswered.delete(id)
  }

  forgetClient(client: ClientId): void {
    for (const [number, question] of this.#open) {
      if (question.client === client) this.#open.delete(number)
    }
  }

  /** Takes out the questions that have all their answers or no more time. */
  takeSettled(nowMs: number): readonly Question[] {
    if (this.#open.size === 0) return none
    const settled: Question[] = []
    for (const [number, question] of this.#open) {
      if (question.unanswered.size > 0 && nowMs < question.deadlineMs) continue
      this.#open.delete(number)
      settled.push(question)
    }
    return settled
  }
}

const none: readonly Question[] = []

/** A version as a map's key. */
export function versionKey(version: Version): string {
  return `${version.timestamp} ${version.origin}`
}
