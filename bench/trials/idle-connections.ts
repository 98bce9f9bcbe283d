import { clientConnectionsMax } from '../../src/protocol/limits.ts'
import { startMesh } from '../candidates.ts'
import { processorSecondsOf } from '../support/process-figures.ts'
import { open, pause } from '../support/sockets.ts'
import type { Socket } from 'node:net'
import { subject, type Figures, type Trial, type TrialOptions } from '../trial.ts'

/**
 * What clients cost that are connected and ask for nothing more. A server takes `clientConnectionsMax` of them, which is not
 * an option: so many of them are a mesh of servers, each with as many as it takes but a few, for those who measure.
 */
export const idleConnections: Trial = {
  name: 'idle connections',
  figures: [
    { name: 'servers', digits: 0 },
    { name: 'heap bytes a connection', digits: 0 },
    { name: 'own bytes a connection', digits: 0 },
    { name: 'CPU of one processor, without %', digits: 2 },
    { name: 'with %', digits: 2 },
    { name: 'µs a second a connection', digits: 2 },
  ],
  subjects: (options) => {
    const count = options.isQuick ? 500 : 10_000
    return [subject(`${count.toLocaleString('en')} connections`, () => costOf(count, options))]
  },
}

async function costOf(count: number, { durations }: TrialOptions): Promise<Figures> {
  const servers = Math.ceil(count / (clientConnectionsMax - spareConnections))
  const mesh = await startMesh('memory', servers, { isProbed: true })
  const memory = async (): Promise<{ readonly heapBytes: number; readonly ownBytes: number }> => {
    let heapBytes = 0
    let ownBytes = 0
    for (const server of mesh.servers) {
      heapBytes += (await server.probe('collected')).heapBytes
      ownBytes += server.memory().ownBytes
    }
    return { heapBytes, ownBytes }
  }
  const taken = (): number => mesh.pids.reduce((sum, pid) => sum + processorSecondsOf(pid), 0)
  const processorShare = async (): Promise<number> => {
    const before = { ms: performance.now(), seconds: taken() }
    // The system counts in hundredths of a second, and there is little to count.
    await pause(idleTimes * durations.measureMs)
    return (1_000 * (taken() - before.seconds)) / (performance.now() - before.ms)
  }

  const without = { ...(await memory()), share: await processorShare() }
  const sockets: Socket[] = []
  for (let first = 0; first < count; first += openedAtOnce) {
    const opened = Array.from({ length: Math.min(openedAtOnce, count - first) }, (_, index) => {
      const address = mesh.addresses[(first + index) % servers]
      if (address === undefined) throw new Error('a mesh without servers')
      return answered(open(address))
    })
    sockets.push(...(await Promise.all(opened)))
  }
  const withThem = { ...(await memory()), share: await processorShare() }
  for (const socket of sockets) socket.destroy()
  await mesh.stop()
  const each = (total: number): number => total / count
  return {
    servers,
    'heap bytes a connection': each(withThem.heapBytes - without.heapBytes),
    'own bytes a connection': each(withThem.ownBytes - without.ownBytes),
    'CPU of one processor, without %': 100 * without.share,
    'with %': 100 * withThem.share,
    'µs a second a connection': 1e6 * each(withThem.share - without.share),
  }
}

/** Of those that a server takes, how many are left to others. */
const spareConnections = 24
const openedAtOnce = 200
const idleTimes = 5

/** One that has asked for something once, so that all that a connection ever needs has been made. */
async function answered(opening: Promise<Socket>): Promise<Socket> {
  const socket = await opening
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('a connection has been closed that was to be idle')))
    socket.once('data', (chunk: Buffer) => {
      if (chunk.includes('"error"')) reject(new Error(`the server answered ${chunk.toString()}`))
      resolve()
    })
    socket.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'read', params: { key: 'idle' } })}\n`)
  })
  return socket
}
