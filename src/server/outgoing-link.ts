import type { Address } from '../protocol/address.ts'
import { showAddress } from '../protocol/address.ts'
import type { LinkAction } from '../protocol/client-messages.ts'
import { nameOfCode, ProtocolError, protocolError } from '../protocol/errors.ts'
import type { PeerHelloParams, PeerHelloResult } from '../protocol/peer-messages.ts'
import type { Member } from '../protocol/wire-forms.ts'
import type { LinkState, PeerMessage } from '../replica/messages.ts'
import type { Update } from '../replica/update.ts'
import type { Origin, ServerId } from '../replica/version.ts'
import type { BookEntry } from './address-book.ts'
import { LinkGate } from './link-gate.ts'

/**
 * This server's link to one address: dials it until it answers, again whenever the connection breaks, and sends
 * on it.
 *
 * Each connection is a {@link Wire}. At most one is current; what another one still reports is not listened to. What a
 * wire is made of, and what the time, stands in {@link LinkSurroundings}.
 */
export class OutgoingLink {
  readonly #entry: BookEntry
  readonly #options: OutgoingLinkOptions
  readonly #surroundings: LinkSurroundings
  readonly #gate: LinkGate
  #wire: Wire | undefined
  #admitted: PeerHelloResult | undefined
  #state: OutgoingLinkState = 'idle'
  /** Why the last attempt failed. */
  #failure = ''
  /** What the operator was told last; the same is not told again at every attempt. */
  #toldRefusal = ''
  /** As `#toldRefusal`, why the address cannot be reached. */
  #toldUnreached = ''
  /** What is to leave at {@link flush}. */
  #unsent: Update[] = []
  #failures = 0
  #admittedMs = 0
  #cancelRetry: () => void = () => {}

