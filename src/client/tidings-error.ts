import { checkMissing, type ToldMissingEntry } from '../protocol/client-results.ts'
import { nameOfCode, ProtocolError, type ErrorName } from '../protocol/errors.ts'
import type { RequestStamp } from '../replica/messages.ts'

/** What a {@link TidingsError} is about. Codes are a promise to programs; messages are for people and may change. */
export type TidingsErrorCode =
  // What a server answers.
  | 'ERR_PARSE'
  | 'ERR_INVALID_REQUEST'
  | 'ERR_UNKNOWN_METHOD'
  | 'ERR_INVALID_PARAMS'
  | 'ERR_INTERNAL'
  /** In the time allowed, the server did not apply all that the client had seen: `missing` names it (R9). */
  | 'ERR_NOT_CAUGHT_UP'
  | 'ERR_OVERLOADED'
  | 'ERR_LINE_TOO_LONG'
  | 'ERR_SHUTTING_DOWN'
  | 'ERR_PROTOCOL_VERSION'
  | 'ERR_SERVER_ID_IN_USE'
  /** A write was sent again, and the server that was asked then does not know whether it has happened (R10). */
  | 'ERR_OUTCOME_UNKNOWN'
  | 'ERR_NOT_AUTHORISED'
  | 'ERR_ONLY_IN_LAB'
  | 'ERR_TOO_LARGE'
  /** A server of another release answered with an error that this one does not know. */
  | 'ERR_SERVER'
  // What this side finds.
  /** A value that JSON cannot keep as it is, or an address that is none. */
  | 'ERR_INVALID_ARGUMENT'
  /** No server of the list could be reached in time. */
  | 'ERR_CANNOT_CONNECT'
  /** The connection broke between a request and its answer, and the request is one that is not sent again. */
  | 'ERR_CONNECTION_LOST'
  /** No answer within the time allowed, or none after a connection broke and before another was made. */
  | 'ERR_TIMEOUT'
  /** What listens there does not speak this protocol. */
  | 'ERR_NOT_TIDINGS'
  /** The client was closed. */
  | 'ERR_CLOSED'

/** Why something that was asked of a client did not come back with an answer. */
export class TidingsError extends Error {
  override readonly name = 'TidingsError'
  readonly code: TidingsErrorCode
  /**
   * Whether the request certainly did not happen. A write whose error is not definite may have been carried out,
   * or may yet be: read the key before writing it again.
   */
  readonly definite: boolean
  /** The JSON-RPC code, where a server answered with an error: see the table in the protocol's documentation. */
  readonly wireCode: number | undefined
  /** What the server added to its error, such as `path` or `retryAfterMs`. */
  readonly data: { readonly [name: string]: unknown }
  /**
   * Of ERR_NOT_CAUGHT_UP: what the client has seen and the server has not applied, at most a hundred versions, those
   * that are `lost` first; empty otherwise.
   */
  readonly missing: readonly ToldMissingEntry[]
  /**
   * Of a write that may have happened: what it was sent with. Given to the same write as its `request`, it makes a
   * retry; with `retry: 'again'` one that is carried out where it is not known (R10).
   */
  readonly request: RequestStamp | undefined

  constructor(
    code: TidingsErrorCode,
    message: string,
    more: {
      readonly definite?: boolean
      readonly wireCode?: number
      readonly data?: { readonly [name: string]: unknown }
      readonly missing?: readonly ToldMissingEntry[]
      readonly request?: RequestStamp
      readonly cause?: unknown
    } = {},
  ) {
    super(message, more.cause === undefined ? {} : { cause: more.cause })
    this.code = code
    this.definite = more.definite ?? true
    this.wireCode = more.wireCode
    this.data = more.data ?? {}
    this.missing = more.missing ?? []
    this.request = more.request
  }
}

/** Whether a request was refused because it was to come after what nobody has any more. The client has forgotten that. */
export function isAboutLost({ code, missing }: TidingsError): boolean {
  return code === 'ERR_NOT_CAUGHT_UP' && missing.some(({ lost }) => lost)
}

/** The error that a server answered with, as its asker gets it. */
export function errorFromServer(error: ProtocolError): TidingsError {
  const name = nameOfCode(error.code)
  return new TidingsError(name === undefined ? 'ERR_SERVER' : codesByName[name], error.message, {
    definite: error.definite,
    wireCode: error.code,
    data: error.data,
    missing: name === 'notCaughtUp' ? missingIn(error) : [],
    cause: error,
  })
}

/** Where the list makes no sense there is none: the error itself does. */
function missingIn(error: ProtocolError): readonly ToldMissingEntry[] {
  try {
    return checkMissing(error)
  } catch (fault) {
    if (fault instanceof ProtocolError) return []
    throw fault
  }
}

const codesByName: { readonly [name in ErrorName]: TidingsErrorCode } = {
  parse: 'ERR_PARSE',
  invalidRequest: 'ERR_INVALID_REQUEST',
  unknownMethod: 'ERR_UNKNOWN_METHOD',
  invalidParams: 'ERR_INVALID_PARAMS',
  internal: 'ERR_INTERNAL',
  notCaughtUp: 'ERR_NOT_CAUGHT_UP',
  overloaded: 'ERR_OVERLOADED',
  lineTooLong: 'ERR_LINE_TOO_LONG',
  shuttingDown: 'ERR_SHUTTING_DOWN',
  protocolVersion: 'ERR_PROTOCOL_VERSION',
  serverIdInUse: 'ERR_SERVER_ID_IN_USE',
  outcomeUnknown: 'ERR_OUTCOME_UNKNOWN',
  notAuthorised: 'ERR_NOT_AUTHORISED',
  onlyInLab: 'ERR_ONLY_IN_LAB',
  tooLarge: 'ERR_TOO_LARGE',
}
