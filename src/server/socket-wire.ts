import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { showAddress, type Address } from '../protocol/address.ts'
import { makeNonce, proofMatches, proofOf } from '../protocol/authentication.ts'
import { connectionFault } from '../protocol/connection-fault.ts'
import { ProtocolError, protocolError } from '../protocol/errors.ts'
import { encodeError, encodeResponse, parseRpcLine } from '../protocol/json-rpc.ts'
import { peerLineBytesMax, peerOutboxBytesMax } from '../protocol/limits.ts'
import {
  checkChallengeResult,
  checkPeerHelloResult,
  encodeMembers,
  encodePeerMessage,
  type PeerHelloParams,
  type PeerHelloResult,
} from '../protocol/peer-messages.ts'
import type { Member } from '../protocol/wire-forms.ts'
import type { PeerMessage } from '../replica/messages.ts'
import { Calls } from './calls.ts'
import { Connection } from './connection.ts'
import {
  connectTimeoutMs,
  greetingTimeoutMs,
  heartbeatMs,
  heartbeatTimeoutMs,
  RefusedByThem,
  type LinkSurroundings,
  type Wire,
  type WireEvents,
} from './outgoing-link.ts'

/** What the links of a process are made of. @param secret that both sides have to know, if there is one. */
export function socketSurroundings(secret: string | undefined): LinkSurroundings {
  return {
    dial: (address, events) => new SocketWire(address, { events, secret }),
    startTimer: (run, delayMs) => {
      const timer = setTimeout(run, delayMs).unref()
      return () => clearTimeout(timer)
    },
    now: () => performance.now(),
    random: () => Math.random(),
  }
}

/** A socket that this server has dialled. A heartbeat finds out when it has died without a word. */
class SocketWire implements Wire {
  readonly #address: Address
  readonly #secret: string | undefined
  readonly #socket: Socket
  /** Undefined until the socket is connected. */
  #conversation: Conversation | undefined
  #heartbeat: NodeJS.Timeout | undefined
  #isProven: boolean
  #isEnded = false

  constructor(
    address: Address,
    options: { readonly events: WireEvents; readonly secret: string | undefined },
  ) {
    const { events, secret } = options
    this.#address = address
    this.#secret = secret
    this.#isProven = secret === undefined
    const socket = connect({ host: address.host, port: address.port })
    this.#socket = socket
    const giveUp = setTimeout(() => socket.destroy(new Error('no answer')), connectTimeoutMs)
    socket.once('close', () => clearTimeout(giveUp))
    socket.once('connect', () => {
      clearTimeout(giveUp)
      if (this.#isEnded) return
      this.#conversation = this.#converse(events)
      events.connected()
    })
    socket.on('error', (error) => {
      if (this.#conversation === undefined) events.unreached(connectionFault(error))
    })
  }

  get isOpen(): boolean {
    return this.#conversation?.connection.isOpen === true
  }

  get isProven(): boolean {
    return this.#isProven
  }

  async greet(hello: () => PeerHelloParams): Promise<PeerHelloResult> {
    const token = await this.#prove()
    this.#isProven = true
    return checkPeerHelloResult(
      await this.#ask('peer.hello', { ...hello(), ...(token === undefined ? {} : { token }) }),
    )
  }

  watchOver(): void {
    this.#heartbeat ??= setInterval(() => this.#beat(), heartbeatMs)
  }

  send(message: PeerMessage): void {
    this.#conversation?.connection.send(encodePeerMessage(message))
  }

  sendMembers(members: readonly Member[]): void {
    this.#conversation?.connection.send(encodeMembers(members))
  }

  flush(): void {
    this.#conversation?.connection.flush()
  }

  async ping(timeoutMs: number): Promise<boolean> {
    return (await this.#conversation?.calls.ping(timeoutMs)) ?? false
  }

  end(reason: string): void {
    this.#isEnded = true
    clearInterval(this.#heartbeat)
    this.#conversation?.calls.abandon(reason)
    if (this.#conversation === undefined) this.#socket.destroy()
    else this.#conversation.connection.end(undefined, reason)
  }

  destroy(reason: string): void {
    this.#conversation?.connection.destroy(reason)
  }

  #converse(events: WireEvents): Conversation {
    const calls = new Calls({
      send: (line) => {
        connection.send(line)
        connection.flush()
      },
      received: () => connection.bytesReceived,
    })
    const connection = new Connection(this.#socket, {
      limits: {
        lineBytesMax: peerLineBytesMax,
        // The replica bounds what is on its way; this is the net below it.
        stalledBytes: peerOutboxBytesMax,
        outboxBytesMax: peerOutboxBytesMax,
      },
      events: {
        line: (line) => this.#read(line.text, events, { connection, calls }),
        unreadable: (error) => connection.destroy(error.message),
        ended: () => {
          connection.end(undefined, 'connection closed')
          events.closed('connection closed')
        },
        stalled: () => {},
        drained: () => {},
        closed: (reason) => {
          calls.abandon(reason)
          events.closed(reason)
        },
      },
    })
    connection.trust(peerLineBytesMax)
    return { connection, calls }
  }

  /** What the other side says on this connection: answers, now and then a ping, and why it closes. */
  #read(text: string, events: WireEvents, { connection, calls }: Conversation): void {
    const line = parseRpcLine(text, { sender: 'peer' })
    for (const message of line.isBatch ? line.messages : [line.message]) {
      if (message.kind === 'response' && message.id === null && 'error' in message.outcome) {
        const { error } = message.outcome
        connection.end(undefined, error.message)
        events.dismissed(error)
      } else if (message.kind === 'response') {
        calls.settle(message)
      } else if (message.kind === 'request') {
        const unknown = protocolError('unknownMethod', 'only peer.ping is answered in this direction')
        connection.send(
          message.method === 'peer.ping' ? encodeResponse(message.id, {}) : encodeError(unknown, message.id),
        )
        connection.flush()
      }
    }
  }

  /** Shows that both sides know the secret, before anything else is said. @returns this side's proof. */
  async #prove(): Promise<string | undefined> {
    const secret = this.#secret
    if (secret === undefined) return undefined
    const nonce = makeNonce()
    const answer = checkChallengeResult(await this.#ask('challenge', { nonce }))
    const nonces = { caller: nonce, responder: answer.nonce }
    if (!proofMatches(answer.proof, { secret, role: 'server', nonces })) {
      throw protocolError('notAuthorised', `${showAddress(this.#address)} does not know this mesh's secret`)
    }
    return proofOf({ secret, role: 'peer', nonces })
  }

  async #ask(method: string, params: object): Promise<unknown> {
    try {
      return await this.#conversation?.calls.call(method, params, greetingTimeoutMs)
    } catch (error) {
      throw error instanceof ProtocolError ? new RefusedByThem(error) : error
    }
  }

  /** Only silence ends a link: a slow one may take long to bring an answer, while what was sent before it moves. */
  #beat(): void {
    if (this.#conversation === undefined) return
    const { connection, calls } = this.#conversation
    if (connection.idleMs() > heartbeatTimeoutMs) connection.destroy('it no longer answers')
    else if (!connection.hasUnsent) void calls.ping(heartbeatTimeoutMs)
  }
}

interface Conversation {
  readonly connection: Connection
  readonly calls: Calls
}
