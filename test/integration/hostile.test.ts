import { execFileSync } from 'node:child_process'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  batchWritesMax,
  clientConnectionsMax,
  finishLineMs,
  keyBytesMax,
  keysLimitMax,
  lineBytesMax,
  membersMax,
  peerLineBytesMax,
  readKeysMax,
  rpcBatchLengthMax,
  valueDepthMax,
  watchesPerClientMax,
} from '../../src/protocol/limits.ts'
import { ServerProcess, startMesh, stopServers } from './processes.ts'
import { RawClient, type WireError, type WireMessage } from './raw-client.ts'

let victim: ServerProcess
let neighbour: ServerProcess
/** Connected before the first attack, and well after the last. */
let healthy: RawClient
let healthyNeighbour: RawClient
/** Begins a line while others are tested, and never ends it. */
let slow: RawClient
let slowSinceMs = 0
let round = 0

beforeAll(async () => {
  const servers = await startMesh(2)
  ;[victim, neighbour] = servers as [ServerProcess, ServerProcess]
  healthy = await RawClient.connect(victim.port)
  healthyNeighbour = await RawClient.connect(neighbour.port)
})

/** Waits until the neighbour shows a key. Its events do not do: of megabytes, some are left out. */
async function arrived(key: string): Promise<void> {
  await healthyNeighbour.until<{ found: boolean }>('read', { key }, ({ found }) => found)
}

/** After each attack the server serves others, and the mesh is whole. */
afterEach(async () => {
  const key = `healthy ${++round}`
  await healthy.call('write', { key, value: round })
  await arrived(key)
  const complaints = victim.stderr + neighbour.stderr
  if (complaints !== '') throw new Error(`the servers complain: ${complaints}`)
})
afterAll(stopServers)

/** Sends bytes on a connection of their own. @returns the first answer. */
async function answerTo(bytes: string | Uint8Array): Promise<{ answer: WireMessage; client: RawClient }> {
  const client = await RawClient.connect(victim.port)
  client.send(bytes)
  return { answer: await client.message(), client }
}

/** An answer after which the connection is closed. */
async function lastAnswerTo(bytes: string | Uint8Array): Promise<WireMessage> {
  const { answer, client } = await answerTo(bytes)
  expect(await client.closed()).toEqual([])
  return answer
}

const write = (value: string): string =>
  `{"jsonrpc":"2.0","id":1,"method":"write","params":{"key":"k","value":${value}}}\n`

/** A write as long as asked, in bytes, its line end not counted. */
function writeOf(bytes: number): string {
  const empty = write('""').length - 1
  return write(JSON.stringify('x'.repeat(bytes - empty)))
}

/** An array in an array, and so on. */
const deep = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)

const batch = (count: number): string =>
  `[${Array.from({ length: count }, (_, id) => `{"jsonrpc":"2.0","id":${id},"method":"read","params":{"key":"none"}}`).join(',')}]\n`

const writes = (count: number): object[] =>
  Array.from({ length: count }, (_, number) => ({ key: `w${number}`, value: number }))

const keys = (count: number): string[] => Array.from({ length: count }, (_, number) => `${number}`)

/** The greeting of a server that there is not. */
const hello = (more: object = {}): string =>
  `${JSON.stringify({
    jsonrpc: '2.0',
    id: 'hello',
    method: 'peer.hello',
    params: { server: '9', origin: `9~forged${round}`, protocol: 1, members: [], ...more },
  })}\n`
const notice = (method: string, params: object): string =>
  `${JSON.stringify({ jsonrpc: '2.0', method, params })}\n`
const clockOf = async (client: RawClient): Promise<number> =>
  (await client.call<{ clock: number }>('status')).clock

/** An update of a server that there is not. */
const forged = (more: object): object => ({
  origin: '9~forged',
  timestamp: 1,
  previous: 0,
  dependencies: {},
  writes: [{ key: 'forged', value: 1 }],
  ...more,
})

