import { describe, expect, it } from 'vitest'
import { KeySpace } from '../../src/replica/key-space.ts'
import { AppliedVersion } from '../../src/replica/surviving-updates.ts'
import { showVersion } from '../../src/replica/version.ts'
import { versionOf } from './update-builder.ts'

const seesAll = (): boolean => true
const seesNone = (): boolean => false

/** The version of an update at the position that its timestamp names: the histories here are one after the other. */
function applied(server: string, timestamp: number): AppliedVersion {
  return new AppliedVersion(versionOf(server, timestamp), timestamp)
}

function keySpaceOf(...keys: readonly string[]): KeySpace {
  const space = new KeySpace()
  for (const [index, key] of keys.entries())
    space.apply({ key, value: key }, applied('1', index + 1), seesAll)
  return space
}

/** Each as `version key…`, in order. */
function survivors(space: KeySpace): readonly string[] {
  return [...space.survivors.walk()].map((version) => [showVersion(version), ...version.keys].join(' '))
}

describe('a key', () => {
  it('holds the last value of a history in which each write has seen the one before', () => {
    const space = new KeySpace()
    space.apply({ key: 'x', value: 1 }, applied('1', 1), seesAll)
    space.apply({ key: 'x', value: 2 }, applied('2', 2), seesAll)
    expect(space.siblingsOf('x')).toEqual([{ version: versionOf('2', 2), value: 2 }])
    expect(space.conflictCount).toBe(0)
  })

  it('keeps concurrent versions side by side, the highest first, in whatever order they come (R4, R5)', () => {
    const [low, high] = [versionOf('1', 3), versionOf('2', 3)]
    for (const order of [
      [low, high],
      [high, low],
    ]) {
      const space = new KeySpace()
      for (const [position, version] of order.entries()) {
        const write = { key: 'x', value: version.origin }
        space.apply(write, new AppliedVersion(version, position), seesNone)
      }
      expect(space.siblingsOf('x')?.map(({ version }) => version)).toEqual([high, low])
      expect(space.conflictCount).toBe(1)
    }
  })

  it('loses those siblings that a write has seen, and no others (R5)', () => {
    const space = new KeySpace()
    for (const server of ['1', '2', '3'])
      space.apply({ key: 'x', value: server }, applied(server, 1), seesNone)
    space.apply(
      { key: 'x', value: 'merged' },
      applied('1', 2),
      (seen) => seen.origin !== versionOf('3', 1).origin,
    )
    expect(space.siblingsOf('x')).toEqual([
      { version: versionOf('1', 2), value: 'merged' },
      { version: versionOf('3', 1), value: '3' },
    ])
    space.apply({ key: 'x', value: 'done' }, applied('3', 3), seesAll)
    expect(space.conflictCount).toBe(0)
  })

  it('may have a tombstone as its winner or as a losing sibling, like any other version (R5)', () => {
    const space = new KeySpace()
    space.apply({ key: 'x', deleted: true }, applied('1', 1), seesNone)
    space.apply({ key: 'x', value: 'kept' }, applied('2', 1), seesNone)
    expect(space.siblingsOf('x')).toEqual([
      { version: versionOf('2', 1), value: 'kept' },
      { version: versionOf('1', 1), deleted: true },
    ])
    expect([space.keyCount, space.tombstoneCount]).toEqual([1, 0])
    space.apply({ key: 'x', deleted: true }, applied('3', 2), seesAll)
    expect([space.keyCount, space.tombstoneCount, space.conflictCount]).toEqual([0, 1, 0])
  })

  it('may hold null, which is a value and no tombstone', () => {
    const space = new KeySpace()
    space.apply({ key: 'x', value: null }, applied('1', 1), seesAll)
    expect(space.siblingsOf('x')).toEqual([{ version: versionOf('1', 1), value: null }])
    expect(space.keyCount).toBe(1)
  })
})

describe('listing', () => {
  it('gives the keys with a prefix, sorted, and where the next page begins', () => {
    const space = keySpaceOf('b/2', 'a', 'b/1', 'b/3', 'c', '__proto__')
    expect(space.list({ prefix: 'b/', from: '', limit: 2 })).toEqual({ keys: ['b/1', 'b/2'], next: 'b/3' })
    expect(space.list({ prefix: 'b/', from: 'b/3', limit: 2 })).toEqual({ keys: ['b/3'] })
    expect(space.list({ prefix: '', from: '', limit: 10 }).keys).toEqual([
      '__proto__',
      'a',
      'b/1',
      'b/2',
      'b/3',
      'c',
    ])
    expect(space.list({ prefix: 'b/', from: 'c', limit: 2 })).toEqual({ keys: [] })
  })

  it('leaves tombstones out, and never begins the next page at one', () => {
    const space = keySpaceOf('a', 'b', 'c')
    space.apply({ key: 'b', deleted: true }, applied('1', 9), seesAll)
    expect(space.list({ prefix: '', from: '', limit: 1 })).toEqual({ keys: ['a'], next: 'c' })
  })

  it('of entries has tombstones too: replicas agree on them', () => {
    const space = keySpaceOf('b', 'a')
    space.apply({ key: 'a', deleted: true }, applied('1', 9), seesAll)
    expect([...space.entries()]).toEqual([
      ['a', [{ version: versionOf('1', 9), deleted: true }]],
      ['b', [{ version: versionOf('1', 1), value: 'b' }]],
    ])
  })

  it('of conflicts gives the keys with several siblings, by prefix', () => {
    const space = keySpaceOf('a/1', 'b/1', 'b/2')
    for (const key of ['a/1', 'b/2']) space.apply({ key, value: 'other' }, applied('2', 1), seesNone)
    expect(space.conflicts('').map(({ key }) => key)).toEqual(['a/1', 'b/2'])
    expect(space.conflicts('b/').map(({ key, siblings }) => [key, siblings.length])).toEqual([['b/2', 2]])
    space.apply({ key: 'b/2', value: 'settled' }, applied('1', 9), seesAll)
    expect(space.conflicts('').map(({ key }) => key)).toEqual(['a/1'])
  })

  it('of conflicts is sorted, whatever the order in which they arose', () => {
    const keys = ['c', 'a', 'B', 'ä', 'b']
    const space = keySpaceOf(...keys)
    for (const key of keys) space.apply({ key, value: 'other' }, applied('2', 1), seesNone)
    expect(space.conflicts('').map(({ key }) => key)).toEqual(['B', 'a', 'b', 'c', 'ä'])
  })
})

