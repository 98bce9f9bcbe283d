import type { Cut } from '../replica/cut.ts'
import type { ClientRequest, Patience, RequestStamp } from '../replica/messages.ts'
import type { JsonValue, Write } from '../replica/update.ts'
import type { ServerId } from '../replica/version.ts'
import { isHex32 } from './authentication.ts'
import { invalidParams, protocolError } from './errors.ts'
import {
  batchWritesMax,
  cutEntriesMax,
  keyBytesMax,
  keysLimitDefault,
  keysLimitMax,
  linkDelayMsMax,
  nameBytesMax,
  numbersUnmeasuredMax,
  readKeysMax,
  timeoutMsDefault,
  timeoutMsMax,
  valueDepthMax,
  writesBytesMax,
} from './limits.ts'
import { nearestWord } from './nearest-word.ts'
import {
  countAt,
  cutAt,
  expected,
  isKey,
  keyAt,
  listAt,
  nameAt,
  numbersIn,
  objectAt,
  protocolAt,
  serverIdAt,
  show,
  textAt,
  unknownMember,
  type ParsedObject,
} from './wire-forms.ts'

/**
 * What a client may ask: the table of methods, and the check of every request against it. Nothing that a client
 * sends gets past here unless it is exactly one of the types below.
 *
 * Parameters go by name. A member that a method does not have is refused rather than ignored: whoever misspells
 * `prefix`, or asks for something that this server does not do, must not be told "ok".
 */
export type ClientCall = ReplicaCall | ShellCall

/** Requests that the replica answers; `request` is the replica's side of it. */
export type ReplicaCall =
  | {
      readonly method: 'hello'
      readonly session?: string
      /** The client's proof that it knows the secret. */
      readonly token?: string
      readonly request: Requested<'hello'>
    }
  | { readonly method: 'write' | 'delete'; readonly key: string; readonly request: Requested<'write'> }
  | { readonly method: 'batch'; readonly request: Requested<'write'> }
  /** `form` is what the client named: one `key`, or a list of `keys`. */
  | { readonly method: 'read'; readonly form: 'key' | 'keys'; readonly request: Requested<'read'> }
  | { readonly method: 'keys'; readonly request: Requested<'keys'> }
  | { readonly method: 'watch'; readonly request: Requested<'watch'> }
  | { readonly method: 'unwatch'; readonly request: Requested<'unwatch'> }
  | { readonly method: 'conflicts'; readonly request: Requested<'conflicts'> }
  | { readonly method: 'status'; readonly request: Requested<'status'> }
  | { readonly method: 'waiting'; readonly request: Requested<'waiting'> }
  | { readonly method: 'why'; readonly request: Requested<'why'> }

/** Requests that concern the process around the replica. */
export type ShellCall = ChallengeCall | LinkCall

/** Asks for the server's proof that it knows the secret; the nonce is the caller's. */
export interface ChallengeCall {
  readonly method: 'challenge'
  readonly nonce: string
}

/** What a lab does to this server's outgoing link to a peer. */
export interface LinkCall {
  readonly method: 'link'
  readonly peer: ServerId
  readonly action: LinkAction
}

export type LinkAction =
  | { readonly action: 'hold' }
  /** Lets the next `count` updates through; all, and ends the hold, where it is absent. */
  | { readonly action: 'release'; readonly count?: number }
  /** Each update stays in the link for `ms` milliseconds; 0 ends it. */
  | { readonly action: 'delay'; readonly ms: number }
  | { readonly action: 'cut' }
  | { readonly action: 'heal' }

export type ClientMethod = ClientCall['method']

type Requested<Method extends ClientRequest['method']> = Extract<ClientRequest, { readonly method: Method }>

/** The methods and the names of their parameters. */
export const clientMethods = {
  hello: ['session', 'token', 'protocol'],
  challenge: ['nonce'],
  write: ['key', 'value', 'after', 'timeout', 'request'],
  delete: ['key', 'after', 'timeout', 'request'],
  batch: ['writes', 'after', 'timeout', 'request'],
  read: ['key', 'keys', 'after', 'timeout'],
  keys: ['prefix', 'from', 'limit', 'after', 'timeout'],
  watch: ['prefix', 'since'],
  unwatch: ['watch'],
  conflicts: ['prefix', 'after', 'timeout'],
  status: [],
  waiting: [],
  why: ['key'],
  link: ['peer', 'action', 'ms', 'count'],
} as const satisfies Record<ClientMethod, readonly string[]>

