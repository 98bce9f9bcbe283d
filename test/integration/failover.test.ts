import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { connect, TidingsError, type Client, type Version } from '../../src/client/client.ts'
import { DataFolder, removeDataFolders } from '../durability/data-folder.ts'
import { ids, Trio, type Id } from '../durability/trio.ts'
import { stopServers } from './processes.ts'
import { RawClient } from './raw-client.ts'

const clients: Client[] = []

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
  await stopServers()
  await removeDataFolders()
})
afterAll(stopServers)

/** A client of the library, which tries some servers in this order. */
async function clientOf(
  trio: Trio,
  order: readonly Id[],
  options: Parameters<typeof connect>[1] = {},
): Promise<Client> {
  const client = await connect(
    order.map((id) => `${trio.ports[id]}`),
    options,
  )
  clients.push(client)
  return client
}

async function link(trio: Trio, from: Id, to: Id, action: 'cut' | 'hold' | 'release'): Promise<void> {
  const client = await RawClient.connect(trio.ports[from])
  await client.call('link', { peer: to, action })
  client.close()
}

/** The error of a read that could not be answered in its time. */
function errorOfRead(error: unknown): TidingsError {
  if (error instanceof TidingsError && error.definite) return error
  throw error
}

/** In the total order of versions (R1). */
function isAtLeast(version: Version | undefined, other: Version): boolean {
  if (version === undefined) return false
  if (version.timestamp !== other.timestamp) return version.timestamp > other.timestamp
  return version.origin >= other.origin
}

async function errorOf(promise: Promise<unknown>): Promise<TidingsError> {
  try {
    const result = await promise
    throw new Error(`there is no error but ${JSON.stringify(result)}`)
  } catch (error) {
    if (error instanceof TidingsError) return error
    throw error
  }
}

describe('R9: a session that writes at 1, loses 1, and reads at 2', () => {
  it('sees its write', async () => {
    const trio = await Trio.start(await DataFolder.make())
    const client = await clientOf(trio, ['1', '2'])
    const { version } = await client.write('x', 'mine')
    await trio.server('2').applied('x')
    await trio.kill('1')
    expect(await client.read('x')).toMatchObject({ found: true, value: 'mine', version })
    expect(client.state).toMatchObject({ status: 'connected', server: '2' })
  })

  it('waits for it where 2 has yet to get it', async () => {
    const trio = await Trio.start(await DataFolder.make())
    await link(trio, '1', '2', 'cut')
    await link(trio, '3', '2', 'hold')
    const client = await clientOf(trio, ['1', '2'], { timeoutMs: 20_000 })
    await client.write('x', 'mine')
    await trio.server('3').applied('x')
    await trio.kill('1')
    const read = client.read('x')
    const other = await RawClient.connect(trio.ports['2'])
    await other.until<{ readonly parked: number }>('status', {}, ({ parked }) => parked === 1)
    expect(await other.call('read', { key: 'x' })).toMatchObject({ found: false })
    await link(trio, '3', '2', 'release')
    expect(await read).toMatchObject({ found: true, value: 'mine' })
    other.close()
  })

  it('or is told what is missing and who holds it, within its timeout', async () => {
    const trio = await Trio.start(await DataFolder.make())
    await link(trio, '1', '2', 'cut')
    await link(trio, '3', '2', 'hold')
    const timeoutMs = 1_500
    const client = await clientOf(trio, ['1', '2'], { timeoutMs })
    const { version } = await client.write('x', 'mine')
    await trio.server('3').applied('x')
    await trio.kill('1')
    const startMs = performance.now()
    const error = await errorOf(client.read('x'))
    expect(error).toMatchObject({ code: 'ERR_NOT_CAUGHT_UP', definite: true })
    expect(error.missing).toEqual([{ version, server: '1', holders: ['3'], lost: false }])
    expect(error.message).toContain('server 3 has it')
    // Its time, and what a busy machine adds.
    expect(performance.now() - startMs).toBeLessThan(timeoutMs + 5_000)
  })

  it('or that nobody who can be asked has it, where 1 took it along', async () => {
    const trio = await Trio.start(await DataFolder.make())
    await link(trio, '1', '2', 'cut')
    await link(trio, '1', '3', 'cut')
    const client = await clientOf(trio, ['1', '2'], { timeoutMs: 1_500 })
    const { version } = await client.write('x', 'mine')
    await trio.kill('1')
    const error = await errorOf(client.read('x'))
    expect(error.code).toBe('ERR_NOT_CAUGHT_UP')
    // 1 is not connected and may come back with it: that is not lost.
    expect(error.missing).toEqual([{ version, server: '1', holders: [], lost: false }])
    await trio.start('1')
    await trio.meshed()
    expect(await client.read('x')).toMatchObject({ found: true, value: 'mine', version })
  })

  it('what was lost with the disk of 1 is said to be lost, once, and the session goes on without it', async () => {
    const trio = await Trio.start(await DataFolder.make())
    await link(trio, '1', '2', 'cut')
    await link(trio, '1', '3', 'cut')
    const lost: unknown[] = []
    const client = await clientOf(trio, ['1', '2'], { onLost: (entries) => lost.push(...entries) })
    const { version } = await client.write('x', 'mine')
    await trio.kill('1')
    await trio.folder.wipe('1')
    await trio.start('1')
    await trio.meshed()
    const error = await errorOf(client.read('x'))
    expect(error.code).toBe('ERR_NOT_CAUGHT_UP')
    expect(error.missing).toEqual([{ version, server: '1', holders: [], lost: true }])
    expect(lost).toEqual(error.missing)
    expect(await client.read('x')).toMatchObject({ found: false })
  })
})

