import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AppliedVersion, SurvivingUpdates } from '../../src/replica/surviving-updates.ts'
import { versionOf } from './update-builder.ts'

function applied(position: number): AppliedVersion {
  return new AppliedVersion(versionOf('1', position + 1), position)
}

/** Updates at positions 0, 1, …, each of the keys given for it. */
function survivorsOf(...keys: readonly (readonly string[])[]): {
  readonly survivors: SurvivingUpdates
  readonly versions: readonly AppliedVersion[]
} {
  const survivors = new SurvivingUpdates()
  const versions = keys.map((_, position) => applied(position))
  for (const [position, version] of versions.entries()) {
    for (const key of keys[position] ?? []) survivors.add(version, key)
  }
  return { survivors, versions }
}

function positionsOf(versions: Iterable<AppliedVersion>): readonly number[] {
  return [...versions].map(({ position }) => position)
}

describe('the version of an applied update', () => {
  it('is to others a version like any other', () => {
    const version = applied(7)
    version.addKey('x')
    expect(version).toEqual(versionOf('1', 8))
    expect(JSON.parse(JSON.stringify(version))).toEqual(versionOf('1', 8))
    expect(Object.keys(version)).toEqual(['timestamp', 'origin'])
  })

  it('knows the keys that still have it, in the order of its writes', () => {
    const version = applied(0)
    expect([version.keys, version.survives]).toEqual([[], false])
    for (const key of ['c', 'a', 'b']) version.addKey(key)
    version.removeKey('a')
    version.removeKey('never had it')
    expect([version.keys, version.survives]).toEqual([['c', 'b'], true])
    version.removeKey('c')
    version.removeKey('b')
    expect([version.keys, version.survives]).toEqual([[], false])
  })
})

