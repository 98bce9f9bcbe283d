import { describe, expect, it } from 'vitest'
import { HistoryFault } from '../../src/check/history-line.ts'
import { parseLine } from '../../src/check/line-parser.ts'

/** What is wrong with a line, as somebody is told who has recorded it. */
function faultOf(line: unknown): string {
  const text = typeof line === 'string' ? line : JSON.stringify(line)
  try {
    return `no fault: ${JSON.stringify(parseLine(text, 7))}`
  } catch (error) {
    if (error instanceof HistoryFault) return error.message
    throw error
  }
}

const write = { session: 's1', i: 3, op: 'write', key: 'x', value: 's1-3', version: [7, '1~abc'], ok: true }
const read = { session: 's1', i: 3, op: 'read', key: 'x', value: 's1-3', version: [7, '1~abc'], ok: true }
const push = { session: 's1', i: 3, op: 'push', key: 'x', value: 's1-3', version: [7, '1~abc'] }
const final = { op: 'final', server: '1', key: 'x', value: 's1-3', version: [7, '1~abc'] }
const batch = {
  session: 's1',
  i: 3,
  op: 'txn',
  ops: [
    { op: 'write', key: 'x', value: 's1-3', version: [7, '1~abc'] },
    { op: 'delete', key: 'y', version: [7, '1~abc'] },
  ],
  ok: true,
}

describe('a line of a history', () => {
  it.each([
    ['a write', write],
    ['a write that did not happen', { session: 's1', i: 0, op: 'write', key: 'x', value: 's1-3', ok: false }],
    [
      'a write of which nobody knows',
      { session: 's1', i: 0, op: 'write', key: 'x', value: 's1-3', ok: null },
    ],
    ['a deletion', { session: 's1', i: 3, op: 'delete', key: 'x', version: [7, '1~abc'], ok: true }],
    ['a read', read],
    ['a read of a tombstone', { session: 's1', i: 3, op: 'read', key: 'x', version: [7, '1~abc'], ok: true }],
    ['a read that found nothing', { session: 's1', i: 3, op: 'read', key: 'x', ok: true }],
    ['a read that failed', { session: 's1', i: 3, op: 'read', key: 'x', ok: false }],
    ['a push', push],
    ['a batch', batch],
    [
      'a read of several keys',
      {
        ...batch,
        ops: [
          { op: 'read', key: 'x' },
          { op: 'read', key: 'y', version: [1, 'a'] },
        ],
      },
    ],
    ['an end state', final],
    ['a tombstone in the end', { op: 'final', server: '1', key: 'x', version: [7, '1~abc'] }],
    ['what was destroyed', { op: 'lost', version: [7, '1~abc'] }],
  ])('%s comes back as it was written', (_, line) => {
    expect(parseLine(JSON.stringify(line), 1)).toEqual(line)
  })

  it('may say null for what is absent', () => {
    const line = { session: 's1', i: 3, op: 'read', key: 'x', value: null, version: null, ok: true }
    expect(parseLine(JSON.stringify(line), 1)).toEqual({
      session: 's1',
      i: 3,
      op: 'read',
      key: 'x',
      ok: true,
    })
  })

  it('may say that a push was ok', () => {
    expect(parseLine(JSON.stringify({ ...push, ok: true }), 1)).toEqual(push)
  })

  it('may have __proto__ for a key', () => {
    expect(parseLine(JSON.stringify({ ...write, key: '__proto__' }), 1)).toEqual({
      ...write,
      key: '__proto__',
    })
  })
})