describe('R9: a session never sees an older value than it has seen', () => {
  it('while a counter rises and the server that it reads from is killed, one after the other', async () => {
    const trio = await Trio.start(await DataFolder.make())
    // On a slow network each server is behind the others, so that to move is to fall back.
    for (const from of ids) {
      const client = await RawClient.connect(trio.ports[from])
      for (const peer of ids.filter((id) => id !== from)) {
        await client.call('link', { peer, action: 'delay', ms: 200 })
      }
      client.close()
    }
    const count = { isOver: false, number: 0 }
    const writer = await clientOf(trio, ['2', '3', '1'], { timeoutMs: 10_000 })
    const counting = (async () => {
      while (!count.isOver) {
        // Where it is not known whether it was written, the next number says the same and more.
        await writer.write('counter', ++count.number).catch((error: unknown) => {
          if (!(error instanceof TidingsError)) throw error
        })
      }
    })()
    const reader = await clientOf(trio, ids, { timeoutMs: 2_000 })
    const servers = new Set<string>()
    let last: Version | undefined
    const read = async (times: number): Promise<void> => {
      for (let time = 0; time < times; time++) {
        const answer = await reader.read('counter').catch(errorOfRead)
        // What it saw last went down with the server that showed it: then nothing is shown rather than less.
        if (answer instanceof TidingsError) return
        const { version } = answer
        // Not the count: of two that did not know of each other, the lower one may win (R4).
        if (last !== undefined && !isAtLeast(version, last)) {
          throw new Error(`it read ${JSON.stringify(version)} after ${JSON.stringify(last)}`)
        }
        last = version
        if (reader.state.status === 'connected') servers.add(reader.state.server)
      }
    }
    try {
      await read(50)
      for (let kills = 0; kills < 4; kills++) {
        const { state } = reader
        if (state.status !== 'connected') throw new Error(`the reader is ${state.status}`)
        const id = state.server as Id
        await trio.kill(id)
        await read(50)
        await trio.start(id)
        await read(50)
      }
    } finally {
      count.isOver = true
      await counting
    }
    expect(servers.size).toBeGreaterThan(1)
    expect(last?.timestamp).toBeGreaterThan(10)
  })
})
