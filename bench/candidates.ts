import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Durability } from '../src/server/options.ts'
import { endedWithThis } from './support/children.ts'
import { CompiledServer, freePorts, temporaryFolder, wipe } from './support/compiled-server.ts'
import { pause, type Address } from './support/sockets.ts'
import { ControlClient } from './support/control-client.ts'
import type { DialectName } from './support/dialects.ts'

/** Something that answers requests, of which it is measured how many and at what cost. */
export interface Candidate {
  readonly name: string
  /** What it means that a write was answered. */
  readonly acknowledgement: string
  readonly start: () => Promise<Running>
}

export interface Running {
  readonly dialect: DialectName
  /** The first is the one that is written to where only one is. */
  readonly addresses: readonly Address[]
  /** Whether each of them takes writes. */
  readonly isWritableEverywhere: boolean
  /** Its processes, in the order of the addresses. */
  readonly pids: readonly number[]
  readonly stop: () => Promise<void>
}

/** A bare process that sends everything back: what no server of frames in Node can be faster than. */
export const echo: Candidate = {
  name: 'echo',
  acknowledgement: 'sent back, and not looked at',
  start: async () => {
    const child = endedWithThis(
      fork(new URL('support/echo-process.ts', import.meta.url), { stdio: 'inherit' }),
    )
    const [address] = (await once(child, 'message')) as [{ readonly port: number }]
    return {
      dialect: 'tidings',
      addresses: [{ host: '127.0.0.1', port: address.port }],
      isWritableEverywhere: true,
      pids: [child.pid ?? Number.NaN],
      stop: async () => {
        child.disconnect()
        await once(child, 'exit')
      },
    }
  },
}

/** Three servers. */
export function mesh(durability: Durability): Candidate {
  return {
    name: durability,
    acknowledgement: acknowledgements[durability],
    start: () => startMesh(durability, 3),
  }
}

const acknowledgements: { readonly [mode in Durability]: string } = {
  memory: 'applied at the server that was asked',
  async: 'applied at the server that was asked, and on its way to its disk',
  sync: 'on the disk of the server that was asked',
}

export interface RunningMesh extends Running {
  readonly servers: readonly CompiledServer[]
}

/** @returns when each is connected to each. */
export async function startMesh(
  durability: Durability,
  count: number,
  { isProbed = false }: { readonly isProbed?: boolean } = {},
): Promise<RunningMesh> {
  const ports = await freePorts(count)
  const root = temporaryFolder()
  const servers = ports.map((port, index) => {
    const id = `${index + 1}`
    const folder = join(root, id)
    return new CompiledServer({ id, port, peers: ports.slice(0, 1), folder, durability, isProbed })
  })
  for (const server of servers) await server.listening()
  for (const server of servers) await connectedToAll(server, count - 1)
  return {
    servers,
    dialect: 'tidings',
    addresses: servers.map(({ address }) => address),
    isWritableEverywhere: true,
    pids: servers.map(({ pid }) => pid),
    stop: async () => {
      await Promise.all(servers.map((server) => server.stop()))
      wipe(root)
    },
  }
}

async function connectedToAll(server: CompiledServer, count: number): Promise<void> {
  const client = await ControlClient.connect(server.address)
  for (;;) {
    const { peers } = await client.status()
    if (peers.filter(({ state }) => state === 'connected').length === count) break
    await pause(20)
  }
  client.close()
}
