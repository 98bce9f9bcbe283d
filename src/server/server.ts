import { createServer, type Server as Listener, type Socket } from 'node:net'
import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { showAddress, type Address } from '../protocol/address.ts'
import type { ShellStatus } from '../protocol/client-answers.ts'
import { protocolError } from '../protocol/errors.ts'
import { clientConnectionsMax, membersMax, shutdownMs } from '../protocol/limits.ts'
import { defaultLimits, defaultTiming, type Limits, type Timing } from '../replica/configuration.ts'
import type { ClientId } from '../replica/input.ts'
import type { Replica } from '../replica/replica.ts'
import { makeOrigin, type Origin } from '../replica/version.ts'
import { StorageError, type Store } from '../storage/store.ts'
import { Broadcasts } from './broadcasts.ts'
import type { Outboxes } from './connection.ts'
import { InboundSession } from './inbound-session.ts'
import type { Mesh } from './mesh.ts'
import type { Narrator, ServerEvent } from './narrator.ts'
import type { ServerOptions } from './options.ts'
import { OutgoingLink } from './outgoing-link.ts'
import { socketSurroundings } from './socket-wire.ts'
import type { ReplicaLoop } from './replica-loop.ts'
import { beatMs, ServerCore, tickMs } from './server-core.ts'

/** The server cannot start or go on; the message says why and what to try. Exit code 5. */
export class ServerError extends Error {
  override readonly name = 'ServerError'
}

/** Where a server keeps what must not be lost (R6). */
export interface ServerStorage {
  /** Open, and belongs to the server from now on: it is the server that closes it. */
  readonly store: Store
  /** What people call the place. */
  readonly folder: string
  readonly mode: 'sync' | 'async'
}

/**
 * One server: the process around one replica. It listens on one port for peers and clients alike, keeps links
 * to all other servers, feeds the replica with what arrives, and carries out what it says.
 */
export class Server {
  readonly #options: ServerOptions
  readonly #narrator: Narrator
  readonly #origin: Origin
  readonly #loop: ReplicaLoop
  readonly #mesh: Mesh
  readonly #storage: ServerStorage | undefined
  /** What the folder held; absent without one. */
  readonly #recovered: ServerEvent | undefined
  readonly #listener: Listener
  readonly #sessions = new Map<ClientId, InboundSession>()
  readonly #broadcasts = new Broadcasts((client) => this.#sessionOf(client))
  /** Sessions that the batch that is being released has sent something to. */
  readonly #spokenTo = new Set<InboundSession>()
  readonly #outboxes: Outboxes = { used: 0 }
  readonly #startedMs = performance.now()
  #nextClient: ClientId = 1
  #timers: readonly NodeJS.Timeout[] = []
  #stopped: Promise<void> | undefined
  /** Nothing can be stored any more, so nothing that has not left yet may leave. */
  #diskFailure: ServerError | undefined
  #fail: (error: ServerError) => void = () => {}

  /** Resolves if the server stops by itself, with the reason; never where it is told to stop. */
  readonly failed: Promise<ServerError>

