/**
 * Text fitted to the width of a terminal. Left to itself a terminal breaks a line anywhere, in the middle of words too.
 *
 * A character is taken to have one column, and colours none. Where that is wrong (wide characters) the terminal breaks the
 * line once more, as it would have done anyway.
 */

export interface WrapOptions {
  /** Columns of the terminal; undefined where it is none, and lines are as long as they are. */
  readonly width: number | undefined
  /** How far the rows after the first are indented, counted from the line's own indentation. */
  readonly hangingIndent: number
}

/**
 * Breaks each line of a text between its words. A word that is longer than a row stays whole, for it may be something
 * that is to be copied.
 */
export function wrapWords(text: string, { width, hangingIndent }: WrapOptions): string {
  if (width === undefined) return text
  return text
    .split('\n')
    .map((line) => wrapLine(line, width, hangingIndent))
    .join('\n')
}

/** Cuts what is too long for a number of columns, and shows that it was cut. */
export function cutTo(text: string, columnsMax: number): string {
  if (text.length <= columnsMax) return text
  const characters = Array.from(text)
  if (characters.length <= columnsMax) return text
  return `${characters.slice(0, Math.max(0, columnsMax - 1)).join('')}…`
}

function wrapLine(line: string, width: number, hangingIndent: number): string {
  if (columnsOf(line) <= width) return line
  const ownIndent = /^ */.exec(line)?.[0].length ?? 0
  // On a very narrow terminal the words need the room more.
  const indent = ownIndent + hangingIndent <= width / 2 ? ownIndent + hangingIndent : 0
  const rows: string[] = []
  let row = ''
  // Blanks within the line are kept: they make columns of it.
  for (const [, blanks = '', word = ''] of line.matchAll(/( *)([^ ]+)/g)) {
    if (row !== '' && columnsOf(row + blanks + word) > width) {
      rows.push(row)
      row = ' '.repeat(indent) + word
    } else {
      row += blanks + word
    }
  }
  return [...rows, row].join('\n')
}

function columnsOf(text: string): number {
  return Array.from(text.replaceAll(colour, '')).length
}

// oxlint-disable-next-line no-control-regex -- colours begin with a control character.
const colour = /\u001b\[[\d;]*m/g
