import { findInText, showPath } from '../protocol/json-text.ts'
import { valueDepthMax } from '../protocol/limits.ts'
import type { JsonValue } from '../replica/update.ts'
import { printable } from '../terminal/printable.ts'

/**
 * Values as people type and read them: JSON where it is JSON, and text otherwise. What is shown can be typed again, and
 * means the same, as long as it holds nothing that a terminal would obey.
 */

/**
 * `5`, `true`, `{"a":1}` and `"5"` are JSON; `lost` and `two words` are text.
 *
 * @returns the value, or a sentence that says why this JSON cannot be kept as it is.
 */
export function valueFromText(text: string): { readonly value: JsonValue } | { readonly fault: string } {
  let value: JsonValue
  try {
    value = JSON.parse(text) as JsonValue
  } catch {
    return { value: text }
  }
  // The scanner reads messages, and takes a value to be where a message has one.
  const finding = findInText(`{"params":{"value":${text}}}`, valueDepthMax + 2)
  if (finding === undefined) return { value }
  return { fault: `${showPath(finding.path.slice(1))} ${finding.message}` }
}

/** One line, safe for a terminal, however the value looks. */
export function textFromValue(value: JsonValue): string {
  if (typeof value !== 'string') return printable(JSON.stringify(value))
  return readsAsText(value) ? printable(value) : printable(JSON.stringify(value))
}

/** The same, cut where it gets long: to recognise a value rather than to read it. */
export function shortTextFromValue(value: JsonValue, lengthMax = 120): string {
  const text = textFromValue(value)
  return text.length <= lengthMax ? text : `${text.slice(0, lengthMax - 1)}…`
}

function readsAsText(text: string): boolean {
  if (text === '' || text.trim() !== text) return false
  // Anything else cannot begin JSON, and most text is told by its first character.
  if (!/^[-[{"\dtfn]/.test(text)) return true
  try {
    JSON.parse(text)
    return false
  } catch {
    return true
  }
}