/** Whether the replica is to be asked. */
export function isReplicaCall(call: ClientCall): call is ReplicaCall {
  return 'request' in call
}

/**
 * The one gate for clients' requests.
 *
 * @param params what `parseRpcLine` returned: its text has been checked, so that of a value only the depth is left.
 * @throws ProtocolError −32601 with a suggestion; −32602 with the path of what is wrong; −32005; −32010.
 */
export function checkClientRequest(method: string, params: unknown): ClientCall {
  const given = params === undefined ? noParams : paramsOf(method, params)
  switch (method) {
    case 'write': {
      const params = named('write', given)
      const key = keyAt(params.key, 'params.key')
      const writes = [{ key, value: valueAt(params.value, 'params.value') }]
      checkValues(writes, () => 'params.value')
      return { method, key, request: writeRequest(writes, params) }
    }
    case 'read': {
      const params = named('read', given)
      const { key, keys } = params
      if (keys === undefined) {
        const checked = keyAt(key, 'params.key')
        return { method, form: 'key', request: patient({ method: 'read', keys: [checked] }, params) }
      }
      if (key !== undefined) throw invalidParams('params.keys', 'stands next to params.key; send one of them')
      const list = listAt(keys, 'params.keys', readKeysMax)
      const checked = list.map((item, index) => (isKey(item) ? item : keyAt(item, `params.keys[${index}]`)))
      return { method, form: 'keys', request: patient({ method: 'read', keys: checked }, params) }
    }
    case 'delete': {
      const params = named('delete', given)
      const key = keyAt(params.key, 'params.key')
      return { method, key, request: writeRequest([{ key, deleted: true }], params) }
    }
    case 'batch': {
      const params = named('batch', given)
      return { method, request: writeRequest(writesAt(params.writes), params) }
    }
    case 'hello': {
      const { session, token, protocol } = named('hello', given)
      if (protocol !== undefined) protocolAt(protocol, 'params.protocol')
      return {
        method,
        ...(session === undefined ? {} : { session: textAt(session, 'params.session', nameBytesMax) }),
        ...(token === undefined ? {} : { token: textAt(token, 'params.token', nameBytesMax) }),
        request: { method },
      }
    }
    case 'keys': {
      const params = named('keys', given)
      const { prefix, from, limit } = params
      const checked = {
        method,
        prefix: beginningAt(prefix, 'params.prefix'),
        from: beginningAt(from, 'params.from'),
        limit:
          limit === undefined
            ? keysLimitDefault
            : countAt(limit, 'params.limit', { min: 1, max: keysLimitMax }),
      }
      return { method, request: patient(checked, params) }
    }
    case 'watch': {
      const { prefix, since } = named('watch', given)
      const checked = { prefix: beginningAt(prefix, 'params.prefix'), since: sinceAt(since) }
      return { method, request: { method, ...checked } }
    }
    case 'unwatch': {
      const watch = countAt(named('unwatch', given).watch, 'params.watch', { min: 1 })
      return { method, request: { method, watch } }
    }
    case 'conflicts': {
      const params = named('conflicts', given)
      return {
        method,
        request: patient({ method, prefix: beginningAt(params.prefix, 'params.prefix') }, params),
      }
    }
    case 'status':
      named(method, given)
      return { method, request: { method } }
    case 'waiting':
      named(method, given)
      return { method, request: { method } }
    case 'why':
      return { method, request: { method, key: keyAt(named('why', given).key, 'params.key') } }
    case 'challenge':
      return { method, nonce: hex32At(named('challenge', given).nonce, 'params.nonce') }
    case 'link':
      return linkCall(named('link', given))
    default:
      throw unknownMethod(method)
  }
}

