import { describe, expect, it } from 'vitest'
import { checkHistory } from '../../src/check/check-history.ts'
import { HistoryFault } from '../../src/check/history-line.ts'
import { Recording } from './recording.ts'

/** Each way in which a history can fail, in the smallest history that does, and the cycle that the checker shows. */

describe('ThinAirRead', () => {
  it('a value that nobody wrote', () => {
    expect(new Recording().read('bob', 'x', 'found', '1@a').violations).toEqual([
      'ThinAirRead: nobody wrote this value',
      '  line 1  bob  i 1  read x found [1,"a"]',
    ])
  })

  it('a value that was written to another key', () => {
    expect(
      new Recording().write('alice', 'y', 'found', '1@a').read('bob', 'x', 'found', '1@a').violations,
    ).toEqual([
      'ThinAirRead: this value was written to another key',
      '  line 1  alice  i 1  write y found [1,"a"]  ← the write of this value',
      '  line 2  bob    i 1  read x found [1,"a"]   ← this was seen',
    ])
  })

  it('a value whose write certainly did not happen', () => {
    expect(
      new Recording().tryWrite('alice', 'x', 'found', false).read('bob', 'x', 'found', '1@a').violations,
    ).toEqual([
      'ThinAirRead: this write certainly did not happen',
      '  line 1  alice  i 1  write x found  (did not happen)  ← the write of this value',
      '  line 2  bob    i 1  read x found [1,"a"]             ← this was seen',
    ])
  })

  it('a value under another version than was acknowledged', () => {
    expect(
      new Recording().write('alice', 'x', 'found', '1@a').read('bob', 'x', 'found', '2@a').violations,
    ).toEqual([
      'ThinAirRead: this value was acknowledged under another version',
      '  line 1  alice  i 1  write x found [1,"a"]  ← the write of this value',
      '  line 2  bob    i 1  read x found [2,"a"]   ← this was seen',
    ])
  })

  it('a write of unknown outcome that happened twice', () => {
    const recording = new Recording()
      .tryWrite('alice', 'x', 'found', null)
      .read('bob', 'x', 'found', '1@a')
      .read('bob', 'x', 'found', '3@b')
    expect(recording.violations).toEqual([
      'ThinAirRead: one value was seen under two versions: the write happened twice',
      '  line 1  alice  i 1  write x found  (outcome unknown)  ← the write of this value',
      '  line 2  bob    i 1  read x found [1,"a"]              ← the value was seen',
      '  line 3  bob    i 2  read x found [3,"b"]              ← this was seen',
    ])
  })

  it('a batch of unknown outcome of which two keys have two versions', () => {
    const recording = new Recording()
      .batch('alice', { x: 'lost', y: 'found' })
      .readMany('bob', { x: ['lost', '1@a'], y: ['found', '2@a'] })
    expect(recording.violations).toEqual([
      'ThinAirRead: one batch was seen under two versions: the write happened twice',
      '  line 1  alice  i 1  txn write y found  (outcome unknown)  ← the write of this value',
      '  line 2  bob    i 1  txn read x lost [1,"a"]               ← the batch was seen',
      '  line 2  bob    i 1  txn read y found [2,"a"]              ← this was seen',
    ])
  })

  it('an acknowledged batch with two versions', () => {
    const recording = new Recording().batch('alice', { x: 'lost', y: 'found' }, '1@a')
    const [line] = recording.lines
    if (line?.op !== 'txn') throw new Error('a batch is a txn')
    const [x, y] = line.ops
    if (x === undefined || y === undefined) throw new Error('of two keys')
    recording.lines[0] = { ...line, ops: [x, { ...y, version: [2, 'a'] }] }
    expect(recording.violations).toEqual([
      'ThinAirRead: one batch has two versions',
      '  line 1  alice  i 1  txn write x lost [1,"a"]',
      '  line 1  alice  i 1  txn write y found [2,"a"]  ← the same batch',
    ])
  })

  it('two acknowledged writes with one version', () => {
    const recording = new Recording().write('alice', 'x', 'lost', '1@a').write('bob', 'y', 'found', '1@a')
    expect(recording.violations).toEqual([
      'ThinAirRead: two writes have one version',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  bob    i 1  write y found [1,"a"]  ← the same version',
    ])
  })

  it('a write of unknown outcome under the version of another', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .tryWrite('bob', 'x', 'found', null)
      .read('carol', 'x', 'found', '1@a')
    expect(recording.violations).toEqual([
      'ThinAirRead: this version is another write’s',
      '  line 1  alice  i 1  write x lost [1,"a"]              ← the write of this version',
      '  line 2  bob    i 1  write x found  (outcome unknown)  ← the write of this value',
      '  line 3  carol  i 1  read x found [1,"a"]              ← this was seen',
    ])
  })

  it('a tombstone under the version of a write', () => {
    expect(
      new Recording().write('alice', 'x', 'lost', '1@a').readDeleted('bob', 'x', '1@a').violations,
    ).toEqual([
      'ThinAirRead: the write of this version did not delete this key',
      '  line 1  alice  i 1  write x lost [1,"a"]    ← the write of this version',
      '  line 2  bob    i 1  read x deleted [1,"a"]  ← this was seen',
    ])
  })

  it('a tombstone under the version of a deletion of another key', () => {
    expect(new Recording().delete('alice', 'y', '1@a').readDeleted('bob', 'x', '1@a').violations).toEqual([
      'ThinAirRead: the write of this version did not touch this key',
      '  line 1  alice  i 1  delete y [1,"a"]        ← the write of this version',
      '  line 2  bob    i 1  read x deleted [1,"a"]  ← this was seen',
    ])
  })

  it('a tombstone that no deletion made', () => {
    expect(
      new Recording().write('alice', 'x', 'lost', '1@a').readDeleted('bob', 'x', '2@a').violations,
    ).toEqual([
      'ThinAirRead: no deletion can have made this tombstone',
      '  line 2  bob  i 1  read x deleted [2,"a"]',
    ])
  })

  it('a deletion of unknown outcome that happened twice', () => {
    const recording = new Recording()
      .tryDelete('alice', 'x', null)
      .readDeleted('bob', 'x', '1@a')
      .readDeleted('bob', 'x', '2@a')
    expect(recording.violations).toEqual([
      'ThinAirRead: there are more tombstones than deletions: one of the deletions happened twice',
      '  line 1  alice  i 1  delete x  (outcome unknown)  ← a deletion that was seen',
      '  line 3  bob    i 2  read x deleted [2,"a"]       ← this was seen',
    ])
  })

  it('two deletions of unknown outcome that happened three times', () => {
    const recording = new Recording()
      .tryDelete('alice', 'x', null)
      .tryDelete('alice', 'x', null)
      .readDeleted('bob', 'x', '1@a')
      .readDeleted('bob', 'x', '2@a')
      .readDeleted('bob', 'x', '3@a')
    expect(recording.violations).toEqual([
      'ThinAirRead: there are more tombstones than deletions: one of the deletions happened twice',
      '  line 1  alice  i 1  delete x  (outcome unknown)  ← a deletion that was seen',
      '  line 2  alice  i 2  delete x  (outcome unknown)  ← a deletion that was seen',
      '  line 5  bob    i 3  read x deleted [3,"a"]       ← this was seen',
    ])
  })

  it('a push of what nobody wrote', () => {
    expect(new Recording().push('bob', 'x', 'found', '1@a').violations).toEqual([
      'ThinAirRead: nobody wrote this value',
      '  line 1  bob  i 1  push x found [1,"a"]',
    ])
  })

  it('an end state that nobody wrote', () => {
    expect(new Recording().final('1', 'x', 'found', '1@a').violations).toEqual([
      'ThinAirRead: nobody wrote this value',
      '  line 1  server 1  in the end  holds x found [1,"a"]',
    ])
  })
})

