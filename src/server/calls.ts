import { encodeRequest, type RpcResponse } from '../protocol/json-rpc.ts'

/** The other side did not answer a call, in time or at all. */
export class Unanswered extends Error {
  override readonly name = 'Unanswered'
}

/** The requests that this side has sent on one connection and that are not answered yet. */
export class Calls {
  readonly #send: (line: string) => void
  readonly #open = new Map<number, OpenCall>()
  #next = 1

  /** @param send takes a line and sees to it that it leaves. */
  constructor(send: (line: string) => void) {
    this.#send = send
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

  /** @returns whether the other side is there: any answer in time will do. */
  async ping(timeoutMs: number): Promise<boolean> {
    try {
      await this.call('peer.ping', {}, timeoutMs)
      return true
    } catch (error) {
      return !(error instanceof Unanswered)
    }
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
