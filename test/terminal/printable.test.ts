import { array, assert, integer, oneof, property, string } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isPrintable, printable, typeable } from '../../src/terminal/printable.ts'

describe('printable', () => {
  test('leaves ordinary text of every script alone', () => {
    const text = 'Zürich 東京 😀 Ελλάδα שלום C:\\new "quoted" e\u0301'
    expect(printable(text)).toBe(text)
  })

  test('shows line ends and tabs as the escapes that programmers know', () => {
    expect(printable('a\nb\r\tc')).toBe(String.raw`a\nb\r\tc`)
  })

  test('disarms the escape sequences that clear the screen or retitle the window', () => {
    expect(printable('\u001B[2J\u001B]0;owned\u0007')).toBe(String.raw`\x1b[2J\x1b]0;owned\x07`)
    expect(printable('\u009B2J')).toBe(String.raw`\x9b2J`)
  })

  test('shows NUL, DEL and backspace, with which one text can overwrite another', () => {
    expect(printable('\u0000\u007F\b')).toBe(String.raw`\x00\x7f\x08`)
  })

  test('shows the characters that reorder text, and the separators that some terminals take for line ends', () => {
    expect(printable('\u202Aa\u202Eb\u2066c\u2069\u2028\u2029')).toBe(
      String.raw`\u202aa\u202eb\u2066c\u2069\u2028\u2029`,
    )
  })

  test('whatever goes in, nothing that a terminal obeys comes out, and a second pass changes nothing', () => {
    // Half of the units come from where the dangerous ones live: random strings alone would hardly meet any.
    const unit = oneof(integer({ min: 0, max: 0xa0 }), integer({ min: 0x2020, max: 0x2070 }))
    const dangerous = array(unit).map((codes) => String.fromCharCode(...codes))
    assert(
      property(oneof(string({ unit: 'binary' }), dangerous), (text) => {
        const shown = printable(text)
        expect(obeyedCodes(shown)).toEqual([])
        expect(printable(shown)).toBe(shown)
        expect(isPrintable(text)).toBe(shown === text)
        expect(obeyedCodes(typeable(text))).toEqual([])
      }),
    )
  })
})

describe('typeable', () => {
  test('keeps a paste on one line: tabs and separators become spaces, and what steers the terminal goes', () => {
    expect(typeable('write x\ta\u2028b\u202E\u009Bc\u001B')).toBe('write x a bc')
  })
})

/** The codes in `text` that a terminal obeys, from the ranges of the standards rather than from the code under test. */
function obeyedCodes(text: string): number[] {
  const codes = Array.from({ length: text.length }, (_, index) => text.charCodeAt(index))
  return codes.filter(
    (code) =>
      code < 0x20 ||
      (code >= 0x7f && code <= 0x9f) ||
      (code >= 0x2028 && code <= 0x202e) ||
      (code >= 0x2066 && code <= 0x2069),
  )
}
