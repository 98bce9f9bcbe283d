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
 * A client talks to one server at a time, and goes to the next of its list when the connection breaks.
 *
 * What it has seen stays seen (R9). The client keeps the cut of its writes, of what it has read and of what its watches
 * have yielded, and every request comes after that, at whatever server: the server waits until it has applied it. So
 * these hold across servers: read your writes, monotonic reads, monotonic writes, writes follow reads. What a server has
 * not applied in the time allowed rejects with ERR_NOT_CAUGHT_UP, whose `missing` names each version and who has it.
 * Versions that nobody has any more reject once, with `lost`; the client forgets them, tells `onLost`, and goes on. `cut`
 * is the whole of it: given to {@link connect}, it carries the session on in another process.
 *
 * A write happens once (R10). When the connection breaks before the answer, the client sends it again with the number
 * that it was sent with at first: to the same server if that can be reached at once, to the next one otherwise. A server
 * that has it gives the first answer. One that does not know it writes nothing, and the call rejects with
 * ERR_OUTCOME_UNKNOWN: the write may have happened where it was sent first. Whatever a write rejects with, `definite`
 * says whether it certainly did not happen; where it may have, `request` retries it. Reads are simply asked again. What
 * a lab does to a link ({@link Client.link}) is never sent twice.
 *
 * Not promised: linearizability, compare-and-set, protection against lost updates between concurrent sessions.
 */
import { parseAddresses, showAddress, type Address } from '../protocol/address.ts'
import type { LinkAction } from '../protocol/client-messages.ts'
import type {
  ClientResults,
  ReadValue,
  ToldKeyVersions,
  ToldMissingEntry,
  ToldStatus,
  ToldStory,
  ToldWaiting,
} from '../protocol/client-results.ts'
import type { RequestStamp } from '../replica/messages.ts'
import type { JsonValue, Write } from '../replica/update.ts'
import type { Version } from '../replica/version.ts'
import { copyOfCut, type GivenCut } from './given-cut.ts'
import { SessionCut, type KeptCut } from './session-cut.ts'
import { Session, type ClientState } from './session.ts'
import { joinedFailure } from './joined-failure.ts'
import { TidingsError } from './tidings-error.ts'
import { valueFault } from './value-fault.ts'
import { Watch } from './watch.ts'

export { TidingsError, type TidingsErrorCode } from './tidings-error.ts'
export { serverOf, showVersion } from '../replica/version.ts'
export type { Cut } from '../replica/cut.ts'
export type { LinkState, RequestStamp } from '../replica/messages.ts'
export type { JsonValue, Write } from '../replica/update.ts'
export type { Origin, ServerId, Timestamp, Version } from '../replica/version.ts'
export type {
  ClientResults,
  ReadValue,
  ToldKeyVersions,
  ToldMissing,
  ToldMissingEntry,
  ToldSibling,
  ToldStatus,
  ToldStory,
  ToldWaiting,
} from '../protocol/client-results.ts'
export type { GivenCut } from './given-cut.ts'
export type { KeptCut } from './session-cut.ts'
export type { ClientState } from './session.ts'
export type { Watch, WatchEvent } from './watch.ts'

export interface ConnectOptions {
  /** What the servers' operators are told this client is called. Anything of 1 to 1,024 bytes. */
  readonly id?: string
  /** The secret of the mesh, where it has one: the text of its secret file. It is never sent. */
  readonly secret?: string
  /**
   * What an earlier client had seen, its {@link Client.cut}: this one carries its session on, at any server. It may have
   * been through JSON: `JSON.parse(JSON.stringify(client.cut))`.
   */
  readonly cut?: GivenCut
  /**
   * How long each request may take: waiting for a connection, for the server to catch up, and retries included. In
   * milliseconds; 5,000 by default.
   */
  readonly timeoutMs?: number
  /** Closes the client when it is aborted, also while it is still connecting. */
  readonly signal?: AbortSignal
  /** Is told of every change of the connection, from the first attempt on. It must not throw. */
  readonly onState?: (state: ClientState) => void
  /**
   * Is told of versions that this client has seen and that are lost: every server is connected and none has them. The
   * client's cut no longer has them. The calls that were to come after them reject with ERR_NOT_CAUGHT_UP; later ones go
   * on without them. It must not throw.
   */
  readonly onLost?: (lost: readonly ToldMissingEntry[]) => void
  /**
   * What {@link connect} does where no server answers: `true` gives up once each was tried, `false`, the default,
   * goes on trying for `timeoutMs`, so that servers and clients may start in any order.
   */
  readonly failFast?: boolean
}

