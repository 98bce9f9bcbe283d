import type { Socket } from 'node:net'
import { open, type Address } from './sockets.ts'

/**
 * Writes as fast as a server takes them, over raw sockets: so many connections, so many writes in flight on each. As
 * soon as an answer has come the next write goes, all that are due in one piece.
 *
 * The answers are counted by their ends and searched for errors, and not parsed: what measures shares the processors
 * with what is measured.
 */
export class WriteLoad {
  readonly #connections: readonly Connection[]
  readonly #keyOf: (index: number) => string
  readonly #countMax: number
  #sent = 0
  #acknowledged = 0
  #isEnding = false
  #settle: { resolve(): void; reject(error: Error): void } | undefined

  private constructor(connections: readonly Connection[], plan: LoadPlan) {
    this.#connections = connections
    this.#keyOf = plan.keyOf
    this.#countMax = plan.count ?? Infinity
  }

  static async connect(address: Address, plan: LoadPlan): Promise<WriteLoad> {
    const sockets = await Promise.all(Array.from({ length: plan.connections }, () => open(address)))
    return new WriteLoad(
      sockets.map((socket) => ({ socket, inFlight: plan.inFlight })),
      plan,
    )
  }

  /** Writes that were acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  /**
   * Writes until the planned count is acknowledged, or until {@link end}.
   *
   * @throws Error, as a rejection, for an answer that is an error and for a connection that breaks.
   */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      for (const connection of this.#connections) {
        const { socket, inFlight } = connection
        socket.on('data', (chunk: Buffer) => this.#take(socket, chunk))
        socket.on('error', (error) => reject(error))
        socket.on('close', () => reject(new Error('a connection of the load has been closed')))
        this.#send(socket, inFlight)
      }
    })
  }

  /** Sends nothing more; what is under way is waited for by {@link run}. */
  end(): void {
    this.#isEnding = true
    this.#finishIfDone()
  }

  #take(socket: Socket, chunk: Buffer): void {
    if (chunk.includes('"error"')) {
      this.#settle?.reject(new Error(`the server answered ${chunk.toString().slice(0, 300)}`))
      return
    }
    let count = 0
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) count++
    this.#acknowledged += count
    this.#send(socket, count)
    this.#finishIfDone()
  }

  #send(socket: Socket, count: number): void {
    if (this.#isEnding) return
    let text = ''
    for (let left = Math.min(count, this.#countMax - this.#sent); left > 0; left--) {
      text += `{"jsonrpc":"2.0","id":1,"method":"write","params":{"key":"${this.#keyOf(this.#sent++)}","value":"${value}"}}\n`
    }
    if (text !== '') socket.write(text)
  }

  #finishIfDone(): void {
    const isDone = this.#isEnding ? this.#acknowledged === this.#sent : this.#acknowledged === this.#countMax
    if (!isDone) return
    for (const { socket } of this.#connections) {
      socket.removeAllListeners('close')
      socket.destroy()
    }
    this.#settle?.resolve()
  }
}

export interface LoadPlan {
  readonly connections: number
  /** Writes in flight on each connection. */
  readonly inFlight: number
  /** The key of the nth write: no character of it needs an escape in JSON. */
  readonly keyOf: (index: number) => string
  /** How many writes; without it until it is ended. */
  readonly count?: number
}

interface Connection {
  readonly socket: Socket
  readonly inFlight: number
}

/** A hundred bytes, as in all our measurements. */
const value = 'x'.repeat(100)