describe('CyclicCO', () => {
  it('a session reads what it is still to write', () => {
    const recording = new Recording().read('alice', 'x', 'found', '1@a').write('alice', 'x', 'found', '1@a')
    expect(recording.violations).toEqual([
      'CyclicCO: line 2 comes before itself',
      '  line 2  alice  i 2  write x found [1,"a"]',
      '  line 1  alice  i 1  read x found [1,"a"]   ← reads what line 2 wrote',
      '  line 2  alice  i 2  write x found [1,"a"]  ← session order: after line 1',
    ])
  })

  it('two sessions read what the other writes after that', () => {
    const recording = new Recording()
      .read('alice', 'y', 'glad', '1@b')
      .read('alice', 'q', undefined, undefined)
      .write('alice', 'x', 'found', '2@a')
      .read('bob', 'x', 'found', '2@a')
      .write('bob', 'y', 'glad', '1@b')
    expect(recording.violations).toEqual([
      'CyclicCO: line 5 comes before itself',
      '  line 5  bob    i 2  write y glad [1,"b"]',
      '  line 1  alice  i 1  read y glad [1,"b"]    ← reads what line 5 wrote',
      '  line 3  alice  i 3  write x found [2,"a"]  ← session order: after line 1',
      '  line 4  bob    i 1  read x found [2,"a"]   ← reads what line 3 wrote',
      '  line 5  bob    i 2  write y glad [1,"b"]   ← session order: after line 4',
    ])
  })

  it('a watcher is told what somebody writes only because of what the watcher writes after that', () => {
    const recording = new Recording()
      .push('alice', 'y', 'glad', '3@b')
      .write('alice', 'x', 'found', '2@a')
      .push('bob', 'x', 'found', '2@a')
      .write('bob', 'y', 'glad', '3@b')
    expect(recording.violations).toEqual([
      'CyclicCO: line 4 comes before itself',
      '  line 4  bob    i 2  write y glad [3,"b"]',
      '  line 1  alice  i 1  push y glad [3,"b"]    ← was told what line 4 wrote',
      '  line 2  alice  i 2  write x found [2,"a"]  ← session order: after line 1',
      '  line 3  bob    i 1  push x found [2,"a"]   ← was told what line 2 wrote',
      '  line 4  bob    i 2  write y glad [3,"b"]   ← session order: after line 3',
    ])
  })

  it('what else is wrong is found beside the cycle', () => {
    const recording = new Recording()
      .read('alice', 'x', 'found', '1@a')
      .write('alice', 'x', 'found', '1@a')
      .write('bob', 'y', 'glad', '1@b')
      .read('bob', 'y')
    expect(recording.violations).toEqual([
      'WriteCOInitRead (read your writes): line 4 finds nothing, though line 3, which comes before it, wrote the key',
      '  line 3  bob  i 1  write y glad [1,"b"]',
      '  line 4  bob  i 2  read y nothing        ← session order: after line 3, and finds nothing',
      'CyclicCO: line 2 comes before itself',
      '  line 2  alice  i 2  write x found [1,"a"]',
      '  line 1  alice  i 1  read x found [1,"a"]   ← reads what line 2 wrote',
      '  line 2  alice  i 2  write x found [1,"a"]  ← session order: after line 1',
    ])
  })
})

