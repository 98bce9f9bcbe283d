import { Buffer } from 'node:buffer'
import { errorTable, type ErrorName } from '../../src/protocol/errors.ts'
import {
  askedVersionsMax,
  cutEntriesMax,
  frameUpdatesMax,
  itemsMax,
  keyBytesMax,
  lineBytesBeforeAuthenticationMax,
  lineBytesMax,
  membersMax,
  nameBytesMax,
  namesMax,
  peerItemsMax,
  rpcBatchLengthMax,
  snapshotItemsMax,
  valueDepthMax,
} from '../../src/protocol/limits.ts'

/**
 * What somebody sends who means no good, or does not know better; and the documented error that it is answered with.
 *
 * Whatever it is, it changes nothing of what the server holds, and costs nobody else anything. What it costs its sender
 * stands in the table of errors (docs/protocol.md); a server that sends what is malformed is always closed.
 */
export interface HostileInput {
  readonly name: string
  /**
   * Who sends it, on a connection of its own: a client or a server that has shown to know the secret, or one that has not.
   * A server that greets has not said `peer.hello` yet.
   */
  readonly from: 'client' | 'peer' | 'greeting peer' | 'stranger'
  readonly bytes: string | Uint8Array
  /** The errors that come back: one; or, for a batch, one for each message, undefined for one that is served. */
  readonly errors: readonly (ExpectedError | undefined)[]
  readonly isBatch: boolean
  readonly closes: boolean
}

export interface ExpectedError {
  readonly code: number
  /** Under which it is answered. */
  readonly id: unknown
  /** `error.data.path`; undefined where there is none. */
  readonly path: string | undefined
  readonly definite: boolean
  /** Further members of `error.data`. */
  readonly data: object
}

interface Wanted {
  readonly id?: unknown
  readonly path?: string
  readonly data?: object
}

/** An error of the table, under the id 1 unless it says otherwise. */
function expected(error: ErrorName, { id = 1, path, data = {} }: Wanted): ExpectedError {
  const { code, definite } = errorTable[error]
  return { code, definite, id, path, data }
}

type Row = readonly [name: string, bytes: string | Uint8Array, error: ErrorName, wanted?: Wanted]

/** Lines, each ended, from somebody to whom an error of the table costs what the table says. */
function rows(from: 'client' | 'greeting peer' | 'stranger', list: readonly Row[]): readonly HostileInput[] {
  return list.map(([name, bytes, error, wanted = {}]) => ({
    name,
    from,
    bytes: ended(bytes),
    errors: [expected(error, wanted)],
    isBatch: false,
    closes: errorTable[error].closes,
  }))
}

function ended(bytes: string | Uint8Array): string | Uint8Array {
  return typeof bytes === 'string' ? `${bytes}\n` : Buffer.concat([bytes, Buffer.from('\n')])
}

const request = (method: string, params: string, id = '1'): string =>
  `{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${params}}`

const half = String.raw`\ud83d`
const longKey = 'x'.repeat(keyBytesMax + 1)
const hex32 = 'a1'.repeat(32)