/** 32 bytes in hexadecimal, as nonces and proofs are. */
export function hex32At(value: unknown, path: string): string {
  if (typeof value !== 'string' || !isHex32(value))
    throw expected(path, '32 bytes as 64 digits 0–9 a–f', value)
  return value
}

const noParams: ParsedObject = {}

function paramsOf(method: string, params: unknown): ParsedObject {
  if (!Array.isArray(params)) return objectAt(params, 'params')
  if (!isClientMethod(method)) throw unknownMethod(method)
  const names: readonly string[] = clientMethods[method]
  const example = names.length === 0 ? '{}' : `{"${names[0]}": …}`
  throw invalidParams('params', `must be an object with names, such as ${example}, not a list`)
}

/** The parameters of a method, where it has no others. */
function named<Method extends ClientMethod>(
  method: Method,
  params: ParsedObject,
): { readonly [Name in (typeof clientMethods)[Method][number]]?: unknown } {
  const known: readonly string[] = clientMethods[method]
  for (const name in params) if (!known.includes(name)) throw unknownMember('params', name, known)
  return params as { readonly [Name in (typeof clientMethods)[Method][number]]?: unknown }
}

function isClientMethod(method: string): method is ClientMethod {
  return Object.hasOwn(clientMethods, method)
}

function unknownMethod(method: string): Error {
  const methods = Object.keys(clientMethods)
  const near = nearestWord(method, methods)
  const hint = near === undefined ? `there is ${methods.join(', ')}` : `did you mean ${near}?`
  return protocolError('unknownMethod', `there is no method ${show(method)}; ${hint}`, {
    data: near === undefined ? {} : { suggestion: near },
  })
}

/** A beginning of keys: any text that a key could begin with, or none. */
function beginningAt(value: unknown, path: string): string {
  return value === undefined ? '' : textAt(value, path, keyBytesMax)
}

function sinceAt(since: unknown): 'now' | 'start' | Cut {
  if (since === undefined || since === 'now') return 'now'
  if (since === 'start') return 'start'
  if (typeof since === 'string') throw expected('params.since', '"now", "start" or a cut', since)
  return shownCutAt(since, 'params.since')
}

/** A cut that a client shows. */
function shownCutAt(value: unknown, path: string): Cut {
  const cut = cutAt(value, path)
  if (cut.size <= cutEntriesMax) return cut
  throw invalidParams(path, `has ${cut.size} entries; a cut of this mesh has at most ${cutEntriesMax}`)
}

interface PatienceParams {
  readonly after?: unknown
  readonly timeout?: unknown
}

function writeRequest(
  writes: readonly Write[],
  params: PatienceParams & { readonly request?: unknown },
): Requested<'write'> {
  const request: Requested<'write'> =
    params.request === undefined
      ? { method: 'write', writes }
      : { method: 'write', writes, request: stampAt(params.request) }
  return patient(request, params)
}

/**
 * Adds what a request is to come after to it (R9), in place: a copy would cost more than all of the checks. Without
 * an `after` there is nothing to wait for: then a `timeout` is checked, and has no effect.
 */
function patient<Request extends ClientRequest>(
  request: Request,
  { after, timeout }: PatienceParams,
): Request & Patience {
  if (after === undefined && timeout === undefined) return request
  const timeoutMs =
    timeout === undefined
      ? timeoutMsDefault
      : countAt(timeout, 'params.timeout', { min: 0, max: timeoutMsMax })
  return after === undefined
    ? request
    : Object.assign(request, { after: shownCutAt(after, 'params.after'), timeoutMs })
}

const stampNames: readonly string[] = ['session', 'number', 'retry']

/** What makes a write happen once (R10). */
function stampAt(value: unknown): RequestStamp {
  const stamp = objectAt(value, 'params.request')
  for (const name in stamp)
    if (!stampNames.includes(name)) throw unknownMember('params.request', name, stampNames)
  const { retry } = stamp
  if (retry !== undefined && retry !== true && retry !== 'again') {
    throw expected('params.request.retry', 'true or "again", or absent', retry)
  }
  const session = nameAt(stamp.session, 'params.request.session')
  const number = countAt(stamp.number, 'params.request.number', { min: 1 })
  return retry === undefined ? { session, number } : { session, number, retry }
}

