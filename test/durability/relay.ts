import { RawClient } from '../integration/raw-client.ts'
import type { DataFolder } from './data-folder.ts'
import { Trio } from './trio.ts'

/**
 * Three servers of which the first and the third cannot talk to each other, in neither direction; both talk to the second.
 */
export async function startChain(folder: DataFolder): Promise<Trio> {
  const trio = await Trio.start(folder)
  await cut(trio, '1', '3')
  await cut(trio, '3', '1')
  return trio
}

async function cut(trio: Trio, from: '1' | '3', to: '1' | '3'): Promise<void> {
  const client = await RawClient.connect(trio.ports[from])
  await client.call('link', { peer: to, action: 'cut' })
  await client.until<{ readonly peers: readonly { readonly id: string; readonly state: string }[] }>(
    'status',
    {},
    ({ peers }) => peers.some(({ id, state }) => id === to && state !== 'connected'),
  )
  client.close()
}

/**
 * How long a write at the first server of a chain takes until it can be read at the third, each time after the one
 * before has arrived.
 *
 * @returns the times in milliseconds, from just before the write is sent.
 */
export async function relayTimes(trio: Trio, count: number): Promise<readonly number[]> {
  const writer = await RawClient.connect(trio.ports['1'])
  const watcher = await RawClient.connect(trio.ports['3'])
  await watcher.call('watch', { prefix: 'relayed/' })
  const times: number[] = []
  for (let number = 1; number <= count; number++) {
    const key = `relayed/${number}`
    const sentMs = performance.now()
    await writer.call('write', { key, value: number })
    for (;;) {
      const { params } = await watcher.push('update')
      const { writes } = params as { readonly writes: readonly { readonly key: string }[] }
      if (writes.some((write) => write.key === key)) break
    }
    times.push(performance.now() - sentMs)
  }
  writer.close()
  watcher.close()
  return times
}
