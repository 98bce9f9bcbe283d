import { createServer, type Server as Listener, type Socket } from 'node:net'
import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { showAddress, type Address } from '../protocol/address.ts'
import type { ShellStatus } from '../protocol/client-answers.ts'
import { protocolError } from '../protocol/errors.ts'
import { clientConnectionsMax, membersMax, shutdownMs } from '../protocol/limits.ts'
import { defaultLimits, defaultTiming, type Limits, type Timing } from '../replica/configuration.ts'
import type { ClientId } from '../replica/input.ts'
import type { Output } from '../replica/output.ts'
import { Replica } from '../replica/replica.ts'
import { makeOrigin, type Origin } from '../replica/version.ts'
import type { Outboxes } from './connection.ts'
import { InboundSession } from './inbound-session.ts'
import { Mesh } from './mesh.ts'
import type { Narrator } from './narrator.ts'
import type { ServerOptions } from './options.ts'
import { OutgoingLink } from './outgoing-link.ts'
import { ReplicaLoop } from './replica-loop.ts'

/** The server cannot start or go on; the message says why and what to try. Exit code 5. */
export class ServerError extends Error {
  override readonly name = 'ServerError'
}

/**
 * One server: the process around one replica. It listens on one port for peers and clients alike, keeps links
 * to all other servers, feeds the replica with what arrives, and carries out what it says.
 */
export class Server {
  readonly #options: ServerOptions
  readonly #narrator: Narrator
  readonly #origin: Origin
  readonly #replica: Replica
  readonly #loop: ReplicaLoop
  readonly #mesh: Mesh
  readonly #listener: Listener
  readonly #sessions = new Map<ClientId, InboundSession>()
  /** Sessions that the batch that is being released has sent something to. */
  readonly #spokenTo = new Set<InboundSession>()
  readonly #outboxes: Outboxes = { used: 0 }
  readonly #startedMs = performance.now()
  #nextClient: ClientId = 1
  #timers: readonly NodeJS.Timeout[] = []
  #stopped: Promise<void> | undefined
  #fail: (error: ServerError) => void = () => {}

  /** Resolves if the server stops by itself, with the reason; never where it is told to stop. */
  readonly failed: Promise<ServerError>

  constructor(
    options: ServerOptions & {
      readonly narrator: Narrator
      /** For tests: other limits and times of the replica. */
      readonly limits?: Partial<Limits>
      readonly timing?: Partial<Timing>
    },
  ) {
    this.#options = options
    this.#narrator = options.narrator
    this.#origin = makeOrigin({ server: options.server, incarnation: newIncarnation() })
    this.#replica = new Replica({
      server: options.server,
      origin: this.#origin,
      limits: { ...defaultLimits, ...options.limits },
      timing: { ...defaultTiming, ...options.timing },
    })
    this.#loop = new ReplicaLoop({
      replica: this.#replica,
      release: (output) => this.#release(output),
      settle: () => this.#settle(),
      schedule: (run) => setImmediate(run),
      now: () => performance.now(),
    })
    this.#mesh = new Mesh({
      server: options.server,
      origin: this.#origin,
      step: (input) => this.#loop.push(input),
      tell: (event) => this.#narrator.tell(event),
      dial: (linkOptions) => new OutgoingLink({ ...linkOptions, secret: options.secret }),
      idRefused: (error) => this.#fail(new ServerError(error.message, { cause: error })),
    })
    // Half-open: who has said all still gets the answers.
    this.#listener = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket))
    this.failed = new Promise((resolve) => {
      this.#fail = (error) => void this.stop(error.message).then(() => resolve(error))
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
    await new Promise<void>((resolve, reject) => {
      this.#listener.once('error', (error: NodeJS.ErrnoException) =>
        reject(listenError(error, { host, port })),
      )
      this.#listener.listen({ host, port }, resolve)
    })
    this.#listener.on('error', (error) => this.#narrator.tell({ kind: 'warning', text: error.message }))
    const bound = this.#listener.address()
    if (bound === null || typeof bound === 'string') throw new ServerError('the listener has no address')
    const address: Address = { host, port: bound.port }
    this.#narrator.tell({ kind: 'listening', address: showAddress(address), server, origin: this.#origin })
    this.#tellNotices()
    this.#timers = [setInterval(() => this.#tick(), tickMs), setInterval(() => this.#beat(), 1_000)]
    this.#tick()
    this.#mesh.start(address, peers)
    return address
  }

  /** Stops accepting, finishes what has arrived, lets the answers leave, closes. */
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
    this.#loop.stop()
    for (const session of this.#sessions.values()) session.shutDown()
    this.#mesh.stop()
    const deadline = setTimeout(() => {
      for (const session of this.#sessions.values()) session.destroy('shutting down')
    }, shutdownMs)
    await closed
    clearTimeout(deadline)
    this.#narrator.tell({ kind: 'stopped' })
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
        step: (input) => this.#loop.push(input),
        inTurn: (act) => this.#loop.inTurn(act),
        outboxes: this.#outboxes,
        tell: (event) => this.#narrator.tell(event),
        status: () => this.#shellStatus(),
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

  #release(output: Output): void {
    for (const { to, message } of output.send) this.#mesh.send(to, message)
    for (const notification of output.notify) this.#sessionOf(notification.client)?.notify(notification)
    for (const { client, id, result } of output.reply) this.#sessionOf(client)?.reply(id, result)
    for (const { peer, reason } of output.refuse) this.#mesh.refuse(peer, reason)
    for (const event of output.events) this.#narrator.tell(event)
    for (const client of output.awaitDrain) this.#sessionOf(client)?.awaitDrain()
  }

  /** Everything that a batch sends to one connection leaves in one write. */
  #settle(): void {
    for (const session of this.#spokenTo) session.flush()
    this.#spokenTo.clear()
    this.#mesh.flush()
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
    this.#narrator.tell({
      kind: 'notice',
      text: 'everything is in memory: what no other server has is gone when this one stops',
    })
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
      durability: 'memory',
      uptimeMs: Math.round(performance.now() - this.#startedMs),
      insecure: this.#options.isInsecure && this.#options.secret === undefined,
      lab: this.#options.isLab,
    }
  }
}

/** Clients are counted when they show to be clients; peers must find room beside them. */
const connectionsMax = clientConnectionsMax + membersMax

/** Often enough that a changed cut is told "at most a moment" later (R8). */
const tickMs = 50

/** Unique among all starts of all processes with one id: 50 random bits. */
function newIncarnation(): string {
  return Array.from(randomBytes(10), (byte) => (byte % 32).toString(32)).join('')
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
