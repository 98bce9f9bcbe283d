import type { LinkAction } from '../../src/protocol/client-messages.ts'
import {
  encodePeerMessage,
  checkPeerMessage,
  type PeerHelloResult,
} from '../../src/protocol/peer-messages.ts'
import { parseRpcLine } from '../../src/protocol/json-rpc.ts'
import { nameOfCode, ProtocolError } from '../../src/protocol/errors.ts'
import type { Member } from '../../src/protocol/wire-forms.ts'
import type { Address } from '../../src/protocol/address.ts'
import type { LinkState, PeerMessage } from '../../src/replica/messages.ts'
import type { Origin, ServerId } from '../../src/replica/version.ts'
import { LinkGate } from '../../src/server/link-gate.ts'
import type { LinkFactory, MeshLink } from '../../src/server/mesh.ts'
import type { OutgoingLinkState, Refusal } from '../../src/server/outgoing-link.ts'
import type { PeerConnection } from './simulated-network.ts'
import type { SimulatedProcess } from './simulated-process.ts'

/**
 * What stands in for the sockets of an outgoing link: dials over the simulated network, greets, sends through the shipped
 * gate, and dials again. Who is admitted, refused or forgotten the shipped mesh decides, as it does in a process.
 */
export class SimulatedLink implements MeshLink {
  readonly #options: Parameters<LinkFactory>[0]
  readonly #process: SimulatedProcess
  readonly #gate: LinkGate
  #connection: PeerConnection | undefined
  #admitted: PeerHelloResult | undefined
  #state: OutgoingLinkState = 'idle'
  #failures = 0
  #toldRefusal = ''
  /** Rises whenever what was planned before must no longer happen. */
  #generation = 0
  /** The timestamps of the own updates that are in the gate, in the order in which they were pushed. */
  #inGate: number[] = []