describe('the survivors of a key space (R11)', () => {
  it('are the updates that are still siblings, each with the keys where it is', () => {
    const space = new KeySpace()
    const batch = applied('1', 1)
    for (const key of ['a', 'b', 'c']) space.apply({ key, value: 1 }, batch, seesAll)
    space.apply({ key: 'b', value: 2 }, applied('2', 2), seesAll)
    space.apply({ key: 'c', value: 3 }, applied('3', 3), seesNone)
    expect(survivors(space)).toEqual(['1@1 a c', '2@2 b', '3@3 c'])
    space.apply({ key: 'a', value: 4 }, applied('1', 4), seesAll)
    space.apply({ key: 'c', deleted: true }, applied('1', 5), seesAll)
    expect(survivors(space)).toEqual(['2@2 b', '4@1 a', '5@1 c'])
  })
})

describe('restoring (R6)', () => {
  it('brings back the siblings, the counts and the listing', () => {
    const space = new KeySpace()
    const restoration = space.restoration()
    const conflict = [
      { version: versionOf('2', 3), value: 'high' },
      { version: versionOf('1', 3), value: 'low' },
    ] as const
    restoration.restore('b', conflict)
    restoration.restore('a', [{ version: versionOf('1', 2), deleted: true }])
    restoration.restore('c', [{ version: versionOf('1', 1), value: null }])
    restoration.finish(9)
    expect(space.siblingsOf('b')).toEqual(conflict)
    expect(space.list({ prefix: '', from: '', limit: 9 })).toEqual({ keys: ['b', 'c'] })
    expect([space.keyCount, space.tombstoneCount, space.conflictCount]).toEqual([2, 1, 1])
    expect(survivors(space)).toEqual(['1@1 c', '2@1 a', '3@1 b', '3@2 b'])
  })

  it('makes one update of what several keys and the log have of it', () => {
    const space = new KeySpace()
    const restoration = space.restoration()
    restoration.restore('a', [{ version: versionOf('1', 1), value: 'a' }])
    restoration.restore('b', [{ version: versionOf('1', 1), value: 'b' }])
    space.apply({ key: 'c', value: 'c' }, restoration.locate(versionOf('1', 1), 7), seesAll)
    restoration.finish(5)
    expect(survivors(space)).toEqual(['1@1 a b c'])
    expect(space.siblingsOf('a')?.[0].version.position).toBe(7)
    space.apply({ key: 'b', value: 'new' }, applied('2', 8), seesAll)
    expect(survivors(space)).toEqual(['1@1 a c', '8@2 b'])
  })

  it('puts the survivors into a causal order: those before the log by version, then the log', () => {
    const space = new KeySpace()
    const restoration = space.restoration()
    restoration.restore('a', [{ version: versionOf('1', 9), value: 'before the log, late' }])
    restoration.restore('b', [{ version: versionOf('2', 6), value: 'second in the log' }])
    restoration.restore('c', [{ version: versionOf('1', 2), value: 'before the log, early' }])
    restoration.restore('d', [{ version: versionOf('3', 7), value: 'first in the log' }])
    restoration.restore('e', [{ version: versionOf('2', 5), value: 'before the last gap' }])
    restoration.locate(versionOf('2', 5), 99)
    restoration.locate(versionOf('3', 7), 100)
    restoration.locate(versionOf('2', 6), 101)
    restoration.locate(versionOf('4', 8), 102)
    restoration.finish(100)
    expect(survivors(space)).toEqual(['2@1 c', '5@2 e', '9@1 a', '7@3 d', '6@2 b'])
    expect([...space.survivors.walk()].map(({ position }) => position)).toEqual([97, 98, 99, 100, 101])
  })

  it('replays what overwrites a restored sibling', () => {
    const space = new KeySpace()
    const restoration = space.restoration()
    restoration.restore('a', [{ version: versionOf('1', 1), value: 'old' }])
    space.apply({ key: 'a', value: 'new' }, restoration.locate(versionOf('1', 2), 1), seesAll)
    restoration.finish(1)
    expect(space.siblingsOf('a')).toEqual([{ version: versionOf('1', 2), value: 'new' }])
    expect(survivors(space)).toEqual(['2@1 a'])
  })
})
