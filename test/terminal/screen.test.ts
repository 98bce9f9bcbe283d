import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { LineEditor } from '../../src/terminal/line-editor.ts'
import { FakeTerminal, characterWidth, fill } from './fake-terminal.ts'

/*
 * What a person sees, compared after every event with what a perfect terminal would show.
 *
 * A session is a random sequence of keys, pastes, prints from elsewhere, changes of the prompt and of the window's size.
 * The emulated screen, its whole scrollback included, must then equal the model's: the printed lines, the prompt with the
 * line being typed, the hint behind it, and the cursor. A message that is overwritten, moved or printed twice counts as
 * garbled, as does one wrong cell, or one entered line that is not what was typed.
 *
 *     TIDINGS_SCREEN_SESSIONS=100000 npx vitest run test/terminal/screen.test.ts     # many sessions
 *     TIDINGS_SCREEN_SEED=17 npx vitest run test/terminal/screen.test.ts             # session 17 again, alone
 *
 * Modelled: typing, pastes (with line ends, tabs and control characters; at the end of the line and within it), several
 * keys in one chunk, editing keys, the history, Enter, Ctrl-C, the end; single- and double-width characters, combining
 * marks; wrapping; widths from 20 to 200 and heights from 12 to 50; terminals that fold the line being typed anew when
 * their width changes, and terminals that do not.
 *
 * Not modelled:
 * - a typed line taller than the screen: its upper rows are out of any program's reach;
 * - emoji joined to one glyph, and characters of ambiguous width: terminals differ in how wide they draw them;
 * - combining marks where the emulator itself folds rows anew (half of the sessions with resizes): it misplaces them;
 * - output that crosses a change of size on its way to the terminal: no program can know;
 * - Ctrl-L (it throws the screen away, which is the point of it), Ctrl-Z (it needs a shell) and completion, whose list of
 *   candidates is printed like any other text (`line-editor.test.ts`).
 */

const sessions = Number(process.env['TIDINGS_SCREEN_SESSIONS'] ?? 2_000)
const onlySeed = process.env['TIDINGS_SCREEN_SEED']
const seeds =
  onlySeed === undefined ? Array.from({ length: sessions }, (_, index) => index + 1) : [Number(onlySeed)]

test(
  'after every event the screen shows what a perfect terminal would show',
  { timeout: 60_000 + sessions * 50 },
  async () => {
    const garbled: { readonly seed: number; readonly report: string }[] = []
    for (const seed of seeds) {
      const report = await garbledSession(seed, (options) => new LineEditor(options))
      if (report !== undefined) garbled.push({ seed, report })
    }
    const [first] = garbled
    if (first === undefined) return
    const others = garbled.slice(0, 10).map(({ seed }) => seed)
    expect.fail(
      `${garbled.length} of ${seeds.length} sessions are garbled (${others.join(', ')}).\n${first.report}`,
    )
  },
)

test('the widespread recipe (clear the row, print, prompt again) is caught by this test', async () => {
  let garbled = 0
  for (let seed = 1; seed <= 150; seed += 1) {
    if ((await garbledSession(seed, (options) => new WidespreadRecipe(options))) !== undefined) garbled += 1
  }
  expect(garbled).toBeGreaterThan(75)
})

test('one seed is one session', async () => {
  const first = await writtenBySession(7)
  expect(first).not.toBe('')
  expect(await writtenBySession(7)).toBe(first)
})

/** Runs one session. Returns what was seen to be wrong, with the command that shows it again, or undefined. */
async function garbledSession(seed: number, open: OpenSubject): Promise<string | undefined> {
  const session = new Session(seed, open)
  try {
    return await session.run()
  } finally {
    session.end()
  }
}

async function writtenBySession(seed: number): Promise<string> {
  const session = new Session(seed, (options) => new LineEditor(options))
  await session.run()
  session.end()
  return session.terminal.written
}

type Subject = Pick<LineEditor, 'printAbove' | 'setPrompt' | 'close'>
type OpenSubject = (options: ConstructorParameters<typeof LineEditor>[0]) => Subject

class Session {
  readonly terminal: FakeTerminal
  readonly #seed: number
  readonly #random: Random
  readonly #perfect: PerfectTerminal
  readonly #subject: Subject
  readonly #resizes: boolean
  readonly #events: string[] = []
  readonly #entered: string[] = []
  #prints = 0
  #closed = false

