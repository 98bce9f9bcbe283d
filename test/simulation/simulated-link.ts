import { parseRpcLine } from '../../src/protocol/json-rpc.ts'
import { nameOfCode, ProtocolError } from '../../src/protocol/errors.ts'
import type { LinkAction } from '../../src/protocol/client-messages.ts'
import {
  checkPeerMessage,
  encodePeerMessage,
  type PeerHelloParams,
  type PeerHelloResult,
} from '../../src/protocol/peer-messages.ts'
import type { Member } from '../../src/protocol/wire-forms.ts'
import type { PeerMessage } from '../../src/replica/messages.ts'
import type { Origin } from '../../src/replica/version.ts'
import {
  connectTimeoutMs,
  greetingTimeoutMs,
  heartbeatMs,
  heartbeatTimeoutMs,
  OutgoingLink,
  RefusedByThem,
  type OutgoingLinkOptions,
  type Wire,
  type WireEvents,
} from '../../src/server/outgoing-link.ts'
import type { PeerConnection } from './simulated-network.ts'
import type { SimulatedProcess } from './simulated-process.ts'

/** The shipped link, over wires of the simulated network; what is sent on it is looked at. */
export class SimulatedLink extends OutgoingLink {
  readonly #process: SimulatedProcess
  readonly #audit: OrderAudit

  constructor(options: OutgoingLinkOptions, process: SimulatedProcess) {
    const { world } = process
    const audit = new OrderAudit()
    super(observed(options, process), {
      dial: ({ port }, events) => new SimulatedWire({ process, port, events, audit }),
      startTimer: (run, delayMs) => {
        let isCancelled = false
        process.in(delayMs, () => {
          if (!isCancelled) run()
        })
        return () => {
          isCancelled = true
        }
      },
      now: () => world.time.nowMs,
      random: () => world.random.within(0, 1),
    })
    this.#process = process
    this.#audit = audit
  }

  override send(message: PeerMessage): void {
    if (!this.#process.isAlive) return
    if (this.peer !== undefined) this.#process.observeSent(this.peer, message)
    if (message.kind === 'updates' && this.linkState.state !== 'cut') this.#audit.sent(message)
    super.send(message)
  }

  override applyAction(action: LinkAction): void {
    super.applyAction(action)
    this.#process.world.gateTold(this.linkState.state)
  }
}

/** What a link tells its mesh, with an eye on it. */
function observed(options: OutgoingLinkOptions, { world, origin }: SimulatedProcess): OutgoingLinkOptions {
  return {
    ...options,
    greeted: async (greeting, isCurrent) => {
      try {
        await options.greeted(greeting, isCurrent)
      } catch (error) {
        if (!(error instanceof ProtocolError))
          world.violations.add('exception', `${origin}: ${String(error)}`)
        throw error
      }
    },
    refused: (refusal) => {
      const { by, error } = refusal
      if (by === 'them' && nameOfCode(error.code) === 'serverIdInUse')
        world.observeIdRefused(origin, error.data.origin as Origin)
      options.refused(refusal)
    },
  }
}

/** What is pushed keeps its order, in a link that a lab plays with too. */
class OrderAudit {
  /** The timestamps of the own updates that are in the link, in the order in which they were pushed. */
  #inLink: number[] = []

  sent({ updates }: Extract<PeerMessage, { kind: 'updates' }>): void {
    for (const { timestamp } of updates) this.#inLink.push(timestamp)
  }

  /** @returns what is wrong, in words. */
  passed(message: PeerMessage): string | undefined {
    if (message.kind !== 'updates') return undefined
    for (const { timestamp } of message.updates) {
      const next = this.#inLink.shift()
      if (timestamp !== next) return `lets update ${timestamp} pass, and ${next} is next`
    }
    return undefined
  }

  /** The connection has ended, and with it what was in the link. */
  reset(): void {
    this.#inLink = []
  }
}

/**
 * One connection that a process has dialled over the simulated network, in place of a socket. It takes the times of one, but for
 * that of a refused connection, which the network takes.
 */
class SimulatedWire implements Wire {
  readonly isProven = true
  readonly #process: SimulatedProcess
  readonly #events: WireEvents
  readonly #audit: OrderAudit
  #connection: PeerConnection | undefined
  #isEnded = false

