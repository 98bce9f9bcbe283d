import { errorTable, ProtocolError, protocolError, type ErrorData } from './errors.ts'
import { parseJsonText, parseJsonUnchecked, parsePeerText } from './json-text.ts'
import { rpcBatchLengthMax } from './limits.ts'
import { requestIdOf } from './request-id.ts'

/**
 * JSON-RPC 2.0 (https://www.jsonrpc.org/specification), whole and in both directions: either side of a
 * connection may send requests, notifications, responses and batch arrays of them.
 *
 * An id is whatever the specification permits: a string, a number (fractions too), or null. A request whose id
 * is null is answered, with null; only one *without* an id is a notification, and is carried out and never
 * answered, not even with an error.
 */
export type JsonRpcId = string | number | null

export interface RpcRequest {
  readonly kind: 'request'
  readonly id: JsonRpcId
  readonly method: string
  /** Undefined where absent. */
  readonly params: unknown
}

export interface RpcNotification {
  readonly kind: 'notification'
  readonly method: string
  readonly params: unknown
}

export interface RpcResponse {
  readonly kind: 'response'
  readonly id: JsonRpcId
  readonly outcome: { readonly result: unknown } | { readonly error: ProtocolError }
}

/** Something that is no message, or must not be served: it is answered with the error, and only with that. */
export interface RpcInvalid {
  readonly kind: 'invalid'
  readonly id: JsonRpcId
  readonly error: ProtocolError
}

export type RpcMessage = RpcRequest | RpcNotification | RpcResponse | RpcInvalid

/**
 * What one line holds. Of a batch, the answers go back together, in one array, once all are there
 * ({@link encodeBatch}); where there is none to give, nothing goes back.
 */
export type RpcLine =
  | { readonly isBatch: false; readonly message: RpcMessage }
  | { readonly isBatch: true; readonly messages: readonly RpcMessage[] }

/**
 * Reads one line.
 *
 * @param options.sender who sent it. A client's text is checked for what JSON could not carry on, see
 *   `parseJsonText`. What a server sends was checked when a client sent it and has been parsed and written since;
 *   it is checked again as it is read into its types, at a fraction of the cost. Of a peer's line that is not an answer
 *   it is checked that it does not come to too much.
 * @throws ProtocolError where the whole line is answered with one error: −32700 for no JSON; −32600 for an empty
 *   or overlong batch; −32602 for a value that could not be kept. `error.id` is the id to answer it under.
 */
export function parseRpcLine(
  text: string,
  options: { readonly sender: Sender } = { sender: 'client' },
): RpcLine {
  const parsed = parsers[options.sender](text)
  if (!Array.isArray(parsed)) return { isBatch: false, message: toMessage(parsed) }
  if (parsed.length === 0) {
    throw protocolError('invalidRequest', 'the batch is empty; send at least one message in it', { id: null })
  }
  if (parsed.length > rpcBatchLengthMax) {
    const message = `the batch has ${parsed.length} messages; send at most ${rpcBatchLengthMax} in one`
    throw protocolError('invalidRequest', message, { id: null })
  }
  return { isBatch: true, messages: parsed.map(toMessage) }
}

/** Who sent a line: a client or another server, or a server that was asked. Only clients make up values. */
export type Sender = 'client' | 'peer' | 'server'

const parsers: Readonly<Record<Sender, (text: string) => unknown>> = {
  client: parseJsonText,
  peer: parsePeerText,
  server: parseJsonUnchecked,
}

/** A request's line. */
export function encodeRequest(request: {
  readonly id: JsonRpcId
  readonly method: string
  readonly params?: object | undefined
}): string {
  const { id, method, params } = request
  return `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`
}

/** A notification's line. */
export function encodeNotice(notice: {
  readonly method: string
  readonly params?: object | undefined
}): string {
  return `${JSON.stringify({ jsonrpc: '2.0', method: notice.method, params: notice.params })}\n`
}

