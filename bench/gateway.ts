/**
 * What the checks of everything that comes in cost, next to `JSON.parse` of the same lines.
 *
 *     npx tsx bench/gateway.ts
 */
import { checkClientRequest } from '../src/protocol/client-messages.ts'
import { parseRpcLine } from '../src/protocol/json-rpc.ts'
import { checkPeerMessage } from '../src/protocol/peer-messages.ts'

const value = 'x'.repeat(100)
const lineCount = 1_000
const updatesPerFrame = 256

function request(method: string, params: (index: number) => object): readonly string[] {
  return Array.from({ length: lineCount }, (_, index) =>
    JSON.stringify({ jsonrpc: '2.0', id: index + 1, method, params: params(index) }),
  )
}

const batch = request('batch', (index) => ({
  writes: Array.from({ length: updatesPerFrame }, (_, write) => ({ key: `user:${index}:${write}`, value })),
})).slice(0, 20)

const frames = Array.from({ length: 20 }, (_, frame) =>
  JSON.stringify({
    jsonrpc: '2.0',
    method: 'peer.updates',
    params: {
      updates: Array.from({ length: updatesPerFrame }, (_, index) => ({
        origin: '1~m3k9x',
        timestamp: frame * 1_000 + index + 2,
        previous: frame * 1_000 + index + 1,
        dependencies: index % 4 === 0 ? { '2~q8f1a': index + 1 } : {},
        writes: [{ key: `user:${index}`, value }],
      })),
    },
  }),
)

const cases: readonly Case[] = [
  {
    name: 'write, value a string of 100',
    lines: request('write', (i) => ({ key: `user:${i}`, value })),
    check: fromClient,
  },
  {
    name: 'the same, once and after a cut',
    lines: request('write', (i) => ({
      key: `user:${i}`,
      value,
      request: { session: '3f2a9c1e7b604d58', number: i + 1 },
      after: { '1~m3k9x': i + 5, '2~q8f1a': i + 3, '3~z1': i + 1 },
    })),
    check: fromClient,
  },
  { name: 'read', lines: request('read', (i) => ({ key: `user:${i}` })), check: fromClient },
  {
    name: 'write, value a number',
    lines: request('write', (i) => ({ key: `user:${i}`, value: i })),
    check: fromClient,
  },
  {
    name: 'write, value an object of 5 members',
    lines: request('write', (i) => ({
      key: `user:${i}`,
      value: { name: `user ${i}`, age: i, tags: ['a', 'b'], score: 1.5, admin: false },
    })),
    check: fromClient,
  },
  { name: 'batch of 256 writes, each', lines: batch, each: updatesPerFrame, check: fromClient },
  { name: 'peer.updates of 256, each', lines: frames, each: updatesPerFrame, check: fromPeer },
]

interface Case {
  readonly name: string
  readonly lines: readonly string[]
  readonly each?: number
  readonly check: (line: string) => unknown
}

function fromClient(line: string): unknown {
  const parsed = parseRpcLine(line)
  if (parsed.isBatch || parsed.message.kind !== 'request') throw new Error('not a request')
  return checkClientRequest(parsed.message.method, parsed.message.params)
}

function fromPeer(line: string): unknown {
  const parsed = parseRpcLine(line, { sender: 'server' })
  if (parsed.isBatch || parsed.message.kind !== 'notification') throw new Error('not a notification')
  return checkPeerMessage(parsed.message.method, parsed.message.params)
}

/** Nanoseconds per line, the best of interleaved rounds: what disturbs a round only ever adds. */
function measure({ lines, check }: Case): { readonly parse: number; readonly gateway: number } {
  const times: { parse: number[]; gateway: number[] } = { parse: [], gateway: [] }
  const repeats = Math.ceil(400_000 / lines.reduce((sum, line) => sum + line.length, 0))
  let kept: unknown
  for (let round = 0; round < 60; round++) {
    for (const [kind, work] of [
      ['parse', JSON.parse],
      ['gateway', check],
    ] as const) {
      const start = process.hrtime.bigint()
      for (let repeat = 0; repeat < repeats; repeat++) for (const line of lines) kept = work(line)
      times[kind].push(Number(process.hrtime.bigint() - start) / (repeats * lines.length))
    }
  }
  if (kept === undefined) throw new Error('nothing was parsed')
  return { parse: Math.min(...times.parse), gateway: Math.min(...times.gateway) }
}

// All kinds once before any is timed, so that none has the compiled code to itself.
for (const one of cases) for (const line of one.lines) one.check(line)

for (const one of cases) {
  const { parse, gateway } = measure(one)
  const each = one.each ?? 1
  const added = `${((gateway / parse - 1) * 100).toFixed(0)} %`
  process.stdout.write(
    `${one.name.padEnd(38)} JSON.parse ${(parse / each).toFixed(0).padStart(5)} ns, ` +
      `with the gateway ${(gateway / each).toFixed(0).padStart(5)} ns: +${added}\n`,
  )
}
