import { checkClientResult, checkMissing } from '../../src/protocol/client-results.ts'
import type { ClientMethod } from '../../src/protocol/client-messages.ts'
import { nameOfCode, ProtocolError } from '../../src/protocol/errors.ts'
import { parseRpcLine, type RpcMessage } from '../../src/protocol/json-rpc.ts'
import { findInText } from '../../src/protocol/json-text.ts'
import { nameBytesMax } from '../../src/protocol/limits.ts'

/**
 * What has to hold of anything that a server says, whatever it was told. Each throws where it does not.
 */

/** An error that goes to the sender of something: of a documented code, and saying whether the request happened. */
export function checkError(error: unknown): ProtocolError {
  if (!(error instanceof ProtocolError)) throw error
  if (nameOfCode(error.code) === undefined) {
    throw new Error(`${error.code} is no documented code: ${error.message}`, { cause: error })
  }
  if (typeof error.data.definite !== 'boolean' || error.message === '') {
    throw new Error('an error that says too little', { cause: error })
  }
  if (!isIdOfRequest(error.id)) {
    throw new Error(`an error under the id ${JSON.stringify(error.id)}, which no request may have`, {
      cause: error,
    })
  }
  return error
}

function isIdOfRequest(id: unknown): boolean {
  if (id === undefined || id === null) return true
  if (typeof id === 'number') return Number.isSafeInteger(id) || !Number.isInteger(id)
  return typeof id === 'string' && Buffer.byteLength(id) <= nameBytesMax
}

/**
 * A line to a client: one line of JSON that any reader understands, without half surrogate pairs, names that come twice
 * or numbers that no double holds; and where it answers a method, with what the method answers.
 */
export function checkAnswerLine(line: string, method?: ClientMethod): void {
  if (!line.endsWith('\n') || line.indexOf('\n') !== line.length - 1) {
    throw new Error(`no line: ${JSON.stringify(line)}`)
  }
  const finding = findInText(line, answerDepthMax)
  if (finding !== undefined) throw new Error(`a line that ${finding.message}: ${line}`)
  const parsed = parseRpcLine(line.slice(0, -1), { sender: 'server' })
  for (const message of parsed.isBatch ? parsed.messages : [parsed.message])
    checkAnswer(message, line, method)
}

function checkAnswer(message: RpcMessage, line: string, method: ClientMethod | undefined): void {
  if (message.kind !== 'response') {
    if (method !== undefined || message.kind !== 'notification') throw new Error(`no answer: ${line}`)
    return
  }
  if ('result' in message.outcome) {
    if (method !== undefined) checkClientResult(method, message.outcome.result)
    return
  }
  const error = checkError(message.outcome.error)
  if (nameOfCode(error.code) === 'notCaughtUp') checkMissing(error)
}

/** A value in a list of conflicts in a list of keys is as deep as an answer gets. */
const answerDepthMax = 72
