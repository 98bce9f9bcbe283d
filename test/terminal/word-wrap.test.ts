import { describe, expect, it } from 'vitest'
import { cutTo, wrapWords } from '../../src/terminal/word-wrap.ts'

describe('wrapping', () => {
  it('breaks lines between words, with a hanging indent', () => {
    const wrapped = wrapWords('error: nothing listens on 127.0.0.1:60001', { width: 20, hangingIndent: 2 })
    expect(wrapped.split('\n')).toEqual(['error: nothing', '  listens on', '  127.0.0.1:60001'])
  })

  it('keeps what fits as it is, columns and indentation too', () => {
    const text = '  read <key…>   read one key\n\n  exit          leave'
    expect(wrapWords(text, { width: 40, hangingIndent: 16 })).toBe(text)
    expect(wrapWords(text, { width: undefined, hangingIndent: 2 })).toBe(text)
  })

  it('indents from where the line itself begins, and goes on under the second column of a table', () => {
    const wrapped = wrapWords('  read <key…>   read one key or two', { width: 32, hangingIndent: 14 })
    expect(wrapped.split('\n')).toEqual(['  read <key…>   read one key or', `${' '.repeat(16)}two`])
  })

  it('never breaks within a word, however long, and counts no colours', () => {
    expect(wrapWords('to 0123456789abcdef', { width: 10, hangingIndent: 2 })).toBe('to\n  0123456789abcdef')
    const coloured = '\u001b[31merror:\u001b[39m no'
    expect(wrapWords(coloured, { width: 9, hangingIndent: 2 })).toBe(coloured)
  })
})

describe('cutting', () => {
  it('shows that something was cut, and halves no character', () => {
    expect(cutTo('lost', 4)).toBe('lost')
    expect(cutTo('found', 4)).toBe('fou…')
    expect(cutTo('😀😀😀', 2)).toBe('😀…')
  })
})
