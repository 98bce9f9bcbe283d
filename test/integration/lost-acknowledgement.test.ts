import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { connect, type Client, type TidingsError } from '../../src/client/client.ts'
import { DataFolder, removeDataFolders } from '../durability/data-folder.ts'
import type { WireVersion } from '../durability/dump.ts'
import { updatesSince } from '../durability/history.ts'
import { Trio } from '../durability/trio.ts'
import { CuttingProxy } from '../durability/cutting-proxy.ts'
import { ServerProcess, stopServers } from './processes.ts'
import { RawClient } from './raw-client.ts'

const clients: Client[] = []
const proxies: CuttingProxy[] = []

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
  for (const proxy of proxies.splice(0)) proxy.close()
  await stopServers()
  await removeDataFolders()
})
afterAll(stopServers)

async function proxyTo(port: number): Promise<CuttingProxy> {
  const proxy = await CuttingProxy.start(port)
  proxies.push(proxy)
  return proxy
}

async function clientOf(ports: readonly number[]): Promise<Client> {
  const client = await connect(
    ports.map((port) => `${port}`),
    { timeoutMs: 20_000 },
  )
  clients.push(client)
  return client
}

function isWrite(line: string): boolean {
  return line.includes('"method":"write"')
}

/** The versions of the updates that wrote a value, as a server tells them. */
async function versionsOf(value: string, port: number): Promise<readonly WireVersion[]> {
  const updates = await updatesSince(port, 'start')
  return updates
    .filter(({ writes }) => writes.some((write) => write.value === value))
    .map(({ version }) => version)
}

describe('R10: a write whose acknowledgement was lost', () => {
  it('is retried by the library on the same server, happens once, and is answered with its first version', async () => {
    const folder = await DataFolder.make()
    const server = await ServerProcess.start({ id: '1', data: folder.at('1') })
    const proxy = await proxyTo(server.port)
    const client = await clientOf([proxy.port])
    await client.write('x', 'before')
    proxy.cutAnswerTo(isWrite)
    const { version } = await client.write('x', 'once')
    const sent = proxy.asked.filter((line) => line.includes('"once"'))
    expect(sent).toHaveLength(2)
    expect(await versionsOf('once', server.port)).toEqual([[version.timestamp, version.origin]])
    expect(version.timestamp).toBe(2)
    expect(await client.read('x')).toMatchObject({ value: 'once', version })
  })

  it('also where the connection breaks again and again', async () => {
    const folder = await DataFolder.make()
    const server = await ServerProcess.start({ id: '1', data: folder.at('1') })
    const proxy = await proxyTo(server.port)
    const client = await clientOf([proxy.port])
    for (let time = 0; time < 5; time++) proxy.cutAnswerTo(isWrite)
    const { version } = await client.write('x', 'once')
    expect(proxy.asked.filter((line) => line.includes('"once"'))).toHaveLength(6)
    expect(await versionsOf('once', server.port)).toEqual([[version.timestamp, version.origin]])
  })

  it('also where many are under way: each happens once', async () => {
    const folder = await DataFolder.make()
    const server = await ServerProcess.start({ id: '1', data: folder.at('1') })
    const proxy = await proxyTo(server.port)
    const client = await clientOf([proxy.port])
    proxy.cutAnswerTo((line) => line.includes('"value":"v20"'))
    const values = Array.from({ length: 50 }, (_, number) => `v${number}`)
    const answers = await Promise.all(values.map((value) => client.write('x', value)))
    for (const [index, { version }] of answers.entries()) {
      expect(await versionsOf(values[index] ?? '', server.port)).toEqual([
        [version.timestamp, version.origin],
      ])
    }
  })

  it('because the server was killed right after its commit: once it is back, it gives the first answer', async () => {
    const folder = await DataFolder.make()
    const server = await ServerProcess.start({ id: '1', data: folder.at('1') })
    const { port } = server
    const proxy = await proxyTo(port)
    const client = await clientOf([proxy.port])
    proxy.cutAnswerTo(isWrite, async () => {
      await server.kill()
      await ServerProcess.start({ id: '1', data: folder.at('1'), port })
    })
    const { version } = await client.write('x', 'once')
    // Of the run that was killed, which the retry was not sent to.
    expect(version.origin).toBe(server.origin)
    expect(await versionsOf('once', port)).toEqual([[version.timestamp, version.origin]])
  })

  it('is answered by another server that has applied it, with the same version', async () => {
    const trio = await Trio.start(await DataFolder.make())
    const proxy = await proxyTo(trio.ports['1'])
    const client = await clientOf([proxy.port, trio.ports['2']])
    proxy.cutAnswerTo(isWrite, async () => {
      await trio.server('2').applied('x')
      await trio.kill('1')
    })
    const { version } = await client.write('x', 'once')
    expect(version.origin).toBe(trio.server('1').origin)
    expect(client.state).toMatchObject({ status: 'connected', server: '2' })
    await trio.start('1')
    await trio.meshed()
    for (const id of ['1', '2', '3'] as const) {
      expect(await versionsOf('once', trio.ports[id])).toEqual([[version.timestamp, version.origin]])
    }
  })

  it('is of unknown outcome at a server that has not applied it, which writes nothing', async () => {
    const trio = await Trio.start(await DataFolder.make())
    const west = await RawClient.connect(trio.ports['1'])
    for (const peer of ['2', '3']) await west.call('link', { peer, action: 'cut' })
    west.close()
    const proxy = await proxyTo(trio.ports['1'])
    const client = await clientOf([proxy.port, trio.ports['2']])
    const origin = trio.server('1').origin
    proxy.cutAnswerTo(isWrite, () => trio.kill('1'))
    await expect(client.write('x', 'once')).rejects.toMatchObject({
      code: 'ERR_OUTCOME_UNKNOWN',
      definite: false,
    } satisfies Partial<TidingsError>)
    expect(await versionsOf('once', trio.ports['2'])).toEqual([])
    // It had happened, and shows when its server is back.
    await trio.start('1')
    await trio.meshed()
    await trio.server('2').applied('x')
    expect(await versionsOf('once', trio.ports['2'])).toEqual([[expect.any(Number), origin]])
  })
})

