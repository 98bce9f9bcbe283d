import type { Conversation } from './dialects.ts'

/** A protocol in which every answer has as many lines as its request says. */
export class LineConversation implements Conversation {
  readonly greeting: string
  readonly #name: string
  readonly #requests: readonly LineRequest[]
  readonly #error: string
  readonly #isAnswerLine: ((first: number) => boolean) | undefined
  /** Of the requests in flight, in order: how many ends their answers have left to come. */
  #endsLeft: number[] = []
  #first = 0
  /** Where the unfinished line began with something that answers nothing. */
  #isAside = false
  #isLineOpen = false

  constructor(options: {
    readonly greeting: string
    readonly name: string
    readonly requests: readonly LineRequest[]
    /** Is at the beginning of what comes only where something went wrong. */
    readonly error: string
    /** Whether a line that begins so belongs to an answer; without it every line does. */
    readonly isAnswerLine?: ((first: number) => boolean) | undefined
  }) {
    this.greeting = options.greeting
    this.#name = options.name
    this.#requests = options.requests
    this.#error = options.error
    this.#isAnswerLine = options.isAnswerLine
  }

  ask(requests: readonly number[]): string {
    let text = ''
    for (const index of requests) {
      const request = this.#requests[index] as LineRequest
      this.#endsLeft.push(request.ends)
      text += request.tail === undefined ? request.head : request.head + this.#name + request.tail
    }
    return text
  }

  take(chunk: Buffer): number {
    // An error there is no accident, and to search all of it would cost more than to count.
    if (chunk.subarray(0, errorWithin).includes(this.#error)) {
      throw new Error(`the server answered ${chunk.toString('latin1', 0, errorWithin)}`)
    }
    let answered = 0
    let start = 0
    for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, start)) {
      if (!this.#isLineOpen) this.#isAside = this.#isAsideLine(chunk[start] as number)
      this.#isLineOpen = false
      start = at + 1
      if (this.#isAside) continue
      const left = (this.#endsLeft[this.#first] as number) - 1
      this.#endsLeft[this.#first] = left
      if (left > 0) continue
      this.#first++
      answered++
    }
    if (start < chunk.length && !this.#isLineOpen) {
      this.#isAside = this.#isAsideLine(chunk[start] as number)
      this.#isLineOpen = true
    }
    if (this.#first > forgottenMin) {
      this.#endsLeft = this.#endsLeft.slice(this.#first)
      this.#first = 0
    }
    return answered
  }

  #isAsideLine(first: number): boolean {
    return this.#isAnswerLine?.(first) === false
  }
}

export interface LineRequest {
  readonly head: string
  /** Where the connection's name stands between two parts. */
  readonly tail: string | undefined
  /** `\n` that its answer has. */
  readonly ends: number
}

const newline = 0x0a
const errorWithin = 256
const forgottenMin = 1_024
