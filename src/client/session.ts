import { showAddress, type Address } from '../protocol/address.ts'
import { makeNonce, proofMatches, proofOf } from '../protocol/authentication.ts'
import type { ClientMethod } from '../protocol/client-messages.ts'
import { checkClientResult, type ClientResults } from '../protocol/client-results.ts'
import { ProtocolError } from '../protocol/errors.ts'
import {
  encodeRequest,
  type RpcMessage,
  type RpcNotification,
  type RpcResponse,
} from '../protocol/json-rpc.ts'
import { lineBytesMax, protocolVersion } from '../protocol/limits.ts'
import { Connection } from './connection.ts'
import { errorFromServer, TidingsError } from './tidings-error.ts'

/** Where a client stands with its servers. */
export type ClientState =
  /** The first connection is being made. `reason` says why the last attempt failed, once one has. */
  | { readonly status: 'connecting'; readonly address: string; readonly reason?: TidingsError }
  /** `server` is the id of the server at `address`; `origin` names the run of its process. */
  | {
      readonly status: 'connected'
      readonly address: string
      readonly server: string
      readonly origin: string
    }
  | { readonly status: 'reconnecting'; readonly address: string; readonly reason: TidingsError }
  | { readonly status: 'closed' }

export interface SessionOptions {
  readonly servers: readonly [Address, ...Address[]]
  /** What the server calls this client when it tells its operator; a client without one is not told about. */
  readonly id: string | undefined
  readonly secret: string | undefined
  readonly timeoutMs: number
  readonly onState: (state: ClientState) => void
}

/** Something that wants to be subscribed on whatever connection there is. */
export interface Subscriber {
  /** The parameters of `watch`, asked for on every connection anew. */
  readonly params: () => object
  readonly subscribed: (result: ClientResults['watch']) => void
  /** A push, and how many bytes it took on the wire. */
  readonly notified: (method: string, params: unknown, bytes: number) => void
  /** The server refused, or the session was closed. Nothing follows. */
  readonly failed: (error: TidingsError) => void
}

/**
 * A client's side of its conversation with the mesh, over one connection after another.
 *
 * Rules:
 * - A request is sent on one connection, once. What was sent and not answered when the connection breaks is
 *   rejected; what was not sent yet waits for the next connection, as long as its time allows.
 * - Subscribers are subscribed again on every new connection.
 * - The servers of the list are tried in turn, at growing and random intervals, until the session is closed.
 */
export class Session {
  readonly #options: SessionOptions
  #connection: Connection | undefined
  #state: ClientState
  /** The place in the list of the server that is talked to or tried. */
  #position = 0
  /** Attempts since a connection last held. */
  #failures = 0
  #isGreeted = false
  #retryTimer: NodeJS.Timeout | undefined
  #greetingTimer: NodeJS.Timeout | undefined
  #stableTimer: NodeJS.Timeout | undefined
  #heartbeat: NodeJS.Timeout | undefined
  /** Whether anything has come since the last beat. */
  #hasHeard = false
  #heartbeatIsOpen = false
  readonly #unsent = new Set<Call>()
  readonly #sent = new Map<number, Call>()
  #nextId = 1
  /** All subscribers, and the number of each one's watch on the present connection. */
  readonly #subscribers = new Map<Subscriber, number | undefined>()
  readonly #watches = new Map<number, Subscriber>()
  /** Pushes for watches whose number is still on its way. */
  #early: Push[] = []
  #watchCallsOpen = 0

  constructor(options: SessionOptions) {
    this.#options = options
    this.#state = { status: 'connecting', address: showAddress(options.servers[0]) }
    this.#dial()
  }

  get state(): ClientState {
    return this.#state
  }