const rssMiB = (server: ServerProcess): number =>
  Number(execFileSync('ps', ['-o', 'rss=', '-p', `${server.pid}`], { encoding: 'utf8' })) / 1024

describe('each limit has an error, and costs nobody else anything', () => {
  it('a line of the greatest length is served, and one byte more is refused and closes the connection', async () => {
    const { answer, client } = await answerTo(writeOf(lineBytesMax))
    expect(answer).toMatchObject({ id: 1, result: { key: 'k' } })
    client.close()
    expect(await lastAnswerTo(writeOf(lineBytesMax + 1))).toMatchObject({ id: null, error: { code: -32003 } })
  })

  it('a line that is too long is refused before it ends', async () => {
    expect(await lastAnswerTo('x'.repeat(lineBytesMax + 2))).toMatchObject({ error: { code: -32003 } })
  })

  it('ten mebibytes in one line are answered with the error all the same', async () => {
    expect(await lastAnswerTo(`${'x'.repeat(10 * lineBytesMax)}\n`)).toMatchObject({
      error: { code: -32003 },
    })
  })

  it('keys', async () => {
    const client = await RawClient.connect(victim.port)
    await client.call('write', { key: 'ü'.repeat(keyBytesMax / 2), value: 1 })
    for (const key of ['x'.repeat(keyBytesMax + 1), `${'ü'.repeat(keyBytesMax / 2)}x`, 'x'.repeat(100_000)]) {
      expect(await client.fails('write', { key, value: 1 })).toMatchObject({
        code: -32010,
        data: { definite: true, path: 'params.key' },
      })
    }
    expect(await client.fails('read', { key: '' })).toMatchObject({
      code: -32602,
      data: { path: 'params.key' },
    })
    expect(await client.fails('read', { keys: ['a', 'x'.repeat(keyBytesMax + 1)] })).toMatchObject({
      code: -32010,
      data: { path: 'params.keys[1]' },
    })
    client.close()
  })

  it('nesting: a value as deep as allowed comes back everywhere; one level more is refused', async () => {
    const { answer, client } = await answerTo(write(deep(valueDepthMax)))
    expect(answer).toMatchObject({ id: 1, result: { key: 'k' } })
    expect(JSON.stringify(await client.call('read', { key: 'k' }))).toContain(
      `"value":${deep(valueDepthMax)}`,
    )
    for (const levels of [valueDepthMax + 1, valueDepthMax + 6, 20_000]) {
      client.send(write(deep(levels)))
      expect(await client.message()).toMatchObject({ id: 1, error: { code: -32602 } })
    }
    client.send(write(`${'{"a":'.repeat(valueDepthMax + 1)}1${'}'.repeat(valueDepthMax + 1)}`))
    expect(await client.message()).toMatchObject({ id: 1, error: { code: -32602 } })
    client.close()
  })

  it('messages of a JSON-RPC batch', async () => {
    const { answer, client } = await answerTo(batch(rpcBatchLengthMax))
    expect(answer).toHaveLength(rpcBatchLengthMax)
    client.send(batch(rpcBatchLengthMax + 1))
    expect(await client.message()).toMatchObject({ id: null, error: { code: -32600 } })
    client.close()
  })

  it('writes of a batch, which are applied all or not at all', async () => {
    const client = await RawClient.connect(victim.port)
    await client.call('batch', { writes: writes(batchWritesMax) })
    await arrived(`w${batchWritesMax - 1}`)
    expect(await client.fails('batch', { writes: writes(batchWritesMax + 1) })).toMatchObject({
      code: -32602,
      data: { path: 'params.writes' },
    })
    expect(await client.fails('batch', { writes: [] })).toMatchObject({ code: -32602 })
    expect(
      await client.fails('batch', {
        writes: [
          { key: 'half', value: 1 },
          { key: 'half', deleted: true },
        ],
      }),
    ).toMatchObject({ code: -32602, data: { path: 'params.writes[1].key' } })
    expect(await client.call('read', { key: 'half' })).toEqual({ key: 'half', found: false })
    client.close()
  })

  it('keys of a read, and of a listing', async () => {
    const client = await RawClient.connect(victim.port)
    expect(await client.call('read', { keys: keys(readKeysMax) })).toMatchObject({
      values: expect.toSatisfy((values: unknown[]) => values.length === readKeysMax),
    })
    expect(await client.fails('read', { keys: keys(readKeysMax + 1) })).toMatchObject({ code: -32602 })
    expect(await client.fails('keys', { limit: keysLimitMax + 1 })).toMatchObject({ code: -32602 })
    expect(await client.fails('keys', { limit: 0 })).toMatchObject({ code: -32602 })
    client.close()
  })

  it('a value that grows when it is passed on', async () => {
    const { answer, client } = await answerTo(write(`["${'x'.repeat(700_000)}"${',1e20'.repeat(30_000)}]`))
    expect(answer).toMatchObject({ id: 1, error: { code: -32010, data: { path: 'params.value' } } })
    client.close()
  })

  it('an answer that would be too long', async () => {
    const client = await RawClient.connect(victim.port)
    const keys = Array.from({ length: 17 }, (_, number) => `long ${number}`)
    for (const key of keys) await client.call('write', { key, value: 'x'.repeat(1_000_000) })
    expect(await client.fails('read', { keys })).toMatchObject({ code: -32010, data: { definite: true } })
    expect(await client.call('read', { keys: keys.slice(0, 4) })).toMatchObject({ values: expect.anything() })
    await arrived('long 16')
    client.close()
  })

  it('watches of one connection', async () => {
    const client = await RawClient.connect(victim.port)
    for (let number = 0; number < watchesPerClientMax; number++)
      await client.call('watch', { prefix: 'none' })
    expect(await client.fails('watch')).toMatchObject({ code: -32002, data: { retryAfterMs: 1_000 } })
    client.close()
  })

  it('connections: the first too many is told so, peers still come in, and one that leaves makes room', async () => {
    // Whoever has left by now has been forgotten once the server has room for the last of these.
    const clients: RawClient[] = []
    const enter = async (): Promise<WireError | undefined> => {
      const client = await RawClient.connect(victim.port)
      clients.push(client)
      return (await client.ask('read', { key: 'none' })).error
    }
    let refusal: WireError | undefined
    do refusal = await enter()
    while (refusal === undefined && clients.length <= clientConnectionsMax)
    // The healthy one is a client too.
    expect(clients).toHaveLength(clientConnectionsMax)
    expect(refusal).toMatchObject({ code: -32002, data: { definite: true, retryAfterMs: 1_000 } })
    const third = await ServerProcess.start({ id: '3', peers: [neighbour.port] })
    await third.joined([victim, neighbour])
    await third.stop()
    for (const client of clients) client.halfClose()
    for (const client of clients) await client.closed()
    expect(await enter()).toBeUndefined()
    clients.at(-1)?.close()
  })

  it('connections that say nothing: those that have been silent for longest make room for peers', async () => {
    const silent: RawClient[] = []
    const count = clientConnectionsMax + membersMax + 10
    while (silent.length < count) silent.push(await RawClient.connect(victim.port))
    const third = await ServerProcess.start({ id: '3', peers: [victim.port] })
    await third.joined([victim])
    expect(await silent[0]?.message()).toMatchObject({ error: { code: -32002 } })
    expect(silent.at(-1)?.untaken).toEqual([])
    await third.stop()
    for (const client of silent) client.close()
  })

  it('5,000 requests at once are all answered, in their order', async () => {
    const client = await RawClient.connect(victim.port)
    const count = 5_000
    const lines = Array.from(
      { length: count },
      (_, id) => `{"jsonrpc":"2.0","id":${id},"method":"write","params":{"key":"p","value":${id}}}\n`,
    )
    client.send(lines.join(''))
    for (let id = 0; id < count; id++) expect((await client.message()).id).toBe(id)
    expect(await client.call('read', { key: 'p' })).toMatchObject({ value: count - 1 })
    client.close()
  })
})

