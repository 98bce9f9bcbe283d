import { checkClientNotification, type ToldKeyVersions } from '../protocol/client-results.ts'
import { ProtocolError } from '../protocol/errors.ts'
import { cutToWire } from '../protocol/wire-forms.ts'
import { raise, raiseAll, type Cut, type MutableCut } from '../replica/cut.ts'
import type { Write } from '../replica/update.ts'
import type { Origin, Version } from '../replica/version.ts'
import { copyOfCut, type GivenCut } from './given-cut.ts'
import { versionsOfKey } from './seen-versions.ts'
import type { SessionCut } from './session-cut.ts'
import type { Session } from './session.ts'
import type { Subscriber } from './subscriptions.ts'
import { TidingsError } from './tidings-error.ts'

/** What a {@link Watch} yields. */
export type WatchEvent =
  /** One update, with its writes to keys of the watched prefix, together; at least one. */
  | {
      readonly kind: 'update'
      readonly version: Version
      readonly writes: readonly Write[]
      /** Of those keys, the ones that have conflicting versions now; absent where there are none. */
      readonly conflict?: readonly ToldKeyVersions[]
    }
  /**
   * All that the server had applied has been yielded: `applied` is where a later watch can go on (`since`), at any
   * server. Comes when the catching up is done, and now and then afterwards.
   */
  | { readonly kind: 'caughtUp'; readonly applied: Cut }
  /**
   * What was yielded before need not hold: some of it is lost, and nobody has it any more; or the connection broke
   * while the watch was reading a server's state, which can only be read whole. What there is now follows anew, from
   * the beginning, up to a `caughtUp`.
   */
  | { readonly kind: 'resync' }

/**
 * What happens to keys, in causal order, no update missed and none twice, whatever becomes of connections and
 * servers meanwhile: after a break the watch goes on at the next server, from the cut of what it has seen (R11).
 *
 * Take events with `for await`, or one by one with `next`. Leaving the loop ends the watch, and so do `return`,
 * the signal that it was given, and closing its client.
 *
 * A consumer that is slower than the writers costs a bounded amount of memory, here and at the server. As long as
 * it keeps up, the watch shares its client's connection. When it falls behind, the watch gives that up, and
 * goes on, from where it was, on a connection of its own that is read only as fast as events are taken; so a
 * slow watch never holds back the answers to requests, not even to those that its own consumer makes.
 */
export class Watch implements AsyncIterableIterator<WatchEvent, undefined, undefined> {
  readonly #options: WatchOptions
  /** The connection of its own, once it has one. */
  #own: Session | undefined
  /** Not subscribed anywhere, until the consumer has taken what is there. */
  #isBehind = false
  /** What was told since the last bookmark was read from the state, and is no cut to go on from. */
  #isLoose = false
  /** What the consumer has been given, or will find in the buffer; undefined before the first answer. */
  #cut: MutableCut | undefined
  readonly #buffer: Held[] = []
  #bufferBytes = 0
  readonly #takers: Taker[] = []
  #end: { readonly error?: unknown } | undefined
  #resolveStarted: (applied: Cut) => void = () => {}
  #rejectStarted: (error: unknown) => void = () => {}

  /**
   * Settles when the server has begun to watch: with what it had applied at that moment. Whatever anybody writes
   * from then on is seen. Rejects where the watch ends before it has begun.
   */
  readonly started: Promise<Cut>

