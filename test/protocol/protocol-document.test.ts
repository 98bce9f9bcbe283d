import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import { proofMatches } from '../../src/protocol/authentication.ts'
import { encodeResult } from '../../src/protocol/client-answers.ts'
import {
  checkClientRequest,
  clientMethods,
  isReplicaCall,
  type ClientMethod,
} from '../../src/protocol/client-messages.ts'
import {
  checkClientNotification,
  checkClientResult,
  checkMissing,
} from '../../src/protocol/client-results.ts'
import { errorTable, type ErrorName, type ProtocolError } from '../../src/protocol/errors.ts'
import { parseRpcLine, type RpcMessage, type RpcRequest } from '../../src/protocol/json-rpc.ts'
import * as limits from '../../src/protocol/limits.ts'
import { LineDecoder } from '../../src/protocol/line-decoder.ts'
import { checkPeerHelloResult, checkPeerMessage } from '../../src/protocol/peer-messages.ts'
import type { ClientResult } from '../../src/replica/messages.ts'
import { refusalBy, thrownBy } from './refusal.ts'

/** docs/protocol.md, executed: nothing stands there that the code does not do. */
const text = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')

/** The fenced blocks of JSON: each a conversation, one line per message. */
const conversations = [...text.matchAll(/^```json\n(?<lines>.*?)^```$/gms)].map((match) => {
  const lines = match.groups?.lines?.trimEnd().split('\n') ?? []
  return { line: text.slice(0, match.index).split('\n').length + 1, lines }
})

/** A table of the document whose headings begin so, as rows of cells. */
function table(heading: string): readonly (readonly string[])[] {
  const start = text.indexOf(`| ${heading} |`)
  const rows = text.slice(start, text.indexOf('\n\n', start)).split('\n').slice(2)
  return rows.map((row) =>
    row
      .split('|')
      .map((cell) => cell.trim().replaceAll('`', ''))
      .slice(1, -1),
  )
}

const notificationsToClients: ReadonlySet<string> = new Set(['update', 'caughtUp', 'resync'])

/** What the gateway makes of a message that is no response: undefined, or the error that it answers. */
function refusalOf(message: RpcMessage): ProtocolError | undefined {
  if (message.kind === 'response') return undefined
  if (message.kind === 'invalid') return message.error
  const { method, params } = message
  return thrownBy(() => {
    if (notificationsToClients.has(method)) checkClientNotification(method, params)
    else if (method.startsWith('peer.')) checkPeerMessage(method, params)
    else checkClientRequest(method, params)
  })
}

function checkResult(method: string, result: unknown): void {
  if (method === 'peer.hello') checkPeerHelloResult(result)
  else if (method !== 'peer.ping') checkClientResult(method as ClientMethod, result)
}

/** What the replica has answered where the document shows this error to a request that the gateway passed. */
function refusalBehind(error: ProtocolError): ClientResult | undefined {
  switch (error.code) {
    case errorTable.notCaughtUp.code:
      return { method: 'notCaughtUp', missing: checkMissing(error), more: 0 }
    case errorTable.outcomeUnknown.code:
      return { method: 'refused', reason: 'outcomeUnknown' }
    case errorTable.invalidParams.code:
      return error.path === 'params.request.number'
        ? { method: 'refused', reason: 'requestReused' }
        : undefined
    default:
      return undefined
  }
}

/** The error that a request must have earned: from the gateway, or, where that passed it, from the replica. */
function earnedBy(asked: RpcRequest | undefined, shown: ProtocolError): ProtocolError | undefined {
  const result = refusalBehind(shown)
  if (asked === undefined || result === undefined) return undefined
  const call = checkClientRequest(asked.method, asked.params)
  if (!isReplicaCall(call)) return undefined
  const status = (): never => {
    throw new Error('a refusal tells no status')
  }
  return refusalBy(() => encodeResult(call, result, { status }))
}

/** Errors that only the rest of the server gives, which this test does not run. */
const fromBehind: ReadonlySet<number> = new Set([-32009, -32010])