describe('R10: the same request, sent again by hand', () => {
  it('gets the first answer on every server, before and after all of them were killed; with other content it is invalid', async () => {
    const trio = await Trio.start(await DataFolder.make())
    const write = { key: 'x', value: 'once', request: { session: 'by hand', number: 7 } }
    const first = await RawClient.connect(trio.ports['1'])
    const { version } = await first.call<{ readonly version: WireVersion }>('write', write)
    first.close()
    await Promise.all([trio.server('2').applied('x'), trio.server('3').applied('x')])
    const askAll = async (): Promise<void> => {
      for (const id of ['1', '2', '3'] as const) {
        const client = await RawClient.connect(trio.ports[id])
        expect(await client.call('write', write)).toEqual({ key: 'x', version })
        const retry = { ...write.request, retry: true }
        expect(await client.call('write', { ...write, request: retry })).toEqual({ key: 'x', version })
        expect((await client.fails('write', { ...write, value: 'other' })).code).toBe(-32_602)
        client.close()
      }
    }
    await askAll()
    // What 2 and 3 applied of another may come to their disks a moment after they show it (R6): a write of theirs is after it.
    for (const id of ['2', '3'] as const) {
      const client = await RawClient.connect(trio.ports[id])
      await client.call('write', { key: `of ${id}`, value: 1 })
      client.close()
    }
    await Promise.all((['1', '2', '3'] as const).map((id) => trio.kill(id)))
    await Promise.all((['1', '2', '3'] as const).map((id) => trio.start(id)))
    await askAll()
    expect(await versionsOf('once', trio.ports['3'])).toEqual([version])
  })
})
