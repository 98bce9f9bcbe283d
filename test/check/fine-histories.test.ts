import { describe, expect, it } from 'vitest'
import { checkHistory } from '../../src/check/check-history.ts'
import { Recording } from './recording.ts'

describe('a history is fine where', () => {
  it('a write is read by others, or not yet', () => {
    const recording = new Recording()
      .read('bob', 'x')
      .write('alice', 'x', 'lost', '1@a')
      .read('bob', 'x')
      .read('carol', 'x', 'lost', '1@a')
      .read('bob', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([])
  })

  it('two sessions write one key at once, and each reads its own until it learns of the higher one', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('bob', 'x', 'found', '1@b')
      .read('alice', 'x', 'lost', '1@a')
      .read('bob', 'x', 'found', '1@b')
      .read('alice', 'x', 'found', '1@b')
      .final('1', 'x', 'found', '1@b')
      .final('2', 'x', 'found', '1@b')
    expect(recording.violations).toEqual([])
  })

  it('of equal timestamps the origin decides, by code unit', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@B')
      .write('bob', 'x', 'found', '1@a')
      .read('carol', 'x', 'lost', '1@B')
      .read('carol', 'x', 'found', '1@a')
    expect(recording.violations).toEqual([])
  })

  it('a watcher is told of the losing write of a conflict after the winning one', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('bob', 'x', 'found', '1@b')
      .push('carol', 'x', 'found', '1@b')
      .push('carol', 'x', 'lost', '1@a')
      .read('carol', 'x', 'found', '1@b')
    expect(recording.violations).toEqual([])
  })

  it('a watch is behind what its session has read and written', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .read('bob', 'x', 'found', '2@a')
      .write('bob', 'x', 'glad', '3@b')
      .push('bob', 'x', 'lost', '1@a')
      .push('bob', 'x', 'found', '2@a')
      .push('bob', 'x', 'glad', '3@b')
    expect(recording.violations).toEqual([])
  })

  it('a watcher reads a state: an effect, and then its cause as it was written again', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'y', 'found', '2@a')
      .write('alice', 'x', 'glad', '3@a')
      .push('bob', 'y', 'found', '2@a')
      .push('bob', 'x', 'glad', '3@a')
    expect(recording.violations).toEqual([])
  })

  it('a write of unknown outcome never happened', () => {
    const recording = new Recording().tryWrite('alice', 'x', 'lost', null).read('alice', 'x').read('bob', 'x')
    expect(recording.violations).toEqual([])
  })

  it('a write of unknown outcome happened, and somebody saw it', () => {
    const recording = new Recording()
      .tryWrite('alice', 'x', 'lost', null)
      .read('bob', 'x', 'lost', '1@a')
      .write('bob', 'x', 'found', '2@b')
      .read('alice', 'x', 'found', '2@b')
      .final('1', 'x', 'found', '2@b')
    expect(recording.violations).toEqual([])
  })

  it('a write of unknown outcome happens after what its session did next', () => {
    const recording = new Recording()
      .tryWrite('alice', 'x', 'lost', null)
      .read('alice', 'x')
      .write('alice', 'y', 'found', '5@b')
      .read('bob', 'y', 'found', '5@b')
      .read('bob', 'x')
      .read('carol', 'x', 'lost', '1@a')
      .read('carol', 'y')
    expect(recording.violations).toEqual([])
  })

  it('a request failed, and nothing came of it', () => {
    const recording = new Recording()
      .tryWrite('alice', 'x', 'lost', false)
      .tryDelete('alice', 'y', false)
      .read('alice', 'x')
      .final('1', 'z', 'glad', '1@a')
      .write('bob', 'z', 'glad', '1@a')
    expect(recording.violations).toEqual([])
    expect(checkHistory(recording.lines).counts).toMatchObject({ events: 4, ignored: 2, writes: 1, reads: 1 })
  })

  it('what was deleted is read as deleted, and written again', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .delete('alice', 'x', '2@a')
      .readDeleted('bob', 'x', '2@a')
      .write('bob', 'x', 'found', '3@b')
      .read('alice', 'x', 'found', '3@b')
      .final('1', 'x', 'found', '3@b')
    expect(recording.violations).toEqual([])
  })

  it('a deletion of unknown outcome is the only one that can have made a tombstone', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .tryDelete('alice', 'x', null)
      .readDeleted('bob', 'x', '2@a')
      .final('1', 'x', undefined, '2@a')
    expect(recording.violations).toEqual([])
  })

  it('several deletions of unknown outcome can have made a tombstone', () => {
    const recording = new Recording()
      .write('alice', 'y', 'found', '7@b')
      .tryDelete('alice', 'x', null)
      .tryDelete('bob', 'x', null)
      .readDeleted('carol', 'x', '2@a')
      .read('carol', 'y')
    expect(recording.violations).toEqual([])
  })

  it('tombstones have an explanation only if each has another one than comes to mind first', () => {
    const recording = new Recording()
      .tryDelete('alice', 'x', null)
      .batch('alice', { x: undefined, y: undefined })
      .tryDelete('alice', 'y', null)
      .readDeleted('bob', 'x', '1@a')
      .readDeleted('carol', 'y', '2@a')
      .readDeleted('dave', 'x', '3@a')
    expect(recording.violations).toEqual([])
  })

  it('a value tells the version of its batch, and so who deleted the other key', () => {
    const recording = new Recording()
      .tryDelete('alice', 'y', null)
      .batch('alice', { x: 'lost', y: undefined })
      .readDeleted('bob', 'y', '1@a')
      .read('bob', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([])
  })

  it('all keys of a batch are read as the batch left them, or all as they were before', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .batch('alice', { x: 'found', y: 'glad' }, '2@a')
      .readMany('bob', { x: ['lost', '1@a'], y: undefined })
      .readMany('bob', { x: ['found', '2@a'], y: ['glad', '2@a'] })
    expect(recording.violations).toEqual([])
  })

  it('the lines of a session stand in another order than its places', () => {
    const { lines } = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .read('bob', 'x', 'lost', '1@a')
      .read('bob', 'x', 'found', '2@a')
    expect(checkHistory(lines.toReversed())).toMatchObject({ ok: true, found: 0, violations: [] })
  })

  it('every copy of an acknowledged write was destroyed', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .write('alice', 'y', 'glad', '3@a')
      .lost('2@a')
      .lost('3@a')
      .final('1', 'x', 'lost', '1@a')
      .final('2', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([])
  })

  it('nothing is said of the end', () => {
    const { counts, ok } = checkHistory(new Recording().write('alice', 'x', 'lost', '1@a').lines)
    expect({ counts, ok }).toEqual({
      ok: true,
      counts: { events: 1, sessions: 1, writes: 1, reads: 0, pushes: 0, ignored: 0, servers: 0 },
    })
  })

  it('a key is called as what every object has', () => {
    const recording = new Recording()
      .write('alice', '__proto__', 'lost', '1@a')
      .write('alice', 'constructor', 'found', '2@a')
      .read('toString', '__proto__', 'lost', '1@a')
      .read('toString', 'constructor', 'found', '2@a')
    expect(recording.violations).toEqual([])
  })
})
