import { CommandError, exitCodes } from './commands.ts'
import { TidingsError } from './tidings-error.ts'

/**
 * How the process ends after an error; the codes are a promise to scripts.
 *
 * - 2: what was asked for cannot be, whoever is asked.
 * - 3: there is no server to ask: none that can be reached, that will have this client, or that speaks its language. A
 *   wrong secret or a missing one is of this kind, whichever side finds it.
 * - 4: no server that was asked has applied in time what the session had seen, or nobody has it any more.
 * - 5: a server was asked and did not do it, or did not say: an unknown outcome, no answer in time, overload.
 */
export function exitCodeOf(error: Error): number {
  if (error instanceof CommandError) return exitCodes.usage
  if (!(error instanceof TidingsError)) return exitCodes.server
  switch (error.code) {
    case 'ERR_INVALID_ARGUMENT':
    case 'ERR_INVALID_PARAMS':
    case 'ERR_TOO_LARGE':
    case 'ERR_ONLY_IN_LAB':
      return exitCodes.usage
    case 'ERR_CANNOT_CONNECT':
    case 'ERR_CONNECTION_LOST':
    case 'ERR_NOT_AUTHORISED':
    case 'ERR_NOT_TIDINGS':
    case 'ERR_PROTOCOL_VERSION':
    case 'ERR_SHUTTING_DOWN':
      return exitCodes.cannotConnect
    case 'ERR_NOT_CAUGHT_UP':
      return exitCodes.notCaughtUp
    default:
      return exitCodes.server
  }
}
