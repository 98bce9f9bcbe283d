import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Narrator, type ServerEvent } from '../../src/server/narrator.ts'
import { Server } from '../../src/server/server.ts'
import { MemoryDisk } from '../../src/storage/memory-store.ts'
import { ServerProcess, stopServers, within, type ServerStart } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'

const folders: string[] = []
const clients: RawClient[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  await stopServers()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** A place for a folder that is not there yet. */
function newPlace(): string {
  const parent = mkdtempSync(join(tmpdir(), 'tidings-server-'))
  folders.push(parent)
  return join(parent, 'data')
}

async function clientOf({ port }: { readonly port: number }): Promise<RawClient> {
  const client = await RawClient.connect(port)
  clients.push(client)
  return client
}

describe('R6: what was acknowledged', () => {
  it('is there after the process was killed, and the next start says what it found', async () => {
    const data = newPlace()
    const first = await ServerProcess.start({ data })
    expect(await first.event('recovered')).toMatchObject({ folder: data, isFresh: true, keys: 0, updates: 0 })
    const client = await clientOf(first)
    for (let number = 0; number < 20; number++) {
      await client.call('write', { key: `key ${number % 10}`, value: number })
    }
    await client.call('delete', { key: 'key 0' })
    await first.kill()
    const second = await ServerProcess.start({ data })
    expect(await second.event('recovered')).toMatchObject({ isFresh: false, keys: 9, updates: 21 })
    const reader = await clientOf(second)
    expect(await reader.call('read', { key: 'key 9' })).toMatchObject({ found: true, value: 19 })
    expect(await reader.call('read', { key: 'key 0' })).toMatchObject({ found: false })
    expect(await reader.call('status')).toMatchObject({ durability: 'sync', folder: data, keys: 9 })
    // R7: every start is a new origin, whose writes follow those of the ones before.
    expect(second.origin).not.toBe(first.origin)
    expect(await reader.call('write', { key: 'key 0', value: 'back' })).toMatchObject({
      version: [22, second.origin],
    })
    expect((await second.stop()).code).toBe(0)
    const third = await ServerProcess.start({ data })
    expect(await (await clientOf(third)).call('read', { key: 'key 0' })).toMatchObject({ value: 'back' })
  })

  it('with async is there after an orderly end', async () => {
    const data = newPlace()
    const first = await ServerProcess.start({ data, durability: 'async' })
    const client = await clientOf(first)
    await client.call('write', { key: 'x', value: 'lost' })
    expect(await client.call('status')).toMatchObject({ durability: 'async', folder: data })
    await first.stop()
    const second = await ServerProcess.start({ data, durability: 'async' })
    expect(await (await clientOf(second)).call('read', { key: 'x' })).toMatchObject({ value: 'lost' })
  })

  it('with memory needs no folder, and makes none', async () => {
    const data = newPlace()
    const server = await ServerProcess.start({ data, durability: 'memory' })
    expect(await server.event('notice', ({ text }) => text.includes('in memory'))).toBeDefined()
    expect(existsSync(data)).toBe(false)
  })
})

describe('R6: a disk that fails', () => {
  it('stops the server with a message, and what was not stored is not answered; the store is left alone', async () => {
    const disk = new MemoryDisk()
    const store = disk.open('1')
    const afterFailure: string[] = []
    let hasFailed = false
    const events: ServerEvent[] = []
    const server = new Server({
      server: '1',
      host: '127.0.0.1',
      port: 0,
      peers: [],
      isInsecure: false,
      isLab: false,
      narrator: new Narrator({ write: (line) => events.push(JSON.parse(line) as ServerEvent) }),
      storage: {
        store: {
          isFresh: store.isFresh,
          addresses: store.addresses,
          recover: () => store.recover(),
          commit: async (batch) => {
            if (hasFailed) afterFailure.push('commit')
            try {
              await store.commit(batch)
            } catch (error) {
              hasFailed = true
              throw error
            }
          },
          close: async () => {
            afterFailure.push('close')
            await store.close()
          },
        },
        folder: 'a disk in memory',
        mode: 'sync',
      },
    })
    const { port } = await server.start()
    const client = await clientOf({ port })
    await client.call('write', { key: 'x', value: 1 })
    disk.isFull = true
    client.sendMessage({ jsonrpc: '2.0', id: 'x', method: 'write', params: { key: 'x', value: 2 } })
    client.sendMessage({ jsonrpc: '2.0', id: 'r', method: 'read', params: { key: 'x' } })
    const error = await within(server.failed, () => 'it goes on')
    expect(error.message).toContain('full')
    expect(error.message).toContain('all of what this server acknowledged is stored')
    expect(await client.closed()).toEqual([])
    expect(events.at(-1)?.kind).toBe('stopped')
    await expect(server.stop('again')).rejects.toBe(error)
    // Closing it then may end the process before the message is out.
    expect(afterFailure).toEqual([])
  })

  it('ends the process with exit code 5 and the message, and not by a signal', async () => {
    const server = await ServerProcess.start({ data: newPlace(), durability: 'sync', fileKibibytesMax: 512 })
    const client = await clientOf(server)
    for (let number = 0; number < 200; number++) {
      const params = { key: `key ${number}`, value: 'v'.repeat(20_000) }
      client.sendMessage({ jsonrpc: '2.0', id: number, method: 'write', params })
    }
    expect(await server.ended).toMatchObject({ code: 5, signal: null })
    expect(server.stderr).toMatch(/error: .*it stops here/)
  })
})

describe('R7: a folder', () => {
  it('belongs to one server id: another one is refused with exit code 5', async () => {
    const data = newPlace()
    await (await ServerProcess.start({ data, id: '1' })).stop()
    const other = new ServerProcess({ data, id: '2' })
    expect((await other.exit()).code).toBe(5)
    expect(other.stderr).toContain('error: ')
    expect(other.stderr).toContain(data)
  })

  it('belongs to one process at a time: the second is refused with exit code 5, and the first goes on', async () => {
    const data = newPlace()
    const first = await ServerProcess.start({ data })
    const second = new ServerProcess({ data })
    expect((await second.exit()).code).toBe(5)
    expect(second.stderr).toContain(data)
    const client = await clientOf(first)
    await client.call('write', { key: 'x', value: 1 })
    expect(await client.call('read', { key: 'x' })).toMatchObject({ value: 1 })
  })

  it('that cannot be made is an error with exit code 5', async () => {
    const data = newPlace()
    writeFileSync(data, 'this is a file')
    const server = new ServerProcess({ data: join(data, 'below') })
    expect((await server.exit()).code).toBe(5)
    expect(server.stderr).toContain(join(data, 'below'))
  })

  it('is said to be new or found, and how to start fresh, in words', async () => {
    const data = newPlace()
    const forPeople: ServerStart = { data, isJson: false }
    const first = new ServerProcess(forPeople)
    await first.printed(`new folder ${data}`)
    await first.printed('listening on')
    await first.stop()
    const second = new ServerProcess(forPeople)
    await second.printed(
      `recovered 0 keys and 0 updates of the log from ${data}; to start fresh, stop the server and remove that folder`,
    )
  })

  it('that was wiped gets back what the others hold, and the operator is told loudly', async () => {
    const data = newPlace()
    const two = await ServerProcess.start({ id: '2' })
    const one = await ServerProcess.start({ id: '1', data, peers: [two.port] })
    await one.joined([two])
    await (await clientOf(one)).call('write', { key: 'x', value: 'lost' })
    await two.applied('x')
    await one.stop()
    rmSync(data, { recursive: true })
    const again = await ServerProcess.start({ id: '1', data, peers: [two.port] })
    expect(await again.event('restored')).toEqual({
      kind: 'restored',
      peer: '2',
      origin: one.origin,
      here: 0,
      there: 1,
      others: 0,
    })
    await again.applied('x')
  })
})

describe('R8: the addresses of other servers', () => {
  it('are kept: a server that is started again without --peers finds them', async () => {
    const data = newPlace()
    const two = await ServerProcess.start({ id: '2' })
    const three = await ServerProcess.start({ id: '3', peers: [two.port] })
    const one = await ServerProcess.start({ id: '1', data, peers: [two.port] })
    await one.joined([two, three])
    await one.stop()
    // At another port, so that it cannot be the others who find it.
    const again = await ServerProcess.start({ id: '1', data })
    await again.joined([two, three])
  })
})
