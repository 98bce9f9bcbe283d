import { randomBytes } from 'node:crypto'
import { showAddress, type Address } from '../protocol/address.ts'
import type { ClientMethod } from '../protocol/client-messages.ts'
import type { ClientResults, ToldMissingEntry } from '../protocol/client-results.ts'
import type { ProtocolError } from '../protocol/errors.ts'
import type { RpcMessage, RpcResponse } from '../protocol/json-rpc.ts'
import { answersPerSessionMax } from '../protocol/limits.ts'
import type { RequestStamp } from '../replica/messages.ts'
import type { Origin } from '../replica/version.ts'
import {
  afterBreakOf,
  comesAfter,
  errorOfCall,
  lengthFault,
  lineOf,
  lostError,
  lostVersionsError,
  notCaughtUpError,
  settleWith,
  type Call,
} from './call.ts'
import { Connection } from './connection.ts'
import { greet } from './greeting.ts'
import { versionsSeenIn } from './seen-versions.ts'
import type { SessionCut } from './session-cut.ts'
import { Subscriptions, type Subscriber } from './subscriptions.ts'
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
      readonly origin: Origin
    }
  /** `address` is tried. `reason` says why the last connection broke, or why the last attempt failed. */
  | { readonly status: 'reconnecting'; readonly address: string; readonly reason: TidingsError }
  | { readonly status: 'closed' }

export interface SessionOptions {
  readonly servers: readonly [Address, ...Address[]]
  /** What the server calls this client when it tells its operator; a client without one is not told about. */
  readonly id: string | undefined
  readonly secret: string | undefined
  readonly timeoutMs: number
  /** What is seen, whoever sees it; requests come after it (R9). */
  readonly cut: SessionCut
  readonly onState: (state: ClientState) => void
  /** Is told of versions that were seen, that nobody has any more, and that the cut no longer has. */
  readonly onLost: (lost: readonly ToldMissingEntry[]) => void
}

