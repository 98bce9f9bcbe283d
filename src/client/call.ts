import type { ClientMethod } from '../protocol/client-messages.ts'
import { checkClientResult, type ClientResults, type ToldMissingEntry } from '../protocol/client-results.ts'
import { ProtocolError } from '../protocol/errors.ts'
import { lineBytesMax, timeoutMsMax } from '../protocol/limits.ts'
import { cutToWire } from '../protocol/wire-forms.ts'
import type { Cut } from '../replica/cut.ts'
import type { RequestStamp } from '../replica/messages.ts'
import { showRunVersion } from './run-version.ts'
import { TidingsError } from './tidings-error.ts'

/**
 * A request from its beginning to its end, over one connection after another.
 *
 * What becomes of it when the connection breaks before the answer stands in `afterBreak`:
 * - `ask again`: it only reads, and is sent again as it was.
 * - `retry`: it writes. It is sent again with its stamp, by which a server that knows it tells that it has happened, and
 *   one that does not know it says so and writes nothing (R10).
 * - `reject`: it belongs to its connection, or acts on the server at the other end.
 */
export interface Call {
  /** On the wire, and its place in the order of all calls. */
  readonly id: number
  readonly method: ClientMethod
  /** The parameters that its caller gave, as they were then: text of a JSON object. */
  readonly params: string
  readonly afterBreak: 'ask again' | 'retry' | 'reject'
  /** What makes a write happen once; undefined for what does not write. */
  readonly stamp: RequestStamp | undefined
  /** Whether the stamp is of the session's own making, so that its numbers are the session's to keep close together. */
  readonly isNumberedHere: boolean
  /** When its time is up, as `performance.now()` counts; undefined where its connection's end is its own. */
  readonly deadlineMs: number | undefined
  readonly timer: NodeJS.Timeout | undefined
  /** What it was to come after when it was sent last. */
  after: Cut | undefined
  /** It was sent on a connection that broke before the answer: a write may have been carried out. */
  mayHaveHappened: boolean
  readonly accept: (result: unknown) => void
  readonly reject: (error: TidingsError) => void
}

/** What {@link Call.afterBreak} is for a request of a caller. */
export function afterBreakOf(method: ClientMethod): Call['afterBreak'] {
  switch (method) {
    case 'write':
    case 'delete':
    case 'batch':
      return 'retry'
    case 'read':
    case 'keys':
    case 'conflicts':
    case 'status':
    case 'waiting':
    case 'why':
      return 'ask again'
    case 'link':
    case 'hello':
    case 'challenge':
    case 'watch':
    case 'unwatch':
      return 'reject'
  }
}

/** Whether a method takes `after` and `timeout`. */
export function comesAfter(method: ClientMethod): boolean {
  return afterBreakOf(method) === 'retry' || method === 'read' || method === 'keys' || method === 'conflicts'
}

/** The line of a call, to be sent now. */
export function lineOf(call: Call): string {
  const { id, method, params, stamp, after, deadlineMs, mayHaveHappened } = call
  const request = stamp === undefined || !mayHaveHappened ? stamp : { ...stamp, retry: stamp.retry ?? true }
  const more =
    after === undefined
      ? { request }
      : { after: cutToWire(after), timeout: timeoutOnWire(deadlineMs), request }
  const text = JSON.stringify(more)
  const all = text === '{}' ? params : params === '{}' ? text : `${params.slice(0, -1)},${text.slice(1)}`
  return `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${all}}\n`
}

/**
 * How long the server may wait for what the request comes after: a little less than the caller does. So its answer, which
 * names what is missing, comes before the caller's time is up.
 */
function timeoutOnWire(deadlineMs: number | undefined): number | undefined {
  if (deadlineMs === undefined) return undefined
  const leftMs = Math.max(0, deadlineMs - performance.now())
  return Math.floor(Math.min(timeoutMsMax, leftMs - Math.min(leewayMsMax, leftMs / 4)))
}

/** For the answer's way back, and for servers that look at their clocks only now and then. */
const leewayMsMax = 500

/** ERR_TOO_LARGE for a line that no server would read; undefined for any other. */
export function lengthFault(method: ClientMethod, line: string): TidingsError | undefined {
  // A UTF-16 unit takes at most three bytes of UTF-8.
  if (line.length * 3 <= lineBytesMax) return undefined
  const bytes = Buffer.byteLength(line)
  if (bytes <= lineBytesMax) return undefined
  const message = `this ${method} takes ${bytes} bytes on the wire, and a line has at most ${lineBytesMax}`
  return new TidingsError('ERR_TOO_LARGE', `${message}; send smaller values, or fewer at once`)
}

