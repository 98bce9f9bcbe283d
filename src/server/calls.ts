import { encodeRequest, type RpcResponse } from '../protocol/json-rpc.ts'

/** The other side did not answer a call, in time or at all. */
export class Unanswered extends Error {
  override readonly name = 'Unanswered'
}

/** The requests that this side has sent on one connection and that are not answered yet. */
export class Calls {
  readonly #send: (line: string) => void
  readonly #received: () => number
  readonly #open = new Map<number, OpenCall>()
  #isAbandoned = false
  #next = 1

  constructor(options: {
    /** Takes a line and sees to it that it leaves. */
    readonly send: (line: string) => void
    /** How many bytes have come on the connection. */
    readonly received: () => number
  }) {
    this.#send = options.send
    this.#received = options.received
  }

  /**
   * @returns the result, unchecked.
   * @throws ProtocolError the error that the other side answered; Unanswered where it does not answer in time.
   */
  call(method: string, params: object, timeoutMs: number): Promise<unknown> {
    const id = this.#next++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#open.delete(id)
        reject(new Unanswered(`${method} was not answered within ${timeoutMs} ms`))
      }, timeoutMs)
      this.#open.set(id, { resolve, reject, timer })
      this.#send(encodeRequest({ id, method, params }))
    })
  }

  /**
   * @returns whether the other side is there: it answers in time, or anything else comes from it meanwhile. An answer
   *   waits on a slow network for the ping to get through, and behind what was said before it; and a link may be slow in
   *   one direction only.
   */
  async ping(timeoutMs: number): Promise<boolean> {
    const received = this.#received()
    try {
      await this.call('peer.ping', {}, timeoutMs)
      return true
    } catch (error) {
      if (!(error instanceof Unanswered)) return true
    }
    if (this.#isAbandoned) return false
    // Who has stood still finds the time over before it finds what has come: that is read before this goes on.
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    return !this.#isAbandoned && this.#received() > received
  }

  /** An answer has come. One that belongs to no open call came too late and is ignored. */
  settle(response: RpcResponse): void {
    const call = typeof response.id === 'number' ? this.#open.get(response.id) : undefined
    if (call === undefined) return
    this.#open.delete(response.id as number)
    clearTimeout(call.timer)
    if ('error' in response.outcome) call.reject(response.outcome.error)
    else call.resolve(response.outcome.result)
  }

  /** The connection is gone: no answer will come. */
  abandon(reason: string): void {
    this.#isAbandoned = true
    for (const { reject, timer } of this.#open.values()) {
      clearTimeout(timer)
      reject(new Unanswered(reason))
    }
    this.#open.clear()
  }
}

interface OpenCall {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}
