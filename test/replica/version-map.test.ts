import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VersionMap } from '../../src/replica/version-map.ts'
import { versionOf } from './update-builder.ts'

describe('a map by version', () => {
  it('does what a map by names does', () => {
    const version = fc
      .tuple(
        fc.constantFrom('1', '2'),
        fc.oneof(fc.nat(5), fc.integer({ min: 1_020, max: 1_030 }), fc.maxSafeNat()),
      )
      .map(([server, timestamp]) => versionOf(server, timestamp + 1))
    const step = fc.record({ version, item: fc.option(fc.nat(3), { nil: undefined }) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const versions = new VersionMap<number>()
        const names = new Map<string, number>()
        for (const { version: at, item } of steps) {
          const name = `${at.timestamp}@${at.origin}`
          expect(versions.get(at)).toBe(names.get(name))
          if (item === undefined) {
            expect(versions.delete(at)).toBe(names.delete(name))
          } else {
            versions.set(at, item)
            names.set(name, item)
          }
          expect(versions.get(at)).toBe(item)
          expect(versions.size).toBe(names.size)
        }
        const sorted = (items: Iterable<number>) => [...items].toSorted((one, other) => one - other)
        expect(sorted(versions.values())).toEqual(sorted(names.values()))
      }),
    )
  })
})