describe('what is no message', () => {
  beforeAll(async () => {
    slow = await RawClient.connect(victim.port)
    slowSinceMs = performance.now()
    slow.send('{"jsonrpc":"2.0"')
  })

  it('a client that leaves in the middle of a line leaves nothing behind', async () => {
    const client = await RawClient.connect(victim.port)
    client.send('{"jsonrpc":"2.0","id":1,"method":"write","params":{"key":"half a line","val')
    await client.flushed()
    client.close()
    expect(await healthy.call('read', { key: 'half a line' })).toEqual({ key: 'half a line', found: false })
  })

  it.each([
    ['bytes at random', Uint8Array.from({ length: 4_096 }, (_, index) => (index * 7_919 + 13) % 251)],
    ['a TLS greeting', Buffer.from('16030100a5010000a10303\n', 'hex')],
    ['HTTP', 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['a NUL', '\0\n'],
    ['a byte order mark', '\u{feff}{}\n'],
  ])('%s', async (_title, bytes) => {
    const client = await RawClient.connect(victim.port)
    client.send(bytes)
    client.halfClose()
    const lines = await client.closed()
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ id: null, error: { code: -32700 } })
  })

  it.each([
    ['a stray continuation byte', [0x22, 0x80, 0x22]],
    ['an overlong form', [0x22, 0xc0, 0xaf, 0x22]],
    ['half a surrogate pair in UTF-8', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['a character that is cut off', [0x22, 0xe2, 0x82, 0x22]],
    ['beyond the last character', [0x22, 0xf5, 0x80, 0x80, 0x80, 0x22]],
  ])('UTF-8 that is none: %s', async (_title, value) => {
    const [head = '', tail = ''] = write('@').split('@')
    const bytes = Buffer.concat([Buffer.from(head), Uint8Array.from(value), Buffer.from(tail)])
    expect(await lastAnswerTo(bytes)).toMatchObject({ id: null, error: { code: -32700 } })
  })

  it.each([
    ['a number without bound', '1e999', 'params.value'],
    ['a whole number beyond 2^53', '9007199254740993', 'params.value'],
    ['a high surrogate alone', String.raw`"\ud800"`, 'params.value'],
    ['a low surrogate alone', String.raw`{"a":["\udc00"]}`, 'params.value.a[0]'],
    ['a name with half a pair', String.raw`{"\ud800":1}`, undefined],
    ['a name twice', '{"a":1,"a":2}', undefined],
    ['a name twice, once escaped', String.raw`{"a":1,"\u0061":2}`, undefined],
  ])('a value that would not come back as it went in: %s', async (_title, value, path) => {
    const { answer, client } = await answerTo(write(value))
    expect(answer).toMatchObject({
      id: 1,
      error: { code: -32602, data: { definite: true, ...(path === undefined ? {} : { path }) } },
    })
    client.close()
  })

  it.each([
    ['__proto__ as a member', '{"__proto__":{"polluted":true},"constructor":{"prototype":1}}'],
    ['__proto__ twice nested', '{"__proto__":{"__proto__":[1]}}'],
    ['names that are numbers keep their values', '{"1":"a","0":"b"}'],
    ['null', 'null'],
    ['an empty name', '{"":""}'],
    ['control characters', String.raw`"\u0000\u001f\u007f\u2028"`],
    ['the largest whole number', '9007199254740991'],
    ['minus zero is refused or comes back', '0'],
    ['a small fraction', '5e-324'],
  ])('odd values come back, at the neighbour too: %s', async (title, value) => {
    const key = `odd ${title}`
    const client = await RawClient.connect(victim.port)
    client.send(
      `{"jsonrpc":"2.0","id":1,"method":"write","params":{"key":${JSON.stringify(key)},"value":${value}}}\n`,
    )
    expect(await client.message()).toMatchObject({ id: 1, result: { key } })
    await arrived(key)
    for (const reader of [client, healthyNeighbour]) {
      reader.sendMessage({ jsonrpc: '2.0', id: 'odd', method: 'read', params: { key } })
      const line = await reader.line()
      const written: unknown = JSON.parse(value)
      expect((JSON.parse(line) as { result: { value: unknown } }).result.value).toEqual(written)
      expect(line).toContain(`"value":${JSON.stringify(written)},`)
    }
    client.close()
  })

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', '\0', ' ', '😀'])(
    'the key %j is a key like any other',
    async (key) => {
      const client = await RawClient.connect(victim.port)
      expect(await client.call('read', { key })).toEqual({ key, found: false })
      await client.call('write', { key, value: key })
      await arrived(key)
      for (const reader of [client, healthyNeighbour]) {
        expect(await reader.call('read', { keys: [key] })).toMatchObject({ values: [{ key, value: key }] })
        expect(await reader.call('keys', { prefix: key })).toMatchObject({
          keys: expect.arrayContaining([key]),
        })
        expect(await reader.call('why', { key })).toMatchObject({ key })
      }
      await client.call('delete', { key })
      client.close()
    },
  )
})

