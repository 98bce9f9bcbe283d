import { connect, createServer, type AddressInfo, type Server as Listener, type Socket } from 'node:net'
import { within } from '../integration/processes.ts'

/** A line that a server has sent to its peer. */
export interface Heard {
  /** The id of the server that sent it. */
  readonly from: string
  readonly method: string
  readonly params: Readonly<Record<string, unknown>>
  /** On the wire, its end included. */
  readonly bytes: number
}

/**
 * A peer that only listens: it takes the place of a server in a mesh, writes down what the others send to it, and has nothing
 * of its own to say. So it shows to the byte what a server costs its peers.
 */
export class ListeningPeer {
  readonly #heard: Heard[] = []
  readonly #listener: Listener
  readonly #sockets = new Set<Socket>()
  readonly #looks = new Set<() => void>()

  private constructor(listener: Listener) {
    this.#listener = listener
  }

  static async start(): Promise<ListeningPeer> {
    const listener = createServer()
    const peer = new ListeningPeer(listener)
    listener.on('connection', (socket) => peer.#accept(socket))
    await new Promise<void>((resolve) => {
      listener.listen(0, '127.0.0.1', resolve)
    })
    return peer
  }

  /** How many lines have been heard: where to listen from for what comes next. */
  get mark(): number {
    return this.#heard.length
  }

  /** Introduces itself to a server, and waits until the server has dialled it in turn. */
  async join({ id, port }: { readonly id: string; readonly port: number }): Promise<void> {
    const mark = this.#heard.length
    const socket = connect({ port, host: '127.0.0.1' })
    this.#take(socket, id)
    const own = this.#listener.address() as AddressInfo
    const params = { ...self, members: [], address: { host: '127.0.0.1', port: own.port } }
    send(socket, { id: 1, method: 'peer.hello', params })
    await this.next(mark, ({ from, method }) => from === id && method === 'peer.cut', `server ${id} to join`)
  }

  /** Waits for the first line after a mark that is as wanted. */
  async next(mark: number, isWanted: (heard: Heard) => boolean, what: string): Promise<Heard> {
    let look: (() => void) | undefined
    const found = new Promise<Heard>((resolve) => {
      look = () => {
        const heard = this.#heard.slice(mark).find(isWanted)
        if (heard !== undefined) resolve(heard)
      }
      this.#looks.add(look)
      look()
    })
    try {
      return await within(found, () => `a listening peer waits for ${what}`)
    } finally {
      if (look !== undefined) this.#looks.delete(look)
    }
  }

  close(): void {
    this.#listener.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #accept(socket: Socket): void {
    this.#take(socket, '?')
  }

  /** @param from who is at the other end; unknown of one that dials, until it says so. */
  #take(socket: Socket, from: string): void {
    let sender = from
    let rest = ''
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
    socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const { id, method, params = {} } = JSON.parse(line) as SentLine
        if (method === undefined) continue
        if (method === 'peer.hello') {
          sender = String(params.server)
          send(socket, { id, result: { ...self, applied: {}, members: [] } })
        } else if (id !== undefined) {
          send(socket, { id, result: {} })
        }
        this.#heard.push({ from: sender, method, params, bytes: Buffer.byteLength(line) + 1 })
        for (const look of this.#looks) look()
      }
    })
  }
}

interface SentLine {
  readonly id?: unknown
  readonly method?: string
  readonly params?: Readonly<Record<string, unknown>>
}

const self = { server: 'listener', origin: 'listener~run', protocol: 1 }

function send(socket: Socket, message: object): void {
  socket.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
}
