import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import type { Notification } from '../../src/replica/output.ts'
import { UpdateLog } from '../../src/replica/update-log.ts'
import { freePorts, ServerProcess, stopServers } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'
import type { ToldUpdate } from '../durability/history.ts'
import { Mesh } from '../replica/mesh.ts'

const clients: RawClient[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  for (const client of clients.splice(0)) client.close()
  await stopServers()
})
afterAll(stopServers)

async function clientOf(port: number): Promise<RawClient> {
  const client = await RawClient.connect(port)
  clients.push(client)
  return client
}

type WireCut = Readonly<Record<string, number>>

/** A watcher that reads nothing until it wakes up. */
class SleepingWatcher {
  /** Of each key, what it was told last. */
  readonly values = new Map<string, unknown>()
  /** Updates that it was told of. */
  told = 0
  /** Whether it was sent values in place of all the updates that led to them. */
  hasCoalesced = false
  readonly #port: number
  #client: RawClient
  /** Up to here it has been told everything that it asked for. */
  readonly #cut: Record<string, number>

  private constructor(port: number, client: RawClient, cut: WireCut) {
    this.#port = port
    this.#client = client
    this.#cut = { ...cut }
  }

  static async start(port: number): Promise<SleepingWatcher> {
    const client = await clientOf(port)
    const { applied } = await client.call<{ readonly applied: WireCut }>('watch', { since: 'now' })
    client.stopReading()
    return new SleepingWatcher(port, client, applied)
  }

