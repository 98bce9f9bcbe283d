/**
 * Makes any text safe to show on a terminal.
 *
 * Values and keys come from strangers. Printed as they are, they could clear the screen, retitle the window, hide
 * what follows, or make one line look like two. So whatever a terminal would obey rather than show is written as an
 * escape that can be read: C0 and C1 control characters and DEL, the line and paragraph separators, and the
 * characters that reorder text (Unicode UAX #9, "Trojan Source").
 */

/** Every character that a terminal would obey rather than show. */
// oxlint-disable-next-line no-control-regex -- control characters are what this file is about.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g

const SHORT_ESCAPES: ReadonlyMap<string, string> = new Map([
  ['\n', String.raw`\n`],
  ['\r', String.raw`\r`],
  ['\t', String.raw`\t`],
])

/**
 * Returns `text` with every unprintable character written as an escape: `\n`, `\r`, `\t`, else `\x1b` or `\u202e`.
 *
 * Everything else is left alone, backslashes too: the result is for people's eyes and cannot be turned back.
 *
 * @param text any string
 * @returns one line that no terminal acts upon
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => SHORT_ESCAPES.get(character) ?? numericEscape(character))
}

/** Whether a terminal would show all of `text` as it is, so that `printable` would return it unchanged. */
export function isPrintable(text: string): boolean {
  return text.search(UNPRINTABLE) === -1
}

/**
 * Returns `text` fit for a line that is being typed, where an escape would become part of what is sent: tabs and
 * separators become spaces (readline would take the separators for Enter), and all else that a terminal obeys is dropped.
 */
export function typeable(text: string): string {
  return text.replace(/[\t\u2028\u2029]/g, ' ').replace(UNPRINTABLE, '')
}

function numericEscape(character: string): string {
  const code = character.charCodeAt(0)
  const hex = code.toString(16)
  return code < 0x100 ? String.raw`\x` + hex.padStart(2, '0') : String.raw`\u` + hex.padStart(4, '0')
}
