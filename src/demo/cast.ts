import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type Client, type ConnectOptions } from '../client/client.ts'
import { NotSeen } from './claims.ts'
import { ServerProcess } from './server-process.ts'
import type { ServerEvent } from '../server/narrator.ts'

/** One server of the story, with a client of its own: so that every server can be asked what it really holds. */
export interface Player {
  readonly process: ServerProcess
  readonly client: Client
  /** Where it listens. */
  readonly address: string
  /** What the writes of this run of the process are named by (R7). */
  readonly origin: string
}

/** The servers 1, 2 and 3. */
export type Servers = readonly [Player, Player, Player]

/**
 * The three servers of the story, each with a folder of its own in a temporary one. Whoever starts them ends them,
 * whatever happens in between; then nothing is left of them, neither processes nor folders.
 */
export class Cast {
  readonly #processes: ServerProcess[] = []
  readonly #clients: Client[] = []
  #folder: string | undefined
  #isStopped = false
  /** Even where the process ends without a word (`process.exit`), its children do not stay behind. */
  readonly #clearAway = (): void => {
    for (const process of this.#processes) process.kill()
    this.#removeFolder()
  }

  /**
   * Starts the servers on free ports and waits until each is connected with each.
   *
   * The second and the third are told of the first alone: they find each other through it.
   *
   * @throws NotSeen where a server does not start, or they do not find each other.
   */
  async start(): Promise<Servers> {
    process.once('exit', this.#clearAway)
    this.#folder = mkdtempSync(join(tmpdir(), 'tidings-demo-'))
    const first = this.#spawn({ id: '1', port: 0, peers: [] })
    const { address } = await listening(first)
    const second = this.#spawn({ id: '2', port: 0, peers: [address] })
    const third = this.#spawn({ id: '3', port: 0, peers: [address] })
    return await this.#connected([first, second, third])
  }

  /** Ends servers with `kill -9`, all at once, and returns when they are gone. They cannot do anything about it. */
  async kill(players: readonly Player[]): Promise<void> {
    for (const { process } of players) process.kill()
    await Promise.all(players.map(({ process }) => process.gone))
    await Promise.all(players.map(({ client }) => client.close()))
  }

  /**
   * Starts servers that are gone once more: each from its folder, and where it listened before.
   *
   * @throws NotSeen as {@link start} does.
   */
  async startAgain([first, second, third]: Servers): Promise<Servers> {
    const spawnAgain = ({ process, address }: Player): ServerProcess =>
      this.#spawn({ id: process.id, port: portOf(address), peers: process.peers })
    return await this.#connected([spawnAgain(first), spawnAgain(second), spawnAgain(third)])
  }

  /** A client for somebody in the story, which ends with it. */
  async connect(servers: readonly string[], options: ConnectOptions): Promise<Client> {
    const client = await connect(servers, options)
    this.#clients.push(client)
    return client
  }

  /** Ends all of it, and returns once the last process and its folder are gone. Never fails. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.allSettled(this.#clients.map((client) => client.close()))
    await Promise.all(this.#processes.map((process) => process.stop()))
    this.#removeFolder()
    process.removeListener('exit', this.#clearAway)
  }

  #spawn({ id, port, peers }: { id: string; port: number; peers: readonly string[] }): ServerProcess {
    // Ctrl-C may come between the first server and the others.
    if (this.#isStopped || this.#folder === undefined)
      throw new NotSeen(`server ${id} to start`, 'the end of the demo')
    const process = new ServerProcess({ id, port, peers, folder: join(this.#folder, id) })
    this.#processes.push(process)
    return process
  }

  /** Waits until each is connected with each, in both directions. */
  async #connected(
    processes: readonly [ServerProcess, ServerProcess, ServerProcess],
  ): Promise<readonly [Player, Player, Player]> {
    const pairs = processes.flatMap((one) =>
      processes.filter((other) => other !== one).map((other) => [one, other] as const),
    )
    await Promise.all(pairs.map(([one, other]) => one.saw(`server ${other.id} joins`, joined(other.id))))
    const [first, second, third] = processes
    return [await this.#player(first), await this.#player(second), await this.#player(third)]
  }

  async #player(process: ServerProcess): Promise<Player> {
    const { address, origin } = await listening(process)
    const client = await this.connect([address], { id: clientNames[process.id] ?? 'demo' })
    return { process, client, address, origin }
  }

  /** A folder that cannot be removed is a pity, and no reason to fail. */
  #removeFolder(): void {
    if (this.#folder === undefined) return
    try {
      rmSync(this.#folder, { recursive: true, force: true })
    } catch (error) {
      process.stderr.write(`${this.#folder} could not be removed: ${String(error)}\n`)
    }
    this.#folder = undefined
  }
}

function listening(process: ServerProcess): Promise<Extract<ServerEvent, { kind: 'listening' }>> {
  return process.saw('it listens', (event) => event.kind === 'listening')
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1))
}

/** An event that tells that a server is connected both ways. */
export function joined(id: string) {
  return (event: ServerEvent): event is Extract<ServerEvent, { kind: 'peerJoined' }> =>
    event.kind === 'peerJoined' && event.peer === id
}

/** What the servers are told of who asks them. Nobody of the story is at the third: the demo itself looks on there. */
const clientNames: { readonly [server: string]: string } = { 1: 'Alice', 2: 'Bob' }
