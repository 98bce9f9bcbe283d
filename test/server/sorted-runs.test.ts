import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { SortedRuns } from '../../src/server/sorted-runs.ts'

it('what was added in any order is read in the order of its code units', () => {
  fc.assert(
    fc.property(fc.nat(12_000), fc.nat(), (count, seed) => {
      const runs = new SortedRuns()
      const texts = Array.from({ length: count }, (_, index) => `${((index + 1) * (seed + 7_919)) % 10_007}`)
      for (const text of texts) runs.add(text)
      expect([...runs.read()]).toEqual(texts.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)))
    }),
    { numRuns: 30 },
  )
})

it('nothing added is nothing read', () => {
  expect([...new SortedRuns().read()]).toEqual([])
})
