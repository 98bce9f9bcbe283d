import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SortedKeys } from '../../src/replica/sorted-keys.ts'

function compareCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

describe('sorted keys', () => {
  it('are as a sorted array from any key on', () => {
    const key = fc.string({ unit: fc.constantFrom('a', 'b', 'é', '\uFFFF', '😀'), maxLength: 4 })
    fc.assert(
      fc.property(fc.uniqueArray(key, { maxLength: 60 }), key, (keys, from) => {
        const sorted = new SortedKeys()
        for (const key of keys) sorted.add(key)
        expect([...sorted.from(from)]).toEqual(keys.filter((key) => key >= from).toSorted(compareCodeUnits))
      }),
    )
  })

  it('stay sorted through many splits of their blocks, added upwards, downwards or scattered', () => {
    const count = 5_000
    const upwards = Array.from({ length: count }, (_, index) => String(index).padStart(5, '0'))
    const scattered = upwards.map((_, index) => upwards[(index * 2_477) % count] as string)
    for (const order of [upwards, upwards.toReversed(), scattered]) {
      const sorted = new SortedKeys()
      for (const key of order) sorted.add(key)
      expect([...sorted.from('')]).toEqual(upwards)
      expect([...sorted.from('04990')]).toEqual(upwards.slice(4_990))
      expect([...sorted.from('0499')]).toEqual(upwards.slice(4_990))
      expect([...sorted.from('9')]).toEqual([])
    }
  })

  it('of an empty set are none', () => {
    expect([...new SortedKeys().from('')]).toEqual([])
  })
})
