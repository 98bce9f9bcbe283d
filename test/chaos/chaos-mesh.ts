import { setTimeout as pause } from 'node:timers/promises'
import { dumpOf, type Dump } from '../durability/dump.ts'
import type { DataFolder } from '../durability/data-folder.ts'
import { ChaosServer } from './chaos-server.ts'
import type { Program } from '../integration/compiled-program.ts'
import { linksOf, nameOf, type Link, type Network } from './network.ts'
import { SharedConnection } from './shared-connection.ts'

/** Servers on a network on which things can be done to their links. {@link leaks} says whether all of theirs are on it. */
export class ChaosMesh {
  readonly servers: ReadonlyMap<string, ChaosServer>
  readonly network: Network
  readonly folder: DataFolder

  private constructor(folder: DataFolder, servers: readonly ChaosServer[], network: Network) {
    this.folder = folder
    this.servers = new Map(servers.map((server) => [server.id, server]))
    this.network = network
  }

  /** Some that run and are connected each to each. */
  static async start(options: {
    readonly ids: readonly string[]
    readonly network: Network
    readonly folder: DataFolder
    readonly program: Program
    /** A server's process has ended by itself. */
    readonly crashed: (complaint: string) => void
  }): Promise<ChaosMesh> {
    const { ids, network, folder, program, crashed } = options
    const servers = ids.map((id, index) => {
      // The address of the next; it finds the rest.
      const peer = network.dialled({ from: id, to: ids[(index + 1) % ids.length] as string })
      const launcher = network.launcher(id)
      return new ChaosServer({
        id,
        ...network.place(id),
        peer,
        folder: folder.at(id),
        launcher,
        program,
        crashed,
      })
    })
    const mesh = new ChaosMesh(folder, servers, network)
    await Promise.all(servers.map((server) => server.start()))
    await mesh.meshed(meshedMsMax)
    return mesh
  }

  get ids(): readonly string[] {
    return [...this.servers.keys()]
  }

  get links(): readonly Link[] {
    return linksOf(this.ids)
  }

  /** Where clients find them. */
  get ports(): ReadonlyMap<string, number> {
    return new Map(this.ids.map((id) => [id, this.network.clientPort(id)]))
  }

  server(id: string): ChaosServer {
    const server = this.servers.get(id)
    if (server === undefined) throw new Error(`there is no server ${id}`)
    return server
  }

