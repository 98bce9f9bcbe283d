import { connect, type Socket } from 'node:net'
import { waitMsMax, within } from './processes.ts'

/** A message as it came over the wire, unchecked. */
export interface WireMessage {
  readonly jsonrpc?: unknown
  readonly id?: unknown
  readonly method?: unknown
  readonly result?: unknown
  readonly error?: WireError
  readonly params?: unknown
}

export interface WireError {
  readonly code: number
  readonly message: string
  readonly data: { readonly definite: boolean; readonly path?: string; readonly [name: string]: unknown }
}

/** A TCP client without any library: bytes out, lines in. */
export class RawClient {
  readonly #socket: Socket
  readonly #lines: string[] = []
  readonly #waits = new Set<() => void>()
  #rest = ''
  #isClosed = false
  #hasEnded = false
  #nextId = 1

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('utf8')
    socket.setNoDelay(true)
    socket.on('data', (text: string) => {
      const parts = (this.#rest + text).split('\n')
      this.#rest = parts.pop() ?? ''
      this.#lines.push(...parts)
      this.#look()
    })
    socket.on('end', () => {
      this.#hasEnded = true
      this.#look()
    })
    // A reset is one of the ways in which a server may close; what was said before it has been read.
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#isClosed = true
      this.#look()
    })
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    const client = new RawClient(socket)
    const connected = new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    await within(connected, () => `no connection to ${port}`)
    return client
  }

  /** Bytes, as they are. */
  send(bytes: string | Uint8Array): void {
    this.#socket.write(bytes)
  }

  /** Waits until the system has taken all that was sent. */
  async flushed(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#socket.write('', () => resolve())
    })
  }

  /** One message and its line end. */
  sendMessage(message: unknown): void {
    this.send(`${JSON.stringify(message)}\n`)
  }

  /** Sends no more; answers still come. */
  halfClose(): void {
    this.#socket.end()
  }

  close(): void {
    this.#socket.destroy()
  }

  /** Takes nothing more from the socket. */
  stopReading(): void {
    this.#socket.pause()
  }

  readOn(): void {
    this.#socket.resume()
  }

  /** The next line that has not been taken. */
  async line(): Promise<string> {
    return await this.#take('a line', () => true)
  }

  async message(): Promise<WireMessage> {
    return JSON.parse(await this.line()) as WireMessage
  }

  /** The answer with an id, whatever comes before it. */
  async answer(id: unknown): Promise<WireMessage> {
    const line = await this.#take(`the answer to ${JSON.stringify(id)}`, (text) => {
      const message = JSON.parse(text) as WireMessage
      return message.method === undefined && message.id === id
    })
    return JSON.parse(line) as WireMessage
  }

  /** The next notification of a method. */
  async push(method: string): Promise<WireMessage> {
    const line = await this.#take(
      `a push of ${method}`,
      (text) => (JSON.parse(text) as WireMessage).method === method,
    )
    return JSON.parse(line) as WireMessage
  }

  /** Sends a request. @returns its answer, result or error. */
  async ask(method: string, params: object = {}): Promise<WireMessage> {
    const id = this.#nextId++
    this.sendMessage({ jsonrpc: '2.0', id, method, params })
    return await this.answer(id)
  }

  /** Sends a request that must succeed. @returns its result, unchecked. */
  async call<Result = unknown>(method: string, params: object = {}): Promise<Result> {
    const { result, error } = await this.ask(method, params)
    if (error !== undefined) throw new Error(`${method} was answered with ${error.code}: ${error.message}`)
    return result as Result
  }

  /**
   * Asks again and again, as fast as answers come, until one is as wanted: for what a server learns in a moment
   * and tells nobody by itself.
   */
  async until<Result>(
    method: string,
    params: object,
    isWanted: (result: Result) => boolean,
    boundMs = waitMsMax,
  ): Promise<Result> {
    const startMs = performance.now()
    for (;;) {
      const result = await this.call<Result>(method, params)
      if (isWanted(result)) return result
      if (performance.now() - startMs > boundMs)
        throw new Error(
          `${method} still answers ${JSON.stringify(result).slice(0, 2_000)} after ${boundMs} ms`,
        )
    }
  }

  /** Sends a request that must fail. */
  async fails(method: string, params: object = {}): Promise<WireError> {
    const { result, error } = await this.ask(method, params)
    if (error === undefined) throw new Error(`${method} was answered with ${JSON.stringify(result)}`)
    return error
  }

  /** Waits until the server has closed. @returns the lines that came before and were not taken. */
  async closed(): Promise<readonly string[]> {
    await this.#until('the end of the connection', () =>
      this.#hasEnded || this.#isClosed ? true : undefined,
    )
    this.#socket.destroy()
    return this.#lines.splice(0)
  }

  /** Lines that have come and were not taken. */
  get untaken(): readonly string[] {
    return this.#lines
  }

  async #take(what: string, isWanted: (line: string) => boolean): Promise<string> {
    return await this.#until(what, () => {
      const index = this.#lines.findIndex(isWanted)
      if (index === -1) {
        if (this.#hasEnded || this.#isClosed)
          throw new Error(`closed before ${what}; there is ${this.#told()}`)
        return undefined
      }
      return this.#lines.splice(index, 1)[0]
    })
  }

  async #until<Found>(what: string, find: () => Found | undefined): Promise<Found> {
    let look: (() => void) | undefined
    const found = new Promise<Found>((resolve, reject) => {
      look = () => {
        try {
          const value = find()
          if (value !== undefined) resolve(value)
        } catch (error) {
          reject(error)
        }
      }
      this.#waits.add(look)
      look()
    })
    try {
      return await within(found, () => `${what} has not come; there is ${this.#told()}`)
    } finally {
      if (look !== undefined) this.#waits.delete(look)
    }
  }

  #look(): void {
    for (const look of this.#waits) look()
  }

  #told(): string {
    return this.#lines.map((line) => line.slice(0, 300)).join('\n') || 'nothing'
  }
}
