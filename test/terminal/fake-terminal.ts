import { PassThrough, Writable } from 'node:stream'
import xterm from '@xterm/headless'

/**
 * A terminal without a window: the emulator that VS Code shows its terminals with, and a pair of streams that look to a
 * program like its standard input and output. What is typed and written takes effect at once, before the call returns.
 */
export class FakeTerminal {
  readonly input = new FakeKeyboard()
  readonly output: FakeScreen
  readonly #foldsAnew: boolean
  #emulator: Emulator

  constructor({ columns, rows, foldsAnew = false }: FakeTerminalOptions) {
    this.#foldsAnew = foldsAnew
    this.#emulator = openEmulator({ columns, rows })
    this.output = new FakeScreen(columns, (text) => this.#emulator[core].writeSync(text))
  }

  /** All that was written so far, escape sequences included. */
  get written(): string {
    return this.output.written
  }

  /** Sends one chunk of keys, as a terminal sends a key or a paste. */
  type(keys: string): void {
    this.input.emit('data', Buffer.from(keys))
  }

  resize(size: Size): void {
    if (this.#foldsAnew) this.#fold(size)
    else this.#emulator.resize(size.columns, size.rows)
    this.output.columns = size.columns
    this.output.emit('resize')
  }

  /** Every row from the oldest in the scrollback on, without blanks at its end and without empty rows at the bottom. */
  rows(): string[] {
    const buffer = this.#emulator.buffer.active
    const rows: string[] = []
    for (let row = 0; row < buffer.length; row += 1)
      rows.push(buffer.getLine(row)?.translateToString(true).trimEnd() ?? '')
    while (rows.at(-1) === '') rows.pop()
    return rows
  }

  cursor(): { row: number; column: number } {
    const buffer = this.#emulator.buffer.active
    return { row: buffer.baseY + buffer.cursorY, column: buffer.cursorX }
  }

  /** Writes all that is in the old window, line by line, into a new one. The emulator itself cannot fold the cursor's line. */
  #fold(size: Size): void {
    const buffer = this.#emulator.buffer.active
    const cursorRow = buffer.baseY + buffer.cursorY
    const lines: string[] = []
    let beforeCursor = ''
    for (let row = 0; row < buffer.length; row += 1) {
      const line = buffer.getLine(row)
      if (line === undefined || (row > cursorRow && !line.isWrapped)) break
      const start = line.isWrapped ? (lines.pop() ?? '') : ''
      lines.push(start + textOfCells(line, size.columns + this.output.columns))
      if (row === cursorRow) beforeCursor = start + textOfCells(line, buffer.cursorX)
    }
    this.#emulator.dispose()
    this.#emulator = openEmulator(size)
    const line = lines.at(-1) ?? ''
    this.#emulator[core].writeSync(lines.join('\r\n'))
    const end = fill(line, size.columns)
    const cursor = beforeCursor === line ? end : fill(beforeCursor, size.columns)
    if (cursor === end) return
    const wraps = cursor.column === size.columns
    const up = end.rows.length - cursor.rows.length - (wraps ? 1 : 0)
    this.#emulator[core].writeSync(`${up > 0 ? `\u001B[${up}A` : ''}\u001B[${wraps ? 1 : cursor.column + 1}G`)
  }

  dispose(): void {
    this.#emulator.dispose()
  }
}

export interface Size {
  readonly columns: number
  readonly rows: number
}

export interface FakeTerminalOptions extends Size {
  /**
   * Whether the line with the cursor is folded too when the width changes, the cursor staying with its character, as in
   * tmux, kitty or GNOME's terminal. Otherwise it is left as it is, as in VS Code.
   */
  readonly foldsAnew?: boolean
}

function openEmulator({ columns, rows }: Size): Emulator {
  const emulator = new xterm.Terminal({
    cols: columns,
    rows,
    scrollback: 5_000,
    allowProposedApi: true,
    logLevel: 'off',
  }) as Emulator
  emulator.unicode.register(modernWidths)
  emulator.unicode.activeVersion = modernWidths.version
  return emulator
}

const core = '_core'

/** `writeSync` is the emulator's own, kept for such tests; the public `write` takes a turn of the event loop. */
type Emulator = InstanceType<typeof xterm.Terminal> & {
  readonly [core]: { writeSync(text: string): void }
}

class FakeKeyboard extends PassThrough {
  readonly isTTY = true
  isRaw = false

  setRawMode(isRaw: boolean): void {
    this.isRaw = isRaw
  }
}

class FakeScreen extends Writable {
  readonly isTTY = true
  columns: number
  written = ''
  readonly #show: (text: string) => void

  constructor(columns: number, show: (text: string) => void) {
    super({ decodeStrings: false })
    this.columns = columns
    this.#show = show
  }

  override _write(chunk: string | Buffer, _encoding: BufferEncoding, done: () => void): void {
    const text = chunk.toString()
    this.written += text
    this.#show(text)
    done()
  }
}

/** The widths of today's terminals for what these tests write; the emulator's default is Unicode 6, without wide emoji. */
const modernWidths = {
  version: 'modern',
  wcwidth: (codePoint: number): 0 | 1 | 2 => characterWidth(String.fromCodePoint(codePoint)),
  /** The emulator's packing: bit 0 joins the preceding character, bits 1 and 2 are the width. */
  charProperties(codePoint: number, preceding: number): number {
    const width = this.wcwidth(codePoint)
    const joins = width === 0 && preceding !== 0
    return ((joins ? (preceding >> 1) & 3 : width) << 1) | (joins ? 1 : 0)
  },
}

/** Fills rows of `columns` cells: what does not fit the rest of a row begins the next; marks join what they follow. */
export function fill(text: string, columns: number): { rows: string[]; column: number } {
  const rows = ['']
  let column = 0
  for (const character of text) {
    const width = characterWidth(character)
    if (column + width > columns) {
      rows.push('')
      column = 0
    }
    rows.push((rows.pop() ?? '') + character)
    column += width
  }
  return { rows, column }
}

/** What was written into the first `columns` cells of a row. Cells that never were are nothing at its end. */
function textOfCells(line: BufferLine, columns: number): string {
  let text = ''
  let blanks = ''
  for (let column = 0; column < Math.min(columns, line.length); column += 1) {
    const cell = line.getCell(column)
    const characters = cell?.getChars() ?? ''
    if (characters !== '') {
      text += blanks + characters
      blanks = ''
    } else if (cell?.getWidth() === 1) blanks += ' '
  }
  return text
}

type BufferLine = NonNullable<ReturnType<Emulator['buffer']['active']['getLine']>>

export function characterWidth(character: string): 0 | 1 | 2 {
  if (/[\p{Mn}\p{Me}\p{Cf}\p{Cc}]/u.test(character)) return 0
  return /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303E\uFF01-\uFF60]/u.test(
    character,
  )
    ? 2
    : 1
}