/** Plays a conversation. @returns what is not as the document says, in words. */
function faultsOf(lines: readonly string[]): string[] {
  const faults: string[] = []
  const asked = new Map<unknown, RpcRequest>()
  /** The error that the last line must have earned. */
  let due: ProtocolError | undefined
  const take = (message: RpcMessage, line: string): void => {
    if (message.kind === 'response') {
      const request = asked.get(message.id)
      const method = request?.method
      if ('result' in message.outcome) {
        const { result } = message.outcome
        if (method === undefined) faults.push(`answers what nobody asked: ${line}`)
        else if (thrownBy(() => checkResult(method, result)) !== undefined)
          faults.push(`no answer to ${method}: ${line}`)
        return
      }
      const { error } = message.outcome
      const earned = due ?? earnedBy(request, error)
      due = undefined
      if (earned === undefined) {
        if (!fromBehind.has(error.code)) faults.push(`is no error of what was sent: ${line}`)
        return
      }
      const isSame =
        earned.code === error.code &&
        isDeepStrictEqual(earned.data, error.data) &&
        // What JSON.parse says differs between releases of Node.
        (earned.code === errorTable.parse.code || earned.message === error.message)
      if (!isSame) faults.push(`should be ${earned.message} ${JSON.stringify(earned.data)}: ${line}`)
      return
    }
    if (due !== undefined) faults.push(`earned an error that is not shown: ${due.message}`)
    due = refusalOf(message)
    if (message.kind === 'request') asked.set(message.id, message)
  }
  for (const line of lines) {
    const error = thrownBy(() => {
      const parsed = parseRpcLine(line)
      for (const message of parsed.isBatch ? parsed.messages : [parsed.message]) take(message, line)
    })
    if (error !== undefined) due = error
  }
  if (due !== undefined) faults.push(`earned an error that is not shown: ${due.message}`)
  return faults
}

describe('docs/protocol.md', () => {
  it('has examples', () => {
    expect(conversations.length).toBeGreaterThan(25)
  })

  it.each(conversations)('shows at line $line what the gateway does', ({ lines }) => {
    const decoder = new LineDecoder()
    expect([...decoder.push(Buffer.from(`${lines.join('\n')}\n`))].map((line) => line.text)).toEqual(lines)
    expect(faultsOf(lines)).toEqual([])
  })

  it('shows every method and every push, with an answer', () => {
    const shown = new Set<string>()
    for (const line of conversations.flatMap(({ lines }) => lines)) {
      for (const [, method] of line.matchAll(/"method":"([\w.]+)"/g)) shown.add(method ?? '')
    }
    expect([...shown]).toEqual(
      expect.arrayContaining([...Object.keys(clientMethods), ...notificationsToClients]),
    )
    const ofPeers = [
      'hello',
      'ping',
      'updates',
      'cut',
      'pull',
      'page',
      'snapshot',
      'link',
      'ask',
      'tell',
      'members',
    ]
    expect([...shown]).toEqual(expect.arrayContaining(ofPeers.map((name) => `peer.${name}`)))
  })

  it('describes every method under a heading of its own', () => {
    const headings = [...text.matchAll(/^### (?<names>.*)$/gm)].flatMap(
      (match) => match.groups?.names?.split(', ') ?? [],
    )
    expect(headings).toEqual(expect.arrayContaining(Object.keys(clientMethods)))
  })

  it('lists every error as it is', () => {
    const rows = table('code | name').map(([code, name, definite, closes]) => ({
      code,
      name,
      definite,
      closes,
    }))
    const names = Object.keys(errorTable) as ErrorName[]
    const known = names.map((name) => {
      const { code, definite, closes } = errorTable[name]
      return { code: `−${-code}`, name, definite: definite ? 'yes' : 'no', closes: closes ? 'yes' : 'no' }
    })
    expect(rows).toEqual(known)
  })

  it('lists every limit as it is', () => {
    const rows = Object.fromEntries(
      table('name | value').map(([name, value]) => [name, Number(value?.replaceAll(',', ''))]),
    )
    const { protocolVersion: _, numbersUnmeasuredMax: __, ...known } = limits
    expect(rows).toEqual(known)
  })

  it('shows a greeting whose proofs are right', () => {
    const lines =
      conversations.map((one) => one.lines.join('\n')).find((one) => one.includes('"challenge"')) ?? ''
    const hex = [...lines.matchAll(/[0-9a-f]{64}/g)].map(([digits]) => digits)
    const [caller = '', responder = '', serverProof = '', clientProof = ''] = hex
    const secret = /The secret of this example is `(?<secret>[^`]+)`/.exec(text)?.groups?.secret ?? ''
    const nonces = { caller, responder }
    expect(proofMatches(serverProof, { secret, role: 'server', nonces })).toBe(true)
    expect(proofMatches(clientProof, { secret, role: 'client', nonces })).toBe(true)
  })
})