  constructor(options: {
    readonly process: SimulatedProcess
    readonly port: number
    readonly events: WireEvents
    readonly audit: OrderAudit
  }) {
    const { process, port, events } = options
    this.#process = process
    this.#events = events
    this.#audit = options.audit
    process.in(process.world.random.within(0.2, 3), () => {
      if (!this.#isEnded) this.#connect(port)
    })
  }

  get isOpen(): boolean {
    return this.#connection?.isOpenHere === true
  }

  greet(hello: () => PeerHelloParams): Promise<PeerHelloResult> {
    const connection = this.#connection as PeerConnection
    const { time } = this.#process.world
    const params = hello()
    return new Promise((resolve, reject) => {
      this.#process.in(greetingTimeoutMs, () => {
        time.settleSoon()
        reject(new Error('no answer'))
      })
      connection.forward(() => {
        connection.to.acceptPeer(connection, params, {
          greeted: (greeting) => {
            time.settleSoon()
            resolve(greeting)
          },
          refused: (error) => {
            time.settleSoon()
            reject(new RefusedByThem(error))
          },
        })
      })
    })
  }

  /** What a heartbeat finds: a connection through which nothing comes any more, and a process that has stopped. */
  watchOver(): void {
    this.#process.in(heartbeatMs, () => {
      const connection = this.#connection
      if (connection?.isOpenHere !== true) return
      if (Math.max(connection.silentMs(), connection.to.pausedMs()) > heartbeatTimeoutMs) {
        this.destroy('it no longer answers')
      } else {
        this.watchOver()
      }
    })
  }

  send(message: PeerMessage): void {
    const connection = this.#connection
    if (connection === undefined) return
    const { isOnWire, network, violations } = this.#process.world
    const fault = this.#audit.passed(message)
    if (fault !== undefined) violations.add('R8', `the link from ${this.#process.origin} ${fault}`)
    const text = isOnWire ? encodePeerMessage(message) : undefined
    const arrive = (): void => {
      const messages = text === undefined ? [message] : decoded(text)
      for (const frame of messages) connection.to.receive(connection, frame)
    }
    connection.forward(arrive)
    if (network.isDuplicated()) connection.forward(arrive)
  }

  sendMembers(members: readonly Member[]): void {
    const connection = this.#connection
    connection?.forward(() => connection.to.learnMembers(connection, members))
  }

  flush(): void {}

  async ping(timeoutMs: number): Promise<boolean> {
    const connection = this.#connection
    if (connection === undefined) return false
    return await this.#process.ask(timeoutMs, {
      received: () => connection.receivedHere,
      send: (answered) => connection.forward(() => connection.backward(answered)),
    })
  }

  end(reason: string): void {
    this.#isEnded = true
    this.#audit.reset()
    this.#connection?.closeHere(reason)
  }

  destroy(reason: string): void {
    this.#connection?.closeHere(reason)
  }

  #connect(port: number): void {
    const connection = this.#process.world.network.connect(this.#process, port)
    if (connection === 'refused') this.#events.unreached('connection refused')
    else if (connection === 'unanswered') {
      this.#process.in(connectTimeoutMs, () => this.#events.unreached('no answer'))
    } else {
      this.#connection = connection
      connection.closedHere = this.#events.closed
      this.#events.connected()
    }
  }
}

/** The frames of a text: a long message has several. */
function decoded(text: string): readonly PeerMessage[] {
  return text.trimEnd().split('\n').map(decodedFrame)
}

function decodedFrame(text: string): PeerMessage {
  const line = parseRpcLine(text, { sender: 'peer' })
  if (line.isBatch || line.message.kind !== 'notification') throw new Error(`no notification: ${text}`)
  const call = checkPeerMessage(line.message.method, line.message.params)
  if (call.kind === 'hello' || call.kind === 'members' || call.kind === 'ping')
    throw new Error(`no message: ${text}`)
  return call
}
