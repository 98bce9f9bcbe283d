import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** Somebody who listens where a server is expected, and says one thing to whoever dials and says something. */
export class HostileListener {
  readonly #listener: Server
  readonly #sockets = new Set<Socket>()
  /** Resolves when somebody has dialled, been told, and gone again. */
  readonly told: Promise<void>

  private constructor(answer: string | Uint8Array | undefined) {
    let hasGone: () => void = () => {}
    this.told = new Promise((resolve) => {
      hasGone = resolve
    })
    this.#listener = createServer((socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.once('data', () => {
        if (answer === undefined) socket.destroy()
        else socket.write(answer)
      })
      socket.on('close', () => {
        this.#sockets.delete(socket)
        hasGone()
      })
    })
  }

  /** @param answer without one, it hangs up. */
  static async start(answer: string | Uint8Array | undefined): Promise<HostileListener> {
    const listener = new HostileListener(answer)
    listener.#listener.listen(0, '127.0.0.1')
    await once(listener.#listener, 'listening')
    return listener
  }

  get port(): number {
    return (this.#listener.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#listener.close()
    await once(this.#listener, 'close')
  }
}
