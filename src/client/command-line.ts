/** The words after a command's name. */
export interface CommandLine {
  readonly words: readonly string[]
  /** All of the text from the word at a place on, as it was typed; empty where there is no such word. */
  readonly textFrom: (place: number) => string
  /** A shell has read it first, and has taken quotes away. */
  readonly isFromShell: boolean
}

/** One word of a line: where it begins, and what it says. */
export interface Word {
  readonly text: string
  readonly start: number
  readonly end: number
}

/**
 * Cuts a line into words. Spaces and tabs separate them; a word in double quotes is a JSON string, so that keys may hold
 * spaces. A quote that does not end is an ordinary character, for values are typed as they come.
 */
export function wordsOf(line: string): readonly Word[] {
  const words: Word[] = []
  for (const match of line.matchAll(/"(?:[^"\\]|\\.)*"(?=\s|$)|\S+/g)) {
    const [typed] = match
    words.push({ text: unquoted(typed), start: match.index, end: match.index + typed.length })
  }
  return words
}

/** A line that was typed: the name of a command, and the rest. Undefined for a blank one. */
export function readLine(line: string): { readonly name: string; readonly rest: CommandLine } | undefined {
  const [first, ...words] = wordsOf(line)
  if (first === undefined) return undefined
  const textFrom = (place: number): string => {
    const word = words[place]
    return word === undefined ? '' : line.slice(word.start).trimEnd()
  }
  return { name: first.text, rest: { words: words.map(({ text }) => text), textFrom, isFromShell: false } }
}

/** Words that a shell has already cut and unquoted. */
export function fromShell(words: readonly string[]): CommandLine {
  return { words, textFrom: (place) => words.slice(place).join(' '), isFromShell: true }
}

function unquoted(typed: string): string {
  if (!typed.startsWith('"') || typed.length < 2) return typed
  try {
    const text: unknown = JSON.parse(typed)
    return typeof text === 'string' ? text : typed
  } catch {
    return typed
  }
}
