import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { WireError, WireMessage } from '../integration/raw-client.ts'

/** What came of a question. */
export type Reply =
  | { readonly kind: 'result'; readonly result: unknown }
  | { readonly kind: 'refused'; readonly error: WireError }
  /** The connection broke before the answer. */
  | { readonly kind: 'broken' }
  /** No answer came in the time allowed. One that comes later finds nobody. */
  | { readonly kind: 'silent' }

/**
 * A connection to a server without any library, on which many sessions ask at the same time: bytes out, lines in. What
 * is asked in one turn of the event loop leaves in one write.
 */
export class SharedConnection {
  /** The run of the server's process, as it greeted. */
  origin = ''
  /**
   * What the server has shown that it has applied: it goes back behind none of it while this connection lasts. Whoever sees
   * more of it raises it.
   */
  readonly shown = new Map<string, number>()
  readonly #socket: Socket
  readonly #notified: (message: WireMessage) => void
  readonly #closed: () => void
  readonly #questions = new Map<
    number,
    { readonly deadlineMs: number; readonly resolve: (reply: Reply) => void }
  >()
  readonly #sweep: NodeJS.Timeout
  #nextId = 1
  #rest = ''
  #outbox = ''
  #isClosed = false

  private constructor(socket: Socket, events: ConnectionEvents) {
    this.#socket = socket
    this.#notified = events.notified ?? (() => {})
    this.#closed = events.closed ?? (() => {})
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => this.#read(text))
    socket.on('error', () => {})
    socket.on('close', () => this.#close())
    this.#sweep = setInterval(() => this.#giveUpOld(), sweepMs)
  }

  /** @returns undefined where nobody answers in time. */
  static async connect(port: number, events: ConnectionEvents = {}): Promise<SharedConnection | undefined> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const connection = new SharedConnection(socket, events)
    const reply = await connection.ask('hello', '{}', greetingMsMax)
    if (reply.kind !== 'result') {
      connection.close()
      return undefined
    }
    const { origin, applied } = reply.result as { origin: string; applied: Readonly<Record<string, number>> }
    connection.origin = origin
    for (const [of, timestamp] of Object.entries(applied)) connection.shown.set(of, timestamp)
    return connection
  }

  /** As {@link connect}, for a server that must be there. @throws Error, as a rejection, where it is not. */
  static async connectPatiently(port: number, events: ConnectionEvents = {}): Promise<SharedConnection> {
    for (const endsMs = performance.now() + patientMs; performance.now() < endsMs;) {
      const connection = await SharedConnection.connect(port, events)
      if (connection !== undefined) return connection
      await pause(redialMs)
    }
    throw new Error(`nobody answers at port ${port}`)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** @param params as text of JSON. */
  ask(method: string, params: string, allowedMs: number): Promise<Reply> {
    if (this.#isClosed) return Promise.resolve({ kind: 'broken' })
    return new Promise((resolve) => {
      const id = this.#nextId++
      this.#questions.set(id, { deadlineMs: performance.now() + allowedMs, resolve })
      if (this.#outbox === '') setImmediate(() => this.#flush())
      this.#outbox += `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}\n`
    })
  }

  /** As {@link ask}, for what must be answered. @throws Error, as a rejection, where it is not. */
  async call<Result>(method: string, params: object = {}): Promise<Result> {
    const text = JSON.stringify(params)
    const reply = await this.ask(method, text, patientMs)
    if (reply.kind === 'result') return reply.result as Result
    const why = reply.kind === 'refused' ? reply.error.message : reply.kind
    throw new Error(
      `${method} ${text.slice(0, 200)} was not answered at port ${this.#socket.remotePort}: ${why}`,
    )
  }

  /** The server has shown that it has applied this. */
  show(origin: string, timestamp: number): void {
    if ((this.shown.get(origin) ?? 0) < timestamp) this.shown.set(origin, timestamp)
  }

  /** Breaks it as soon as all that was asked has left: its answers are lost. */
  loseAnswers(): void {
    this.#flush()
    this.#socket.write('', () => this.close())
  }

  /** Takes nothing more from the socket. */
  stopReading(): void {
    this.#socket.pause()
  }

  readOn(): void {
    this.#socket.resume()
  }

  close(): void {
    this.#socket.destroy()
    this.#close()
  }

  #flush(): void {
    const text = this.#outbox
    this.#outbox = ''
    if (text !== '' && !this.#isClosed) this.#socket.write(text)
  }

  #read(text: string): void {
    if (this.#isClosed) return
    if (!text.includes('\n')) {
      // A long answer comes in many pieces, and is not to be looked through with each.
      this.#rest += text
      return
    }
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      const message = JSON.parse(line) as WireMessage
      if (message.method === undefined) this.#answered(message)
      else this.#notified(message)
    }
  }

  #answered({ id, result, error }: WireMessage): void {
    const question = this.#questions.get(id as number)
    if (question === undefined) return
    this.#questions.delete(id as number)
    question.resolve(error === undefined ? { kind: 'result', result } : { kind: 'refused', error })
  }

  #giveUpOld(): void {
    const nowMs = performance.now()
    for (const [id, { deadlineMs, resolve }] of this.#questions) {
      if (deadlineMs > nowMs) continue
      this.#questions.delete(id)
      resolve({ kind: 'silent' })
    }
  }

  #close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    clearInterval(this.#sweep)
    const questions = [...this.#questions.values()]
    this.#questions.clear()
    for (const { resolve } of questions) resolve({ kind: 'broken' })
    this.#closed()
  }
}

interface ConnectionEvents {
  readonly notified?: (message: WireMessage) => void
  readonly closed?: () => void
}

const sweepMs = 50
const greetingMsMax = 3_000
/** For the hung: what a server of which nothing is wrong may take, on a machine on which many others run. */
const patientMs = 300_000
const redialMs = 50