  /** Waits until each is connected to each, and no lab holds a link. */
  async meshed(boundMs: number): Promise<void> {
    await this.#withClients(async (clients) => {
      for (const endsMs = performance.now() + boundMs; ; await pause(pollMs)) {
        const statuses = await Promise.all(clients.map((client) => client.call<Status>('status')))
        const away = closedLinks(statuses)
        if (away.length === 0 && statuses.every(({ peers }) => peers.length === this.servers.size - 1)) return
        if (performance.now() > endsMs) {
          throw new Error(`the servers are not connected after ${boundMs} ms: ${away.join('; ')}`)
        }
      }
    })
  }

  /**
   * Waits until all have applied the same, and then looks at all that they hold.
   *
   * @param keys all that were ever written: deleted ones are not listed by any server.
   * @returns what they hold, and how long it took until all had applied the same.
   * @throws Error, as a rejection, where they have not within the bound, or hold different things all the same.
   */
  async agreed(
    keys: Iterable<string>,
    boundMs: number,
  ): Promise<{ readonly dumps: ReadonlyMap<string, Dump>; readonly dump: Dump; readonly tookMs: number }> {
    const wanted = [...keys]
    return await this.#withClients(async (clients) => {
      const beganMs = performance.now()
      for (; ; await pause(pollMs)) {
        const statuses = await Promise.all(clients.map((client) => client.call<Status>('status')))
        const [first, ...others] = statuses.map(({ applied }) => inOrder(applied))
        if (others.every((other) => other === first)) break
        if (performance.now() - beganMs > boundMs) {
          throw new Error(
            `the servers have not applied the same after ${boundMs} ms: ${differences(statuses)}`,
          )
        }
      }
      const tookMs = performance.now() - beganMs
      const dumps = await Promise.all(clients.map((client) => dumpOf(client, wanted)))
      const [first, ...others] = dumps.map((dump) => JSON.stringify(dump))
      if (!others.every((other) => other === first)) {
        throw new Error(`the servers have applied the same and hold different things: ${difference(dumps)}`)
      }
      const byId = new Map(this.ids.map((id, index) => [id, dumps[index] as Dump]))
      return { dumps: byId, dump: dumps[0] as Dump, tookMs }
    })
  }

  /** How a server is now. */
  async status(id: string): Promise<Status> {
    return await this.#asking(id, (client) => client.call<Status>('status'))
  }

  /** What a lab does to a link. @returns whether its server could be asked. */
  async link({ from, to }: Link, action: object): Promise<boolean> {
    const client = await SharedConnection.connect(this.network.clientPort(from))
    if (client === undefined) return false
    const reply = await client.ask('link', JSON.stringify({ peer: to, ...action }), labMsMax)
    client.close()
    return reply.kind === 'result'
  }

  /** Everything as it should be: all servers run, and all links are open. */
  async heal(): Promise<void> {
    await Promise.all(this.links.map((link) => this.network.heal(link)))
    const servers = [...this.servers.values()]
    for (const server of servers) server.resume()
    await Promise.all(servers.filter(({ isUp }) => !isUp).map((server) => server.start()))
    for (const { id: from } of servers) {
      const { peers } = await this.status(from)
      for (const { id: to, link } of peers) {
        if (link === 'cut') await this.link({ from, to }, { action: 'heal' })
        else if (link !== 'open') await this.link({ from, to }, { action: 'release' })
      }
    }
  }

  /** Links on which nothing could be done, in words: there must be none. */
  async leaks(): Promise<readonly string[]> {
    return await this.#withClients(async (clients) => {
      const statuses = await Promise.all(clients.map((client) => client.call<Status>('status')))
      return statuses.flatMap(({ server, peers }) =>
        peers
          .map(({ id, address }) => ({ link: { from: server, to: id }, address }))
          .filter(({ link, address }) => address !== this.network.dialled(link))
          .map(({ link, address }) => `the link ${nameOf(link)} is to ${address}, past this network`),
      )
    })
  }

  async close(): Promise<void> {
    await Promise.all(this.links.map((link) => this.network.heal(link)))
    await Promise.all([...this.servers.values()].map((server) => server.stop()))
    await this.network.close()
  }

  async #asking<Found>(id: string, ask: (client: SharedConnection) => Promise<Found>): Promise<Found> {
    const client = await SharedConnection.connectPatiently(this.network.clientPort(id))
    try {
      return await ask(client)
    } finally {
      client.close()
    }
  }

  async #withClients<Found>(look: (clients: readonly SharedConnection[]) => Promise<Found>): Promise<Found> {
    const clients = await Promise.all(
      [...this.ports.values()].map((port) => SharedConnection.connectPatiently(port)),
    )
    try {
      return await look(clients)
    } finally {
      for (const client of clients) client.close()
    }
  }
}

/** A cut as it is on the wire. */
export type Applied = Readonly<Record<string, number>>

/** What a server says of itself, as far as is looked at here. */
export interface Status {
  readonly server: string
  /** The run of its process. */
  readonly origin: string
  readonly applied: Applied
  readonly peers: readonly {
    readonly id: string
    readonly address: string
    readonly state: string
    readonly link: string
  }[]
}

function inOrder(applied: Applied): string {
  return JSON.stringify(Object.entries(applied).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** The entries in which cuts differ. */
function differences(statuses: readonly Status[]): string {
  const origins = new Set(statuses.flatMap(({ applied }) => Object.keys(applied)))
  const told: string[] = []
  for (const origin of origins) {
    const entries = statuses.map(({ applied }) => applied[origin] ?? 0)
    if (new Set(entries).size > 1) told.push(`of ${origin} up to ${entries.join(', ')}`)
  }
  return [...told, ...closedLinks(statuses)].join('; ')
}

/** The links that are not as they should be, in words. */
function closedLinks(statuses: readonly Status[]): readonly string[] {
  return statuses.flatMap(({ server, peers }) =>
    peers
      .filter(({ state, link }) => state !== 'connected' || link !== 'open')
      .map(({ id, state, link }) => `the link from ${server} to ${id} is ${state}, ${link}`),
  )
}

/** Where dumps of servers that have applied the same differ first, in words. */
function difference(dumps: readonly Dump[]): string {
  const counts = dumps.map((dump) => JSON.stringify(dump.counts))
  for (const key of Object.keys(dumps[0]?.keys ?? {})) {
    const told = dumps.map((dump) => JSON.stringify(dump.keys[key]))
    if (new Set(told).size > 1) return `key ${key} is ${told.join(' and ')}`
  }
  return `they count ${counts.join(' and ')}`
}

/** For the hung. */
const meshedMsMax = 300_000
const labMsMax = 2_000
const pollMs = 5
