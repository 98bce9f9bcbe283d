import { performance } from 'node:perf_hooks'
import type * as clientModule from '../../src/protocol/client-messages.ts'
import type * as rpcModule from '../../src/protocol/json-rpc.ts'
import type * as peerModule from '../../src/protocol/peer-messages.ts'
import { gatewayLines } from './gateway-lines.ts'
import { runErrand } from './run-errand.ts'

/** Which of the kinds of lines. */
export interface GatewayPlan {
  readonly name: string
}

/** Nanoseconds for each line, or each update or write of those that come together. */
export interface GatewayReport {
  readonly parse: number
  readonly gateway: number
}

runErrand(async ({ name }: GatewayPlan, modules): Promise<GatewayReport> => {
  const { parseRpcLine } = await modules<typeof rpcModule>('protocol/json-rpc')
  const { checkClientRequest } = await modules<typeof clientModule>('protocol/client-messages')
  const { checkPeerMessage } = await modules<typeof peerModule>('protocol/peer-messages')

  const checks = {
    client: (line: string): unknown => {
      const parsed = parseRpcLine(line)
      if (parsed.isBatch || parsed.message.kind !== 'request') throw new Error('not a request')
      return checkClientRequest(parsed.message.method, parsed.message.params)
    },
    peer: (line: string): unknown => {
      const parsed = parseRpcLine(line, { sender: 'server' })
      if (parsed.isBatch || parsed.message.kind !== 'notification') throw new Error('not a notification')
      return checkPeerMessage(parsed.message.method, parsed.message.params)
    },
  }
  // All kinds once before any is timed, so that none has the compiled code to itself.
  for (const { lines, from } of gatewayLines) for (const line of lines) checks[from](line)

  const measured = gatewayLines.find((kind) => kind.name === name)
  if (measured === undefined) throw new Error(`there are no lines called ${name}`)
  const { lines, each = 1, from } = measured
  const least = { parse: Infinity, gateway: Infinity }
  const repeats = Math.ceil(repeatedLength / lines.reduce((sum, line) => sum + line.length, 0))
  let kept: unknown
  for (let turn = 0; turn < turns; turn++) {
    for (const [kind, work] of [
      ['parse', JSON.parse],
      ['gateway', checks[from]],
    ] as const) {
      const beganMs = performance.now()
      for (let repeat = 0; repeat < repeats; repeat++) for (const line of lines) kept = work(line)
      const nanos = (1e6 * (performance.now() - beganMs)) / (repeats * lines.length * each)
      least[kind] = Math.min(least[kind], nanos)
    }
  }
  if (kept === undefined) throw new Error('nothing was parsed')
  return least
})

/** Of all the least is told: what disturbs one only ever adds. */
const turns = 60
const repeatedLength = 400_000
