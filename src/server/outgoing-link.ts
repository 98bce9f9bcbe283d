import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { showAddress, type Address } from '../protocol/address.ts'
import type { LinkAction } from '../protocol/client-messages.ts'
import { makeNonce, proofMatches, proofOf } from '../protocol/authentication.ts'
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
import type { LinkState, PeerMessage } from '../replica/messages.ts'
import type { Origin, ServerId } from '../replica/version.ts'
import type { Member } from '../protocol/wire-forms.ts'
import type { BookEntry } from './address-book.ts'
import { Calls } from './calls.ts'
import { Connection } from './connection.ts'
import { LinkGate } from './link-gate.ts'

/**
 * This server's link to one address: dials it until it answers, again whenever the connection breaks, and sends
 * on it. A heartbeat finds connections that have died without a word.
 */
export class OutgoingLink {
  readonly #entry: BookEntry
  readonly #options: OutgoingLinkOptions
  readonly #gate: LinkGate
  #connection: Connection | undefined
  #calls: Calls | undefined
  #admitted: PeerHelloResult | undefined
  #state: 'idle' | 'connecting' | 'connected' | 'waiting to retry' | 'refused' | 'cut' | 'stopped' = 'idle'
  #unsent: Extract<PeerMessage, { kind: 'updates' }>[] = []
  #failures = 0
  #admittedMs = 0
  #retryTimer: NodeJS.Timeout | undefined
  #heartbeat: NodeJS.Timeout | undefined

