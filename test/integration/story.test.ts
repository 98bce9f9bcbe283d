import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startMesh, stopServers, type ServerProcess } from './processes.ts'
import { RawClient } from './raw-client.ts'

type Version = readonly [number, string]
interface Written {
  readonly key: string
  readonly version: Version
}

interface Why {
  readonly waiting: readonly { readonly waitsFor: readonly { readonly holders: readonly string[] }[] }[]
}

let servers: readonly ServerProcess[] = []
let west: RawClient
let central: RawClient
let east: RawClient

beforeAll(async () => {
  servers = await startMesh(3)
  const clients = await Promise.all(servers.map((server) => RawClient.connect(server.port)))
  ;[west, central, east] = clients as [RawClient, RawClient, RawClient]
})
/** One failed test shall not be the reason of others. */
afterEach(async () => {
  for (const [index, client] of [west, central, east].entries()) {
    for (const peer of ['1', '2', '3']) {
      if (peer !== `${index + 1}`) await client.call('link', { peer, action: 'release' })
    }
  }
})
afterAll(stopServers)

/** Waits until a server has applied a key, and names the server if it does not. */
async function appliedAt(index: number, key: string): Promise<void> {
  await servers[index]?.applied(key)
}

describe('the story of the lost and found', () => {
  it.each(Array.from({ length: 20 }, (_, run) => run + 1))(
    'server 3 never shows the effect before its cause (run %i)',
    async (run) => {
      const [x, y, z] = [`x${run}`, `y${run}`, `z${run}`]
      const prefixes = [x, y, z]
      const watcher = await RawClient.connect(servers[2]?.port ?? 0)
      for (const prefix of prefixes) await watcher.call('watch', { prefix })
      const caught: unknown[] = []
      for (const _ of prefixes) caught.push((await watcher.push('caughtUp')).params)
      expect(caught).toHaveLength(3)

      const lost = await west.call<Written>('write', { key: x, value: 'lost' })
      await appliedAt(2, x)
      await west.call('link', { peer: '3', action: 'hold' })
      const found = await west.call<Written>('write', { key: y, value: 'found' })
      await appliedAt(1, y)
      expect(await central.call('read', { key: y })).toEqual({
        key: y,
        found: true,
        value: 'found',
        version: found.version,
      })
      const glad = await central.call<Written>('write', { key: z, value: 'glad' })
      expect(glad.version[0]).toBeGreaterThan(found.version[0])
      expect(found.version[0]).toBeGreaterThan(lost.version[0])

      await servers[2]?.event(
        'waiting',
        ({ update }) => update.origin === glad.version[1] && update.timestamp === glad.version[0],
      )
      expect(await east.call('read', { keys: [x, y, z] })).toEqual({
        values: [
          { key: x, found: true, value: 'lost', version: lost.version },
          { key: y, found: false },
          { key: z, found: false },
        ],
      })
      expect(await east.call('waiting')).toEqual([
        {
          key: z,
          keys: [z],
          version: glad.version,
          waitsFor: [found.version],
          from: '2',
          sinceMs: expect.any(Number),
        },
      ])
      // The others tell what they have applied within a moment.
      const story = await east.until<Why>(
        'why',
        { key: z },
        ({ waiting }) => waiting[0]?.waitsFor[0]?.holders.length === 2,
      )
      expect(story).toEqual({
        key: z,
        versions: [],
        waiting: [
          {
            version: glad.version,
            from: '2',
            sinceMs: expect.any(Number),
            waitsFor: [
              {
                version: found.version,
                keys: [y],
                waitsHere: false,
                holders: ['1', '2'],
                heldHolders: ['1'],
                link: { state: 'held', delayMs: 0, queued: 1 },
              },
            ],
          },
        ],
        missing: expect.any(Array),
        silent: [],
      })
      // However long it takes: nothing came meanwhile, and a new read finds nothing either.
      expect(await east.call('read', { key: z })).toEqual({ key: z, found: false })

      await west.call('link', { peer: '3', action: 'release' })
      const seen: unknown[] = []
      for (const _ of prefixes) seen.push((await watcher.push('update')).params)
      expect(seen).toMatchObject([
        { version: lost.version, writes: [{ key: x, value: 'lost' }] },
        { version: found.version, writes: [{ key: y, value: 'found' }] },
        { version: glad.version, writes: [{ key: z, value: 'glad' }] },
      ])
      watcher.close()
      for (const client of [west, central, east]) {
        expect(await client.call('read', { keys: [x, y, z] })).toEqual({
          values: [
            { key: x, found: true, value: 'lost', version: lost.version },
            { key: y, found: true, value: 'found', version: found.version },
            { key: z, found: true, value: 'glad', version: glad.version },
          ],
        })
        expect(await client.call('waiting')).toEqual([])
      }
    },
  )
})

