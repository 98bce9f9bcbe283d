import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  encodeNotification,
  encodeReply,
  encodeResult,
  type ShellStatus,
} from '../../src/protocol/client-answers.ts'
import {
  checkClientRequest,
  clientMethods,
  isReplicaCall,
  type ReplicaCall,
} from '../../src/protocol/client-messages.ts'
import {
  checkClientNotification,
  checkClientResult,
  checkMissing,
} from '../../src/protocol/client-results.ts'
import { protocolError, type ProtocolError } from '../../src/protocol/errors.ts'
import { parseRpcLine, type RpcMessage } from '../../src/protocol/json-rpc.ts'
import type { ClientResult, MissingEntry, MissingVersion, RequestStamp } from '../../src/replica/messages.ts'
import type { Notification } from '../../src/replica/output.ts'
import type { JsonValue } from '../../src/replica/update.ts'
import { makeOrigin, type Version } from '../../src/replica/version.ts'
import { refusalBy, thrownBy } from './refusal.ts'

const one = makeOrigin({ server: '1', incarnation: 'a' })
const two = makeOrigin({ server: '2', incarnation: 'b' })
const first: Version = { timestamp: 3, origin: one }
const second: Version = { timestamp: 4, origin: two }

const shell: ShellStatus = {
  peers: [
    { id: '2', address: '127.0.0.1:60002', state: 'connected', link: 'held' },
    { id: '3', address: '127.0.0.1:60003', state: 'connecting', link: 'open' },
    { id: '?', address: '127.0.0.1:60004', state: 'waiting to retry (connection refused)', link: 'open' },
  ],
  members: [{ id: '1', host: '127.0.0.1', port: 60_001 }],
  durability: 'sync',
  folder: '/var/lib/tidings/1',
  uptimeMs: 5,
  insecure: false,
  lab: true,
}
const host = { status: (): ShellStatus => shell }

function call(method: string, params: object = {}): ReplicaCall {
  const checked = checkClientRequest(method, params)
  if (!isReplicaCall(checked)) throw new Error(`${method} is no request for the replica`)
  return checked
}

function messageIn(line: string): RpcMessage {
  expect(line.indexOf('\n')).toBe(line.length - 1)
  const parsed = parseRpcLine(line, { sender: 'server' })
  if (parsed.isBatch) throw new Error('a batch')
  return parsed.message
}

/** What a client makes of the answer. */
function answer(asked: ReplicaCall, result: ClientResult): unknown {
  const message = messageIn(encodeReply(1, asked, result, host))
  if (message.kind !== 'response') throw new Error(message.kind)
  if ('error' in message.outcome) throw message.outcome.error
  expect(message.outcome.result).toEqual(encodeResult(asked, result, host))
  return checkClientResult(asked.method, message.outcome.result)
}

function push(notification: Notification): unknown {
  const message = messageIn(encodeNotification(notification).join(''))
  if (message.kind !== 'notification') throw new Error(message.kind)
  return checkClientNotification(message.method, message.params)
}

/** What `read` answers, as it goes to the wire. */
function read(value: Extract<ClientResult, { method: 'read' }>['values'][number]): unknown {
  return encodeResult(call('read', { key: 'x' }), { method: 'read', values: [value] }, host)
}

function refused(
  reason: Extract<ClientResult, { method: 'refused' }>['reason'],
  request: RequestStamp = { session: 's', number: 5 },
): ProtocolError {
  const asked = call('write', { key: 'x', value: 1, request })
  return refusalBy(() => answer(asked, { method: 'refused', reason }))
}

/** The error for a read that was to come after what is missing. */
function behind(missing: readonly MissingEntry[], more = 0): ProtocolError {
  const asked = call('read', { key: 'x', after: { [one]: 3 }, timeout: 250 })
  return refusalBy(() => answer(asked, { method: 'notCaughtUp', missing, more }))
}

const applied = new Map([
  [one, 3],
  [two, 4],
])