describe('WriteCOInitRead', () => {
  it('read your writes: a session does not find what it wrote', () => {
    expect(new Recording().write('alice', 'x', 'lost', '1@a').read('alice', 'x').violations).toEqual([
      'WriteCOInitRead (read your writes): line 2 finds nothing, though line 1, which comes before it, wrote the key',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  read x nothing        ← session order: after line 1, and finds nothing',
    ])
  })

  it('monotonic reads: a session no longer finds what it has read', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .read('bob', 'x', 'lost', '1@a')
      .read('bob', 'x')
    expect(recording.violations).toEqual([
      'WriteCOInitRead (monotonic reads): line 3 finds nothing, though line 1, which comes before it, wrote the key',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  bob    i 1  read x lost [1,"a"]   ← reads what line 1 wrote',
      '  line 3  bob    i 2  read x nothing        ← session order: after line 2, and finds nothing',
    ])
  })

  it('monotonic writes: a session’s second write is there, and the first is not', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'y', 'found', '2@a')
      .read('bob', 'y', 'found', '2@a')
      .read('bob', 'x')
    expect(recording.violations).toEqual([
      'WriteCOInitRead (monotonic writes): line 4 finds nothing, though line 1, which comes before it, wrote the key',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  write y found [2,"a"]  ← session order: after line 1',
      '  line 3  bob    i 1  read y found [2,"a"]   ← reads what line 2 wrote',
      '  line 4  bob    i 2  read x nothing         ← session order: after line 3, and finds nothing',
    ])
  })

  it('writes follow reads: an answer is there, and the question is not', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .read('bob', 'x', 'lost', '1@a')
      .write('bob', 'y', 'found', '2@b')
      .read('carol', 'y', 'found', '2@b')
      .read('carol', 'x')
    expect(recording.violations).toEqual([
      'WriteCOInitRead (writes follow reads): line 5 finds nothing, though line 1, which comes before it, wrote the key',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  bob    i 1  read x lost [1,"a"]    ← reads what line 1 wrote',
      '  line 3  bob    i 2  write y found [2,"b"]  ← session order: after line 2',
      '  line 4  carol  i 1  read y found [2,"b"]   ← reads what line 3 wrote',
      '  line 5  carol  i 2  read x nothing         ← session order: after line 4, and finds nothing',
    ])
  })

  it('a chain over more sessions is nobody’s guarantee, and wrong all the same', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .read('bob', 'x', 'lost', '1@a')
      .write('bob', 'y', 'found', '2@b')
      .read('carol', 'y', 'found', '2@b')
      .write('carol', 'z', 'glad', '3@c')
      .read('dave', 'z', 'glad', '3@c')
      .read('dave', 'x')
    expect(recording.violations).toEqual([
      'WriteCOInitRead: line 7 finds nothing, though line 1, which comes before it, wrote the key',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  bob    i 1  read x lost [1,"a"]    ← reads what line 1 wrote',
      '  line 3  bob    i 2  write y found [2,"b"]  ← session order: after line 2',
      '  line 4  carol  i 1  read y found [2,"b"]   ← reads what line 3 wrote',
      '  line 5  carol  i 2  write z glad [3,"c"]   ← session order: after line 4',
      '  line 6  dave   i 1  read z glad [3,"c"]    ← reads what line 5 wrote',
      '  line 7  dave   i 2  read x nothing         ← session order: after line 6, and finds nothing',
    ])
  })

  it('causal snapshot: a read of several keys finds an effect without its cause', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'y', 'found', '2@a')
      .readMany('bob', { x: undefined, y: ['found', '2@a'] })
    expect(recording.violations).toEqual([
      'WriteCOInitRead (causal snapshot): line 3 finds nothing, though line 1, which comes before it, wrote the key',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  write y found [2,"a"]                     ← session order: after line 1',
      '  line 3  bob    i 1  txn read x nothing, read y found [2,"a"]  ← reads what line 2 wrote, and finds nothing',
    ])
  })

  it('the way to the read does not lead through a deletion of which nobody knows where it stood', () => {
    const recording = new Recording()
      .write('alice', 'y', 'found', '5@a')
      .tryDelete('alice', 'x', null)
      .tryDelete('bob', 'x', null)
      .read('dave', 'y', 'found', '5@a')
      .write('dave', 'z', 'glad', '6@a')
      .read('carol', 'z', 'glad', '6@a')
      .readDeleted('carol', 'x', '8@a')
      .read('carol', 'y')
    expect(recording.violations).toEqual([
      'WriteCOInitRead (writes follow reads): line 8 finds nothing, though line 1, which comes before it, wrote the key',
      '  line 1  alice  i 1  write y found [5,"a"]',
      '  line 4  dave   i 1  read y found [5,"a"]   ← reads what line 1 wrote',
      '  line 5  dave   i 2  write z glad [6,"a"]   ← session order: after line 4',
      '  line 6  carol  i 1  read z glad [6,"a"]    ← reads what line 5 wrote',
      '  line 8  carol  i 3  read y nothing         ← session order: after line 6, and finds nothing',
    ])
  })

  it('a session no longer finds what it was told by a push', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .push('bob', 'x', 'lost', '1@a')
      .read('bob', 'x')
    expect(recording.violations).toEqual([
      'WriteCOInitRead (monotonic reads): line 3 finds nothing, though line 1, which comes before it, wrote the key',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  bob    i 1  push x lost [1,"a"]   ← was told what line 1 wrote',
      '  line 3  bob    i 2  read x nothing        ← session order: after line 2, and finds nothing',
    ])
  })
})

