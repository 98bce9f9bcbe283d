import type { ChalkInstance } from 'chalk'
import { painted } from './paint.ts'
import type { Message, Note, Stage, Tone } from './stage.ts'
import { wrap } from './wrap.ts'

/** A stage for places too narrow for columns: one line per event, `who: what`. */
export class NarrowPage implements Stage {
  readonly #width: number
  readonly #paint: ChalkInstance

  constructor(options: {
    /** Of the terminal, in characters. */
    readonly width: number
    readonly paint: ChalkInstance
  }) {
    this.#width = Math.max(options.width, widthMin)
    this.#paint = options.paint
  }

  open(text: string): readonly string[] {
    return wrap(text, this.#width)
  }

  scene(title: string, text: string): readonly string[] {
    return ['', this.#paint.bold.underline(title), ...wrap(text, this.#width), '']
  }

  note({ at, text, tone }: Note): readonly string[] {
    return this.#said(`${at.name}:`, text, tone)
  }

  together(notes: readonly Note[]): readonly string[] {
    // Who see the same are named together.
    const texts = [...new Set(notes.map(({ text }) => text))]
    return texts.flatMap((text) => {
      const alike = notes.filter((note) => note.text === text)
      return this.#said(`${alike.map(({ at }) => at.name).join(', ')}:`, text, alike[0]?.tone)
    })
  }

  message({ from, to, isStopped = false }: Message): readonly string[] {
    const arrow = isStopped ? '╌┃' : '─▶'
    return [
      ...this.#said(`${from.at.name} ${arrow} ${to.at.name}:`, from.text, isStopped ? 'lab' : from.tone),
      ...(to.text === '' ? [] : this.#said(`${to.at.name}:`, to.text, to.tone)),
    ]
  }

  aside(text: readonly string[], tone: Tone = 'plain'): readonly string[] {
    const lines = text.flatMap((line) => wrap(`    ${line}`, this.#width))
    return ['', ...lines.map((line) => painted(this.#paint, line, tone)), '']
  }

  #said(who: string, what: string, tone: Tone = 'plain'): readonly string[] {
    const [first = '', ...rest] = wrap(`${who} ${what}`, this.#width - 2)
    const words = first.slice(who.length)
    return [
      this.#paint.bold(first.slice(0, who.length)) + painted(this.#paint, words, tone),
      ...rest.map((line) => painted(this.#paint, `  ${line}`, tone)),
    ]
  }
}

/** Below this a terminal is not for reading; its lines are left to break as they like. */
const widthMin = 20
