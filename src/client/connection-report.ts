import { printable } from '../terminal/printable.ts'
import type { ClientState } from './session.ts'
import type { Output, Presentation } from './presentation.ts'
import type { TidingsError } from './tidings-error.ts'

/**
 * What somebody who uses a client is told of its connection.
 *
 * A move to another server is one line: why, and where to. So what goes wrong after a connection broke is held back until
 * every server was tried once; if none was there, it is told as it comes, each reason once, for attempts fail for the same
 * ones again and again.
 */
export class ConnectionReport {
  readonly #options: ConnectionReportOptions
  readonly #reasons = new Map<string, TidingsError>()
  #failures = 0
  /** The server of the last connection. */
  #server: string | undefined

  constructor(options: ConnectionReportOptions) {
    this.#options = options
  }

  /** The client has said where it stands. */
  stateChanged(state: ClientState): void {
    switch (state.status) {
      case 'connected':
        this.#connected(state)
        return
      case 'connecting':
        if (state.reason !== undefined && this.#options.isInteractive) this.#failed(state.reason)
        return
      case 'reconnecting':
        this.#lost(state.reason)
        return
      case 'closed':
    }
  }

  #connected({ server, address }: Extract<ClientState, { status: 'connected' }>): void {
    const { output, isInteractive } = this.#options
    const where = `server ${server} at ${address}`
    if (this.#server !== undefined) {
      const [reason] = this.#isRoundOver ? [] : this.#reasons.values()
      const because = reason === undefined ? '' : `${printable(reason.message)}; `
      output.note(`${because}${this.#server === server ? 'connected again' : 'moved'} to ${where}`)
    } else if (isInteractive) {
      output.note(`connected to ${where}; help lists the commands`)
    }
    this.#server = server
    this.#reasons.clear()
    this.#failures = 0
  }

  #lost(reason: TidingsError): void {
    const wasOver = this.#isRoundOver
    this.#failures++
    if (wasOver) {
      this.#failed(reason)
      return
    }
    this.#reasons.set(reason.message, reason)
    if (!this.#isRoundOver) return
    for (const each of this.#reasons.values()) this.#options.presentation.failed(each)
  }

  #failed(reason: TidingsError): void {
    if (this.#reasons.has(reason.message)) return
    this.#reasons.set(reason.message, reason)
    this.#options.presentation.failed(reason)
  }

  /** Whether all servers were tried since the connection broke, the one that it was with included. */
  get #isRoundOver(): boolean {
    return this.#failures > this.#options.serverCount
  }
}

export interface ConnectionReportOptions {
  readonly serverCount: number
  /** Somebody watches how the first connection is made. */
  readonly isInteractive: boolean
  readonly output: Output
  readonly presentation: Presentation
}
