import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkClientRequest, clientMethods } from '../../src/protocol/client-messages.ts'
import type { ProtocolError } from '../../src/protocol/errors.ts'
import { parseRpcLine } from '../../src/protocol/json-rpc.ts'
import { unweighedLengthMax } from '../../src/protocol/limits.ts'
import { LineDecoder } from '../../src/protocol/line-decoder.ts'
import { checkPeerMessage } from '../../src/protocol/peer-messages.ts'
import { jsonTexts } from './json-oracle.ts'
import { thrownBy } from './refusal.ts'

/** What a server makes of a stream of bytes: for each message its method, or the code of its refusal. */
function gateway(chunks: readonly Buffer[], sender: 'client' | 'peer' = 'client'): (string | number)[] {
  const decoder = new LineDecoder()
  const made: (string | number)[] = []
  const check = sender === 'client' ? checkClientRequest : checkPeerMessage
  const refused = (error: ProtocolError | undefined): void => {
    if (error !== undefined) made.push(error.code)
  }
  const takeLine = (text: string): void => {
    const parsed = parseRpcLine(text, { sender })
    for (const message of parsed.isBatch ? parsed.messages : [parsed.message]) {
      if (message.kind === 'invalid') made.push(message.error.code)
      else if (message.kind === 'response') made.push(message.kind)
      else {
        const error = thrownBy(() => check(message.method, message.params))
        made.push(error?.code ?? message.method)
      }
    }
  }
  const take = (): void => {
    for (
      let line = decoder.next() ?? decoder.end();
      line !== undefined;
      line = decoder.next() ?? decoder.end()
    ) {
      const { text } = line
      refused(thrownBy(() => takeLine(text)))
    }
  }
  for (const chunk of chunks) decoder.push(chunk)
  refused(thrownBy(take))
  return made
}

const request = (method: string, params: string): string =>
  `{"jsonrpc":"2.0","id":1,"method":"${method}","params":${params}}`

const cases: readonly (readonly [string, string | Buffer, (string | number)[]])[] = [
  ['an ordinary request', request('write', '{"key":"x","value":"lost"}'), ['write']],
  ['HTTP', 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', [-32700, -32700]],
  ['Redis', '*1\r\n$4\r\nPING\r\n', [-32700, -32700, -32700]],
  ['a TLS greeting', Buffer.from([0x16, 0x03, 0x01, 0xff, 0x0a]), [-32700]],
  ['zero bytes', Buffer.alloc(100), [-32700]],
  ['a byte order mark', `\ufeff${request('status', '{}')}`, [-32700]],
  ['null', 'null', [-32600]],
  ['a number', '5', [-32600]],
  ['an empty object', '{}', [-32600]],
  ['an empty batch', '[]', [-32600]],
  ['a batch of nothing', '[1,null,[]]', [-32600, -32600, -32600]],
  ['two messages in a line', `${request('status', '{}')}${request('status', '{}')}`, [-32700]],
  ['half a message', request('status', '{}').slice(0, -5), [-32700]],
  ['a comma too many', request('status', '{},'), [-32700]],
  ['single quotes', "{'jsonrpc':'2.0'}", [-32700]],
  ['an unknown method', request('incr', '{"key":"x"}'), [-32601]],
  ['a method of every object', request('constructor', '{}'), [-32601]],
  ['a method between servers', request('peer.updates', '{}'), [-32601]],
  ['params by position', request('read', '["x"]'), [-32602]],
  ['a misspelt parameter', request('keys', '{"perfix":"x"}'), [-32602]],
  ['a number that is too exact', request('write', '{"key":"x","value":0.1234567890123456789}'), [-32602]],
  ['a number that is too large', request('write', '{"key":"x","value":[1e309]}'), [-32602]],
  ['a name twice', request('write', '{"key":"x","value":{"a":1,"a":2}}'), [-32602]],
  ['half a surrogate pair', request('write', '{"key":"x","value":"\\ud83d"}'), [-32602]],
  ['half a surrogate pair in a key', request('write', '{"key":"\\udc00","value":1}'), [-32602]],
  ['65 levels', request('write', `{"key":"x","value":${'['.repeat(65)}${']'.repeat(65)}}`), [-32602]],
  ['as many brackets as need no weighing', '['.repeat(unweighedLengthMax), [-32700]],
  ['a mebibyte of brackets', '['.repeat(1 << 20), [-32010]],
  [
    'as many balanced brackets',
    '['.repeat(unweighedLengthMax / 2) + ']'.repeat(unweighedLengthMax / 2),
    [-32602],
  ],
  ['a mebibyte of balanced brackets', '['.repeat(1 << 19) + ']'.repeat(1 << 19), [-32010]],
  ['more than a mebibyte', 'x'.repeat((1 << 20) + 1), [-32003]],
  ['a key that is too long', request('read', `{"key":"${'x'.repeat(1_025)}"}`), [-32010]],
  ['a cut that is none', request('watch', '{"since":{"__proto__":1}}'), [-32602]],
  ['a prototype for params', request('write', '{"__proto__":{"key":"x","value":1}}'), [-32602]],
  ['a response that nobody asked for', '{"jsonrpc":"2.0","id":1,"result":1}', ['response']],
]

describe('the gateway', () => {
  it.each(cases)('makes of %s what the protocol says', (_, sent, made) => {
    const stream = Buffer.from(sent)
    expect(gateway([stream])).toEqual(made)
    const bytes = stream.length > 1_000 ? [stream] : [...stream].map((byte) => Buffer.from([byte]))
    expect(gateway(bytes)).toEqual(made)
  })

  it('lets nothing but ProtocolErrors out, whatever the bytes and however they are cut', () => {
    const methods = [...Object.keys(clientMethods), 'peer.updates', 'peer.pull', 'peer.hello', 'x']
    const messages = fc
      .tuple(fc.constantFrom(...methods), jsonTexts, fc.constantFrom('1', '"a"', 'null', '[]', '1.5'))
      .map(([method, params, id]) => `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}`)
    const pieces = fc.oneof(
      messages,
      fc.array(messages, { maxLength: 3 }).map((items) => `[${items.join(',')}]`),
      jsonTexts,
      fc.string(),
    )
    const streams = fc
      .tuple(
        fc.array(fc.tuple(pieces, fc.constantFrom('\n', '\r\n', '\n\n', '')), { maxLength: 5 }),
        fc.uint8Array(),
      )
      .map(([lines, rubbish]) => Buffer.concat([Buffer.from(lines.flat().join('')), Buffer.from(rubbish)]))
    fc.assert(
      fc.property(streams, fc.integer({ min: 1, max: 64 }), fc.boolean(), (stream, chunkBytes, isClient) => {
        const chunks: Buffer[] = []
        for (let at = 0; at < stream.length; at += chunkBytes)
          chunks.push(stream.subarray(at, at + chunkBytes))
        const sender = isClient ? 'client' : 'peer'
        expect(gateway(chunks, sender)).toEqual(gateway([stream], sender))
      }),
      { numRuns: 2_000 },
    )
  })
})
