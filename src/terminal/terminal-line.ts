import { createInterface } from 'node:readline'
import type { Interface, Key } from 'node:readline'
import { PassThrough } from 'node:stream'
import { JobStop } from './job-stop.ts'
import { isPrintable, typeable } from './printable.ts'

/**
 * The line being typed, on a real terminal, with other text printed above it.
 *
 * `node:readline` does the editing. This file adds what it lacks, and is the only one that knows its inside:
 *
 * - *Printing above.* Go up by the row the cursor has within the prompt and the typed text, to the first column, clear
 *   to the end of the screen, print, tell readline that its cursor is in the first row, and let it draw the line again.
 *   Clearing the current row only, as is often done, is wrong as soon as the line wraps.
 * - *Pastes.* A chunk of several characters is inserted as one, at the cursor. By itself readline appends each character
 *   at the end of the line, wherever the cursor is. It does so whenever `isCompletionEnabled` is false, and says that it
 *   is during every chunk; so here it is always true, and inserting whole chunks keeps a long paste linear.
 * - *Resizes.* Most terminals fold their rows anew when the width changes. Some leave the row with the cursor as it was.
 *   Nothing on the wire tells which, so the environment has to (`foldsAnew`).
 * - *Hints*, dimmed after the end of the line, and gone before any key has its effect.
 *
 * Invariant between two events: `prevRows` equals the row of the cursor within the line, and the screen shows, from that
 * row upwards, the prompt and the text, with nothing below. It cannot hold for a line taller than the screen: rows that
 * have left it at the top cannot be drawn again, and stay in the scrollback twice. Nor does it hold where the terminal
 * gives a character another width than Node does, as some do for joined emoji.
 */
export class TerminalLine {
  readonly #readline: EditingReadline
  readonly #input: TerminalInput
  readonly #output: TerminalOutput
  readonly #events: LineEvents
  readonly #complete: Completer | undefined
  readonly #hint: ((line: string) => string | undefined) | undefined
  readonly #foldsAnew: boolean
  readonly #readlineKey: (text: string | null | undefined, key: KeyPress) => void
  readonly #jobStop: JobStop

  /** Text to print above, collected until the end of this turn of the event loop. */
  readonly #printing: string[] = []
  /** Whether the prompt is on the screen: it is not while a line that was entered is being handed over. */
  #shown = true
  #hintShown = false
  #closed = false
  /** Ctrl-Z has been pressed, and the line was not drawn since. */
  #isStopped = false
  /** The width that the line was drawn for. */
  #columns: number
  /** The characters of the chunk being read that are yet to be inserted. */
  #typed = ''
  #chunk: { tabsLeft: number; readonly endsWithTab: boolean } | undefined

  /** Opens the line and shows its prompt, or returns undefined where this version of readline is not as expected. */
  static open(options: TerminalLineOptions): TerminalLine | undefined {
    if (!readlineIsAsExpected()) return undefined
    const readline = createInterface({
      input: options.input,
      output: options.output,
      terminal: true,
      prompt: options.prompt,
      history: options.history.filter(isPrintable).toReversed(),
      historySize: historyLinesMax,
      removeHistoryDuplicates: true,
      completer: (_line: string, done: CompletionDone) => done(null, [[], '']),
    })
    readline.prompt()
    return new TerminalLine(readline as EditingReadline, options)
  }

