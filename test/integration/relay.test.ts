import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { DataFolder, removeDataFolders } from '../durability/data-folder.ts'
import { relayTimes, startChain } from '../durability/relay.ts'
import { Trio, type Id } from '../durability/trio.ts'
import { stopServers, waitMsMax } from './processes.ts'
import { RawClient } from './raw-client.ts'

afterEach(async () => {
  await stopServers()
  await removeDataFolders()
})
afterAll(stopServers)

interface Read {
  readonly found: boolean
  readonly value?: unknown
}

/** Does something to a server's outgoing link. */
async function link(trio: Trio, from: Id, to: Id, action: 'cut' | 'heal'): Promise<void> {
  const client = await RawClient.connect(trio.ports[from])
  await client.call('link', { peer: to, action })
  client.close()
}

describe('R8: servers 1 and 3 cannot talk to each other, and both talk to 2', () => {
  it("1's writes reach 3 through 2, and 3's reach 1", async () => {
    const trio = await startChain(await DataFolder.make())
    // How fast: npm run relay. Within a second on a machine that does nothing else.
    const times = await relayTimes(trio, 10)
    expect(Math.max(...times)).toBeLessThan(waitMsMax)
    const applied = trio.server('3').events.filter((event) => event.kind === 'applied')
    expect(applied.map(({ from }) => from)).toEqual(applied.map(() => '2'))
    expect(applied).toHaveLength(10)

    const client = await RawClient.connect(trio.ports['3'])
    await client.call('write', { key: 'back', value: 1 })
    await trio.server('1').applied('back')
    client.close()
    await trio.agreed([], waitMsMax)
  })

  it('what both wrote while they could not talk ends as the same value on all, as soon as it passes through 2', async () => {
    const trio = await startChain(await DataFolder.make())
    const [west, east] = [await RawClient.connect(trio.ports['1']), await RawClient.connect(trio.ports['3'])]
    await Promise.all([
      west.call('write', { key: 'contested', value: 'of 1' }),
      east.call('write', { key: 'contested', value: 'of 3' }),
    ])
    await trio.server('3').applied('contested')
    const dump = await trio.agreed([], waitMsMax)
    expect(dump.keys['contested']?.map(({ value }) => value).toSorted()).toEqual(
      expect.arrayContaining([expect.stringMatching(/^of [13]$/u)]),
    )
    west.close()
    east.close()
  })
})

describe('R8: a server that is gone for good', () => {
  it('its updates spread from who has them to who does not', async () => {
    const trio = await Trio.start(await DataFolder.make())
    // 3 hears of nobody, so that 2 alone has what 1 writes.
    await link(trio, '1', '3', 'cut')
    await link(trio, '2', '3', 'cut')
    const client = await RawClient.connect(trio.ports['1'])
    for (let number = 1; number <= 50; number++) {
      await client.call('write', { key: `legacy ${number}`, value: number })
    }
    client.close()
    await trio.server('2').applied('legacy 50')
    await trio.kill('1')
    const reader = await RawClient.connect(trio.ports['3'])
    expect(await reader.call<Read>('read', { key: 'legacy 1' })).toMatchObject({ found: false })

    await link(trio, '2', '3', 'heal')
    for (let number = 1; number <= 50; number++) {
      const key = `legacy ${number}`
      const { value } = await reader.until<Read>('read', { key }, ({ found }) => found)
      expect(value).toBe(number)
    }
    reader.close()
    await trio.agreed([], waitMsMax, ['2', '3'])
  })

  it('also where who has them was itself away and had to start from its disk', async () => {
    const trio = await Trio.start(await DataFolder.make())
    await trio.server('3').stop()
    const client = await RawClient.connect(trio.ports['1'])
    for (let number = 1; number <= 50; number++) {
      await client.call('write', { key: `legacy ${number}`, value: number })
    }
    client.close()
    await trio.server('2').applied('legacy 50')
    // What 2 applied of others is on its disk with its next own write at the latest (R6).
    const other = await RawClient.connect(trio.ports['2'])
    await other.call('write', { key: 'of 2', value: 1 })
    other.close()
    await Promise.all([trio.kill('1'), trio.kill('2')])
    await Promise.all([trio.start('2'), trio.start('3')])
    const dump = await trio.agreed([], waitMsMax, ['2', '3'])
    expect(dump.counts.keys).toBe(51)
  })
})