  constructor(options: OutgoingLinkOptions, surroundings: LinkSurroundings) {
    this.#entry = options.entry
    this.#options = options
    this.#surroundings = surroundings
    this.#gate = new LinkGate({
      pass: (message) => this.#wire?.send(message),
      startTimer: (run, delayMs) => {
        surroundings.startTimer(() => {
          run()
          this.flush()
        }, delayMs)
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
    if (this.#wire === undefined) return
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
    this.#admittedMs = this.#surroundings.now()
    this.#toldUnreached = ''
  }

  /** Sends at {@link flush} at the latest. Updates of one turn share a frame, which costs its reader one parse. */
  send(message: PeerMessage): void {
    if (message.kind === 'updates') {
      for (const update of message.updates) this.#unsent.push(update)
      return
    }
    this.#sendUpdates()
    this.#gate.send(message)
  }

  sendMembers(members: readonly Member[]): void {
    this.#wire?.sendMembers(members)
  }

  flush(): void {
    this.#sendUpdates()
    this.#wire?.flush()
  }

  async ping(timeoutMs: number): Promise<boolean> {
    return (await this.#wire?.ping(timeoutMs)) ?? false
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
    const updates = this.#unsent
    if (updates.length === 0) return
    this.#unsent = []
    this.#gate.send({ kind: 'updates', updates })
  }

  #dial(): void {
    this.#end('dialled anew')
    this.#cancelRetry()
    this.#state = 'connecting'
    const wire = this.#surroundings.dial(this.address, {
      connected: () => {
        if (wire === this.#wire) void this.#greet(wire)
      },
      unreached: (reason) => {
        if (wire === this.#wire) this.#tellUnreached(reason)
        this.#lost(wire, reason)
      },
      dismissed: (error) => this.#dismissed(wire, error),
      closed: (reason) => this.#lost(wire, reason),
    })
    this.#wire = wire
  }

  /** An error that answers nothing is the other side's last word: why it closes. */
  #dismissed(wire: Wire, error: ProtocolError): void {
    if (wire !== this.#wire) return
    const isFarewell = nameOfCode(error.code) === 'shuttingDown'
    if (!isFarewell) this.#tellRefusalByThem(wire, error)
    this.#lost(wire, error.message)
  }

  async #greet(wire: Wire): Promise<void> {
    const isCurrent = (): boolean => wire === this.#wire && wire.isOpen
    try {
      const greeting = await wire.greet(this.#options.hello)
      if (!isCurrent()) return
      await this.#options.greeted(greeting, isCurrent)
      if (isCurrent() && this.#admitted !== undefined) wire.watchOver()
    } catch (error) {
      if (wire !== this.#wire) return
      if (error instanceof RefusedByThem) this.#refusedByThem(wire, error.answer)
      else if (error instanceof ProtocolError) this.#refused('us', error)
      wire.destroy(error instanceof Error ? error.message : String(error))
    }
  }

  #refusedByThem(wire: Wire, error: ProtocolError): void {
    this.#state = 'refused'
    this.#tellRefusalByThem(wire, error)
  }

  /** What somebody says who has not shown to know the secret is no word of this mesh, and nothing follows from it. */
  #tellRefusalByThem(wire: Wire, error: ProtocolError): void {
    if (wire.isProven) this.#tellRefusal('them', error)
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

  /** Ends the connection, and dials no more until somebody says so. */
  #rest(state: 'cut' | 'standby' | 'stopped', reason: string): void {
    this.#cancelRetry()
    this.#state = state
    this.#end(reason)
  }

  /** The current connection could not be made, or has closed; of another one it is no news. */
  #lost(wire: Wire, reason: string): void {
    if (wire !== this.#wire) return
    this.#end(reason)
    this.#retryLater(reason)
  }

  /** Ends the current connection, if there is one, and tells the mesh where it had been admitted. */
  #end(reason: string): void {
    const wire = this.#wire
    if (wire === undefined) return
    this.#wire = undefined
    wire.end(reason)
    this.#unsent = []
    this.#gate.reset()
    if (this.#admitted === undefined) return
    if (this.#surroundings.now() - this.#admittedMs > stableMs) {
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
    this.#cancelRetry()
    // Half of it at random, so that servers that lost each other at once do not dial in step.
    const delayMs = backoffMs * (0.5 + this.#surroundings.random() / 2)
    this.#cancelRetry = this.#surroundings.startTimer(() => this.#dial(), delayMs)
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
}

/** What a link is made of: sockets and a clock in a process, and something else in another world. */
export interface LinkSurroundings {
  /** Begins to connect. Of what comes of it nothing is told before this has returned. */
  readonly dial: (address: Address, events: WireEvents) => Wire
  /** @returns what cancels it. */
  readonly startTimer: (run: () => void, delayMs: number) => () => void
  /** Milliseconds on any clock that does not fall. */
  readonly now: () => number
  /** From 0 to below 1. */
  readonly random: () => number
}

/** One connection of a link, from its dialling to its end. */
export interface Wire {
  /** Whether it is connected, and neither side has closed it. */
  readonly isOpen: boolean
  /** Whether the other side has shown to know the secret, or need not. */
  readonly isProven: boolean
  /**
   * Says who this server is.
   *
   * @param hello is asked when that is about to be said.
   * @throws RefusedByThem where the other side answers with an error, ProtocolError where its answer is none, and any
   *   other error where it does not answer.
   */
  greet(hello: () => PeerHelloParams): Promise<PeerHelloResult>
  /** From now on, ends the connection when the other side has died without a word. */
  watchOver(): void
  send(message: PeerMessage): void
  sendMembers(members: readonly Member[]): void
  /** What has been sent leaves. */
  flush(): void
  /** @returns whether the other side is there. */
  ping(timeoutMs: number): Promise<boolean>
  /** Closes it; nothing more is told of it. */
  end(reason: string): void
  /** Closes it without a word to the other side, and tells that. */
  destroy(reason: string): void
}

/** What becomes of a {@link Wire}. */
export interface WireEvents {
  readonly connected: () => void
  /** It could not be connected. */
  readonly unreached: (reason: string) => void
  /** The other side has told why it closes. */
  readonly dismissed: (error: ProtocolError) => void
  readonly closed: (reason: string) => void
}

/** The other side has answered with an error; every other error of a greeting is this side's objection. */
export class RefusedByThem extends Error {
  override readonly name = 'RefusedByThem'
  readonly answer: ProtocolError

  constructor(answer: ProtocolError) {
    super(answer.message, { cause: answer })
    this.answer = answer
  }
}

/** How long a {@link Wire} takes at most to be connected. */
export const connectTimeoutMs = 3_000
/** How long the other side may take for each answer of {@link Wire.greet}. */
export const greetingTimeoutMs = 5_000
/** How often a wire that is watched over is looked after. */
export const heartbeatMs = 1_000
/** Long enough for a busy server on a busy machine; a server that is stopped for longer is gone for now. */
export const heartbeatTimeoutMs = 5_000

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
