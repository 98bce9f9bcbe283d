import { createServer, type Server as Listener, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { Narrator, type ServerEvent } from '../../src/server/narrator.ts'
import { Server } from '../../src/server/server.ts'

/** What has to be ended after a test, the youngest first. */
const running: (() => Promise<void>)[] = []

export async function endAll(): Promise<void> {
  for (const end of running.splice(0).toReversed()) await end()
}

/** Anything that is to be closed after the test. */
export function closing<Closable extends { close(): Promise<void> }>(closable: Closable): Closable {
  running.push(() => closable.close())
  return closable
}

/** A server in this process, on a port that the system chooses. */
export class RunningServer {
  readonly id: string
  readonly port: number
  readonly events: ServerEvent[]
  readonly #server: Server

  private constructor(options: { id: string; port: number; events: ServerEvent[]; server: Server }) {
    this.id = options.id
    this.port = options.port
    this.events = options.events
    this.#server = options.server
  }

  static async start(
    options: {
      readonly id?: string
      readonly port?: number
      readonly peers?: readonly RunningServer[]
      readonly secret?: string
      readonly isLab?: boolean
    } = {},
  ): Promise<RunningServer> {
    const { id = '1', port = 0, peers = [], secret, isLab = false } = options
    const events: ServerEvent[] = []
    const server = new Server({
      server: id,
      host: '127.0.0.1',
      port,
      peers: peers.map((peer) => ({ host: '127.0.0.1', port: peer.port })),
      isInsecure: false,
      isLab,
      narrator: new Narrator({ write: (line) => events.push(JSON.parse(line) as ServerEvent) }),
      ...(secret === undefined ? {} : { secret }),
    })
    const address = await server.start()
    const started = new RunningServer({ id, port: address.port, events, server })
    running.push(() => started.stop())
    return started
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  async stop(): Promise<void> {
    await this.#server.stop('the test is over')
  }
}

export interface Asked {
  readonly id: number
  readonly method: string
  readonly params: { readonly [name: string]: unknown }
}

/** An error as an answer: its code, and what stands in its data. */
export class Refusal {
  readonly code: number
  readonly data: object

  constructor(code: number, data: object = {}) {
    this.code = code
    this.data = data
  }
}

/** Somebody who listens and answers just what the test says. */
export class FakeServer {
  readonly port: number
  /** All that was asked, over all connections. */
  readonly asked: Asked[] = []
  readonly #listener: Listener
  readonly #sockets: Set<Socket>

  private constructor(listener: Listener, sockets: Set<Socket>) {
    this.#listener = listener
    this.#sockets = sockets
    this.port = (listener.address() as AddressInfo).port
  }

  /**
   * @param answer the result of a request, or the error; undefined for none at all. May break the connection instead.
   * @param port of an earlier one, to come back in its place.
   */
  static async start(
    answer: (asked: Asked, socket: Socket) => object | undefined,
    port = 0,
  ): Promise<FakeServer> {
    const sockets = new Set<Socket>()
    const listener = createServer((socket) => {
      sockets.add(socket)
      let text = ''
      socket.on('error', () => {})
      socket.on('data', (chunk) => {
        const lines = (text + chunk.toString()).split('\n')
        text = lines.pop() ?? ''
        for (const line of lines) {
          const asked = JSON.parse(line) as Asked
          fake.asked.push(asked)
          const result = answer(asked, socket)
          if (result === undefined) continue
          const outcome =
            result instanceof Refusal
              ? { error: { code: result.code, message: 'no', data: result.data } }
              : { result }
          socket.write(`${JSON.stringify({ jsonrpc: '2.0', id: asked.id, ...outcome })}\n`)
        }
      })
    })
    await new Promise<void>((resolve) => {
      listener.listen({ host: '127.0.0.1', port }, resolve)
    })
    const fake = new FakeServer(listener, sockets)
    running.push(() => fake.close())
    return fake
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  /** What was asked by one method, in its order. */
  askedFor(method: string): readonly Asked['params'][] {
    return this.asked.filter((asked) => asked.method === method).map(({ params }) => params)
  }

  /** Breaks all connections, without a word. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => {
      this.#listener.close(() => resolve())
    })
  }
}

/** What a server of a certain id answers to `hello`. */
export function greetingOf(server: string, applied: { readonly [origin: string]: number } = {}): object {
  return { server, origin: `${server}~fake`, protocol: 1, applied }
}

/** What a server answers to `hello`. */
export const greeting = { server: '9', origin: '9~fake', protocol: 1, applied: {} }

/** Resolves once a condition that events of this process bring about is true; looks again at every turn. */
export async function until(isTrue: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const start = performance.now()
  while (!(await isTrue())) {
    if (performance.now() - start > 20_000) throw new Error(`waited 20 s in vain until ${what}`)
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
}
