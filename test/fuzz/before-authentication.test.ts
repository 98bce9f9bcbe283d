import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeNonce } from '../../src/protocol/authentication.ts'
import {
  bytesBeforeAuthenticationMax,
  clientConnectionsMax,
  lineBytesBeforeAuthenticationMax,
  requestsBeforeAuthenticationMax,
} from '../../src/protocol/limits.ts'
import type { RawClient, WireMessage } from '../integration/raw-client.ts'
import { GuardedServer, tokenFor } from './guarded-server.ts'

let server: GuardedServer

beforeAll(async () => {
  server = await GuardedServer.start()
})
afterAll(async () => {
  expect(server.process.stderr).toBe('')
  await server.stop()
})

const challenge = (id: number): object => ({
  jsonrpc: '2.0',
  id,
  method: 'challenge',
  params: { nonce: makeNonce() },
})

/** All that comes until the server closes. */
async function rest(client: RawClient): Promise<readonly WireMessage[]> {
  return (await client.closed()).map((line) => JSON.parse(line) as WireMessage)
}

describe('who has not shown to know the secret', () => {
  it.each<readonly [string, (id: number) => unknown]>([
    ['challenges', challenge],
    ['what is no message', () => ({ jsonrpc: '1.0' })],
    ['unknown methods', (id) => ({ jsonrpc: '2.0', id, method: 'nothing' })],
    ['requests that are malformed', (id) => ({ jsonrpc: '2.0', id, method: 'write', params: {} })],
    ['answers that nobody waits for', (id) => ({ jsonrpc: '2.0', id, result: 1 })],
    ['notifications', () => ({ jsonrpc: '2.0', method: 'challenge', params: { nonce: makeNonce() } })],
  ])('may send a few messages, and is closed after more: %s', async (_what, message) => {
    const client = await server.connect()
    for (let id = 1; id <= requestsBeforeAuthenticationMax; id++) client.sendMessage(message(id))
    // All of those were looked at, and one more is not.
    client.sendMessage({
      jsonrpc: '2.0',
      id: 'one more',
      method: 'challenge',
      params: { nonce: makeNonce() },
    })
    const messages = await rest(client)
    expect(messages.length).toBeLessThanOrEqual(requestsBeforeAuthenticationMax + 1)
    expect(messages.at(-1)).toMatchObject({
      id: 'one more',
      error: { code: -32008, data: { definite: true } },
    })
  })

  it('has the messages of a batch counted one by one, and each is answered', async () => {
    const client = await server.connect()
    const count = requestsBeforeAuthenticationMax + 3
    client.sendMessage(Array.from({ length: count }, (_, id) => challenge(id)))
    const [answers] = (await rest(client)) as unknown as readonly WireMessage[][]
    expect(answers?.map(({ error }) => error?.code)).toEqual([
      ...Array.from({ length: requestsBeforeAuthenticationMax }, () => undefined),
      -32008,
      -32008,
      -32008,
    ])
  })

  it('may still greet with the last message that it may send, and is then served without end', async () => {
    const client = await server.connect()
    for (let id = 3; id <= requestsBeforeAuthenticationMax; id++) {
      await client.ask('challenge', { nonce: makeNonce() })
    }
    await client.call('hello', { token: await tokenFor(client, 'client') })
    for (let id = 0; id < requestsBeforeAuthenticationMax; id++) await client.call('read', { key: 'x' })
    client.close()
  })

  it.each([
    ['blank lines', '\n'],
    ['blank lines that are long', `${' '.repeat(lineBytesBeforeAuthenticationMax)}\n`],
  ])('may send no more than so many bytes, though no message is among them: %s', async (_what, line) => {
    const client = await server.connect()
    client.send(line.repeat(Math.ceil((4 * bytesBeforeAuthenticationMax) / line.length)))
    // Not because of the time that it took.
    const message = expect.stringContaining(`within ${bytesBeforeAuthenticationMax} bytes`)
    expect(await rest(client)).toMatchObject([{ id: null, error: { code: -32008, message } }])
  })

  it('may send much in one go behind its proof', async () => {
    const client = await server.connect()
    const token = await tokenFor(client, 'client')
    const value = 'x'.repeat(2 * bytesBeforeAuthenticationMax)
    client.sendMessage({ jsonrpc: '2.0', id: 'hello', method: 'hello', params: { token } })
    client.sendMessage({ jsonrpc: '2.0', id: 'write', method: 'write', params: { key: 'long', value } })
    expect(await client.answer('write')).toMatchObject({ result: { key: 'long' } })
    client.close()
  })

  it('takes no place from a client that has, however often it tries', async () => {
    const strangers: RawClient[] = []
    while (strangers.length < clientConnectionsMax) strangers.push(await server.connect())
    // They take what they are told, and leave their end open: all of them are still there for a while.
    const hello = async (stranger: RawClient) => stranger.fails('hello', { token: 'f'.repeat(64) })
    const errors = await Promise.all(strangers.map(hello))
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set([-32008]))
    const client = await server.client()
    expect(await client.call('read', { key: 'none' })).toEqual({ key: 'none', found: false })
    client.close()
    for (const stranger of strangers) stranger.close()
  })
})
