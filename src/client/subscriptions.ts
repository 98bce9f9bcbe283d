import type { ClientResults } from '../protocol/client-results.ts'
import type { RpcNotification } from '../protocol/json-rpc.ts'
import type { TidingsError } from './tidings-error.ts'

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

/** Asks on the present connection. The settlers are called before the next message is read. */
export interface SubscriptionCalls {
  readonly watch: (
    params: object,
    settlers: {
      readonly resolve: (result: ClientResults['watch']) => void
      readonly reject: (error: TidingsError) => void
    },
  ) => void
  readonly unwatch: (watch: number) => void
}

/**
 * Who is subscribed, and under which number on the present connection.
 *
 * Rule: a push is given to its subscriber after the answer that named its watch, and never to anybody else. Pushes that
 * come before that answer are kept for it.
 */
export class Subscriptions {
  readonly #calls: SubscriptionCalls
  /** All subscribers, and the number of each one's watch on the present connection. */
  readonly #subscribers = new Map<Subscriber, number | undefined>()
  readonly #watches = new Map<number, Subscriber>()
  /** Pushes for watches whose number is still on its way. */
  #early: Push[] = []
  #callsOpen = 0

  constructor(calls: SubscriptionCalls) {
    this.#calls = calls
  }

  /** @param isConnected whether there is a connection to subscribe on now. */
  add(subscriber: Subscriber, isConnected: boolean): void {
    this.#subscribers.set(subscriber, undefined)
    if (isConnected) this.#watch(subscriber)
  }

  remove(subscriber: Subscriber): void {
    const number = this.#subscribers.get(subscriber)
    this.#subscribers.delete(subscriber)
    if (number !== undefined) this.#unwatch(number)
  }

  /** There is a new connection. */
  connected(): void {
    for (const subscriber of this.#subscribers.keys()) this.#watch(subscriber)
  }

  /** The connection is over, and all watches with it. */
  left(): void {
    this.#watches.clear()
    this.#early = []
    this.#callsOpen = 0
    for (const subscriber of this.#subscribers.keys()) this.#subscribers.set(subscriber, undefined)
  }

  failAll(error: TidingsError): void {
    const subscribers = [...this.#subscribers.keys()]
    this.#subscribers.clear()
    for (const subscriber of subscribers) subscriber.failed(error)
  }

  notified(push: Push): void {
    const { notification, bytes } = push
    const number = watchNumberOf(notification.params)
    if (number === undefined) return
    const subscriber = this.#watches.get(number)
    if (subscriber !== undefined) subscriber.notified(notification.method, notification.params, bytes)
    else if (this.#callsOpen > 0) this.#early.push(push)
  }

  #watch(subscriber: Subscriber): void {
    this.#callsOpen++
    this.#calls.watch(subscriber.params(), {
      resolve: (watching) => this.#watching(subscriber, watching),
      reject: (error) => {
        // The next connection gets a watch of its own.
        if (error.code === 'ERR_CONNECTION_LOST' || error.code === 'ERR_SHUTTING_DOWN') return
        this.#callsOpen--
        if (this.#subscribers.delete(subscriber)) subscriber.failed(error)
      },
    })
  }

  #watching(subscriber: Subscriber, { watch, applied }: ClientResults['watch']): void {
    this.#callsOpen--
    const early = this.#early
    if (this.#callsOpen === 0) this.#early = []
    if (!this.#subscribers.has(subscriber)) {
      this.#unwatch(watch)
      return
    }
    this.#subscribers.set(subscriber, watch)
    this.#watches.set(watch, subscriber)
    subscriber.subscribed({ watch, applied })
    for (const push of early) if (watchNumberOf(push.notification.params) === watch) this.notified(push)
  }

  #unwatch(watch: number): void {
    this.#watches.delete(watch)
    this.#calls.unwatch(watch)
  }
}

export interface Push {
  readonly notification: RpcNotification
  readonly bytes: number
}

function watchNumberOf(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null || !('watch' in value)) return undefined
  return typeof value.watch === 'number' ? value.watch : undefined
}