  constructor(options: Parameters<LinkFactory>[0], process: SimulatedProcess) {
    this.#options = options
    this.#process = process
    this.#gate = new LinkGate({
      pass: (message) => this.#pass(message),
      startTimer: (run, delayMs) => process.in(delayMs, run),
    })
  }

  get address(): Address {
    return this.#options.entry.address
  }

  get peer(): ServerId | undefined {
    return this.#admitted?.server
  }

  get knownId(): ServerId | undefined {
    return this.#admitted?.server ?? this.#options.entry.id
  }

  get origin(): Origin | undefined {
    return this.#admitted?.origin
  }

  get state(): OutgoingLinkState {
    return this.#state
  }

  get stateText(): string {
    return this.#state
  }

  get linkState(): LinkState {
    return this.#gate.state
  }

  start(): void {
    this.#dial()
  }

  stop(): void {
    this.#rest('stopped', 'shutting down')
  }

  standBy(): void {
    this.#rest('standby', 'linked to under another address')
  }

  dialSoon(): void {
    if (this.#state === 'waiting to retry' || this.#state === 'refused' || this.#state === 'standby')
      this.#dial()
  }

  disconnect(reason: string): void {
    if (this.#connection === undefined) return
    this.#end(reason)
    this.#retryLater()
  }

  identify(server: ServerId): void {
    this.#options.entry.id = server
    this.#options.entry.isProven = true
  }

  admit(greeting: PeerHelloResult): void {
    this.#admitted = greeting
    this.#state = 'connected'
  }

  send(message: PeerMessage): void {
    if (!this.#process.isAlive) return
    if (this.#admitted !== undefined) this.#process.observeSent(this.#admitted.server, message)
    if (message.kind === 'updates' && this.#gate.state.state !== 'cut')
      for (const { timestamp } of message.updates) this.#inGate.push(timestamp)
    this.#gate.send(message)
  }

  sendMembers(members: readonly Member[]): void {
    const connection = this.#connection
    connection?.forward(() => connection.to.learnMembers(connection, members))
  }

  flush(): void {}

  async ping(timeoutMs: number): Promise<boolean> {
    const connection = this.#connection
    if (connection === undefined) return false
    return await this.#process.ask(timeoutMs, (answered) =>
      connection.forward(() => connection.backward(answered)),
    )
  }

  applyAction(action: LinkAction): void {
    const wasCut = this.#gate.state.state === 'cut'
    this.#gate.apply(action)
    const isCut = this.#gate.state.state === 'cut'
    if (isCut && !wasCut) this.#rest('cut', 'cut by the lab')
    else if (wasCut && !isCut) this.#dial()
  }

  #pass(message: PeerMessage): void {
    const connection = this.#connection
    if (connection === undefined) return
    if (message.kind === 'link') this.#process.world.gateTold(message.state.state)
    this.#observeOrder(message)
    const { isOnWire, network } = this.#process.world
    const text = isOnWire ? encodePeerMessage(message) : undefined
    const arrive = (): void => connection.to.receive(connection, text === undefined ? message : decoded(text))
    connection.forward(arrive)
    if (network.isDuplicated()) connection.forward(arrive)
  }

  /** What is pushed keeps its order, in a link that a lab plays with too. */
  #observeOrder(message: PeerMessage): void {
    if (message.kind !== 'updates') return
    for (const { timestamp } of message.updates) {
      const next = this.#inGate.shift()
      if (timestamp === next) continue
      const link = `the link from ${this.#process.origin} to ${this.peer}`
      this.#process.world.violations.add('R8', `${link} lets update ${timestamp} pass, and ${next} is next`)
    }
  }

  #dial(): void {
    this.#end('dialled anew')
    this.#state = 'connecting'
    const generation = ++this.#generation
    this.#process.in(this.#process.world.random.within(0.2, 3), () => {
      if (generation !== this.#generation) return
      const connection = this.#process.world.network.connect(this.#process, this.address.port)
      if (connection === 'refused') this.#retryLater()
      else if (connection === 'unanswered') {
        this.#process.in(connectTimeoutMs, () => {
          if (generation === this.#generation) this.#retryLater()
        })
      } else this.#greet(connection)
    })
  }

  #greet(connection: PeerConnection): void {
    this.#connection = connection
    const isCurrent = (): boolean => connection === this.#connection && connection.isOpenHere
    connection.closedHere = (reason) => {
      if (connection !== this.#connection) return
      this.#end(reason)
      this.#retryLater()
    }
    const hello = this.#options.hello()
    this.#process.in(greetingTimeoutMs, () => {
      if (isCurrent() && this.#admitted === undefined) connection.closeHere('no answer')
    })
    connection.forward(() => {
      connection.to.acceptPeer(connection, hello, {
        greeted: (greeting) => {
          if (isCurrent()) void this.#greeted(connection, greeting, isCurrent)
        },
        refused: (error) => {
          if (!isCurrent()) return
          this.#refused('them', error)
          connection.closeHere(error.message)
        },
      })
    })
  }

  async #greeted(
    connection: PeerConnection,
    greeting: PeerHelloResult,
    isCurrent: () => boolean,
  ): Promise<void> {
    this.#process.world.time.settleSoon()
    try {
      await this.#options.greeted(greeting, isCurrent)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      if (!isCurrent()) return
      this.#refused('us', error)
      connection.closeHere(error.message)
      return
    }
    if (isCurrent() && this.#admitted !== undefined) this.#beat(connection)
  }

  /** What a heartbeat finds: a connection through which nothing comes any more, and a process that has stopped. */
  #beat(connection: PeerConnection): void {
    this.#process.in(heartbeatMs, () => {
      if (connection !== this.#connection || !connection.isOpenHere) return
      if (Math.max(connection.silentMs(), connection.to.pausedMs()) > heartbeatTimeoutMs) {
        connection.closeHere('it no longer answers')
      } else {
        this.#beat(connection)
      }
    })
  }

  #refused(by: Refusal['by'], error: ProtocolError): void {
    this.#state = 'refused'
    const isNew = this.#toldRefusal !== error.message
    this.#toldRefusal = error.message
    if (by === 'them' && nameOfCode(error.code) === 'serverIdInUse')
      this.#process.world.observeIdRefused(this.#process, error.data.origin as Origin)
    this.#options.refused({ by, error, isNew })
  }

  #rest(state: 'cut' | 'standby' | 'stopped', reason: string): void {
    this.#generation++
    this.#state = state
    this.#end(reason)
  }

  #end(reason: string): void {
    const connection = this.#connection
    if (connection === undefined) return
    this.#connection = undefined
    this.#inGate = []
    connection.closeHere(reason)
    this.#gate.reset()
    if (this.#admitted === undefined) return
    this.#failures = 0
    this.#options.closed(reason)
    this.#admitted = undefined
  }

  #retryLater(): void {
    if (this.#state === 'stopped' || this.#state === 'cut' || this.#state === 'standby') return
    if (this.#state !== 'refused') this.#state = 'waiting to retry'
    const backoffMs = Math.min(retryMsMax, retryMsMin * 2 ** this.#failures++)
    const generation = ++this.#generation
    this.#process.in(backoffMs * this.#process.world.random.within(0.5, 1), () => {
      if (generation === this.#generation) this.#dial()
    })
  }
}

function decoded(text: string): PeerMessage {
  const line = parseRpcLine(text.trimEnd(), { sender: 'server' })
  if (line.isBatch || line.message.kind !== 'notification') throw new Error(`no notification: ${text}`)
  const call = checkPeerMessage(line.message.method, line.message.params)
  if (call.kind === 'hello' || call.kind === 'members' || call.kind === 'ping')
    throw new Error(`no message: ${text}`)
  return call
}

/** As in a process, but for the time of a refused connection, which the network takes. */
const connectTimeoutMs = 3_000
const greetingTimeoutMs = 5_000
const heartbeatMs = 1_000
const heartbeatTimeoutMs = 5_000
const retryMsMin = 100
const retryMsMax = 2_000
