/**
 * The client library of Tidings, and the package's public entry.
 *
 *     import { connect } from 'tidings'
 *
 *     await using client = await connect(['127.0.0.1:60001', '127.0.0.1:60002'], { id: 'alice' })
 *     await client.write('x', { lost: true })
 *     const { found, value } = await client.read('x')
 *     for await (const event of client.watch({ prefix: 'orders/' })) console.log(event)
 *
 * A client talks to one server at a time, and goes to the next of its list when the connection breaks. Servers
 * are not equally far at every moment: after such a move a read may show less than one before it did.
 *
 * Nothing is ever written twice by the library itself: a request is sent once, and where its answer does not come
 * the error says, as `definite`, whether it certainly was not carried out.
 */
import { parseAddresses, showAddress, type Address } from '../protocol/address.ts'
import type { LinkAction } from '../protocol/client-messages.ts'
import type {
  ClientResults,
  ReadValue,
  ToldKeyVersions,
  ToldStatus,
  ToldStory,
  ToldWaiting,
} from '../protocol/client-results.ts'
import type { JsonValue, Write } from '../replica/update.ts'
import type { Version } from '../replica/version.ts'
import { Session, type ClientState } from './session.ts'
import { TidingsError } from './tidings-error.ts'
import { valueFault } from './value-fault.ts'
import { Watch, type GivenCut } from './watch.ts'

export { TidingsError, type TidingsErrorCode } from './tidings-error.ts'
export { serverOf, showVersion } from '../replica/version.ts'
export type { Cut } from '../replica/cut.ts'
export type { LinkState } from '../replica/messages.ts'
export type { JsonValue, Write } from '../replica/update.ts'
export type { Origin, ServerId, Timestamp, Version } from '../replica/version.ts'
export type {
  ClientResults,
  ReadValue,
  ToldKeyVersions,
  ToldMissing,
  ToldSibling,
  ToldStatus,
  ToldStory,
  ToldWaiting,
} from '../protocol/client-results.ts'
export type { ClientState } from './session.ts'
export type { GivenCut, Watch, WatchEvent } from './watch.ts'

export interface ConnectOptions {
  /** What the servers' operators are told this client is called. Anything of 1 to 1,024 bytes. */
  readonly id?: string
  /** The secret of the mesh, where it has one: the text of its secret file. It is never sent. */
  readonly secret?: string
  /** How long each request may take, waiting for a connection included. In milliseconds; 5,000 by default. */
  readonly timeoutMs?: number
  /** Closes the client when it is aborted, also while it is still connecting. */
  readonly signal?: AbortSignal
  /** Is told of every change of the connection, from the first attempt on. It must not throw. */
  readonly onState?: (state: ClientState) => void
  /**
   * What {@link connect} does where no server answers: `true` gives up once each was tried, `false`, the default,
   * goes on trying for `timeoutMs`, so that servers and clients may start in any order.
   */
  readonly failFast?: boolean
}

/**
 * Connects to one of some servers of a mesh, tried in their order.
 *
 * @param servers `60001`, `host:60001` or `[::1]:60001`: a list, or a text with commas or spaces between them. A port
 *   alone is one of this machine.
 * @returns a client, connected. Close it when it is no longer needed: it keeps the process alive.
 * @throws TidingsError ERR_INVALID_ARGUMENT for an address that is none; ERR_CANNOT_CONNECT where no server
 *   answered; ERR_NOT_AUTHORISED, ERR_PROTOCOL_VERSION or ERR_NOT_TIDINGS where all that answered are of no use.
 *   The signal's reason where it was aborted.
 */