  private constructor(readline: EditingReadline, options: TerminalLineOptions) {
    this.#readline = readline
    this.#input = options.input
    this.#output = options.output
    this.#events = options.events
    this.#complete = options.complete
    this.#hint = options.hint
    this.#foldsAnew = foldsAnew(options.environment)
    this.#columns = widthOf(options.output)
    this.#readlineKey = readline[keyHandler].bind(readline)

    readline[keyHandler] = (text, key) => this.#key(text, key ?? {})
    readline.completer = (line: string, done: CompletionDone) => void this.#completion(line, done)
    Object.defineProperty(readline, 'isCompletionEnabled', { get: () => true, set: () => {} })
    Object.defineProperty(readline, 'columns', { get: () => this.#columns })

    readline.on('line', (line) => this.#entered(line))
    readline.on('history', ([newest]: string[]) => {
      if (newest !== undefined) this.#events.onHistory(newest)
    })
    readline.on('SIGINT', () => this.#interrupted())
    this.#jobStop = new JobStop(options.input, () => this.#continued())
    readline.on('SIGTSTP', () => {
      this.#drawToEnd()
      this.#output.write('\r\n')
      this.#isStopped = true
      this.#jobStop.stop()
    })
    // The terminal has gone away.
    readline.on('error', () => readline.close())
    readline.on('close', () => this.#ended())
    // Ours runs before readline's own listener, and then after it.
    this.#input.prependListener('data', this.#chunkBegins)
    this.#input.on('data', this.#chunkEnds)
    this.#output.prependListener('resize', this.#resizeBegins)
    this.#output.on('resize', this.#resizeEnds)
    this.#drawHint()
  }

  /** Prints whole lines above the line being typed, together with all that is printed in this turn of the event loop. */
  print(text: string): void {
    if (this.#printing.length === 0) setImmediate(this.#flush)
    this.#printing.push(text)
    if (this.#closed) this.#flush()
  }

  /** Prints now what was to be printed at the end of this turn. */
  flush(): void {
    this.#flush()
  }

  setPrompt(prompt: string): void {
    if (prompt === this.#readline.getPrompt()) return
    if (this.#shown && !this.#closed) this.#redraw('', () => this.#readline.setPrompt(prompt))
    else this.#readline.setPrompt(prompt)
  }

  /** Keys are read all the time, so that Ctrl-C always works and typing ahead shows: the caller holds the lines back. */
  pause(): void {}

  resume(): void {}

  close(): void {
    this.#readline.close()
  }

  readonly #flush = (): void => {
    const text = this.#takePrinting()
    if (text === '') return
    if (this.#shown && !this.#closed) this.#redraw(text)
    else this.#output.write(text)
  }

  #takePrinting(): string {
    return this.#printing.splice(0).map(withCarriageReturns).join('')
  }

  /** Takes the line off the screen, prints `text` and makes `change` in between, and draws it again below. */
  #redraw(text: string, change = (): void => {}): void {
    this.#output.cork()
    const row = this.#readline.getCursorPos().rows
    this.#output.write(`${up(row)}\r${clearToEndOfScreen}${text}`)
    this.#hintShown = false
    change()
    this.#readline.prevRows = 0
    this.#readline.prompt(true)
    this.#output.uncork()
    this.#drawHint()
  }

  readonly #chunkBegins = (chunk: Buffer | string): void => {
    const text = chunk.toString()
    this.#chunk = { tabsLeft: text.split('\t').length - 1, endsWithTab: text.endsWith('\t') }
  }

  readonly #chunkEnds = (): void => {
    this.#insertTyped()
    this.#chunk = undefined
    this.#drawHint()
  }

  #key(text: string | null | undefined, key: KeyPress): void {
    if (key.name === 'tab' && !this.#tabCompletes()) return this.#key(' ', {})
    if (typeof text === 'string' && isText(text, key)) {
      this.#typed += text
      if (this.#chunk === undefined) this.#insertTyped()
      return
    }
    if (isUnknownControl(text, key)) return
    this.#insertTyped()
    this.#eraseHint()
    if (key.name === 'return' || key.name === 'enter') {
      // What was printed before Enter stands before the line that was entered.
      if (this.#readline.line === '') {
        this.#flush()
        this.#eraseHint()
      } else {
        this.#drawToEnd()
        this.#readline.cursor = this.#readline.line.length
      }
    }
    this.#readlineKey(text, key)
    if (this.#chunk === undefined) this.#drawHint()
  }

  /** A tab within a paste is a character of it, and becomes a space: terminals do not wrap tabs. The last key completes. */
  #tabCompletes(): boolean {
    if (this.#chunk === undefined) return true
    this.#chunk.tabsLeft -= 1
    return this.#chunk.tabsLeft === 0 && this.#chunk.endsWithTab
  }

  #insertTyped(): void {
    const text = typeable(this.#typed)
    this.#typed = ''
    if (text === '' || this.#closed) return
    this.#eraseHint()
    if (zeroWidth.test(text)) this.#insertMarks(text)
    else this.#readlineKey(text, {})
    if (this.#chunk === undefined) this.#drawHint()
  }

  /**
   * Inserts text with marks that have no width. Readline would write it behind the cursor, where terminals differ on what
   * a mark joins, all the more at the start of a row; drawn together with the whole line, marks meet their characters.
   */
  #insertMarks(text: string): void {
    const { line, cursor } = this.#readline
    this.#readline.line = line.slice(0, cursor) + text + line.slice(cursor)
    this.#readline.cursor = cursor + text.length
    this.#readline.prompt(true)
  }

  /**
   * Draws the line once more, below what is yet to be printed, with the cursor after its last character.
   *
   * After a line that fills its last row, readline keeps the cursor in the empty row below. Going on from there would
   * leave that row empty for good, and to write into it would make the terminal take what comes for the rest of the
   * line when it next folds its rows anew.
   */
  #drawToEnd(): void {
    const { rows } = this.#readline.getCursorPos()
    const line = this.#readline.getPrompt() + this.#readline.line
    this.#output.write(`${up(rows)}\r${clearToEndOfScreen}${this.#takePrinting()}${line}`)
    this.#hintShown = false
  }

  #entered(line: string): void {
    // When the terminal goes away readline enters the unfinished line. Nobody wants half a command carried out.
    if (this.#readline.line !== '') return
    this.#shown = false
    this.#events.onLine(line)
    if (this.#closed) return
    this.#flush()
    this.#shown = true
    this.#readline.prompt()
  }

  #interrupted(): void {
    if (this.#readline.line === '') return this.#events.onInterrupt()
    this.print(`${this.#readline.getPrompt()}${this.#readline.line}^C`)
    this.#readlineKey(null, { ctrl: true, name: 'e' })
    this.#readlineKey(null, { ctrl: true, name: 'u' })
    this.#readline.historyIndex = -1
  }

  /** Back in the foreground. After Ctrl-Z the shell has printed below the line, and the cursor is below that. */
  #continued(): void {
    if (this.#closed) return
    if (this.#isStopped) this.#readline.prevRows = 0
    this.#isStopped = false
    if (!this.#shown) return
    this.#readline.prompt(true)
    this.#drawHint()
  }

  #ended(): void {
    if (this.#shown) {
      this.#drawToEnd()
      this.#output.write('\r\n')
    }
    this.#closed = true
    this.#jobStop.close()
    this.#flush()
    this.#input.off('data', this.#chunkBegins)
    this.#input.off('data', this.#chunkEnds)
    this.#output.off('resize', this.#resizeBegins)
    this.#output.off('resize', this.#resizeEnds)
    this.#events.onClose()
  }

  readonly #resizeBegins = (): void => {
    const { line, cursor } = this.#readline
    const cellAtCursor = this.#hintShown || cursor < line.length || this.#readline.getCursorPos().cols === 0
    this.#columns = widthOf(this.#output)
    if (!this.#foldsAnew) return
    // Text that just fills its last row leaves the cursor there, unless something stood under it, and went with it to
    // the next row. At the end of a line that filled its last row before, readline has put a blank there.
    const { cols, rows } = this.#readline.getCursorPos()
    this.#readline.prevRows = cols === 0 && rows > 0 && !cellAtCursor ? rows - 1 : rows
  }

  readonly #resizeEnds = (): void => {
    this.#hintShown = false
    this.#drawHint()
  }

  async #completion(line: string, done: CompletionDone): Promise<void> {
    // Readline stops reading keys until completion is done. Were that to take long, Ctrl-C would be dead.
    this.#readline.resume()
    let completion: Completion | undefined
    try {
      const offer = this.#complete?.(line)
      completion = offer instanceof Promise ? await offer : offer
    } catch {
      completion = undefined
    }
    this.#eraseHint()
    this.#completed(line, completion, done)
    // Readline resumes the input when completion is done, even one that has been closed meanwhile.
    if (this.#closed) this.#input.pause()
    else this.#drawHint()
  }

  /** Lets readline insert what all candidates begin with, or, where that adds nothing, lists them. */
  #completed(line: string, completion: Completion | undefined, done: CompletionDone): void {
    const stale = this.#closed || line !== this.#readline.line.slice(0, this.#readline.cursor)
    const candidates = completion === undefined || stale ? [] : completion.candidates.filter(isPrintable)
    const word = line.slice(completion?.from ?? line.length)
    const adds = commonPrefix(candidates) !== word
    if (candidates.length > 1 && !adds) this.print(inColumns(candidates, this.#columns))
    done(null, [adds ? candidates : [], word])
  }

  #drawHint(): void {
    const { line, cursor } = this.#readline
    if (this.#closed || !this.#shown || cursor !== line.length) return
    const hint = this.#hint?.(line)
    if (hint === undefined || !narrow.test(hint)) return
    // The last column stays free: past it, terminals disagree on where the cursor is. So does the first: erasing a row
    // from there on makes a terminal forget that the row continues the one above.
    const { cols } = this.#readline.getCursorPos()
    if (cols === 0 || cols + hint.length >= this.#columns) return
    this.#output.write(`${saveCursor}${dim}${hint}${notDim}${restoreCursor}`)
    this.#hintShown = true
  }

  #eraseHint(): void {
    if (!this.#hintShown) return
    this.#output.write(clearToEndOfRow)
    this.#hintShown = false
  }
}

export type TerminalInput = NodeJS.ReadableStream & {
  readonly isTTY?: boolean
  readonly readableEnded?: boolean
  setRawMode?(isRaw: boolean): unknown
}

export type TerminalOutput = NodeJS.WritableStream & {
  readonly isTTY?: boolean
  readonly columns?: number
  cork(): void
  uncork(): void
}

/** What may stand instead of `line.slice(from)`. */
export interface Completion {
  readonly candidates: readonly string[]
  readonly from: number
}

/** Completes the part of the line before the cursor. */
export type Completer = (line: string) => Completion | Promise<Completion>

export interface LineEvents {
  readonly onLine: (line: string) => void
  /** The line was new to the history. */
  readonly onHistory: (line: string) => void
  /** Ctrl-C on an empty line. On any other it abandons that line. */
  readonly onInterrupt: () => void
  readonly onClose: () => void
}

export interface TerminalLineOptions {
  readonly input: TerminalInput
  readonly output: TerminalOutput
  readonly prompt: string
  /** Oldest first. */
  readonly history: readonly string[]
  readonly complete: Completer | undefined
  readonly hint: ((line: string) => string | undefined) | undefined
  readonly events: LineEvents
  readonly environment: NodeJS.ProcessEnv
}

interface KeyPress extends Partial<Key> {}

type CompletionDone = (error: Error | null, found: [candidates: string[], word: string]) => void

/** What readline does with one key; Node's own REPL replaces it in the same way. */
const keyHandler = '_ttyWrite'

interface UndocumentedReadline {
  /** The row of the cursor, counted from the row of the prompt, when readline last drew the line. */
  prevRows: number
  line: string
  cursor: number
  readonly columns: number
  isCompletionEnabled: boolean
  /** How far the history has been walked back; -1 on a line of one's own. */
  historyIndex: number
  completer: (line: string, done: CompletionDone) => void
  [keyHandler]: (text: string | null | undefined, key: KeyPress | undefined) => void
}

type EditingReadline = Omit<Interface, keyof UndocumentedReadline> & UndocumentedReadline

const historyLinesMax = 1_000

const clearToEndOfScreen = '\u001B[J'
const clearToEndOfRow = '\u001B[K'
const dim = '\u001B[2m'
const notDim = '\u001B[22m'
const up = (rows: number): string => (rows > 0 ? `\u001B[${rows}A` : '')
const saveCursor = '\u001B7'
const restoreCursor = '\u001B8'

/** Text whose width is its length. */
const narrow = /^[\u0020-\u007E…]+$/
const control = /\p{Cc}/u
const zeroWidth = /[\p{Mn}\p{Me}\p{Cf}]/u
const undoAndRedo = new Set(['\u001F', '\u001E'])

/** A terminal that does not tell its width is taken to never wrap, as readline does. */
function widthOf(output: TerminalOutput): number {
  return output.columns === undefined || output.columns === 0 ? Infinity : output.columns
}

let expectationHolds: boolean | undefined

/** Tries out, once and out of sight, what this file takes for granted and Node does not document. */
function readlineIsAsExpected(): boolean {
  expectationHolds ??= expectedBehaviourSeen()
  return expectationHolds
}

function expectedBehaviourSeen(): boolean {
  const input = new PassThrough()
  const output = Object.assign(new PassThrough(), { columns: 10 })
  const readline = createInterface({
    input,
    output,
    terminal: true,
    prompt: '> '.repeat(10),
  }) as EditingReadline
  try {
    const ownKeyHandler = readline[keyHandler].bind(readline)
    let keys = 0
    readline[keyHandler] = (text, key) => {
      keys += 1
      ownKeyHandler(text, key)
    }
    readline.prompt()
    input.emit('data', 'ad')
    ownKeyHandler(null, { name: 'left' })
    Object.defineProperty(readline, 'isCompletionEnabled', { get: () => true, set: () => {} })
    ownKeyHandler('bc', {})
    return (
      keys === 2 &&
      readline.line === 'abcd' &&
      readline.cursor === 3 &&
      readline.historyIndex === -1 &&
      readline.prevRows === 2 &&
      readline.getCursorPos().rows === 2
    )
  } catch {
    return false
  } finally {
    readline.close()
  }
}

/**
 * Whether the terminal folds the line being typed anew when its width changes (tmux, VTE, kitty, iTerm2, Windows
 * Terminal …), or leaves it alone: xterm, GNU screen, the Linux console, and VS Code, which leaves the row to the shell.
 * A wrong guess costs a few rows only when a line that wraps is resized.
 */
function foldsAnew(environment: NodeJS.ProcessEnv): boolean {
  // Variables of the terminal outside are seen inside tmux too, so it is asked first.
  const insideTmux = environment['TMUX'] !== undefined && /^(tmux|screen)/.test(environment['TERM'] ?? '')
  if (environment['TERM_PROGRAM'] === 'tmux' || insideTmux) return true
  const leavesAlone =
    environment['TERM_PROGRAM'] === 'vscode' ||
    environment['XTERM_VERSION'] !== undefined ||
    environment['STY'] !== undefined ||
    environment['TERM'] === 'linux'
  return !leavesAlone
}

function isText(text: string, key: KeyPress): boolean {
  return text !== '' && key.ctrl !== true && key.meta !== true && !control.test(text)
}

/** A control character that is no key: the terminal must not get it back as an echo. */
function isUnknownControl(text: string | null | undefined, key: KeyPress): boolean {
  return typeof text === 'string' && key.name === undefined && !undoAndRedo.has(text)
}

function withCarriageReturns(text: string): string {
  return `${text.replace(/\r?\n$/, '').replace(/\r?\n/g, '\r\n')}\r\n`
}

function commonPrefix(words: readonly string[]): string {
  const [first = '', ...others] = words
  let length = first.length
  for (const other of others) {
    while (!other.startsWith(first.slice(0, length))) length -= 1
  }
  return first.slice(0, length)
}

/** Lays words out in columns, row by row. Words of a width that is not known get a row each. */
function inColumns(words: readonly string[], width: number): string {
  const trimmed = words.map((word) => word.trimEnd())
  if (!trimmed.every((word) => narrow.test(word))) return trimmed.join('\n')
  const columnWidth = Math.max(...trimmed.map((word) => word.length)) + 2
  const perRow = Math.max(1, Math.floor(Math.min(width, 80) / columnWidth))
  const rows: string[] = []
  for (let start = 0; start < trimmed.length; start += perRow) {
    const row = trimmed.slice(start, start + perRow)
    rows.push(
      row
        .map((word) => word.padEnd(columnWidth))
        .join('')
        .trimEnd(),
    )
  }
  return rows.join('\n')
}
