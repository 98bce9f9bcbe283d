import { programFromSources, type Program } from '../integration/compiled-program.ts'
import { freePorts, meshed, ServerProcess, type ServerStart } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'
import type { DataFolder } from './data-folder.ts'
import { dumpOf, type Dump } from './dump.ts'

/** The servers of a trio, as they are called. */
export const ids = ['1', '2', '3'] as const
export type Id = (typeof ids)[number]

/**
 * Three servers with a folder and a port each that they keep over restarts, each given the address of the next.
 */
export class Trio {
  readonly folder: DataFolder
  readonly ports: Readonly<Record<Id, number>>
  /** What all of them are started with. */
  readonly #common: Pick<ServerStart, 'durability' | 'program'>
  readonly #servers = new Map<Id, ServerProcess>()
  readonly #up = new Set<Id>()
  /** Whoever waits for a server that is down. */
  readonly #waits: { readonly id: Id; readonly resolve: () => void }[] = []

  private constructor(
    folder: DataFolder,
    ports: Readonly<Record<Id, number>>,
    common: Pick<ServerStart, 'durability' | 'program'>,
  ) {
    this.folder = folder
    this.ports = ports
    this.#common = common
  }

  /** Three that run and are connected each to each. */
  static async start(
    folder: DataFolder,
    durability: 'sync' | 'async' = 'sync',
    program: Program = programFromSources,
  ): Promise<Trio> {
    const [one = 0, two = 0, three = 0] = await freePorts(3)
    const trio = new Trio(folder, { 1: one, 2: two, 3: three }, { durability, program })
    await Promise.all(ids.map((id) => trio.start(id)))
    await trio.meshed()
    return trio
  }

  /** The one that runs now, or ran last. */
  server(id: Id): ServerProcess {
    const server = this.#servers.get(id)
    if (server === undefined) throw new Error(`server ${id} was never started`)
    return server
  }

  /** Starts one and waits until it listens. */
  async start(id: Id, more: ServerStart = {}): Promise<ServerProcess> {
    const server = new ServerProcess({
      id,
      port: this.ports[id],
      peers: [this.ports[next[id]]],
      data: this.folder.at(id),
      ...this.#common,
      ...more,
    })
    this.#servers.set(id, server)
    await listening(server)
    this.#up.add(id)
    for (const wait of this.#waits.splice(0)) {
      if (wait.id === id) wait.resolve()
      else this.#waits.push(wait)
    }
    return server
  }

  /** Ends one as a power cut would. */
  async kill(id: Id): Promise<void> {
    this.#up.delete(id)
    await this.server(id).kill()
  }

  /** Resolves when a server listens; at once where it does. */
  async up(id: Id): Promise<void> {
    if (this.#up.has(id)) return
    await new Promise<void>((resolve) => {
      this.#waits.push({ id, resolve })
    })
  }

  /** Waits until each is connected to each. */
  async meshed(): Promise<void> {
    await meshed(ids.map((id) => this.server(id)))
  }

  /**
   * Waits until some of them hold the same in every respect.
   *
   * @param keys all that were ever written: deleted ones are not listed by any server.
   * @returns what they hold.
   */
  async agreed(keys: Iterable<string>, boundMs: number, which: readonly Id[] = ids): Promise<Dump> {
    const wanted = [...keys]
    const clients = await Promise.all(which.map((id) => RawClient.connect(this.ports[id])))
    try {
      const deadlineMs = performance.now() + boundMs
      for (;;) {
        const dumps = await Promise.all(clients.map((client) => dumpOf(client, wanted)))
        const [first, ...others] = dumps.map((dump) => JSON.stringify(dump))
        if (first !== undefined && others.every((other) => other === first)) return dumps[0] as Dump
        if (performance.now() > deadlineMs) {
          throw new Error(
            `servers ${which.join(', ')} do not agree after ${boundMs} ms: ${difference(dumps)}`,
          )
        }
      }
    } finally {
      for (const client of clients) client.close()
    }
  }
}

/** Waits until a server listens, for longer than for what a server that runs is asked: a start is a second of work. */
async function listening(server: ServerProcess): Promise<void> {
  const deadlineMs = performance.now() + startMsMax
  let hasEnded = false
  void server.ended.then(() => {
    hasEnded = true
  })
  for (;;) {
    try {
      await server.listening()
      return
    } catch (error) {
      if (hasEnded || performance.now() > deadlineMs) throw error
    }
  }
}

/** For a machine on which many others run. */
const startMsMax = 60_000

const next: Readonly<Record<Id, Id>> = { 1: '2', 2: '3', 3: '1' }

/** Where dumps differ first, in words. */
function difference(dumps: readonly Dump[]): string {
  const applied = dumps.map((dump) => JSON.stringify(dump.applied))
  if (new Set(applied).size > 1) return `they have applied ${applied.join(' and ')}`
  for (const key of Object.keys(dumps[0]?.keys ?? {})) {
    const told = dumps.map((dump) => JSON.stringify(dump.keys[key]))
    if (new Set(told).size > 1) return `key ${key} is ${told.join(' and ')}`
  }
  return 'they list different keys'
}
