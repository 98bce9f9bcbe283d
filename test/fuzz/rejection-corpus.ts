import { checkClientRequest, isReplicaCall } from '../../src/protocol/client-messages.ts'
import { checkMissing } from '../../src/protocol/client-results.ts'
import { parseRpcLine } from '../../src/protocol/json-rpc.ts'
import { findInText } from '../../src/protocol/json-text.ts'
import { lineBytesMax, peerLineBytesMax, valueDepthMax } from '../../src/protocol/limits.ts'
import { LineDecoder } from '../../src/protocol/line-decoder.ts'
import { checkPeerMessage } from '../../src/protocol/peer-messages.ts'
import { GatewayFuzz } from './gateway-fuzz.ts'
import { hostileInputs } from './hostile-inputs.ts'
import { checkError } from './oracles.ts'
import { ReplicaUnderFuzz } from './replica-under-fuzz.ts'
import { StoredFolder } from './stored-folder.ts'

/**
 * All that is known to be rejected, in one process: the table of hostile inputs, some rounds of fuzzing, and what takes
 * a certain state to be met.
 */
export async function meetRejections(): Promise<void> {
  for (const { from, bytes } of hostileInputs) {
    const isPeer = from === 'peer' || from === 'greeting peer'
    refusedOrNot(() => receive(Buffer.from(bytes), isPeer ? 'peer' : 'client'))
  }
  for (let seed = 1; seed <= roundsOfFuzzing; seed++) new GatewayFuzz({ seed }).run(framesPerRound)
  refusedOrNot(() => checkMissing(errorThatNamesNothing()))
  // What a person types is text before it has been bytes.
  findInText('"\ud800"', valueDepthMax)
  meetLongAnswer()
  meetCrowd()
  await meetLastTimestamp()
}

const roundsOfFuzzing = 6
const framesPerRound = 5_000
const chunkBytes = 65_521

function receive(bytes: Buffer, sender: 'client' | 'peer'): void {
  const decoder = new LineDecoder({ lineBytesMax: sender === 'client' ? lineBytesMax : peerLineBytesMax })
  const texts: string[] = []
  // As a socket hands them on.
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    for (const { text } of decoder.push(bytes.subarray(at, at + chunkBytes))) texts.push(text)
  }
  for (const text of texts) {
    const parsed = parseRpcLine(text, { sender })
    for (const message of parsed.isBatch ? parsed.messages : [parsed.message]) {
      if (message.kind !== 'request' && message.kind !== 'notification') continue
      const { method, params } = message
      refusedOrNot(() => {
        if (sender === 'peer') checkPeerMessage(method, params)
        else checkClientRequest(method, params)
      })
    }
  }
}

function refusedOrNot(run: () => void): void {
  try {
    run()
  } catch (error) {
    checkError(error)
  }
}

function errorThatNamesNothing() {
  const parsed = parseRpcLine('{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"not yet"}}', {
    sender: 'server',
  })
  if (parsed.isBatch || parsed.message.kind !== 'response' || !('error' in parsed.message.outcome)) {
    throw new Error('an error that is none')
  }
  return parsed.message.outcome.error
}

/** Values that are fine each, and too long together. */
function meetLongAnswer(): void {
  const server = new ReplicaUnderFuzz()
  const keys = Array.from({ length: 17 }, (_, number) => `long ${number}`)
  const ask = (method: string, params: object): void => {
    const call = checkClientRequest(method, params)
    if (isReplicaCall(call)) server.request(call, 1)
  }
  for (const key of keys) ask('write', { key, value: 'x'.repeat(lineBytesMax) })
  ask('read', { keys })
}

/** More requests that wait than may. */
function meetCrowd(): void {
  const server = new ReplicaUnderFuzz()
  const call = checkClientRequest('read', { key: 'x', after: { '9~never': 1 } })
  for (let count = 0; count < 50; count++) if (isReplicaCall(call)) server.request(call, 1)
}

/** A disk that says that all timestamps have been used. */
async function meetLastTimestamp(): Promise<void> {
  const folder = await StoredFolder.make()
  try {
    const record = folder.record('progress')
    const progress = JSON.parse(record.value.toString()) as object
    const applied = [['9~a', Number.MAX_SAFE_INTEGER]]
    const changed = { ...record, value: Buffer.from(JSON.stringify({ ...progress, applied })) }
    folder.replace([record], [changed])
    folder.start()
  } finally {
    await folder.remove()
  }
}
