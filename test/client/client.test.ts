import { afterEach, describe, expect, it } from 'vitest'
import {
  connect,
  type Client,
  type ConnectOptions,
  type JsonValue,
  type WatchEvent,
} from '../../src/client/client.ts'
import { closing, endAll, FakeServer, greeting, RunningServer, until } from './running-server.ts'

afterEach(endAll)

async function clientOf(
  servers: readonly { readonly port: number }[],
  options: ConnectOptions = {},
): Promise<Client> {
  return closing(
    await connect(
      servers.map(({ port }) => String(port)),
      options,
    ),
  )
}

/** Two servers that know each other. */
async function pair(): Promise<readonly [RunningServer, RunningServer]> {
  const first = await RunningServer.start({ id: '1', isLab: true })
  const second = await RunningServer.start({ id: '2', peers: [first], isLab: true })
  await until(() => hasPeer(first) && hasPeer(second), 'the two servers have met')
  return [first, second]
}

function hasPeer({ events }: RunningServer): boolean {
  return events.some(({ kind }) => kind === 'peerJoined')
}

/** The keys and values of the updates among some events. */
function writesOf(events: readonly WatchEvent[]): readonly (readonly [string, JsonValue | undefined])[] {
  return events
    .flatMap((event) => (event.kind === 'update' ? event.writes : []))
    .map(({ key, value }) => [key, value])
}

describe('requests', () => {
  it('bring every JSON value back as it went in, under any key', async () => {
    const client = await clientOf([await RunningServer.start()])
    const proto = JSON.parse('{"__proto__":{"a":1}}') as JsonValue
    const values: readonly JsonValue[] = [
      null,
      false,
      0,
      1.5,
      '',
      'schön 🎉\n',
      [[], {}],
      { a: { b: [1, null] } },
      proto,
    ]
    for (const [index, value] of values.entries()) {
      const key = index === 0 ? '__proto__' : `key ${index}`
      const { version } = await client.write(key, value)
      expect(await client.read(key)).toEqual({ key, found: true, value, version })
    }
  })

  it('write several keys at once, and read several at one moment', async () => {
    const client = await clientOf([await RunningServer.start()])
    await client.write('gone', 1)
    const { version } = await client.batch([
      { key: 'a', value: 1 },
      { key: 'b', value: 2 },
      { key: 'gone', deleted: true },
    ])
    expect(await client.readMany(['b', 'gone', 'never', 'a'])).toEqual([
      { key: 'b', found: true, value: 2, version },
      { key: 'gone', found: false, version },
      { key: 'never', found: false },
      { key: 'a', found: true, value: 1, version },
    ])
    expect(await client.keys({ limit: 1 })).toEqual({ keys: ['a'], next: 'b' })
    expect(await client.keys({ from: 'b' })).toEqual({ keys: ['b'] })
    await client.delete('a')
    expect(await client.keys({ prefix: 'a' })).toEqual({ keys: [] })
  })

  it.each<[title: string, value: unknown, said: string]>([
    ['undefined', undefined, 'value is undefined'],
    ['a member that is undefined', { a: [{ b: undefined }] }, 'value.a[0].b is undefined'],
    ['NaN', Number.NaN, 'value is NaN'],
    ['a bigint', [1n], 'value[0] is a bigint'],
    ['a Date', { at: new Date(0) }, 'value.at is a Date'],
    ['half a surrogate pair', '\ud800', 'value holds half of a surrogate pair'],
    [
      'nesting without end',
      Array.from({ length: 65 }).reduce<JsonValue>((inner) => [inner], 1),
      'deeper than 64',
    ],
  ])('refuse %s, which JSON would change, before anything is sent', async (_title, value, said) => {
    const server = await RunningServer.start()
    const client = await clientOf([server])
    const refused = client.write('x', value as JsonValue)
    await expect(refused).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT', definite: true })
    await expect(refused).rejects.toThrow(said)
    expect(await client.read('x')).toEqual({ key: 'x', found: false })
  })

  it('refuse a line that no server would read, and go on', async () => {
    const client = await clientOf([await RunningServer.start()])
    const tooLong = client.write('x', 'ü'.repeat(1 << 20))
    await expect(tooLong).rejects.toMatchObject({ code: 'ERR_TOO_LARGE', definite: true })
    await client.write('x', 'short')
  })

  it('reject with what the server answered: a code, whether it is definite, and where the fault is', async () => {
    const client = await clientOf([await RunningServer.start()])
    await expect(client.write('', 1)).rejects.toMatchObject({
      name: 'TidingsError',
      code: 'ERR_INVALID_PARAMS',
      wireCode: -32602,
      definite: true,
      data: { path: 'params.key' },
    })
    await expect(client.link('2', { action: 'hold' })).rejects.toMatchObject({ code: 'ERR_ONLY_IN_LAB' })
  })

  it('are rejected when no answer comes in time, and only a read is then certain to have changed nothing', async () => {
    const silent = await FakeServer.start(({ method }) => (method === 'hello' ? greeting : undefined))
    const client = await clientOf([silent], { timeoutMs: 20 })
    await expect(client.write('x', 1)).rejects.toMatchObject({ code: 'ERR_TIMEOUT', definite: false })
    await expect(client.read('x')).rejects.toMatchObject({ code: 'ERR_TIMEOUT', definite: true })
  })
})