  /**
   * Sends a request, or keeps it for the next connection.
   *
   * @param params as the method has them; the server checks them.
   * @throws TidingsError what the server answered, ERR_TIMEOUT, ERR_CONNECTION_LOST, ERR_CANNOT_CONNECT,
   *   ERR_CLOSED, or ERR_TOO_LARGE for a line that no server would read.
   */
  call<Method extends ClientMethod>(method: Method, params: object): Promise<ClientResults[Method]> {
    const { timeoutMs } = this.#options
    return new Promise((resolve, reject) => {
      if (this.#state.status === 'closed') {
        reject(closedError())
        return
      }
      const id = this.#nextId++
      const line = encodeRequest({ id, method, params })
      if (isTooLong(line)) {
        reject(tooLongError(method, line))
        return
      }
      const call: Call = {
        id,
        line,
        method,
        timer: setTimeout(() => this.#expire(call, timeoutMs), timeoutMs),
        accept: (result) => settleWith(method, result, { resolve, reject }),
        reject,
      }
      if (this.#isGreeted) this.#send(call)
      else this.#unsent.add(call)
    })
  }

  /** Subscribes now, and again on every new connection, until {@link unsubscribe}. */
  subscribe(subscriber: Subscriber): void {
    if (this.#state.status === 'closed') {
      subscriber.failed(closedError())
      return
    }
    this.#subscribers.set(subscriber, undefined)
    if (this.#isGreeted) this.#watch(subscriber)
  }

  unsubscribe(subscriber: Subscriber): void {
    const number = this.#subscribers.get(subscriber)
    this.#subscribers.delete(subscriber)
    if (number !== undefined) this.#unwatch(number)
  }

  /** Reads no more from the server until {@link resume}, neither pushes nor answers. */
  pause(): void {
    this.#connection?.pause()
  }

  resume(): void {
    this.#connection?.resume()
  }

  /** Ends it all: whatever waits is rejected with `error`. */
  close(error: TidingsError = closedError()): void {
    if (this.#state.status === 'closed') return
    this.#become({ status: 'closed' })
    clearTimeout(this.#retryTimer)
    this.#leave()
    this.#connection?.close()
    this.#connection = undefined
    for (const call of [...this.#unsent, ...this.#sent.values()]) {
      settle(call)
      const definite = !(changesState(call.method) && this.#sent.has(call.id))
      call.reject(new TidingsError(error.code, error.message, { definite, cause: error.cause ?? error }))
    }
    this.#unsent.clear()
    this.#sent.clear()
    const subscribers = [...this.#subscribers.keys()]
    this.#subscribers.clear()
    for (const subscriber of subscribers) subscriber.failed(error)
  }

  // ── connecting ─────────────────────────────────────────────────────────────────────────────────────────

  #dial(): void {
    const address = this.#options.servers[this.#position] as Address
    const connection = new Connection(address, {
      message: (message, bytes) => this.#read(message, bytes),
      closed: (error) => this.#closed(error),
    })
    this.#connection = connection
    this.#greetingTimer = setTimeout(() => {
      const message = `${showAddress(address)} did not greet within ${greetingTimeoutMs / 1_000} s`
      connection.fail(new TidingsError('ERR_CANNOT_CONNECT', message))
    }, greetingTimeoutMs)
    this.#greet(address).then(
      (greeting) => {
        if (this.#connection === connection) this.#greeted(address, greeting)
      },
      (error: unknown) => {
        if (!(error instanceof TidingsError)) throw error
        connection.fail(error)
      },
    )
  }

  /** Makes sure that both sides know the secret, where there is one, and that both speak the same protocol. */
  async #greet(address: Address): Promise<ClientResults['hello']> {
    const { id, secret } = this.#options
    const token = secret === undefined ? undefined : await this.#prove(secret, address)
    const params = { ...(id === undefined ? {} : { session: id }), ...(token === undefined ? {} : { token }) }
    const greeting = await this.#converse('hello', params)
    if (greeting.protocol === protocolVersion) return greeting
    const message =
      `${showAddress(address)} speaks protocol ${greeting.protocol}, and this client ` +
      `${protocolVersion}; run the same release on both`
    throw new TidingsError('ERR_PROTOCOL_VERSION', message)
  }

  /** @returns this side's proof, once the server has given its own. */
  async #prove(secret: string, address: Address): Promise<string> {
    const caller = makeNonce()
    const answer = await this.#converse('challenge', { nonce: caller })
    const nonces = { caller, responder: answer.nonce }
    if (proofMatches(answer.proof, { secret, role: 'server', nonces })) {
      return proofOf({ secret, role: 'client', nonces })
    }
    const message = `${showAddress(address)} does not know the secret that this client was given; use the mesh's own`
    throw new TidingsError('ERR_NOT_AUTHORISED', message)
  }

  /** A request that belongs to this connection: nobody waits for it but the session itself. */
  #converse<Method extends ClientMethod>(method: Method, params: object): Promise<ClientResults[Method]> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++
      this.#send({
        id,
        line: encodeRequest({ id, method, params }),
        method,
        timer: undefined,
        accept: (result) => settleWith(method, result, { resolve, reject }),
        reject,
      })
    })
  }

  #greeted(address: Address, { server, origin }: ClientResults['hello']): void {
    clearTimeout(this.#greetingTimer)
    this.#isGreeted = true
    this.#become({ status: 'connected', address: showAddress(address), server, origin })
    // A server that takes connections and drops them at once is not to be dialled without a pause.
    this.#stableTimer = setTimeout(() => {
      this.#failures = 0
    }, stableMs)
    this.#heartbeat = setInterval(() => this.#beat(), heartbeatMs)
    for (const subscriber of this.#subscribers.keys()) this.#watch(subscriber)
    for (const call of this.#unsent) this.#send(call)
    this.#unsent.clear()
  }

  #closed(error: TidingsError): void {
    if (this.#state.status === 'closed') return
    this.#leave()
    this.#connection = undefined
    const orphans = [...this.#sent.values()]
    this.#sent.clear()
    const wasConnected = this.#state.status === 'connected'
    const wasNever = this.#state.status === 'connecting'
    this.#position = (this.#position + 1) % this.#options.servers.length
    const address = showAddress(this.#options.servers[this.#position] as Address)
    this.#become({ status: wasNever ? 'connecting' : 'reconnecting', address, reason: error })
    for (const call of orphans) {
      settle(call)
      call.reject(lostError(call, error))
    }
    if (this.isClosed) return
    // At once after a connection that held, for there may be another server; then ever more seldom.
    const delayMs =
      wasConnected && this.#failures === 0 ? 0 : Math.min(retryMsMax, retryMsMin * 2 ** this.#failures)
    this.#failures++
    // Half of it at random, so that clients that lost their server together do not come back in step.
    this.#retryTimer = setTimeout(() => this.#dial(), delayMs * (0.5 + Math.random() / 2))
  }

  get isClosed(): boolean {
    return this.#state.status === 'closed'
  }

  /** The present connection is over, whoever ended it. */
  #leave(): void {
    this.#isGreeted = false
    clearTimeout(this.#greetingTimer)
    clearTimeout(this.#stableTimer)
    clearInterval(this.#heartbeat)
    this.#watches.clear()
    this.#early = []
    this.#watchCallsOpen = 0
    this.#heartbeatIsOpen = false
    for (const subscriber of this.#subscribers.keys()) this.#subscribers.set(subscriber, undefined)
  }

  #become(state: ClientState): void {
    this.#state = state
    this.#options.onState(state)
  }

  /** Finds a server that has vanished without a word, by asking something now and then where all is quiet. */
  #beat(): void {
    const connection = this.#connection
    if (connection === undefined || connection.isPaused) return
    const wasQuiet = !this.#hasHeard
    this.#hasHeard = false
    if (!wasQuiet) return
    if (this.#heartbeatIsOpen) {
      const where = showAddress(connection.address)
      connection.fail(
        new TidingsError(
          'ERR_CONNECTION_LOST',
          `${where} has said nothing for ${(2 * heartbeatMs) / 1_000} s`,
        ),
      )
      return
    }
    this.#heartbeatIsOpen = true
    const heard = (): void => {
      this.#heartbeatIsOpen = false
    }
    this.#converse('hello', {}).then(heard, heard)
  }

  // ── talking ────────────────────────────────────────────────────────────────────────────────────────────

  #send(call: Call): void {
    this.#sent.set(call.id, call)
    this.#connection?.send(call.line)
  }

  #read(message: RpcMessage, bytes: number): void {
    this.#hasHeard = true
    switch (message.kind) {
      case 'response':
        this.#answered(message)
        return
      case 'notification':
        this.#notified({ notification: message, bytes })
        return
      case 'request':
      case 'invalid':
        // Servers ask clients nothing.
        return
    }
  }

  #answered({ id, outcome }: RpcResponse): void {
    const call = typeof id === 'number' ? this.#sent.get(id) : undefined
    // An answer that comes after its time finds nobody.
    if (call === undefined) return
    this.#sent.delete(call.id)
    settle(call)
    if ('error' in outcome) call.reject(errorFromServer(outcome.error))
    else call.accept(outcome.result)
  }

  #expire(call: Call, timeoutMs: number): void {
    const where = 'address' in this.#state ? this.#state.address : ''
    if (this.#unsent.delete(call)) {
      const reason = 'reason' in this.#state ? this.#state.reason : undefined
      const message = `no server could be reached within ${timeoutMs} ms`
      const said =
        reason === undefined ? `${message}: ${where} does not answer` : `${message}: ${reason.message}`
      call.reject(new TidingsError('ERR_CANNOT_CONNECT', said, { cause: reason }))
    } else if (this.#sent.delete(call.id)) {
      const writes = changesState(call.method)
      const doubt = writes
        ? '; it may have been carried out all the same, so read before you write again'
        : ''
      const message = `${where} did not answer ${call.method} within ${timeoutMs} ms${doubt}`
      call.reject(new TidingsError('ERR_TIMEOUT', message, { definite: !writes }))
    }
  }

  // ── watching ───────────────────────────────────────────────────────────────────────────────────────────

  #watch(subscriber: Subscriber): void {
    const id = this.#nextId++
    this.#watchCallsOpen++
    const reject = (error: TidingsError): void => {
      // The next connection gets a watch of its own.
      if (error.code === 'ERR_CONNECTION_LOST' || error.code === 'ERR_SHUTTING_DOWN') return
      this.#watchCallsOpen--
      if (this.#subscribers.delete(subscriber)) subscriber.failed(error)
    }
    this.#send({
      id,
      line: encodeRequest({ id, method: 'watch', params: subscriber.params() }),
      method: 'watch',
      timer: undefined,
      accept: (result) =>
        settleWith('watch', result, { resolve: (watching) => this.#watching(subscriber, watching), reject }),
      reject,
    })
  }

  /** Has to happen before the next message is read, which may be a push for this watch. */
  #watching(subscriber: Subscriber, { watch, applied }: ClientResults['watch']): void {
    this.#watchCallsOpen--
    const early = this.#early
    if (this.#watchCallsOpen === 0) this.#early = []
    if (!this.#subscribers.has(subscriber)) {
      this.#unwatch(watch)
      return
    }
    this.#subscribers.set(subscriber, watch)
    this.#watches.set(watch, subscriber)
    subscriber.subscribed({ watch, applied })
    for (const push of early) if (watchNumberOf(push.notification.params) === watch) this.#notified(push)
  }

  #notified(push: Push): void {
    const { notification, bytes } = push
    const number = watchNumberOf(notification.params)
    if (number === undefined) return
    const subscriber = this.#watches.get(number)
    if (subscriber !== undefined) subscriber.notified(notification.method, notification.params, bytes)
    else if (this.#watchCallsOpen > 0) this.#early.push(push)
  }

  #unwatch(watch: number): void {
    this.#watches.delete(watch)
    // The answer does not matter: if the connection breaks, the watch is gone too.
    this.#converse('unwatch', { watch }).catch(() => {})
  }
}