/** Greets as server 9, and has been let in. */
async function forgedPeer(): Promise<RawClient> {
  const client = await RawClient.connect(victim.port)
  client.send(hello())
  expect(await client.answer('hello')).toMatchObject({ result: { server: '1', protocol: 1 } })
  return client
}

describe('a client that plays a server', () => {
  it('is not heard before it has greeted', async () => {
    const update = {
      origin: '9~forged',
      timestamp: 1,
      previous: 0,
      dependencies: {},
      writes: [{ key: 'forged', value: 1 }],
    }
    expect(await lastAnswerTo(notice('peer.updates', { updates: [update] }))).toMatchObject({
      id: null,
      error: { code: -32008 },
    })
    expect(
      await lastAnswerTo('{"jsonrpc":"2.0","id":1,"method":"peer.pull","params":{"pull":1,"applied":{}}}\n'),
    ).toMatchObject({ id: 1, error: { code: -32008 } })
    expect(await healthy.call('read', { key: 'forged' })).toEqual({ key: 'forged', found: false })
  })

  it('is refused where the id belongs to a server that lives, with its address', async () => {
    expect(await lastAnswerTo(hello({ server: '2', origin: '2~forged' }))).toMatchObject({
      id: 'hello',
      error: {
        code: -32006,
        message: expect.stringContaining(neighbour.address),
        data: { definite: true, address: neighbour.address },
      },
    })
    expect(await lastAnswerTo(hello({ server: '1', origin: '1~forged' }))).toMatchObject({
      error: { code: -32006, data: { address: victim.address } },
    })
  })

  it('is refused with another version of the protocol, before anything else is looked at', async () => {
    expect(
      await lastAnswerTo(
        '{"jsonrpc":"2.0","id":1,"method":"peer.hello","params":{"protocol":2,"new":true}}\n',
      ),
    ).toMatchObject({ id: 1, error: { code: -32005, data: { protocol: 1 } } })
  })

  it.each([
    ['no members', { members: undefined }],
    ['an origin of another server', { origin: '8~forged' }],
    ['an id that is none', { server: 'a b', origin: 'a b~forged' }],
    ['an address without a port', { address: { host: '127.0.0.1' } }],
    ['a host with a line end', { address: { host: 'a\nb', port: 1 } }],
    ['a member with port 0', { members: [{ id: '8', host: '127.0.0.1', port: 0 }] }],
  ])('is told what is wrong with its greeting: %s', async (_title, more) => {
    const { answer, client } = await answerTo(hello(more))
    expect(answer).toMatchObject({ id: 'hello', error: { code: -32602 } })
    client.close()
  })

  it.each([
    ['a timestamp far ahead', forged({ timestamp: Number.MAX_SAFE_INTEGER })],
    ['a timestamp beyond what numbers hold', forged({ timestamp: 2 ** 53 })],
    ['a timestamp of 0', forged({ timestamp: 0 })],
    ['a timestamp that is a fraction', forged({ timestamp: 1.5 })],
    ['a timestamp not above its previous', forged({ timestamp: 5, previous: 5 })],
    ['a dependency that is not below it', forged({ timestamp: 3, dependencies: { '8~x': 3 } })],
    ['no writes', forged({ writes: [] })],
    [
      'a key twice',
      forged({
        writes: [
          { key: 'forged', value: 1 },
          { key: 'forged', value: 2 },
        ],
      }),
    ],
    ['a key that is too long', forged({ writes: [{ key: 'x'.repeat(1_025), value: 1 }] })],
    ['an origin that is none', forged({ origin: 'nobody' })],
  ])('cannot send an update with %s', async (_title, update) => {
    const clocks = [await clockOf(healthy), await clockOf(healthyNeighbour)]
    const peer = await forgedPeer()
    peer.send(notice('peer.updates', { updates: [update] }))
    const lines = await peer.closed()
    const told = lines.map((line) => JSON.parse(line) as WireMessage)
    expect(told.at(-1)?.error?.code).toBeLessThan(-32000)
    expect(told.at(-1)?.error?.message).toMatch(/timestamp|clock|writes|key|origin|previous|depend/)
    expect([await clockOf(healthy), await clockOf(healthyNeighbour)]).toEqual(clocks)
    expect(await healthy.call('read', { key: 'forged' })).toEqual({ key: 'forged', found: false })
    expect(await healthy.call('waiting')).toEqual([])
  })

  it('cannot make a page, a cut or a pull of nonsense', async () => {
    for (const frame of [
      notice('peer.page', { pull: 0, updates: [], more: false }),
      notice('peer.page', { pull: 1, updates: {}, more: false }),
      notice('peer.cut', { entries: { x: 1 } }),
      notice('peer.cut', { entries: { '9~a': -1 } }),
      notice('peer.pull', { pull: 1, applied: [], except: [] }),
      notice('peer.link', { state: 'ajar', delayMs: 0, queued: 0 }),
      notice('peer.ask', { question: 1, key: '', versions: [] }),
      notice('peer.members', { members: [{ id: '7', host: 'a b', port: 1 }] }),
      notice('peer.nonsense', {}),
      'nonsense\n',
      'null\n',
    ]) {
      const peer = await forgedPeer()
      peer.send(frame)
      const lines = await peer.closed()
      expect([frame, JSON.parse(lines.at(-1) ?? '{}')]).toMatchObject([
        frame,
        { error: { code: expect.any(Number) } },
      ])
    }
  })

  it('may send pages, tells and pulls that nobody asked for: they do nothing', async () => {
    const peer = await forgedPeer()
    peer.send(notice('peer.page', { pull: 77, updates: [], more: true }))
    peer.send(notice('peer.tell', { question: 77, siblings: [], keys: [] }))
    peer.send(notice('peer.pull', { pull: 77, applied: {}, except: [] }))
    peer.send(notice('peer.cut', { entries: { '8~never': 5 } }))
    peer.send('{"jsonrpc":"2.0","id":"ping","method":"peer.ping"}\n')
    expect(await peer.answer('ping')).toMatchObject({ result: {} })
    peer.close()
  })

  it('cannot send a frame that is longer than a frame may be', async () => {
    const peer = await forgedPeer()
    peer.send('x'.repeat(peerLineBytesMax + 2))
    const lines = await peer.closed()
    expect(JSON.parse(lines.at(-1) ?? '{}')).toMatchObject({ error: { code: -32003 } })
  })

  it('is told that a client’s methods have no place on its link', async () => {
    const peer = await forgedPeer()
    peer.send('{"jsonrpc":"2.0","id":1,"method":"write","params":{"key":"k","value":1}}\n')
    expect(await peer.answer(1)).toMatchObject({ error: { code: -32600 } })
    peer.close()
  })

  it('costs a client that mixes it into a batch its connection, after each has been answered once', async () => {
    const client = await RawClient.connect(victim.port)
    client.send(
      `[${write('1').trim()},{"jsonrpc":"2.0","method":"peer.updates","params":{}},{"jsonrpc":"2.0","id":2,"method":"peer.cut"},{"jsonrpc":"2.0","id":3,"method":"read","params":{"key":"k"}}]\n`,
    )
    const lines = (await client.closed()).map((line) => JSON.parse(line) as unknown)
    expect(lines).toEqual([
      expect.objectContaining({ id: null, error: expect.objectContaining({ code: -32008 }) }),
      expect.arrayContaining([
        expect.objectContaining({ id: 1, result: expect.anything() }),
        expect.objectContaining({ id: 2, error: expect.objectContaining({ code: -32008 }) }),
        expect.objectContaining({ id: 3, result: expect.objectContaining({ value: 1 }) }),
      ]),
    ])
    expect(lines[1]).toHaveLength(3)
  })

  it('cannot greet on a client’s connection, nor a second time', async () => {
    const client = await RawClient.connect(victim.port)
    await client.call('read', { key: 'none' })
    client.send(hello())
    expect(await client.answer('hello')).toMatchObject({ error: { code: -32600 } })
    client.close()
    const peer = await forgedPeer()
    peer.send(hello())
    expect(await peer.answer('hello')).toMatchObject({ error: { code: -32600 } })
    peer.close()
  })
})

