import type { Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import {
  connect,
  type Client,
  type ConnectOptions,
  type Origin,
  type ToldMissingEntry,
} from '../../src/client/client.ts'
import {
  closing,
  endAll,
  FakeServer,
  greetingOf,
  Refusal,
  RunningServer,
  until,
  type Asked,
} from './running-server.ts'

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

/** A server whose answers show certain versions. */
function answering(server: string, applied: { readonly [origin: string]: number } = {}) {
  return ({ method, params }: Asked): object => {
    const version = [7, `${server}~fake`]
    switch (method) {
      case 'hello':
        return greetingOf(server, applied)
      case 'read':
        return 'keys' in params
          ? { values: [{ key: 'gone', found: false, version: [3, '5~a'] }] }
          : {
              key: 'x',
              found: true,
              value: 1,
              version: [2, '3~a'],
              conflicts: [{ version: [1, '4~a'], deleted: true }],
            }
      case 'conflicts':
        return {
          keys: [
            {
              key: 'x',
              versions: [
                { version: [6, '6~a'], value: 1 },
                { version: [4, '7~a'], deleted: true },
              ],
            },
          ],
        }
      case 'keys':
        return { keys: [] }
      default:
        return { key: 'x', version }
    }
  }
}

function asObject(client: Client): object {
  return Object.fromEntries(client.cut)
}

describe('a client on one server', () => {
  it('R9: keeps the cut of its writes and of the values, tombstones and conflicting versions that it has read', async () => {
    const client = await clientOf([await FakeServer.start(answering('1'))])
    expect(asObject(client)).toEqual({})
    await client.write('x', 1)
    expect(asObject(client)).toEqual({ '1~fake': 7 })
    await client.read('x')
    await client.readMany(['gone'])
    await client.conflicts()
    expect(asObject(client)).toEqual({ '1~fake': 7, '3~a': 2, '4~a': 1, '5~a': 3, '6~a': 6, '7~a': 4 })
  })

  it('R9: shows nothing with its requests as long as the server has shown it all itself', async () => {
    const server = await FakeServer.start(answering('1'))
    const client = await clientOf([server])
    await client.write('x', 1)
    await client.read('x')
    await client.conflicts()
    await client.delete('x')
    await client.keys()
    for (const { params } of server.asked) {
      expect(params).not.toHaveProperty('after')
      expect(params).not.toHaveProperty('timeout')
    }
  })
})

describe('a session that moves', () => {
  it('R9: shows the next server what the first has shown and this one has not applied, until a request has succeeded', async () => {
    const first = await FakeServer.start(answering('1'))
    const second = await FakeServer.start(answering('2', { '3~a': 9 }))
    const client = await clientOf([first, second])
    await client.write('x', 1)
    await client.read('x')
    await first.close()
    await until(() => client.state.status === 'connected' && client.state.server === '2', 'it has moved')
    await client.read('x')
    await client.write('x', 2)
    expect(second.askedFor('read')).toMatchObject([{ after: { '1~fake': 7, '4~a': 1 } }])
    const [write] = second.askedFor('write')
    expect(write).not.toHaveProperty('after')
  })

  it('R9: goes on in another process, from a cut that went through JSON', async () => {
    const server = await FakeServer.start(answering('1', { '3~a': 9 }))
    const client = await clientOf([server], { cut: { '3~a': 9, '8~a': 5 } })
    expect(client.cut).toEqual(new Map([['3~a', 9] as const, ['8~a', 5] as const]))
    await Promise.all([client.keys(), client.conflicts(), client.batch([{ key: 'x', value: 1 }])])
    // All three were on their way before one had succeeded; what comes later need not show it.
    for (const method of ['keys', 'conflicts', 'batch']) {
      expect(server.askedFor(method)).toMatchObject([{ after: { '8~a': 5 } }])
    }
    await client.delete('x')
    expect(server.askedFor('delete')[0]).not.toHaveProperty('after')
    const again = await clientOf([server], { cut: client.cut })
    expect(again.cut).toEqual(client.cut)
  })

  it('R9: refuses a cut that is none before it connects', async () => {
    const wrong = { nowhere: 1 }
    await expect(connect('1', { cut: wrong })).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  })

  it('R9: gives the server a little less time than it has itself, so that the answer names what is missing', async () => {
    const missing = [{ version: [5, '8~a'], server: '8', holders: ['2', '3'] }]
    const server = await FakeServer.start(({ method }) =>
      method === 'hello' ? greetingOf('1') : new Refusal(-32001, { definite: true, missing }),
    )
    const client = await clientOf([server], { cut: { '8~a': 5 }, timeoutMs: 2_000 })
    const entry: ToldMissingEntry = {
      version: { timestamp: 5, origin: '8~a' as Origin },
      server: '8',
      holders: ['2', '3'],
      lost: false,
    }
    await expect(client.read('x')).rejects.toMatchObject({
      code: 'ERR_NOT_CAUGHT_UP',
      definite: true,
      missing: [entry],
    })
    const [read] = server.askedFor('read')
    expect(read?.timeout).toBeLessThan(2_000)
    expect(read?.timeout).toBeGreaterThan(0)
    // It is missing still.
    await expect(client.read('x')).rejects.toMatchObject({ code: 'ERR_NOT_CAUGHT_UP' })
    expect(server.askedFor('read')).toMatchObject([{ after: { '8~a': 5 } }, { after: { '8~a': 5 } }])
    expect(asObject(client)).toEqual({ '8~a': 5 })
  })

  it('R9: carries its session on in another client, also where the cut went through JSON', async () => {
    const server = await FakeServer.start(answering('1'))
    const first = await clientOf([server])
    await first.write('x', 1)
    const kept = JSON.parse(JSON.stringify({ cut: first.cut })) as {
      cut: { readonly [origin: string]: number }
    }
    expect(kept).toEqual({ cut: { '1~fake': 7 } })
    const second = await clientOf([await FakeServer.start(answering('2'))], kept)
    expect(second.cut).toEqual(first.cut)
  })

  it('R9: forgets what is lost, says so once, and goes on without it', async () => {
    const missing = [
      { version: [5, '8~a'], server: '8', holders: [], lost: true },
      { version: [2, '9~a'], server: '9', holders: ['2'] },
    ]
    const server = await FakeServer.start((asked) => {
      if (asked.method === 'hello') return greetingOf('1', { '8~a': 3 })
      const after = asked.params.after as object | undefined
      return after !== undefined && '8~a' in after
        ? new Refusal(-32001, { definite: true, missing })
        : answering('1')(asked)
    })
    const told: (readonly ToldMissingEntry[])[] = []
    const client = await clientOf([server], {
      cut: { '8~a': 5, '9~a': 2 },
      onLost: (lost) => told.push(lost),
    })
    const outcomes = await Promise.allSettled([client.read('x'), client.write('x', 1)])
    expect(outcomes).toMatchObject([
      { reason: { code: 'ERR_NOT_CAUGHT_UP', definite: true, missing: [{ lost: true }, { lost: false }] } },
      { reason: { code: 'ERR_NOT_CAUGHT_UP', definite: true } },
    ])
    expect(told).toMatchObject([[{ version: { timestamp: 5, origin: '8~a' }, lost: true }]])
    await client.write('x', 1)
    expect(server.askedFor('write').at(-1)).toMatchObject({ after: { '9~a': 2 } })
    // What the server has of that origin stays seen.
    expect(asObject(client)).toEqual({ '1~fake': 7, '8~a': 3, '9~a': 2 })
  })

  it('R9: counts of a watch what was yielded, and not what waits to be', async () => {
    const push = (timestamp: number): string =>
      `${JSON.stringify({
        jsonrpc: '2.0',
        method: 'update',
        params: { watch: 1, version: [timestamp, '3~a'], writes: [{ key: 'x', value: timestamp }] },
      })}\n`
    const server = await FakeServer.start((asked, socket) => {
      if (asked.method !== 'watch') return answering('1')(asked)
      setImmediate(() => socket.write(push(1) + push(2)))
      return { watch: 1, applied: {} }
    })
    const client = await clientOf([server])
    const watch = client.watch()
    await watch.next()
    await client.keys()
    expect(asObject(client)).toEqual({ '3~a': 1 })
    await watch.next()
    expect(asObject(client)).toEqual({ '3~a': 2 })
  })
})

describe('a watch that moves', () => {
  const notice = (method: string, params: object): string =>
    `${JSON.stringify({ jsonrpc: '2.0', method, params: { watch: 1, ...params } })}\n`
  const update = (timestamp: number, origin: string, more: object = {}): string =>
    notice('update', { version: [timestamp, origin], writes: [{ key: 'x', value: timestamp }], ...more })

  it('R11: goes on at the next server from what it has seen, bookmarks included, and yields each cut whole', async () => {
    const first = await FakeServer.start(({ method }, socket) => {
      if (method === 'hello') return greetingOf('1')
      setImmediate(() =>
        socket.write(
          notice('caughtUp', { applied: { '2~a': 4 } }) +
            update(1, '1~fake') +
            notice('caughtUp', { applied: { '3~a': 5 } }),
        ),
      )
      return { watch: 1, applied: { '2~a': 4 } }
    })
    const second = await FakeServer.start(({ method }) =>
      method === 'hello' ? greetingOf('2') : { watch: 1, applied: {} },
    )
    const client = await clientOf([first, second])
    const watch = client.watch({ since: { '2~a': 1 } })
    expect(await watch.next()).toMatchObject({ value: { kind: 'caughtUp', applied: new Map([['2~a', 4]]) } })
    expect(await watch.next()).toMatchObject({ value: { kind: 'update' } })
    const applied = { '2~a': 4, '1~fake': 1, '3~a': 5 }
    const third = await watch.next()
    expect(third).toEqual({
      done: false,
      value: { kind: 'caughtUp', applied: new Map(Object.entries(applied)) },
    })
    await first.close()
    await until(() => second.askedFor('watch').length === 1, 'the watch has moved')
    expect(second.askedFor('watch')).toEqual([{ prefix: '', since: applied }])
    // Bookmarks say nothing of what was seen of the watched keys.
    expect(asObject(client)).toEqual({ '1~fake': 1 })
  })

  it('R11: yields a resync as an event, and counts what it has seen anew from there', async () => {
    const first = await FakeServer.start(({ method }, socket) => {
      if (method === 'hello') return greetingOf('1')
      setImmediate(() => socket.write(update(9, '8~a') + notice('resync', {}) + update(1, '1~fake')))
      return { watch: 1, applied: {} }
    })
    const second = await FakeServer.start(({ method }) =>
      method === 'hello' ? greetingOf('2') : { watch: 1, applied: {} },
    )
    const client = await clientOf([first, second])
    const kinds: (string | undefined)[] = []
    const watch = client.watch({ since: 'start' })
    for (let count = 0; count < 3; count++) kinds.push((await watch.next()).value?.kind)
    expect(kinds).toEqual(['update', 'resync', 'update'])
    await first.close()
    await until(() => second.askedFor('watch').length === 1, 'the watch has moved')
    expect(second.askedFor('watch')).toEqual([{ prefix: '', since: { '1~fake': 1 } }])
  })

  it('R11: begins anew where a connection breaks in the middle of a reading from the state', async () => {
    let socketOfTheState: Socket | undefined
    const first = await FakeServer.start(({ method }, socket) => {
      if (method === 'hello') return greetingOf('1')
      // It tells `1~fake`'s second update and leaves out its first, which the second has overwritten.
      setImmediate(() => socket.write(update(2, '1~fake', { coalesced: true })))
      socketOfTheState = socket
      return { watch: 1, applied: { '1~fake': 9 } }
    })
    const client = await clientOf([first])
    const watch = client.watch({ since: { '0~a': 1 } })
    expect(await watch.next()).toMatchObject({ value: { kind: 'update' } })
    socketOfTheState?.destroy()
    expect(await watch.next()).toMatchObject({ value: { kind: 'resync' } })
    await until(() => first.askedFor('watch').length === 3, 'the watch has been asked for again')
    // On the shared connection, then on one of its own before anything was told, then from the beginning.
    expect(first.askedFor('watch')).toEqual([
      { prefix: '', since: { '0~a': 1 } },
      { prefix: '', since: { '0~a': 1 } },
      { prefix: '', since: {} },
    ])
  })

  it('R11: goes on from the cut where the reading from the state had come to its end', async () => {
    let socketOfTheState: Socket | undefined
    const first = await FakeServer.start(({ method }, socket) => {
      if (method === 'hello') return greetingOf('1')
      const told = update(2, '1~fake', { coalesced: true }) + notice('caughtUp', { applied: { '1~fake': 2 } })
      setImmediate(() => socket.write(told))
      socketOfTheState = socket
      return { watch: 1, applied: { '1~fake': 2 } }
    })
    const client = await clientOf([first])
    const watch = client.watch({ since: 'start' })
    await watch.next()
    await watch.next()
    socketOfTheState?.destroy()
    await until(() => first.askedFor('watch').length === 3, 'the watch has been asked for again')
    expect(first.askedFor('watch').at(-1)).toEqual({ prefix: '', since: { '1~fake': 2 } })
  })
})

describe('a session between two servers', () => {
  async function heldPair() {
    const first = await RunningServer.start({ id: '1', isLab: true })
    const second = await RunningServer.start({ id: '2', peers: [first], isLab: true })
    const hasPeer = ({ events }: RunningServer) => events.some(({ kind }) => kind === 'peerJoined')
    await until(() => hasPeer(first) && hasPeer(second), 'the two have met')
    const lab = await clientOf([first])
    await lab.link('2', { action: 'hold' })
    return { first, second, lab }
  }

  it('R9: a read at the other server waits until it has what was written at the first: read your writes', async () => {
    const { first, second, lab } = await heldPair()
    const writer = await clientOf([first])
    const { version } = await writer.write('x', 'lost')
    const reader = await clientOf([second], { cut: writer.cut })
    const reading = reader.read('x')
    // One without a session sees that it is not there.
    const stranger = await clientOf([second])
    expect(await stranger.read('x')).toMatchObject({ found: false })
    await lab.link('2', { action: 'release' })
    expect(await reading).toMatchObject({ found: true, value: 'lost', version })
  })

  it('R9: a write at the other server comes after what was read at the first: writes follow reads', async () => {
    const { first, second, lab } = await heldPair()
    const reader = await clientOf([first])
    await reader.write('x', 'question')
    const { version: question } = await reader.read('x')
    const writer = await clientOf([second], { cut: reader.cut })
    const writing = writer.write('x', 'answer')
    await lab.link('2', { action: 'release' })
    const { version: answer } = await writing
    expect(answer.timestamp).toBeGreaterThan(question?.timestamp ?? Infinity)
    expect(await writer.read('x')).toMatchObject({ value: 'answer', version: answer })
    // Had it not been seen, the two would stand next to each other.
    expect(await writer.conflicts()).toEqual([])
  })

  it('R9: what does not come in time is named, with who has it, before the time is up', async () => {
    const { first, second } = await heldPair()
    const writer = await clientOf([first])
    const { version } = await writer.write('x', 'lost')
    const reader = await clientOf([second], { cut: writer.cut, timeoutMs: 1_000 })
    await expect(reader.read('x')).rejects.toMatchObject({
      code: 'ERR_NOT_CAUGHT_UP',
      definite: true,
      missing: [{ version, server: '1', lost: false }],
    })
  })

  it('R9: what went down with its server is lost, which is said at once, and the session goes on', async () => {
    const { first, second, lab } = await heldPair()
    await lab.link('2', { action: 'cut' })
    const writer = await clientOf([first])
    const { version } = await writer.write('x', 'seen by its writer only')
    await first.stop()
    await RunningServer.start({ id: '1', port: first.port, peers: [second], isLab: true })
    const told: (readonly ToldMissingEntry[])[] = []
    const reader = await clientOf([second], { cut: writer.cut, onLost: (lost) => told.push(lost) })
    await expect(reader.read('x')).rejects.toMatchObject({
      code: 'ERR_NOT_CAUGHT_UP',
      missing: [{ version, server: '1', holders: [], lost: true }],
    })
    expect(told).toMatchObject([[{ version }]])
    expect(await reader.read('x')).toEqual({ key: 'x', found: false })
  })
})
