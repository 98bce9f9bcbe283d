import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { showAddress, type Address } from '../protocol/address.ts'
import type { LinkAction } from '../protocol/client-messages.ts'
import { connectionFault } from '../protocol/connection-fault.ts'
import { makeNonce, proofMatches, proofOf } from '../protocol/authentication.ts'
import { nameOfCode, ProtocolError, protocolError } from '../protocol/errors.ts'
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
 *
 * Each connection is an {@link Attempt}. At most one is current; what another one still reports is not listened to.
 */
export class OutgoingLink {
  readonly #entry: BookEntry
  readonly #options: OutgoingLinkOptions
  readonly #gate: LinkGate
  #attempt: Attempt | undefined
  #admitted: PeerHelloResult | undefined
  #state: OutgoingLinkState = 'idle'
  /** Why the last attempt failed. */
  #failure = ''
  /** What the operator was told last; the same is not told again at every attempt. */
  #toldRefusal = ''
  /** As `#toldRefusal`, why the address cannot be reached. */
  #toldUnreached = ''
  #unsent: Extract<PeerMessage, { kind: 'updates' }>[] = []
  #failures = 0
  #admittedMs: number | undefined
  #retryTimer: NodeJS.Timeout | undefined

  constructor(options: OutgoingLinkOptions) {
    this.#entry = options.entry
    this.#options = options
    this.#gate = new LinkGate({
      pass: (message) => this.#attempt?.connection?.send(encodePeerMessage(message)),
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

  /** Who it is or was last connected to, or is said to lead to. */
  get knownId(): ServerId | undefined {
    return this.#admitted?.server ?? this.#entry.id
  }

  get origin(): Origin | undefined {
    return this.#admitted?.origin
  }

  get state(): OutgoingLinkState {
    return this.#state
  }

  /** The state in words, with the reason where the address cannot be reached: `waiting to retry (connection refused)`. */
  get stateText(): string {
    const isFailing = this.#state === 'waiting to retry' || this.#state === 'refused'
    return isFailing && this.#failure !== '' ? `${this.#state} (${this.#failure})` : this.#state
  }

  get linkState(): LinkState {
    return this.#gate.state
  }

  start(): void {
    this.#dial()
  }

  /** Ends the link for good. */
  stop(): void {
    this.#rest('stopped', 'shutting down')
  }

  /** Its server is linked to under another address: this one is not dialled until {@link dialSoon}. */
  standBy(): void {
    this.#rest('standby', 'linked to under another address')
  }

  /** Dials at once, where the next attempt would otherwise be later. */
  dialSoon(): void {
    if (this.#state === 'waiting to retry' || this.#state === 'refused' || this.#state === 'standby')
      this.#dial()
  }

  /** Gives up the connection, and dials again later. */
  disconnect(reason: string): void {
    if (this.#attempt === undefined) return
    this.#end(reason)
    this.#retryLater(reason)
  }

  /** Who has answered at this address. */
  identify(server: ServerId): void {
    this.#entry.id = server
    this.#entry.isProven = true
  }

  /** The mesh takes this link into use. */
  admit(greeting: PeerHelloResult): void {
    this.#admitted = greeting
    this.#state = 'connected'
    this.#admittedMs = performance.now()
    this.#toldUnreached = ''
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
    this.#attempt?.connection?.send(encodeMembers(members))
  }

  flush(): void {
    this.#sendUpdates()
    this.#attempt?.connection?.flush()
  }

  async ping(timeoutMs: number): Promise<boolean> {
    return (await this.#attempt?.calls?.ping(timeoutMs)) ?? false
  }

  applyAction(action: LinkAction): void {
    const wasCut = this.#gate.state.state === 'cut'
    // What was sent before the action is in the link before it.
    this.#sendUpdates()
    this.#gate.apply(action)
    this.flush()
    const isCut = this.#gate.state.state === 'cut'
    if (isCut && !wasCut) this.#rest('cut', 'cut by the lab')
    else if (wasCut && !isCut) this.#dial()
  }

  #sendUpdates(): void {
    const messages = this.#unsent
    if (messages.length === 0) return
    this.#unsent = []
    this.#gate.send({
      kind: 'updates',
      updates: messages.flatMap(({ updates }) => updates),
    })
  }

  #dial(): void {
    this.#end('dialled anew')
    clearTimeout(this.#retryTimer)
    this.#state = 'connecting'
    const socket = connect({ host: this.address.host, port: this.address.port })
    const giveUp = setTimeout(() => socket.destroy(new Error('no answer')), connectTimeoutMs)
    const attempt: Attempt = {
      socket,
      connection: undefined,
      calls: undefined,
      heartbeat: undefined,
      isProven: this.#options.secret === undefined,
    }
    this.#attempt = attempt
    socket.once('close', () => clearTimeout(giveUp))
    socket.once('connect', () => {
      clearTimeout(giveUp)
      if (attempt === this.#attempt) this.#converse(attempt)
    })
    socket.on('error', (error) => {
      if (attempt.connection !== undefined) return
      if (attempt === this.#attempt) this.#tellUnreached(connectionFault(error))
      this.#lost(attempt, connectionFault(error))
    })
  }

  #converse(attempt: Attempt): void {
    const calls = new Calls((line) => {
      connection.send(line)
      connection.flush()
    })
    const connection = new Connection(attempt.socket, {
      limits: {
        lineBytesMax: peerLineBytesMax,
        // The replica bounds what is on its way; this is the net below it.
        stalledBytes: peerOutboxBytesMax,
        outboxBytesMax: peerOutboxBytesMax,
      },
      events: {
        line: (line) => this.#read(line.text, attempt, { connection, calls }),
        unreadable: (error) => connection.destroy(error.message),
        ended: () => {
          connection.end(undefined, 'connection closed')
          this.#lost(attempt, 'connection closed')
        },
        stalled: () => {},
        drained: () => {},
        closed: (reason) => this.#lost(attempt, reason),
      },
    })
    attempt.connection = connection
    attempt.calls = calls
    this.#greet(attempt, { connection, calls }).catch((error: unknown) => {
      if (attempt !== this.#attempt) return
      const reason = error instanceof Error ? error.message : String(error)
      if (error instanceof RefusedByThem) this.#refusedByThem(attempt, error.answer)
      else if (error instanceof ProtocolError) this.#refused('us', error)
      connection.destroy(reason)
    })
  }

  /** What the other side says on this connection: answers, now and then a ping, and why it closes. */
  #read(text: string, attempt: Attempt, { connection, calls }: Conversation): void {
    const line = parseRpcLine(text, { sender: 'server' })
    for (const message of line.isBatch ? line.messages : [line.message]) {
      if (message.kind === 'response' && message.id === null && 'error' in message.outcome) {
        this.#dismissed(attempt, connection, message.outcome.error)
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

  /** An error that answers nothing is the other side's last word: why it closes. */
  #dismissed(attempt: Attempt, connection: Connection, error: ProtocolError): void {
    connection.end(undefined, error.message)
    if (attempt !== this.#attempt) return
    const isFarewell = nameOfCode(error.code) === 'shuttingDown'
    if (!isFarewell) this.#tellRefusalByThem(attempt, error)
    this.#lost(attempt, error.message)
  }

  #refusedByThem(attempt: Attempt, error: ProtocolError): void {
    this.#state = 'refused'
    this.#tellRefusalByThem(attempt, error)
  }

  /** What somebody says who has not shown to know the secret is no word of this mesh, and nothing follows from it. */
  #tellRefusalByThem(attempt: Attempt, error: ProtocolError): void {
    if (attempt.isProven) this.#tellRefusal('them', error)
    else {
      const where = showAddress(this.address)
      const message = `${where} has not shown to know this mesh's secret, and says: ${error.message}`
      this.#tellRefusal('us', protocolError('notAuthorised', message))
    }
  }

  #refused(by: Refusal['by'], error: ProtocolError): void {
    this.#state = 'refused'
    this.#tellRefusal(by, error)
  }