describe('the surviving updates (R11)', () => {
  it('are told in the order of application, page by page, by position', () => {
    const { survivors } = survivorsOf(['a'], ['b'], ['c'], ['d'])
    const first = survivors.page(1, 2)
    expect([positionsOf(first.versions), first.next, first.examined]).toEqual([[1, 2], 3, 2])
    const second = survivors.page(3, 2)
    expect([positionsOf(second.versions), second.next, second.examined]).toEqual([[3], undefined, 1])
    expect(survivors.page(4, 2)).toEqual({ versions: [], next: undefined, examined: 0 })
  })

  it('are those that have a key left, and are counted', () => {
    const { survivors, versions } = survivorsOf(['a', 'b'], ['c'])
    const [batch, single] = versions as [AppliedVersion, AppliedVersion]
    survivors.remove(batch, 'a')
    survivors.remove(single, 'c')
    expect([positionsOf(survivors.walk()), survivors.size]).toEqual([[0], 1])
    survivors.remove(batch, 'b')
    expect([positionsOf(survivors.walk()), survivors.size]).toEqual([[], 0])
  })

  it('show a slow reader nothing that was overwritten meanwhile, and all that was applied meanwhile', () => {
    const { survivors, versions } = survivorsOf(['a'], ['b'], ['c'])
    const walk = survivors.walk()
    expect(walk.next().value?.position).toBe(0)
    survivors.remove(versions[1] as AppliedVersion, 'b')
    survivors.add(applied(3), 'b')
    expect(walk.next().value?.position).toBe(2)
    survivors.add(applied(4), 'd')
    expect(positionsOf(walk)).toEqual([3, 4])
  })

  it('make a page bounded in slots, however many of them are empty', () => {
    const { survivors, versions } = survivorsOf(...Array.from({ length: 100 }, (_, index) => [`${index}`]))
    for (const version of versions.slice(0, 40)) survivors.remove(version, `${version.position}`)
    const page = survivors.page(0, 10)
    expect([positionsOf(page.versions), page.next, page.examined]).toEqual([[], 10, 10])
  })

  it('take no more slots than twice what survives, however often one key is written', () => {
    const survivors = new SurvivingUpdates()
    let last = applied(0)
    survivors.add(last, 'hot')
    for (let position = 1; position <= 10_000; position++) {
      const next = applied(position)
      survivors.remove(last, 'hot')
      survivors.add(next, 'hot')
      last = next
    }
    expect(survivors.page(0, 10_000).examined).toBeLessThan(1_100)
    expect(positionsOf(survivors.walk())).toEqual([10_000])
  })

  it('are found by position where a whole stretch of them was overwritten', () => {
    const survivors = new SurvivingUpdates()
    const versions = Array.from({ length: 5_000 }, (_, position) => applied(position))
    for (const version of versions) survivors.add(version, `${version.position}`)
    // A whole segment, between others that are full.
    for (const version of versions.slice(2_048, 3_072)) survivors.remove(version, `${version.position}`)
    expect(positionsOf(survivors.page(3_500, 2).versions)).toEqual([3_500, 3_501])
    expect(positionsOf(survivors.page(2_500, 2).versions)).toEqual([3_072, 3_073])
    for (const version of survivors.walk()) survivors.remove(version, `${version.position}`)
    expect(survivors.page(0, 2)).toEqual({ versions: [], next: undefined, examined: 0 })
    survivors.add(applied(5_000), 'again')
    expect(positionsOf(survivors.walk())).toEqual([5_000])
  })

  it('that are filled in are listed in a causal order: those from before the log by version, then the log', () => {
    const survivors = new SurvivingUpdates()
    survivors.fill()
    const versions = [9, 4, 7].map((timestamp) => new AppliedVersion(versionOf('1', timestamp), -1))
    const [late, early, logged] = versions as [AppliedVersion, AppliedVersion, AppliedVersion]
    const overwritten = applied(11)
    for (const version of [...versions, overwritten]) survivors.add(version, 'x')
    logged.moveTo(10)
    survivors.remove(overwritten, 'x')
    expect([...survivors.walk()]).toEqual([])
    survivors.order([...versions, overwritten], 10)
    expect([...survivors.walk()]).toEqual([early, late, logged])
    expect([positionsOf(survivors.walk()), survivors.size]).toEqual([[8, 9, 10], 3])
  })

  it('refuse to put more before the log than ever had positions there', () => {
    const survivors = new SurvivingUpdates()
    survivors.fill()
    const versions = ['a', 'b'].map((server) => new AppliedVersion(versionOf(server, 1), -1))
    for (const version of versions) survivors.add(version, 'x')
    expect(() => survivors.order(versions, 1)).toThrow('2 surviving updates stand before position 1')
  })

  it('are what a plain list would give, over many segments that shrink and are joined', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6_000 }), fc.integer({ min: 1, max: 7 }), (keys, stride) => {
        const survivors = new SurvivingUpdates()
        const holders = new Map<string, AppliedVersion>()
        for (let position = 0; position < 20_000; position++) {
          const key = `${(position * stride * stride) % (position % 3 === 0 ? 50 : keys)}`
          const before = holders.get(key)
          if (before !== undefined) survivors.remove(before, key)
          const version = applied(position)
          survivors.add(version, key)
          holders.set(key, version)
        }
        const expected = positionsOf(holders.values()).toSorted((a, b) => a - b)
        expect(positionsOf(survivors.walk())).toEqual(expected)
        expect(survivors.size).toBe(expected.length)
        const middle = 10_000
        const page = survivors.page(middle, 20_000)
        expect(positionsOf(page.versions)).toEqual(expected.filter((position) => position >= middle))
        expect(survivors.page(0, 20_000).examined).toBeLessThanOrEqual(expected.length * 2)
      }),
      { numRuns: 40 },
    )
  })

  it('are what a plain list would give, whatever is added, removed and read', () => {
    const command = fc.oneof(
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('write'), key: fc.nat(9), also: fc.nat(9) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('page'), key: fc.nat(60), also: fc.nat(9) }) },
    )
    fc.assert(
      fc.property(fc.array(command, { maxLength: 100, size: 'max' }), (commands) => {
        const survivors = new SurvivingUpdates()
        const holders = new Map<string, AppliedVersion>()
        const all: AppliedVersion[] = []
        for (const { kind, key, also } of commands) {
          if (kind === 'write') {
            const version = applied(all.length)
            all.push(version)
            for (const name of new Set([`${key}`, `${also}`])) {
              const before = holders.get(name)
              if (before !== undefined) survivors.remove(before, name)
              survivors.add(version, name)
              holders.set(name, version)
            }
          }
          const held = new Set(holders.values())
          const expected = all.filter((version) => held.has(version))
          expect([...survivors.walk()]).toEqual(expected)
          expect(survivors.size).toBe(expected.length)
          const read: AppliedVersion[] = []
          for (let from: number | undefined = key; from !== undefined;) {
            const page = survivors.page(from, also + 1)
            read.push(...page.versions)
            from = page.next
          }
          expect(read).toEqual(expected.filter(({ position }) => position >= key))
        }
      }),
      { numRuns: 200 },
    )
  })
})
