import type { ChalkInstance } from 'chalk'
import { painted } from './paint.ts'
import type { Message, Note, Participant, Stage, Tone } from './stage.ts'
import { wrap } from './wrap.ts'

/**
 * A stage of columns, one per participant. What goes from one to another is an arrow across the page, as in a
 * sequence diagram; what stops on its way is an arrow that ends at a wall.
 *
 * Texts are the demo's own: every character of them is one column of the terminal wide.
 */
export class Columns implements Stage {
  readonly #participants: readonly Participant[]
  readonly #widths: readonly number[]
  readonly #paint: ChalkInstance

  constructor(options: {
    readonly participants: readonly Participant[]
    /** Of the terminal, in characters; at least {@link columnsWidthMin}. */
    readonly width: number
    readonly paint: ChalkInstance
  }) {
    this.#participants = options.participants
    this.#widths = columnWidths(options.participants.length, Math.min(options.width, widthMax))
    this.#paint = options.paint
  }

  open(text: string): readonly string[] {
    return wrap(text, this.#readingWidth())
  }

  scene(title: string, text: string): readonly string[] {
    return ['', this.#paint.bold.underline(title), ...wrap(text, this.#readingWidth()), '', ...this.#heads()]
  }

  note(note: Note): readonly string[] {
    return this.together([note])
  }

  together(notes: readonly Note[]): readonly string[] {
    const cells = this.#participants.map((participant, index) => {
      const { text = '', tone } = notes.find(({ at }) => at === participant) ?? {}
      return { lines: wrap(text, this.#width(index)), tone }
    })
    return Array.from({ length: Math.max(...cells.map(({ lines }) => lines.length)) }, (_, row) =>
      this.#line(cells.map(({ lines, tone }, index) => this.#cell(index, lines[row] ?? '', tone))),
    )
  }

  message({ from, to, isStopped = false }: Message): readonly string[] {
    const start = this.#indexOf(from.at)
    const end = this.#indexOf(to.at)
    const said = wrap(from.text, this.#width(start))
    const heard = wrap(to.text, this.#width(end))
    const rest = this.together([
      { ...from, text: said.slice(1).join(' ') },
      { ...to, text: heard.slice(1).join(' ') },
    ])
    const arrow = this.#arrow({ start, end, isStopped, said: said[0] ?? '', heard: heard[0] ?? '', from, to })
    return said.length > 1 || heard.length > 1 ? [arrow, ...rest] : [arrow]
  }

  aside(text: readonly string[], tone: Tone = 'plain'): readonly string[] {
    const lines = text.flatMap((line) => wrap(asideIndent + line, this.#readingWidth()))
    return ['', ...lines.map((line) => this.#painted(line, tone)), '']
  }

  /** The names over the columns. They stand over every scene, because the scene before fills a screen. */
  #heads(): readonly string[] {
    const names = this.#participants.map(({ name }, index) => this.#cell(index, name, 'strong'))
    const places = this.#participants.map(({ place = '' }, index) => this.#cell(index, place, 'quiet'))
    const rule = this.#widths.map((width) => '─'.repeat(width)).join('─┼─')
    return [this.#line(names), this.#line(places), this.#paint.dim(rule)]
  }

  /** The line with the arrow: from the end of what was said to the column of whoever hears it. */
  #arrow(options: {
    readonly start: number
    readonly end: number
    readonly isStopped: boolean
    readonly said: string
    readonly heard: string
    readonly from: Note
    readonly to: Note
  }): string {
    const { start, end, isStopped, said, heard, from, to } = options
    const isRightward = end > start
    const low = Math.min(start, end)
    const high = Math.max(start, end)
    const shaft = isStopped ? '╌' : '─'
    const drawn = (line: string): string => this.#painted(line, isStopped ? 'lab' : 'quiet')
    const cells = this.#participants.map((_, index) => {
      const width = this.#width(index)
      if (index > low && index < high) return drawn(shaft.repeat(width))
      if (index === end) return this.#cell(index, heard, to.tone)
      if (index !== start) return this.#cell(index, '')
      // The shaft begins beside the words, so that the eye need not jump.
      const left = width - said.length - 1
      if (left < 0) return this.#cell(index, said, from.tone)
      const words = this.#painted(said, from.tone)
      if (isRightward) return `${words} ${drawn(shaft.repeat(left))}`
      const begun = Math.min(left, shaftBegunMax)
      return `${drawn(shaft.repeat(begun))} ${words}${' '.repeat(left - begun)}`
    })
    const head = isStopped ? '┃' : isRightward ? '▶' : '◀'
    // Where the words fill their column, the gap leaves them a space.
    const begin = said.length < this.#width(start) ? shaft : ' '
    const gap = (index: number): string => {
      if (index < low || index >= high) return this.#paint.dim(bar)
      if (isRightward)
        return drawn((index === low ? begin : shaft) + (index === high - 1 ? `${head} ` : `┼${shaft}`))
      return drawn((index === low ? ` ${head}` : `${shaft}┼`) + (index === high - 1 ? begin : shaft))
    }
    return trimEnd(cells.map((cell, index) => (index === 0 ? cell : gap(index - 1) + cell)).join(''))
  }

  #line(cells: readonly string[]): string {
    return trimEnd(cells.join(this.#paint.dim(bar)))
  }

  /** A text that fits into its column, with the spaces after it that fill it up. */
  #cell(index: number, text: string, tone?: Tone): string {
    return this.#painted(text, tone) + ' '.repeat(this.#width(index) - text.length)
  }

  #painted(text: string, tone: Tone = 'plain'): string {
    return painted(this.#paint, text, tone)
  }

  #indexOf(participant: Participant): number {
    return this.#participants.indexOf(participant)
  }

  #width(index: number): number {
    return this.#widths[index] ?? 0
  }

  #readingWidth(): number {
    const page = this.#widths.reduce((sum, width) => sum + width, gapWidth * (this.#widths.length - 1))
    return Math.min(page, readingWidthMax)
  }
}

/** Five columns of 13 characters: fewer would break words that should be read in one piece. */
export const columnsWidthMin = 80

/** On a wider terminal the columns would stand too far apart to be seen together. */
const widthMax = 200
const readingWidthMax = 100
const bar = ' │ '
const gapWidth = bar.length
/** Of an arrow to the left, before its words. */
const shaftBegunMax = 2
const asideIndent = '    '

/** As equal as whole characters allow; what is left over goes to the columns in the middle. */
function columnWidths(count: number, total: number): readonly number[] {
  const forText = total - gapWidth * (count - 1)
  const width = Math.floor(forText / count)
  const left = forText - width * count
  const first = Math.floor((count - left) / 2)
  return Array.from({ length: count }, (_, index) => width + (index >= first && index < first + left ? 1 : 0))
}

function trimEnd(line: string): string {
  return line.trimEnd()
}
