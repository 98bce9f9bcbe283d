import { connect, createServer, type Server as Listener, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { AddressRewriter } from './address-rewriter.ts'
import type { Direction } from './network.ts'

/**
 * One directed link between two servers: the sender dials this proxy in place of the receiver, and what it sends goes
 * through here, as do the answers on the same connection.
 *
 * Servers tell each other where they and others listen. Were that passed on as it is, they would go round the
 * proxies; so in whatever passes, each address is replaced by the one at which the listener of that news is to dial it.
 */
export class LinkProxy {
  readonly from: string
  readonly to: string
  readonly port: number
  readonly #options: LinkProxyOptions
  readonly #listener: Listener
  readonly #pairs = new Set<Pair>()
  #isCut = false
  #held: Direction | undefined
  #delayMs = 0

  private constructor(options: LinkProxyOptions) {
    this.from = options.from
    this.to = options.to
    this.port = options.port
    this.#options = options
    this.#listener = createServer({ allowHalfOpen: true }, (near) => this.#join(near))
  }

  static async start(options: LinkProxyOptions): Promise<LinkProxy> {
    const proxy = new LinkProxy(options)
    await new Promise<void>((resolve, reject) => {
      proxy.#listener.once('error', reject)
      proxy.#listener.listen(options.port, '127.0.0.1', resolve)
    })
    return proxy
  }

  /** Breaks what is there, wherever in a frame that may be, and lets nothing new come about. */
  cut(): void {
    this.#isCut = true
    this.breakNow()
  }

  /** Breaks what is there; it may be dialled again at once. */
  breakNow(): void {
    for (const pair of this.#pairs) pair.destroy()
  }

  /** Nothing passes, and nobody is told: packets that vanish. New connections come about, and are as mute. */
  hold(direction: Direction): void {
    this.#held = direction
    for (const pair of this.#pairs) this.#set(pair)
  }

  /** Each piece takes that much longer, in its order. */
  delay(delayMs: number): void {
    this.#delayMs = delayMs
    for (const pair of this.#pairs) this.#set(pair)
  }

  /** As if nothing had been done. What was held goes on its way. */
  heal(): void {
    this.#isCut = false
    this.#held = undefined
    this.#delayMs = 0
    for (const pair of this.#pairs) this.#set(pair)
  }

  close(): void {
    this.#listener.close()
    this.breakNow()
  }

  #join(near: Socket): void {
    if (this.#isCut) {
      near.on('error', () => {})
      near.destroy()
      return
    }
    const { from, to, target, portOf } = this.#options
    const far = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    near.setNoDelay(true)
    const pair = new Pair({
      near,
      far,
      there: new AddressRewriter((line) => rewritten(line, { viewer: to, sender: from, portOf })),
      back: new AddressRewriter((line) => rewritten(line, { viewer: from, sender: to, portOf })),
      closed: () => this.#pairs.delete(pair),
    })
    this.#pairs.add(pair)
    this.#set(pair)
  }

  #set(pair: Pair): void {
    pair.set({ held: this.#held, delayMs: this.#delayMs })
  }
}

export interface LinkProxyOptions {
  readonly from: string
  readonly to: string
  /** Where it listens. */
  readonly port: number
  /** The port of the server that it leads to. */
  readonly target: number
  /** Where a server is to dial another one; undefined for one that there is not. */
  readonly portOf: (from: string, to: string) => number | undefined
}

/** The two connections that are one to the servers at their ends. */
class Pair {
  readonly #near: Socket
  readonly #far: Socket
  readonly #there: Pipe
  readonly #back: Pipe
  readonly #closed: () => void

  constructor(options: {
    readonly near: Socket
    readonly far: Socket
    readonly there: AddressRewriter
    readonly back: AddressRewriter
    readonly closed: () => void
  }) {
    const { near, far } = options
    this.#near = near
    this.#far = far
    this.#closed = options.closed
    this.#there = new Pipe(near, far, options.there)
    this.#back = new Pipe(far, near, options.back)
    for (const [source, pipe] of [
      [near, this.#there],
      [far, this.#back],
    ] as const) {
      source.on('error', () => pipe.sourceClosed())
      source.on('close', () => {
        pipe.sourceClosed()
        if (near.destroyed && far.destroyed) this.#closed()
      })
    }
  }

  set({ held, delayMs }: { readonly held: Direction | undefined; readonly delayMs: number }): void {
    this.#there.set({ isHeld: held === 'there' || held === 'both', delayMs })
    this.#back.set({ isHeld: held === 'back' || held === 'both', delayMs })
  }

  destroy(): void {
    this.#near.destroy()
    this.#far.destroy()
    this.#closed()
  }
}

/** One way of a pair: bytes in their order, later, or not before the hold ends. */
class Pipe {
  readonly #source: Socket
  readonly #sink: Socket
  readonly #queue: { readonly dueMs: number; readonly bytes: Buffer }[] = []
  #queuedBytes = 0
  #isHeld = false
  #delayMs = 0
  #isDelivering = false
  #hasEnded = false
  #isClosed = false

  constructor(source: Socket, sink: Socket, rewriter: AddressRewriter) {
    this.#source = source
    this.#sink = sink
    source.on('data', (chunk: Buffer) => {
      const bytes = rewriter.push(chunk)
      this.#queue.push({ dueMs: performance.now() + this.#delayMs, bytes })
      this.#queuedBytes += bytes.length
      this.#deliver()
    })
    source.on('end', () => {
      this.#hasEnded = true
      this.#deliver()
    })
    sink.on('drain', () => this.#deliver())
  }

  set({ isHeld, delayMs }: { readonly isHeld: boolean; readonly delayMs: number }): void {
    this.#isHeld = isHeld
    this.#delayMs = delayMs
    this.#deliver()
  }

  /** Nothing more comes; whoever is at the other end learns it once it has what came before. */
  sourceClosed(): void {
    this.#isClosed = true
    this.#deliver()
  }

  #deliver(): void {
    while (!this.#isHeld && !this.#sink.writableNeedDrain) {
      const [first] = this.#queue
      if (first === undefined) {
        if (this.#isClosed) this.#sink.destroy()
        else if (this.#hasEnded) this.#sink.end()
        break
      }
      if (first.dueMs > performance.now()) {
        this.#deliverLater(first.dueMs - performance.now())
        break
      }
      this.#queue.shift()
      this.#queuedBytes -= first.bytes.length
      if (!this.#sink.destroyed) this.#sink.write(first.bytes)
    }
    if (this.#isHeld || this.#queuedBytes > queuedBytesMax) this.#source.pause()
    else if (this.#source.isPaused()) this.#source.resume()
  }

  #deliverLater(ms: number): void {
    if (this.#isDelivering) return
    this.#isDelivering = true
    void pause(ms, undefined, { ref: false }).then(() => {
      this.#isDelivering = false
      this.#deliver()
    })
  }
}

/** What a slow link may have on its way. */
const queuedBytesMax = 4 << 20

interface MemberOnWire {
  readonly id: string
  readonly host: string
  readonly port: number
}

/** A greeting, its answer or a `peer.members`, as far as is looked at here. */
interface Telling {
  params?: { address?: object; members?: readonly MemberOnWire[] }
  result?: { members?: readonly MemberOnWire[] }
}

/**
 * The line as its reader is to have it.
 *
 * @param news.viewer who reads it.
 * @param news.sender who says it.
 */
function rewritten(
  line: string,
  news: {
    readonly viewer: string
    readonly sender: string
    readonly portOf: LinkProxyOptions['portOf']
  },
): string {
  const { viewer, sender, portOf } = news
  const telling = JSON.parse(line) as Telling
  const forViewer = (members: readonly MemberOnWire[]): readonly MemberOnWire[] =>
    members.flatMap(({ id }) => {
      const port = portOf(viewer, id)
      return port === undefined ? [] : [{ id, host: '127.0.0.1', port }]
    })
  for (const told of [telling.params, telling.result]) {
    if (told?.members !== undefined) told.members = forViewer(told.members)
  }
  if (telling.params?.address !== undefined) {
    telling.params.address = { host: '127.0.0.1', port: portOf(viewer, sender) }
  }
  return JSON.stringify(telling)
}
