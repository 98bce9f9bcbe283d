/**
 * Breaks a text into lines of at most `width` characters, between words where that is possible. A text of nothing
 * is one empty line. Indentation at the beginning is kept, and repeated on the lines that follow.
 */
export function wrap(text: string, width: number): readonly string[] {
  const indent = /^ */.exec(text)?.[0] ?? ''
  const lines: string[] = []
  let line = ''
  for (const word of text.trim().split(/ +/)) {
    for (const piece of pieces(word, width - indent.length)) {
      if (line === '') line = indent + piece
      else if (line.length + 1 + piece.length <= width) line += ` ${piece}`
      else {
        lines.push(line)
        line = indent + piece
      }
    }
  }
  lines.push(line)
  return lines
}

/** A word that is longer than a line is broken anyhow. */
function pieces(word: string, width: number): readonly string[] {
  if (word.length <= width) return [word]
  return Array.from({ length: Math.ceil(word.length / width) }, (_, index) =>
    word.slice(index * width, (index + 1) * width),
  )
}
