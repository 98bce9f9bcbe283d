import { describe, expect, it } from 'vitest'
import { covers, coversCut, entryOf, raise, raiseAll, type MutableCut } from '../../src/replica/cut.ts'
import { originOf, versionOf } from './update-builder.ts'

const [one, two] = [originOf('1'), originOf('2')]

describe('a cut', () => {
  it('covers all updates of an origin up to its entry, and none of an origin that is absent', () => {
    const cut = new Map([[one, 5]])
    expect([4, 5, 6].map((timestamp) => covers(cut, versionOf('1', timestamp)))).toEqual([true, true, false])
    expect(covers(cut, versionOf('2', 1))).toBe(false)
    expect(entryOf(cut, two)).toBe(0)
  })

  it('covers another cut if it covers each of its entries', () => {
    const cut = new Map([
      [one, 5],
      [two, 2],
    ])
    expect(coversCut(cut, new Map([[one, 5]]))).toBe(true)
    expect(coversCut(cut, new Map())).toBe(true)
    expect(coversCut(cut, new Map([[two, 3]]))).toBe(false)
  })

  it('only ever rises', () => {
    const cut: MutableCut = new Map([[one, 5]])
    expect(raise(cut, one, 5)).toBe(false)
    expect(raise(cut, one, 4)).toBe(false)
    expect(raise(cut, one, 7)).toBe(true)
    raiseAll(cut, [
      [one, 6],
      [two, 1],
    ])
    expect([...cut]).toEqual([
      [one, 7],
      [two, 1],
    ])
  })
})
