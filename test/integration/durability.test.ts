import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { DataFolder, removeDataFolders } from '../durability/data-folder.ts'
import type { WireVersion } from '../durability/dump.ts'
import { updatesSince } from '../durability/history.ts'
import { killCycles } from '../durability/kill-cycles.ts'
import { ids, Trio, type Id } from '../durability/trio.ts'
import { ServerProcess, stopServers, waitMsMax } from './processes.ts'
import { RawClient } from './raw-client.ts'

afterEach(async () => {
  await stopServers()
  await removeDataFolders()
})
afterAll(stopServers)

describe('servers that are killed in the middle of their work', () => {
  it(
    'lose nothing that was acknowledged, do nothing twice, reuse no version, and end equal (R4, R6, R7, R10)',
    { timeout: 180_000 },
    async () => {
      // More of them, and the bound of 2 s: npm run kill-cycles -- --cycles 200 --seed 1
      const report = await killCycles({ cycles: 6, seed: 1, settleMsMax: waitMsMax })
      expect(report.violations).toEqual([])
      expect(report.cycles).toBe(6)
      expect(report.acknowledged).toBeGreaterThan(100)
    },
  )
})

describe('R6 with --durability async', () => {
  it('a crash loses the last of what was acknowledged, if anything, and never a middle', async () => {
    const folder = await DataFolder.make()
    const start = { id: '1', data: folder.at('1'), durability: 'async' } as const
    for (let round = 1; round <= 3; round++) {
      const server = await ServerProcess.start(start)
      const load = await Load.start(server.port, `round ${round}`)
      await load.acknowledged(300 * round)
      await server.kill()
      const again = await ServerProcess.start(start)
      // Nobody else writes, so its timestamps follow each other: a middle that is lost would show as a gap.
      const kept = await timestampsOf(server.origin, again.port)
      const first = load.timestamps[0] ?? 0
      expect(kept).toEqual(kept.map((_, index) => first + index))
      await again.stop()
    }
  })

  it('what a crash took from one server comes back from those that have it, and all agree', async () => {
    const folder = await DataFolder.make()
    const trio = await Trio.start(folder, 'async')
    for (const victims of [['2'], ['1', '3'], ids] as const) {
      const before = ids.map((id) => ({ id, origin: trio.server(id).origin }))
      const loads = new Map<Id, Load>()
      for (const id of ids) loads.set(id, await Load.start(trio.ports[id], `of ${id}`))
      await Promise.all([...loads.values()].map((load) => load.acknowledged(200)))
      await Promise.all(victims.map((id) => trio.kill(id)))
      await Promise.all(ids.filter((id) => !isIn(victims, id)).map((id) => (loads.get(id) as Load).all()))
      await Promise.all(victims.map((id) => trio.start(id)))
      const dump = await trio.agreed([], waitMsMax)
      for (const { id, origin } of before) {
        const { timestamps } = loads.get(id) as Load
        const kept = new Set(await timestampsOf(origin, trio.ports['1']))
        const lost = timestamps.findIndex((timestamp) => !kept.has(timestamp))
        if (!isIn(victims, id)) expect(lost).toBe(-1)
        if (lost === -1) continue
        // All after the first that is lost is lost too.
        expect(timestamps.slice(lost).filter((timestamp) => kept.has(timestamp))).toEqual([])
        expect(dump.applied[origin] ?? 0).toBeLessThan(timestamps[lost] ?? 0)
      }
    }
  })
})

/** Writes sent all at once, each its own update, as fast as the server takes them. */
class Load {
  /** Of those that were acknowledged, in their order. */
  readonly timestamps: number[] = []
  readonly #client: RawClient

  private constructor(client: RawClient) {
    this.#client = client
  }

  static async start(port: number, name: string): Promise<Load> {
    const load = new Load(await RawClient.connect(port))
    for (let number = 0; number < loadLength; number++) {
      const params = { key: `key ${number % 7}`, value: `${name}#${number}` }
      load.#client.sendMessage({ jsonrpc: '2.0', id: number, method: 'write', params })
    }
    return load
  }

  /** Waits until so many have been acknowledged. */
  async acknowledged(count: number): Promise<void> {
    while (this.timestamps.length < count) {
      const { result } = await this.#client.message()
      this.timestamps.push((result as { readonly version: WireVersion }).version[0])
    }
  }

  async all(): Promise<void> {
    await this.acknowledged(loadLength)
    this.#client.close()
  }
}

const loadLength = 2_000

/** What a server has applied of one run, in its order. */
async function timestampsOf(origin: string, port: number): Promise<readonly number[]> {
  const updates = await updatesSince(port, 'start')
  return updates.filter(({ version }) => version[1] === origin).map(({ version }) => version[0])
}

function isIn(victims: readonly Id[], id: Id): boolean {
  return victims.includes(id)
}

describe('R6 with a disk that is full', () => {
  it('the server says so and ends with exit code 5, and what it acknowledged is there once there is room', async () => {
    const folder = await DataFolder.make()
    const start = { id: '1', data: folder.at('1') }
    // Its first file is there: it is what is in that which cannot be written.
    const before = await ServerProcess.start(start)
    const first = await RawClient.connect(before.port)
    await first.call('write', { key: 'first', value: 1 })
    first.close()
    await before.stop()
    const full = await ServerProcess.start({ ...start, fileKibibytesMax: 512 })
    const client = await RawClient.connect(full.port)
    const acknowledged = new Map<string, string>()
    const filled = (async () => {
      for (let number = 0; ; number++) {
        const [key, value] = [`key ${number}`, `${number} `.repeat(200)]
        const { error } = await client.ask('write', { key, value })
        if (error !== undefined) return error
        acknowledged.set(key, value)
      }
    })()
    // Either an error or a broken connection: what it was not answered, it does not know.
    const outcome = await filled.catch(() => 'the connection broke')
    expect(await full.exit()).toEqual({ code: 5, signal: null })
    expect(full.stderr).toMatch(/^error: .*(full|large|space).*stored, and it stops here$/mu)
    expect(outcome).toBe('the connection broke')
    expect(acknowledged.size).toBeGreaterThan(10)

    const roomy = await ServerProcess.start(start)
    const reader = await RawClient.connect(roomy.port)
    for (const [key, value] of acknowledged) {
      expect(await reader.call('read', { key })).toMatchObject({ found: true, value })
    }
    await reader.call('write', { key: 'after', value: 'it goes on' })
    reader.close()
  })

  it('the others go on, and one that stopped comes back with all of it', async () => {
    const folder = await DataFolder.make()
    const trio = await Trio.start(folder)
    const client = await RawClient.connect(trio.ports['1'])
    await client.call('write', { key: 'before', value: 1 })
    await trio.server('3').applied('before')
    await trio.server('3').stop()
    const full = await trio.start('3', { fileKibibytesMax: 256 })
    for (let number = 0; number < 200; number++) {
      await client.call('write', { key: `key ${number}`, value: `${number} `.repeat(500) })
    }
    expect(await full.exit()).toEqual({ code: 5, signal: null })
    await client.call('write', { key: 'after', value: 2 })
    await trio.start('3')
    const dump = await trio.agreed([], waitMsMax)
    expect(dump.counts.keys).toBe(202)
    client.close()
    await Promise.all(ids.map((id) => trio.server(id).stop()))
  })
})
