import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkClientRequest, clientMethods, isReplicaCall } from '../../src/protocol/client-messages.ts'
import type { ProtocolError } from '../../src/protocol/errors.ts'
import { lineBytesMax, numbersUnmeasuredMax, writesBytesMax } from '../../src/protocol/limits.ts'
import { comesBack, jsonTexts, numberTexts } from './json-oracle.ts'
import { refusalBy, thrownBy } from './refusal.ts'

function refusal(method: string, params: unknown): ProtocolError {
  return refusalBy(() => checkClientRequest(method, params))
}

/** The replica's side of a request. */
function requestOf(method: string, params: object): object {
  const call = checkClientRequest(method, params)
  if (!isReplicaCall(call)) throw new Error(`${method} is no request for the replica`)
  return call.request
}

function nested(levels: number): unknown {
  let value: unknown = 1
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value }
  return value
}

describe('a request', () => {
  const cases: readonly (readonly [string, object | undefined, object])[] = [
    [
      'write',
      { key: 'x', value: null },
      { key: 'x', request: { method: 'write', writes: [{ key: 'x', value: null }] } },
    ],
    [
      'delete',
      { key: 'x' },
      { key: 'x', request: { method: 'write', writes: [{ key: 'x', deleted: true }] } },
    ],
    [
      'batch',
      {
        writes: [
          { key: 'x', value: [1] },
          { key: 'y', deleted: true },
        ],
      },
      {
        request: {
          method: 'write',
          writes: [
            { key: 'x', value: [1] },
            { key: 'y', deleted: true },
          ],
        },
      },
    ],
    ['read', { key: '__proto__' }, { form: 'key', request: { method: 'read', keys: ['__proto__'] } }],
    ['read', { keys: ['x', 'y'] }, { form: 'keys', request: { method: 'read', keys: ['x', 'y'] } }],
    ['keys', undefined, { request: { method: 'keys', prefix: '', from: '', limit: 1_000 } }],
    [
      'keys',
      { prefix: 'a', from: 'ab', limit: 1 },
      { request: { method: 'keys', prefix: 'a', from: 'ab', limit: 1 } },
    ],
    ['watch', {}, { request: { method: 'watch', prefix: '', since: 'now' } }],
    ['watch', { prefix: 'a', since: 'start' }, { request: { method: 'watch', prefix: 'a', since: 'start' } }],
    [
      'watch',
      { since: { '1~a': 3 } },
      { request: { method: 'watch', prefix: '', since: new Map([['1~a', 3]]) } },
    ],
    ['unwatch', { watch: 1 }, { request: { method: 'unwatch', watch: 1 } }],
    ['conflicts', {}, { request: { method: 'conflicts', prefix: '' } }],
    ['status', undefined, { request: { method: 'status' } }],
    ['waiting', {}, { request: { method: 'waiting' } }],
    ['why', { key: 'x' }, { request: { method: 'why', key: 'x' } }],
    ['hello', {}, { request: { method: 'hello' } }],
    [
      'hello',
      { session: 'alice', token: 'ab' },
      { session: 'alice', token: 'ab', request: { method: 'hello' } },
    ],
    ['challenge', { nonce: '0a'.repeat(32) }, { nonce: '0a'.repeat(32) }],
    ['link', { peer: '2', action: 'hold' }, { peer: '2', action: { action: 'hold' } }],
    [
      'link',
      { peer: '2', action: 'release', count: 3 },
      { peer: '2', action: { action: 'release', count: 3 } },
    ],
    ['link', { peer: '2', action: 'delay', ms: 0 }, { peer: '2', action: { action: 'delay', ms: 0 } }],
  ]

  it.each(cases)('%s %j is understood', (method, params, call) => {
    expect(checkClientRequest(method, params)).toEqual({ method, ...call })
  })

  it.each([
    ['write', { value: 1 }, 'params.key'],
    ['write', { key: '', value: 1 }, 'params.key'],
    ['write', { key: 5, value: 1 }, 'params.key'],
    ['write', { key: 'a\ud800', value: 1 }, 'params.key'],
    ['write', { key: 'x' }, 'params.value'],
    ['batch', {}, 'params.writes'],
    ['batch', { writes: [] }, 'params.writes'],
    ['batch', { writes: {} }, 'params.writes'],
    ['batch', { writes: [{ key: 'x', value: 1 }, 5] }, 'params.writes[1]'],
    ['batch', { writes: [{ key: 'x' }] }, 'params.writes[0].value'],
    ['batch', { writes: [{ key: 'x', deleted: false }] }, 'params.writes[0].deleted'],
    ['batch', { writes: [{ key: 'x', deleted: true, value: 1 }] }, 'params.writes[0].value'],
    ['batch', { writes: [{ key: 'x', value: 1, ttl: 5 }] }, 'params.writes[0].ttl'],
    [
      'batch',
      {
        writes: [
          { key: 'x', value: 1 },
          { key: 'x', value: 2 },
        ],
      },
      'params.writes[1].key',
    ],
    ['batch', { writes: [{ key: 'x', value: 1 }, { value: 2 }] }, 'params.writes[1].key'],
    ['read', {}, 'params.key'],
    ['read', { key: 'x', keys: ['y'] }, 'params.keys'],
    ['read', { keys: ['x', ''] }, 'params.keys[1]'],
    ['keys', { limit: 0 }, 'params.limit'],
    ['keys', { limit: 1.5 }, 'params.limit'],
    ['keys', { limit: 1_000_000 }, 'params.limit'],
    ['keys', { prefix: null }, 'params.prefix'],
    ['watch', { since: 'yesterday' }, 'params.since'],
    ['watch', { since: { '1~a': 0 } }, 'params.since["1~a"]'],
    ['watch', { since: { '1': 3 } }, 'params.since'],
    ['watch', { since: [] }, 'params.since'],
    ['read', { key: 'x', after: 'now' }, 'params.after'],
    ['read', { key: 'x', after: { '1~a': 1.5 } }, 'params.after["1~a"]'],
    ['read', { key: 'x', timeout: -1 }, 'params.timeout'],
    ['read', { key: 'x', timeout: 60_001 }, 'params.timeout'],
    ['write', { key: 'x', value: 1, afer: {} }, 'params.afer'],
    ['write', { key: 'x', value: 1, request: 5 }, 'params.request'],
    ['write', { key: 'x', value: 1, request: {} }, 'params.request.session'],
    ['write', { key: 'x', value: 1, request: { session: '', number: 1 } }, 'params.request.session'],
    [
      'write',
      { key: 'x', value: 1, request: { session: 'ä'.repeat(513), number: 1 } },
      'params.request.session',
    ],
    ['write', { key: 'x', value: 1, request: { session: 's' } }, 'params.request.number'],
    ['write', { key: 'x', value: 1, request: { session: 's', number: 0 } }, 'params.request.number'],
    ['write', { key: 'x', value: 1, request: { session: 's', number: 2 ** 53 } }, 'params.request.number'],
    [
      'write',
      { key: 'x', value: 1, request: { session: 's', number: 1, retry: false } },
      'params.request.retry',
    ],
    [
      'write',
      { key: 'x', value: 1, request: { session: 's', number: 1, retries: true } },
      'params.request.retries',
    ],
    ['hello', { protocol: '1' }, 'params.protocol'],
    ['unwatch', {}, 'params.watch'],
    ['why', {}, 'params.key'],
    ['hello', { session: 5 }, 'params.session'],
    ['challenge', { nonce: 'abc' }, 'params.nonce'],
    ['link', { peer: 'no spaces', action: 'hold' }, 'params.peer'],
    ['link', { peer: '2', action: 'explode' }, 'params.action'],
    ['link', { peer: '2', action: 'delay' }, 'params.ms'],
    ['link', { peer: '2', action: 'hold', ms: 5 }, 'params.ms'],
    ['link', { peer: '2', action: 'cut', count: 5 }, 'params.count'],
    ['status', { verbose: true }, 'params.verbose'],
    ['read', ['x'], 'params'],
  ])('%s %j is refused with −32602, naming %s', (method, params, path) => {
    const error = refusal(method, params)
    expect(error).toMatchObject({ code: -32602, path, definite: true })
    expect(error.message).toContain(path)
  })

  it('names the member that a misspelt one was probably meant to be', () => {
    expect(refusal('keys', { perfix: 'a' }).message).toBe(
      'params.perfix is not known here; did you mean prefix?',
    )
  })

  it('names the method that a misspelt one was probably meant to be', () => {
    expect(refusal('raed', {})).toMatchObject({ code: -32601, data: { suggestion: 'read' } })
    expect(refusal('raed', {}).message).toContain('did you mean read?')
    expect(refusal('frobnicate', {}).message).toContain('there is hello, challenge, write')
  })

  it('is not mistaken for a method by the names that every object has', () => {
    for (const method of ['constructor', '__proto__', 'toString', 'hasOwnProperty']) {
      expect(refusal(method, {}).code).toBe(-32601)
      expect(refusal(method, []).code).toBe(-32601)
    }
  })

  it('R9: may come after a cut, and wait so long for it', () => {
    const after = new Map([['1~a', 3]])
    const params = { after: { '1~a': 3 } }
    expect(requestOf('read', { key: 'x', ...params, timeout: 250 })).toEqual({
      method: 'read',
      keys: ['x'],
      after,
      timeoutMs: 250,
    })
    expect(requestOf('read', { keys: ['x'], ...params, timeout: 0 })).toMatchObject({ after, timeoutMs: 0 })
    const others: readonly (readonly [string, object])[] = [
      ['write', { key: 'x', value: 1 }],
      ['delete', { key: 'x' }],
      ['batch', { writes: [{ key: 'x', value: 1 }] }],
      ['keys', {}],
      ['conflicts', {}],
    ]
    for (const [method, own] of others) {
      expect(requestOf(method, { ...own, ...params })).toMatchObject({ after, timeoutMs: 5_000 })
      expect(requestOf(method, { ...own, timeout: 250 })).toEqual(requestOf(method, own))
    }
  })

  it.each(['watch', 'unwatch', 'status', 'waiting', 'why', 'hello', 'link'])(
    'R9: of the method %s comes after nothing',
    (method) => {
      expect(refusal(method, { after: {} })).toMatchObject({ code: -32602, path: 'params.after' })
      expect(refusal(method, { timeout: 5 })).toMatchObject({ code: -32602, path: 'params.timeout' })
    },
  )

  it('R9: shows no longer a cut than a server keeps', () => {
    const cut = (length: number): object =>
      Object.fromEntries(Array.from({ length }, (_, index) => [`1~i${index}`, index + 1]))
    expect(requestOf('read', { key: 'x', after: cut(10_000) })).toHaveProperty('after.size', 10_000)
    expect(refusal('read', { key: 'x', after: cut(10_001) })).toMatchObject({
      code: -32602,
      path: 'params.after',
    })
  })

  it.each(['write', 'delete', 'batch'])('R10: of the method %s may name itself', (method) => {
    const own = {
      write: { key: 'x', value: 1 },
      delete: { key: 'x' },
      batch: { writes: [{ key: 'x', value: 1 }] },
    }
    const params = own[method as keyof typeof own]
    const stamps: readonly object[] = [{}, { retry: true }, { retry: 'again' }]
    for (const more of stamps) {
      const request = { session: 's', number: 5, ...more }
      expect(requestOf(method, { ...params, request })).toMatchObject({ method: 'write', request })
    }
  })

  it('R10: only writes, which could happen twice, may name themselves', () => {
    const request = { session: 's', number: 5 }
    for (const method of ['read', 'keys', 'watch', 'conflicts']) {
      expect(refusal(method, { request })).toMatchObject({ code: -32602, path: 'params.request' })
    }
  })

  it('in another protocol is told so by hello', () => {
    expect(checkClientRequest('hello', { protocol: 1 })).toEqual(checkClientRequest('hello', {}))
    const error = refusal('hello', { protocol: 2 })
    expect(error).toMatchObject({ code: -32005, closesConnection: true, data: { protocol: 1 } })
    expect(error.message).toContain('run the same release on both')
  })

  it('with a key of more than 1,024 bytes is refused with −32010', () => {
    expect(checkClientRequest('write', { key: 'x'.repeat(1_024), value: 1 })).toMatchObject({
      method: 'write',
    })
    expect(refusal('write', { key: 'x'.repeat(1_025), value: 1 })).toMatchObject({
      code: -32010,
      path: 'params.key',
    })
    expect(checkClientRequest('read', { key: 'ä'.repeat(512) })).toMatchObject({ method: 'read' })
    expect(refusal('read', { keys: ['ä'.repeat(513)] })).toMatchObject({
      code: -32010,
      path: 'params.keys[0]',
    })
  })

  it('may carry a value of 64 levels, and none of 65', () => {
    expect(checkClientRequest('write', { key: 'x', value: nested(64) })).toMatchObject({
      method: 'write',
    })
    expect(refusal('write', { key: 'x', value: nested(65) })).toMatchObject({
      code: -32602,
      path: 'params.value',
    })
    expect(refusal('batch', { writes: [{ key: 'x', value: nested(65) }] }).path).toBe(
      'params.writes[0].value',
    )
  })

  it('that would be much longer when it is passed on than it came in is refused with −32010', () => {
    // Each comes in as four bytes and goes out as 21.
    const value = Array.from({ length: 100_000 }, () => 1e20)
    expect(refusal('write', { key: 'x', value })).toMatchObject({ code: -32010, path: 'params.value' })
    const writes = Array.from({ length: 100 }, (_, index) => ({
      key: `k${index}`,
      value: value.slice(0, 1_000),
    }))
    expect(refusal('batch', { writes })).toMatchObject({ code: -32010, path: 'params.writes' })
  })

  it('that fits a line fits an update, for a number grows by at most 18 bytes', () => {
    fc.assert(
      fc.property(numberTexts, (token) => {
        const grown = JSON.stringify(JSON.parse(token)).length - token.length
        expect(comesBack(token) ? grown : 0).toBeLessThanOrEqual(18)
      }),
    )
    const value = Array.from({ length: numbersUnmeasuredMax }, () => 1e20)
    const filler = 'x'.repeat(lineBytesMax - '1e20,'.length * value.length)
    const written = JSON.stringify([{ key: 'k', value: [filler, ...value] }])
    expect(written.length).toBeLessThanOrEqual(writesBytesMax)
  })

  it('with more keys or writes than can be done at once is refused', () => {
    const names = Array.from({ length: 10_001 }, (_, index) => `k${index}`)
    expect(refusal('read', { keys: names.slice(0, 1_001) }).path).toBe('params.keys')
    expect(refusal('batch', { writes: names.map((key) => ({ key, value: 1 })) }).path).toBe('params.writes')
  })

  it('is either understood or refused with a ProtocolError, whatever it holds', () => {
    const names = [
      ...new Set([...Object.values(clientMethods).flat(), 'deleted', '__proto__', 'constructor']),
    ]
    const params = fc.oneof(
      fc.dictionary(
        fc.constantFrom(...names),
        fc.oneof(fc.jsonValue(), fc.constantFrom('x', 'hold', '2', 1)),
      ),
      fc.jsonValue(),
      jsonTexts.map((text) => JSON.parse(text) as unknown),
    )
    const methods = fc.oneof(fc.constantFrom(...Object.keys(clientMethods)), fc.string())
    fc.assert(
      fc.property(methods, params, (method, given) => {
        const error = thrownBy(() => checkClientRequest(method, given))
        expect([undefined, -32601, -32602, -32010]).toContain(error?.code)
      }),
      { numRuns: 5_000 },
    )
  })
})
