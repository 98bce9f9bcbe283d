import { connect, type Socket } from 'node:net'
import type { Address } from './sockets.ts'

/** Asks a server one thing after the other, where a measurement wants to know something and does not measure it. */
export class ControlClient {
  readonly #socket: Socket
  readonly #waiting: { resolve(answer: unknown): void; reject(error: Error): void }[] = []
  #text = ''

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => {
      const lines = (this.#text + text).split('\n')
      this.#text = lines.pop() ?? ''
      for (const line of lines) this.#answer(JSON.parse(line) as Answer)
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      for (const waiting of this.#waiting.splice(0)) {
        waiting.reject(new Error('the connection has been closed'))
      }
    })
  }

  /** @throws Error, as a rejection, where nothing listens there. */
  static connect({ host, port }: Address): Promise<ControlClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new ControlClient(socket))
      })
    })
  }

  status(): Promise<Status> {
    return this.#ask('status') as Promise<Status>
  }

  close(): void {
    this.#socket.destroy()
  }

  #ask(method: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#socket.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method })}\n`)
    })
  }

  #answer({ result, error }: Answer): void {
    const waiting = this.#waiting.shift()
    if (error === undefined) waiting?.resolve(result)
    else waiting?.reject(new Error(error.message))
  }
}

/** Of the answer to `status`, what measurements look at. */
export interface Status {
  readonly applied: Readonly<Record<string, number>>
  readonly keys: number
  readonly log: number
  readonly logBytes: number
  readonly waiting: number
  readonly peers: readonly { readonly id: string; readonly state: string }[]
}

interface Answer {
  readonly result?: unknown
  readonly error?: { readonly message: string }
}