  constructor(
    options: ServerOptions & {
      readonly narrator: Narrator
      /** Absent where everything is in memory only. */
      readonly storage?: ServerStorage
      /** For tests: other limits and times of the replica. */
      readonly limits?: Partial<Limits>
      readonly timing?: Partial<Timing>
    },
  ) {
    this.#options = options
    this.#narrator = options.narrator
    this.#origin = makeOrigin({ server: options.server, incarnation: newIncarnation() })
    this.#storage = options.storage
    const configuration = {
      server: options.server,
      origin: this.#origin,
      limits: { ...defaultLimits, ...options.limits },
      timing: { ...defaultTiming, ...options.timing },
    }
    const core = new ServerCore({
      configuration,
      storage: this.#storage && { ...this.#storage, failed: (error) => this.#diskFailed(error) },
      surroundings: {
        sessionOf: (client) => this.#sessionOf(client),
        broadcast: (broadcast) => this.#broadcasts.say(broadcast),
        // Everything that a batch sends to one connection leaves in one write.
        settle: () => {
          this.#broadcasts.settle()
          for (const session of this.#spokenTo) session.flush()
          this.#spokenTo.clear()
        },
        relieved: () => {
          for (const session of this.#sessions.values()) session.relieve()
        },
        sourceRelieved: (source) => {
          // A peer may have more than one connection.
          if (typeof source === 'number') this.#sessions.get(source)?.relieve()
          else for (const session of this.#sessions.values()) if (session.source === source) session.relieve()
        },
        dial: (linkOptions) => new OutgoingLink(linkOptions, socketSurroundings(options.secret)),
        idRefused: (error) => this.#fail(new ServerError(error.message, { cause: error })),
        tell: (event) => this.#narrator.tell(event),
        tellStep: (events) => this.#narrator.tellStep(events),
        schedule: (run) => setImmediate(run),
        now: () => performance.now(),
        later: (ms, run) => setTimeout(run, ms).unref(),
      },
    })
    this.#loop = core.loop
    this.#mesh = core.mesh
    if (this.#storage !== undefined) this.#recovered = recoveredEvent(core.replica, this.#storage)
    // Half-open: who has said all still gets the answers.
    this.#listener = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket))
    this.failed = new Promise((resolve) => {
      this.#fail = (error) => {
        const tell = (): void => resolve(error)
        this.stop(error.message).then(tell, tell)
      }
    })
  }

  /**
   * Starts to listen and to dial.
   *
   * @returns where it listens; the port is the real one where any free one was asked for.
   * @throws ServerError where the address cannot be had.
   */
  async start(): Promise<Address> {
    const { host, port, server, peers } = this.#options
    try {
      await new Promise<void>((resolve, reject) => {
        this.#listener.once('error', (error: NodeJS.ErrnoException) =>
          reject(listenError(error, { host, port })),
        )
        this.#listener.listen({ host, port }, resolve)
      })
    } catch (error) {
      await this.#storage?.store.close()
      throw error
    }
    this.#listener.on('error', (error) => this.#narrator.tell({ kind: 'warning', text: error.message }))
    const bound = this.#listener.address()
    if (bound === null || typeof bound === 'string') throw new ServerError('the listener has no address')
    const address: Address = { host, port: bound.port }
    this.#narrator.tell({ kind: 'listening', address: showAddress(address), server, origin: this.#origin })
    this.#tellNotices()
    this.#timers = [setInterval(() => this.#tick(), tickMs), setInterval(() => this.#beat(), beatMs)]
    this.#tick()
    this.#mesh.start(address, { peers, remembered: this.#storage?.store.addresses ?? [] })
    return address
  }

  /**
   * Stops accepting, finishes and stores what has arrived, lets the answers leave, closes.
   *
   * @throws ServerError, as a rejection, where it could not be stored; `failed` tells that too.
   */
  stop(reason: string): Promise<void> {
    this.#stopped ??= this.#stop(reason)
    return this.#stopped
  }

  async #stop(reason: string): Promise<void> {
    this.#narrator.tell({ kind: 'stopping', reason })
    for (const timer of this.#timers) clearInterval(timer)
    const closed = new Promise<void>((resolve) => {
      this.#listener.close(() => resolve())
    })
    await this.#loop.stop()
    for (const session of this.#sessions.values()) {
      // What it was not answered may be on the disk or not: saying that it did not happen could be wrong.
      if (this.#diskFailure !== undefined) session.destroy('the disk has failed')
      else session.shutDown()
    }
    this.#mesh.stop()
    const deadline = setTimeout(() => {
      for (const session of this.#sessions.values()) session.destroy('shutting down')
    }, shutdownMs)
    await closed
    clearTimeout(deadline)
    // A store that has failed is left alone: closing it could end the process before it has said why. Whoever runs the
    // server ends the process now, which lets go of the folder.
    if (this.#diskFailure === undefined) await this.#storage?.store.close()
    this.#narrator.tell({ kind: 'stopped' })
    if (this.#diskFailure !== undefined) throw this.#diskFailure
  }

  #diskFailed(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    const stored = this.#storage?.mode === 'sync' ? 'all' : 'all but the last moments'
    const isLoss = error instanceof StorageError && error.isLoss
    const kept = isLoss ? '' : `${stored} of what this server acknowledged is stored, and `
    this.#diskFailure = new ServerError(`${reason}; ${kept}it stops here`, { cause: error })
    this.#fail(this.#diskFailure)
  }

  #accept(socket: Socket): void {
    const client = this.#nextClient++
    const session = new InboundSession(socket, {
      client,
      host: {
        server: this.#options.server,
        origin: this.#origin,
        secret: this.#options.secret,
        isLab: this.#options.isLab,
        mesh: this.#mesh,
        step: (input, bytes) => this.#loop.push(input, bytes),
        inTurn: (source, act) => this.#loop.inTurn(source, act),
        isFull: (source) => this.#loop.isFull(source),
        outboxes: this.#outboxes,
        tell: (event) => this.#narrator.tell(event),
        status: () => this.#shellStatus(),
        isCongested: () => this.#loop.isCongested,
        hasRoomForClient: () => this.#clientCount() < clientConnectionsMax,
        closed: () => {
          this.#sessions.delete(client)
          this.#loop.push({ kind: 'clientGone', client })
        },
      },
    })
    this.#sessions.set(client, session)
    if (this.#sessions.size > connectionsMax) {
      const leaving = this.#longestSilent() ?? session
      leaving.refuse(
        protocolError('overloaded', 'this server has too many connections; try another, or later', {
          data: { retryAfterMs: 1_000 },
        }),
      )
    }
  }

  /** Who has said nothing for longest makes room, because whoever comes may be a peer. */
  #longestSilent(): InboundSession | undefined {
    for (const session of this.#sessions.values()) {
      if (session.role === 'unknown' && !session.isLeaving) return session
    }
    return undefined
  }

  #sessionOf(client: ClientId): InboundSession | undefined {
    const session = this.#sessions.get(client)
    if (session !== undefined) this.#spokenTo.add(session)
    return session
  }

  #clientCount(): number {
    let count = 0
    for (const session of this.#sessions.values()) if (session.role === 'client') count++
    return count
  }

  #beat(): void {
    this.#narrator.refill()
    for (const session of this.#sessions.values()) session.beat()
    this.#mesh.beat()
  }

  #tick(): void {
    this.#loop.push({ kind: 'tick', nowMs: Math.round(performance.now() - this.#startedMs) })
  }

  #tellNotices(): void {
    const { isInsecure, secret, isLab } = this.#options
    this.#narrator.tell(
      this.#recovered ?? {
        kind: 'notice',
        text: 'everything is in memory: what no other server has is gone when this one stops',
      },
    )
    if (this.#storage?.mode === 'async') {
      this.#narrator.tell({ kind: 'notice', text: 'async: a crash may lose the last second' })
    }
    if (isInsecure && secret === undefined) {
      this.#narrator.tell({
        kind: 'warning',
        text: '--insecure: whoever reaches this port can read and write everything',
      })
    }
    if (isLab) this.#narrator.tell({ kind: 'notice', text: 'lab: clients may hold, delay and cut links' })
  }

  #shellStatus(): ShellStatus {
    return {
      peers: this.#mesh.status(),
      members: this.#mesh.members(),
      durability: this.#storage?.mode ?? 'memory',
      ...(this.#storage === undefined ? {} : { folder: this.#storage.folder }),
      uptimeMs: Math.round(performance.now() - this.#startedMs),
      insecure: this.#options.isInsecure && this.#options.secret === undefined,
      lab: this.#options.isLab,
    }
  }
}

