/**
 * Questions asked one after the other, typed or piped, on a stream that somebody else goes on reading afterwards.
 *
 * What is read too much by the one who asks is lost to the one who reads next, so the whole file stands on one rule: a byte
 * is taken from what was read only when the question that is being asked needs it. The rest is held, and handed over.
 *
 * - On a terminal node:readline edits the line. It is fed one byte at a time and stops being fed when the answer is there;
 *   keys typed ahead wait, unseen, for the question that they belong to. (Feeding single bytes also keeps Node 20 from
 *   putting text that is pasted into the middle of a line at its end.)
 * - Otherwise the bytes are cut at line feeds. Readline is of no use there: it takes lines that nobody has asked for, and
 *   its `question` dies when the input ends early.
 */
import { createInterface } from 'node:readline'
import { PassThrough, pipeline, Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { JobStop } from './job-stop.ts'

/** Longer than any list of servers that a person would give; an endless line must not fill the memory. */
const ANSWER_BYTES_MAX = 16_384

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d

/** The stream that the answers come from; `process.stdin` fits. */
export type QuestionInput = Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown }

/** The stream that the questions appear on; `process.stdout` and `process.stderr` fit. */
export type QuestionOutput = NodeJS.WritableStream & { readonly isTTY?: boolean }

export type QuestionOptions = {
  /** Judges the trimmed answer: `undefined` accepts it, a text says what is wrong with it. */
  readonly check?: (answer: string) => string | undefined
}

/** The input ended before the question was answered (Ctrl-D, or too few lines piped). Exit code 2. */
export class QuestionUnanswered extends Error {
  readonly question: string

  constructor(question: string, options?: ErrorOptions) {
    super(`the input ended before the question "${question.trim()}" was answered`, options)
    this.name = 'QuestionUnanswered'
    this.question = question
  }
}

/** Ctrl-C was pressed at the question. Exit code 130. */
export class QuestionInterrupted extends Error {
  readonly question: string

  constructor(question: string) {
    super(`interrupted at the question "${question.trim()}"`)
    this.name = 'QuestionInterrupted'
    this.question = question
  }
}

/** A piped answer was wrong, and nobody is there to be asked again. The message is the check's text. Exit code 2. */
export class AnswerRefused extends Error {
  readonly question: string

  constructor(question: string, reason: string) {
    super(reason)
    this.name = 'AnswerRefused'
    this.question = question
  }
}

export class Questions {
  readonly #input: QuestionInput
  readonly #output: QuestionOutput
  readonly #bytes: HeldBytes
  #busy = false
  #handedOver = false

  constructor(streams: { readonly input: QuestionInput; readonly output: QuestionOutput }) {
    this.#input = streams.input
    this.#output = streams.output
    this.#bytes = new HeldBytes(streams.input)
  }

