import { dumpOf, type Dump } from '../durability/dump.ts'
import type { DataFolder } from '../durability/data-folder.ts'
import { freePorts } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'
import { ChaosServer } from './chaos-server.ts'
import type { Program } from './compiled-program.ts'
import { LinkProxy } from './link-proxy.ts'

/** Two different servers, in an order: the link on which the first sends to the second. */
export interface Link {
  readonly from: string
  readonly to: string
}

/**
 * Servers named from 1, and between each two of them, for each direction, a proxy: no server knows where another
 * really listens. {@link leaks} says whether that is so.
 */
export class ChaosMesh {
  readonly servers: ReadonlyMap<string, ChaosServer>
  readonly proxies: readonly LinkProxy[]
  readonly folder: DataFolder

  private constructor(folder: DataFolder, servers: readonly ChaosServer[], proxies: readonly LinkProxy[]) {
    this.folder = folder
    this.servers = new Map(servers.map((server) => [server.id, server]))
    this.proxies = proxies
  }

  /** So many that run and are connected each to each. */
  static async start(options: {
    readonly count: number
    readonly folder: DataFolder
    readonly program: Program
    /** A server's process has ended by itself. */
    readonly crashed: (complaint: string) => void
  }): Promise<ChaosMesh> {
    const { count, folder, program, crashed } = options
    const ids = Array.from({ length: count }, (_, index) => `${index + 1}`)
    const links = ids.flatMap((from) => ids.filter((to) => to !== from).map((to) => ({ from, to })))
    const ports = await freePorts(count + links.length)
    const portOfServer = new Map(ids.map((id, index) => [id, ports[index] as number]))
    const portOfLink = new Map(
      links.map(({ from, to }, index) => [`${from} ${to}`, ports[count + index] as number]),
    )
    const portOf = (from: string, to: string): number | undefined => portOfLink.get(`${from} ${to}`)
    const proxies = await Promise.all(
      links.map(({ from, to }) =>
        LinkProxy.start({
          from,
          to,
          port: portOf(from, to) as number,
          target: portOfServer.get(to) as number,
          portOf,
        }),
      ),
    )
    const servers = ids.map(
      (id, index) =>
        new ChaosServer({
          id,
          port: portOfServer.get(id) as number,
          // The address of the next; it finds the rest.
          peerPorts: [portOf(id, ids[(index + 1) % count] as string) as number],
          folder: folder.at(id),
          program,
          crashed,
        }),
    )
    const mesh = new ChaosMesh(folder, servers, proxies)
    await Promise.all(servers.map((server) => server.start()))
    await mesh.meshed(meshedMsMax)
    return mesh
  }

  get ids(): readonly string[] {
    return [...this.servers.keys()]
  }

  get links(): readonly Link[] {
    return this.proxies.map(({ from, to }) => ({ from, to }))
  }

  get ports(): ReadonlyMap<string, number> {
    return new Map([...this.servers].map(([id, { port }]) => [id, port]))
  }

  server(id: string): ChaosServer {
    const server = this.servers.get(id)
    if (server === undefined) throw new Error(`there is no server ${id}`)
    return server
  }

  proxy({ from, to }: Link): LinkProxy {
    const proxy = this.proxies.find((other) => other.from === from && other.to === to)
    if (proxy === undefined) throw new Error(`there is no link from ${from} to ${to}`)
    return proxy
  }

  /** Waits until each is connected to each, and no lab holds a link. */
  async meshed(boundMs: number): Promise<void> {
    await this.#withClients(async (clients) => {
      await Promise.all(
        clients.map((client) =>
          client.until<Status>(
            'status',
            {},
            ({ peers }) =>
              peers.filter(({ state, link }) => state === 'connected' && link === 'open').length ===
              this.servers.size - 1,
            boundMs,
          ),
        ),
      )
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
      for (;;) {
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

  /** What a lab does to a link. */
  async link({ from, to }: Link, action: object): Promise<void> {
    await this.#asking(from, (client) => client.call('link', { peer: to, ...action }))
  }

  /** Everything as it should be: all servers run, and all links are open. */
  async heal(): Promise<void> {
    for (const proxy of this.proxies) proxy.heal()
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

  /** Links between servers that do not go through a proxy, in words: there must be none. */
  async leaks(): Promise<readonly string[]> {
    return await this.#withClients(async (clients) => {
      const statuses = await Promise.all(clients.map((client) => client.call<Status>('status')))
      return statuses.flatMap(({ server, peers }) =>
        peers
          .filter(({ id, address }) => address !== this.#addressOf({ from: server, to: id }))
          .map(({ id, address }) => `server ${server} dials ${id} at ${address}, past the proxy`),
      )
    })
  }

  async close(): Promise<void> {
    for (const proxy of this.proxies) proxy.heal()
    await Promise.all([...this.servers.values()].map((server) => server.stop()))
    for (const proxy of this.proxies) proxy.close()
  }

  #addressOf(link: Link): string {
    return `127.0.0.1:${this.proxy(link).port}`
  }

  async #asking<Found>(id: string, ask: (client: RawClient) => Promise<Found>): Promise<Found> {
    const client = await RawClient.connect(this.server(id).port)
    try {
      return await ask(client)
    } finally {
      client.close()
    }
  }

  async #withClients<Found>(look: (clients: readonly RawClient[]) => Promise<Found>): Promise<Found> {
    const clients = await Promise.all([...this.servers.values()].map(({ port }) => RawClient.connect(port)))
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
  const links = statuses.flatMap(({ server, peers }) =>
    peers
      .filter(({ state, link }) => state !== 'connected' || link !== 'open')
      .map(({ id, state, link }) => `the link from ${server} to ${id} is ${state}, ${link}`),
  )
  return [...told, ...links].join('; ')
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

const meshedMsMax = 60_000