/** Clients are counted when they show to be clients; peers must find room beside them. */
const connectionsMax = clientConnectionsMax + membersMax

/** Unique among all starts of all processes with one id: 50 random bits. */
function newIncarnation(): string {
  return Array.from(randomBytes(10), (byte) => (byte % 32).toString(32)).join('')
}

function recoveredEvent(replica: Replica, { folder, store }: ServerStorage): ServerEvent {
  // Nobody has number 0, and a question changes nothing.
  const asked = replica.step({ kind: 'request', client: 0, id: 0, request: { method: 'status' } })
  const result = asked.reply[0]?.result
  if (result?.method !== 'status') throw new Error('a replica did not answer a question for its status')
  const { keys, log } = result.status
  return { kind: 'recovered', folder, isFresh: store.isFresh, keys, updates: log }
}

function listenError(error: NodeJS.ErrnoException, address: Address): ServerError {
  const where = showAddress(address)
  switch (error.code) {
    case 'EADDRINUSE':
      return new ServerError(
        `${where} is already in use; choose another --port, or stop what listens there`,
        { cause: error },
      )
    case 'EACCES':
      return new ServerError(`${where} is not allowed to this user; choose a --port above 1023`, {
        cause: error,
      })
    case 'EADDRNOTAVAIL':
      return new ServerError(`${address.host} is no address of this machine; choose another --host`, {
        cause: error,
      })
    default:
      return new ServerError(`cannot listen on ${where}: ${error.message}`, { cause: error })
  }
}
