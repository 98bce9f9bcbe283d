import { ProtocolError } from '../../src/protocol/errors.ts'
import { protocolVersion, silentLinkMs } from '../../src/protocol/limits.ts'
import type { PeerHelloParams, PeerHelloResult } from '../../src/protocol/peer-messages.ts'
import type { Member } from '../../src/protocol/wire-forms.ts'
import type { Cut } from '../../src/replica/cut.ts'
import type { ClientId } from '../../src/replica/input.ts'
import type { PeerMessage } from '../../src/replica/messages.ts'
import { notificationsOf, type Output } from '../../src/replica/output.ts'
import {
  compareVersions,
  makeOrigin,
  type Origin,
  type ServerId,
  type Version,
} from '../../src/replica/version.ts'
import type { IncomingLink } from '../../src/server/mesh.ts'
import { beatMs, ServerCore, tickMs } from '../../src/server/server-core.ts'
import type { Store } from '../../src/storage/store.ts'
import { covers, Witness, type View } from './chronicle.ts'
import { PeerAudit } from './peer-audit.ts'
import type { SimulatedDisk } from './simulated-disk.ts'
import { SimulatedLink } from './simulated-link.ts'
import type { PeerConnection } from './simulated-network.ts'
import { SimulatedSession, versionsIn, type ClientEnd } from './simulated-session.ts'
import { UnsavedAudit } from './unsaved-audit.ts'
import type { Asked, World } from './world.ts'

/** Whether, and how, a process keeps what it has. */
export type Durability = 'sync' | 'async' | 'memory'

/**
 * One run of a server's process: the shipped server without its sockets, on the simulated network, disk and time, and
 * with a witness who compares every step with what it has to be.
 */
export class SimulatedProcess {
  readonly id: ServerId
  readonly origin: Origin
  readonly port: number
  readonly world: World
  readonly durability: Durability
  /** Absent where everything is in memory only. */
  readonly disk: SimulatedDisk | undefined
  readonly core: ServerCore
  readonly witness: Witness
  /** What it says to its peers, and has waiting. */
  readonly peerAudit = new PeerAudit(this)
  /** Absent where nothing is shown before it is durable, or nothing ever is durable. */
  readonly unsavedAudit: UnsavedAudit | undefined
  readonly #sessions = new Map<ClientId, SimulatedSession>()
  readonly #incoming = new Map<PeerConnection, IncomingLink>()
  readonly #diskFailed: () => void
  #isAlive = true
  #isStopping = false
  #nextClient: ClientId = 1
  #nextRequest = 1
  /** What is to happen when it goes on; undefined while it runs. */
  #deferred: (() => void)[] | undefined
  #pausedSinceMs = 0
  /** When it last stood still, or its disk was slow. */
  #troubledMs = 0
  /** By how much its clock has moved on within one event, because it is slow. */
  #spentMs = 0
  #lastNowMs = 0