describe('an answer', () => {
  it('to hello says who the server is and what it has applied', () => {
    expect(answer(call('hello'), { method: 'hello', origin: one, applied })).toEqual({
      server: '1',
      origin: one,
      protocol: 1,
      applied,
    })
  })

  it('to write and delete names the key, to batch the version alone', () => {
    const result: ClientResult = { method: 'write', version: first }
    expect(encodeResult(call('write', { key: 'x', value: 1 }), result, host)).toEqual({
      key: 'x',
      version: [3, one],
    })
    expect(answer(call('delete', { key: 'x' }), result)).toEqual({ key: 'x', version: first })
    expect(answer(call('batch', { writes: [{ key: 'x', value: 1 }] }), result)).toEqual({ version: first })
  })

  it('to a read tells a value, a tombstone, and a key never written, apart', () => {
    expect(read({ key: 'x', winner: { version: first, value: null }, conflicts: [] })).toEqual({
      key: 'x',
      found: true,
      value: null,
      version: [3, one],
    })
    expect(read({ key: 'x', winner: { version: first, deleted: true }, conflicts: [] })).toEqual({
      key: 'x',
      found: false,
      version: [3, one],
    })
    expect(read({ key: 'x', conflicts: [] })).toEqual({ key: 'x', found: false })
  })

  it('to a write or a read is what JSON.stringify makes of it, letter by letter', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
        fc.jsonValue(),
        (key, value) => {
          const written: ClientResult = { method: 'write', version: first }
          const winner = { version: second, value: value as JsonValue }
          const found: ClientResult = { method: 'read', values: [{ key, winner, conflicts: [] }] }
          for (const [asked, result] of [
            [call('write', { key, value: 1 }), written],
            [call('delete', { key }), written],
            [call('batch', { writes: [{ key, value: 1 }] }), written],
            [call('read', { key }), found],
          ] as const) {
            const envelope = { jsonrpc: '2.0', id: 'a"b', result: encodeResult(asked, result, host) }
            expect(encodeReply('a"b', asked, result, host)).toBe(`${JSON.stringify(envelope)}\n`)
          }
        },
      ),
    )
  })

  it('to a read shows the conflicting versions', () => {
    const value = {
      key: 'x',
      winner: { version: second, deleted: true },
      conflicts: [{ version: first, value: { __proto__: null, a: [1] } }],
    } as const
    expect(answer(call('read', { key: 'x' }), { method: 'read', values: [value] })).toEqual({
      key: 'x',
      found: false,
      version: second,
      conflicts: [{ version: first, value: { a: [1] } }],
    })
  })

  it('to a read of keys is a list, for one key too', () => {
    const values = [{ key: 'x', winner: { version: first, value: 1 }, conflicts: [] }]
    expect(answer(call('read', { keys: ['x'] }), { method: 'read', values })).toEqual({
      values: [{ key: 'x', found: true, value: 1, version: first }],
    })
  })

  it('carries a value with a member called __proto__ as it is', () => {
    const value = JSON.parse('{"__proto__":{"a":1},"b":2}') as { b: number }
    const result = answer(call('read', { key: 'x' }), {
      method: 'read',
      values: [{ key: 'x', winner: { version: first, value }, conflicts: [] }],
    })
    expect(JSON.stringify((result as { value: object }).value)).toBe('{"__proto__":{"a":1},"b":2}')
  })

  it('to keys, watch, unwatch and conflicts', () => {
    expect(answer(call('keys'), { method: 'keys', keys: ['a', 'b'], next: 'c' })).toEqual({
      keys: ['a', 'b'],
      next: 'c',
    })
    expect(answer(call('keys'), { method: 'keys', keys: [] })).toEqual({ keys: [] })
    expect(answer(call('watch'), { method: 'watch', watch: 7, applied })).toEqual({ watch: 7, applied })
    expect(answer(call('unwatch', { watch: 7 }), { method: 'unwatch' })).toEqual({})
    const versions = [
      { version: second, value: 1 },
      { version: first, deleted: true as const },
    ]
    expect(answer(call('conflicts'), { method: 'conflicts', keys: [{ key: 'x', versions }] })).toEqual({
      keys: [{ key: 'x', versions }],
    })
  })

  it('to status joins what the replica and the process around it know of each peer', () => {
    const status = {
      server: '1',
      origin: one,
      clock: 4,
      applied,
      waiting: 1,
      keys: 2,
      tombstones: 3,
      conflicts: 0,
      log: 5,
      logBytes: 700,
      origins: 2,
      sessions: 3,
      answers: 12,
      parked: 1,
      watches: 6,
      peers: [{ id: '2', origin: two, applied }],
    }
    expect(answer(call('status'), { method: 'status', status })).toEqual({
      ...status,
      ...shell,
      peers: [{ ...shell.peers[0], origin: two, applied }, ...shell.peers.slice(1)],
    })
  })

  it('to status may say less, where the server is of an earlier release', () => {
    const told = {
      server: '1',
      origin: one,
      clock: 0,
      applied: {},
      peers: [],
      waiting: 0,
      keys: 0,
      tombstones: 0,
      conflicts: 0,
      log: 0,
      watches: 0,
      members: [],
      durability: 'memory',
      uptimeMs: 5,
      insecure: false,
      lab: false,
    }
    expect(checkClientResult('status', told)).toEqual({ ...told, applied: new Map() })
  })

  it('to waiting names what each update waits for', () => {
    const waiting = [{ keys: ['z', 'y'], version: second, waitsFor: [first], from: '2', sinceMs: 12 }]
    expect(answer(call('waiting'), { method: 'waiting', waiting })).toEqual([{ key: 'z', ...waiting[0] }])
  })

  it('to why tells the whole story', () => {
    const missing: MissingVersion = {
      version: first,
      keys: ['y'],
      waitsHere: false,
      holders: ['2'],
      heldHolders: [],
      link: { state: 'held', delayMs: 0, queued: 1 },
    }
    const story = {
      key: 'z',
      versions: [{ version: first, value: 'glad' }],
      waiting: [{ version: second, from: '2', sinceMs: 9, waitsFor: [missing] }],
      missing: [{ version: first, waitsHere: true, holders: [], heldHolders: [], link: 'absent' as const }],
      silent: ['3'],
    }
    expect(answer(call('why', { key: 'z' }), { method: 'why', story })).toEqual(story)
  })

  it('is an error where the replica refused', () => {
    expect(refused('noSuchWatch')).toMatchObject({ code: -32602, path: 'params.watch' })
    expect(refused('tooManyWatches')).toMatchObject({ code: -32002, data: { retryAfterMs: 1_000 } })
    expect(refused('clockExhausted')).toMatchObject({ code: -32603, definite: true })
    expect(refused('tooManyWaiting')).toMatchObject({
      code: -32002,
      definite: true,
      data: { retryAfterMs: 1_000 },
    })
  })

  it('R9: names what is missing and who has it, where the server has not caught up in time', () => {
    const error = behind([
      { version: first, holders: ['2', '3'], lost: false },
      { version: second, holders: [], lost: false },
    ])
    expect(error).toMatchObject({
      code: -32001,
      definite: true,
      data: {
        missing: [
          { version: [3, one], server: '1', holders: ['2', '3'] },
          { version: [4, two], server: '2', holders: [] },
        ],
      },
    })
    expect(error.message).toBe(
      'this server has not applied 3@1 (servers 2, 3 have it), 4@2 (no server that is connected has it) ' +
        'within 250 ms; ask again with a longer `timeout`, or ask another server',
    )
    expect(checkMissing(error)).toEqual([
      { version: first, server: '1', holders: ['2', '3'], lost: false },
      { version: second, server: '2', holders: [], lost: false },
    ])
  })

  it('R9: says what is lost, for it is no use waiting for it', () => {
    const error = behind([
      { version: second, holders: [], lost: true },
      { version: first, holders: ['2'], lost: false },
    ])
    expect(checkMissing(error)).toEqual([
      { version: second, server: '2', holders: [], lost: true },
      { version: first, server: '1', holders: ['2'], lost: false },
    ])
    expect(error.message).toBe(
      'this server has not applied 4@2 (lost: every server is connected, and none has it), 3@1 (server 2 has it); ' +
        'leave what is lost out of `after`',
    )
  })

  it('R9: counts the missing versions that it does not name', () => {
    const error = behind([{ version: first, holders: [], lost: false }], 9_900)
    expect(checkMissing(error)).toHaveLength(1)
    expect(error.data.more).toBe(9_900)
    expect(error.message).toContain('and 9900 more')
  })

  it('R10: is no promise where nobody can say whether a retried write has happened', () => {
    const stamp = { session: 's', number: 5 } as const
    const unknown = refused('outcomeUnknown', { ...stamp, retry: true })
    expect(unknown).toMatchObject({ code: -32007, definite: false })
    expect(unknown.message).toContain('request 5 of session "s"')
    expect(unknown.message).toContain('with retry "again"')
  })

  it('R10: advises a new number where the answer to a number is no longer kept', () => {
    for (const more of [{}, { retry: 'again' as const }]) {
      const unknown = refused('outcomeUnknown', { session: 's', number: 5, ...more })
      expect(unknown).toMatchObject({ code: -32007, definite: false })
      expect(unknown.message).toContain('is no longer kept')
      expect(unknown.message).not.toContain('"again"')
      expect(unknown.message).toContain('under a new number')
    }
  })

  it('R10: refuses other writes under a number that has been used', () => {
    expect(refused('requestReused')).toMatchObject({
      code: -32602,
      definite: true,
      path: 'params.request.number',
    })
  })

  it('that would be longer than a reply may be is an error, without being put together first', () => {
    const value = 'x'.repeat(1 << 20)
    const values = Array.from({ length: 1_000 }, () => ({
      key: 'x',
      winner: { version: first, value },
      conflicts: [],
    }))
    const asked = call('read', { keys: ['x'] })
    expect(() => answer(asked, { method: 'read', values })).toThrow(
      expect.objectContaining({ code: -32010 }) as Error,
    )
    expect(() => answer(asked, { method: 'read', values: values.slice(0, 15) })).not.toThrow()
  })
})

