import { TidingsError, type Client } from '../../src/client/client.ts'
import type { Write } from '../../src/replica/update.ts'
import { RawClient, type WireError } from '../integration/raw-client.ts'
import type { WireVersion } from './dump.ts'
import { sharedPrefix, textOf, type Attempt, type Ledger } from './ledger.ts'
import type { Random } from './random.ts'
import type { Id, Trio } from './trio.ts'

/**
 * A client under load: writes one value after the other, each recorded before it is sent, until it is ended.
 *
 * A pause is complete when nothing of it is under way any more.
 */
export class Writer {
  readonly #name: string
  readonly #ledger: Ledger
  readonly #random: Random
  readonly #sender: Sender
  #number = 0
  #isPaused = false
  #hasEnded = false
  #resume: () => void = () => {}
  #paused: () => void = () => {}
  #run: Promise<void> | undefined

  constructor(options: {
    readonly name: string
    readonly ledger: Ledger
    readonly random: Random
    readonly sender: Sender
  }) {
    this.#name = options.name
    this.#ledger = options.ledger
    this.#random = options.random
    this.#sender = options.sender
  }

  start(): void {
    this.#run = this.#writeOn()
  }

  /** Resolves when its last request has been answered, or given up. */
  pause(): Promise<void> {
    this.#isPaused = true
    return new Promise((resolve) => {
      this.#paused = resolve
    })
  }

  resume(): void {
    this.#isPaused = false
    this.#resume()
  }

  /** Gives up what is under way; while it is paused, that is nothing. */
  async end(): Promise<void> {
    this.#hasEnded = true
    this.resume()
    await this.#sender.close()
    await this.#run
  }

  async #writeOn(): Promise<void> {
    for (;;) {
      if (this.#isPaused) {
        this.#paused()
        await new Promise<void>((resolve) => {
          this.#resume = resolve
        })
      }
      if (this.#hasEnded) return
      const number = ++this.#number
      const writer = this.#name
      const writes = this.#writes(textOf({ writer, number }))
      await this.#sender.carryOut(this.#ledger.begin({ writer, number, writes }))
    }
  }

  #writes(text: string): readonly Write[] {
    const key = `${this.#name}/${this.#random.between(1, ownKeys)}`
    if (this.#random.chance(0.15)) {
      return [
        { key, deleted: true },
        { key: `${this.#name}/deletes`, value: text },
      ]
    }
    if (!this.#random.chance(0.2)) return [{ key, value: text }]
    return [
      { key, value: text },
      { key: `${sharedPrefix}${this.#random.between(1, sharedKeys)}`, value: text },
    ]
  }
}

const ownKeys = 3
const sharedKeys = 4

/** How a writer's requests get to a server. */
export interface Sender {
  /** Sees one attempt through to its outcome. */
  carryOut(attempt: Attempt): Promise<void>
  /** What is under way comes to its end, its outcome unknown. */
  close(): Promise<void>
}

/** Writes through the client library, which keeps the session, retries, and goes to other servers. */
export class LibrarySender implements Sender {
  readonly #ledger: Ledger
  readonly #client: Client

  constructor(ledger: Ledger, client: Client) {
    this.#ledger = ledger
    this.#client = client
  }

  async carryOut(attempt: Attempt): Promise<void> {
    try {
      const { version } = await this.#client.batch(attempt.writes)
      this.#ledger.acknowledge(attempt, [version.timestamp, version.origin])
    } catch (error) {
      if (!(error instanceof TidingsError)) throw error
      attempt.outcome = error.definite ? 'refused' : 'unknown'
    }
  }

  async close(): Promise<void> {
    await this.#client.close()
  }
}

/**
 * Writes over a bare socket to one server, with a cut and request numbers of its own making (R9, R10): when the
 * connection breaks it waits for that server to be back, and sends the same request again.
 */
export class RawSender implements Sender {
  readonly #ledger: Ledger
  readonly #trio: Trio
  readonly #server: Id
  readonly #after: Record<string, number> = {}
  #client: RawClient | undefined
  #isClosed = false
  #close: () => void = () => {}
  readonly #closed = new Promise<void>((resolve) => {
    this.#close = resolve
  })

  constructor(ledger: Ledger, place: { readonly trio: Trio; readonly server: Id }) {
    this.#ledger = ledger
    this.#trio = place.trio
    this.#server = place.server
  }

  async carryOut(attempt: Attempt): Promise<void> {
    for (let isRetry = false; ; isRetry = true) {
      const answer = await this.#ask(attempt, isRetry)
      if (answer === 'broken' && !this.#isClosed) continue
      if (answer === 'broken') {
        attempt.outcome = 'unknown'
        return
      }
      if ('version' in answer) {
        const [timestamp, origin] = answer.version
        this.#after[origin] = timestamp
        this.#ledger.acknowledge(attempt, answer.version)
      } else if (answer.code === outcomeUnknown) {
        attempt.outcome = 'unknown'
      } else {
        attempt.outcome = answer.data.definite ? 'refused' : 'unknown'
        // Its own server acknowledged all that it asks to come after, so it has it at once, or has lost it.
        this.#ledger.violations.push(`${textOf(attempt)} was refused: ${answer.message}`)
      }
      return
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#close()
    this.#client?.close()
  }

  async #ask(
    { writer, number, writes }: Attempt,
    isRetry: boolean,
  ): Promise<{ readonly version: WireVersion } | WireError | 'broken'> {
    const request = { session: writer, number, ...(isRetry ? { retry: true } : {}) }
    try {
      await Promise.race([this.#trio.up(this.#server), this.#closed])
      if (this.#isClosed) return 'broken'
      this.#client ??= await RawClient.connect(this.#trio.ports[this.#server])
      const { result, error } = await this.#client.ask('batch', { writes, request, after: this.#after })
      return error ?? (result as { readonly version: WireVersion })
    } catch {
      this.#client?.close()
      this.#client = undefined
      return 'broken'
    }
  }
}

const outcomeUnknown = -32_007
