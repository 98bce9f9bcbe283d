/** One kind of what comes in, and must be checked. */
export interface GatewayLines {
  readonly name: string
  readonly lines: readonly string[]
  /** How many there are in each line; 1 where nothing is said. */
  readonly each?: number
  /** Who sends it. */
  readonly from: 'client' | 'peer'
}

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

export const gatewayLines: readonly GatewayLines[] = [
  {
    name: 'write, value a string of 100',
    lines: request('write', (i) => ({ key: `user:${i}`, value })),
    from: 'client',
  },
  {
    name: 'the same, once and after a cut',
    lines: request('write', (i) => ({
      key: `user:${i}`,
      value,
      request: { session: '3f2a9c1e7b604d58', number: i + 1 },
      after: { '1~m3k9x': i + 5, '2~q8f1a': i + 3, '3~z1': i + 1 },
    })),
    from: 'client',
  },
  { name: 'read', lines: request('read', (i) => ({ key: `user:${i}` })), from: 'client' },
  {
    name: 'write, value a number',
    lines: request('write', (i) => ({ key: `user:${i}`, value: i })),
    from: 'client',
  },
  {
    name: 'write, value an object of 5 members',
    lines: request('write', (i) => ({
      key: `user:${i}`,
      value: { name: `user ${i}`, age: i, tags: ['a', 'b'], score: 1.5, admin: false },
    })),
    from: 'client',
  },
  { name: 'batch of 256 writes, each', lines: batch, each: updatesPerFrame, from: 'client' },
  { name: 'peer.updates of 256, each', lines: frames, each: updatesPerFrame, from: 'peer' },
]
