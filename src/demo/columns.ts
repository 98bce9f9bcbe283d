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

  open(): readonly string[] {
    const names = this.#participants.map(({ name }) => name)
    const places = this.#participants.map(({ place }) => place ?? '')
    const rule = this.#widths.map((width) => '─'.repeat(width)).join('─┼─')
    return [
      this.#line(names.map((name, index) => this.#paint.bold(this.#pad(index, name)))),
      this.#line(places.map((place, index) => this.#paint.dim(this.#pad(index, place)))),
      this.#paint.dim(rule),
    ].map(trimEnd)
  }

  scene(title: string, text: string): readonly string[] {
    const lines = wrap(text, Math.min(this.#total(), readingWidthMax))
    return ['', this.#paint.bold.underline(title), ...lines, '']
  }

  note({ at, text, tone }: Note): readonly string[] {
    const column = this.#indexOf(at)
    return wrap(text, this.#width(column)).map((line) =>
      trimEnd(
        this.#line(
          this.#participants.map((_, index) =>
            index === column ? this.#painted(this.#pad(index, line), tone) : this.#pad(index, ''),
          ),
        ),
      ),
    )
  }

  message({ from, to, isStopped = false }: Message): readonly string[] {
    const start = this.#indexOf(from.at)
    const end = this.#indexOf(to.at)
    const said = wrap(from.text, this.#width(start))
    const heard = wrap(to.text, this.#width(end))
    const count = Math.max(said.length, heard.length)
    return Array.from({ length: count }, (_, row) => {
      const text = (index: number): string =>
        (index === start ? said[row] : index === end ? heard[row] : undefined) ?? ''
      const tone = (index: number): Tone | undefined => (index === start ? from.tone : index === end ? to.tone : undefined)
      if (row > 0) {
        return trimEnd(
          this.#line(this.#participants.map((_, index) => this.#painted(this.#pad(index, text(index)), tone(index)))),
        )
      }
      return trimEnd(this.#arrow({ start, end, isStopped, text, tone }))
    })
  }

  aside(text: readonly string[], tone: Tone = 'plain'): readonly string[] {
    const width = Math.min(this.#total(), readingWidthMax) - asideIndent.length
    return text.flatMap((line) => wrap(line, width)).map((line) => asideIndent + this.#painted(line, tone))
  }

  /** The line with the arrow: from the end of what was said to the column of whoever hears it. */
  #arrow(options: {
    readonly start: number
    readonly end: number
    readonly isStopped: boolean
    readonly text: (index: number) => string
    readonly tone: (index: number) => Tone | undefined
  }): string {
    const { start, end, isStopped, text, tone } = options
    const isRightward = end > start
    const shaft = isStopped ? '╌' : '─'
    const paintShaft = (drawn: string): string => this.#painted(drawn, isStopped ? 'lab' : 'quiet')
    const low = Math.min(start, end)
    const high = Math.max(start, end)
    let line = ''
    for (const index of this.#participants.keys()) {
      const width = this.#width(index)
      if (index > low && index < high) {
        line += paintShaft(shaft.repeat(width))
      } else if (index === start) {
        // The shaft begins where the words end, so that the eye need not jump.
        const words = text(index)
        const left = width - words.length
        if (isRightward && left > 1) {
          line += `${this.#painted(words, tone(index))} ${paintShaft(shaft.repeat(left - 1))}`
        } else line += this.#painted(this.#pad(index, words), tone(index))
      } else line += this.#painted(this.#pad(index, text(index)), tone(index))
      if (index === this.#participants.length - 1) break
      // The gap between this column and the next.
      if (index < low || index >= high) line += this.#paint.dim(' │ ')
      else if (isRightward) line += paintShaft(index + 1 < end ? `${shaft}┼${shaft}` : `${shaft}${isStopped ? '┃' : '▶'} `)
      else line += paintShaft(index > end ? `${shaft}┼${shaft}` : ` ${isStopped ? '┃' : '◀'}${shaft}`)
    }
    return line
  }

  #line(cells: readonly string[]): string {
    return cells.join(this.#paint.dim(' │ '))
  }

  #pad(index: number, text: string): string {
    return text.padEnd(this.#width(index))
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

  #total(): number {
    return this.#widths.reduce((sum, width) => sum + width, gapWidth * (this.#widths.length - 1))
  }
}

/** Five columns of 13 characters: fewer would break words that should be read in one piece. */
export const columnsWidthMin = 80

/** On a wider terminal the columns would stand too far apart to be seen together. */
const widthMax = 200
const readingWidthMax = 100
const gapWidth = 3
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