describe('WriteCORead', () => {
  it('read your writes: a session reads what it has overwritten itself', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .read('alice', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'WriteCORead (read your writes): line 3 sees what line 1 wrote, though line 2 overwrote it and comes before line 3',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  write x found [2,"a"]  ← session order: after line 1',
      '  line 3  alice  i 3  read x lost [1,"a"]    ← session order: after line 2, and reads what line 1 wrote',
    ])
  })

  it('monotonic reads: a session reads the new value, and then the one that it overwrote', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .read('bob', 'x', 'found', '2@a')
      .read('bob', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'WriteCORead (monotonic reads): line 4 sees what line 1 wrote, though line 2 overwrote it and comes before line 4',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  write x found [2,"a"]  ← session order: after line 1',
      '  line 3  bob    i 1  read x found [2,"a"]   ← reads what line 2 wrote',
      '  line 4  bob    i 2  read x lost [1,"a"]    ← session order: after line 3, and reads what line 1 wrote',
    ])
  })

  it('monotonic writes: a session’s last write is there, and the one before is overwritten still', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .write('alice', 'y', 'glad', '3@a')
      .read('bob', 'y', 'glad', '3@a')
      .read('bob', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'WriteCORead (monotonic writes): line 5 sees what line 1 wrote, though line 2 overwrote it and comes before line 5',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  write x found [2,"a"]  ← session order: after line 1',
      '  line 3  alice  i 3  write y glad [3,"a"]   ← session order: after line 2',
      '  line 4  bob    i 1  read y glad [3,"a"]    ← reads what line 3 wrote',
      '  line 5  bob    i 2  read x lost [1,"a"]    ← session order: after line 4, and reads what line 1 wrote',
    ])
  })

  it('writes follow reads: an answer is there, and what it answers is overwritten still', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .read('bob', 'x', 'found', '2@a')
      .write('bob', 'y', 'glad', '3@b')
      .read('carol', 'y', 'glad', '3@b')
      .read('carol', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'WriteCORead (writes follow reads): line 6 sees what line 1 wrote, though line 2 overwrote it and comes before line 6',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  write x found [2,"a"]  ← session order: after line 1',
      '  line 3  bob    i 1  read x found [2,"a"]   ← reads what line 2 wrote',
      '  line 4  bob    i 2  write y glad [3,"b"]   ← session order: after line 3',
      '  line 5  carol  i 1  read y glad [3,"b"]    ← reads what line 4 wrote',
      '  line 6  carol  i 2  read x lost [1,"a"]    ← session order: after line 5, and reads what line 1 wrote',
    ])
  })

  it('a deleted key has its old value again', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .delete('alice', 'x', '2@a')
      .readDeleted('bob', 'x', '2@a')
      .read('bob', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'WriteCORead (monotonic reads): line 4 sees what line 1 wrote, though line 2 overwrote it and comes before line 4',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  delete x [2,"a"]        ← session order: after line 1',
      '  line 3  bob    i 1  read x deleted [2,"a"]  ← reads what line 2 wrote',
      '  line 4  bob    i 2  read x lost [1,"a"]     ← session order: after line 3, and reads what line 1 wrote',
    ])
  })

  it('causal snapshot: a read of several keys shows an effect beside what its cause had overwritten', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .write('alice', 'y', 'glad', '3@a')
      .readMany('bob', { x: ['lost', '1@a'], y: ['glad', '3@a'] })
    expect(recording.violations).toEqual([
      'WriteCORead (causal snapshot): line 4 sees what line 1 wrote, though line 2 overwrote it and comes before line 4',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  write x found [2,"a"]                         ← session order: after line 1',
      '  line 3  alice  i 3  write y glad [3,"a"]                          ← session order: after line 2',
      '  line 4  bob    i 1  txn read x lost [1,"a"], read y glad [3,"a"]  ← reads what line 3 wrote, and reads what line 1 wrote',
    ])
  })

  it('a watcher is told of a write after it was told of the one that overwrote it', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .push('bob', 'x', 'found', '2@a')
      .push('bob', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'WriteCORead (monotonic reads): line 4 sees what line 1 wrote, though line 2 overwrote it and comes before line 4',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  write x found [2,"a"]  ← session order: after line 1',
      '  line 3  bob    i 1  push x found [2,"a"]   ← was told what line 2 wrote',
      '  line 4  bob    i 2  push x lost [1,"a"]    ← session order: after line 3, and is told what line 1 wrote',
    ])
  })

  it('a watcher is told of its own session’s writes in the wrong order', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .push('alice', 'x', 'found', '2@a')
      .push('alice', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'WriteCORead (monotonic reads): line 4 sees what line 1 wrote, though line 2 overwrote it and comes before line 4',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  write x found [2,"a"]  ← session order: after line 1',
      '  line 3  alice  i 3  push x found [2,"a"]   ← was told what line 2 wrote',
      '  line 4  alice  i 4  push x lost [1,"a"]    ← session order: after line 3, and is told what line 1 wrote',
    ])
  })

  it('the overwriting write has the lower version, and counts all the same', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '5@a')
      .read('bob', 'x', 'lost', '5@a')
      .write('bob', 'x', 'found', '2@b')
      .read('bob', 'x', 'lost', '5@a')
    expect(recording.violations).toEqual([
      'CyclicCF (writes follow reads): line 3 comes after line 1, and its version is not above that one’s',
      '  line 1  alice  i 1  write x lost [5,"a"]',
      '  line 2  bob    i 1  read x lost [5,"a"]    ← reads what line 1 wrote',
      '  line 3  bob    i 2  write x found [2,"b"]  ← session order: after line 2',
      'WriteCORead (read your writes): line 4 sees what line 1 wrote, though line 3 overwrote it and comes before line 4',
      '  line 1  alice  i 1  write x lost [5,"a"]',
      '  line 2  bob    i 1  read x lost [5,"a"]    ← reads what line 1 wrote',
      '  line 3  bob    i 2  write x found [2,"b"]  ← session order: after line 2',
      '  line 4  bob    i 3  read x lost [5,"a"]    ← session order: after line 3, and reads what line 1 wrote',
    ])
  })
})