  /** Reads on until it has been told everything up to a cut, on a new connection where the server has given it up. */
  async wake(cut: WireCut): Promise<void> {
    this.#client.readOn()
    const isThere = (): boolean =>
      Object.entries(cut).every(([origin, timestamp]) => (this.#cut[origin] ?? 0) >= timestamp)
    while (!isThere()) {
      try {
        this.#take(await this.#client.message())
      } catch (error) {
        if (!(error as Error).message.startsWith('closed before')) throw error
        this.#client = await clientOf(this.#port)
        await this.#client.call('watch', { since: this.#cut })
      }
    }
  }

  #take({ method, params }: Awaited<ReturnType<RawClient['message']>>): void {
    if (method === 'update') {
      const { writes, coalesced } = params as ToldUpdate & { readonly coalesced?: true }
      this.told++
      this.hasCoalesced ||= coalesced === true
      for (const { key, value } of writes) this.values.set(key, value)
    } else if (method === 'caughtUp') {
      Object.assign(this.#cut, (params as { readonly applied: WireCut }).applied)
    } else {
      throw new Error(`a watcher was told ${String(method)}`)
    }
  }
}

describe('slow watchers', () => {
  it(
    'etcd #16839: watchers that do not read make the server keep what it owes them until it runs out of memory — here each costs a fixed amount, nobody waits for them, and each ends with every last value (R11)',
    { timeout: 180_000 },
    async () => {
      const [watchers, keys, valueBytes, writes] = [24, 64, 16 << 10, 2_800] as const
      const [port = 0] = await freePorts(1)
      // Not as JSON: telling of every single write would be the heavier load.
      const server = new ServerProcess({ id: '1', port, isJson: false })
      await server.listening()
      const writer = await clientOf(port)
      let number = 0
      const overwrite = async (amount: number): Promise<void> => {
        const end = number + amount
        const writeOn = async (): Promise<void> => {
          while (number < end) {
            const value = `${++number} ${'.'.repeat(valueBytes)}`
            await writer.call('write', { key: `key ${number % keys}`, value })
          }
        }
        await Promise.all(Array.from({ length: 32 }, writeOn))
      }
      // First as much as the log may hold, so that what memory is taken after it is the watchers'.
      await overwrite(Math.ceil((64 << 20) / valueBytes))
      const before = await server.residentBytes()
      const asleep = await Promise.all(Array.from({ length: watchers }, () => SleepingWatcher.start(port)))
      let highest = 0
      for (let part = 0; part < 10; part++) {
        // Each of these is acknowledged, while not one of the watchers reads.
        await overwrite(writes / 10)
        highest = Math.max(highest, await server.residentBytes())
      }
      const owed = watchers * writes * valueBytes
      expect(owed).toBeGreaterThan(2 ** 30)
      expect(highest - before).toBeLessThan(owed / 2)

      const { applied } = await writer.call<{ readonly applied: WireCut }>('status')
      const names = Array.from({ length: keys }, (_, index) => `key ${index}`)
      const last = await writer.call<{
        readonly values: readonly { readonly key: string; readonly value: unknown }[]
      }>('read', { keys: names })
      const values = new Map(last.values.map(({ key, value }) => [key, value]))
      for (const watcher of asleep) {
        await watcher.wake(applied)
        expect(watcher.values).toEqual(values)
        // It was far behind: of what was overwritten meanwhile, much it was never sent.
        expect(watcher.hasCoalesced).toBe(true)
        expect(watcher.told).toBeLessThan(writes)
      }
    },
  )

  it('etcd #22264: a watcher half a million changes behind is caught up by scans of all that it lacks, of which each delivers a thousand and none lets a write in — here a page looks at what it sends, and writes are taken between pages (R11)', () => {
    const [behind, page] = [50_000, 1_000] as const
    const mesh = new Mesh({
      servers: ['1'],
      limits: { page: { updatesMax: page, bytesMax: 64 << 20 }, appliedPerStepMax: page },
    })
    for (let count = 0; count < behind; count++) mesh.write('1', `key ${count}`, count)
    const looks = vi.spyOn(UpdateLog.prototype, 'at')
    mesh.answer('1', 'watch', { method: 'watch', prefix: '', since: 'start' })
    let pages = 0
    let written = 0
    const told = () => mesh.notifications('1').filter(({ kind }) => kind === 'update').length
    const hasCaughtUp = () => mesh.notifications('1').some(({ kind }) => kind === 'caughtUp')
    while (!hasCaughtUp()) {
      const before = told()
      mesh.step('1', { kind: 'clientDrained', client: 1 })
      expect(told() - before).toBeLessThanOrEqual(page)
      pages++
      // A write that comes now is taken in its own step, as if nobody watched.
      const { reply, notify } = mesh.request('1', { method: 'write', writes: [{ key: 'now', value: pages }] })
      expect(reply).toMatchObject([{ result: { method: 'write' } }])
      expect(notify.length).toBeLessThanOrEqual(1)
      written++
    }
    expect(pages).toBe(behind / page + 1)
    expect(told()).toBe(behind + written)
    expect(looks.mock.calls.length).toBeLessThan(2 * (behind + written))
    // Control: who scans all that is left for each page of a thousand looks at twenty-five times as much.
    let scanned = 0
    for (let left: number = behind; left > 0; left -= page) scanned += left
    expect(scanned).toBeGreaterThan(25 * behind)
  })

  it('etcd #17529: of many watchers on one stream some fall behind a compaction, and lose events without being told — here what the log has lost is told from the state, deletions too (R11, R12)', () => {
    const mesh = new Mesh({ servers: ['1'], limits: { log: { updatesMax: 100, bytesMax: 1 << 20 } } })
    for (let count = 0; count < 20; count++) mesh.write('1', `pods/${count}`, 'running')
    // As many watches as one connection may have.
    const numbers = Array.from({ length: 64 }, () => {
      const since = 'start'
      return mesh.answer('1', 'watch', { method: 'watch', prefix: 'pods/', since }).watch
    })
    mesh.settle()
    // The stream is blocked, and the watches stay where they are.
    mesh.step('1', { kind: 'clientStalled', client: 1 })
    const [stalledAt, toldBefore] = [mesh.replica('1').logEnd, mesh.notifications('1').length]
    for (let count = 0; count < 20; count += 2) mesh.delete('1', `pods/${count}`)
    mesh.write('1', 'pods/1', 'restarted')
    for (let count = 0; count < 500; count++) mesh.write('1', `leases/${count % 5}`, count)
    expect(mesh.notifications('1')).toHaveLength(toldBefore)
    expect(mesh.replica('1').logStart).toBeGreaterThan(stalledAt + 11)
    // Control: all that can still be read from the log knows of no pod that was deleted.
    const left = mesh.applications('1').slice(mesh.replica('1').logStart)
    expect(left.flatMap(({ writes }) => writes).filter(({ key }) => key.startsWith('pods/'))).toEqual([])

    drain(mesh)
    for (const number of numbers) {
      const pods = podsAsTold(mesh.notifications('1'), number)
      expect(pods.size).toBe(10)
      expect(pods.get('pods/1')).toBe('restarted')
      for (const key of pods.keys()) expect(mesh.read('1', key)).toBe(pods.get(key))
      expect(lastOf(mesh.notifications('1'), number)).toEqual({
        kind: 'caughtUp',
        client: 1,
        watch: number,
        applied: new Map(mesh.replica('1').applied),
      })
    }
  })
})

/** The client reads again, as fast as it is sent something. */
function drain(mesh: Mesh): void {
  let isAwaited = true
  while (isAwaited) {
    let output = mesh.step('1', { kind: 'clientDrained', client: 1 })
    isAwaited = output.awaitDrain.length > 0
    while (output.more) {
      output = mesh.step('1', { kind: 'continue' })
      isAwaited ||= output.awaitDrain.length > 0
    }
  }
}

/** What somebody has who does as a watch says. */
function podsAsTold(told: readonly Notification[], watch: number): ReadonlyMap<string, unknown> {
  const pods = new Map<string, unknown>()
  for (const pushed of told) {
    if (pushed.watch !== watch || pushed.kind !== 'update') continue
    for (const { key, value, deleted } of pushed.writes) {
      if (deleted === true) pods.delete(key)
      else pods.set(key, value)
    }
  }
  return pods
}

function lastOf(told: readonly Notification[], watch: number): Notification | undefined {
  return told.findLast((pushed) => pushed.watch === watch)
}