function valueAt(value: unknown, path: string): JsonValue {
  if (value === undefined) {
    throw invalidParams(path, 'is missing; it may be any JSON, null too. To remove a key, use delete')
  }
  return value as JsonValue
}

function writesAt(value: unknown): readonly Write[] {
  const list = listAt(value, 'params.writes', batchWritesMax)
  if (list.length === 0) throw invalidParams('params.writes', 'is empty; send at least one write')
  const places = new Map<string, number>()
  for (let index = 0; index < list.length; index++) {
    const key = keyOfWrite(list[index], index)
    const place = places.get(key)
    if (place !== undefined) {
      const path = `params.writes[${index}].key`
      throw invalidParams(
        path,
        `is ${show(key)}, as in params.writes[${place}]; write each key once in a batch`,
      )
    }
    places.set(key, index)
  }
  const writes = list as readonly Write[]
  checkValues(writes, (index) => `params.writes[${index}].value`)
  return writes
}

/** Checks one item of `writes`, which is then used as it is. */
function keyOfWrite(item: unknown, index: number): string {
  if (typeof item !== 'object' || item === null) throw expected(`params.writes[${index}]`, 'an object', item)
  const write = item as ParsedObject
  for (const name in write) {
    if (name !== 'key' && name !== 'value' && name !== 'deleted') {
      throw unknownMember(`params.writes[${index}]`, name, ['key', 'value', 'deleted'])
    }
  }
  const { key, value, deleted } = write
  if (deleted === undefined) {
    if (value === undefined) valueAt(value, `params.writes[${index}].value`)
  } else if (deleted !== true) {
    throw expected(`params.writes[${index}].deleted`, 'true, or absent', deleted)
  } else if (value !== undefined) {
    throw invalidParams(`params.writes[${index}].value`, 'stands next to deleted; send one of them')
  }
  return isKey(key) ? key : keyAt(key, `params.writes[${index}].key`)
}

/** That values are not too deep, and that all of them together are not too long when they are passed on. */
function checkValues(writes: readonly Write[], pathOf: (index: number) => string): void {
  let numbers = 0
  for (let index = 0; index < writes.length; index++) {
    const value = writes[index]?.value
    if (typeof value !== 'object') continue
    const inner = numbersIn(value)
    if (inner === undefined) {
      throw invalidParams(pathOf(index), `is nested deeper than ${valueDepthMax} levels; send it as a string`)
    }
    numbers += inner
  }
  if (numbers <= numbersUnmeasuredMax) return
  const written = Buffer.byteLength(JSON.stringify(writes))
  if (written <= writesBytesMax) return
  const path = writes.length === 1 ? pathOf(0) : 'params.writes'
  const message = `${path} takes ${written} bytes when it is passed on; at most ${writesBytesMax} can be written at once`
  throw protocolError('tooLarge', message, { path })
}

function linkCall(params: { readonly [Name in (typeof clientMethods)['link'][number]]?: unknown }): LinkCall {
  const peer = serverIdAt(params.peer, 'params.peer')
  const action = linkActionOf(params)
  return { method: 'link', peer, action }
}

function linkActionOf(params: {
  readonly action?: unknown
  readonly ms?: unknown
  readonly count?: unknown
}): LinkAction {
  const { action, ms, count } = params
  if (count !== undefined && action !== 'release')
    throw invalidParams('params.count', 'goes with "release" only')
  if (ms !== undefined && action !== 'delay') throw invalidParams('params.ms', 'goes with "delay" only')
  switch (action) {
    case 'hold':
    case 'cut':
    case 'heal':
      return { action }
    case 'release':
      return count === undefined ? { action } : { action, count: countAt(count, 'params.count', { min: 1 }) }
    case 'delay':
      return { action, ms: countAt(ms, 'params.ms', { min: 0, max: linkDelayMsMax }) }
    default:
      throw expected('params.action', '"hold", "release", "delay", "cut" or "heal"', action)
  }
}