describe('CyclicCF', () => {
  it('read your writes: a session reads a version below that of its own write', () => {
    const recording = new Recording()
      .write('bob', 'x', 'lost', '1@b')
      .write('alice', 'x', 'found', '2@a')
      .read('alice', 'x', 'lost', '1@b')
    expect(recording.violations).toEqual([
      'CyclicCF (read your writes): line 3 reads what line 1 wrote, though line 2, which comes before it, has a higher version',
      '  line 1  bob    i 1  write x lost [1,"b"]',
      '  line 2  alice  i 1  write x found [2,"a"]  ← version order: [2,"a"] is above [1,"b"]',
      '  line 3  alice  i 2  read x lost [1,"b"]    ← session order: after line 2, and reads what line 1 wrote',
    ])
  })

  it('monotonic reads: of two concurrent writes a session reads the higher, and then the lower', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('bob', 'x', 'found', '1@b')
      .read('carol', 'x', 'found', '1@b')
      .read('carol', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'CyclicCF (monotonic reads): line 4 reads what line 1 wrote, though line 2, which comes before it, has a higher version',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  bob    i 1  write x found [1,"b"]  ← version order: [1,"b"] is above [1,"a"]',
      '  line 3  carol  i 1  read x found [1,"b"]   ← reads what line 2 wrote',
      '  line 4  carol  i 2  read x lost [1,"a"]    ← session order: after line 3, and reads what line 1 wrote',
    ])
  })

  it('monotonic reads: a session is told of the higher of two concurrent writes, and then reads the lower', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('bob', 'x', 'found', '1@b')
      .push('carol', 'x', 'found', '1@b')
      .read('carol', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'CyclicCF (monotonic reads): line 4 reads what line 1 wrote, though line 2, which comes before it, has a higher version',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  bob    i 1  write x found [1,"b"]  ← version order: [1,"b"] is above [1,"a"]',
      '  line 3  carol  i 1  push x found [1,"b"]   ← was told what line 2 wrote',
      '  line 4  carol  i 2  read x lost [1,"a"]    ← session order: after line 3, and reads what line 1 wrote',
    ])
  })

  it('monotonic writes: the higher comes before what was seen, and the lower is read', () => {
    const recording = new Recording()
      .write('bob', 'x', 'lost', '1@b')
      .write('alice', 'x', 'found', '2@a')
      .write('alice', 'y', 'glad', '3@a')
      .read('carol', 'y', 'glad', '3@a')
      .read('carol', 'x', 'lost', '1@b')
    expect(recording.violations).toEqual([
      'CyclicCF (monotonic writes): line 5 reads what line 1 wrote, though line 2, which comes before it, has a higher version',
      '  line 1  bob    i 1  write x lost [1,"b"]',
      '  line 2  alice  i 1  write x found [2,"a"]  ← version order: [2,"a"] is above [1,"b"]',
      '  line 3  alice  i 2  write y glad [3,"a"]   ← session order: after line 2',
      '  line 4  carol  i 1  read y glad [3,"a"]    ← reads what line 3 wrote',
      '  line 5  carol  i 2  read x lost [1,"b"]    ← session order: after line 4, and reads what line 1 wrote',
    ])
  })

  it('causal snapshot: two keys are not of one moment', () => {
    const recording = new Recording()
      .write('bob', 'x', 'lost', '1@b')
      .write('alice', 'x', 'found', '2@a')
      .write('alice', 'y', 'glad', '3@a')
      .readMany('carol', { x: ['lost', '1@b'], y: ['glad', '3@a'] })
    expect(recording.violations).toEqual([
      'CyclicCF (causal snapshot): line 4 reads what line 1 wrote, though line 2, which comes before it, has a higher version',
      '  line 1  bob    i 1  write x lost [1,"b"]',
      '  line 2  alice  i 1  write x found [2,"a"]                         ← version order: [2,"a"] is above [1,"b"]',
      '  line 3  alice  i 2  write y glad [3,"a"]                          ← session order: after line 2',
      '  line 4  carol  i 1  txn read x lost [1,"b"], read y glad [3,"a"]  ← reads what line 3 wrote, and reads what line 1 wrote',
    ])
  })

  it('monotonic writes: a session’s second write has the lower version', () => {
    const recording = new Recording().write('alice', 'x', 'lost', '5@a').write('alice', 'y', 'found', '4@b')
    expect(recording.violations).toEqual([
      'CyclicCF (monotonic writes): line 2 comes after line 1, and its version is not above that one’s',
      '  line 1  alice  i 1  write x lost [5,"a"]',
      '  line 2  alice  i 2  write y found [4,"b"]  ← session order: after line 1',
    ])
  })

  it('writes follow reads: an answer has a lower version than what it answers', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '5@a')
      .read('bob', 'x', 'lost', '5@a')
      .write('bob', 'y', 'found', '4@b')
    expect(recording.violations).toEqual([
      'CyclicCF (writes follow reads): line 3 comes after line 1, and its version is not above that one’s',
      '  line 1  alice  i 1  write x lost [5,"a"]',
      '  line 2  bob    i 1  read x lost [5,"a"]    ← reads what line 1 wrote',
      '  line 3  bob    i 2  write y found [4,"b"]  ← session order: after line 2',
    ])
  })

  it('of equal timestamps the origin decides, by code unit', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '5@b')
      .read('bob', 'x', 'lost', '5@b')
      .write('bob', 'y', 'found', '5@B')
    expect(recording.violations).toEqual([
      'CyclicCF (writes follow reads): line 3 comes after line 1, and its version is not above that one’s',
      '  line 1  alice  i 1  write x lost [5,"b"]',
      '  line 2  bob    i 1  read x lost [5,"b"]    ← reads what line 1 wrote',
      '  line 3  bob    i 2  write y found [5,"B"]  ← session order: after line 2',
    ])
  })
})