  /**
   * Asks one question and waits for its answer.
   *
   * @param question printed as it is, the space at its end included, typed or piped
   * @returns the answer, trimmed; it may be empty unless `check` objects
   * @throws {QuestionUnanswered} when the input ends first
   * @throws {QuestionInterrupted} on Ctrl-C at a terminal
   * @throws {AnswerRefused} when `check` objects and the answers are piped; somebody who types is asked again
   */
  async ask(question: string, { check }: QuestionOptions = {}): Promise<string> {
    if (this.#busy) throw new Error(`asked "${question}" before the question before it was answered`)
    if (this.#handedOver) throw new Error(`asked "${question}" after the input was handed over`)
    this.#busy = true
    try {
      for (;;) {
        const answer = this.#isEdited() ? await this.#edited(question) : await this.#piped(question)
        const objection = check?.(answer)
        if (objection === undefined) return answer
        if (this.#input.isTTY !== true) throw new AnswerRefused(question, objection)
        this.#output.write(`${objection}\n`)
      }
    } finally {
      this.#busy = false
    }
  }

  /**
   * Ends the asking and gives the input on.
   *
   * @returns what a REPL reads from here on. On a terminal it is the input itself, paused and not raw, with the keys typed
   * ahead put back. Otherwise it is a stream of the bytes not yet used and then the rest of the input; destroying it
   * destroys the input
   */
  handOver(): Readable {
    if (this.#busy) throw new Error('handed the input over while a question waits for its answer')
    if (this.#handedOver) throw new Error('handed the input over twice')
    this.#handedOver = true
    return this.#isEdited() ? this.#bytes.putBack() : this.#bytes.remainder()
  }

  #isEdited(): boolean {
    return this.#input.isTTY === true && this.#output.isTTY === true
  }

  async #edited(question: string): Promise<string> {
    const input = this.#input
    const keys = Object.assign(new Readable({ read() {} }), {
      isTTY: true,
      // Readline knows when a terminal has to be raw: during the question.
      setRawMode: (raw: boolean) => input.setRawMode?.(raw),
    })
    const editor = createInterface({ input: keys, output: this.#output, terminal: true, historySize: 0 })
    const outcome: { answer?: string; error?: Error } = {}
    const isOpen = () => outcome.answer === undefined && outcome.error === undefined

    editor.question(question, (answer) => (outcome.answer ??= answer))
    editor.on('SIGINT', () => (outcome.error ??= new QuestionInterrupted(question)))
    editor.on('close', () => (outcome.error ??= new QuestionUnanswered(question)))
    const jobStop = new JobStop(input, () => editor.prompt(true))
    editor.on('SIGTSTP', () => {
      this.#output.write('\n')
      jobStop.stop()
    })

    try {
      while (isOpen()) {
        const byte = this.#bytes.takeByte()
        if (byte !== undefined) {
          keys.push(byte)
          // Within one turn readline has seen it, and has called back if it was the last one.
          await turn()
        } else if (!(await this.#bytes.more())) {
          outcome.error ??= new QuestionUnanswered(question, { cause: this.#bytes.error })
        }
      }
      if (outcome.answer !== undefined) return outcome.answer.trim()
      // The cursor still stands behind the question.
      this.#output.write('\n')
      throw outcome.error ?? new QuestionUnanswered(question)
    } finally {
      jobStop.close()
      editor.close()
      keys.destroy()
    }
  }

  async #piped(question: string): Promise<string> {
    this.#output.write(question)
    for (;;) {
      const line = this.#bytes.takeLine()
      if (line !== undefined) return this.#answered(line)
      if (this.#bytes.length > ANSWER_BYTES_MAX) {
        this.#output.write('\n')
        throw new AnswerRefused(question, `the answer to "${question.trim()}" is longer than 16 KiB`)
      }
      if (await this.#bytes.more()) continue
      const last = this.#bytes.takeAll()
      if (last !== '') return this.#answered(last)
      this.#output.write('\n')
      throw new QuestionUnanswered(question, { cause: this.#bytes.error })
    }
  }

  /** Nobody's Enter has ended the line of a piped answer, so it is ended here. */
  #answered(line: string): string {
    this.#output.write('\n')
    return line.trim()
  }
}

/** The bytes of a stream that were read and not yet used. A chunk is read only when there are too few. */
class HeldBytes {
  readonly #input: QuestionInput
  #held = Buffer.alloc(0)
  #ended = false
  /** A line feed that follows a carriage return belongs to the same line end, whenever it arrives. */
  #afterReturn = false
  /** What broke the input, when it did not just end. */
  error: Error | undefined

  constructor(input: QuestionInput) {
    this.#input = input
  }

  get length(): number {
    return this.#held.length
  }

  /** Waits for one more chunk; false when the input has ended. */
  async more(): Promise<boolean> {
    while (!this.#ended) {
      if (this.#input.readableEnded || this.#input.destroyed) break
      const chunk = this.#input.read() as Buffer | string | null
      if (chunk !== null) {
        const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
        this.#held = this.#held.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#held, bytes])
        return true
      }
      await this.#change()
    }
    this.#ended = true
    return false
  }

  /** The next byte, as a keyboard would send it. */
  takeByte(): Buffer | undefined {
    this.#skipSecondHalfOfLineEnd()
    if (this.#held.length === 0) return undefined
    const byte = this.#held.subarray(0, 1)
    this.#held = this.#held.subarray(1)
    this.#afterReturn = byte[0] === CARRIAGE_RETURN
    return byte
  }

  /** The next whole line, without its end. */
  takeLine(): string | undefined {
    const end = this.#held.indexOf(LINE_FEED)
    if (end === -1) return undefined
    const line = this.#held.subarray(0, end).toString('utf8')
    this.#held = this.#held.subarray(end + 1)
    return line
  }

  takeAll(): string {
    const text = this.#held.toString('utf8')
    this.#held = Buffer.alloc(0)
    return text
  }

  /** Gives the input back as if the held bytes had never been read. */
  putBack(): Readable {
    this.#skipSecondHalfOfLineEnd()
    this.#input.pause()
    if (this.#held.length > 0 && !this.#input.readableEnded && !this.#input.destroyed) {
      this.#input.unshift(this.#held)
    }
    return this.#input
  }

  /** A stream of its own, because an input that has ended takes nothing back. */
  remainder(): Readable {
    const remainder = new PassThrough()
    if (this.#held.length > 0) remainder.write(this.#held)
    if (this.#ended || this.#input.readableEnded) remainder.end()
    // An error of the input reaches the reader as an error of the remainder.
    else pipeline(this.#input, remainder, () => {})
    return remainder
  }

  #skipSecondHalfOfLineEnd(): void {
    if (!this.#afterReturn || this.#held.length === 0) return
    if (this.#held[0] === LINE_FEED) this.#held = this.#held.subarray(1)
    this.#afterReturn = false
  }

  #change(): Promise<void> {
    const input = this.#input
    return new Promise((resolve) => {
      const done = (error?: Error) => {
        if (error instanceof Error) this.error = error
        input.off('readable', done).off('end', done).off('close', done).off('error', done)
        resolve()
      }
      input.on('readable', done).on('end', done).on('close', done).on('error', done)
    })
  }
}