/** An array in an array, and so on. */
const lists = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)
const objects = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`

const differentNames = (count: number): string =>
  Array.from({ length: count }, (_, number) => `"number ${number}":""`).join(',')

/** What a line that is too dear is told. */
const dearest = { itemsMax, namesMax }

/** A cut of so many origins. */
const cutOf = (count: number): string =>
  `{${Array.from({ length: count }, (_, number) => `"9~${number.toString(36)}":1`).join(',')}}`

// ── lines that cannot be read ────────────────────────────────────────────────────────────────────────────

/** No JSON: the connection is closed, for nobody can say where the next message begins. */
const unreadable: readonly (readonly [name: string, bytes: string | Uint8Array])[] = [
  ['a bare word', 'hello'],
  ['a message that is cut off', '{"jsonrpc":"2.0","id":1,"method":"status"'],
  ['a bracket that is never closed', '['],
  ['a bracket that was never opened', ']'],
  ['a comma after the last member', '{"jsonrpc":"2.0","id":1,"method":"status","params":{},}'],
  ['a comma after the last item', request('read', '{"keys":["x",]}')],
  ['single quotes', "{'jsonrpc':'2.0','id':1,'method':'status'}"],
  ['names without quotes', '{jsonrpc:"2.0",id:1,method:"status"}'],
  ['a colon without a name', '{:1}'],
  ['a member without a value', '{"jsonrpc"}'],
  ['a comment', `/* please */ ${request('status', '{}')}`],
  ['two messages on one line', request('status', '{}') + request('status', '{}')],
  ['NaN', request('write', '{"key":"k","value":NaN}')],
  ['Infinity', request('write', '{"key":"k","value":Infinity}')],
  ['undefined', request('write', '{"key":"k","value":undefined}')],
  ['a number with a leading zero', request('write', '{"key":"k","value":01}')],
  ['a number with a plus', request('write', '{"key":"k","value":+1}')],
  ['a hexadecimal number', request('write', '{"key":"k","value":0x10}')],
  ['a number that begins with a dot', request('write', '{"key":"k","value":.5}')],
  ['a number that ends with a dot', request('write', '{"key":"k","value":5.}')],
  ['an exponent without digits', request('write', '{"key":"k","value":1e}')],
  ['two minus signs', request('write', '{"key":"k","value":--1}')],
  ['a control character in a string', request('write', '{"key":"k","value":"\u0001"}')],
  ['a tab in a string', request('write', '{"key":"k","value":"\t"}')],
  ['an escape that is none', request('write', String.raw`{"key":"k","value":"\x41"}`)],
  ['half an escape', request('write', String.raw`{"key":"k","value":"\u12"}`)],
  ['a string that never ends', '{"jsonrpc":"2.0'],
  ['a backslash before the line end', '{"jsonrpc":"2.0\\'],
  ['a NUL between two members', '{"jsonrpc":"2.0",\0"id":1}'],
  ['a byte order mark between two members', '{"jsonrpc":"2.0",\ufeff"id":1}'],
  ['a vertical tab as a space', `\v${request('status', '{}')}`],
  ['a no-break space as a space', `\u00a0${request('status', '{}')}`],
  ['a line separator as a space', `\u2028${request('status', '{}')}`],
  ['a terminal’s escape sequence', `\u001b[2J${request('status', '{}')}`],
  ['UTF-16', Buffer.from(request('status', '{}'), 'utf16le')],
  ['Latin-1', Buffer.from(request('write', '{"key":"café","value":1}'), 'latin1')],
  ['a surrogate pair as six bytes', Buffer.from('22eda0bdedb88022', 'hex')],
  ['a form of five bytes', Buffer.from('22f88880808022', 'hex')],
  ['a character of four bytes that is cut off', Buffer.from('22f09f9822', 'hex')],
  ['an overlong NUL', Buffer.from('22c08022', 'hex')],
  ['gzip', Buffer.from('1f8b0800000000000003', 'hex')],
  ['MessagePack', Buffer.from('82a76a736f6e727063a3322e30', 'hex')],
  ['Redis', '*1\r\n$4\r\nPING\r'],
  ['memcached', 'get x\r'],
  ['SMTP', 'EHLO localhost\r'],
  ['SSH', 'SSH-2.0-OpenSSH_9.6\r'],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r'],
  ['XML', '<?xml version="1.0"?><methodCall/>'],
  ['YAML', 'jsonrpc: "2.0"'],
]

const lines: readonly HostileInput[] = [
  ...rows(
    'client',
    unreadable.map(([name, bytes]) => [`a line that is no JSON: ${name}`, bytes, 'parse', { id: null }]),
  ),
  ...rows('client', [
    [
      'a line of nothing but spaces that is too long',
      ' '.repeat(lineBytesMax + 1),
      'lineTooLong',
      { id: null, data: { lineBytesMax } },
    ],
    [
      'a line that is a hundred bytes too long',
      'x'.repeat(lineBytesMax + 100),
      'lineTooLong',
      { id: null, data: { lineBytesMax } },
    ],
    [
      'a line that is a hundred thousand bytes too long',
      'x'.repeat(lineBytesMax + 100_000),
      'lineTooLong',
      { id: null, data: { lineBytesMax } },
    ],
    [
      'a line of four-byte characters that is a byte too long',
      '😀'.repeat(lineBytesMax / 4) + '!',
      'lineTooLong',
      { id: null, data: { lineBytesMax } },
    ],
    [
      'a line that is too long, and no UTF-8 besides',
      Buffer.alloc(lineBytesMax + 1, 0xff),
      'lineTooLong',
      { id: null, data: { lineBytesMax } },
    ],
  ]),
]

// ── what is JSON, and no message ─────────────────────────────────────────────────────────────────────────

const messages: readonly HostileInput[] = rows('client', [
  ['true in place of a message', 'true', 'invalidRequest', { id: null }],
  ['a string in place of a message', '"status"', 'invalidRequest', { id: null }],
  ['a number in place of a message', '5', 'invalidRequest', { id: null }],
  ['a message without members', '{}', 'invalidRequest', { id: null, path: 'jsonrpc' }],
  [
    'a message of JSON-RPC 1.0',
    '{"id":1,"method":"status","params":[]}',
    'invalidRequest',
    { path: 'jsonrpc' },
  ],
  [
    'a version that is a number',
    '{"jsonrpc":2.0,"id":1,"method":"status"}',
    'invalidRequest',
    { path: 'jsonrpc' },
  ],
  [
    'a version that is null',
    '{"jsonrpc":null,"id":1,"method":"status"}',
    'invalidRequest',
    { path: 'jsonrpc' },
  ],
  ['an id that is an object', request('status', '{}', '{}'), 'invalidRequest', { id: null, path: 'id' }],
  ['an id that is a list', request('status', '{}', '[1]'), 'invalidRequest', { id: null, path: 'id' }],
  ['an id that is true', request('status', '{}', 'true'), 'invalidRequest', { id: null, path: 'id' }],
  [
    'an id beyond 2^53',
    request('status', '{}', '9007199254740993'),
    'invalidRequest',
    { id: null, path: 'id' },
  ],
  ['an id without bound', request('status', '{}', '1e400'), 'invalidRequest', { id: null, path: 'id' }],
  [
    'an id that is too long',
    request('status', '{}', JSON.stringify('x'.repeat(nameBytesMax + 1))),
    'invalidRequest',
    { id: null, path: 'id' },
  ],
  [
    'an id that is too long in bytes',
    request('status', '{}', JSON.stringify('ü'.repeat(nameBytesMax / 2 + 1))),
    'invalidRequest',
    { id: null, path: 'id' },
  ],
  [
    'an id with half a surrogate pair',
    request('status', '{}', `"${half}"`),
    'invalidParams',
    { id: null, path: 'id' },
  ],
  ['no method', '{"jsonrpc":"2.0","id":1}', 'invalidRequest', { path: 'method' }],
  ['a method that is a number', '{"jsonrpc":"2.0","id":1,"method":1}', 'invalidRequest', { path: 'method' }],
  ['a method that is null', '{"jsonrpc":"2.0","id":1,"method":null}', 'invalidRequest', { path: 'method' }],
  [
    'a method that is an object',
    '{"jsonrpc":"2.0","id":1,"method":{}}',
    'invalidRequest',
    { path: 'method' },
  ],
  ['params that are a string', request('status', '"all"'), 'invalidRequest', { path: 'params' }],
  ['params that are a number', request('status', '1'), 'invalidRequest', { path: 'params' }],
  ['params that are null', request('status', 'null'), 'invalidRequest', { path: 'params' }],
  ['params that are true', request('status', 'true'), 'invalidRequest', { path: 'params' }],
  [
    'an answer that is a result and an error',
    '{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":"no"}}',
    'invalidRequest',
  ],
  ['an error that is a string', '{"jsonrpc":"2.0","id":1,"error":"no"}', 'invalidRequest', { path: 'error' }],
  [
    'an error without a message',
    '{"jsonrpc":"2.0","id":1,"error":{"code":1}}',
    'invalidRequest',
    { path: 'error' },
  ],
  [
    'an error whose code is a fraction',
    '{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":"no"}}',
    'invalidRequest',
    { path: 'error' },
  ],
  ['an empty batch', '[]', 'invalidRequest', { id: null }],
  [
    'a batch of one null too many',
    `[${'null,'.repeat(rpcBatchLengthMax)}null]`,
    'invalidRequest',
    { id: null },
  ],
  [
    'a batch in which one value cannot be kept: nothing of it is carried out',
    `[${request('write', '{"key":"k","value":1}')},${request('write', '{"key":"k","value":1e999}', '2')}]`,
    'invalidParams',
    { id: null, path: '[1].params.value' },
  ],
])

const batches: readonly HostileInput[] = [
  {
    name: 'a batch of what are no messages',
    from: 'client',
    bytes: '[1,null,[],"a"]\n',
    errors: [1, 2, 3, 4].map(() => expected('invalidRequest', { id: null })),
    isBatch: true,
    closes: false,
  },
  {
    name: 'a batch in a batch',
    from: 'client',
    bytes: `[[${request('status', '{}')}]]\n`,
    errors: [expected('invalidRequest', { id: null })],
    isBatch: true,
    closes: false,
  },
  {
    name: 'a batch of a sound request and an unknown one',
    from: 'client',
    bytes: `[${request('read', '{"key":"none"}')},${request('raed', '{"key":"none"}', '2')}]\n`,
    errors: [undefined, expected('unknownMethod', { id: 2, data: { suggestion: 'read' } })],
    isBatch: true,
    closes: false,
  },
  {
    name: 'a batch of a challenge and a request, before the secret has been shown',
    from: 'stranger',
    bytes: `[${request('challenge', `{"nonce":"${hex32}"}`)},${request('read', '{"key":"k"}', '2')}]\n`,
    errors: [undefined, expected('notAuthorised', { id: 2 })],
    isBatch: true,
    closes: true,
  },
]

// ── methods ──────────────────────────────────────────────────────────────────────────────────────────────

const methods: readonly HostileInput[] = rows('client', [
  ['a method in capitals', request('WRITE', '{}'), 'unknownMethod', { data: { suggestion: 'write' } }],
  ['a method with a slip', request('wirte', '{}'), 'unknownMethod', { data: { suggestion: 'write' } }],
  ['a method without a name', request('', '{}'), 'unknownMethod'],
  ['the method __proto__', request('__proto__', '{}'), 'unknownMethod'],
  ['the method constructor', request('constructor', '{}'), 'unknownMethod'],
  ['the method toString', request('toString', '[]'), 'unknownMethod'],
  ['the method hasOwnProperty', request('hasOwnProperty', '{}'), 'unknownMethod'],
  ['a method of JSON-RPC itself', request('rpc.discover', '{}'), 'unknownMethod'],
  ['a method that introspects', request('system.listMethods', '[]'), 'unknownMethod'],
  ['the name of a push', request('caughtUp', '{"watch":1,"applied":{}}'), 'unknownMethod'],
  [
    'a method with a NUL',
    request('read\0', '{"key":"k"}'),
    'unknownMethod',
    { data: { suggestion: 'read' } },
  ],
  ['a method of 100,000 characters', request('x'.repeat(100_000), '{}'), 'unknownMethod'],
  ['a method of emoji', request('😀'.repeat(50), '{}'), 'unknownMethod'],
  [
    'a method with half a surrogate pair',
    `{"jsonrpc":"2.0","id":1,"method":"${half}"}`,
    'invalidParams',
    { path: 'method' },
  ],
  ['a method between servers, which nobody there has', request('peer.nothing', '{}'), 'notAuthorised'],
  ['a snapshot from a client', request('peer.snapshot', '{}'), 'notAuthorised'],
])

const invalid = (path: string, name: string, method: string, params: string): Row => [
  `${method}: ${name}`,
  request(method, params),
  'invalidParams',
  { path },
]

const large = (path: string, name: string, method: string, params: string): Row => [
  `${method}: ${name}`,
  request(method, params),
  'tooLarge',
  { path },
]

/** What a value may not be, where it stands, and where the fault is then. */
const values: readonly (readonly [name: string, value: string, path: string])[] = [
  ['minus zero', '-0', 'params.value'],
  ['minus zero, written long', '-0.000e5', 'params.value'],
  ['a number below all bounds', '-1e999', 'params.value'],
  ['a number that would become 0', '1e-400', 'params.value'],
  ['more digits than a number holds', '3.14159265358979323846', 'params.value'],
  ['a whole number of 30 digits', '123456789012345678901234567890', 'params.value'],
  ['a number that is lost within lists', '[[9007199254740993]]', 'params.value[0][0]'],
  ['a number that is lost under a name with a dot', '{"a.b":1e999}', 'params.value["a.b"]'],
  ['a name twice, deep within', '{"a":{"b":1,"b":1}}', 'params.value.a'],
  [
    'a name twice among many',
    `{${Array.from({ length: 40 }, (_, n) => `"n${n}":1`).join(',')},"n7":2}`,
    'params.value',
  ],
  ['__proto__ twice', '{"__proto__":1,"__proto__":2}', 'params.value'],
  ['half a surrogate pair in a list', `["x","${half}"]`, 'params.value[1]'],
  ['the two halves the wrong way round', String.raw`"\ude00\ud83d"`, 'params.value'],
  ['half a pair, and something between it and its other half', String.raw`"\ud83d \ude00"`, 'params.value'],
  ['65 objects, one in the other', objects(valueDepthMax + 1), 'params.value'],
  [
    'lists and objects by turns, 66 levels of them',
    '[{"a":'.repeat(33) + '1' + '}]'.repeat(33),
    'params.value',
  ],
]

const writes: readonly HostileInput[] = rows('client', [
  ...values.map(([name, value, path]) => invalid(path, name, 'write', `{"key":"k","value":${value}}`)),
  invalid('params.key', 'no params', 'write', '{}'),
  invalid('params', 'params by position', 'write', '["k",1]'),
  invalid('params.key', 'a key that is a number', 'write', '{"key":1,"value":1}'),
  invalid('params.key', 'a key that is null', 'write', '{"key":null,"value":1}'),
  invalid('params.key', 'a key that is a list', 'write', '{"key":["k"],"value":1}'),
  invalid('params.key', 'a key that is an object with toString', 'write', '{"key":{"toString":1},"value":1}'),
  invalid('params.key', 'a key without characters', 'write', '{"key":"","value":1}'),
  invalid('params.key', 'a key with half a surrogate pair', 'write', `{"key":"${half}","value":1}`),
  large(
    'params.key',
    'a key of 513 characters that take two bytes',
    'write',
    `{"key":"${'ü'.repeat(513)}","value":1}`,
  ),
  invalid('params.value', 'no value', 'write', '{"key":"k"}'),
  invalid('params.vlaue', 'a slip in a name', 'write', '{"key":"k","vlaue":1}'),
  invalid('params.ttl', 'something that is not offered', 'write', '{"key":"k","value":1,"ttl":5}'),
  invalid('params.__proto__', 'a prototype', 'write', '{"__proto__":{"key":"k","value":1}}'),
  invalid('params[" "]', 'a name that is a space', 'write', '{"key":"k","value":1," ":1}'),
  invalid('params.after', 'an after that is a list', 'write', '{"key":"k","value":1,"after":[]}'),
  invalid('params.after', 'an after that is a text', 'write', '{"key":"k","value":1,"after":"now"}'),
  invalid('params.after', 'an after of nobody', 'write', '{"key":"k","value":1,"after":{"9":1}}'),
  invalid('params.after', 'an after of __proto__', 'write', '{"key":"k","value":1,"after":{"__proto__":1}}'),
  invalid('params.after["9~a"]', 'an after at 0', 'write', '{"key":"k","value":1,"after":{"9~a":0}}'),
  invalid('params.after["9~a"]', 'an after below 0', 'write', '{"key":"k","value":1,"after":{"9~a":-1}}'),
  invalid(
    'params.after["9~a"]',
    'an after at a fraction',
    'write',
    '{"key":"k","value":1,"after":{"9~a":1.5}}',
  ),
  invalid(
    'params.after["9~a"]',
    'an after at 2^53',
    'write',
    '{"key":"k","value":1,"after":{"9~a":9007199254740992}}',
  ),
  invalid('params.after["9~a"]', 'an after at a text', 'write', '{"key":"k","value":1,"after":{"9~a":"1"}}'),
  invalid(
    'params.after',
    'an after of one origin too many',
    'write',
    `{"key":"k","value":1,"after":${cutOf(cutEntriesMax + 1)}}`,
  ),
  invalid('params.timeout', 'a timeout below 0', 'write', '{"key":"k","value":1,"timeout":-1}'),
  invalid('params.timeout', 'a timeout that is a fraction', 'write', '{"key":"k","value":1,"timeout":1.5}'),
  invalid('params.timeout', 'a timeout above a minute', 'write', '{"key":"k","value":1,"timeout":60001}'),
  invalid('params.timeout', 'a timeout that is a text', 'write', '{"key":"k","value":1,"timeout":"5"}'),
  invalid('params.request', 'a request that is a list', 'write', '{"key":"k","value":1,"request":["s",1]}'),
  invalid('params.request', 'a request that is null', 'write', '{"key":"k","value":1,"request":null}'),
  invalid(
    'params.request.session',
    'a request without a session',
    'write',
    '{"key":"k","value":1,"request":{"number":1}}',
  ),
  invalid(
    'params.request.session',
    'a session without a name',
    'write',
    '{"key":"k","value":1,"request":{"session":"","number":1}}',
  ),
  invalid(
    'params.request.session',
    'a session that is a number',
    'write',
    '{"key":"k","value":1,"request":{"session":1,"number":1}}',
  ),
  invalid(
    'params.request.session',
    'a session whose name is too long',
    'write',
    `{"key":"k","value":1,"request":{"session":"${'x'.repeat(nameBytesMax + 1)}","number":1}}`,
  ),
  invalid(
    'params.request.session',
    'a session with half a surrogate pair',
    'delete',
    `{"key":"k","request":{"session":"${half}","number":1}}`,
  ),
  invalid(
    'params.request.number',
    'a request without a number',
    'write',
    '{"key":"k","value":1,"request":{"session":"s"}}',
  ),
  invalid(
    'params.request.number',
    'a request with number 0',
    'write',
    '{"key":"k","value":1,"request":{"session":"s","number":0}}',
  ),
  invalid(
    'params.request.number',
    'a request with half a number',
    'write',
    '{"key":"k","value":1,"request":{"session":"s","number":0.5}}',
  ),
  invalid(
    'params.request.number',
    'a request with number 2^53',
    'write',
    '{"key":"k","value":1,"request":{"session":"s","number":9007199254740992}}',
  ),
  invalid(
    'params.request.retry',
    'a retry that is false',
    'write',
    '{"key":"k","value":1,"request":{"session":"s","number":1,"retry":false}}',
  ),
  invalid(
    'params.request.retry',
    'a retry that is "always"',
    'write',
    '{"key":"k","value":1,"request":{"session":"s","number":1,"retry":"always"}}',
  ),
  invalid(
    'params.request.id',
    'a request with an id',
    'write',
    '{"key":"k","value":1,"request":{"session":"s","number":1,"id":1}}',
  ),
  [
    'write: a retry of a request that nobody knows',
    request('write', '{"key":"k","value":1,"request":{"session":"nobody","number":1,"retry":true}}'),
    'outcomeUnknown',
  ],
  [
    'write: a number that its session has used for another write',
    request('write', '{"key":"k","value":"other","request":{"session":"used","number":1}}'),
    'invalidParams',
    { path: 'params.request.number' },
  ],
  [
    'write: after what has not come, and without a moment to wait for it',
    request('write', '{"key":"k","value":1,"after":{"9~never":1},"timeout":0}'),
    'notCaughtUp',
  ],
  invalid('params.key', 'no params', 'delete', '{}'),
  invalid('params.value', 'a value', 'delete', '{"key":"k","value":null}'),
  large('params.key', 'a key that is too long', 'delete', `{"key":"${longKey}"}`),
  invalid('params.writes', 'no writes', 'batch', '{}'),
  invalid('params.writes', 'writes that are none', 'batch', '{"writes":[]}'),
  invalid('params.writes', 'writes that are an object', 'batch', '{"writes":{"k":1}}'),
  invalid('params.writes', 'writes that are a text', 'batch', '{"writes":"k=1"}'),
  invalid('params.writes[0]', 'a write that is null', 'batch', '{"writes":[null]}'),
  invalid('params.writes[0].value', 'a write that is an empty list', 'batch', '{"writes":[[]]}'),
  invalid('params.writes[0].0', 'a write that is a list', 'batch', '{"writes":[["k",1]]}'),
  invalid(
    'params.writes[1].key',
    'a write without a key',
    'batch',
    '{"writes":[{"key":"k","value":1},{"value":1}]}',
  ),
  invalid('params.writes[0].key', 'a write with an empty key', 'batch', '{"writes":[{"key":"","value":1}]}'),
  large(
    'params.writes[0].key',
    'a write whose key is too long',
    'batch',
    `{"writes":[{"key":"${longKey}","value":1}]}`,
  ),
  invalid(
    'params.writes[0].value',
    'a write that is neither a value nor a deletion',
    'batch',
    '{"writes":[{"key":"k"}]}',
  ),
  invalid(
    'params.writes[0].value',
    'a write that is both',
    'batch',
    '{"writes":[{"key":"k","value":1,"deleted":true}]}',
  ),
  invalid(
    'params.writes[0].deleted',
    'a deletion that is false',
    'batch',
    '{"writes":[{"key":"k","deleted":false}]}',
  ),
  invalid(
    'params.writes[0].ttl',
    'a write with something that is not offered',
    'batch',
    '{"writes":[{"key":"k","value":1,"ttl":1}]}',
  ),
  invalid(
    'params.writes[1].value',
    'a write that is too deep',
    'batch',
    `{"writes":[{"key":"j","value":1},{"key":"k","value":${lists(valueDepthMax + 1)}}]}`,
  ),
  invalid(
    'params.writes[0].value.a',
    'a write with a number that is lost',
    'batch',
    '{"writes":[{"key":"k","value":{"a":1e999}}]}',
  ),
  large(
    'params.writes',
    'writes that grow when they are passed on',
    'batch',
    `{"writes":[{"key":"j","value":"${'x'.repeat(700_000)}"},{"key":"k","value":[${'1e20,'.repeat(30_000)}1]}]}`,
  ),
])

/** What takes longer to parse than a line may keep the others waiting. */
const dearLines: readonly HostileInput[] = rows('client', [
  ...(
    [
      ['empty objects', '{},'],
      ['lists', '[],'],
      ['numbers', '0,'],
      ['strings', '"",'],
    ] as const
  ).map(([name, item]): Row => [
    `a line of more ${name} than may be`,
    request('write', `{"key":"k","value":[${item.repeat(itemsMax)}1]}`, '"a"'),
    'tooLarge',
    { id: 'a', data: dearest },
  ]),
  [
    'a line of more lists than may be, and its id at the end',
    `{"jsonrpc":"2.0","method":"write","params":{"id":2,"key":"k","value":[${'[],'.repeat(itemsMax)}1]},"id":7}`,
    'tooLarge',
    { id: 7, data: dearest },
  ],
  [
    'a batch of more lists than may be',
    `[${request('write', `{"key":"k","value":[${'[],'.repeat(itemsMax)}1]}`)}]`,
    'tooLarge',
    { id: null, data: dearest },
  ],
  [
    'a line of more lists than may be, and an id that is none',
    request('write', `{"key":"k","value":[${'[],'.repeat(itemsMax)}1]}`, '[1]'),
    'tooLarge',
    { id: null, data: dearest },
  ],
  [
    'a line of more lists than may be, of which one is never closed',
    request('write', `{"key":"k","value":[[${'[],'.repeat(itemsMax)}1]}`, '"a"'),
    'tooLarge',
    { id: 'a', data: dearest },
  ],
  [
    'a line of more objects than may be, behind a number that cannot be kept',
    request('write', `{"key":"k","value":[1e999,${'{},'.repeat(itemsMax)}1]}`),
    'tooLarge',
    { data: dearest },
  ],
  [
    'a value of more different names than may be',
    request('write', `{"key":"k","value":{${differentNames(namesMax + 1)}}}`),
    'tooLarge',
    { data: dearest },
  ],
  [
    'a message of more different names than may be',
    `{"jsonrpc":"2.0","id":1,"method":"status",${differentNames(namesMax + 1)}}`,
    'tooLarge',
    { data: dearest },
  ],
  [
    'a number that cannot be kept before a text of brackets, which are none',
    request('write', `{"key":"k","value":[1e999,"${'['.repeat(itemsMax + 10)}"]}`),
    'invalidParams',
    { path: 'params.value[0]' },
  ],
  [
    'a number that cannot be kept before names that are many, and all the same',
    request('write', `{"key":"k","value":[1e999,${'{"a":1,"b":2,"c":3},'.repeat(namesMax / 3 + 10)}1]}`),
    'invalidParams',
    { path: 'params.value[0]' },
  ],
])

const readings: readonly HostileInput[] = rows('client', [
  invalid('params.key', 'neither a key nor keys', 'read', '{}'),
  invalid('params.keys', 'a key and keys', 'read', '{"key":"k","keys":["k"]}'),
  invalid('params.keys', 'keys that are a text', 'read', '{"keys":"k"}'),
  invalid('params.keys', 'keys that are an object', 'read', '{"keys":{"length":1}}'),
  invalid('params.keys[1]', 'a key among keys that is a number', 'read', '{"keys":["k",1]}'),
  invalid('params.keys[0]', 'a key among keys that is empty', 'read', '{"keys":[""]}'),
  invalid('params.key', 'a key that is a list', 'read', '{"key":["k"]}'),
  invalid('params.prefix', 'a prefix', 'read', '{"key":"k","prefix":"k"}'),
  [
    'read: after what has not come, and without a moment to wait for it',
    request('read', '{"key":"k","after":{"9~never":1},"timeout":0}'),
    'notCaughtUp',
  ],
  invalid('params.limit', 'a limit that is a text', 'keys', '{"limit":"10"}'),
  invalid('params.limit', 'a limit that is a fraction', 'keys', '{"limit":1.5}'),
  invalid('params.limit', 'a limit below 0', 'keys', '{"limit":-1}'),
  invalid('params.prefix', 'a prefix that is a number', 'keys', '{"prefix":1}'),
  invalid('params.prefix', 'a prefix that no key can have', 'keys', `{"prefix":"${longKey}"}`),
  invalid('params.prefix', 'a prefix with half a surrogate pair', 'keys', `{"prefix":"${half}"}`),
  invalid('params.from', 'a beginning that is null', 'keys', '{"from":null}'),
  invalid('params.perfix', 'a slip in a name', 'keys', '{"perfix":"k"}'),
  invalid('params.since', 'since a number', 'watch', '{"since":1}'),
  invalid('params.since', 'since a list', 'watch', '{"since":[1,"9~a"]}'),
  invalid('params.since', 'since yesterday', 'watch', '{"since":"yesterday"}'),
  invalid('params.since', 'since a cut of nobody', 'watch', '{"since":{"":1}}'),
  invalid(
    'params.since',
    'since a cut of one origin too many',
    'watch',
    `{"since":${cutOf(cutEntriesMax + 1)}}`,
  ),
  invalid('params.prefix', 'a prefix that is an object', 'watch', '{"prefix":{}}'),
  invalid('params.key', 'a key', 'watch', '{"key":"k"}'),
  invalid('params.watch', 'no watch', 'unwatch', '{}'),
  invalid('params.watch', 'watch 0', 'unwatch', '{"watch":0}'),
  invalid('params.watch', 'a watch that is a text', 'unwatch', '{"watch":"1"}'),
  invalid('params.watch', 'a watch that was never opened', 'unwatch', '{"watch":77}'),
  invalid('params.prefix', 'a prefix that is a list', 'conflicts', '{"prefix":["k"]}'),
  invalid('params.key', 'a key', 'conflicts', '{"key":"k"}'),
  invalid('params.all', 'a parameter', 'status', '{"all":true}'),
  invalid('params', 'a list', 'status', '[]'),
  invalid('params.key', 'a parameter', 'waiting', '{"key":"k"}'),
  invalid('params.key', 'no key', 'why', '{}'),
  invalid('params.key', 'a key that is a number', 'why', '{"key":7}'),
  large('params.key', 'a key that is too long', 'why', `{"key":"${longKey}"}`),
  invalid('params.keys', 'keys', 'why', '{"key":"k","keys":["k"]}'),
])

const greetings: readonly HostileInput[] = rows('client', [
  invalid('params.session', 'a session that is a number', 'hello', '{"session":1}'),
  invalid(
    'params.session',
    'a session whose name is too long',
    'hello',
    `{"session":"${'x'.repeat(nameBytesMax + 1)}"}`,
  ),
  invalid('params.token', 'a token that is a number', 'hello', '{"token":1}'),
  invalid('params.protocol', 'a protocol that is a text', 'hello', '{"protocol":"1"}'),
  invalid('params.protocol', 'protocol 0', 'hello', '{"protocol":0}'),
  invalid('params.protocol', 'half a protocol', 'hello', '{"protocol":1.5}'),
  [
    'hello: another protocol',
    request('hello', '{"protocol":2}'),
    'protocolVersion',
    { path: 'params.protocol', data: { protocol: 1 } },
  ],
  [
    'hello: another protocol, and something that only it has',
    request('hello', '{"protocol":3,"session":"alice"}'),
    'protocolVersion',
    { path: 'params.protocol', data: { protocol: 1 } },
  ],
  invalid('params.nonce', 'no nonce', 'challenge', '{}'),
  invalid('params.nonce', 'a nonce that is too short', 'challenge', `{"nonce":"${hex32.slice(1)}"}`),
  invalid('params.nonce', 'a nonce that is too long', 'challenge', `{"nonce":"${hex32}a"}`),
  invalid('params.nonce', 'a nonce in capitals', 'challenge', `{"nonce":"${hex32.toUpperCase()}"}`),
  invalid('params.nonce', 'a nonce that is a number', 'challenge', '{"nonce":1}'),
  invalid('params.peer', 'no peer', 'link', '{"action":"hold"}'),
  invalid('params.peer', 'a peer with a space', 'link', '{"peer":"a b","action":"hold"}'),
  invalid(
    'params.peer',
    'a peer whose name is too long',
    'link',
    `{"peer":"${'x'.repeat(33)}","action":"hold"}`,
  ),
  invalid('params.peer', 'a peer that there is not', 'link', '{"peer":"nobody","action":"hold"}'),
  invalid('params.action', 'no action', 'link', '{"peer":"2"}'),
  invalid('params.action', 'an action that there is not', 'link', '{"peer":"2","action":"explode"}'),
  invalid('params.count', 'a count with hold', 'link', '{"peer":"2","action":"hold","count":1}'),
  invalid('params.count', 'a count of 0', 'link', '{"peer":"2","action":"release","count":0}'),
  invalid('params.ms', 'a delay with cut', 'link', '{"peer":"2","action":"cut","ms":1}'),
  invalid('params.ms', 'a delay of nothing said', 'link', '{"peer":"2","action":"delay"}'),
  invalid('params.ms', 'a delay below 0', 'link', '{"peer":"2","action":"delay","ms":-1}'),
  invalid('params.ms', 'a delay of more than an hour', 'link', '{"peer":"2","action":"delay","ms":3600001}'),
])

// ── before the secret has been shown ─────────────────────────────────────────────────────────────────────

const unproven: readonly (readonly [method: string, params: string])[] = [
  ['read', '{"key":"k"}'],
  ['write', '{"key":"k","value":1}'],
  ['delete', '{"key":"k"}'],
  ['batch', '{"writes":[{"key":"k","value":1}]}'],
  ['keys', '{}'],
  ['watch', '{"since":"start"}'],
  ['unwatch', '{"watch":1}'],
  ['conflicts', '{}'],
  ['status', '{}'],
  ['waiting', '{}'],
  ['why', '{"key":"k"}'],
  ['link', '{"peer":"2","action":"cut"}'],
  ['hello', `{"session":"alice","token":"${hex32}"}`],
  ['peer.hello', '{"server":"9","origin":"9~a","protocol":1,"members":[]}'],
  ['peer.updates', '{"updates":[]}'],
  ['peer.snapshot', '{"pull":1,"snapshot":1,"page":1,"siblings":[],"rows":[],"sessions":[],"applied":{}}'],
  ['peer.members', '{"members":[{"id":"8","host":"127.0.0.1","port":1}]}'],
]

const strangers: readonly HostileInput[] = rows('stranger', [
  ...unproven.map(([method, params]): Row => [
    `before the secret has been shown: ${method}`,
    request(method, params),
    'notAuthorised',
  ]),
  [
    'before the secret has been shown: a greeting that wants no answer',
    '{"jsonrpc":"2.0","method":"hello","params":{}}',
    'notAuthorised',
    { id: null },
  ],
  [
    'before the secret has been shown: a write that wants no answer',
    '{"jsonrpc":"2.0","method":"write","params":{"key":"k","value":1}}',
    'notAuthorised',
    { id: null },
  ],
  ['before the secret has been shown: no JSON', '}', 'parse', { id: null }],
  [
    'before the secret has been shown: a line a byte too long for that',
    'x'.repeat(lineBytesBeforeAuthenticationMax + 1),
    'lineTooLong',
    { id: null, data: { lineBytesMax: lineBytesBeforeAuthenticationMax } },
  ],
  ['before the secret has been shown: no message', '[[]]'.slice(1, -1), 'invalidRequest', { id: null }],
  [
    'before the secret has been shown: a challenge without a nonce',
    request('challenge', '{}'),
    'invalidParams',
    { path: 'params.nonce' },
  ],
  [
    'before the secret has been shown: a greeting in another protocol',
    request('hello', '{"protocol":2}'),
    'protocolVersion',
    { path: 'params.protocol', data: { protocol: 1 } },
  ],
])

// ── servers that there are not ───────────────────────────────────────────────────────────────────────────

type Greeting = Readonly<Record<string, unknown>>

/** A greeting in which something is another, or is missing. */
const hello = (more: Greeting): string =>
  JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'peer.hello',
    params: { server: '9', origin: '9~a', protocol: 1, members: [], ...more },
  })

const wrongGreeting = (path: string, name: string, more: Greeting): Row => [
  `a server that greets with ${name}`,
  hello(more),
  'invalidParams',
  { path },
]

const member = { id: '8', host: '127.0.0.1', port: 1 }

const greetingPeers: readonly HostileInput[] = rows('greeting peer', [
  wrongGreeting('params.server', 'no name', { server: undefined }),
  wrongGreeting('params.server', 'a name of 33 characters', { server: 'x'.repeat(33) }),
  wrongGreeting('params.server', 'the name of the terminal', { server: '\u001b[2J' }),
  wrongGreeting('params.origin', 'no origin', { origin: undefined }),
  wrongGreeting('params.origin', 'an origin in capitals', { origin: '9~A' }),
  wrongGreeting('params.origin', 'an origin without a run', { origin: '9~' }),
  wrongGreeting('params.protocol', 'a protocol that is a text', { protocol: '1' }),
  wrongGreeting('params.protocol', 'no protocol', { protocol: undefined }),
  wrongGreeting('params.address', 'an address that is a text', { address: '127.0.0.1:1' }),
  wrongGreeting('params.address.port', 'port 65536', { address: { port: 65_536 } }),
  wrongGreeting('params.address.host', 'a host that is too long', {
    address: { host: 'x'.repeat(256), port: 1 },
  }),
  wrongGreeting('params.address.host', 'a host with a slash', { address: { host: 'a/b', port: 1 } }),
  wrongGreeting('params.address.host', 'a host that is empty', { address: { host: '', port: 1 } }),
  wrongGreeting('params.token', 'a token that is a list', { token: [] }),
  wrongGreeting('params.members', 'members that are an object', { members: {} }),
  wrongGreeting('params.members[0]', 'a member that is null', { members: [null] }),
  wrongGreeting('params.members[1].id', 'a member whose name has a space', {
    members: [member, { ...member, id: 'a b' }],
  }),
  [
    'a server that greets with so many members that its line is too long for who has shown nothing',
    hello({ members: Array.from({ length: membersMax }, () => member) }),
    'lineTooLong',
    { id: null, data: { lineBytesMax: lineBytesBeforeAuthenticationMax } },
  ],
])

/** Frames on a link: whatever is wrong with one, its sender is told so, and closed. */
function frames(list: readonly Row[]): readonly HostileInput[] {
  return list.map(([name, bytes, error, wanted = {}]) => ({
    name: `on a link: ${name}`,
    from: 'peer',
    bytes: ended(bytes),
    errors: [expected(error, { id: null, ...wanted })],
    isBatch: false,
    closes: true,
  }))
}

const notice = (method: string, params: unknown): string => JSON.stringify({ jsonrpc: '2.0', method, params })

/** A frame of a method in which something is wrong. */
const wrong = (path: string, name: string, method: string, params: unknown): Row => [
  `${method} with ${name}`,
  notice(`peer.${method}`, params),
  'invalidParams',
  { path },
]

const update = {
  origin: '9~forged',
  timestamp: 1,
  previous: 0,
  dependencies: {},
  writes: [{ key: 'forged', value: 1 }],
}

/** An update in which something is another, or is missing. */
const wrongUpdate = (path: string, name: string, more: object): Row =>
  wrong(`params.updates[0]${path}`, name, 'updates', { updates: [{ ...update, ...more }] })

const wrongWrite = (path: string, name: string, write: object): Row =>
  wrongUpdate(`.writes[0]${path}`, name, { writes: [write] })

/** As it is written, because no value is so. */
const rawValue = (path: string, name: string, value: string): Row => [
  `updates with ${name}`,
  notice('peer.updates', { updates: [{ ...update, writes: [{ key: 'forged', value: '@' }] }] }).replace(
    '"@"',
    value,
  ),
  'invalidParams',
  { path: `params.updates[0].writes[0]${path}` },
]

const page = { pull: 1, snapshot: 1, page: 1, siblings: [], rows: [], sessions: [] }
const sibling = { key: 'forged', version: [1, '9~forged'], value: 1 }
const session = { session: 's', letGo: 0, answers: [] }

const wrongSibling = (path: string, name: string, more: object): Row =>
  wrong(`params.siblings[0]${path}`, name, 'snapshot', { ...page, siblings: [{ ...sibling, ...more }] })

const wrongSession = (path: string, name: string, more: object): Row =>
  wrong(`params.sessions[0]${path}`, name, 'snapshot', { ...page, sessions: [{ ...session, ...more }] })

const many = <Item>(count: number, item: Item): readonly Item[] => Array.from({ length: count }, () => item)

const links: readonly HostileInput[] = frames([
  ['a frame that is no UTF-8', Buffer.from('22ff22', 'hex'), 'parse'],
  [
    'a frame of more values than may be',
    notice('peer.updates', { updates: Array.from({ length: peerItemsMax + 1 }, () => 0) }),
    'tooLarge',
    { data: { itemsMax: peerItemsMax } },
  ],
  ['a frame that is a number', '7', 'invalidRequest'],
  ['a frame that is a list of one number', '[7]', 'invalidRequest'],
  [
    'a frame of another version of JSON-RPC',
    '{"method":"peer.ping","params":{}}',
    'invalidRequest',
    { path: 'jsonrpc' },
  ],
  [
    'params that are a text',
    '{"jsonrpc":"2.0","method":"peer.cut","params":"x"}',
    'invalidRequest',
    { path: 'params' },
  ],
  ['params by position', notice('peer.cut', [{}]), 'invalidParams', { path: 'params' }],
  ['a client’s request that wants no answer', notice('write', { key: 'k', value: 1 }), 'invalidRequest'],
  ['a method that no server has', notice('peer.forget', {}), 'unknownMethod'],
  [
    'a method whose name is long, and no Unicode in the middle',
    notice(`peer.${'x'.repeat(34)}😀`, {}),
    'unknownMethod',
  ],
  wrong('params.updates', 'no updates', 'updates', {}),
  wrong('params.updates', 'updates that are an object', 'updates', { updates: {} }),
  wrong('params.updates[0]', 'an update that is null', 'updates', { updates: [null] }),
  wrong('params.updates[0]', 'an update that is a list', 'updates', { updates: [[]] }),
  wrong('params.updates', 'an update too many', 'updates', { updates: many(frameUpdatesMax + 1, 0) }),
  wrongUpdate('.origin', 'no origin', { origin: undefined }),
  wrongUpdate('.origin', 'an origin that is a number', { origin: 9 }),
  wrongUpdate('.origin', 'an origin whose server’s name is too long', { origin: `${'x'.repeat(33)}~a` }),
  wrongUpdate('.origin', 'an origin with a line end', { origin: '9~a\n' }),
  wrongUpdate('.timestamp', 'no timestamp', { timestamp: undefined }),
  wrongUpdate('.timestamp', 'a timestamp that is a text', { timestamp: '1' }),
  wrongUpdate('.timestamp', 'a timestamp below 0', { timestamp: -1 }),
  wrongUpdate('.previous', 'no previous', { previous: undefined }),
  wrongUpdate('.previous', 'a previous below 0', { previous: -1 }),
  wrongUpdate('.previous', 'a previous that is a fraction', { previous: 0.5 }),
  wrongUpdate('.dependencies', 'no dependencies', { dependencies: undefined }),
  wrongUpdate('.dependencies', 'dependencies that are a list', { dependencies: [] }),
  wrongUpdate('.dependencies', 'a dependency on nobody', { dependencies: { 9: 1 } }),
  wrongUpdate('.dependencies["8~a"]', 'a dependency at 0', { dependencies: { '8~a': 0 } }),
  wrongUpdate('.writes', 'no list of writes', { writes: undefined }),
  wrongUpdate('.writes', 'writes that are an object', { writes: {} }),
  wrongUpdate('.writes[0]', 'a write that is null', { writes: [null] }),
  wrongUpdate('.request', 'a request that is null', { request: null }),
  wrongUpdate('.request.session', 'a request of nobody', { request: { session: '', number: 1 } }),
  wrongUpdate('.request.number', 'a request with number 0', { request: { session: 's', number: 0 } }),
  wrongUpdate('["newer"]', 'something new that is half a surrogate pair', { newer: '\ud800' }),
  wrongWrite('.key', 'no key', { value: 1 }),
  wrongWrite('.key', 'an empty key', { key: '', value: 1 }),
  wrongWrite('.key', 'a key that is a number', { key: 1, value: 1 }),
  wrongWrite('.key', 'a key that is half a surrogate pair', { key: '\ud800', value: 1 }),
  wrongWrite('.value', 'no value', { key: 'forged' }),
  wrongWrite('.value', 'a value beside a deletion', { key: 'forged', value: 1, deleted: true }),
  wrongWrite('.deleted', 'a deletion that is false', { key: 'forged', deleted: false }),
  wrongWrite('.ttl', 'something beside the value', { key: 'forged', value: 1, ttl: 1 }),
  wrongWrite('.value', 'a value that is half a surrogate pair', { key: 'forged', value: ['\ud800'] }),
  wrongWrite('.value', 'a name in a value that is half a surrogate pair', {
    key: 'forged',
    value: { '\ud800': 1 },
  }),
  rawValue('.value', 'a number without bound', '1e999'),
  rawValue('.value', 'minus zero', '-0'),
  rawValue('.value', 'a value of 65 levels', lists(valueDepthMax + 1)),
  rawValue('.value', 'a value of 100,000 levels', lists(100_000)),
  [
    'updates that depend on themselves',
    notice('peer.updates', { updates: [{ ...update, timestamp: 2, dependencies: { '9~forged': 1 } }] }),
    'invalidRequest',
  ],
  [
    'updates two above all that they follow',
    notice('peer.updates', { updates: [{ ...update, timestamp: 1_000_000 }] }),
    'invalidRequest',
  ],
  wrong('params.pull', 'no pull', 'page', { updates: [], more: false }),
  wrong('params.pull', 'half a pull', 'page', { pull: 1.5, updates: [], more: false }),
  wrong('params.updates', 'no updates', 'page', { pull: 1, more: false }),
  wrong('params.more', 'more that is 1', 'page', { pull: 1, updates: [], more: 1 }),
  wrong('params.applied', 'no cut', 'pull', { pull: 1, except: [] }),
  wrong('params.except', 'no exceptions', 'pull', { pull: 1, applied: {} }),
  wrong('params.except[0]', 'an exception that is nobody', 'pull', { pull: 1, applied: {}, except: ['9'] }),
  wrong('params.except', 'an exception too many', 'pull', {
    pull: 1,
    applied: {},
    except: many(askedVersionsMax + 1, '9~a'),
  }),
  wrong('params.snapshot', 'snapshot 0', 'pull', { pull: 1, applied: {}, except: [], snapshot: 0 }),
  wrong('params.entries', 'no entries', 'cut', {}),
  wrong('params.entries', 'entries that are a list', 'cut', { entries: [] }),
  wrong('params.entries["9~a"]', 'an entry at a fraction', 'cut', { entries: { '9~a': 0.5 } }),
  wrong('params.state', 'no state', 'link', { delayMs: 0, queued: 0 }),
  wrong('params.delayMs', 'a delay below 0', 'link', { state: 'delayed', delayMs: -1, queued: 0 }),
  wrong('params.queued', 'no queue', 'link', { state: 'open', delayMs: 0 }),
  wrong('params.question', 'question 0', 'ask', { question: 0, versions: [] }),
  wrong('params.key', 'a key that is a number', 'ask', { question: 1, key: 1, versions: [] }),
  wrong('params.versions', 'no versions', 'ask', { question: 1 }),
  wrong('params.versions[0]', 'a version that is a number', 'ask', { question: 1, versions: [1] }),
  wrong('params.versions[0]', 'a version of three parts', 'ask', { question: 1, versions: [[1, '9~a', 1]] }),
  wrong('params.versions[0][0]', 'a version at 0', 'ask', { question: 1, versions: [[0, '9~a']] }),
  wrong('params.versions[0][1]', 'a version of nobody', 'ask', { question: 1, versions: [[1, '9']] }),
  wrong('params.versions', 'a version too many', 'ask', {
    question: 1,
    versions: many(askedVersionsMax + 1, [1, '9~a']),
  }),
  wrong('params.question', 'no question', 'tell', { siblings: [], keys: [] }),
  wrong('params.siblings', 'siblings that are an object', 'tell', { question: 1, siblings: {}, keys: [] }),
  wrong('params.keys[0]', 'a key that is a number', 'tell', { question: 1, siblings: [], keys: [1] }),
  wrong('params.keys[0].version', 'a key without a version', 'tell', {
    question: 1,
    siblings: [],
    keys: [{ keys: ['x'] }],
  }),
  wrong('params.keys[0].keys', 'keys that are a text', 'tell', {
    question: 1,
    siblings: [],
    keys: [{ version: [1, '9~a'], keys: 'x' }],
  }),
  wrong('params.pull', 'no pull', 'snapshot', { ...page, pull: undefined }),
  wrong('params.snapshot', 'no number', 'snapshot', { ...page, snapshot: undefined }),
  wrong('params.page', 'page 0', 'snapshot', { ...page, page: 0 }),
  wrong('params.siblings', 'no siblings', 'snapshot', { ...page, siblings: undefined }),
  wrong('params.siblings[0]', 'a sibling that is null', 'snapshot', { ...page, siblings: [null] }),
  wrong('params.siblings', 'a sibling too many', 'snapshot', {
    ...page,
    siblings: many(snapshotItemsMax + 1, 0),
  }),
  wrongSibling('.key', 'a sibling without a key', { key: undefined }),
  wrongSibling('.version', 'a sibling without a version', { version: undefined }),
  wrongSibling('.value', 'a sibling without a value', { value: undefined }),
  wrongSibling('.value', 'a sibling that is deleted and has a value', { deleted: true }),
  wrongSibling('.deleted', 'a sibling whose deletion is 1', { deleted: 1, value: undefined }),
  wrongSibling('.first', 'a sibling whose first is false', { first: false }),
  wrongSibling('.value', 'a sibling that is half a surrogate pair', { value: '\ud800' }),
  wrong('params.rows[0]', 'a row that is null', 'snapshot', { ...page, rows: [null] }),
  wrong('params.rows[0].origin', 'a row of nobody', 'snapshot', {
    ...page,
    rows: [{ origin: '9', known: {} }],
  }),
  wrong('params.rows[0].known', 'a row without a cut', 'snapshot', { ...page, rows: [{ origin: '9~a' }] }),
  wrongSession('.session', 'a session without a name', { session: '' }),
  wrongSession('.letGo', 'a session that has let go of −1', { letGo: -1 }),
  wrongSession('.answers[0]', 'an answer of three parts', { answers: [[1, 1, '9~a']] }),
  wrongSession('.answers[0][0]', 'an answer to request 0', { answers: [[0, 1, '9~a', 7]] }),
  wrongSession('.answers[0][3]', 'a fingerprint that is a fraction', { answers: [[1, 1, '9~a', 0.5]] }),
  wrong('params.applied', 'a cut that is a list', 'snapshot', { ...page, applied: [] }),
  wrong('params.members', 'no members', 'members', {}),
  wrong('params.members[0].id', 'a member without a name', 'members', {
    members: [{ ...member, id: undefined }],
  }),
  wrong('params.members[0].host', 'a member whose host has a line end', 'members', {
    members: [{ ...member, host: 'a\nb' }],
  }),
  wrong('params.members[0].port', 'a member at port 65536', 'members', {
    members: [{ ...member, port: 65_536 }],
  }),
  wrong('params.members', 'a member too many', 'members', { members: many(membersMax + 1, member) }),
])

/** All of them; each name once. */
export const hostileInputs: readonly HostileInput[] = [
  ...lines,
  ...messages,
  ...batches,
  ...methods,
  ...writes,
  ...dearLines,
  ...readings,
  ...greetings,
  ...strangers,
  ...greetingPeers,
  ...links,
]