describe('FracturedRead', () => {
  it('a read of several keys shows one write of a batch, and of the other key the value before', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .batch('alice', { x: 'found', y: 'glad' }, '2@a')
      .readMany('bob', { x: ['lost', '1@a'], y: ['glad', '2@a'] })
    expect(recording.violations).toEqual([
      'FracturedRead (causal snapshot): one write of the batch in line 2 was seen, and of its key "x" something older',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  txn write x found [2,"a"], write y glad [2,"a"]  ← version order: [2,"a"] is above [1,"a"]',
      '  line 3  bob    i 1  txn read x lost [1,"a"], read y glad [2,"a"]     ← reads what line 2 wrote, and reads what line 1 wrote',
    ])
  })

  it('a later read shows the other key as it was before', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .batch('alice', { x: 'found', y: 'glad' }, '2@a')
      .read('bob', 'y', 'glad', '2@a')
      .read('bob', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'FracturedRead (monotonic reads): one write of the batch in line 2 was seen, and of its key "x" something older',
      '  line 1  alice  i 1  write x lost [1,"a"]',
      '  line 2  alice  i 2  txn write x found [2,"a"], write y glad [2,"a"]  ← version order: [2,"a"] is above [1,"a"]',
      '  line 3  bob    i 1  read y glad [2,"a"]                              ← reads what line 2 wrote',
      '  line 4  bob    i 2  read x lost [1,"a"]                              ← session order: after line 3, and reads what line 1 wrote',
    ])
  })

  it('the other key is not there at all', () => {
    const recording = new Recording()
      .batch('alice', { x: 'found', y: 'glad' }, '2@a')
      .readMany('bob', { x: undefined, y: ['glad', '2@a'] })
    expect(recording.violations).toEqual([
      'FracturedRead (causal snapshot): one write of the batch in line 1 was seen, and of its key "x" nothing',
      '  line 1  alice  i 1  txn write x found [2,"a"], write y glad [2,"a"]',
      '  line 2  bob    i 1  txn read x nothing, read y glad [2,"a"]          ← reads what line 1 wrote, and finds nothing',
    ])
  })

  it('one push of the batch was told, and the other key is read as it was before', () => {
    const recording = new Recording()
      .write('bob', 'x', 'lost', '1@b')
      .batch('alice', { x: undefined, y: 'glad' }, '2@a')
      .push('carol', 'y', 'glad', '2@a')
      .read('carol', 'x', 'lost', '1@b')
    expect(recording.violations).toEqual([
      'FracturedRead (monotonic reads): one write of the batch in line 2 was seen, and of its key "x" something older',
      '  line 1  bob    i 1  write x lost [1,"b"]',
      '  line 2  alice  i 1  txn delete x [2,"a"], write y glad [2,"a"]  ← version order: [2,"a"] is above [1,"b"]',
      '  line 3  carol  i 1  push y glad [2,"a"]                         ← was told what line 2 wrote',
      '  line 4  carol  i 2  read x lost [1,"b"]                         ← session order: after line 3, and reads what line 1 wrote',
    ])
  })
})

