import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startLoneRedis } from '../rivals.ts'
import { bytesOnDisk, CompiledServer, freePorts, temporaryFolder, wipe } from '../support/compiled-server.ts'
import { ControlClient } from '../support/control-client.ts'
import { fill } from '../support/fill.ts'
import { leftAlone } from '../support/left-alone.ts'
import { memoryOf, processorSecondsOf } from '../support/process-figures.ts'
import type { Figures, Requester, Subject, Trial } from '../trial.ts'

/**
 * What a server needs for its keys: the time of a start after a kill, until the first answer, and what they take of memory
 * and disk. Memory of its own is what the system cannot take back: without the files that are mapped.
 */
export const start: Trial = {
  name: 'start, and what keys take',
  figures: [
    { name: 'answers after ms', digits: 0, isCompared: true },
    { name: 'processor ms', digits: 0 },
    { name: 'resident MiB', digits: 0, isCompared: true },
    { name: 'own MiB', digits: 0, isCompared: true },
    { name: 'own bytes a key', digits: 0 },
    { name: 'heap bytes a key', digits: 0 },
    { name: 'disk bytes a key', digits: 0, isCompared: true },
  ],
  subjects: ({ isQuick, load, beside }) => {
    const keys = isQuick ? 5_000 : 1_000_000
    return [...(beside.includes('redis') ? [redis(keys, load)] : []), server(keys, load), server(0, load)]
  },
}

function server(keys: number, load: Requester): Subject {
  return {
    name: keys === 0 ? 'no keys' : `${keys.toLocaleString('en')} keys`,
    start: async () => {
      const [port = 0] = await freePorts(1)
      const folder = temporaryFolder()
      const started = async (isProbed = false): Promise<CompiledServer> => {
        const one = new CompiledServer({ id: '1', port, peers: [], folder, isProbed })
        await one.listening()
        await answered(one)
        return one
      }
      let running = await started()
      if (keys > 0) await fill(load, { address: running.address, count: keys, keys })
      await leftAlone([running.pid])
      await running.kill()
      running = await started(true)
      const { heapBytes } = await running.probe('collected')
      return {
        measure: async () => {
          await running.kill()
          const beganMs = performance.now()
          running = await started()
          const figures = figuresOf({ pid: running.pid, folder, keys, tookMs: performance.now() - beganMs })
          return { ...figures, 'heap bytes a key': perKey(heapBytes, keys) }
        },
        stop: async () => {
          await running.kill()
          wipe(folder)
        },
      }
    },
  }
}

/**
 * With its log, which is synchronised for each write, as that of a server is; and nothing of it compressed, for our values are
 * a hundred times the same letter.
 */
function redis(keys: number, load: Requester): Subject {
  const flags = { appendonly: 'yes', appendfsync: 'always', rdbcompression: 'no' }
  return {
    name: `redis, ${keys.toLocaleString('en')} keys`,
    start: async () => {
      const [port = 0] = await freePorts(1)
      const root = temporaryFolder()
      const folder = join(root, 'redis')
      mkdirSync(folder)
      let running = await startLoneRedis({ folder, port }, flags)
      const address = { host: '127.0.0.1', port }
      await fill(load, { address, count: keys, keys, dialect: 'redis' })
      await leftAlone([running.pid])
      return {
        measure: async () => {
          await running.kill()
          const beganMs = performance.now()
          running = await startLoneRedis({ folder, port }, flags)
          return figuresOf({ pid: running.pid, folder, keys, tookMs: performance.now() - beganMs })
        },
        stop: async () => {
          await running.kill()
          wipe(root)
        },
      }
    },
  }
}

function figuresOf(started: {
  readonly pid: number
  readonly folder: string
  readonly keys: number
  readonly tookMs: number
}): Figures {
  const { pid, folder, keys, tookMs } = started
  const { residentBytes, ownBytes } = memoryOf(pid)
  return {
    'answers after ms': tookMs,
    'processor ms': 1_000 * processorSecondsOf(pid),
    'resident MiB': residentBytes / 2 ** 20,
    'own MiB': ownBytes / 2 ** 20,
    'own bytes a key': perKey(ownBytes, keys),
    'disk bytes a key': perKey(bytesOnDisk(folder), keys),
  }
}

function perKey(bytes: number, keys: number): number {
  return keys === 0 ? Number.NaN : bytes / keys
}

async function answered({ address }: CompiledServer): Promise<void> {
  const client = await ControlClient.connect(address)
  await client.status()
  client.close()
}