  constructor(options: OutgoingLinkOptions) {
    this.#entry = options.entry
    this.#options = options
    this.#gate = new LinkGate({
      pass: (message) => this.#connection?.send(encodePeerMessage(message)),
      startTimer: (run, delayMs) => {
        setTimeout(() => {
          run()
          this.flush()
        }, delayMs).unref()
      },
    })
  }

  get address(): Address {
    return this.#entry.address
  }

  /** Who it is connected to. */
  get peer(): ServerId | undefined {
    return this.#admitted?.server
  }

  /** Who it was last connected to, or is said to lead to. */
  get knownId(): ServerId | undefined {
    return this.#entry.id
  }

  get origin(): Origin | undefined {
    return this.#admitted?.origin
  }

  get state(): string {
    return this.#state
  }

  get isOpen(): boolean {
    return this.#connection?.isOpen === true && this.#state !== 'stopped'
  }

  get linkState(): LinkState {
    return this.#gate.state
  }

  start(): void {
    this.#dial()
  }

  /** Ends the link for good. */
  stop(): void {
    this.#state = 'stopped'
    clearTimeout(this.#retryTimer)
    this.disconnect('shutting down')
  }

  /** Dials at once, where the next attempt would otherwise be later. */
  dialSoon(): void {
    if (this.#state !== 'waiting to retry') return
    clearTimeout(this.#retryTimer)
    this.#dial()
  }

  disconnect(reason: string): void {
    this.#connection?.end(undefined, reason)
  }

  /** The mesh takes this link into use. */
  admit(greeting: PeerHelloResult): void {
    this.#admitted = greeting
    this.#entry.id = greeting.server
    this.#state = 'connected'
    this.#admittedMs = performance.now()
  }

  /** Sends at {@link flush} at the latest. Updates of one turn share a frame, which costs its reader one parse. */
  send(message: PeerMessage): void {
    if (message.kind === 'updates') {
      this.#unsent.push(message)
      return
    }
    this.#sendUpdates()
    this.#gate.send(message)
  }

  sendMembers(members: readonly Member[]): void {
    this.#connection?.send(encodeMembers(members))
  }

  flush(): void {
    this.#sendUpdates()
    this.#connection?.flush()
  }

  async ping(timeoutMs: number): Promise<boolean> {
    return (await this.#calls?.ping(timeoutMs)) ?? false
  }

  applyAction(action: LinkAction): void {
    const wasCut = this.#gate.state.state === 'cut'
    this.#gate.apply(action)
    this.flush()
    const isCut = this.#gate.state.state === 'cut'
    if (isCut && !wasCut) {
      clearTimeout(this.#retryTimer)
      this.disconnect('cut by the lab')
      this.#state = 'cut'
    } else if (wasCut && !isCut) {
      this.#dial()
    }
  }

  #sendUpdates(): void {
    const messages = this.#unsent
    if (messages.length === 0) return
    this.#unsent = []
    this.#gate.send({
      kind: 'updates',
      updates: messages.flatMap(({ updates }) => updates),
      bytes: messages.reduce((sum, { bytes }) => sum + bytes, 0),
    })
  }

  #dial(): void {
    this.#state = 'connecting'
    const socket = connect({ host: this.address.host, port: this.address.port })
    const giveUp = setTimeout(() => socket.destroy(new Error('no answer')), connectTimeoutMs)
    let isConnected = false
    socket.once('connect', () => {
      isConnected = true
      clearTimeout(giveUp)
      this.#converse(socket)
    })
    socket.on('error', (error) => {
      clearTimeout(giveUp)
      if (!isConnected) this.#retryLater(error.message)
    })
  }

  #converse(socket: Socket): void {
    if (this.#state !== 'connecting') {
      socket.destroy()
      return
    }
    const calls = new Calls((line) => {
      connection.send(line)
      connection.flush()
    })
    const connection = new Connection(socket, {
      limits: {
        lineBytesMax: peerLineBytesMax,
        // The replica bounds what is on its way; this is the net below it.
        stalledBytes: peerOutboxBytesMax,
        outboxBytesMax: peerOutboxBytesMax,
      },
      events: {
        line: (line) => this.#read(line.text, connection, calls),
        unreadable: (error) => connection.destroy(error.message),
        ended: () => connection.end(undefined, 'connection closed'),
        stalled: () => {},
        drained: () => {},
        closed: (reason) => this.#closed(reason),
      },
    })
    this.#connection = connection
    this.#calls = calls
    this.#greet(calls).catch((error: unknown) => {
      if (error instanceof ProtocolError) {
        this.#state = 'refused'
        this.#options.refused(error)
      }
      connection.destroy(error instanceof Error ? error.message : String(error))
    })
  }

  /** What the other side says on this connection: answers, and now and then a ping. */
  #read(text: string, connection: Connection, calls: Calls): void {
    const line = parseRpcLine(text, { sender: 'server' })
    for (const message of line.isBatch ? line.messages : [line.message]) {
      if (message.kind === 'response') calls.settle(message)
      if (message.kind === 'request') {
        const unknown = protocolError('unknownMethod', 'only peer.ping is answered in this direction')
        connection.send(
          message.method === 'peer.ping' ? encodeResponse(message.id, {}) : encodeError(unknown, message.id),
        )
        connection.flush()
      }
    }
  }

  async #greet(calls: Calls): Promise<void> {
    const token = await this.#prove(calls)
    const hello = { ...this.#options.hello(), ...(token === undefined ? {} : { token }) }
    const greeting = checkPeerHelloResult(await calls.call('peer.hello', hello, greetingTimeoutMs))
    await this.#options.greeted(greeting)
    if (this.#admitted === undefined) return
    this.#heartbeat = setInterval(() => void this.#beat(), heartbeatMs)
  }

  /** Shows that both sides know the secret, before anything else is said. @returns this side's proof. */
  async #prove(calls: Calls): Promise<string | undefined> {
    const { secret } = this.#options
    if (secret === undefined) return undefined
    const nonce = makeNonce()
    const answer = checkChallengeResult(await calls.call('challenge', { nonce }, greetingTimeoutMs))
    const nonces = { caller: nonce, responder: answer.nonce }
    if (!proofMatches(answer.proof, { secret, role: 'server', nonces })) {
      throw protocolError('notAuthorised', `${showAddress(this.address)} does not know this mesh's secret`)
    }
    return proofOf({ secret, role: 'peer', nonces })
  }

  async #beat(): Promise<void> {
    const connection = this.#connection
    if (!(await this.ping(heartbeatTimeoutMs))) connection?.destroy('it no longer answers')
  }

  #closed(reason: string): void {
    clearInterval(this.#heartbeat)
    this.#calls?.abandon(reason)
    this.#connection = undefined
    this.#calls = undefined
    this.#unsent = []
    this.#gate.reset()
    if (this.#admitted !== undefined) {
      // A link that breaks as soon as it is up is a failure too, and is not dialled ten times a second.
      if (performance.now() - this.#admittedMs > stableMs) this.#failures = 0
      this.#options.closed(reason)
    }
    this.#admitted = undefined
    if (this.#state !== 'cut' && this.#state !== 'stopped') this.#retryLater(reason)
  }

  #retryLater(_reason: string): void {
    if (this.#state === 'stopped' || this.#state === 'cut') return
    if (this.#state !== 'refused') this.#state = 'waiting to retry'
    const backoffMs = Math.min(retryMsMax, retryMsMin * 2 ** this.#failures++)
    // Half of it at random, so that servers that lost each other at once do not dial in step.
    this.#retryTimer = setTimeout(() => this.#dial(), backoffMs * (0.5 + Math.random() / 2))
  }
}

export interface OutgoingLinkOptions {
  readonly entry: BookEntry
  /** What this server says of itself; asked for anew at every dialling. */
  readonly hello: () => PeerHelloParams
  /** Decides whether to admit the other side. May throw a ProtocolError, which closes the connection. */
  readonly greeted: (greeting: PeerHelloResult) => Promise<void>
  /** An admitted link has closed; it is dialled again. */
  readonly closed: (reason: string) => void
  readonly refused: (error: ProtocolError) => void
  readonly secret?: string | undefined
}

const connectTimeoutMs = 3_000
const greetingTimeoutMs = 5_000
const heartbeatMs = 1_000
/** Long enough for a busy server on a busy machine; a server that is stopped for longer is gone for now. */
const heartbeatTimeoutMs = 5_000
const retryMsMin = 100
/** A link that has lived this long was a good one. */
const stableMs = 5_000
/** Servers are started by hand, one after the other: nobody should wait long for the last to be found. */
const retryMsMax = 2_000
