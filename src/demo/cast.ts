import { connect, type Client } from '../client/client.ts'
import { NotSeen } from './claims.ts'
import { ServerProcess } from './server-process.ts'
import type { ServerEvent } from '../server/narrator.ts'

/** One server of the story, with a client of its own: so that every server can be asked what it really holds. */
export interface Player {
  readonly process: ServerProcess
  readonly client: Client
}

/** The three servers of the story. Whoever starts them ends them, whatever happens in between. */
export class Cast {
  readonly #processes: ServerProcess[] = []
  readonly #clients: Client[] = []
  #isStopped = false
  /** Even where the process ends without a word (`process.exit`), its children do not stay behind. */
  readonly #killAll = (): void => {
    for (const process of this.#processes) process.kill()
  }

  /**
   * Starts the servers on free ports and waits until each is connected with each.
   *
   * The second and the third are told of the first alone: they find each other through it.
   *
   * @throws NotSeen where a server does not start, or they do not find each other.
   */
  async start(): Promise<readonly [Player, Player, Player]> {
    process.once('exit', this.#killAll)
    const first = this.#spawn('1', [])
    const address = await addressOf(first)
    const second = this.#spawn('2', [address])
    const third = this.#spawn('3', [address])
    const all = [first, second, third]
    const pairs = all.flatMap((one) =>
      all.filter((other) => other !== one).map((other) => [one, other] as const),
    )
    await Promise.all(pairs.map(([one, other]) => one.saw(`server ${other.id} joins`, joined(other.id))))
    return [await this.#player(first), await this.#player(second), await this.#player(third)]
  }

  /** Ends all of it, and returns once the last process is gone. Never fails. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.allSettled(this.#clients.map((client) => client.close()))
    await Promise.all(this.#processes.map((process) => process.stop()))
    process.removeListener('exit', this.#killAll)
  }

  #spawn(id: string, peers: readonly string[]): ServerProcess {
    // Ctrl-C may come between the first server and the others.
    if (this.#isStopped) throw new NotSeen(`server ${id} to start`, 'the end of the demo')
    const process = new ServerProcess({ id, peers })
    this.#processes.push(process)
    return process
  }

  async #player(process: ServerProcess): Promise<Player> {
    const client = await connect(await addressOf(process), { id: clientNames[process.id] ?? 'demo' })
    this.#clients.push(client)
    return { process, client }
  }
}

async function addressOf(process: ServerProcess): Promise<string> {
  const { address } = await process.saw('it listens', (event) => event.kind === 'listening')
  return address
}

/** An event that tells that a server is connected both ways. */
export function joined(id: string) {
  return (event: ServerEvent): event is Extract<ServerEvent, { kind: 'peerJoined' }> =>
    event.kind === 'peerJoined' && event.peer === id
}

/** What the servers are told of who asks them. Nobody of the story is at the third: the demo itself looks on there. */
const clientNames: { readonly [server: string]: string } = { 1: 'Alice', 2: 'Bob' }