describe('writes to one key on two servers that do not hear each other', () => {
  it('converge, are listed as a conflict on all servers alike, and are resolved by a later write', async () => {
    const key = 'colour'
    await west.call('link', { peer: '2', action: 'hold' })
    await west.call('link', { peer: '3', action: 'hold' })
    await central.call('link', { peer: '1', action: 'hold' })
    await central.call('link', { peer: '3', action: 'hold' })
    const red = await west.call<Written>('write', { key, value: 'red' })
    const blue = await central.call<Written>('write', { key, value: 'blue' })
    expect((await west.call<{ value: unknown }>('read', { key })).value).toBe('red')
    expect((await central.call<{ value: unknown }>('read', { key })).value).toBe('blue')
    expect(await east.call('read', { key })).toEqual({ key, found: false })
    for (const peer of ['2', '3']) await west.call('link', { peer, action: 'release' })
    for (const peer of ['1', '3']) await central.call('link', { peer, action: 'release' })
    for (const server of servers) await server.event('conflict', (event) => event.key === key)

    // Equal or not, timestamps come first; the origin decides between equals.
    const isRedHigher =
      red.version[0] !== blue.version[0] ? red.version[0] > blue.version[0] : red.version[1] > blue.version[1]
    const siblings = isRedHigher
      ? [
          { version: red.version, value: 'red' },
          { version: blue.version, value: 'blue' },
        ]
      : [
          { version: blue.version, value: 'blue' },
          { version: red.version, value: 'red' },
        ]
    const [winner, loser] = siblings
    for (const client of [west, central, east]) {
      expect(await client.call('read', { key })).toEqual({ key, found: true, ...winner, conflicts: [loser] })
      expect(await client.call('conflicts')).toEqual({ keys: [{ key, versions: siblings }] })
      expect(await client.call('status')).toMatchObject({ conflicts: 1 })
    }

    const green = await east.call<Written>('write', { key, value: 'green' })
    for (const server of servers) {
      await server.event(
        server === servers[2] ? 'taken' : 'applied',
        ({ update }) => update.timestamp === green.version[0] && update.origin === green.version[1],
      )
    }
    for (const client of [west, central, east]) {
      expect(await client.call('read', { key })).toEqual({
        key,
        found: true,
        value: 'green',
        version: green.version,
      })
      expect(await client.call('conflicts')).toEqual({ keys: [] })
    }
  })

  it('keep a deletion as a version like any other', async () => {
    const key = 'fruit'
    await west.call('write', { key, value: 'apple' })
    for (const index of [1, 2]) await appliedAt(index, key)
    await west.call('link', { peer: '3', action: 'hold' })
    await east.call('link', { peer: '1', action: 'hold' })
    await west.call('delete', { key })
    await east.call('write', { key, value: 'pear' })
    await west.call('link', { peer: '3', action: 'release' })
    await east.call('link', { peer: '1', action: 'release' })
    for (const server of servers) await server.event('conflict', (event) => event.key === key)
    const told: unknown[] = []
    for (const client of [west, central, east]) told.push(await client.call('conflicts', { prefix: key }))
    expect(told[1]).toEqual(told[0])
    expect(told[2]).toEqual(told[0])
    expect(JSON.stringify(told[0])).toContain('"deleted":true')
    expect(JSON.stringify(told[0])).toContain('"value":"pear"')
  })
})
