import { describe, expect, it } from 'vitest'
import { KeySpace } from '../../src/replica/key-space.ts'
import { versionOf } from './update-builder.ts'

const seesAll = (): boolean => true
const seesNone = (): boolean => false

function keySpaceOf(...keys: readonly string[]): KeySpace {
  const space = new KeySpace()
  for (const [index, key] of keys.entries())
    space.apply({ key, value: key }, versionOf('1', index + 1), seesAll)
  return space
}

describe('a key', () => {
  it('holds the last value of a history in which each write has seen the one before', () => {
    const space = new KeySpace()
    space.apply({ key: 'x', value: 1 }, versionOf('1', 1), seesAll)
    space.apply({ key: 'x', value: 2 }, versionOf('2', 2), seesAll)
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
      for (const version of order) space.apply({ key: 'x', value: version.origin }, version, seesNone)
      expect(space.siblingsOf('x')?.map(({ version }) => version)).toEqual([high, low])
      expect(space.conflictCount).toBe(1)
    }
  })

  it('loses those siblings that a write has seen, and no others (R5)', () => {
    const space = new KeySpace()
    for (const server of ['1', '2', '3'])
      space.apply({ key: 'x', value: server }, versionOf(server, 1), seesNone)
    space.apply(
      { key: 'x', value: 'merged' },
      versionOf('1', 2),
      (seen) => seen.origin !== versionOf('3', 1).origin,
    )
    expect(space.siblingsOf('x')).toEqual([
      { version: versionOf('1', 2), value: 'merged' },
      { version: versionOf('3', 1), value: '3' },
    ])
    space.apply({ key: 'x', value: 'done' }, versionOf('3', 3), seesAll)
    expect(space.conflictCount).toBe(0)
  })

  it('may have a tombstone as its winner or as a losing sibling, like any other version (R5)', () => {
    const space = new KeySpace()
    space.apply({ key: 'x', deleted: true }, versionOf('1', 1), seesNone)
    space.apply({ key: 'x', value: 'kept' }, versionOf('2', 1), seesNone)
    expect(space.siblingsOf('x')).toEqual([
      { version: versionOf('2', 1), value: 'kept' },
      { version: versionOf('1', 1), deleted: true },
    ])
    expect([space.keyCount, space.tombstoneCount]).toEqual([1, 0])
    space.apply({ key: 'x', deleted: true }, versionOf('3', 2), seesAll)
    expect([space.keyCount, space.tombstoneCount, space.conflictCount]).toEqual([0, 1, 0])
  })

  it('may hold null, which is a value and no tombstone', () => {
    const space = new KeySpace()
    space.apply({ key: 'x', value: null }, versionOf('1', 1), seesAll)
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
    space.apply({ key: 'b', deleted: true }, versionOf('1', 9), seesAll)
    expect(space.list({ prefix: '', from: '', limit: 1 })).toEqual({ keys: ['a'], next: 'c' })
  })

  it('of entries has tombstones too: replicas agree on them', () => {
    const space = keySpaceOf('b', 'a')
    space.apply({ key: 'a', deleted: true }, versionOf('1', 9), seesAll)
    expect([...space.entries()]).toEqual([
      ['a', [{ version: versionOf('1', 9), deleted: true }]],
      ['b', [{ version: versionOf('1', 1), value: 'b' }]],
    ])
  })

  it('of conflicts gives the keys with several siblings, by prefix', () => {
    const space = keySpaceOf('a/1', 'b/1', 'b/2')
    for (const key of ['a/1', 'b/2']) space.apply({ key, value: 'other' }, versionOf('2', 1), seesNone)
    expect(space.conflicts('').map(({ key }) => key)).toEqual(['a/1', 'b/2'])
    expect(space.conflicts('b/').map(({ key, siblings }) => [key, siblings.length])).toEqual([['b/2', 2]])
    space.apply({ key: 'b/2', value: 'settled' }, versionOf('1', 9), seesAll)
    expect(space.conflicts('').map(({ key }) => key)).toEqual(['a/1'])
  })

  it('of conflicts is sorted, whatever the order in which they arose', () => {
    const keys = ['c', 'a', 'B', 'ä', 'b']
    const space = keySpaceOf(...keys)
    for (const key of keys) space.apply({ key, value: 'other' }, versionOf('2', 1), seesNone)
    expect(space.conflicts('').map(({ key }) => key)).toEqual(['B', 'a', 'b', 'c', 'ä'])
  })
})