describe('connecting', () => {
  it('fails at once, where that is wanted, and says what to do', async () => {
    const { port } = await RunningServer.start().then(async (server) => {
      await server.stop()
      return server
    })
    await expect(connect(`${port}`, { failFast: true })).rejects.toMatchObject({
      code: 'ERR_CANNOT_CONNECT',
      message: `nothing listens on 127.0.0.1:${port} (connection refused); is the server started?`,
    })
  })

  it('goes on until a server is there: servers and clients start in any order', async () => {
    const gone = await RunningServer.start()
    await gone.stop()
    const attempts: string[] = []
    const connecting = connect(`${gone.port}`, {
      timeoutMs: 20_000,
      onState: ({ status }) => attempts.push(status),
    })
    await until(() => attempts.length > 0, 'an attempt has failed')
    await RunningServer.start({ port: gone.port })
    closing(await connecting)
    expect(attempts.at(-1)).toBe('connected')
  })

  it('takes the next server of the list where the first is not there', async () => {
    const gone = await RunningServer.start({ id: '1' })
    await gone.stop()
    const client = await clientOf([gone, await RunningServer.start({ id: '2' })])
    expect(client.state).toMatchObject({ status: 'connected', server: '2' })
  })

  it('tells what is no Tidings server from one that is not there', async () => {
    const other = await FakeServer.start((_asked, socket) => {
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
      return undefined
    })
    await expect(connect(`${other.port}`)).rejects.toMatchObject({ code: 'ERR_NOT_TIDINGS' })
  })

  it('refuses to speak another protocol', async () => {
    const newer = await FakeServer.start(() => ({ ...greeting, protocol: 2 }))
    await expect(connect(`${newer.port}`)).rejects.toMatchObject({ code: 'ERR_PROTOCOL_VERSION' })
  })

  it('is called off by its signal', async () => {
    const silent = await FakeServer.start(() => undefined)
    const aborter = new AbortController()
    const connecting = connect(`${silent.port}`, { signal: aborter.signal })
    aborter.abort(new Error('enough'))
    await expect(connecting).rejects.toThrow('enough')
  })

  it('with a secret lets in only who knows it, on both sides', async () => {
    const secret = 'correct horse battery staple'
    const guarded = await RunningServer.start({ secret })
    const client = await clientOf([guarded], { secret })
    await client.write('x', 1)
    const port = String(guarded.port)
    await expect(connect(port)).rejects.toMatchObject({ code: 'ERR_NOT_AUTHORISED' })
    await expect(connect(port, { secret: 'some other long secret' })).rejects.toMatchObject({
      code: 'ERR_NOT_AUTHORISED',
    })
    const open = await RunningServer.start()
    await expect(connect(String(open.port), { secret, failFast: true })).rejects.toThrow('secret')
  })
})

describe('a connection that breaks', () => {
  it('says of requests that could not be sent in time that they were not carried out', async () => {
    const server = await RunningServer.start()
    const client = await clientOf([server], { timeoutMs: 100 })
    await server.stop()
    await until(() => client.state.status === 'reconnecting', 'the client has noticed')
    await expect(client.write('x', 1)).rejects.toMatchObject({ code: 'ERR_CANNOT_CONNECT', definite: true })
  })
})