  constructor(seed: number, open: OpenSubject) {
    this.#seed = seed
    const random = new Random(seed)
    this.#random = random
    this.#resizes = random.chance(0.5)
    const foldsAnew = random.chance(0.5)
    random.marks = !this.#resizes || foldsAnew
    const size = this.#size()
    this.#events.push(`${size.columns}x${size.rows}`)
    this.terminal = new FakeTerminal({ ...size, foldsAnew })
    const hint = random.chance(0.5) ? hintOf : (): undefined => undefined
    this.#perfect = new PerfectTerminal({ columns: size.columns, prompt: '1> ', hint })
    this.#subject = open({
      input: this.terminal.input,
      output: this.terminal.output,
      prompt: this.#perfect.prompt,
      hint,
      onLine: (line) => {
        this.#entered.push(line)
        for (const text of repliesTo(line)) this.#subject.printAbove(text)
      },
      onClose: () => {},
      onInterrupt: () => {},
      environment: foldsAnew ? {} : { TERM_PROGRAM: 'vscode' },
    })
  }

  async run(): Promise<string | undefined> {
    const events = this.#random.between(10, 40)
    for (let event = 1; event <= events; event += 1) {
      this.#event()
      // Otherwise more happens in the same turn of the event loop.
      if (event < events && !this.#random.chance(0.8)) continue
      await new Promise(setImmediate)
      const difference = this.#difference()
      if (difference !== undefined) return difference
    }
    if (this.#random.chance(0.5)) this.#print(1)
    this.#close()
    return this.#difference()
  }

  end(): void {
    if (!this.#closed) this.#subject.close()
    this.terminal.dispose()
  }

  #event(): void {
    const random = this.#random
    const choice = random.between(1, 100)
    if (choice <= 30) this.#type(random.character())
    else if (choice <= 42) this.#type(random.text(random.between(2, 60)))
    else if (choice <= 60) this.#press([random.of(editingKeys)])
    else if (choice <= 66) this.#press(random.list(6, () => random.of(editingKeys)))
    else if (choice <= 73) this.#press([enter])
    else if (choice <= 76) this.#pressEnterAndUp()
    else if (choice <= 79) this.#press([interrupt])
    else if (choice <= 92) this.#print(random.between(1, 4))
    else if (choice <= 95) this.#setPrompt(random.of(prompts))
    else if (this.#resizes) this.#resize(this.#size())
    else this.#pasteLines()
  }

  #type(text: string): void {
    if (this.#perfect.lineWidth() + textWidth(text) > lineWidthMax) return
    this.#events.push(`type ${JSON.stringify(text)}`)
    this.#perfect.insert(text)
    this.terminal.type(text)
  }

  /** One chunk: held down, or from a slow connection. */
  #press(keys: readonly PressedKey[]): void {
    for (const key of keys) {
      this.#events.push(key.name)
      key.effect(this.#perfect)
    }
    this.terminal.type(keys.map((key) => key.sequence).join(''))
  }

  /** Only here is it plain which line Up recalls: readline's search through the history has a state of its own. */
  #pressEnterAndUp(): void {
    const line = this.#perfect.line()
    this.#press([enter])
    if (line.trim() === '') return
    this.#events.push('up')
    this.#perfect.insert(line)
    this.terminal.type('\u001B[A')
  }

  #pasteLines(): void {
    const random = this.#random
    this.#press([enter])
    const lines = random.list(3, () => random.text(random.between(0, 40)))
    const last = random.text(random.between(0, 40))
    this.#events.push(`paste ${JSON.stringify([...lines, last])}`)
    for (const line of lines) {
      this.#perfect.insert(`${line} \u00A0`)
      this.#perfect.enter()
    }
    this.#perfect.insert(last)
    this.terminal.type([...lines.map((line) => `\u0007${line}\t\u202E\u009B\u00A0`), last].join('\r'))
  }

  #print(lines: number): void {
    const texts = Array.from({ length: lines }, () => {
      this.#prints += 1
      return `#${this.#prints} ${this.#random.text(this.#random.between(0, 120))}`
    })
    this.#events.push(`print ${JSON.stringify(texts)}`)
    for (const text of texts) this.#perfect.print(text)
    if (this.#random.chance(0.5)) this.#subject.printAbove(texts.join('\n'))
    else for (const text of texts) this.#subject.printAbove(text)
  }

  #setPrompt(prompt: string): void {
    this.#events.push(`prompt ${JSON.stringify(prompt)}`)
    this.#perfect.prompt = prompt
    this.#subject.setPrompt(prompt)
  }

  #resize(size: { columns: number; rows: number }): void {
    this.#events.push(`resize ${size.columns}x${size.rows}`)
    this.#perfect.columns = size.columns
    this.terminal.resize(size)
  }

  #size(): { columns: number; rows: number } {
    // Every other window is narrow, so that lines wrap.
    const columns = this.#random.chance(0.5) ? this.#random.between(20, 50) : this.#random.between(20, 200)
    return { columns, rows: this.#random.between(12, 50) }
  }

  #close(): void {
    this.#events.push('close')
    this.#perfect.close()
    this.#subject.close()
    this.#closed = true
  }

  #difference(): string | undefined {
    const expected = { ...this.#perfect.screen(), entered: this.#perfect.entered }
    const seen = { rows: this.terminal.rows(), cursor: this.terminal.cursor(), entered: this.#entered }
    if (JSON.stringify(seen) === JSON.stringify(expected)) return undefined
    return [
      `Session ${this.#seed} is garbled; to see it again: TIDINGS_SCREEN_SEED=${this.#seed} npx vitest run test/terminal/screen.test.ts`,
      `events: ${this.#events.join(', ')}`,
      `expected, cursor ${JSON.stringify(expected.cursor)}, entered ${JSON.stringify(expected.entered.slice(-2))}:`,
      ...expected.rows.map((row) => `  |${row}`),
      `seen, cursor ${JSON.stringify(seen.cursor)}, entered ${JSON.stringify(seen.entered.slice(-2))}:`,
      ...seen.rows.map((row) => `  |${row}`),
    ].join('\n')
  }
}

