import { Client, TidingsError, type TidingsErrorCode } from '../../src/client/client.ts'
import type { Write } from '../../src/replica/update.ts'
import type { Version } from '../../src/replica/version.ts'
import type { WireVersion } from '../durability/dump.ts'
import type { Random } from '../durability/random.ts'
import { foundKey, type Messenger, type Outcome, type Question } from './session.ts'

/**
 * Asks through the client library, which keeps the session, retries, and goes to other servers when it has to. To go to
 * another one of its own will, it gives its cut to a new client, as a session that moves to another process does.
 */
export class LibraryMessenger implements Messenger {
  readonly #options: LibraryMessengerOptions
  #servers: readonly number[]
  #client: Client

  constructor(options: LibraryMessengerOptions) {
    this.#options = options
    this.#servers = options.random.shuffled(options.ports)
    this.#client = this.#connect(undefined)
  }

  async ask(question: Question): Promise<Outcome> {
    try {
      return await this.#asked(question)
    } catch (error) {
      if (!(error instanceof TidingsError)) throw error
      const { session, complain } = this.#options
      if (!expectedCodes.has(error.code)) complain(`the library's session ${session}: ${error.message}`)
      const isLost = error.missing.some(({ lost }) => lost)
      return { kind: error.definite ? 'refused' : 'unknown', isLost }
    }
  }

  async hop(): Promise<void> {
    const { cut } = this.#client
    await this.#client.close()
    const [first, ...others] = this.#servers
    this.#servers = first === undefined ? [] : [...this.#options.random.shuffled(others), first]
    this.#client = this.#connect(this.#options.dropsItsCut ? undefined : cut)
  }

  async close(): Promise<void> {
    await this.#client.close()
  }

  #connect(cut: Client['cut'] | undefined): Client {
    return new Client(
      this.#servers.map((port) => `${port}`),
      {
        id: `library ${this.#options.session}`,
        timeoutMs,
        ...(cut === undefined ? {} : { cut }),
      },
    )
  }

  async #asked(question: Question): Promise<Outcome> {
    if (question.kind === 'write') {
      const { version } = await this.#write(question)
      return { kind: 'written', version: onWire(version) }
    }
    const { keys, isMany } = question
    const values = isMany ? await this.#client.readMany(keys) : [await this.#client.read(keys[0] as string)]
    return {
      kind: 'found',
      found: values.map(({ key, found, value, version }) =>
        foundKey({ key, found, value, version: version === undefined ? undefined : onWire(version) }),
      ),
    }
  }

  #write({ writes, isBatch }: Extract<Question, { kind: 'write' }>): Promise<{ readonly version: Version }> {
    if (isBatch) return this.#client.batch(writes)
    const [write] = writes as readonly [Write]
    return write.deleted === true
      ? this.#client.delete(write.key)
      : this.#client.write(write.key, write.value)
  }
}

export interface LibraryMessengerOptions {
  readonly ports: readonly number[]
  readonly session: string
  readonly random: Random
  /** The library, or a server, has said what none should. */
  readonly complain: (complaint: string) => void
  /** As for a raw session. */
  readonly dropsItsCut: boolean
}

const timeoutMs = 4_000

/** What a request that is in order may reject with. */
const expectedCodes: ReadonlySet<TidingsErrorCode> = new Set<TidingsErrorCode>([
  'ERR_CANNOT_CONNECT',
  'ERR_CONNECTION_LOST',
  'ERR_NOT_CAUGHT_UP',
  'ERR_OUTCOME_UNKNOWN',
  'ERR_OVERLOADED',
  'ERR_SHUTTING_DOWN',
  'ERR_TIMEOUT',
])

function onWire({ timestamp, origin }: Version): WireVersion {
  return [timestamp, origin]
}