  /** Made by `Client.watch`. */
  constructor(options: WatchOptions) {
    this.#options = options
    const { since, signal } = options
    if (since === 'start') this.#cut = new Map()
    else if (since !== 'now') this.#cut = copyOfCut(since, 'since')
    this.started = new Promise<Cut>((resolve, reject) => {
      this.#resolveStarted = resolve
      this.#rejectStarted = reject
    })
    // Not everybody waits for it.
    this.started.catch(() => {})
    if (signal?.aborted === true) {
      this.#finish({ error: signal.reason })
      return
    }
    signal?.addEventListener('abort', this.#aborted)
    options.session.subscribe(this.#subscriber)
  }

  get hasEnded(): boolean {
    return this.#end !== undefined
  }

  /** The next event; `done` once the watch was ended. Throws, once, what broke the watch. */
  next(): Promise<IteratorResult<WatchEvent, undefined>> {
    const held = this.#buffer.shift()
    if (held !== undefined) {
      this.#bufferBytes -= held.bytes
      this.#goOn()
      this.#seen(held)
      return Promise.resolve({ done: false, value: held.event })
    }
    if (this.#end === undefined)
      return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }))
    const { error } = this.#end
    this.#end = {}
    return error === undefined ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error)
  }

  /** Ends the watch. */
  return(): Promise<IteratorResult<WatchEvent, undefined>> {
    this.#buffer.length = 0
    this.#finish({})
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  readonly #subscriber: Subscriber = {
    params: () => {
      const { prefix, since } = this.#options
      // The connection broke in the middle of a reading from the state: of that there is no cut to go on from, because
      // what was told may cover what was left out.
      if (this.#isLoose) this.#beginAnew(0)
      return { prefix, since: this.#cut === undefined ? since : cutToWire(this.#cut) }
    },
    subscribed: ({ applied }) => {
      this.#cut ??= new Map(applied)
      this.#resolveStarted(applied)
    },
    notified: (method, params, bytes) => this.#notified(method, params, bytes),
    failed: (error) => this.#finish(error.code === 'ERR_CLOSED' ? {} : { error }),
  }

  #notified(method: string, params: unknown, bytes: number): void {
    let told: ReturnType<typeof checkClientNotification>
    try {
      told = checkClientNotification(method, params)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#finish({ error: new TidingsError('ERR_NOT_TIDINGS', error.message, { cause: error }) })
      return
    }
    switch (told?.kind) {
      case undefined:
        return
      case 'update': {
        const { kind, version, writes, conflict, coalesced } = told
        if (coalesced && this.#own === undefined) {
          // A long reading from the state had better not be given up half way, as one on a shared connection is when
          // its consumer is slow; so it begins again on a connection of its own, before any of it is told.
          this.#options.session.unsubscribe(this.#subscriber)
          this.#goOwnWay()
          return
        }
        this.#isLoose ||= coalesced
        this.#take({ kind, version, writes, ...(conflict.length === 0 ? {} : { conflict }) }, bytes)
        return
      }
      case 'caughtUp':
        // Later ones name only what has changed, and the consumer needs the whole.
        raiseAll(this.#mutableCut(), told.applied)
        this.#isLoose = false
        this.#take({ kind: told.kind, applied: new Map(this.#mutableCut()) }, bytes)
        return
      case 'resync':
        this.#beginAnew(bytes)
        return
    }
  }

  /** What was told so far may no longer hold: a snapshot of all there is follows. */
  #beginAnew(bytes: number): void {
    this.#cut = new Map()
    this.#isLoose = false
    this.#take({ kind: 'resync' }, bytes)
  }

  #mutableCut(): MutableCut {
    return (this.#cut ??= new Map())
  }

  #take(event: WatchEvent, bytes: number): void {
    if (event.kind === 'update') raise(this.#mutableCut(), event.version.origin, event.version.timestamp)
    const held: Held = { event, bytes, shownBy: (this.#own ?? this.#options.session).origin }
    const taker = this.#takers.shift()
    if (taker !== undefined) {
      this.#seen(held)
      taker.resolve({ done: false, value: event })
      return
    }
    // Of two bookmarks in a row the first says nothing more.
    if (event.kind === 'caughtUp' && this.#buffer.at(-1)?.event.kind === 'caughtUp') {
      this.#bufferBytes -= this.#buffer.pop()?.bytes ?? 0
    }
    this.#buffer.push(held)
    this.#bufferBytes += bytes
    if (this.#buffer.length >= bufferEventsMax || this.#bufferBytes >= bufferBytesMax) this.#fallBehind()
  }

  /** The consumer gets it now: from here on it belongs to what the client has seen (R9). */
  #seen({ event, shownBy }: Held): void {
    if (event.kind !== 'update') return
    const { cut } = this.#options
    cut.learn(event.version, shownBy)
    for (const key of event.conflict ?? []) {
      for (const version of versionsOfKey(key)) cut.learn(version, shownBy)
    }
  }

  #fallBehind(): void {
    if (this.#own !== undefined) {
      this.#own.pause()
    } else {
      this.#isBehind = true
      this.#options.session.unsubscribe(this.#subscriber)
    }
  }

  /** The consumer has taken something; once little is left, more may come. */
  #goOn(): void {
    if (
      this.#end !== undefined ||
      this.#buffer.length > bufferEventsMax / 2 ||
      this.#bufferBytes > bufferBytesMax / 2
    ) {
      return
    }
    if (this.#isBehind) {
      this.#isBehind = false
      this.#goOwnWay()
    } else {
      this.#own?.resume()
    }
  }

  #goOwnWay(): void {
    this.#own = this.#options.openSession()
    this.#own.subscribe(this.#subscriber)
  }

  readonly #aborted = (): void => {
    this.#buffer.length = 0
    this.#finish({ error: this.#options.signal?.reason })
  }

  #finish(end: { readonly error?: unknown }): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#options.signal?.removeEventListener('abort', this.#aborted)
    if (!this.#isBehind) (this.#own ?? this.#options.session).unsubscribe(this.#subscriber)
    this.#own?.close()
    this.#options.ended(this)
    this.#rejectStarted(end.error ?? new TidingsError('ERR_CLOSED', 'the watch was ended before it began'))
    const [first, ...others] = this.#takers.splice(0)
    if (first === undefined) return
    if ('error' in end) {
      this.#end = {}
      first.reject(end.error)
    } else {
      first.resolve({ done: true, value: undefined })
    }
    for (const taker of others) taker.resolve({ done: true, value: undefined })
  }
}

export interface WatchOptions {
  readonly prefix: string
  readonly since: 'now' | 'start' | GivenCut
  readonly signal: AbortSignal | undefined
  /** The client's own, which the watch shares until it falls behind. */
  readonly session: Session
  readonly openSession: () => Session
  /** What the client has seen. */
  readonly cut: SessionCut
  readonly ended: (watch: Watch) => void
}

interface Held {
  readonly event: WatchEvent
  readonly bytes: number
  /** The server that pushed it. */
  readonly shownBy: Origin | undefined
}

interface Taker {
  readonly resolve: (result: IteratorResult<WatchEvent, undefined>) => void
  readonly reject: (error: unknown) => void
}

/** A page of a server's log is as long; so one that comes in a burst is no reason to call a consumer slow. */
const bufferEventsMax = 1_024
const bufferBytesMax = 4 << 20
