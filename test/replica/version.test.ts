import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  compareVersions,
  makeOrigin,
  serverOf,
  showVersion,
  type Version,
} from '../../src/replica/version.ts'
import { versionOf } from './update-builder.ts'

const versions: fc.Arbitrary<Version> = fc.record({
  timestamp: fc.integer({ min: 1, max: 4 }),
  origin: fc
    .tuple(fc.constantFrom('1', '2', '10', 'a', 'B'), fc.constantFrom('a', 'b'))
    .map(([server, incarnation]) => makeOrigin({ server, incarnation })),
})

describe('the order of versions (R1)', () => {
  it('is by timestamp first', () => {
    expect(compareVersions(versionOf('9', 1), versionOf('1', 2))).toBeLessThan(0)
  })

  it('is then by origin in code units, so that 10 comes before 2, and B before a', () => {
    expect(compareVersions(versionOf('10', 1), versionOf('2', 1))).toBeLessThan(0)
    expect(compareVersions(versionOf('B', 1), versionOf('a', 1))).toBeLessThan(0)
  })

  it('tells incarnations of one server apart', () => {
    const [a, b] = ['a', 'b'].map((incarnation) => ({
      timestamp: 1,
      origin: makeOrigin({ server: '1', incarnation }),
    })) as [Version, Version]
    expect(compareVersions(a, b)).toBeLessThan(0)
  })

  it('is total: antisymmetric, transitive, and zero for the same version only', () => {
    fc.assert(
      fc.property(versions, versions, versions, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a))).toBe(0)
        expect(compareVersions(a, b) === 0).toBe(a.timestamp === b.timestamp && a.origin === b.origin)
        const [low, middle, high] = [a, b, c].toSorted(compareVersions) as [Version, Version, Version]
        expect(compareVersions(low, middle)).toBeLessThanOrEqual(0)
        expect(compareVersions(middle, high)).toBeLessThanOrEqual(0)
        expect(compareVersions(low, high)).toBeLessThanOrEqual(0)
      }),
    )
  })
})

describe('an origin', () => {
  it('is a server and one run of its process; people are shown the server', () => {
    const origin = makeOrigin({ server: 'west-1', incarnation: 'm3k9x' })
    expect(origin).toBe('west-1~m3k9x')
    expect(serverOf(origin)).toBe('west-1')
    expect(showVersion({ timestamp: 3, origin })).toBe('3@west-1')
  })
})