interface Call {
  readonly id: number
  readonly line: string
  readonly method: ClientMethod
  readonly timer: NodeJS.Timeout | undefined
  readonly accept: (result: unknown) => void
  readonly reject: (error: TidingsError) => void
}

interface Push {
  readonly notification: RpcNotification
  readonly bytes: number
}

/** A server answers a greeting in a millisecond; the rest is for a network that loses packets. */
const greetingTimeoutMs = 5_000
const stableMs = 1_000
const heartbeatMs = 5_000
const retryMsMin = 50
/** Somebody who restarts a server by hand should not wait long for the prompt to notice. */
const retryMsMax = 2_000

function settle(call: Call): void {
  clearTimeout(call.timer)
}

function watchNumberOf(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null || !('watch' in value)) return undefined
  return typeof value.watch === 'number' ? value.watch : undefined
}

function isTooLong(line: string): boolean {
  // A UTF-16 unit takes at most three bytes of UTF-8.
  return line.length * 3 > lineBytesMax && Buffer.byteLength(line) - 1 > lineBytesMax
}

function tooLongError(method: string, line: string): TidingsError {
  const message = `this ${method} takes ${Buffer.byteLength(line)} bytes on the wire, and a line has at most ${lineBytesMax}`
  return new TidingsError('ERR_TOO_LARGE', `${message}; send smaller values, or fewer at once`)
}

