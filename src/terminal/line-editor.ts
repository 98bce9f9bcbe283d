import { createInterface } from 'node:readline'
import type { Interface } from 'node:readline'
import { TerminalLine } from './terminal-line.ts'
import type { Completer, LineEvents, TerminalInput, TerminalOutput } from './terminal-line.ts'

/**
 * Reads lines from whatever stands at the other end, and prints above the one being typed.
 *
 * On a terminal the line can be edited, completed and taken from the history. Where input or output is no terminal, or
 * `TERM` is `dumb`, or this version of Node has another readline than we know, lines are plain and no escape sequence is
 * ever written; the prompt is shown only if a person can see both it and what they type.
 */
export class LineEditor {
  readonly #options: LineEditorOptions
  readonly #line: LineSource
  /** Lines that came while paused, oldest first. */
  readonly #held: string[] = []
  #paused = false
  #delivering = false
  #inputEnded = false
  #closed = false

  constructor(options: LineEditorOptions) {
    this.#options = options
    this.#line = openLine(options, {
      onLine: (line) => {
        this.#held.push(line)
        if (this.#paused) this.#options.onAhead?.(line)
        this.#deliver()
      },
      onHistory: (line) => options.onHistory?.(line),
      onInterrupt: () => options.onInterrupt(),
      onClose: () => {
        this.#inputEnded = true
        this.#deliver()
      },
    })
    // A stream tells its end once, and others may have read this one before us.
    if (options.input.readableEnded === true) setImmediate(() => this.#line.close())
  }

  /**
   * Prints one or more whole lines above the line being typed. The text must be fit for a terminal (`printable`). On a
   * terminal all that is printed in one turn of the event loop appears at once.
   */
  printAbove(text: string): void {
    this.#line.print(text)
  }

  /** Prints at once what this turn of the event loop would print at its end: for those about to end the process. */
  flush(): void {
    this.#line.flush()
  }

  /** Changes the prompt, also of the line being typed; its text and the place of the cursor remain. */
  setPrompt(prompt: string): void {
    this.#line.setPrompt(prompt)
  }

  /**
   * Holds lines back, and the end of the input too, until `resume`: so commands run one after another. On a terminal the
   * prompt stays and typing goes on; Ctrl-C is told at once.
   */
  pause(): void {
    this.#paused = true
    this.#line.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#deliver()
    if (!this.#paused) this.#line.resume()
  }

  /** Lets go of the streams, and of lines held back. `onClose` has been called when this returns. */
  close(): void {
    this.#held.length = 0
    this.#paused = false
    this.#line.close()
    this.#finish()
  }

  #deliver(): void {
    if (this.#delivering) return
    this.#delivering = true
    try {
      while (!this.#paused) {
        const line = this.#held.shift()
        if (line === undefined) break
        this.#options.onLine(line)
      }
    } finally {
      this.#delivering = false
    }
    if (this.#inputEnded && !this.#paused) this.#finish()
  }

  #finish(): void {
    if (this.#closed) return
    this.#closed = true
    this.#options.onClose()
  }
}

export interface LineEditorOptions {
  readonly input: TerminalInput
  readonly output: TerminalOutput
  /** May be coloured; must not hold a line end. */
  readonly prompt: string
  /** Earlier lines, oldest first. */
  readonly history?: readonly string[]
  /** Offers completions for the part of the line before the cursor. One that throws offers none. */
  readonly complete?: Completer
  /** What to show dimmed after the end of the line; shown where it is ASCII (or …) and fits the row. */
  readonly hint?: (line: string) => string | undefined
  /** A line was entered. The line that a terminal was typing when it went away was not. */
  readonly onLine: (line: string) => void
  /** A line was entered that is held back; it still comes to `onLine` in its turn. */
  readonly onAhead?: (line: string) => void
  /** The input has ended, or the editor was closed; comes once, after the last line. */
  readonly onClose: () => void
  /** Ctrl-C on an empty line of a terminal; on any other it abandons the line. Plain input leaves SIGINT to the process. */
  readonly onInterrupt: () => void
  /** A line of a terminal is new to the history. */
  readonly onHistory?: (line: string) => void
  /** Defaults to that of the process. */
  readonly environment?: NodeJS.ProcessEnv
}

interface LineSource {
  print(text: string): void
  flush(): void
  setPrompt(prompt: string): void
  pause(): void
  resume(): void
  close(): void
}

function openLine(options: LineEditorOptions, events: LineEvents): LineSource {
  const { input, output, prompt, history = [], complete, hint, environment = process.env } = options
  const interactive = input.isTTY === true && output.isTTY === true
  const line =
    interactive && environment['TERM'] !== 'dumb'
      ? TerminalLine.open({ input, output, prompt, history, complete, hint, events, environment })
      : undefined
  return line ?? new PlainLine({ input, output, prompt: interactive ? prompt : undefined, events })
}

/** Lines without any editing of ours. */
class PlainLine implements LineSource {
  readonly #readline: Interface
  readonly #output: TerminalOutput
  readonly #events: LineEvents
  /** Undefined where nobody would see it. */
  #prompt: string | undefined
  #promptShown = false
  /** The prompt comes after all that is printed in answer to a line. */
  #handingOver = false
  #paused = false
  #closed = false

  constructor(options: {
    readonly input: TerminalInput
    readonly output: TerminalOutput
    readonly prompt: string | undefined
    readonly events: LineEvents
  }) {
    this.#output = options.output
    this.#events = options.events
    this.#prompt = options.prompt
    // A \r\n is one line end, however long its halves are apart.
    this.#readline = createInterface({ input: options.input, terminal: false, crlfDelay: Infinity })
    this.#readline.on('line', (line) => this.#entered(line))
    this.#readline.on('error', () => this.#readline.close())
    this.#readline.on('close', () => this.#ended())
    this.#showPrompt()
  }

  print(text: string): void {
    if (this.#promptShown) this.#output.write('\n')
    this.#promptShown = false
    this.#output.write(`${text.replace(/\r?\n$/, '')}\n`)
    this.#showPrompt()
  }

  /** Nothing waits to be printed here. */
  flush(): void {}

  setPrompt(prompt: string): void {
    if (this.#prompt !== undefined) this.#prompt = prompt
  }

  pause(): void {
    this.#paused = true
    if (!this.#closed) this.#readline.pause()
  }

  resume(): void {
    this.#paused = false
    if (!this.#closed) this.#readline.resume()
    this.#showPrompt()
  }

  close(): void {
    this.#readline.close()
  }

  #entered(line: string): void {
    this.#promptShown = false
    this.#handingOver = true
    this.#events.onLine(line)
    this.#handingOver = false
    this.#showPrompt()
  }

  #ended(): void {
    if (this.#promptShown) this.#output.write('\n')
    this.#promptShown = false
    this.#closed = true
    this.#events.onClose()
  }

  #showPrompt(): void {
    if (this.#prompt === undefined || this.#promptShown) return
    if (this.#handingOver || this.#paused || this.#closed) return
    this.#promptShown = true
    this.#output.write(this.#prompt)
  }
}