describe('DivergentFinal', () => {
  it('two servers end with different versions', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('bob', 'x', 'found', '1@b')
      .final('1', 'x', 'found', '1@b')
      .final('2', 'x', 'found', '1@b')
      .final('3', 'x', 'lost', '1@a')
      .lost('1@b')
    expect(recording.violations).toEqual([
      'DivergentFinal: the servers end with different values of "x"',
      '  line 3  server 1  in the end  holds x found [1,"b"]',
      '  line 5  server 3  in the end  holds x lost [1,"a"]   ← another server, in the end',
    ])
  })

  it('one server does not have the key', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'y', 'found', '2@a')
      .final('1', 'x', 'lost', '1@a')
      .final('2', 'x', 'lost', '1@a')
      .final('2', 'y', 'found', '2@a')
      .lost('2@a')
    expect(recording.violations).toEqual([
      'DivergentFinal: the servers end with different values of "y"; server 1 has nothing',
      '  line 5  server 2  in the end  holds y found [2,"a"]',
    ])
  })
})

describe('LostWrite', () => {
  it('the servers agree on an older version', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .final('1', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'LostWrite: this write was acknowledged, and in the end server 1 holds an older version of its key',
      '  line 2  alice     i 2         write x found [2,"a"]',
      '  line 3  server 1  in the end  holds x lost [1,"a"]   ← an older version, in the end',
    ])
  })

  it('a key that was written is nowhere', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .delete('alice', 'y', '2@a')
      .final('1', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'LostWrite: this write was acknowledged, and in the end server 1 has nothing of its key',
      '  line 2  alice  i 2  delete y [2,"a"]',
    ])
  })

  it('a write of unknown outcome that was seen is not there', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .tryWrite('alice', 'x', 'found', null)
      .read('bob', 'x', 'found', '2@a')
      .final('1', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'LostWrite: this write was seen, and in the end server 1 holds an older version of its key',
      '  line 2  alice     i 2         write x found  (outcome unknown)',
      '  line 3  bob       i 1         read x found [2,"a"]              ← it was seen',
      '  line 4  server 1  in the end  holds x lost [1,"a"]              ← an older version, in the end',
    ])
  })

  it('half a batch of unknown outcome is there', () => {
    const recording = new Recording().batch('alice', { x: 'lost', y: 'found' }).final('1', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'LostWrite: this write was seen, and in the end server 1 has nothing of its key',
      '  line 1  alice     i 1         txn write y found  (outcome unknown)',
      '  line 2  server 1  in the end  holds x lost [1,"a"]                  ← it is there',
    ])
  })

  it('what is lost excuses no other version', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .write('alice', 'x', 'found', '2@a')
      .write('alice', 'x', 'glad', '3@a')
      .lost('3@a')
      .final('1', 'x', 'lost', '1@a')
    expect(recording.violations).toEqual([
      'LostWrite: this write was acknowledged, and in the end server 1 holds an older version of its key',
      '  line 2  alice     i 2         write x found [2,"a"]',
      '  line 5  server 1  in the end  holds x lost [1,"a"]   ← an older version, in the end',
    ])
  })
})

