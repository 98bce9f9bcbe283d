import { mkdir } from 'node:fs/promises'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { DataFolder, removeDataFolders } from '../durability/data-folder.ts'
import { dumpOf, type Dump } from '../durability/dump.ts'
import { freePorts, meshed, ServerProcess, stopServers, waitMsMax } from './processes.ts'
import { RawClient } from './raw-client.ts'

afterEach(async () => {
  await stopServers()
  await removeDataFolders()
})
afterAll(stopServers)

/** The README's three commands, on ports that are free here, in a directory of the test's own. */
class Readme {
  readonly ports: readonly number[]
  readonly folder: DataFolder

  private constructor(folder: DataFolder, ports: readonly number[]) {
    this.folder = folder
    this.ports = ports
  }

  static async make(): Promise<Readme> {
    const folder = await DataFolder.make()
    await mkdir(folder.at('home'))
    return new Readme(folder, await freePorts(3))
  }

  /** Each is given the next one's port only. */
  start(index: number): ServerProcess {
    const [port, next] = [this.ports[index], this.ports[(index + 1) % 3]]
    return new ServerProcess({
      id: `${index + 1}`,
      words: ['--port', `${port}`, '--id', `${index + 1}`, '--peers', `${next}`, '--lab', '--json'],
      directory: this.folder.at('home'),
      // The default is what is meant.
      env: { TIDINGS_DURABILITY: undefined },
    })
  }

  /** One after the other, each as soon as the one before listens; then waits until all are connected. */
  async startAll(order: readonly number[]): Promise<readonly ServerProcess[]> {
    const servers: ServerProcess[] = []
    for (const index of order) {
      const server = this.start(index)
      await server.listening()
      servers.push(server)
    }
    await meshed(servers)
    return servers
  }

  /** Asks all until they hold the same. */
  async agreed(): Promise<Dump> {
    const clients = await Promise.all(this.ports.map((port) => RawClient.connect(port)))
    const deadlineMs = performance.now() + waitMsMax
    for (;;) {
      const dumps = await Promise.all(clients.map((client) => dumpOf(client, [])))
      const texts = new Set(dumps.map((dump) => JSON.stringify(dump)))
      if (texts.size === 1) {
        for (const client of clients) client.close()
        return dumps[0] as Dump
      }
      if (performance.now() > deadlineMs) throw new Error(`they do not agree: ${[...texts].join('\n')}`)
    }
  }
}

const orders = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const

describe("three servers started by the README's commands", () => {
  it.each(orders)(
    'in the order %i %i %i keep everything over a stop of all of them, and start again in the reverse order (R6, R8)',
    async (...order) => {
      const readme = await Readme.make()
      const servers = await readme.startAll(order)
      for (const server of servers) {
        const { folder, isFresh } = await server.event('recovered')
        expect({ folder, isFresh }).toEqual({ folder: `./tidings-data/${server.id}`, isFresh: true })
        const client = await RawClient.connect(server.port)
        await client.call('write', { key: `of ${server.id}`, value: server.id })
        await client.call('write', { key: 'of all', value: server.id })
        await client.call('write', { key: `passing ${server.id}`, value: 1 })
        await client.call('delete', { key: `passing ${server.id}` })
        client.close()
      }
      const before = await readme.agreed()
      expect(before.counts).toMatchObject({ keys: 4, tombstones: 3 })
      for (const server of servers) expect(await server.stop()).toEqual({ code: 0, signal: null })

      const again = await readme.startAll(order.toReversed())
      for (const server of again) {
        expect(await server.event('recovered')).toMatchObject({ isFresh: false, keys: 4 })
      }
      // Nobody has written yet, so nobody has entered a cut under a new name (R7).
      expect(await readme.agreed()).toEqual(before)
      for (const server of again) {
        const client = await RawClient.connect(server.port)
        expect(await client.call('read', { key: 'of 1' })).toMatchObject({ value: '1' })
        await client.call('write', { key: `later of ${server.id}`, value: 1 })
        client.close()
      }
      expect((await readme.agreed()).counts).toMatchObject({ keys: 7, tombstones: 3 })
    },
  )

  it('all at once, and killed all at once, they keep everything too', async () => {
    const readme = await Readme.make()
    const servers = [0, 1, 2].map((index) => readme.start(index))
    await meshed(servers)
    for (const server of servers) {
      const client = await RawClient.connect(server.port)
      await client.call('write', { key: `of ${server.id}`, value: server.id })
      client.close()
    }
    const before = await readme.agreed()
    await Promise.all(servers.map((server) => server.kill()))
    await meshed([0, 1, 2].map((index) => readme.start(index)))
    expect(await readme.agreed()).toEqual(before)
  })
})
