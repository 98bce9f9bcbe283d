import { afterEach, describe, expect, it } from 'vitest'
import { ServerProcess, startMesh, stopServers } from './processes.ts'
import { RawClient, type WireMessage } from './raw-client.ts'

afterEach(stopServers)

describe('a server that is told to stop', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'on %s under load answers what it has read, closes, and what it has acknowledged is at its peers',
    async (signal) => {
      const [one, two] = (await startMesh(2)) as [ServerProcess, ServerProcess]
      const clients = await Promise.all(Array.from({ length: 10 }, () => RawClient.connect(one.port)))
      // Few enough that all of it is told: what an operator does not read in time is left out.
      const each = 200
      for (const [index, client] of clients.entries()) {
        for (let id = 0; id < each; id++) {
          client.sendMessage({
            jsonrpc: '2.0',
            id,
            method: 'write',
            params: { key: `${index}/${id}`, value: id },
          })
        }
      }
      await one.event('taken')
      one.signal(signal)
      const acknowledged: string[] = []
      for (const [index, client] of clients.entries()) {
        const answers = (await client.closed()).map((line) => JSON.parse(line) as WireMessage)
        const results = answers.filter(({ error }) => error === undefined)
        const refused = answers.slice(results.length)
        expect(results.map(({ id }) => id)).toEqual(results.map((_, id) => id))
        expect(refused.filter(({ error }) => error?.code !== -32004)).toEqual([])
        acknowledged.push(...results.map(({ id }) => `${index}/${String(id)}`))
      }
      expect(await one.exit()).toEqual({ code: 0, signal: null })
      expect(one.events.at(-1)?.kind).toBe('stopped')
      expect(acknowledged.length).toBeGreaterThan(0)
      const reader = await RawClient.connect(two.port)
      await reader.until<{ peers: readonly { state: string }[] }>('status', {}, ({ peers }) =>
        peers.every(({ state }) => state !== 'connected'),
      )
      const missing: string[] = []
      for (let start = 0; start < acknowledged.length; start += 1_000) {
        const { values } = await reader.call<{ values: readonly { key: string; found: boolean }[] }>('read', {
          keys: acknowledged.slice(start, start + 1_000),
        })
        for (const { key, found } of values) if (!found) missing.push(key)
      }
      expect(missing).toEqual([])
      reader.close()
    },
  )

  it('takes no new connection, and closes the idle ones without a word', async () => {
    const server = await ServerProcess.start({ id: '1' })
    const idle = await RawClient.connect(server.port)
    const watcher = await RawClient.connect(server.port)
    await watcher.call('watch', {})
    await watcher.push('caughtUp')
    server.signal('SIGTERM')
    expect(await idle.closed()).toEqual([])
    expect(await watcher.closed()).toEqual([])
    expect(await server.exit()).toEqual({ code: 0, signal: null })
    await expect(RawClient.connect(server.port)).rejects.toThrow('ECONNREFUSED')
  })

  it('answers a `why` that waits for a stopped peer with −32004', async () => {
    const [one, two] = (await startMesh(2)) as [ServerProcess, ServerProcess]
    const client = await RawClient.connect(one.port)
    two.signal('SIGSTOP')
    client.sendMessage({ jsonrpc: '2.0', id: 'why', method: 'why', params: { key: 'k' } })
    client.sendMessage([
      { jsonrpc: '2.0', id: 'write', method: 'write', params: { key: 'k', value: 1 } },
      { jsonrpc: '2.0', id: 'why too', method: 'why', params: { key: 'k' } },
    ])
    client.sendMessage({ jsonrpc: '2.0', id: 'after', method: 'read', params: { key: 'k' } })
    await client.answer('after')
    one.signal('SIGTERM')
    const lines = await client.closed()
    expect(lines.map((line) => JSON.parse(line) as WireMessage)).toMatchObject([
      { id: 'why', error: { code: -32004, data: { definite: true } } },
      // Of a batch, what has been answered already is not lost.
      [
        { id: 'write', result: { key: 'k' } },
        { id: 'why too', error: { code: -32004 } },
      ],
    ])
    expect(await one.exit()).toEqual({ code: 0, signal: null })
  })

  it('ends in time though clients do not read, and does not take their silence for ever', async () => {
    const server = await ServerProcess.start({ id: '1' })
    const writer = await RawClient.connect(server.port)
    await writer.call('write', { key: 'long', value: 'x'.repeat(1_000_000) })
    const deaf = await RawClient.connect(server.port)
    deaf.stopReading()
    for (let id = 0; id < 100; id++) {
      deaf.sendMessage({ jsonrpc: '2.0', id, method: 'read', params: { key: 'long' } })
    }
    await writer.call('read', { key: 'none' })
    server.signal('SIGTERM')
    expect(await server.exit()).toEqual({ code: 0, signal: null })
    deaf.close()
  })

  it('is ended at once by a second signal', async () => {
    const server = await ServerProcess.start({ id: '1' })
    const writer = await RawClient.connect(server.port)
    await writer.call('write', { key: 'long', value: 'x'.repeat(1_000_000) })
    const deaf = await RawClient.connect(server.port)
    deaf.stopReading()
    for (let id = 0; id < 100; id++) {
      deaf.sendMessage({ jsonrpc: '2.0', id, method: 'read', params: { key: 'long' } })
    }
    await writer.call('read', { key: 'none' })
    server.signal('SIGTERM')
    await server.event('stopping')
    server.signal('SIGTERM')
    const end = await server.exit()
    expect(end.signal ?? end.code).toBe(143)
    deaf.close()
  })
})
