import { afterEach, describe, expect, it } from 'vitest'
import { RunningServer, endAll } from '../client/running-server.ts'
import { RawClient } from './raw-client.ts'

afterEach(endAll)

const megabyte = 'x'.repeat(1_000_000)

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: { readonly code: number; readonly data: { readonly definite: boolean } }
}

function request(id: number, method: string, params: object): object {
  return { jsonrpc: '2.0', id, method, params }
}

function lines(messages: readonly object[]): string {
  return messages.map((message) => `${JSON.stringify(message)}\n`).join('')
}

describe('the answers to one connection', () => {
  it('of a batch share one bound: what does not fit is refused, and no acknowledgement ever is', async () => {
    const server = await RunningServer.start()
    const client = await RawClient.connect(server.port)
    await client.call('write', { key: 'long', value: megabyte })
    // 600 MB if all were given: more than a string may hold.
    const reads = Array.from({ length: 600 }, (_, id) => request(id, 'read', { key: 'long' }))
    client.send(`${JSON.stringify([...reads, request(600, 'write', { key: 'last', value: 1 })])}\n`)
    const answers = JSON.parse(await client.line()) as Answer[]
    expect(answers).toHaveLength(601)
    const refused = answers.filter(({ error }) => error !== undefined)
    expect(new Set(refused.map(({ error }) => error?.code))).toEqual(new Set([-32010]))
    expect(answers.length - refused.length).toBe(17)
    expect(answers.find(({ id }) => id === 600)).toMatchObject({ result: { key: 'last' } })
    client.close()
  })

  it('are complete when the client has sent all and reads only then, however much is owed', async () => {
    const server = await RunningServer.start()
    const client = await RawClient.connect(server.port)
    await client.call('write', { key: 'long', value: megabyte })
    client.stopReading()
    for (let id = 1; id <= 40; id++) client.sendMessage(request(id, 'read', { key: 'long' }))
    client.halfClose()
    const neighbour = await RawClient.connect(server.port)
    for (let number = 0; number < 50; number++) await neighbour.call('read', { key: 'none' })
    client.readOn()
    for (let id = 1; id <= 40; id++) expect((await client.message()).id).toBe(id)
    expect(await client.closed()).toEqual([])
    neighbour.close()
  })

  it('are given at the end too: what was taken when the server stops is acknowledged, or refused by name', async () => {
    const server = await RunningServer.start()
    const client = await RawClient.connect(server.port)
    await client.call('write', { key: 'long', value: megabyte })
    client.stopReading()
    const reads = Array.from({ length: 20 }, (_, index) => request(index + 1, 'read', { key: 'long' }))
    // In one piece, so that the server has read the last before the first has stalled the connection.
    client.send(lines([...reads, request(21, 'write', { key: 'last', value: 1 })]))
    const neighbour = await RawClient.connect(server.port)
    await neighbour.until('read', { key: 'last' }, ({ found }: { found: boolean }) => found)
    const ended = endAll()
    client.readOn()
    const answers: Answer[] = []
    for (let id = 1; id <= 21; id++) answers.push((await client.message()) as unknown as Answer)
    expect(answers.map(({ id }) => id)).toEqual(Array.from({ length: 21 }, (_, index) => index + 1))
    expect(answers.at(-1)).toMatchObject({ result: { key: 'last' } })
    await ended
  })
})

describe('a link that is held', () => {
  it('has let through what the same client wrote before (design §5)', async () => {
    const first = await RunningServer.start({ id: '1', isLab: true })
    const second = await RunningServer.start({ id: '2', peers: [first] })
    const client = await RawClient.connect(first.port)
    const reader = await RawClient.connect(second.port)
    await client.until('status', {}, ({ peers }: { peers: readonly { state: string }[] }) =>
      peers.some(({ state }) => state === 'connected'),
    )
    client.send(
      lines([
        request(1, 'write', { key: 'before', value: 1 }),
        request(2, 'link', { peer: '2', action: 'hold' }),
        request(3, 'write', { key: 'after', value: 1 }),
      ]),
    )
    for (let count = 0; count < 3; count++) await client.message()
    await reader.until('read', { key: 'before' }, ({ found }: { found: boolean }) => found)
    expect(await reader.call('read', { key: 'after' })).toEqual({ key: 'after', found: false })
    expect(await client.call('link', { peer: '2', action: 'release' })).toMatchObject({ state: 'open' })
    await reader.until('read', { key: 'after' }, ({ found }: { found: boolean }) => found)
    client.close()
    reader.close()
  })
})

describe('a watch from the start', () => {
  it('goes on after every page, whether or not the page filled the socket (R11)', async () => {
    const server = await RunningServer.start()
    const writer = await RawClient.connect(server.port)
    const count = 3_500
    for (let id = 0; id < count; id++) writer.sendMessage(request(id, 'write', { key: `k${id}`, value: id }))
    for (let id = 0; id < count; id++) await writer.answer(id)
    const watcher = await RawClient.connect(server.port)
    await watcher.call('watch', { since: 'start' })
    for (let id = 0; id < count; id++) {
      expect((await watcher.push('update')).params).toMatchObject({ writes: [{ key: `k${id}`, value: id }] })
    }
    await watcher.push('caughtUp')
    watcher.close()
    writer.close()
  })
})