describe('what is reported', () => {
  it('is the smallest twenty, and how many there were', () => {
    const recording = new Recording().write('alice', 'x', 'lost', '1@a').read('bob', 'x', 'lost', '1@a')
    for (let count = 0; count < 30; count++) recording.read('bob', 'x')
    recording.read('alice', 'x')
    const { found, violations } = checkHistory(recording.lines)
    expect(found).toBe(31)
    expect(violations).toHaveLength(20)
    expect(violations[0]?.steps.map(({ line }) => line)).toEqual([1, 33])
    expect(violations[1]?.steps.map(({ line }) => line)).toEqual([1, 2, 3])
  })

  it('can be more', () => {
    const recording = new Recording().write('alice', 'x', 'lost', '1@a')
    for (let count = 0; count < 30; count++) recording.read('alice', 'x')
    expect(checkHistory(recording.lines, { violationsMax: 25 }).violations).toHaveLength(25)
  })
})

describe('lines that contradict each other', () => {
  it('two lines of a session have one place', () => {
    const { lines } = new Recording().read('alice', 'x').read('alice', 'y')
    const [first, second] = lines
    if (first?.op !== 'read' || second?.op !== 'read') throw new Error('two reads')
    expect(() => checkHistory([first, { ...second, i: first.i }])).toThrow(
      new HistoryFault(2, 'session "alice" has a line with i 1 already: line 1'),
    )
  })

  it('one value is written twice', () => {
    const recording = new Recording().write('alice', 'x', 'lost', '1@a').write('bob', 'y', 'lost', '2@a')
    expect(() => checkHistory(recording.lines)).toThrow(
      new HistoryFault(2, 'writes "lost", which line 1 writes; each value is written once in a history'),
    )
  })

  it('a server ends twice with one key', () => {
    const recording = new Recording()
      .write('alice', 'x', 'lost', '1@a')
      .final('1', 'x', 'lost', '1@a')
      .final('1', 'x', 'lost', '1@a')
    expect(() => checkHistory(recording.lines)).toThrow(
      new HistoryFault(3, 'the end of key "x" at server "1" was told before'),
    )
  })

  it('a write that is ok has no version', () => {
    expect(() =>
      checkHistory([{ session: 'alice', i: 1, op: 'write', key: 'x', value: 'lost', ok: true }]),
    ).toThrow(new HistoryFault(1, 'a write that is ok has a version'))
  })

  it('a value was read without a version', () => {
    expect(() =>
      checkHistory([{ session: 'alice', i: 1, op: 'read', key: 'x', value: 'lost', ok: true }]),
    ).toThrow(new HistoryFault(1, 'the value "lost" was seen, so it has a version'))
  })
})