describe('a watch', () => {
  it('tells of updates from now on, with their writes together, and where it is', async () => {
    const client = await clientOf([await RunningServer.start()])
    await client.write('a/before', 0)
    const watch = client.watch({ prefix: 'a/' })
    await watch.started
    await client.write('b/other', 1)
    const { version } = await client.batch([
      { key: 'a/1', value: 1 },
      { key: 'b/2', value: 2 },
      { key: 'a/before', deleted: true },
    ])
    expect(await watch.next()).toMatchObject({ value: { kind: 'caughtUp' } })
    const writes = [
      { key: 'a/1', value: 1 },
      { key: 'a/before', deleted: true },
    ]
    expect(await watch.next()).toEqual({ done: false, value: { kind: 'update', version, writes } })
  })

  it('goes on at the next server from what it has seen: nothing missed, nothing doubled', async () => {
    const [first, second] = await pair()
    const client = await clientOf([first, second])
    const writer = await clientOf([second])
    const events: WatchEvent[] = []
    const watch = client.watch({ since: 'start' })
    const watching = (async () => {
      for await (const event of watch) events.push(event)
    })()
    await watch.started
    for (let n = 1; n <= 20; n++) await writer.write(`k${n % 3}`, n)
    await until(() => writesOf(events).length === 20, 'the first half was seen')
    await first.stop()
    for (let n = 21; n <= 40; n++) await writer.write(`k${n % 3}`, n)
    await until(() => writesOf(events).length >= 40, 'the second half was seen')
    await client.close()
    await watching
    expect(writesOf(events).map(([, value]) => value)).toEqual(
      Array.from({ length: 40 }, (_, index) => index + 1),
    )
  })

  it('goes on where an earlier one was, from a cut that was kept as JSON', async () => {
    const client = await clientOf([await RunningServer.start()])
    await client.write('x', 1)
    const { applied } = await client.status()
    const kept = JSON.stringify(Object.fromEntries(applied))
    await client.write('x', 2)
    const since = JSON.parse(kept) as { readonly [origin: string]: number }
    const watch = client.watch({ since })
    expect(await watch.next()).toMatchObject({ value: { writes: [{ key: 'x', value: 2 }] } })
    expect(await watch.next()).toMatchObject({ value: { kind: 'caughtUp' } })
  })

  it('that is slow misses nothing, and holds up neither writers nor the answers that its own loop waits for', async () => {
    const server = await RunningServer.start()
    const client = await clientOf([server])
    const watch = client.watch({ prefix: 'k' })
    await watch.started
    const count = 5_000
    const writing = Array.from({ length: count }, (_, n) => client.write(`k${n % 7}`, n))
    // Nothing is taken until everything is written: far more than a watch holds.
    await Promise.all(writing)
    const seen: JsonValue[] = []
    const reads: boolean[] = []
    for await (const event of watch) {
      if (event.kind !== 'update') continue
      // Through the client that the watch came from: were its connection held up by the watch, this would hang.
      if (seen.length % 500 === 0) reads.push((await client.read('k0')).found)
      for (const { value } of event.writes) if (value !== undefined) seen.push(value)
      if (seen.length === count) break
    }
    expect(seen).toEqual(Array.from({ length: count }, (_, n) => n))
    expect(reads).toEqual(Array.from({ length: count / 500 }, () => true))
  })

  it('tells of conflicting versions as they come about', async () => {
    const [first, second] = await pair()
    const [west, east] = [await clientOf([first]), await clientOf([second])]
    const watch = west.watch()
    await watch.started
    // Neither write can reach the other server before both were taken.
    await west.link('2', { action: 'hold' })
    await east.link('1', { action: 'hold' })
    const a = await west.write('x', 'west')
    const b = await east.write('x', 'east')
    await west.link('2', { action: 'release' })
    await east.link('1', { action: 'release' })
    const events: WatchEvent[] = []
    for await (const event of watch) {
      events.push(event)
      if (writesOf(events).length === 2) break
    }
    const versions = [
      { version: b.version, value: 'east' },
      { version: a.version, value: 'west' },
    ]
    expect(events.at(-1)).toMatchObject({ conflict: [{ key: 'x', versions }] })
    expect(await west.conflicts()).toEqual([{ key: 'x', versions }])
  })

  it('ends with its loop, with `return`, with its signal, and with its client', async () => {
    const client = await clientOf([await RunningServer.start()])
    const aborter = new AbortController()
    const [returned, aborted, closed] = [
      client.watch(),
      client.watch({ signal: aborter.signal }),
      client.watch(),
    ]
    for await (const { kind } of client.watch()) if (kind === 'caughtUp') break
    await Promise.all([returned.started, aborted.started, closed.started])
    for (const watch of [returned, aborted, closed]) await watch.next()
    const left = [returned.next(), aborted.next(), closed.next()] as const
    await returned.return()
    aborter.abort(new Error('enough'))
    expect(await left[0]).toEqual({ done: true, value: undefined })
    await expect(left[1]).rejects.toThrow('enough')
    expect(await aborted.next()).toEqual({ done: true, value: undefined })
    expect(await client.status()).toMatchObject({ watches: 1 })
    await client.close()
    expect(await left[2]).toEqual({ done: true, value: undefined })
  })
})

describe('a closed client', () => {
  it('rejects what waits for an answer, and all that is asked later', async () => {
    const silent = await FakeServer.start(({ method }) => (method === 'hello' ? greeting : undefined))
    const client = await clientOf([silent])
    const writing = client.write('x', 1)
    await until(() => silent.asked.length === 2, 'the write has arrived')
    await client.close()
    await expect(writing).rejects.toMatchObject({ code: 'ERR_CLOSED', definite: false })
    await expect(client.read('x')).rejects.toMatchObject({ code: 'ERR_CLOSED', definite: true })
  })
})
