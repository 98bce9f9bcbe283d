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
      const each = 1_000
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
        let next = 0
        for (const line of await client.closed()) {
          const { id, result, error } = JSON.parse(line) as WireMessage
          if (error !== undefined) {
            expect(error).toMatchObject({ code: -32004, data: { definite: true } })
            continue
          }
          expect(id).toBe(next++)
          expect(result).toMatchObject({ key: `${index}/${String(id)}` })
          acknowledged.push(`${index}/${String(id)}`)
        }
      }
      expect(await one.exit()).toEqual({ code: 0, signal: null })
      expect(one.events.at(-1)?.kind).toBe('stopped')
      await two.event('peerLeft')
      expect(acknowledged.length).toBeGreaterThan(0)
      const reader = await RawClient.connect(two.port)
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
    client.sendMessage({ jsonrpc: '2.0', id: 'after', method: 'read', params: { key: 'k' } })
    await client.answer('after')
    one.signal('SIGTERM')
    const lines = await client.closed()
    expect(lines.map((line) => JSON.parse(line) as WireMessage)).toMatchObject([
      { id: 'why', error: { code: -32004, data: { definite: true } } },
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
