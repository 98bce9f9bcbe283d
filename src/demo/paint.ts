import type { ChalkInstance } from 'chalk'
import type { Tone } from './stage.ts'

/** Gives a text the colour of its tone. Nothing is said by colour alone. */
export function painted(paint: ChalkInstance, text: string, tone: Tone): string {
  switch (tone) {
    case 'plain':
      return text
    case 'strong':
      return paint.bold(text)
    case 'good':
      return paint.green(text)
    case 'waiting':
      return paint.yellow(text)
    case 'lab':
      return paint.magenta(text)
    case 'bad':
      return paint.red(text)
    case 'quiet':
      return paint.dim(text)
  }
}