  constructor(
    world: World,
    options: {
      readonly id: ServerId
      readonly incarnation: string
      readonly port: number
      readonly durability: Durability
      readonly disk: SimulatedDisk | undefined
      /** Ports of other servers. */
      readonly peers: readonly number[]
      /** Its disk has failed, and it has ended itself. */
      readonly diskFailed: () => void
    },
  ) {
    const { id, incarnation, port, durability, disk, peers } = options
    this.id = id
    this.port = port
    this.world = world
    this.durability = durability
    this.disk = disk
    this.unsavedAudit = durability === 'async' ? new UnsavedAudit(world) : undefined
    this.#diskFailed = options.diskFailed
    this.origin = makeOrigin({ server: id, incarnation })
    const store = disk?.open(id)
    this.witness = new Witness({
      who: this.origin,
      origin: this.origin,
      chronicle: world.chronicle,
      violations: world.violations,
      view: disk === undefined ? [] : world.durableOf(disk),
    })
    this.core = this.#start(store)
    this.witness.compareAll(this.core.replica)
    this.#observeSteps()
    world.network.listen(port, this)
    this.core.mesh.start(
      { host, port },
      { peers: peers.map((peer) => ({ host, port: peer })), remembered: store?.addresses ?? [] },
    )
    this.#tick()
    this.#beat()
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  get isPaused(): boolean {
    return this.#deferred !== undefined
  }

  /** For how long it has stood still; 0 where it runs. */
  pausedMs(): number {
    return this.isPaused ? this.world.time.nowMs - this.#pausedSinceMs : 0
  }

  /** The servers that it may send to. */
  readonly linksUp = new Set<ServerId>()
  /** The other servers that it knows of. */
  knownServers: readonly ServerId[] = []
  /** What the last tick said. */
  clockMs = 0
  /** By client and number. */
  readonly asked = new Map<number, Asked>()

  /** For how long nothing has kept it from answering. */
  healthyMs(): number {
    const isTroubled = this.isPaused || !this.#isAlive || (this.disk !== undefined && this.disk.slowness > 1)
    return isTroubled ? 0 : this.world.time.nowMs - this.#troubledMs
  }

  /** What a fault would have to destroy, so that what this server has is gone. */
  get copy(): View {
    if (this.durability === 'sync' && this.disk !== undefined) return this.world.durableOf(this.disk)
    return this.witness.view
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Plans something that this process does; it does not come to that once the process has ended. */
  in(delayMs: number, run: () => void): void {
    this.world.time.in(delayMs, () => this.whenRunning(run))
  }

  /** Now, or when the process goes on; never, where it has ended. */
  whenRunning(run: () => void): void {
    if (!this.#isAlive) return
    if (this.#deferred === undefined) run()
    else this.#deferred.push(run)
  }

  pause(): void {
    if (this.#deferred !== undefined) return
    this.#deferred = []
    this.#pausedSinceMs = this.world.time.nowMs
  }

  resume(): void {
    const deferred = this.#deferred
    if (deferred === undefined) return
    this.#deferred = undefined
    this.#troubledMs = this.world.time.nowMs
    for (const run of deferred) this.whenRunning(run)
  }

  /** It takes no more, and stores and releases what has come; then it says goodbye to its peers. */
  async stop(): Promise<void> {
    this.#isStopping = true
    this.world.network.stopListening(this.port, this)
    await this.core.loop.stop()
    if (this.#isAlive) this.core.mesh.stop()
  }

  /** The process ends without a word. */
  crash(options: { readonly keptCommits: number; readonly isMachineGone: boolean }): void {
    if (!this.#isAlive) return
    this.#isAlive = false
    this.world.endedMs.set(this.origin, this.world.time.nowMs)
    this.world.network.stopListening(this.port, this)
    this.disk?.crash(options.keptCommits)
    for (const connection of this.world.network.connections) {
      if (connection.from !== this && connection.to !== this) continue
      if (options.isMachineGone) connection.swallow()
      else connection.breakOff('its process has ended')
    }
    for (const session of this.#sessions.values()) session.lose(options.isMachineGone)
    this.#sessions.clear()
  }

  /**
   * @param options.received how much has come on the connection; undefined where it is closed.
   * @returns whether an answer came in time, or anything else.
   */
  ask(
    timeoutMs: number,
    options: {
      readonly received: () => number | undefined
      readonly send: (answered: () => void) => void
    },
  ): Promise<boolean> {
    const { received, send } = options
    const before = received() ?? 0
    return new Promise((resolve) => {
      const settle = (isAnswered: boolean): void => {
        this.world.time.settleSoon()
        resolve(isAnswered)
      }
      // What has come until then is read first.
      this.in(timeoutMs, () => this.in(0, () => settle((received() ?? 0) > before)))
      send(() => settle(true))
    })
  }

  // ── clients ────────────────────────────────────────────────────────────────────────────────────────────

  connect(client: ClientEnd): SimulatedSession {
    const session = new SimulatedSession({ process: this, number: this.#nextClient++, client })
    this.#sessions.set(session.number, session)
    return session
  }

  /** Of what one step tells and answers a client, the pushes come before an answer that shows the same (R11). */
  expectPushesFirst(output: Output): void {
    for (const { client, result } of output.reply) {
      const shown = versionsIn(result)
      for (const notification of notificationsOf(output)) {
        if (notification.kind !== 'update' || notification.client !== client) continue
        const { version } = notification
        const isShown = shown.some((one) => compareVersions(one, version) === 0)
        if (isShown) this.#sessions.get(client)?.expectBefore(result, notification)
      }
    }
  }

  disconnect(session: SimulatedSession): void {
    if (this.#sessions.delete(session.number))
      this.core.loop.push({ kind: 'clientGone', client: session.number })
  }

  // ── peers ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Somebody has dialled, and says who it is. */
  acceptPeer(
    connection: PeerConnection,
    hello: PeerHelloParams,
    dialler: {
      readonly greeted: (greeting: PeerHelloResult) => void
      readonly refused: (error: ProtocolError) => void
    },
  ): void {
    const { mesh, loop } = this.core
    const incoming: IncomingLink = {
      peer: hello.server,
      origin: hello.origin,
      remoteHost: host,
      ping: async (timeoutMs) =>
        connection.isOpenThere &&
        (await this.ask(timeoutMs, {
          received: () => connection.receivedThere,
          send: (answered) => connection.backward(() => connection.forward(answered)),
        })),
      close: (reason) => {
        if (reason.startsWith('it no longer answers')) this.peerAudit.displaces(incoming)
        connection.closeThere(reason)
      },
    }
    this.world.time.settleSoon()
    mesh.accept(hello, incoming).then(
      () => {
        this.world.time.settleSoon()
        if (!connection.isOpenThere || !this.#isAlive) {
          mesh.incomingClosed(incoming, 'connection closed')
          return
        }
        this.#incoming.set(connection, incoming)
        connection.closedThere = (reason) => {
          if (reason.startsWith('it no longer answers') || reason.startsWith('replaced by')) {
            this.world.sometimes('a half-open connection was replaced')
          }
          this.#incoming.delete(connection)
          mesh.incomingClosed(incoming, reason)
        }
        // The cut that is told is one that is durable, so it comes by way of the loop.
        const client = this.#nextClient++
        const session = new SimulatedSession({
          process: this,
          number: client,
          client: {
            answered: () => {},
            notified: () => {},
            lost: () => {},
            latencyMs: () => 0,
          },
        })
        session.reply = (_, result) => {
          this.#sessions.delete(client)
          this.core.loop.push({ kind: 'clientGone', client })
          if (result.method !== 'hello') throw new Error(`a hello was answered with ${result.method}`)
          this.revealsCut(result.applied, 'its greeting for ', hello.server)
          const greeting: PeerHelloResult = {
            server: this.id,
            origin: this.origin,
            protocol: protocolVersion,
            applied: result.applied,
            members: mesh.members(),
          }
          connection.backward(() => dialler.greeted(greeting))
        }
        this.#sessions.set(client, session)
        loop.push({ kind: 'request', client, id: this.#nextRequest++, request: { method: 'hello' } })
      },
      (error: unknown) => {
        this.world.time.settleSoon()
        if (!(error instanceof ProtocolError)) throw error
        connection.backward(() => dialler.refused(error))
      },
    )
  }

  receive(connection: PeerConnection, message: PeerMessage): void {
    const incoming = this.#incoming.get(connection)
    if (incoming !== undefined) this.core.loop.push({ kind: 'message', from: incoming.peer, message })
  }

  learnMembers(connection: PeerConnection, members: readonly Member[]): void {
    if (this.#incoming.has(connection)) this.core.mesh.learn(members)
  }

  // ── what is looked at ──────────────────────────────────────────────────────────────────────────────────

  /** Something is about to leave for a peer. */
  observeSent(to: ServerId, message: PeerMessage): void {
    this.world.observeSent(this, to, message)
    switch (message.kind) {
      case 'updates':
      case 'page':
        for (const update of message.updates) this.reveals(update, 'an update for ', to)
        return
      case 'cut':
        this.revealsCut(message.entries, 'its cut for ', to)
        return
      case 'pull':
        this.revealsCut(message.applied, 'a pull from ', to)
        return
      case 'snapshot':
        for (const { version } of message.siblings) this.reveals(version, 'a snapshot for ', to)
        for (const { known } of message.rows) this.revealsCut(known, 'a row of a snapshot for ', to)
        if (message.applied !== undefined) this.revealsCut(message.applied, 'the cut of a snapshot for ', to)
        return
      case 'tell':
        for (const version of message.siblings) this.reveals(version, 'an answer for ', to)
        return
      case 'ask':
      case 'link':
    }
  }

  /** As {@link reveals}, for all that a cut names. */
  revealsCut(cut: Cut, where: string, to: string | number): void {
    if (this.disk === undefined) return
    for (const [origin, timestamp] of cut) this.reveals({ origin, timestamp }, where, to)
  }

  /**
   * Something leaves that shows a version: it has to be durable by then, if this process makes anything durable (R6).
   *
   * @param where in what it is shown, before the name of whom it is shown to.
   */
  reveals(version: Version, where: string, to: string | number): void {
    if (this.disk === undefined) return
    const fact = this.world.chronicle.find(version)
    if (fact !== undefined && covers(this.world.durableOf(this.disk), fact)) return
    if (this.durability === 'async') {
      if (fact !== undefined) this.unsavedAudit?.shown(fact, `${where}${to}`)
      return
    }
    const name = `${version.timestamp}@${version.origin}`
    this.world.violations.add(
      'R6',
      `${this.origin} shows ${name} in ${where}${to}, and its disk does not have it`,
    )
  }

  #start(store: Store | undefined): ServerCore {
    const { world } = this
    return new ServerCore({
      configuration: { server: this.id, origin: this.origin, limits: world.limits, timing: world.timing },
      storage:
        store === undefined
          ? undefined
          : {
              store: {
                ...store,
                recover: () => {
                  const recovered = store.recover()
                  world.recovered(recovered)
                  return recovered
                },
              },
              mode: this.durability === 'async' ? 'async' : 'sync',
              checkpointLimits: world.checkpointLimits,
              failed: () => {
                if (!this.#isAlive) return
                world.sometimes('a commit failed, and its process ended')
                world.destroying(() => {
                  this.crash({ keptCommits: 0, isMachineGone: false })
                  this.#diskFailed()
                })
              },
            },
      surroundings: {
        sessionOf: (client) => (this.#isAlive ? this.#sessions.get(client) : undefined),
        broadcast: ({ clients, watch, push }) => {
          if (!this.#isAlive) return
          for (const client of clients) this.#sessions.get(client)?.notify({ client, watch, ...push })
        },
        settle: () => {},
        relieved: () => {},
        sourceRelieved: () => {},
        dial: (options) => new SimulatedLink(options, this),
        idRefused: () => this.#idRefused(),
        tell: (event) => {
          if (event.kind === 'warning' && this.#isAlive) world.observeWarning(this, event.text)
        },
        tellStep: () => {},
        schedule: (run) =>
          this.in(world.random.within(0, world.turnMs), () => {
            this.#spentMs = 0
            run()
          }),
        later: (ms, run) => this.in(ms, run),
        now: () => {
          if (world.faults.isSlow) this.#spentMs += world.random.within(0, 3)
          this.#lastNowMs = Math.max(this.#lastNowMs, world.time.nowMs + this.#spentMs)
          return this.#lastNowMs
        },
      },
    })
  }

  /** Its id is taken, and nobody has ever accepted it: it stops, as a process does. */
  #idRefused(): void {
    this.world.sometimes('a second server with one id stopped')
    this.world.time.in(0, () => this.world.idRefused(this))
  }

  #observeSteps(): void {
    const { replica } = this.core
    const step = replica.step.bind(replica)
    replica.step = (input): Output => {
      const output = step(input)
      if (this.#isAlive) {
        this.witness.step(output, replica)
        this.world.observeStep(this, input, output)
      }
      return output
    }
  }

  #tick(): void {
    if (this.#isStopping) return
    this.core.loop.push({ kind: 'tick', nowMs: Math.round(this.world.time.nowMs) })
    this.in(tickMs, () => this.#tick())
  }

  #beat(): void {
    if (this.#isStopping) return
    this.core.mesh.beat()
    // Nobody has number 0; what is answered is looked at where every step is.
    this.core.loop.push({ kind: 'request', client: 0, id: 0, request: { method: 'status' } })
    if (this.disk !== undefined && this.disk.slowness > 1) this.#troubledMs = this.world.time.nowMs
    for (const connection of this.#incoming.keys()) {
      if (Math.max(connection.silentMs(), connection.from.pausedMs()) > silentLinkMs) {
        connection.closeThere('nothing has come from it any more')
      }
    }
    this.in(beatMs, () => this.#beat())
  }
}

const host = '127.0.0.1'
