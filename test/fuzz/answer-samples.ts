import type { ClientMethod } from '../../src/protocol/client-messages.ts'

/**
 * What servers say to those who asked, one of each kind: for those kinds that a lonely replica does not come to say.
 */
const version = [7, '1~m3k9x']
const applied = { '1~m3k9x': 7, '2~p0q2r': 5 }
const link = { state: 'held', delayMs: 0, queued: 1 }
const missing = {
  version,
  keys: ['y'],
  waitsHere: false,
  holders: ['1', '2'],
  heldHolders: ['1'],
  link,
}
const siblings = [
  { version, value: 'east' },
  { version: [5, '2~p0q2r'], deleted: true },
  { version: [4, '3~z1'], omitted: true },
]
const member = { id: '2', host: '127.0.0.1', port: 60_002 }

const results: readonly (readonly [ClientMethod, unknown])[] = [
  ['hello', { server: '1', origin: '1~m3k9x', protocol: 1, applied, members: [member] }],
  ['challenge', { nonce: '9e'.repeat(32), proof: 'ee'.repeat(32) }],
  ['write', { key: 'x', version }],
  ['batch', { version }],
  ['read', { key: 'x', found: true, value: { a: [1, 'ü'] }, version, conflicts: siblings }],
  ['read', { key: 'x', found: false, version }],
  [
    'read',
    {
      values: [
        { key: 'x', found: false },
        { key: 'y', found: true, value: null, version },
      ],
    },
  ],
  ['keys', { keys: ['user:1', 'user:2'], next: 'user:3' }],
  ['watch', { watch: 1, applied }],
  ['unwatch', {}],
  ['conflicts', { keys: [{ key: 'y', versions: siblings }] }],
  ['waiting', [{ key: 'z', keys: ['z'], version, waitsFor: [version], from: '2', sinceMs: 4200.5 }]],
  [
    'why',
    {
      key: 'z',
      versions: siblings,
      waiting: [{ version, from: '2', sinceMs: 4200, waitsFor: [missing, { ...missing, link: 'absent' }] }],
      missing: [missing],
      silent: ['3'],
    },
  ],
  ['link', { peer: '3', ...link }],
  [
    'status',
    {
      server: '1',
      origin: '1~m3k9x',
      protocol: 1,
      clock: 7,
      applied,
      peers: [
        { id: '2', address: '127.0.0.1:60002', state: 'connected', link: 'open', origin: '2~p0q2r', applied },
        { id: '?', address: '127.0.0.1:60003', state: 'waiting to retry (connection refused)', link: 'open' },
      ],
      waiting: 0,
      keys: 3,
      tombstones: 1,
      conflicts: 0,
      log: 12,
      logBytes: 1840,
      origins: 2,
      sessions: 1,
      answers: 4,
      parked: 0,
      watches: 0,
      members: [member],
      durability: 'sync',
      folder: '/var/lib/tidings/1',
      uptimeMs: 61_000,
      insecure: false,
      lab: false,
    },
  ],
]

const pushes: readonly (readonly [string, unknown])[] = [
  [
    'update',
    {
      watch: 1,
      version,
      writes: [
        { key: 'x', value: 'lost' },
        { key: 'y', deleted: true },
      ],
      conflict: [{ key: 'x', versions: siblings }],
      coalesced: true,
    },
  ],
  ['caughtUp', { watch: 1, applied }],
  ['resync', { watch: 1 }],
]

const errors: readonly unknown[] = [
  { code: -32001, message: 'not yet', data: { definite: true, missing: [missing], more: 1 } },
  { code: -32602, message: 'params.key is missing', data: { definite: true, path: 'params.key' } },
  { code: 1, message: 'foreign' },
]

/** Something that a server says, and what it answers; undefined where it answers nothing in particular. */
export interface AnswerSample {
  readonly method: ClientMethod | undefined
  readonly message: unknown
}

export const answerSamples: readonly AnswerSample[] = [
  ...results.map(([method, result]) => ({ method, message: { jsonrpc: '2.0', id: 1, result } })),
  ...pushes.map(([method, params]) => ({
    method: undefined,
    message: { jsonrpc: '2.0', method, params },
  })),
  ...errors.map((error) => ({ method: undefined, message: { jsonrpc: '2.0', id: 1, error } })),
]

/** What a client has read, in the form in which a server sends it. */
export function resultText(read: unknown): string {
  return JSON.stringify(wireForm(read, ''))
}

function wireForm(read: unknown, name: string): unknown {
  if (typeof read !== 'object' || read === null || name === 'value') return read
  if (read instanceof Map) return Object.fromEntries(read)
  if (Array.isArray(read)) return read.map((item) => wireForm(item, ''))
  if ('timestamp' in read && 'origin' in read) return [read.timestamp, read.origin]
  return Object.fromEntries(Object.entries(read).map(([inner, value]) => [inner, wireForm(value, inner)]))
}