/** How a write is to be carried out. */
export interface WriteOptions {
  /**
   * What makes the write happen once, instead of a number of the client's own: so that another process, which knows it,
   * can retry it. `session` is a name that nobody else uses; numbers rise within it, from 1. `retry: true` says that
   * the write may have been sent before; `retry: 'again'` says so too, and has it carried out where it is unknown.
   */
  readonly request?: RequestStamp
}

/**
 * Connects to one of some servers of a mesh, tried in their order.
 *
 * @param servers `60001`, `host:60001` or `[::1]:60001`: a list, or a text with commas or spaces between them. A port
 *   alone is one of this machine.
 * @returns a client, connected. Close it when it is no longer needed: it keeps the process alive.
 * @throws TidingsError ERR_INVALID_ARGUMENT for an address or a cut that is none; ERR_CANNOT_CONNECT where no server
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
  readonly #cut: SessionCut
  readonly #session: Session
  readonly #openSession: () => Session
  readonly #watches = new Set<Watch>()
  readonly #stopListening: () => void

  /**
   * Begins to connect, and goes on trying until it is closed. Most programs want {@link connect} instead, which
   * waits for the connection.
   *
   * @throws TidingsError ERR_INVALID_ARGUMENT for an address or a cut that is none, or where there is no address.
   */
  constructor(servers: string | readonly string[], options: Omit<ConnectOptions, 'failFast'> = {}) {
    const { id, secret, timeoutMs = timeoutMsDefault, signal } = options
    const { cut, onState = () => {}, onLost = () => {} } = options
    const addresses = addressesFrom(servers)
    this.id = id
    this.servers = addresses.map(showAddress)
    this.#cut = new SessionCut(cut === undefined ? new Map() : copyOfCut(cut, 'cut'))
    const shared = { secret, timeoutMs }
    // A watch's own connection asks for nothing else, so that its server need not be shown what was seen.
    this.#openSession = () =>
      new Session({
        ...shared,
        id: undefined,
        servers: this.#nearestFirst(addresses),
        cut: new SessionCut(),
        onState: () => {},
        onLost: () => {},
      })
    // What the first attempt says comes later than this constructor's end.
    this.#session = new Session({ ...shared, id, servers: addresses, cut: this.#cut, onState, onLost })
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
   * What this client has seen, as it is now: of its writes, of what it has read, and of what its watches have yielded.
   * It has an entry for each run of a server's process that it has seen something of. `JSON.stringify` makes the object
   * `{ origin: timestamp }` of it, which {@link connect} and `--after` take.
   */
  get cut(): KeptCut {
    return this.#cut.seen
  }

  /**
   * Writes a value. When this resolves the server has it and will not lose its place in the order; the other servers
   * get it as soon as they can be reached.
   *
   * @param key 1 to 1,024 bytes of UTF-8.
   * @param value any JSON value, nested at most 64 levels.
   * @throws TidingsError ERR_INVALID_ARGUMENT for a value that JSON cannot keep; ERR_OUTCOME_UNKNOWN where it had to be
   *   sent again and the server that was asked then does not know it; and as all requests do.
   */
  async write(key: string, value: JsonValue, options: WriteOptions = {}): Promise<ClientResults['write']> {
    requireKept(value, 'value')
    return await this.#session.call('write', { key, value }, options.request)
  }

  /** Deletes a key, whether or not it has a value here. */
  async delete(key: string, options: WriteOptions = {}): Promise<ClientResults['delete']> {
    return await this.#session.call('delete', { key }, options.request)
  }

  /** Writes and deletes several keys in one update: everybody sees all of it or nothing. No key twice. */
  async batch(writes: readonly Write[], options: WriteOptions = {}): Promise<{ readonly version: Version }> {
    for (const [index, write] of writes.entries()) {
      if (write.deleted !== true) requireKept(write.value, `writes[${index}].value`)
    }
    return await this.#session.call('batch', { writes }, options.request)
  }

  /** What the server has for a key, once it has all that this client has seen. */
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
   * @throws TidingsError ERR_INVALID_ARGUMENT for a cut that is none.
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
      cut: this.#cut,
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
  return joinedFailure(first, failures)
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
