import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { connect, type Client } from '../../src/client/client.ts'
import { CuttingProxy } from '../durability/cutting-proxy.ts'
import { DataFolder, removeDataFolders } from '../durability/data-folder.ts'
import type { WireVersion } from '../durability/dump.ts'
import { updatesSince } from '../durability/history.ts'
import { Trio } from '../durability/trio.ts'
import { stopServers } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'

const closing: { close(): unknown }[] = []

afterEach(async () => {
  await Promise.all(closing.splice(0).map((open) => open.close()))
  await stopServers()
  await removeDataFolders()
})
afterAll(stopServers)

async function proxyTo(port: number): Promise<CuttingProxy> {
  const proxy = await CuttingProxy.start(port)
  closing.push(proxy)
  return proxy
}

async function clientOf(...ports: readonly number[]): Promise<Client> {
  const client = await connect(
    ports.map((port) => `${port}`),
    { timeoutMs: 20_000 },
  )
  closing.push(client)
  return client
}

async function rawClientOf(port: number): Promise<RawClient> {
  const client = await RawClient.connect(port)
  closing.push(client)
  return client
}

function isWriteOf(value: string): (line: string) => boolean {
  return (line) => line.includes('"method":"write"') && line.includes(`"${value}"`)
}

/** A write of which the server's answer never arrives: there is nothing but a connection that has ended. */
async function writeUnheard(port: number, key: string, value: string): Promise<void> {
  const proxy = await proxyTo(port)
  proxy.cutAnswerTo(isWriteOf(value))
  const client = await rawClientOf(proxy.port)
  client.sendMessage({ jsonrpc: '2.0', id: 1, method: 'write', params: { key, value } })
  expect(await client.closed()).toEqual([])
}

/** The updates that wrote a value, in the order in which a server applied them. */
async function writesOf(value: string, port: number): Promise<readonly WireVersion[]> {
  const updates = await updatesSince(port, 'start')
  return updates
    .filter(({ writes }) => writes.some((write) => write.value === value))
    .map(({ version }) => version)
}

describe('a write whose acknowledgement is lost', () => {
  it('etcd #14890: the client sends it again without a word, it is carried out twice, and what somebody else wrote in between is lost — here the second copy is recognised, and the first answer given (R10)', async () => {
    const trio = await Trio.start(await DataFolder.make())
    const proxy = await proxyTo(trio.ports['1'])
    const client = await clientOf(proxy.port, trio.ports['2'])
    const other = await rawClientOf(trio.ports['2'])
    // The server has committed it and crashes before its answer is through; somebody has read it by then, and gone on from it.
    proxy.cutAnswerTo(isWriteOf('one'), async () => {
      await trio.server('2').applied('x')
      expect(await other.call('read', { key: 'x' })).toMatchObject({ value: 'one' })
      await other.call('write', { key: 'x', value: 'two, after one' })
      await trio.kill('1')
    })
    const { version } = await client.write('x', 'one')
    // The library did send it to another server, which had applied it under the name of a server that is gone.
    expect(client.state).toMatchObject({ status: 'connected', server: '2' })
    expect(version.origin).toBe(trio.server('1').origin)
    expect(await writesOf('one', trio.ports['2'])).toEqual([[version.timestamp, version.origin]])
    expect(await other.call('read', { key: 'x' })).toMatchObject({ value: 'two, after one' })

    // Control: the same without a stamp, from a client that only knows that its connection broke.
    await writeUnheard(trio.ports['2'], 'y', 'uno')
    expect(await other.call('read', { key: 'y' })).toMatchObject({ value: 'uno' })
    await other.call('write', { key: 'y', value: 'due, after uno' })
    await other.call('write', { key: 'y', value: 'uno' })
    expect(await writesOf('uno', trio.ports['2'])).toHaveLength(2)
    expect(await other.call('read', { key: 'y' })).toMatchObject({ value: 'uno' })
  })

  it('jetcd #1444: "unavailable" may mean that it was done, and is retried as if it had not been — here a server that does not know it writes nothing, and the caller is told that the outcome is unknown (R10)', async () => {
    const trio = await Trio.start(await DataFolder.make())
    // What is committed at 1 gets to nobody before 1 is gone.
    const lab = await rawClientOf(trio.ports['1'])
    for (const peer of ['2', '3']) await lab.call('link', { peer, action: 'cut' })
    const { origin } = trio.server('1')
    await writeUnheard(trio.ports['1'], 'y', 'twice')
    const proxy = await proxyTo(trio.ports['1'])
    const client = await clientOf(proxy.port, trio.ports['2'])
    proxy.cutAnswerTo(isWriteOf('once'), () => trio.kill('1'))
    await expect(client.write('x', 'once')).rejects.toMatchObject({
      code: 'ERR_OUTCOME_UNKNOWN',
      definite: false,
      request: { session: expect.any(String), number: 1, retry: true },
    })
    expect(await writesOf('once', trio.ports['2'])).toEqual([])
    // Control: one who takes a broken connection for "not done" writes again, at a server that knows no better.
    const naive = await rawClientOf(trio.ports['2'])
    await naive.call('write', { key: 'y', value: 'twice' })

    await trio.start('1')
    await trio.meshed()
    await trio.server('2').applied('x')
    expect(await writesOf('once', trio.ports['2'])).toEqual([[expect.any(Number), origin]])
    expect(await writesOf('twice', trio.ports['2'])).toHaveLength(2)
  })
})
