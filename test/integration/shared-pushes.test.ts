import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RawClient } from './raw-client.ts'
import { ServerProcess, stopServers } from './processes.ts'

/** What several watchers are told alike in one turn is shared; whatever else happens in that turn, none of it is lost (R11). */
describe('pushes of one turn', () => {
  let server: ServerProcess

  beforeAll(async () => {
    server = await ServerProcess.start({ id: '1' })
  })
  afterAll(stopServers)

  const request = (method: string, params: object, id: number): string =>
    `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`

  /** The keys that a client is told of, until it has been told of so many. */
  async function keysTold(client: RawClient, count: number): Promise<readonly string[]> {
    const keys: string[] = []
    while (keys.length < count) {
      const message = (await client.message()) as {
        readonly method?: string
        readonly params?: { readonly writes?: readonly { readonly key: string }[] }
      }
      if (message.method === 'update') keys.push(message.params?.writes?.[0]?.key ?? '')
    }
    return keys
  }

  it('all come, though something else is said between them', async () => {
    for (let round = 0; round < 5; round++) {
      const client = await RawClient.connect(server.port)
      await client.call('watch', { prefix: `${round} ` })
      const write = (key: string, id: number): string =>
        request('write', { key: `${round} ${key}`, value: 1 }, id)
      client.send(
        `${write('a', 11)}${request('link', { peer: '2', action: 'hold' }, 12)}${write('b', 13)}${write('c', 14)}`,
      )
      expect(await keysTold(client, 3)).toEqual(['a', 'b', 'c'].map((key) => `${round} ${key}`))
      client.close()
    }
  })

  it('all come to a client of several watches, though one of them has much to be told', async () => {
    for (let round = 0; round < 5; round++) {
      const client = await RawClient.connect(server.port)
      for (const prefix of ['p', 'q', 'r']) await client.call('watch', { prefix: `${round}${prefix}` })
      const keys = ['p1', 'q1', 'r1', 'p2', 'r2', 'r3'].map((key) => `${round}${key}`)
      const lines = keys.map((key, index) =>
        request('write', { key, value: 'v'.repeat(key.endsWith('p2') ? 300_000 : 1) }, 20 + index),
      )
      client.send(lines.join(''))
      expect([...(await keysTold(client, keys.length))].toSorted()).toEqual(keys.toSorted())
      client.close()
    }
  })
})