/** Knows no escape sequences: only the lines that were printed, the one being typed, and how text fills rows. */
class PerfectTerminal {
  columns: number
  prompt: string
  #hint: (line: string) => string | undefined
  readonly entered: string[] = []
  readonly #printed: string[] = []
  #before: string[] = []
  #after: string[] = []

  constructor(options: { columns: number; prompt: string; hint: (line: string) => string | undefined }) {
    this.columns = options.columns
    this.prompt = options.prompt
    this.#hint = options.hint
  }

  print(text: string): void {
    this.#printed.push(text)
  }

  insert(text: string): void {
    this.#before.push(...Array.from(text))
  }

  left(): void {
    this.#after.unshift(...this.#before.splice(-1))
  }

  right(): void {
    this.#before.push(...this.#after.splice(0, 1))
  }

  home(): void {
    this.#after.unshift(...this.#before.splice(0))
  }

  end(): void {
    this.#before.push(...this.#after.splice(0))
  }

  backspace(): void {
    this.#before.pop()
  }

  delete(): void {
    this.#after.shift()
  }

  deleteToStart(): void {
    this.#before = []
  }

  deleteToEnd(): void {
    this.#after = []
  }

  enter(): void {
    const line = this.line()
    this.#before = []
    this.#after = []
    this.print(this.prompt + line)
    this.entered.push(line)
    for (const text of repliesTo(line)) this.print(text)
  }

  interrupt(): void {
    if (this.line() === '') return
    this.print(`${this.prompt}${this.line()}^C`)
    this.#before = []
    this.#after = []
  }

  close(): void {
    this.print(this.prompt + this.line())
    this.prompt = ''
    this.#before = []
    this.#after = []
    this.#hint = (): undefined => undefined
  }

  lineWidth(): number {
    return textWidth(this.line())
  }