function lostError(call: Call, error: TidingsError): TidingsError {
  // The greeting's own failure is the connection's, and told as it is.
  if (call.method === 'hello' || call.method === 'challenge') return error
  const writes = changesState(call.method)
  const doubt = writes
    ? 'it may have been carried out all the same, so read before you write again'
    : 'nothing was changed by it; ask again'
  const message = `${error.message} before ${call.method} was answered; ${doubt}`
  return new TidingsError('ERR_CONNECTION_LOST', message, { definite: !writes, cause: error })
}

function closedError(): TidingsError {
  return new TidingsError('ERR_CLOSED', 'this client has been closed')
}

/** Whether the outcome is unknown when the answer does not come. */
function changesState(method: ClientMethod): boolean {
  return method === 'write' || method === 'delete' || method === 'batch' || method === 'link'
}

function settleWith<Method extends ClientMethod>(
  method: Method,
  result: unknown,
  settlers: {
    readonly resolve: (checked: ClientResults[Method]) => void
    readonly reject: (error: TidingsError) => void
  },
): void {
  let checked: ClientResults[Method]
  try {
    checked = checkClientResult(method, result)
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    const definite = !changesState(method)
    settlers.reject(new TidingsError('ERR_NOT_TIDINGS', error.message, { definite, cause: error }))
    return
  }
  settlers.resolve(checked)
}
