import { joinedFailure } from './joined-failure.ts'
import { printable } from '../terminal/printable.ts'
import type { ClientState } from './session.ts'
import type { Output, Presentation } from './presentation.ts'
import type { TidingsError } from './tidings-error.ts'

/**
 * What somebody who uses a client is told of its connection: one line for one event.
 *
 * - A connection that breaks is told once it is known what becomes of it: either the client moved, or every server was
 *   tried once and none was there. In between nothing is said, for it takes a few milliseconds.
 * - After that, attempts fail again and again for the same reason, and nobody is told until one succeeds. Only what trying
 *   again will hardly mend, such as a wrong secret, is told, each reason once.
 */
export class ConnectionReport {
  readonly #options: ConnectionReportOptions
  /** Why attempts have failed since the last connection, or since the beginning. */
  #failures: TidingsError[] = []
  readonly #told = new Set<string>()
  /** The last connection; undefined before the first. */
  #last: Extract<ClientState, { status: 'connected' }> | undefined

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
      case 'reconnecting':
        if (state.reason !== undefined) this.#failed(state.reason)
        return
      case 'closed':
    }
  }

  #connected(state: Extract<ClientState, { status: 'connected' }>): void {
    const { output, isInteractive } = this.#options
    const where = `server ${state.server} at ${state.address}`
    if (this.#last !== undefined) {
      const isSame = this.#last.server === state.server
      const went = `${isSame ? 'connected again' : 'moved'} to ${where}`
      output.note(this.#isRoundOver ? went : `${this.#whatBroke(this.#last)}; ${went}`)
    } else if (isInteractive) {
      output.note(`connected to ${where}; help lists the commands`)
    }
    this.#last = state
    this.#failures = []
    this.#told.clear()
  }

  #failed(reason: TidingsError): void {
    const wasOver = this.#isRoundOver
    this.#failures.push(reason)
    if (!this.#isRoundOver) return
    if (!wasOver) this.#tellRound()
    else if (!isUnreachable(reason)) this.#tell(reason)
  }

  /** Every server was tried, and none was there. */
  #tellRound(): void {
    const { serverCount, isInteractive, output } = this.#options
    if (this.#last === undefined) {
      const [first] = this.#failures
      if (isInteractive && first !== undefined) this.#tell(joinedFailure(first, this.#failures))
      return
    }
    const plan =
      serverCount === 1
        ? 'trying again until it is back'
        : `none of the ${serverCount} servers can be used; trying them in turn until one can`
    output.note(`${this.#whatBroke(this.#last)}; ${plan}`)
    for (const reason of this.#failures.slice(1)) if (!isUnreachable(reason)) this.#tell(reason)
  }

  #tell(reason: TidingsError): void {
    if (this.#told.has(reason.message)) return
    this.#told.add(reason.message)
    this.#options.presentation.failed(reason)
  }

  /** `lost server 2 at 127.0.0.1:60002 (the connection broke)`. */
  #whatBroke({ server, address }: Extract<ClientState, { status: 'connected' }>): string {
    const message = this.#failures[0]?.message ?? 'the connection broke'
    // The address is said already.
    const reason = message.replace(` to ${address}`, '').replace(`${address} `, 'it ')
    return `lost server ${server} at ${address} (${printable(reason)})`
  }

  /** Whether all servers were tried since the connection broke, the one that it was with included; or at the beginning. */
  get #isRoundOver(): boolean {
    const { serverCount } = this.#options
    return this.#failures.length >= (this.#last === undefined ? serverCount : serverCount + 1)
  }
}

export interface ConnectionReportOptions {
  readonly serverCount: number
  /** Somebody watches how the first connection is made. */
  readonly isInteractive: boolean
  readonly output: Pick<Output, 'note'>
  readonly presentation: Pick<Presentation, 'failed'>
}

/** Nobody is there now, and somebody may be later. */
function isUnreachable({ code }: TidingsError): boolean {
  return code === 'ERR_CANNOT_CONNECT' || code === 'ERR_CONNECTION_LOST' || code === 'ERR_SHUTTING_DOWN'
}
