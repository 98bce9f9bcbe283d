import { TidingsError } from './tidings-error.ts'

/**
 * One error for what was the matter with each server of a list.
 *
 * @param first of the failures.
 * @param failures all of them, one for each server.
 */
export function joinedFailure(first: TidingsError, failures: readonly TidingsError[]): TidingsError {
  if (failures.length <= 1) return first
  const code = failures.every((failure) => failure.code === first.code) ? first.code : 'ERR_CANNOT_CONNECT'
  const messages = [...new Set(failures.map(({ message }) => message))]
  // Each asks whether its server is started, and it is asked once.
  const plain = messages.map((message) => message.replace(isOneStarted, ''))
  const question = plain.some((message, place) => message !== messages[place]) ? '; are they started?' : ''
  return new TidingsError(code, `no server of the list can be used: ${plain.join(', ')}${question}`, {
    cause: first,
  })
}

const isOneStarted = '; is the server started?'