  #tellRefusal(by: Refusal['by'], error: ProtocolError): void {
    const isNew = this.#toldRefusal !== error.message
    this.#toldRefusal = error.message
    this.#options.refused({ by, error, isNew })
  }

  /** Servers are started one after the other, so the first failures are no news. */
  #tellUnreached(reason: string): void {
    if (this.#failures < unreachedAfter || this.#toldUnreached === reason) return
    this.#toldUnreached = reason
    this.#options.unreached(reason)
  }

  async #greet(attempt: Attempt, { connection, calls }: Conversation): Promise<void> {
    const token = await this.#prove(calls)
    attempt.isProven = true
    const hello = { ...this.#options.hello(), ...(token === undefined ? {} : { token }) }
    const greeting = checkPeerHelloResult(await ask(calls, 'peer.hello', hello))
    const isCurrent = (): boolean => attempt === this.#attempt && connection.isOpen
    if (!isCurrent()) return
    await this.#options.greeted(greeting, isCurrent)
    if (!isCurrent() || this.#admitted === undefined) return
    attempt.heartbeat = setInterval(() => beat({ connection, calls }), heartbeatMs)
  }

  /** Shows that both sides know the secret, before anything else is said. @returns this side's proof. */
  async #prove(calls: Calls): Promise<string | undefined> {
    const { secret } = this.#options
    if (secret === undefined) return undefined
    const nonce = makeNonce()
    const answer = checkChallengeResult(await ask(calls, 'challenge', { nonce }))
    const nonces = { caller: nonce, responder: answer.nonce }
    if (!proofMatches(answer.proof, { secret, role: 'server', nonces })) {
      throw protocolError('notAuthorised', `${showAddress(this.address)} does not know this mesh's secret`)
    }
    return proofOf({ secret, role: 'peer', nonces })
  }

  /** Ends the connection, and dials no more until somebody says so. */
  #rest(state: 'cut' | 'standby' | 'stopped', reason: string): void {
    clearTimeout(this.#retryTimer)
    this.#state = state
    this.#end(reason)
  }

  /** The current attempt has failed or its connection has closed; of another one it is no news. */
  #lost(attempt: Attempt, reason: string): void {
    if (attempt !== this.#attempt) return
    this.#end(reason)
    this.#retryLater(reason)
  }

  /** Ends the current attempt, if there is one, and tells the mesh where it had been admitted. */
  #end(reason: string): void {
    const attempt = this.#attempt
    if (attempt === undefined) return
    this.#attempt = undefined
    clearInterval(attempt.heartbeat)
    attempt.calls?.abandon(reason)
    if (attempt.connection === undefined) attempt.socket.destroy()
    else attempt.connection.end(undefined, reason)
    this.#unsent = []
    this.#gate.reset()
    if (this.#admitted === undefined) return
    if (performance.now() - (this.#admittedMs ?? 0) > stableMs) {
      // A link that breaks as soon as it is up is a failure too, and is not dialled ten times a second.
      this.#failures = 0
      this.#toldRefusal = ''
    }
    this.#options.closed(reason)
    this.#admitted = undefined
  }

  #retryLater(reason: string): void {
    if (this.#state === 'stopped' || this.#state === 'cut' || this.#state === 'standby') return
    if (this.#state !== 'refused') this.#state = 'waiting to retry'
    this.#failure = reason
    const { isConfigured, isProven } = this.#entry
    const isSeldom = !isConfigured && this.#failures >= unreachableAfter
    const backoffMs = Math.min(isSeldom ? seldomRetryMsMax : retryMsMax, retryMsMin * 2 ** this.#failures++)
    clearTimeout(this.#retryTimer)
    // Half of it at random, so that servers that lost each other at once do not dial in step.
    this.#retryTimer = setTimeout(() => this.#dial(), backoffMs * (0.5 + Math.random() / 2))
    if (!isProven && this.#failures >= unreachableAfter) this.#options.unreachable()
  }
}

export type OutgoingLinkState =
  | 'idle'
  | 'connecting'
  | 'connected'
  | 'waiting to retry'
  | 'refused'
  | 'standby'
  | 'cut'
  | 'stopped'

/** Why two servers do not get together. */
export interface Refusal {
  /** Which side would not have the other. */
  readonly by: 'them' | 'us'
  readonly error: ProtocolError
  /** Whether this link's last refusal was another one. */
  readonly isNew: boolean
}

export interface OutgoingLinkOptions {
  readonly entry: BookEntry
  /** What this server says of itself; asked for anew at every dialling. */
  readonly hello: () => PeerHelloParams
  /**
   * Decides whether to admit the other side. May throw a ProtocolError, which closes the connection. Once it has
   * waited for anything, `isCurrent` says whether the connection on which the greeting came is still this link's.
   */
  readonly greeted: (greeting: PeerHelloResult, isCurrent: () => boolean) => Promise<void>
  /** An admitted link has closed; it is dialled again. */
  readonly closed: (reason: string) => void
  readonly refused: (refusal: Refusal) => void
  /** It cannot be connected to, for a reason that was not told before. It goes on trying. */
  readonly unreached: (reason: string) => void
  /** It has been dialled many times, and nobody who could be admitted has ever answered. */
  readonly unreachable: () => void
  readonly secret?: string | undefined
}

/** One connection of a link, from its dialling to its end. */
interface Attempt {
  readonly socket: Socket
  /** Both undefined until the socket is connected. */
  connection: Connection | undefined
  calls: Calls | undefined
  heartbeat: NodeJS.Timeout | undefined
  /** Whether the other side has shown to know the secret, or need not. */
  isProven: boolean
}

interface Conversation {
  readonly connection: Connection
  readonly calls: Calls
}

/** The other side has answered with an error; every other error of a greeting is this side's objection. */
class RefusedByThem extends Error {
  override readonly name = 'RefusedByThem'
  readonly answer: ProtocolError

  constructor(answer: ProtocolError) {
    super(answer.message, { cause: answer })
    this.answer = answer
  }
}

async function ask(calls: Calls, method: string, params: object): Promise<unknown> {
  try {
    return await calls.call(method, params, greetingTimeoutMs)
  } catch (error) {
    throw error instanceof ProtocolError ? new RefusedByThem(error) : error
  }
}

/** Only silence ends a link: a slow one may take long to bring an answer, while what was sent before it moves. */
function beat({ connection, calls }: Conversation): void {
  if (connection.idleMs() > heartbeatTimeoutMs) connection.destroy('it no longer answers')
  else if (!connection.hasUnsent) void calls.ping(heartbeatTimeoutMs)
}

const connectTimeoutMs = 3_000
const greetingTimeoutMs = 5_000
const heartbeatMs = 1_000
/** Long enough for a busy server on a busy machine; a server that is stopped for longer is gone for now. */
const heartbeatTimeoutMs = 5_000
const retryMsMin = 100
/** So many attempts in a row take about half a second. */
const unreachedAfter = 3
/** So many attempts in a row take about 20 seconds: enough for a server to be restarted. */
const unreachableAfter = 15
/** A link that has lived this long was a good one. */
const stableMs = 5_000
/** Servers are started by hand, one after the other: nobody should wait long for the last to be found. */
const retryMsMax = 2_000
/** Where nobody has answered for long and the operator does not wait for anybody: whoever comes back dials, too. */
const seldomRetryMsMax = 15_000
