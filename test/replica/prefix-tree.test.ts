import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PrefixTree } from '../../src/replica/prefix-tree.ts'

describe('a prefix tree', () => {
  it('finds what a search through all prefixes finds, whatever was set and deleted before', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '😀'), maxLength: 3 })
    const act = fc.oneof(
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('set' as const), prefix: text }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), prefix: text }) },
    )
    const seen = { matches: 0, deletions: 0 }
    fc.assert(
      fc.property(
        fc.array(act, { maxLength: 60, size: 'max' }),
        fc.uniqueArray(text, { maxLength: 20 }),
        (acts, keys) => {
          const tree = new PrefixTree<number>()
          const model = new Map<string, number>()
          const sorted = keys.toSorted((one, other) => (one < other ? -1 : 1))
          for (const [index, { kind, prefix }] of acts.entries()) {
            if (kind === 'set') {
              tree.set(prefix, index)
              model.set(prefix, index)
            } else {
              tree.delete(prefix)
              if (model.delete(prefix)) seen.deletions++
            }
            expect(tree.get(prefix)).toBe(model.get(prefix))
          }
          for (const key of keys) expect(tree.get(key)).toBe(model.get(key))
          const found = tree
            .matching(sorted)
            .map(({ item, from, to }) => [item, sorted.slice(from, to)] as const)
          const expected = [...model]
            .map(([prefix, item]) => [item, sorted.filter((key) => key.startsWith(prefix))] as const)
            .filter(([, matched]) => matched.length > 0)
          expect(new Map(found)).toEqual(new Map(expected))
          expect(found).toHaveLength(expected.length)
          seen.matches += found.length
        },
      ),
      { numRuns: 2_000 },
    )
    expect(seen.matches).toBeGreaterThan(1_000)
    expect(seen.deletions).toBeGreaterThan(1_000)
  })

  it('finds a prefix of any length, and those that are prefixes of each other from the shortest on', () => {
    const tree = new PrefixTree<number>()
    const lengths = Array.from({ length: 1_024 }, (_, length) => length)
    for (const length of lengths.toReversed()) tree.set('a'.repeat(length), length)
    const keys = Array.from(
      { length: 1_000 },
      (_, index) => 'a'.repeat(1_024) + String(index).padStart(3, '0'),
    )
    const matches = tree.matching(keys)
    expect(matches.map(({ item }) => item)).toEqual(lengths)
    expect(matches.every(({ from, to }) => from === 0 && to === keys.length)).toBe(true)
  })
})
