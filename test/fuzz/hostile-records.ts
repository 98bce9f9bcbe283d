/**
 * Records that a disk gives back and that no server has written. A folder with one of them is refused: with what is
 * wrong with it, and what to do (docs/operations.md).
 */
export interface HostileRecord {
  readonly name: string
  /** Which one: a name as `meta` and the state have it, or the position at which a part of the log begins. */
  readonly record: string | number
  /** What it is instead. */
  readonly bytes: Uint8Array
  /** What the folder is said to be, in part. */
  readonly fault: string
}

type Row = readonly [name: string, record: string | number, value: unknown, fault?: string]

const senseless = 'a record in it makes no sense'
const unreadable = 'a record in it cannot be read'
const nowhere = 'it does not say where its log begins'

const progress = {
  commit: 4,
  checkpoint: 5,
  trim: 1,
  applied: [['9~a', 3]],
  logFloor: [['9~a', 1]],
  isInstalled: false,
}
const version = { timestamp: 3, origin: '8~a' }
const sibling = [3, '8~a', 7]
const session = { letGo: 0, answers: [{ number: 4, version, fingerprint: 7 }] }
const update = {
  origin: '8~a',
  timestamp: 4,
  previous: 3,
  dependencies: {},
  writes: [{ key: 'user:1', deleted: true }],
}

const rows: readonly Row[] = [
  ['where the log begins: nothing', 'progress', null, nowhere],
  ['where the log begins: a list', 'progress', [], nowhere],
  ['where the log begins: no checkpoint', 'progress', { ...progress, checkpoint: undefined }, nowhere],
  ['where the log begins: half a position', 'progress', { ...progress, trim: 0.5 }, nowhere],
  ['where the log begins: no cut', 'progress', { ...progress, applied: undefined }, nowhere],
  [
    'where the log begins: a cut that is an object',
    'progress',
    { ...progress, applied: { '9~a': 3 } },
    nowhere,
  ],
  ['where the log begins: a cut at a text', 'progress', { ...progress, logFloor: [['9~a', '1']] }, nowhere],
  [
    'where the log begins: an entry of three parts',
    'progress',
    { ...progress, applied: [['9~a', 3, 1]] },
    nowhere,
  ],
  ['where the log begins: installed, or not, or 1', 'progress', { ...progress, isInstalled: 1 }, nowhere],
  [
    'where the log begins: after its end',
    'progress',
    { ...progress, trim: 10_000 },
    'its log begins after its end',
  ],
  ['other servers: an object', 'addresses', {}],
  ['other servers: one that is null', 'addresses', [null]],
  ['other servers: one without anything', 'addresses', [{}]],
  ['other servers: a name with a line end', 'addresses', [{ id: '8\n' }]],
  ['other servers: a host without characters', 'addresses', [{ host: '', port: 1 }]],
  ['other servers: port 65536', 'addresses', [{ host: 'localhost', port: 65_536 }]],
  ['the log: an object without a member', 5, [{}]],
  ['the log: an update that is null', 5, [null]],
  ['the log: an update without an origin', 5, [{ ...update, origin: undefined }]],
  ['the log: an update without a timestamp', 5, [{ ...update, timestamp: undefined }]],
  ['the log: an update that comes before itself', 5, [{ ...update, previous: 4 }]],
  ['the log: an update that depends on what is not below it', 5, [{ ...update, dependencies: { '9~a': 4 } }]],
  ['the log: an update that depends on nobody', 5, [{ ...update, dependencies: { '9': 1 } }]],
  ['the log: an update without writes', 5, [{ ...update, writes: [] }]],
  ['the log: a write of nothing', 5, [{ ...update, writes: [{ key: 'x' }] }]],
  ['the log: a write without a key', 5, [{ ...update, writes: [{ value: 1 }] }]],
  ['the log: a request of nobody', 5, [{ ...update, request: { session: '', number: 1 } }]],
  ['a key: null', 'ky', null],
  ['a key: an object', 'ky', { position: 5, siblings: [{ version, value: 7 }] }],
  ['a key: an empty list', 'ky', []],
  ['a key: no siblings', 'ky', [5]],
  ['a key: no position', 'ky', [sibling]],
  ['a key: a position that is null', 'ky', [null, sibling]],
  ['a key: half a position', 'ky', [5.5, sibling]],
  ['a key: a sibling that is null', 'ky', [5, null]],
  ['a key: a sibling that is an object', 'ky', [5, { version, value: 7 }]],
  ['a key: a sibling without anything', 'ky', [5, []]],
  ['a key: a sibling without an origin', 'ky', [5, [3]]],
  ['a key: a sibling without a timestamp', 'ky', [5, [null, '8~a', 7]]],
  ['a key: a sibling of nobody', 'ky', [5, [3, '8', 7]]],
  ['a key: a sibling at a fraction', 'ky', [5, [0.5, '8~a', 7]]],
  ['a key: a sibling at 0', 'ky', [5, [0, '8~a', 7]]],
  ['a key: a sibling of four parts', 'ky', [5, [3, '8~a', 7, true]]],
  ['a key: one sibling twice', 'ky', [5, sibling, sibling]],
  ['a key: the lower sibling first', 'ky', [5, [2, '8~a', 7], sibling]],
  ['a row: an object', 'r8~a', {}],
  ['a row: an entry that is a text', 'r8~a', ['9~a']],
  ['a row: an entry at 0', 'r8~a', [['9~a', 0]]],
  ['a row: an entry of nobody', 'r8~a', [['9', 1]]],
  ['a session: null', 'sbob', null],
  ['a session: no answers', 'sbob', { letGo: 0 }],
  ['a session: let go of −1', 'sbob', { ...session, letGo: -1 }],
  ['a session: an answer that is a number', 'sbob', { ...session, answers: [7] }],
  [
    'a session: an answer without a version',
    'sbob',
    { ...session, answers: [{ number: 4, fingerprint: 7 }] },
  ],
  [
    'a session: a fingerprint that is a text',
    'sbob',
    { ...session, answers: [{ number: 4, version, fingerprint: '7' }] },
  ],
]

const unreadableRows: readonly (readonly [name: string, record: string | number, bytes: Uint8Array])[] = [
  ['where the log begins: no byte', 'progress', Buffer.alloc(0)],
  ['other servers: zeros', 'addresses', Buffer.alloc(64)],
  ['the log: cut off', 5, Buffer.from(JSON.stringify([update]).slice(0, -9))],
  ['a key: cut off', 'ky', Buffer.from('[5,[3,"8~a",')],
  ['a row: two of them', 'r8~a', Buffer.from('[]\n[]')],
  ['a session: no UTF-8', 'sbob', Buffer.from('7bff7d', 'hex')],
]

export const hostileRecords: readonly HostileRecord[] = [
  ...rows.map(([name, record, value, fault = senseless]) => ({
    name,
    record,
    bytes: Buffer.from(JSON.stringify(value)),
    fault,
  })),
  ...unreadableRows.map(([name, record, bytes]) => ({ name, record, bytes, fault: unreadable })),
]