describe('a push', () => {
  it('tells an update, and the conflict that it made', () => {
    const writes = [
      { key: 'x', value: 1 },
      { key: 'y', deleted: true as const },
    ]
    expect(push({ client: 1, watch: 2, kind: 'update', version: first, writes, conflict: [] })).toEqual({
      kind: 'update',
      watch: 2,
      version: first,
      writes,
      conflict: [],
      coalesced: false,
    })
    const conflict = [
      {
        key: 'x',
        versions: [
          { version: second, value: 2 },
          { version: first, value: 1 },
        ],
      },
    ]
    expect(push({ client: 1, watch: 2, kind: 'update', version: first, writes, conflict })).toMatchObject({
      conflict,
    })
  })

  it('R11: says of an update that it was read from the state', () => {
    const told = { kind: 'update', version: first, writes: [{ key: 'x', value: 1 }], conflict: [] } as const
    expect(push({ client: 1, watch: 2, ...told, coalesced: true })).toMatchObject({ coalesced: true })
  })

  it('tells all watchers of one prefix the same', () => {
    const told = { kind: 'update', version: first, writes: [{ key: 'x', value: 1 }], conflict: [] } as const
    const lines = [1, 2].map((watch) => encodeNotification({ client: watch, watch, ...told }).join(''))
    expect(lines[1]).toBe(lines[0]?.replace('"watch":1', '"watch":2'))
    const later = encodeNotification({ client: 1, watch: 1, ...told, version: second }).join('')
    expect(later).toContain('[4,"2~b"]')
  })

  it('tells all watchers of one prefix what is long with the same bytes', () => {
    const writes = [{ key: 'x', value: 'ü'.repeat(20_000) }]
    const told = { kind: 'update', version: first, writes, conflict: [] } as const
    const lines = [1, 2].map((watch) => encodeNotification({ client: watch, watch, ...told }))
    const shared = lines[0]?.find((part) => typeof part !== 'string')
    expect(shared).toBeInstanceOf(Buffer)
    expect(lines[1]).toEqual([expect.stringContaining('"watch":2'), shared, '}}\n'])
    expect(lines[1]?.[1]).toBe(shared)
    expect(messageIn(lines[0]?.join('') ?? '')).toMatchObject({ params: { watch: 1, writes } })
  })

  it('refuses what finds no room, whatever is in it, and gives what is short all the same', () => {
    const room = { bytes: 8_192, refusal: () => protocolError('overloaded', 'no room') }
    const read = (value: JsonValue): ClientResult => ({
      method: 'read',
      values: [{ key: 'x', winner: { version: first, value }, conflicts: [] }],
    })
    const given = (value: JsonValue): unknown =>
      JSON.parse(encodeReply(1, call('read', { key: 'x' }), read(value), host, room))
    for (const value of ['x'.repeat(8_200), 'ü'.repeat(4_100), Array.from({ length: 4_100 }, () => 0)])
      expect(given(value)).toMatchObject({ error: { code: -32002 } })
    for (const value of ['x'.repeat(8_000), 'ü'.repeat(4_000), Array.from({ length: 4_000 }, () => 0), {}])
      expect(given(value)).toMatchObject({ result: { value } })
  })

  it('leaves the values of conflicting versions out where they are too long, and says so', () => {
    const versions = Array.from({ length: 20 }, (_, index) => ({
      version: { timestamp: 99 - index, origin: one },
      value: 'x'.repeat(1 << 20),
    }))
    const writes = [{ key: 'x', value: 1 }]
    const told = push({
      client: 1,
      watch: 2,
      kind: 'update',
      version: first,
      writes,
      conflict: [{ key: 'x', versions }],
    })
    expect(told).toMatchObject({
      conflict: [{ key: 'x', versions: versions.map(({ version }) => ({ version, omitted: true })) }],
    })
  })

  it('says when a watch has caught up', () => {
    expect(push({ client: 1, watch: 2, kind: 'caughtUp', applied })).toEqual({
      kind: 'caughtUp',
      watch: 2,
      applied,
    })
  })

  it('R11: says when a watch begins anew', () => {
    expect(push({ client: 1, watch: 2, kind: 'resync' })).toEqual({ kind: 'resync', watch: 2 })
  })

  it('of a kind that is not known is ignored', () => {
    expect(checkClientNotification('news', {})).toBeUndefined()
  })
})