describe('a client that does not read', () => {
  it('costs a bounded amount of memory as a watcher, holds up nobody, and misses nothing when it reads on', async () => {
    const count = 4_000
    const value = 'x'.repeat(4_000)
    const clients = await Promise.all(Array.from({ length: 40 }, () => RawClient.connect(victim.port)))
    for (const client of clients) {
      for (let number = 0; number < 4; number++) await client.call('watch', { prefix: 'load ' })
      client.stopReading()
    }
    const beforeMiB = rssMiB(victim)
    const writer = await RawClient.connect(victim.port)
    for (let number = 0; number < count; number++) {
      writer.sendMessage({
        jsonrpc: '2.0',
        id: number,
        method: 'write',
        params: { key: `load ${number}`, value: `${number} ${value}` },
      })
    }
    for (let number = 0; number < count; number++) expect((await writer.message()).id).toBe(number)
    await arrived(`load ${count - 1}`)
    // 16 MB were written; 160 watches of them would be 2.5 GB.
    expect(rssMiB(victim) - beforeMiB).toBeLessThan(600)

    const [reader, ...others] = clients
    if (reader === undefined) throw new Error('there is no client')
    for (const client of others) client.close()
    reader.readOn()
    const next = new Map<unknown, number>()
    for (let left = 4 * count; left > 0; left--) {
      const { watch, writes } = (await reader.push('update')).params as {
        watch: number
        writes: readonly { key: string }[]
      }
      const number = next.get(watch) ?? 0
      expect(writes[0]?.key).toBe(`load ${number}`)
      next.set(watch, number + 1)
    }
    reader.close()
    writer.close()
  })

  it('costs a bounded amount of memory as a reader of long values', async () => {
    await healthy.call('write', { key: 'long', value: 'x'.repeat(1_000_000) })
    const beforeMiB = rssMiB(victim)
    const clients = await Promise.all(Array.from({ length: 10 }, () => RawClient.connect(victim.port)))
    for (const client of clients) {
      client.stopReading()
      for (let id = 0; id < 2_000; id++) {
        client.sendMessage({ jsonrpc: '2.0', id, method: 'read', params: { key: 'long' } })
      }
    }
    // Others are answered all the while; 20 GB are owed.
    for (let number = 0; number < 200; number++) await healthy.call('read', { key: 'none' })
    expect(rssMiB(victim) - beforeMiB).toBeLessThan(600)
    for (const client of clients) client.close()
  })

  it('a line that does not end is refused when its time is up', async () => {
    const { error } = await slow.message()
    expect(error).toMatchObject({ code: -32700, message: expect.stringContaining('did not end') })
    expect(performance.now() - slowSinceMs).toBeGreaterThan(finishLineMs - 100)
    expect(await slow.closed()).toEqual([])
  })
})
