import { setTimeout as pause } from 'node:timers/promises'
import type { Write } from '../../src/replica/update.ts'
import type { WireVersion } from '../durability/dump.ts'
import type { Random } from '../durability/random.ts'
import type { WireError } from '../integration/raw-client.ts'
import { foundKey, type Messenger, type Outcome, type Question } from './session.ts'
import type { SharedConnection } from './shared-connection.ts'
import type { Switchboard } from './switchboard.ts'

/**
 * Asks over bare sockets, with a cut and request numbers of its own making (R9, R10). What was not answered is sent again
 * to the same server or to another, or given up, as chance has it.
 */
export class RawMessenger implements Messenger {
  readonly #options: RawMessengerOptions
  /** What the session has seen. */
  readonly #cut = new Map<string, number>()
  /** What of it the server at the other end of `#asked` has not shown. */
  #owed: ReadonlyMap<string, number> = new Map()
  /** The connection that was asked last. */
  #asked: SharedConnection | undefined
  #server: string
  #number = 0

  constructor(options: RawMessengerOptions) {
    this.#options = options
    this.#server = options.random.oneOf(options.switchboard.servers)
  }

  async ask(question: Question): Promise<Outcome> {
    const { switchboard, session, random, complain } = this.#options
    const number = question.kind === 'write' ? ++this.#number : undefined
    let mayHaveHappened = false
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const connection = await switchboard.connection(this.#server, session)
      if (connection === undefined) {
        this.#move()
        await pause(unreachedMs, undefined, { ref: false })
        continue
      }
      const { method, params } = this.#worded(question, { connection, number, isRetry: mayHaveHappened })
      const reply = await connection.ask(method, params, answerMsMax)
      switch (reply.kind) {
        case 'result':
          return this.#told(question, connection, reply.result)
        case 'refused': {
          const { error } = reply
          if (!isExpected(error)) {
            complain(`${method} ${params} was answered with ${error.code}: ${error.message}`)
          }
          const isLost = this.#dropLost(error, connection)
          // Elsewhere it may be known.
          if (error.code === notCaughtUp && random.chance(0.7)) this.#move()
          const isDefinite = error.data.definite && !mayHaveHappened
          return { kind: isDefinite ? 'refused' : 'unknown', isLost }
        }
        case 'silent':
          switchboard.mute(this.#server)
          this.#move()
          break
        case 'broken':
          if (random.chance(0.5)) this.#move()
          break
      }
      mayHaveHappened ||= question.kind === 'write'
      if (random.chance(0.3)) break
    }
    return { kind: mayHaveHappened ? 'unknown' : 'refused', isLost: false }
  }

  async hop(): Promise<void> {
    this.#move()
  }

  async close(): Promise<void> {}

  #move(): void {
    const { switchboard, random, dropsItsCut } = this.#options
    this.#server = random.oneOf(switchboard.servers.filter((server) => server !== this.#server))
    if (dropsItsCut) this.#cut.clear()
  }

  #worded(
    question: Question,
    sending: {
      readonly connection: SharedConnection
      readonly number: number | undefined
      readonly isRetry: boolean
    },
  ): { readonly method: string; readonly params: string } {
    const { connection, number, isRetry } = sending
    if (connection !== this.#asked) {
      this.#asked = connection
      this.#owed = new Map(
        [...this.#cut].filter(([origin, timestamp]) => (connection.shown.get(origin) ?? 0) < timestamp),
      )
    }
    const session =
      this.#owed.size === 0 ? {} : { after: Object.fromEntries(this.#owed), timeout: this.#waitMs() }
    const { requestPrefix, session: index } = this.#options
    const request =
      number === undefined
        ? {}
        : {
            request: { session: `${requestPrefix}${index}`, number, ...(isRetry ? { retry: true } : {}) },
          }
    const { method, asked } = wordsOf(question)
    return { method, params: JSON.stringify({ ...asked, ...session, ...request }) }
  }

  /** How long the server may wait for what it has not applied. */
  #waitMs(): number {
    return this.#options.random.between(20, 800)
  }

  #told(question: Question, connection: SharedConnection, result: unknown): Outcome {
    // It has come after all that was owed.
    for (const [origin, timestamp] of this.#owed) connection.show(origin, timestamp)
    this.#owed = new Map()
    if (question.kind === 'write') {
      const { version } = result as { readonly version: WireVersion }
      this.#learn(version, connection)
      return { kind: 'written', version }
    }
    const told = question.isMany
      ? (result as { readonly values: readonly ToldKey[] }).values
      : [result as ToldKey]
    for (const { version, conflicts = [] } of told) {
      if (version !== undefined) this.#learn(version, connection)
      for (const conflict of conflicts) this.#learn(conflict.version, connection)
    }
    return { kind: 'found', found: told.map(foundKey) }
  }

  #learn([timestamp, origin]: WireVersion, connection: SharedConnection): void {
    if ((this.#cut.get(origin) ?? 0) < timestamp) this.#cut.set(origin, timestamp)
    connection.show(origin, timestamp)
  }

  /** @returns whether anything that was seen is lost. */
  #dropLost({ code, data }: WireError, connection: SharedConnection): boolean {
    if (code !== notCaughtUp) return false
    const missing = data.missing as readonly { readonly version: WireVersion; readonly lost?: true }[]
    const lost = missing.filter((entry) => entry.lost === true)
    for (const { version } of lost) {
      const [, origin] = version
      const kept = connection.shown.get(origin)
      if (kept === undefined) this.#cut.delete(origin)
      else this.#cut.set(origin, kept)
    }
    // What is left is owed anew.
    if (lost.length > 0) this.#asked = undefined
    return lost.length > 0
  }
}

export interface RawMessengerOptions {
  readonly switchboard: Switchboard
  /** Its number among the sessions. */
  readonly session: number
  /** What the name begins with under which servers know its writes. */
  readonly requestPrefix: string
  readonly random: Random
  /** A server has answered as none should. */
  readonly complain: (complaint: string) => void
  /** Forgets what it has seen when it goes to another server, as a client of R9 must not: for a negative control. */
  readonly dropsItsCut: boolean
}

interface ToldKey {
  readonly key: string
  readonly found: boolean
  readonly value?: unknown
  readonly version?: WireVersion
  readonly conflicts?: readonly { readonly version: WireVersion }[]
}

const attemptsMax = 5
/** A server that takes longer is taken for one that does not answer. */
const answerMsMax = 2_500
const unreachedMs = 20

const notCaughtUp = -32_001
const overloaded = -32_002
const shuttingDown = -32_004
const outcomeUnknown = -32_007

/** What a server may answer to a request that is in order. */
function isExpected({ code }: WireError): boolean {
  return code === notCaughtUp || code === overloaded || code === shuttingDown || code === outcomeUnknown
}

function wordsOf(question: Question): { readonly method: string; readonly asked: object } {
  if (question.kind === 'read') {
    const { keys, isMany } = question
    return { method: 'read', asked: isMany ? { keys } : { key: keys[0] } }
  }
  const { writes, isBatch } = question
  if (isBatch) return { method: 'batch', asked: { writes } }
  const [write] = writes as readonly [Write]
  return write.deleted === true
    ? { method: 'delete', asked: { key: write.key } }
    : { method: 'write', asked: { key: write.key, value: write.value } }
}