describe('what is no line of a history', () => {
  it.each<readonly [unknown, string]>([
    // What is no object.
    ['null', 'line 7: the line is null; it is an object such as {"session":"s1","i":0,"op":"read",…}'],
    ['true', 'line 7: the line is true; it is an object such as {"session":"s1","i":0,"op":"read",…}'],
    ['17', 'line 7: the line is 17; it is an object such as {"session":"s1","i":0,"op":"read",…}'],
    ['"write"', 'line 7: the line is "write"; it is an object such as {"session":"s1","i":0,"op":"read",…}'],
    ['[]', 'line 7: the line is []; it is an object such as {"session":"s1","i":0,"op":"read",…}'],
    ['{}', 'line 7: op is missing; it is one of write, delete, read, push, txn, final, lost'],
    // Members.
    [
      { ...write, op: 'wirte' },
      'line 7: op is "wirte"; it is one of write, delete, read, push, txn, final, lost',
    ],
    [
      { ...write, op: 'constructor' },
      'line 7: op is "constructor"; it is one of write, delete, read, push, txn, final, lost',
    ],
    [
      { ...write, valeu: 1 },
      'line 7: valeu is not known here; a write has session, i, op, key, value, version, ok',
    ],
    [
      `{"__proto__":1,${JSON.stringify(write).slice(1)}`,
      'line 7: __proto__ is not known here; a write has session, i, op, key, value, version, ok',
    ],
    [
      { ...final, session: 's1' },
      'line 7: session is not known here; a final has op, server, key, value, version',
    ],
    [{ ...batch, key: 'x' }, 'line 7: key is not known here; a txn has session, i, op, ops, ok'],
    // Places.
    [{ ...write, session: undefined }, 'line 7: session is missing; it is a string, and not empty'],
    [{ ...write, session: '' }, 'line 7: session is ""; it is a string, and not empty'],
    [{ ...write, session: 1 }, 'line 7: session is 1; it is a string, and not empty'],
    [
      { ...write, i: undefined },
      'line 7: i is missing; it is a whole number from 0 that rises within a session',
    ],
    [{ ...write, i: -1 }, 'line 7: i is -1; it is a whole number from 0 that rises within a session'],
    [{ ...write, i: 1.5 }, 'line 7: i is 1.5; it is a whole number from 0 that rises within a session'],
    [{ ...write, i: '3' }, 'line 7: i is "3"; it is a whole number from 0 that rises within a session'],
    [
      { ...write, i: 2 ** 53 },
      'line 7: i is 9007199254740992; it is a whole number from 0 that rises within a session',
    ],
    // Outcomes.
    [
      { ...write, ok: undefined },
      'line 7: ok is missing; it is true, false (certainly did not happen) or null (unknown)',
    ],
    [
      { ...write, ok: 'true' },
      'line 7: ok is "true"; it is true, false (certainly did not happen) or null (unknown)',
    ],
    [{ ...push, ok: false }, 'line 7: ok is false; a push was seen, so it is true, or absent'],
    [{ ...push, ok: null }, 'line 7: ok is null; a push was seen, so it is true, or absent'],
    // Keys and values.
    [{ ...write, key: undefined }, 'line 7: key is missing; it is a string, and not empty'],
    [{ ...write, key: '' }, 'line 7: key is ""; it is a string, and not empty'],
    [{ ...write, key: ['x'] }, 'line 7: key is ["x"]; it is a string, and not empty'],
    [
      { ...write, value: undefined },
      'line 7: value is missing; a write has a string that no other write of the history has',
    ],
    [{ ...write, value: 3 }, 'line 7: value is 3; it is a string'],
    [{ ...write, value: { a: 1 } }, 'line 7: value is an object; it is a string'],
    [{ ...write, value: [1, 2, 3, 4] }, 'line 7: value is a list of 4; it is a string'],
    [{ ...write, op: 'delete' }, 'line 7: value stands on a deletion'],
    // Versions.
    [
      { ...write, version: undefined },
      'line 7: version is missing; a write that is ok has one, [timestamp, origin]',
    ],
    [
      { ...write, op: 'delete', value: undefined, version: null },
      'line 7: version is missing; a delete that is ok has one, [timestamp, origin]',
    ],
    [{ ...write, ok: null }, 'line 7: version stands on a write that is not ok; nobody was told one'],
    [{ ...write, ok: false }, 'line 7: version stands on a write that is not ok; nobody was told one'],
    [
      { ...read, version: undefined },
      'line 7: version is missing; a value that was read has one, [timestamp, origin]',
    ],
    [{ ...read, ok: false }, 'line 7: version stands on a read that is not ok; such a read has seen nothing'],
    [{ ...read, ok: null }, 'line 7: version stands on a read that is not ok; such a read has seen nothing'],
    [{ ...push, version: undefined }, 'line 7: version is missing; a push has one, [timestamp, origin]'],
    [
      { ...final, version: null },
      'line 7: version is missing; the end state of a key has one, [timestamp, origin]',
    ],
    [{ op: 'lost' }, 'line 7: version is missing; an update that is lost has one, [timestamp, origin]'],
    [{ ...write, version: 7 }, 'line 7: version is 7; it is [timestamp, origin], such as [7, "1~m3k9x"]'],
    [{ ...write, version: [7] }, 'line 7: version is [7]; it is [timestamp, origin], such as [7, "1~m3k9x"]'],
    [
      { ...write, version: ['7', 'a'] },
      'line 7: version is ["7","a"]; it is [timestamp, origin], such as [7, "1~m3k9x"]',
    ],
    [
      { ...write, version: [0, 'a'] },
      'line 7: version is [0,"a"]; it is [timestamp, origin], such as [7, "1~m3k9x"]',
    ],
    [
      { ...write, version: [1.5, 'a'] },
      'line 7: version is [1.5,"a"]; it is [timestamp, origin], such as [7, "1~m3k9x"]',
    ],
    [
      { ...write, version: [2 ** 53, 'a'] },
      'line 7: version is [9007199254740992,"a"]; it is [timestamp, origin], such as [7, "1~m3k9x"]',
    ],
    [
      { ...write, version: [7, ''] },
      'line 7: version is [7,""]; it is [timestamp, origin], such as [7, "1~m3k9x"]',
    ],
    [
      { ...write, version: [7, 'a', 1] },
      'line 7: version is [7,"a",1]; it is [timestamp, origin], such as [7, "1~m3k9x"]',
    ],
    [
      { ...write, version: { timestamp: 7 } },
      'line 7: version is an object; it is [timestamp, origin], such as [7, "1~m3k9x"]',
    ],
    // The end.
    [{ ...final, server: undefined }, 'line 7: server is missing; it is a string, and not empty'],
    [{ ...final, server: 1 }, 'line 7: server is 1; it is a string, and not empty'],
    // Transactions.
    [{ ...batch, ops: undefined }, 'line 7: ops is missing; it is a list of what was done to each key'],
    [{ ...batch, ops: [] }, 'line 7: ops is empty; it is a list of what was done to each key'],
    [
      { ...batch, ops: ['x'] },
      'line 7: ops[0] is "x"; it is an object such as {"session":"s1","i":0,"op":"read",…}',
    ],
    [
      { ...batch, ops: [{ op: 'push', key: 'x' }] },
      'line 7: ops[0].op is "push"; it is one of write, delete, read',
    ],
    [
      { ...batch, ops: [{ op: 'read', key: 'x', ok: true }] },
      'line 7: ops[0].ok is not known here; an element of ops has op, key, value, version',
    ],
    [{ ...batch, ops: [{ op: 'read' }] }, 'line 7: ops[0].key is missing; it is a string, and not empty'],
    [
      { ...batch, ops: [batch.ops[0], { op: 'delete', key: 'y' }] },
      'line 7: ops[1].version is missing; a delete that is ok has one, [timestamp, origin]',
    ],
    [{ ...batch, ops: [batch.ops[0], batch.ops[0]] }, 'line 7: ops[1].key is "x", which ops has already'],
    [
      { ...batch, ops: [batch.ops[0], { op: 'read', key: 'y' }] },
      'line 7: ops has reads and writes; a txn is one batch of writes, or one read of several keys',
    ],
    [{ ...batch, ok: null }, 'line 7: ops[0].version stands on a write that is not ok; nobody was told one'],
    // What would make a message endless.
    [
      { ...write, key: 'x', value: 'y'.repeat(1_000), i: 'z'.repeat(1_000) },
      'line 7: i is a long string; it is a whole number from 0 that rises within a session',
    ],
  ])('%j', (line, message) => {
    expect(faultOf(line)).toBe(message)
  })

  it.each([
    ['nothing', ''],
    ['an object that does not end', '{"session":"s1"'],
    ['other quotes', "{'session':'s1'}"],
    ['a number with a zero before it', '{"i":01}'],
    ['words', 'no JSON'],
    ['a million brackets', '['.repeat(1_000_000)],
  ])('%s: no JSON', (_, text) => {
    expect(faultOf(text)).toMatch(/^line 7: is no JSON \(.+\); a history is one JSON object a line$/s)
  })
})