describe('a client', () => {
  const words = [
    'key',
    'value',
    'version',
    'watch',
    'applied',
    'keys',
    'values',
    'versions',
    'found',
    'writes',
    'next',
  ]
  const hostile = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(
      fc.constantFrom(...words),
      fc.oneof(fc.jsonValue(), fc.constant([1, '1~a']), fc.constant(true)),
    ),
  )

  it('is told that an answer makes no sense, and falls over none', () => {
    const methods = Object.keys(clientMethods) as (keyof typeof clientMethods)[]
    fc.assert(
      fc.property(fc.constantFrom(...methods), hostile, (method, result) => {
        const error = thrownBy(() => checkClientResult(method, result))
        expect([undefined, -32603]).toContain(error?.code)
        expect(error?.definite).not.toBe(true)
      }),
      { numRuns: 3_000 },
    )
  })

  it('is told that an error makes no sense, and falls over none', () => {
    const entry = fc.record({
      version: fc.oneof(hostile, fc.constant([1, '1~a'])),
      server: fc.oneof(hostile, fc.constant('1')),
      holders: fc.oneof(hostile, fc.constant(['2'])),
      lost: fc.oneof(hostile, fc.constant(true)),
    })
    fc.assert(
      fc.property(fc.oneof(hostile, fc.array(fc.oneof(hostile, entry))), (missing) => {
        const sent = protocolError('notCaughtUp', 'behind', { data: { missing } })
        const error = thrownBy(() => checkMissing(sent))
        expect([undefined, -32603]).toContain(error?.code)
      }),
      { numRuns: 1_000 },
    )
  })

  it('is told that a push makes no sense, and falls over none', () => {
    fc.assert(
      fc.property(fc.constantFrom('update', 'caughtUp', 'resync', 'x'), hostile, (method, params) => {
        const error = thrownBy(() => checkClientNotification(method, params))
        expect([undefined, -32603]).toContain(error?.code)
      }),
      { numRuns: 2_000 },
    )
  })
})
