import { connect, type Socket } from 'node:net'
import { within } from '../integration/processes.ts'

/** A TCP connection for whoever expects to be closed at any time: bytes out, lines in, and the end as what it is. */
export class LineSocket {
  readonly #socket: Socket
  readonly #lines: string[] = []
  #rest = ''
  #hasEnded = false
  #wake: () => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('utf8')
    socket.setNoDelay(true)
    socket.on('data', (text: string) => {
      const parts = (this.#rest + text).split('\n')
      this.#rest = parts.pop() ?? ''
      this.#lines.push(...parts)
      this.#wake()
    })
    // A reset is one of the ways in which a server may close.
    socket.on('error', () => {})
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.#hasEnded = true
        this.#wake()
      })
    }
  }

  static async connect(port: number): Promise<LineSocket> {
    const socket = connect({ port, host: '127.0.0.1' })
    const opened = new LineSocket(socket)
    const connected = new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    await within(connected, () => `no connection to ${port}`)
    return opened
  }

  send(bytes: string | Uint8Array): void {
    this.#socket.write(bytes)
  }

  /** The next line, or undefined where the server has closed and there is none. */
  async line(): Promise<string | undefined> {
    while (this.#lines.length === 0 && !this.#hasEnded) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      await within(woken, () => 'neither a line nor the end has come', silenceMsMax)
    }
    return this.#lines.shift()
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** For a machine that is busy with other things. */
const silenceMsMax = 60_000
