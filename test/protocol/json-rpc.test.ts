import { describe, expect, it } from 'vitest'
import { ProtocolError, protocolError } from '../../src/protocol/errors.ts'
import {
  encodeBatch,
  encodeError,
  encodeNotice,
  encodeRequest,
  encodeResponse,
  parseRpcLine,
  type RpcMessage,
} from '../../src/protocol/json-rpc.ts'

function message(line: string): RpcMessage {
  const parsed = parseRpcLine(line)
  if (parsed.isBatch) throw new Error('a batch')
  return parsed.message
}

function definite(error: string): boolean | undefined {
  const read = message(`{"jsonrpc":"2.0","id":1,"error":${error}}`)
  return read.kind === 'response' && 'error' in read.outcome ? read.outcome.error.definite : undefined
}

describe('JSON-RPC 2.0', () => {
  it('reads a request', () => {
    expect(message('{"jsonrpc":"2.0","id":1,"method":"read","params":{"key":"x"}}')).toEqual({
      kind: 'request',
      id: 1,
      method: 'read',
      params: { key: 'x' },
    })
  })

  it('takes a message without an id for a notification', () => {
    expect(message('{"jsonrpc":"2.0","method":"status"}').kind).toBe('notification')
  })

  it.each(['1', '-1', '0', '1.5', '"a"', '""', 'null', '9007199254740991'])(
    'accepts the id %s, and answers with it',
    (id) => {
      const request = message(`{"jsonrpc":"2.0","id":${id},"method":"status"}`)
      if (request.kind !== 'request') throw new Error(request.kind)
      expect(encodeResponse(request.id, {})).toBe(`{"jsonrpc":"2.0","id":${id},"result":{}}\n`)
    },
  )

  it.each(['{}', '[]', 'true', '9007199254740993', '1e999'])(
    'refuses the id %s with −32600 and the id null',
    (id) => {
      expect(message(`{"jsonrpc":"2.0","id":${id},"method":"status"}`)).toMatchObject({
        kind: 'invalid',
        id: null,
        error: { code: -32600, path: 'id' },
      })
    },
  )

  it.each([
    ['{"id":1,"method":"status"}', 1, 'jsonrpc'],
    ['{"jsonrpc":2.0,"id":1,"method":"status"}', 1, 'jsonrpc'],
    ['{"jsonrpc":"1.0","id":"a","method":"status"}', 'a', 'jsonrpc'],
    ['{"jsonrpc":"2.0","id":1}', 1, 'method'],
    ['{"jsonrpc":"2.0","id":1,"method":5}', 1, 'method'],
    ['{"jsonrpc":"2.0","id":1,"method":"read","params":"x"}', 1, 'params'],
    ['{"jsonrpc":"2.0","id":1,"method":"read","params":null}', 1, 'params'],
    ['{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":"y"}}', 1, 'error'],
    ['{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"y"},"result":1}', 1, undefined],
    ['5', null, undefined],
    ['null', null, undefined],
    ['"x"', null, undefined],
    ['{}', null, 'jsonrpc'],
  ])('refuses %s with −32600', (line, id, path) => {
    expect(message(line)).toMatchObject({ kind: 'invalid', id, error: { code: -32600, path } })
  })

  it('reads a batch, each message by itself', () => {
    const parsed = parseRpcLine(
      '[{"jsonrpc":"2.0","id":1,"method":"status"},1,{"jsonrpc":"2.0","method":"status"},[]]',
    )
    expect(parsed.isBatch && parsed.messages.map(({ kind }) => kind)).toEqual([
      'request',
      'invalid',
      'notification',
      'invalid',
    ])
  })

  it('refuses an empty batch, and one that is too long, with one −32600', () => {
    expect(() => parseRpcLine('[]')).toThrow(expect.objectContaining({ code: -32600, id: null }) as Error)
    const long = `[${Array.from({ length: 1_001 }, () => '1').join(',')}]`
    expect(() => parseRpcLine(long)).toThrow(expect.objectContaining({ code: -32600, id: null }) as Error)
  })

  it('answers a batch in one array, and one of notifications not at all', () => {
    const lines = [encodeResponse(1, {}), encodeError(protocolError('internal', 'no'), 2)]
    const answer = encodeBatch(lines)
    expect(answer?.indexOf('\n')).toBe((answer?.length ?? 0) - 1)
    expect(JSON.parse(answer ?? '')).toEqual(lines.map((line) => JSON.parse(line) as unknown))
    expect(encodeBatch([])).toBeUndefined()
  })

  it('reads responses, their errors as the errors that they are', () => {
    expect(message('{"jsonrpc":"2.0","id":1,"result":null}')).toEqual({
      kind: 'response',
      id: 1,
      outcome: { result: null },
    })
    const sent = protocolError('overloaded', 'later', { data: { retryAfterMs: 5 }, path: 'params' })
    const read = message(encodeError(sent, 1))
    if (read.kind !== 'response' || !('error' in read.outcome)) throw new Error(read.kind)
    expect(read.outcome.error).toBeInstanceOf(ProtocolError)
    expect(read.outcome.error).toMatchObject({
      code: -32002,
      message: 'later',
      data: sent.data,
      definite: true,
    })
  })

  it('takes an error that does not say so for definite only where its code says it', () => {
    expect(definite('{"code":-32602,"message":""}')).toBe(true)
    expect(definite('{"code":-32007,"message":"","data":5}')).toBe(false)
    expect(definite('{"code":4711,"message":"","data":{"definite":"yes"}}')).toBe(false)
    expect(definite('{"code":4711,"message":"","data":{"definite":true}}')).toBe(true)
  })

  it('writes one line for one message', () => {
    const params = { text: 'two\nlines' }
    for (const line of [
      encodeRequest({ id: 1, method: 'm', params }),
      encodeNotice({ method: 'm', params }),
      encodeResponse('a\nb', params),
      encodeError(protocolError('internal', 'two\nlines')),
    ]) {
      expect(line.indexOf('\n')).toBe(line.length - 1)
      expect(JSON.parse(line)).toMatchObject({ jsonrpc: '2.0' })
    }
    expect(encodeRequest({ id: 1, method: 'status' })).toBe('{"jsonrpc":"2.0","id":1,"method":"status"}\n')
  })
})
