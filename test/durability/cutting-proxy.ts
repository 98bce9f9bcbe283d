import { connect, createServer, type AddressInfo, type Server as Listener, type Socket } from 'node:net'

/**
 * A wire between a client and a server, which can break at the worst moment: when the server's answer to a request has left
 * it, and has not reached the client.
 */
export class CuttingProxy {
  /** Lines that were let through, in their order, of all connections; the first of them, where there are very many. */
  readonly asked: string[] = []
  readonly #listener: Listener
  readonly #target: number
  readonly #sockets = new Set<Socket>()
  #cuts: { readonly isWanted: (request: string) => boolean; readonly before: () => Promise<void> }[] = []

  private constructor(listener: Listener, target: number) {
    this.#listener = listener
    this.#target = target
  }

  /** @param target the port of the server. */
  static async start(target: number): Promise<CuttingProxy> {
    const listener = createServer()
    const proxy = new CuttingProxy(listener, target)
    listener.on('connection', (near) => proxy.#join(near))
    await new Promise<void>((resolve) => {
      listener.listen(0, '127.0.0.1', resolve)
    })
    return proxy
  }

  get port(): number {
    return (this.#listener.address() as AddressInfo).port
  }

  /**
   * Cuts the connection in place of the answer to the next request of a kind.
   *
   * @param isWanted is asked with each request's line.
   * @param before is done when the answer has come, and waited for, before the client's side breaks.
   */
  cutAnswerTo(isWanted: (request: string) => boolean, before: () => Promise<void> = async () => {}): void {
    this.#cuts.push({ isWanted, before })
  }

  close(): void {
    this.#listener.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #join(near: Socket): void {
    const far = connect({ port: this.#target, host: '127.0.0.1' })
    /** The requests whose answers are not to come through, by id. */
    const doomed = new Map<unknown, () => Promise<void>>()
    let isBreaking = false
    const end = (): void => {
      if (isBreaking) return
      near.destroy()
      far.destroy()
    }
    for (const socket of [near, far]) {
      this.#sockets.add(socket)
      socket.on('error', end)
      socket.on('close', end)
      socket.on('close', () => this.#sockets.delete(socket))
    }
    eachLine(near, (line) => {
      if (this.asked.length < askedMax) this.asked.push(line)
      const cut = this.#cuts.find(({ isWanted }) => isWanted(line))
      if (cut !== undefined) {
        this.#cuts = this.#cuts.filter((other) => other !== cut)
        doomed.set(idOf(line), cut.before)
      }
      far.write(`${line}\n`)
    })
    eachLine(far, (line) => {
      // Looking for ids costs more than all the rest.
      const before = doomed.size === 0 ? undefined : doomed.get(idOf(line))
      if (before === undefined) {
        if (!isBreaking) near.write(`${line}\n`)
        return
      }
      isBreaking = true
      void before().finally(() => {
        isBreaking = false
        end()
      })
    })
  }
}

const askedMax = 10_000

function eachLine(socket: Socket, read: (line: string) => void): void {
  let rest = ''
  socket.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) read(line)
  })
}

function idOf(line: string): unknown {
  return (JSON.parse(line) as { readonly id?: unknown }).id
}