/**
 * A client's side of its conversation with the mesh, over one connection after another.
 *
 * Rules:
 * - Calls are sent in the order in which they were made, on every connection anew: what was sent and not answered when
 *   a connection breaks goes first on the next. {@link Call} says what is sent again and what is rejected.
 * - Each write has a stamp, `{ session, number }`, made once. Sent again, it says so (R10). Writes whose outcome may
 *   be unknown are first tried on the server that had them, for it knows; the others of the list may not yet.
 * - A server keeps a certain number of answers of a session. The numbers of the writes under way never lie further
 *   apart, so that a retry of the oldest still finds its answer.
 * - Each request comes after what was seen, as far as the server has not shown that it has it ({@link SessionCut}).
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
  /** Why the server takes no more requests on this connection: it is about to end. */
  #farewell: TidingsError | undefined
  /** The server that is talked to or tried was also the one before, and is not tried a third time in a row. */
  #hasReturned = false
  #retryTimer: NodeJS.Timeout | undefined
  #greetingTimer: NodeJS.Timeout | undefined
  #stableTimer: NodeJS.Timeout | undefined
  #heartbeat: NodeJS.Timeout | undefined
  /** Whether anything has come since the last beat. */
  #hasHeard = false
  #heartbeatIsOpen = false
  /** Calls that are to be sent; whenever any may be, in their order. */
  #unsent = new Set<Call>()
  /** Calls of the present connection that are not answered, in their order. */
  readonly #sent = new Map<number, Call>()
  /** Those of them that write and were numbered here. */
  readonly #writes = new Set<Call>()
  #nextId = 1
  /** The name under which servers know the writes of this session: 128 random bits, so that nobody else has it. */
  readonly #name = randomBytes(16).toString('hex')
  #nextNumber = 1
  readonly #subscriptions = new Subscriptions({
    watch: (params, settlers) => this.#converse('watch', params, settlers),
    // The answer does not matter: if the connection breaks, the watch is gone too.
    unwatch: (watch) => this.#converse('unwatch', { watch }, { resolve: () => {}, reject: () => {} }),
  })

  constructor(options: SessionOptions) {
    this.#options = options
    this.#state = { status: 'connecting', address: showAddress(options.servers[0]) }
    this.#dial()
  }

  get state(): ClientState {
    return this.#state
  }

  /** The server that is talked to, in this run of its process; undefined where there is none. */
  get origin(): Origin | undefined {
    return this.#state.status === 'connected' ? this.#state.origin : undefined
  }

  /**
   * Sends a request as soon as there is a connection and its turn has come.
   *
   * @param params as the method has them; the server checks them.
   * @param stamp of a write, where its caller numbers it.
   * @throws TidingsError what the server answered, ERR_TIMEOUT, ERR_CONNECTION_LOST, ERR_CANNOT_CONNECT,
   *   ERR_CLOSED, or ERR_TOO_LARGE for a line that no server would read.
   */
  call<Method extends ClientMethod>(
    method: Method,
    params: object,
    stamp?: RequestStamp,
  ): Promise<ClientResults[Method]> {
    const { timeoutMs, cut } = this.#options
    return new Promise((resolve, reject) => {
      const text = JSON.stringify(params)
      const fault = this.isClosed ? closedError() : lengthFault(method, text)
      if (fault !== undefined) {
        reject(fault)
        return
      }
      const afterBreak = afterBreakOf(method)
      const call: Call = {
        id: this.#nextId++,
        method,
        params: text,
        afterBreak,
        stamp:
          afterBreak === 'retry' ? (stamp ?? { session: this.#name, number: this.#nextNumber++ }) : undefined,
        isNumberedHere: afterBreak === 'retry' && stamp === undefined,
        deadlineMs: performance.now() + timeoutMs,
        timer: setTimeout(() => this.#expire(call), timeoutMs),
        after: undefined,
        mayHaveHappened: false,
        accept: (result) =>
          settleWith(method, result, {
            resolve: (checked) => {
              for (const version of versionsSeenIn(method, checked)) cut.learn(version, this.origin)
              resolve(checked)
            },
            reject: (error) => reject(errorOfCall(call, error)),
          }),
        reject: (error) => reject(errorOfCall(call, error)),
      }
      this.#unsent.add(call)
      this.#sendDue()
    })
  }

  /** Subscribes now, and again on every new connection, until {@link unsubscribe}. */
  subscribe(subscriber: Subscriber): void {
    if (this.isClosed) subscriber.failed(closedError())
    else this.#subscriptions.add(subscriber, this.#isGreeted)
  }

  unsubscribe(subscriber: Subscriber): void {
    this.#subscriptions.remove(subscriber)
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
    if (this.isClosed) return
    this.#become({ status: 'closed' })
    clearTimeout(this.#retryTimer)
    const calls = [...this.#sent.values(), ...this.#unsent]
    for (const call of this.#sent.values()) call.mayHaveHappened = true
    this.#unsent.clear()
    this.#leave()
    this.#connection?.close()
    this.#connection = undefined
    for (const call of calls) {
      clearTimeout(call.timer)
      const definite = !(call.mayHaveHappened && (call.stamp !== undefined || call.method === 'link'))
      call.reject(new TidingsError(error.code, error.message, { definite, cause: error.cause ?? error }))
    }
    this.#subscriptions.failAll(error)
  }

  get isClosed(): boolean {
    return this.#state.status === 'closed'
  }

  // ── connecting ─────────────────────────────────────────────────────────────────────────────────────────

  #dial(): void {
    const address = this.#options.servers[this.#position] as Address
    const connection = new Connection(address, {
      message: (message, bytes) => this.#read(message, bytes),
      closed: (error) => this.#closed(error),
    })
    this.#connection = connection
    const allowedMs = this.#hasReturned ? returnTimeoutMs : greetingTimeoutMs
    this.#greetingTimer = setTimeout(() => {
      const message = `${showAddress(address)} did not greet within ${allowedMs / 1_000} s`
      connection.fail(new TidingsError('ERR_CANNOT_CONNECT', message))
    }, allowedMs)
    const { id, secret } = this.#options
    const converse = <Method extends ClientMethod>(method: Method, params: object) =>
      new Promise<ClientResults[Method]>((resolve, reject) => {
        this.#converse(method, params, { resolve, reject })
      })
    greet(converse, { address, id, secret }).then(
      (greeting) => {
        if (this.#connection === connection) this.#greeted(address, greeting)
      },
      (error: unknown) => {
        if (!(error instanceof TidingsError)) throw error
        connection.fail(error)
      },
    )
  }

  #greeted(address: Address, { server, origin, applied }: ClientResults['hello']): void {
    clearTimeout(this.#greetingTimer)
    this.#isGreeted = true
    this.#options.cut.connected(origin, applied)
    this.#become({ status: 'connected', address: showAddress(address), server, origin })
    // A server that takes connections and drops them at once is not to be dialled without a pause.
    this.#stableTimer = setTimeout(() => {
      this.#failures = 0
      this.#hasReturned = false
    }, stableMs)
    this.#heartbeat = setInterval(() => this.#beat(), heartbeatMs)
    this.#subscriptions.connected()
    this.#sendDue()
  }

  #closed(error: TidingsError): void {
    if (this.isClosed) return
    const { servers } = this.#options
    const wasGreeted = this.#isGreeted
    const wasNever = this.#state.status === 'connecting'
    const orphans = [...this.#sent.values()]
    this.#leave()
    this.#connection = undefined
    for (const call of orphans) {
      call.mayHaveHappened = true
      if (call.afterBreak !== 'reject') this.#unsent.add(call)
    }
    this.#unsent = new Set([...this.#unsent].toSorted((a, b) => a.id - b.id))
    const isInDoubt = orphans.some(({ afterBreak }) => afterBreak === 'retry')
    this.#hasReturned = wasGreeted && isInDoubt && !this.#hasReturned
    if (!this.#hasReturned) this.#position = (this.#position + 1) % servers.length
    const address = showAddress(servers[this.#position] as Address)
    this.#become({ status: wasNever ? 'connecting' : 'reconnecting', address, reason: error })
    for (const call of orphans) {
      if (call.afterBreak !== 'reject') continue
      clearTimeout(call.timer)
      call.reject(lostError(call, error))
    }
    if (this.isClosed) return
    // Once through the list without a pause, for another server may be there; then ever more seldom.
    const pauses = this.#failures - servers.length
    const delayMs = pauses < 0 ? 0 : Math.min(retryMsMax, retryMsMin * 2 ** pauses)
    this.#failures++
    // Half of it at random, so that clients that lost their server together do not come back in step.
    this.#retryTimer = setTimeout(() => this.#dial(), delayMs * (0.5 + Math.random() / 2))
  }

  /** The present connection is over, whoever ended it. */
  #leave(): void {
    this.#isGreeted = false
    this.#farewell = undefined
    clearTimeout(this.#greetingTimer)
    clearTimeout(this.#stableTimer)
    clearInterval(this.#heartbeat)
    this.#heartbeatIsOpen = false
    this.#sent.clear()
    this.#writes.clear()
    this.#subscriptions.left()
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
    this.#converse('hello', {}, { resolve: heard, reject: heard })
  }

  // ── talking ────────────────────────────────────────────────────────────────────────────────────────────

  /** A request that belongs to this connection: nobody waits for it but the session itself. */
  #converse<Method extends ClientMethod>(
    method: Method,
    params: object,
    settlers: {
      readonly resolve: (result: ClientResults[Method]) => void
      readonly reject: (error: TidingsError) => void
    },
  ): void {
    this.#send({
      id: this.#nextId++,
      method,
      params: JSON.stringify(params),
      afterBreak: 'reject',
      stamp: undefined,
      isNumberedHere: false,
      deadlineMs: undefined,
      timer: undefined,
      after: undefined,
      mayHaveHappened: false,
      accept: (result) => settleWith(method, result, settlers),
      reject: settlers.reject,
    })
  }

  /** Sends what may be sent, in its order: a call that has to wait holds up those behind it. */
  #sendDue(): void {
    for (const call of this.#unsent) {
      if (!this.#isGreeted || this.#farewell !== undefined || this.#isTooFarAhead(call)) return
      this.#unsent.delete(call)
      this.#send(call)
    }
  }

  /** Whether the answer to the oldest write under way may be let go by the server that takes this one. */
  #isTooFarAhead({ stamp, isNumberedHere }: Call): boolean {
    if (!isNumberedHere || stamp === undefined) return false
    const [oldest] = this.#writes
    return oldest?.stamp !== undefined && stamp.number - oldest.stamp.number >= answersPerSessionMax
  }

  #send(call: Call): void {
    if (comesAfter(call.method)) call.after = this.#options.cut.after()
    const line = lineOf(call)
    const fault = lengthFault(call.method, line)
    if (fault !== undefined) {
      clearTimeout(call.timer)
      call.reject(fault)
      return
    }
    this.#sent.set(call.id, call)
    if (call.isNumberedHere) this.#writes.add(call)
    this.#connection?.send(line)
  }

  #read(message: RpcMessage, bytes: number): void {
    this.#hasHeard = true
    switch (message.kind) {
      case 'response':
        this.#answered(message)
        return
      case 'notification':
        this.#subscriptions.notified({ notification: message, bytes })
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
    this.#writes.delete(call)
    if ('error' in outcome) {
      this.#refused(call, outcome.error)
    } else {
      clearTimeout(call.timer)
      if (call.after !== undefined) this.#options.cut.accepted(call.after)
      call.accept(outcome.result)
    }
    this.#goOn()
  }

  #refused(call: Call, answer: ProtocolError): void {
    const error = errorFromServer(answer)
    if (error.code === 'ERR_SHUTTING_DOWN' && call.afterBreak !== 'reject') {
      // This copy did not happen. What is still under way there is waited for; then the next server is asked.
      this.#farewell ??= error
      this.#unsent.add(call)
      return
    }
    clearTimeout(call.timer)
    const lost = error.missing.filter((entry) => entry.lost)
    if (lost.length === 0) {
      const { timeoutMs } = this.#options
      const isNamed = error.code === 'ERR_NOT_CAUGHT_UP' && error.missing.length > 0
      call.reject(isNamed ? notCaughtUpError(error, timeoutMs) : error)
      return
    }
    call.reject(lostVersionsError(call, error, lost))
    const dropped = new Set(this.#options.cut.drop(lost.map(({ version }) => version)))
    // Other calls that were under way have been refused for the same, and it is told once.
    if (dropped.size > 0) this.#options.onLost(lost.filter(({ version }) => dropped.has(version)))
  }

  /** A call is over: there may be room for the next, or nothing left to stay for. */
  #goOn(): void {
    if (this.#farewell === undefined) {
      this.#sendDue()
      return
    }
    for (const { afterBreak } of this.#sent.values()) if (afterBreak !== 'reject') return
    this.#connection?.fail(this.#farewell)
  }

  #expire(call: Call): void {
    const { timeoutMs } = this.#options
    const where = 'address' in this.#state ? this.#state.address : ''
    const writes = call.stamp !== undefined
    if (this.#sent.delete(call.id)) {
      this.#writes.delete(call)
      const acts = writes || call.method === 'link'
      const doubt = acts ? '; it may have been carried out all the same, so read before you write again' : ''
      const message = `${where} did not answer ${call.method} within ${timeoutMs} ms${doubt}`
      call.reject(new TidingsError('ERR_TIMEOUT', message, { definite: !acts }))
      this.#goOn()
      return
    }
    if (!this.#unsent.delete(call)) return
    const reason = 'reason' in this.#state ? this.#state.reason : undefined
    if (writes && call.mayHaveHappened) {
      const message =
        `the connection broke before ${call.method} was answered, and no server could be asked again within ` +
        `${timeoutMs} ms; it may have been carried out all the same, so read before you write again`
      call.reject(new TidingsError('ERR_TIMEOUT', message, { definite: false, cause: reason }))
    } else if (this.#state.status === 'connected') {
      const message = `${where} did not come to take this ${call.method} within ${timeoutMs} ms; it was not sent`
      call.reject(new TidingsError('ERR_TIMEOUT', message))
    } else {
      const message = `no server could be reached within ${timeoutMs} ms`
      const said =
        reason === undefined ? `${message}: ${where} does not answer` : `${message}: ${reason.message}`
      call.reject(new TidingsError('ERR_CANNOT_CONNECT', said, { cause: reason }))
    }
  }
}

/** A server answers a greeting in a millisecond; the rest is for a network that loses packets. */
const greetingTimeoutMs = 5_000
/** A server whose connection has just broken, and that knows what became of a write, gets one short chance to say. */
const returnTimeoutMs = 1_000
const stableMs = 1_000
const heartbeatMs = 5_000
const retryMsMin = 50
/** Somebody who restarts a server by hand should not wait long for the prompt to notice. */
const retryMsMax = 2_000

function closedError(): TidingsError {
  return new TidingsError('ERR_CLOSED', 'this client has been closed')
}
