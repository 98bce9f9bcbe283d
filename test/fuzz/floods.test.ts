import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeNonce } from '../../src/protocol/authentication.ts'
import { clientConnectionsMax, membersMax } from '../../src/protocol/limits.ts'
import { within } from '../integration/processes.ts'
import type { RawClient } from '../integration/raw-client.ts'
import { GuardedServer } from './guarded-server.ts'

let server: GuardedServer
let healthy: RawClient

beforeAll(async () => {
  server = await GuardedServer.start()
  healthy = await server.client()
})
afterAll(async () => {
  expect(server.process.stderr).toBe('')
  await server.stop()
})

const isServed = async (client: RawClient): Promise<boolean> =>
  (await client.ask('read', { key: 'none' })).error === undefined

const challenged = async (client: RawClient): Promise<void> => {
  await client.call('challenge', { nonce: makeNonce() })
}

/** What the process has open, sockets and all; undefined where the system does not say. */
function descriptors(): number | undefined {
  if (process.platform !== 'linux') return undefined
  return readdirSync(`/proc/${server.process.pid}/fd`).length
}

describe('a flood of connections', () => {
  it('that know no secret leaves the server to those who do: clients and servers come in, and are served', async () => {
    const strangers: RawClient[] = []
    // As many as the server has room for, all in the middle of a greeting, and a hundred more.
    const count = clientConnectionsMax + membersMax + 100
    while (strangers.length < count) {
      const batch = await Promise.all(Array.from({ length: 50 }, () => server.connect()))
      strangers.push(...batch)
      await Promise.all(batch.map(challenged))
    }
    expect(await isServed(healthy)).toBe(true)
    const client = await server.client()
    expect(await isServed(client)).toBe(true)
    const peer = await server.peer('9')
    expect((await peer.ask('peer.ping')).result).toEqual({})
    // Those who have been silent for longest made room.
    // Or their time was up.
    const { error } = (await strangers[0]?.message()) ?? {}
    expect([-32002, -32008]).toContain(error?.code)
    expect(await strangers[0]?.closed()).toEqual([])
    for (const one of [...strangers, client, peer]) one.close()
  })

  it('of clients does not keep a client out when one has left', async () => {
    const clients: RawClient[] = [healthy]
    while (clients.length < clientConnectionsMax) clients.push(await server.client())
    const late = await server.connect()
    await expect(server.client()).rejects.toThrow('-32002')
    clients.pop()?.close()
    const deadline = performance.now() + 30_000
    let isLet = false
    // Whoever has left is forgotten a moment later.
    while (!isLet && performance.now() < deadline) {
      isLet = await server.client().then(
        (client) => {
          clients.push(client)
          return true
        },
        () => false,
      )
    }
    expect(isLet).toBe(true)
    late.close()
    for (const one of clients) if (one !== healthy) one.close()
  })

  it('that come and go leaves nothing behind', async () => {
    const settled = async (most: number): Promise<number> => {
      const left = (async () => {
        for (;;) {
          const now = descriptors() ?? 0
          if (now <= most) return now
          await healthy.call('status')
        }
      })()
      return await within(left, () => `the server has ${descriptors()} descriptors open`)
    }
    const before = await settled(200)
    for (let wave = 0; wave < 6; wave++) {
      const batch = await Promise.all(Array.from({ length: 200 }, () => server.connect()))
      for (const [index, one] of batch.entries()) {
        // Some in the middle of a line, some after it, some without a word.
        if (index % 3 === 0) one.send('{"jsonrpc":"2.0","id":1,"method":"read"')
        if (index % 3 === 1) one.send('{}\n')
        one.close()
      }
      expect(await isServed(healthy)).toBe(true)
    }
    expect(await settled(before)).toBeLessThanOrEqual(before)
    expect(await healthy.call('status')).toMatchObject({ watches: 0, parked: 0 })
  })
})
