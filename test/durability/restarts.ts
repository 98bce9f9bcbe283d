import { openFolderStore } from '../../src/storage/folder-store.ts'
import { Narrator } from '../../src/server/narrator.ts'
import { Server } from '../../src/server/server.ts'
import { freePorts } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'
import type { DataFolder } from './data-folder.ts'
import type { WireVersion } from './dump.ts'
import { ListeningPeer } from './listening-peer.ts'

/** What a write costs, in bytes on the wire from each of two servers to a peer of both. */
export interface WriteCost {
  /** The frame with the update, from the server that took it. */
  readonly update: number
  /** The news of its cut, from the server that took it. */
  readonly cut: number
  /** The news of its cut, from the other, which applied it. */
  readonly otherCut: number
}

export interface RestartReport {
  readonly restarts: number
  readonly before: WriteCost
  readonly after: WriteCost
  /** Origins in the cut at the end: each start that wrote is one. */
  readonly origins: number
  /** The time of one start, one write and one stop. In milliseconds. */
  readonly restartMs: readonly number[]
}

/**
 * Starts a server again and again on one folder, each time with one write, and compares what a write costs on the wire
 * before and after that, in the steady state: when an origin has written before (R2), and the peers are connected (R8).
 *
 * The servers run in this process, on a real folder and real sockets. All timestamps have four digits, so
 * that equal messages are equal in bytes.
 */
export async function restarts(folder: DataFolder, count: number): Promise<RestartReport> {
  if (count > restartsMax) throw new Error(`${count} restarts do not fit: at most ${restartsMax}`)
  const [port = 0, otherPort = 0] = await freePorts(2)
  const one = { id: '1', port, peers: [otherPort], folder: folder.at('1') }
  const other = await started({ id: '2', port: otherPort, peers: [port] })
  const peer = await ListeningPeer.start()
  let server = await started(one)
  try {
    await writes(port, 1_000)
    await peer.join({ id: '1', port })
    await peer.join({ id: '2', port: otherPort })
    const before = await costOfWrite(port, peer)
    const restartMs: number[] = []
    for (let restart = 0; restart < count; restart++) {
      const startMs = performance.now()
      await server.stop('to be started again')
      server = await started(one)
      await writes(port, 1)
      restartMs.push(performance.now() - startMs)
    }
    await peer.join({ id: '1', port })
    const after = await costOfWrite(port, peer)
    const client = await RawClient.connect(port)
    const { applied } = await client.call<{ readonly applied: object }>('status')
    client.close()
    return { restarts: count, before, after, origins: Object.keys(applied).length, restartMs }
  } finally {
    peer.close()
    await Promise.all([server.stop('done'), other.stop('done')])
  }
}

/** Timestamps begin at a thousand and must not reach ten thousand. */
const restartsMax = 8_000

async function started(options: {
  readonly id: string
  readonly port: number
  readonly peers: readonly number[]
  readonly folder?: string
}): Promise<Server> {
  const { id, port, peers, folder } = options
  const store = folder === undefined ? undefined : await openFolderStore({ folder, server: id })
  const server = new Server({
    server: id,
    port,
    host: '127.0.0.1',
    peers: peers.map((peer) => ({ host: '127.0.0.1', port: peer })),
    isInsecure: false,
    isLab: false,
    narrator: new Narrator({}),
    ...(store === undefined || folder === undefined ? {} : { storage: { store, folder, mode: 'sync' } }),
  })
  await server.start()
  return server
}

async function writes(port: number, count: number): Promise<void> {
  const client = await RawClient.connect(port)
  await Promise.all(Array.from({ length: count }, () => client.call('write', written)))
  client.close()
}

/** Of the second of two writes: the first may have more to say. */
async function costOfWrite(port: number, peer: ListeningPeer): Promise<WriteCost> {
  const client = await RawClient.connect(port)
  const costs: WriteCost[] = []
  for (let time = 0; time < 2; time++) {
    const mark = peer.mark
    const { version } = await client.call<{ readonly version: WireVersion }>('write', written)
    const [timestamp, origin] = version
    const cutOf = (id: string) =>
      peer.next(
        mark,
        ({ from, method, params }) =>
          from === id &&
          method === 'peer.cut' &&
          (params.entries as Readonly<Record<string, number>>)[origin] === timestamp,
        `the cut of server ${id} with ${timestamp}@${origin}`,
      )
    const update = await peer.next(
      mark,
      ({ from, method }) => from === '1' && method === 'peer.updates',
      `the update ${timestamp}@${origin}`,
    )
    costs.push({ update: update.bytes, cut: (await cutOf('1')).bytes, otherCut: (await cutOf('2')).bytes })
  }
  client.close()
  return costs[1] as WriteCost
}

const written = { key: 'key', value: 'value' }
