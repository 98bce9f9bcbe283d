import { describe, expect, it } from 'vitest'
import { nearestWord } from '../../src/protocol/nearest-word.ts'

const COMMANDS = [
  'write',
  'read',
  'delete',
  'keys',
  'watch',
  'conflicts',
  'status',
  'waiting',
  'why',
  'help',
  'exit',
]

describe('nearestWord', () => {
  it.each([
    ['wrte', 'write', 'a missing character'],
    ['wriite', 'write', 'an additional character'],
    ['wride', 'write', 'a wrong character'],
    ['wirte', 'write', 'two swapped characters'],
    ['WRITE', 'write', 'other case'],
    ['conf', 'conflicts', 'an abbreviation'],
    ['stauts', 'status', 'a swap within a longer word'],
    ['confilct', 'conflicts', 'two slips in a word of eight'],
    ['write', 'write', 'no slip at all'],
  ])('for "%s" suggests "%s": %s', (typed, meant) => {
    expect(nearestWord(typed, COMMANDS)).toBe(meant)
  })

  it.each(['x', 'banana', 'qqqqq', ''])('suggests nothing for "%s"', (typed) => {
    expect(nearestWord(typed, COMMANDS)).toBeUndefined()
  })

  it('suggests nothing when there are no candidates', () => {
    expect(nearestWord('write', [])).toBeUndefined()
  })

  it('prefers the longer common beginning between equally distant candidates', () => {
    expect(nearestWord('peex', ['peek', 'seex'])).toBe('peek')
    expect(nearestWord('peex', ['seex', 'peek'])).toBe('peek')
  })

  it('prefers the earlier candidate when nothing else decides', () => {
    expect(nearestWord('wa', ['watch', 'waiting'])).toBe('watch')
  })

  it('answers a very long word at once', () => {
    const candidates = { *[Symbol.iterator]() {}, length: 0 } as unknown as readonly string[]
    expect(nearestWord('w'.repeat(50_000_000), candidates)).toBeUndefined()
    expect(nearestWord('w'.repeat(49), ['w'.repeat(49)])).toBeUndefined()
  })

  it('allows one slip for every three characters typed', () => {
    expect(nearestWord('abcdxx', ['abcdef'])).toBe('abcdef')
    expect(nearestWord('abcxxx', ['abcdef'])).toBeUndefined()
  })
})
