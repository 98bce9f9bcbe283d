import type { JsonRpcId } from './json-rpc.ts'

/**
 * The errors of the wire, as a table. Codes are a promise to programs, messages are not: they are for people,
 * and say what is wrong, why, and what to try.
 *
 * `definite` says whether the request certainly did not happen. Only an outcome that is unknown is not definite.
 * `closes` says whether the connection is closed after the error has been sent: what follows on it cannot be
 * trusted to begin where a message begins, or is not wanted.
 */
export const errorTable = {
  parse: { code: -32700, definite: true, closes: true },
  invalidRequest: { code: -32600, definite: true, closes: false },
  unknownMethod: { code: -32601, definite: true, closes: false },
  invalidParams: { code: -32602, definite: true, closes: false },
  /** A defect of the server. It cannot say how far it came. */
  internal: { code: -32603, definite: false, closes: false },
  notCaughtUp: { code: -32001, definite: true, closes: false },
  overloaded: { code: -32002, definite: true, closes: false },
  lineTooLong: { code: -32003, definite: true, closes: true },
  shuttingDown: { code: -32004, definite: true, closes: true },
  protocolVersion: { code: -32005, definite: true, closes: true },
  serverIdInUse: { code: -32006, definite: true, closes: true },
  outcomeUnknown: { code: -32007, definite: false, closes: false },
  notAuthorised: { code: -32008, definite: true, closes: true },
  onlyInLab: { code: -32009, definite: true, closes: false },
  tooLarge: { code: -32010, definite: true, closes: false },
} as const satisfies Record<string, ErrorKind>

interface ErrorKind {
  readonly code: number
  readonly definite: boolean
  readonly closes: boolean
}

export type ErrorName = keyof typeof errorTable

/** What `error.data` holds: always `definite`; more by kind, such as `path`, `missing`, `retryAfterMs`. */
export interface ErrorData {
  readonly definite: boolean
  /** Where in the message the fault is: `params.writes[2].key`. */
  readonly path?: string
  readonly [name: string]: unknown
}

/**
 * What goes back to whoever sent something that cannot be served, and the only thing that this directory's
 * functions throw for what comes from outside.
 */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
  /** The JSON-RPC error code: one of {@link errorTable}, or, on the client's side, whatever a server sent. */
  readonly code: number
  readonly data: ErrorData
  /** The id of the request at fault, where it is known; null goes to the wire as it is. */
  readonly id: JsonRpcId | undefined

  constructor(
    code: number,
    message: string,
    options: { readonly data: ErrorData; readonly id?: JsonRpcId | undefined; readonly cause?: unknown },
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.code = code
    this.data = options.data
    this.id = options.id
  }

  /** Whether the request certainly did not happen. */
  get definite(): boolean {
    return this.data.definite
  }

  /** Where in the message the fault is, such as `params.key`; undefined where that makes no sense. */
  get path(): string | undefined {
    return this.data.path
  }

  /** Whether the connection is closed after this error has been sent. */
  get closesConnection(): boolean {
    return nameOfCode(this.code) !== undefined && errorTable[nameOfCode(this.code) as ErrorName].closes
  }
}

/**
 * Makes an error of the table.
 *
 * @param message what is wrong, why, and what to try.
 * @param more further members of `data`, such as `path`; and `id` or `cause`, which are not part of `data`.
 */
export function protocolError(
  name: ErrorName,
  message: string,
  more: {
    readonly path?: string
    readonly data?: { readonly [name: string]: unknown }
    readonly id?: JsonRpcId
    readonly cause?: unknown
  } = {},
): ProtocolError {
  const { code, definite } = errorTable[name]
  const path = more.path === undefined || more.path === '' ? {} : { path: more.path }
  return new ProtocolError(code, wellFormed(message), {
    data: { definite, ...path, ...more.data },
    id: more.id,
    cause: more.cause,
  })
}

/**
 * A message that quotes what was sent may cut a pair of surrogates in two, or quote half a pair, and what goes back
 * has to be Unicode. (`String.prototype.toWellFormed` is not known to the type library of ES2023.)
 */
function wellFormed(message: string): string {
  return (message as unknown as { toWellFormed(): string }).toWellFormed()
}

/** −32602: `path` is what is wrong, `rule` what would be right: "params.key is missing". */
export function invalidParams(path: string, rule: string): ProtocolError {
  return protocolError('invalidParams', `${path} ${rule}`, { path })
}

/** The name in {@link errorTable} of a code that came over the wire; undefined for a foreign one. */
export function nameOfCode(code: number): ErrorName | undefined {
  return namesByCode.get(code)
}

const namesByCode: ReadonlyMap<number, ErrorName> = new Map(
  Object.entries(errorTable).map(([name, { code }]) => [code, name as ErrorName]),
)