/** The line that answers a request with its result. */
export function encodeResponse(id: JsonRpcId, result: unknown): string {
  return responseWith(id, JSON.stringify(result))
}

/** As {@link encodeResponse}, of a result that is text already. */
export function responseWith(id: JsonRpcId, result: string): string {
  return `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}\n`
}

/** The line that answers a request, or an unreadable line, with an error. The id is the error's own by default. */
export function encodeError(error: ProtocolError, id: JsonRpcId = error.id ?? null): string {
  const { code, message, data } = error
  return `${JSON.stringify({ jsonrpc: '2.0', id, error: { code, message, data } })}\n`
}

/**
 * The one line that answers a batch.
 *
 * @param responses the lines of {@link encodeResponse} and {@link encodeError}, in any order.
 * @returns undefined where there is nothing to answer: then nothing is sent, not even an empty array.
 */
export function encodeBatch(responses: readonly string[]): string | undefined {
  if (responses.length === 0) return undefined
  return `[${responses.map((line) => line.slice(0, -1)).join(',')}]\n`
}

function toMessage(parsed: unknown): RpcMessage {
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    const kind = parsed === null ? 'null' : Array.isArray(parsed) ? 'an array' : `a ${typeof parsed}`
    return invalid(null, `a message is an object such as ${example}, and this is ${kind}`)
  }
  const { jsonrpc, id, method, params } = parsed as { readonly [name: string]: unknown }
  const known = requestIdOf(id)
  if (known === undefined) {
    return invalid(null, 'id must be a string, a number within 2^53, or null', 'id')
  }
  if (jsonrpc !== '2.0') {
    return invalid(known, `jsonrpc must be "2.0": a message looks like ${example}`, 'jsonrpc')
  }
  if (method === undefined && ('result' in parsed || 'error' in parsed)) return toResponse(parsed, known)
  if (typeof method !== 'string')
    return invalid(known, `method must be a string: a message looks like ${example}`, 'method')
  if (params !== undefined && (typeof params !== 'object' || params === null)) {
    return invalid(known, 'params must be an object', 'params')
  }
  return id === undefined
    ? { kind: 'notification', method, params }
    : { kind: 'request', id: known, method, params }
}

function toResponse(parsed: object, id: JsonRpcId): RpcMessage {
  if (!('error' in parsed))
    return { kind: 'response', id, outcome: { result: 'result' in parsed ? parsed.result : null } }
  if ('result' in parsed) return invalid(id, 'a response has either a result or an error, and this has both')
  const error = toError(parsed.error, id)
  if (error === undefined)
    return invalid(id, 'error must be an object with a number `code` and a string `message`', 'error')
  return { kind: 'response', id, outcome: { error } }
}

/** The error that the other side sent, as the same kind of object that this side sends. */
function toError(error: unknown, id: JsonRpcId): ProtocolError | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error) || !('message' in error))
    return undefined
  const { code, message } = error
  if (typeof code !== 'number' || !Number.isSafeInteger(code) || typeof message !== 'string') return undefined
  const given: unknown = 'data' in error ? error.data : undefined
  const members = typeof given === 'object' && given !== null && !Array.isArray(given) ? given : {}
  const definite =
    'definite' in members && typeof members.definite === 'boolean' ? members.definite : isDefinite(code)
  const { path, ...rest }: { readonly path?: unknown } = members
  const data: ErrorData = { ...rest, definite, ...(typeof path === 'string' ? { path } : {}) }
  return new ProtocolError(code, message, { data, id })
}

/** What a code says of itself where its sender did not: an error of a foreign kind promises nothing. */
function isDefinite(code: number): boolean {
  for (const kind of Object.values(errorTable)) if (kind.code === code) return kind.definite
  return false
}

function invalid(id: JsonRpcId, message: string, path?: string): RpcInvalid {
  const error = protocolError('invalidRequest', message, { ...(path === undefined ? {} : { path }), id })
  return { kind: 'invalid', id, error }
}

const example = '{"jsonrpc":"2.0","id":1,"method":"status"}'
