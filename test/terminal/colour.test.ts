import { describe, expect, it } from 'vitest'
import { chalkFor, colourLevel } from '../../src/terminal/colour.ts'

/** A terminal of so many bits of colour, as Node's own `hasColors` tells it. */
const terminal = (bits: number) => ({ isTTY: true, hasColors: (count: number) => 2 ** bits >= count })
const file = {}

describe('the colours of a stream', () => {
  it('are those that the terminal has', () => {
    expect(colourLevel(terminal(1), { env: {} })).toBe(0)
    expect(colourLevel(terminal(4), { env: {} })).toBe(1)
    expect(colourLevel(terminal(8), { env: {} })).toBe(2)
    expect(colourLevel(terminal(24), { env: {} })).toBe(3)
  })

  it('are none in a file or a pipe', () => {
    expect(colourLevel(file, { env: { COLORTERM: 'truecolor' } })).toBe(0)
  })

  it('are 16 on a terminal that cannot say, and none on a dumb one', () => {
    expect(colourLevel({ isTTY: true }, { env: {} })).toBe(1)
    expect(colourLevel({ isTTY: true }, { env: { TERM: 'dumb' } })).toBe(0)
  })

  it('are forced by FORCE_COLOR, at the level that it names', () => {
    expect(colourLevel(file, { env: { FORCE_COLOR: '1' } })).toBe(1)
    expect(colourLevel(file, { env: { FORCE_COLOR: 'true' } })).toBe(1)
    expect(colourLevel(file, { env: { FORCE_COLOR: '2' } })).toBe(2)
    expect(colourLevel(file, { env: { FORCE_COLOR: '3' } })).toBe(3)
    expect(colourLevel(terminal(24), { env: { FORCE_COLOR: '0' } })).toBe(0)
    expect(colourLevel(terminal(24), { env: { FORCE_COLOR: 'false' } })).toBe(0)
  })

  it('are switched off by NO_COLOR, which beats FORCE_COLOR', () => {
    expect(colourLevel(terminal(24), { env: { NO_COLOR: '1' } })).toBe(0)
    expect(colourLevel(terminal(24), { env: { NO_COLOR: '0', FORCE_COLOR: '3' } })).toBe(0)
  })

  it('are not touched by an empty NO_COLOR or FORCE_COLOR', () => {
    expect(colourLevel(terminal(8), { env: { NO_COLOR: '', FORCE_COLOR: '' } })).toBe(2)
    expect(colourLevel(file, { env: { FORCE_COLOR: '' } })).toBe(0)
  })

  it('follow --color and --no-color before all else', () => {
    expect(colourLevel(terminal(24), { flag: false, env: { FORCE_COLOR: '3' } })).toBe(0)
    expect(colourLevel(file, { flag: true, env: {} })).toBe(1)
    expect(colourLevel(terminal(8), { flag: true, env: { NO_COLOR: '1' } })).toBe(2)
    expect(colourLevel(file, { flag: true, env: { FORCE_COLOR: '3' } })).toBe(3)
    expect(colourLevel(file, { flag: true, env: { FORCE_COLOR: '0' } })).toBe(1)
  })

  it('are asked of the stream without the variables that have been judged already', () => {
    const seen: object[] = []
    const stream = { isTTY: true, hasColors: (_count: number, env: object) => seen.push(env) > 0 }
    expect(colourLevel(stream, { env: { TERM: 'xterm', NO_COLOR: '', FORCE_COLOR: '' } })).toBe(3)
    expect(seen).toEqual([{ TERM: 'xterm' }])
  })

  it('are decided for stdout and stderr apart', () => {
    const env = {}
    expect(chalkFor(file, { env }).red('lost')).toBe('lost')
    expect(chalkFor(terminal(4), { env }).red('lost')).toBe('\u001B[31mlost\u001B[39m')
  })
})