/** Why a call that cannot be sent again was not answered. */
export function lostError({ method }: Call, error: TidingsError): TidingsError {
  // The greeting's own failure is the connection's, and told as it is.
  if (method === 'hello' || method === 'challenge') return error
  const acts = method === 'link'
  const doubt = acts ? 'look at the link before you try again' : 'nothing was changed by it; ask again'
  const message = `${error.message} before ${method} was answered; ${doubt}`
  return new TidingsError('ERR_CONNECTION_LOST', message, { definite: !acts, cause: error })
}

/** Of a call that was to come after what nobody has any more: the server's advice is for whoever keeps a cut by hand. */
export function lostVersionsError(
  { method }: Call,
  { code, definite, wireCode, data, missing, cause }: TidingsError,
  lost: readonly ToldMissingEntry[],
): TidingsError {
  const versions = lost.map(({ version }) => showRunVersion(version)).join(', ')
  const [is, it] = lost.length === 1 ? ['is', 'it'] : ['are', 'them']
  const message =
    `this ${method} was not carried out, for it was to come after ${versions}, which ${is} lost: every server is ` +
    `connected, and none has ${it}; the client goes on without ${it}, so ask again`
  return new TidingsError(code, message, {
    definite,
    data,
    missing,
    cause,
    ...(wireCode === undefined ? {} : { wireCode }),
  })
}

/** Of a call that was to come after what its server did not get in time: what that is, and who has it. */
export function notCaughtUpError(
  { code, definite, wireCode, data, missing, cause }: TidingsError,
  timeoutMs: number,
): TidingsError {
  const told = missing.slice(0, 3).map(({ version, holders }) => {
    const who = holders.length === 0 ? 'no server that is connected has it' : `${whoHas(holders)} it`
    return `${showRunVersion(version)} (${who})`
  })
  if (missing.length > told.length) told.push(`${missing.length - told.length} more`)
  const message =
    `this server has not applied ${told.join(', ')} within ${timeoutMs} ms; ` +
    'allow it longer (timeoutMs, or --timeout), or ask another server'
  return new TidingsError(code, message, {
    definite,
    data,
    missing,
    cause,
    ...(wireCode === undefined ? {} : { wireCode }),
  })
}

function whoHas(holders: readonly string[]): string {
  return holders.length === 1 ? `server ${holders.join('')} has` : `servers ${holders.join(', ')} have`
}

/**
 * What the caller is told of an error: where a write may have happened all the same, that, and the stamp to retry it with.
 *
 * A server's error says only of the copy that it was sent that this one did not happen.
 */
export function errorOfCall(call: Call, error: TidingsError): TidingsError {
  const { method, stamp, mayHaveHappened } = call
  if (stamp === undefined || (error.definite && !mayHaveHappened)) return error
  const { code, message, wireCode, data, missing } = error
  let said = message
  if (error.definite) {
    said +=
      '; it was sent before, on a connection that broke, and may have been carried out then: read before you write again'
  } else if (code === 'ERR_OUTCOME_UNKNOWN' && mayHaveHappened) {
    said =
      `it is not known whether this ${method} was carried out: its connection broke before the answer, and the ` +
      'server that was asked then knows nothing of it; read to see, and write again what is not there'
  }
  return new TidingsError(code, said, {
    definite: false,
    data,
    missing,
    request: { ...stamp, retry: stamp.retry ?? true },
    cause: error.cause ?? error,
    ...(wireCode === undefined ? {} : { wireCode }),
  })
}

/** Reads an answer, and settles with it. */
export function settleWith<Method extends ClientMethod>(
  method: Method,
  result: unknown,
  settlers: {
    readonly resolve: (checked: ClientResults[Method]) => void
    readonly reject: (error: TidingsError) => void
  },
): void {
  let checked: ClientResults[Method]
  try {
    checked = checkClientResult(method, result)
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    const definite = afterBreakOf(method) !== 'retry' && method !== 'link'
    settlers.reject(new TidingsError('ERR_NOT_TIDINGS', error.message, { definite, cause: error }))
    return
  }
  settlers.resolve(checked)
}