  screen(): { rows: string[]; cursor: { row: number; column: number } } {
    const rows = this.#printed.flatMap((text) => fill(text, this.columns).rows)
    const untilCursor = fill(this.prompt + this.#before.join(''), this.columns)
    const wraps = untilCursor.column === this.columns
    const cursor = {
      row: rows.length + untilCursor.rows.length - (wraps ? 0 : 1),
      column: wraps ? 0 : untilCursor.column,
    }
    const hint = this.#after.length === 0 ? (this.#hint(this.line()) ?? '') : ''
    const fits = cursor.column > 0 && cursor.column + hint.length < this.columns
    rows.push(...fill(this.prompt + this.line() + (fits ? hint : ''), this.columns).rows)
    const trimmed = rows.map((row) => row.trimEnd())
    while (trimmed.at(-1) === '') trimmed.pop()
    return { rows: trimmed, cursor }
  }

  line(): string {
    return [...this.#before, ...this.#after].join('')
  }
}

function textWidth(text: string): number {
  return Array.from(text).reduce((sum, character) => sum + characterWidth(character), 0)
}

interface PressedKey {
  readonly name: string
  readonly sequence: string
  readonly effect: (perfect: PerfectTerminal) => void
}

const editingKeys: readonly PressedKey[] = [
  { name: 'left', sequence: '\u001B[D', effect: (perfect) => perfect.left() },
  { name: 'right', sequence: '\u001B[C', effect: (perfect) => perfect.right() },
  { name: 'home', sequence: '\u001B[H', effect: (perfect) => perfect.home() },
  { name: 'end', sequence: '\u001B[F', effect: (perfect) => perfect.end() },
  { name: 'backspace', sequence: '\u007F', effect: (perfect) => perfect.backspace() },
  { name: 'delete', sequence: '\u001B[3~', effect: (perfect) => perfect.delete() },
  { name: 'ctrl-u', sequence: '\u0015', effect: (perfect) => perfect.deleteToStart() },
  { name: 'ctrl-k', sequence: '\u000B', effect: (perfect) => perfect.deleteToEnd() },
]
const enter: PressedKey = { name: 'enter', sequence: '\r', effect: (perfect) => perfect.enter() }
const interrupt: PressedKey = { name: 'ctrl-c', sequence: '\u0003', effect: (perfect) => perfect.interrupt() }

const prompts = ['1> ', '2> ', '1 (reconnecting)> ', '東京> ']

/** Ten rows of the narrowest screen: the line always fits the lowest one, whatever the resizes. */
const lineWidthMax = 160

/** What the owner of the editor prints while a line is handed to it. */
function repliesTo(line: string): readonly string[] {
  return line.length % 3 === 0 ? [] : [`reply to ${line.trimEnd()}`]
}

function hintOf(line: string): string | undefined {
  const hints = [undefined, ' <key>', ' <key> <value…>', ' <key> <value>']
  return hints[line.length % hints.length]
}

const narrowCharacters = Array.from('abcdefgh ijklmnop 0123456789')
const wideCharacters = Array.from('漢字仮名交文日本語한국어')
const emoji = Array.from('😀🚀🎉🐟')
const accentedCharacters = Array.from('éøßß→')

/** mulberry32: small, and the same everywhere. */
class Random {
  /** Whether characters may be combining marks. */
  marks = false
  #state: number

  constructor(seed: number) {
    this.#state = Math.imul(seed, 0x9e3779b1)
  }

  between(low: number, high: number): number {
    return low + Math.floor(this.#next() * (high - low + 1))
  }

  chance(probability: number): boolean {
    return this.#next() < probability
  }

  of<Item>(items: readonly Item[]): Item {
    const item = items[this.between(0, items.length - 1)]
    if (item === undefined) throw new Error('an empty list has no items')
    return item
  }

  list<Item>(lengthMax: number, item: () => Item): Item[] {
    return Array.from({ length: this.between(1, lengthMax) }, item)
  }

  character(): string {
    const choice = this.between(1, 100)
    if (choice <= 70) return this.of(narrowCharacters)
    if (choice <= 85) return this.of(wideCharacters)
    if (choice <= 93) return this.of(emoji)
    if (choice <= 97 || !this.marks) return this.of(accentedCharacters)
    return '\u0301'
  }

  text(length: number): string {
    return Array.from({ length }, () => this.character()).join('')
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** As most programs do it, for the test of the test. */
class WidespreadRecipe implements Subject {
  readonly #readline: ReturnType<typeof createInterface>
  readonly #output: { write(text: string): unknown }

  constructor({ input, output, prompt }: ConstructorParameters<typeof LineEditor>[0]) {
    this.#output = output
    this.#readline = createInterface({ input, output, prompt, terminal: true })
    this.#readline.on('line', () => this.#readline.prompt())
    this.#readline.on('SIGINT', () => {})
    this.#readline.prompt()
  }

  printAbove(text: string): void {
    this.#output.write(`\u001B[2K\u001B[0G${text}\r\n`)
    this.#readline.prompt(true)
  }

  setPrompt(prompt: string): void {
    this.#readline.setPrompt(prompt)
    this.#readline.prompt(true)
  }

  close(): void {
    this.#readline.close()
  }
}