export async function connect(
  servers: string | readonly string[],
  options: ConnectOptions = {},
): Promise<Client> {
  const { signal, failFast = false, timeoutMs = timeoutMsDefault } = options
  signal?.throwIfAborted()
  const { promise, resolve, reject } = withResolvers<undefined>()
  const failures: TidingsError[] = []
  const client = new Client(servers, {
    ...options,
    onState: (state) => {
      options.onState?.(state)
      if (state.status === 'connected') resolve(undefined)
      if (state.status === 'closed') reject(signal?.aborted === true ? signal.reason : closedEarly(failures))
      if (state.status !== 'connecting' || state.reason === undefined) return
      failures.push(state.reason)
      const round = failures.slice(-client.servers.length)
      if (round.length < client.servers.length) return
      if (failFast || round.every(({ code }) => isFinal(code))) reject(summary(round))
    },
  })
  const timer = setTimeout(
    () => reject(summary(failures.slice(-client.servers.length), timeoutMs)),
    timeoutMs,
  )
  try {
    await promise
    return client
  } catch (error) {
    await client.close()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

/**
 * A client of a mesh. All its methods may be called at any time, also while there is no connection: they wait for
 * one as long as their time allows, and reject with a {@link TidingsError} otherwise.
 */
export class Client {
  /** What this client is called. */
  readonly id: string | undefined
  /** The addresses that it was given. */
  readonly servers: readonly string[]
  readonly #session: Session
  readonly #openSession: () => Session
  readonly #watches = new Set<Watch>()
  readonly #stopListening: () => void

  /**
   * Begins to connect, and goes on trying until it is closed. Most programs want {@link connect} instead, which
   * waits for the connection.
   *
   * @throws TidingsError ERR_INVALID_ARGUMENT for an address that is none, or where there is none.
   */
  constructor(servers: string | readonly string[], options: Omit<ConnectOptions, 'failFast'> = {}) {
    const { id, secret, timeoutMs = timeoutMsDefault, signal, onState = () => {} } = options
    const addresses = addressesFrom(servers)
    this.id = id
    this.servers = addresses.map(showAddress)
    const shared = { secret, timeoutMs }
    this.#openSession = () =>
      new Session({ ...shared, id: undefined, servers: this.#nearestFirst(addresses), onState: () => {} })
    // What the first attempt says comes later than this constructor's end.
    this.#session = new Session({ ...shared, id, servers: addresses, onState })
    const close = (): void => void this.close()
    signal?.addEventListener('abort', close)
    this.#stopListening = () => signal?.removeEventListener('abort', close)
    if (signal?.aborted === true) close()
  }

  /** Where this client stands with its servers. */
  get state(): ClientState {
    return this.#session.state
  }

  /**
   * Writes a value. When this resolves the server has it and will not lose its place in the order; the other servers
   * get it as soon as they can be reached.
   *
   * @param key 1 to 1,024 bytes of UTF-8.
   * @param value any JSON value, nested at most 64 levels.
   * @throws TidingsError ERR_INVALID_ARGUMENT for a value that JSON cannot keep; and as all requests do.
   */
  async write(key: string, value: JsonValue): Promise<ClientResults['write']> {
    requireKept(value, 'value')
    return await this.#session.call('write', { key, value })
  }

  /** Deletes a key, whether or not it has a value here. */
  async delete(key: string): Promise<ClientResults['delete']> {
    return await this.#session.call('delete', { key })
  }

  /** Writes and deletes several keys in one update: everybody sees all of it or nothing. No key twice. */
  async batch(writes: readonly Write[]): Promise<{ readonly version: Version }> {
    for (const [index, write] of writes.entries()) {
      if (write.deleted !== true) requireKept(write.value, `writes[${index}].value`)
    }
    return await this.#session.call('batch', { writes })
  }

  /** What the server has for a key. */
  async read(key: string): Promise<ReadValue> {
    const answer = await this.#session.call('read', { key })
    if ('values' in answer) throw notAsAsked('read')
    return answer
  }

  /** What the server has for several keys at one moment, in their order: never an effect without its cause. */
  async readMany(keys: readonly string[]): Promise<readonly ReadValue[]> {
    const answer = await this.#session.call('read', { keys })
    if (!('values' in answer)) throw notAsAsked('read')
    return answer.values
  }

  /**
   * Keys that have a value, sorted by code unit.
   *
   * @param range.prefix only keys that begin with this.
   * @param range.from where to begin: the `next` of the list before.
   * @param range.limit how many at most: 1 to 10,000; 1,000 by default.
   */
  async keys(
    range: { readonly prefix?: string; readonly from?: string; readonly limit?: number } = {},
  ): Promise<ClientResults['keys']> {
    const { prefix, from, limit } = range
    return await this.#session.call('keys', { prefix, from, limit })
  }

  /**
   * Watches the keys that begin with a prefix.
   *
   * @param range.prefix all keys where it is absent.
   * @param range.since `now`, the default: what is applied from here on. `start`: all that ever was. A cut: all that
   *   it does not cover, such as the `applied` of an earlier watch's last `caughtUp`.
   * @param range.signal ends the watch when it is aborted: the loop over it throws the signal's reason.
   * @returns the events, and `started`, which settles when the server has begun.
   */
  watch(
    range: {
      readonly prefix?: string
      readonly since?: 'now' | 'start' | GivenCut
      readonly signal?: AbortSignal
    } = {},
  ): Watch {
    const { prefix = '', since = 'now', signal } = range
    const watch = new Watch({
      prefix,
      since,
      signal,
      session: this.#session,
      openSession: this.#openSession,
      ended: (ended) => this.#watches.delete(ended),
    })
    if (!watch.hasEnded) this.#watches.add(watch)
    return watch
  }

  /** The keys with conflicting versions, and these, the winner first. */
  async conflicts(prefix = ''): Promise<readonly ToldKeyVersions[]> {
    const { keys } = await this.#session.call('conflicts', { prefix })
    return keys
  }

  /** How the server is. */
  async status(): Promise<ToldStatus> {
    return await this.#session.call('status', {})
  }

  /** The updates that wait for their causes at the server. */
  async waiting(): Promise<readonly ToldWaiting[]> {
    return await this.#session.call('waiting', {})
  }

  /** The story of one key: its versions, what waits to change it, what that lacks, and who has it. */
  async why(key: string): Promise<ToldStory> {
    return await this.#session.call('why', { key })
  }

  /**
   * Holds, releases, delays, cuts or heals the server's outgoing link to a peer; a server started with `--lab` does it.
   *
   * @param peer the id of the server at the other end.
   * @param action `release` lets all updates go and ends the hold, or lets only the next `count` go; `delay` keeps
   *   each for `ms` milliseconds.
   * @returns the state of the link after that.
   */
  async link(peer: string, action: LinkAction): Promise<ClientResults['link']> {
    return await this.#session.call('link', { peer, ...action })
  }

  /** Ends the client: its watches end, what waits for an answer is rejected with ERR_CLOSED. */
  async close(): Promise<void> {
    this.#stopListening()
    await Promise.all([...this.#watches].map((watch) => watch.return()))
    this.#session.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** The list, beginning with the server that this client talks to. */
  #nearestFirst(addresses: readonly [Address, ...Address[]]): readonly [Address, ...Address[]] {
    const state = this.#session.state
    const present = addresses.find((address) => 'address' in state && showAddress(address) === state.address)
    return present === undefined
      ? addresses
      : [present, ...addresses.filter((address) => address !== present)]
  }
}

const timeoutMsDefault = 5_000

function addressesFrom(servers: string | readonly string[]): readonly [Address, ...Address[]] {
  const addresses = parseAddresses(typeof servers === 'string' ? servers : servers.join(' '))
  if (typeof addresses === 'string') throw new TidingsError('ERR_INVALID_ARGUMENT', addresses)
  const [first, ...others] = addresses
  if (first === undefined)
    throw new TidingsError('ERR_INVALID_ARGUMENT', 'no server is named; name at least one port')
  return [first, ...others]
}

function requireKept(value: unknown, path: string): void {
  const fault = valueFault(value, path)
  if (fault !== undefined) throw new TidingsError('ERR_INVALID_ARGUMENT', fault)
}

function notAsAsked(method: string): TidingsError {
  return new TidingsError(
    'ERR_NOT_TIDINGS',
    `the answer to ${method} makes no sense: it answers another question`,
  )
}

/** Trying again will not change these. */
function isFinal(code: TidingsError['code']): boolean {
  return code === 'ERR_NOT_AUTHORISED' || code === 'ERR_PROTOCOL_VERSION' || code === 'ERR_NOT_TIDINGS'
}

/** One error for what was the matter with each server. */
function summary(failures: readonly TidingsError[], timeoutMs?: number): TidingsError {
  const [first] = failures
  if (first === undefined) {
    return new TidingsError('ERR_CANNOT_CONNECT', `no server answered within ${timeoutMs ?? 0} ms`)
  }
  if (failures.length === 1) return first
  const code = failures.every((failure) => failure.code === first.code) ? first.code : 'ERR_CANNOT_CONNECT'
  const message = `no server of the list can be used: ${failures.map((failure) => failure.message).join('; ')}`
  return new TidingsError(code, message, { cause: first })
}

function closedEarly(failures: readonly TidingsError[]): TidingsError {
  return new TidingsError('ERR_CLOSED', 'the client was closed before it was connected', {
    cause: failures.at(-1),
  })
}

/** `Promise.withResolvers`, which Node has from 22 on. */
function withResolvers<Value>(): {
  readonly promise: Promise<Value>
  readonly resolve: (value: Value) => void
  readonly reject: (error: unknown) => void
} {
  let resolvers: { resolve: (value: Value) => void; reject: (error: unknown) => void } | undefined
  const promise = new Promise<Value>((resolve, reject) => {
    resolvers = { resolve, reject }
  })
  if (resolvers === undefined) throw new Error('a promise did not run its executor')
  return { promise, ...resolvers }
}
