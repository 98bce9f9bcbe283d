import { connect as connectSocket, createServer, type AddressInfo, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { connect, type TidingsError, type Client, type ConnectOptions } from '../../src/client/client.ts'
import { answersPerSessionMax } from '../../src/protocol/limits.ts'
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

type Stamp = { readonly session: string; readonly number: number; readonly retry?: unknown }

function stampOf({ params }: Asked): Stamp {
  return params.request as Stamp
}

/** The stamps of the writes that a server was asked for, in their order. */
function stampsOf(server: FakeServer): readonly Stamp[] {
  return server.askedFor('write').map(({ request }) => request as Stamp)
}

const outcomeUnknown = new Refusal(-32007, { definite: false })

/**
 * Servers that commit writes as real ones do: the same request gets the first answer, and a retry of one that is not
 * known here has an unknown outcome. What is done around a commit is the test's.
 */
class Committing {
  /** What was written, in its order: each once. */
  readonly committed: string[] = []
  readonly #id: string
  readonly #answers = new Map<string, object>()

  constructor(id: string) {
    this.#id = id
  }

  answer(asked: Asked): object {
    const { method, params } = asked
    if (method === 'hello') return greetingOf(this.#id)
    if (method === 'read') return { key: params.key, found: false }
    const { session, number, retry } = stampOf(asked)
    const name = `${session} ${number}`
    const known = this.#answers.get(name)
    if (known !== undefined) return known
    if (retry === true) return outcomeUnknown
    this.committed.push(params.key as string)
    const answer = { key: params.key, version: [this.committed.length, `${this.#id}~fake`] }
    this.#answers.set(name, answer)
    return answer
  }
}

/** Does something the first time only. */
function once(act: (socket: Socket) => void) {
  let isDone = false
  return (socket: Socket): boolean => {
    if (isDone) return false
    isDone = true
    act(socket)
    return true
  }
}

const breaks = () => once((socket) => socket.destroy())

describe('a write whose connection breaks before the answer', () => {
  it('R10: has the number of its session, which rises, and says nothing of a retry the first time', async () => {
    const store = new Committing('1')
    const server = await FakeServer.start((asked) => store.answer(asked))
    const [client, other] = [await clientOf([server]), await clientOf([server])]
    await client.write('x', 1)
    await client.write('y', 2)
    await other.write('z', 3)
    const [first, second, third] = stampsOf(server)
    expect(first?.session).toMatch(/^[0-9a-f]{32}$/)
    expect(second).toEqual({ session: first?.session, number: (first?.number ?? 0) + 1 })
    expect(third?.session).not.toBe(first?.session)
  })

  it('R10: is sent again to the same server, which has committed it, and gets the first answer', async () => {
    const store = new Committing('1')
    const breaksOnce = breaks()
    const server = await FakeServer.start((asked, socket) => {
      const answer = store.answer(asked)
      return asked.method === 'write' && breaksOnce(socket) ? undefined : answer
    })
    const next = await FakeServer.start((asked) => new Committing('2').answer(asked))
    const client = await clientOf([server, next])
    expect(await client.write('x', 1)).toMatchObject({ version: { timestamp: 1, origin: '1~fake' } })
    expect(store.committed).toEqual(['x'])
    const [first, again] = stampsOf(server)
    expect(again).toEqual({ ...first, retry: true })
    expect(next.asked).toEqual([])
  })

  it('R10: is sent to the next server where the same one is not there at once', async () => {
    const store = new Committing('both')
    const first = await FakeServer.start((asked) => {
      const answer = store.answer(asked)
      if (asked.method !== 'write') return answer
      void first.close()
      return undefined
    })
    const next = await FakeServer.start((asked) => store.answer(asked))
    const client = await clientOf([first, next])
    expect(await client.write('x', 1)).toMatchObject({ version: { timestamp: 1 } })
    expect(store.committed).toEqual(['x'])
    expect(stampsOf(next)).toEqual([{ ...stampsOf(first)[0], retry: true }])
  })

  it('R10: rejects as an unknown outcome where the next server does not know it, and says what to do', async () => {
    const first = await FakeServer.start(({ method }) => {
      if (method === 'hello') return greetingOf('1')
      void first.close()
      return undefined
    })
    const store = new Committing('2')
    const next = await FakeServer.start((asked) => store.answer(asked))
    const client = await clientOf([first, next])
    const error: unknown = await client.write('x', 1).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', definite: false })
    expect((error as Error).message).toMatch(/not known whether this write was carried out.*read to see/)
    expect(store.committed).toEqual([])
    // Whoever decides to do it all the same has what she needs.
    const { request } = error as TidingsError
    expect(request).toEqual({ ...stampsOf(first)[0], retry: true })
    if (request === undefined) return
    await client.write('x', 1, { request: { ...request, retry: 'again' } })
    expect(stampsOf(next).at(-1)).toEqual({ ...request, retry: 'again' })
  })

  it('R10: goes before what is written later, and those under way keep their order', async () => {
    const store = new Committing('1')
    const server = await FakeServer.start((asked, socket) => {
      if (asked.method !== 'write') return store.answer(asked)
      const writes = server.askedFor('write').length
      if (writes < 3) return undefined
      if (writes > 3) return store.answer(asked)
      store.answer(asked)
      socket.destroy()
      return undefined
    })
    const later: Promise<object>[] = []
    const client: Client = await clientOf([server], {
      onState: ({ status }) => {
        if (status === 'reconnecting') later.push(client.write('d', 1))
      },
    })
    const outcomes = await Promise.allSettled(['a', 'b', 'c'].map((key) => client.write(key, 1)))
    await Promise.all(later)
    const asked = server.askedFor('write').map(({ key, request }) => [key, (request as Stamp).retry])
    expect(asked.slice(3)).toEqual([
      ['a', true],
      ['b', true],
      ['c', true],
      ['d', undefined],
    ])
    expect(store.committed).toEqual(['c', 'd'])
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled'])
  })

  it('R10: is not definite when its time runs out before another server is there', async () => {
    const server = await FakeServer.start(({ method }) => {
      if (method === 'hello') return greetingOf('1')
      void server.close()
      return undefined
    })
    const client = await clientOf([server], { timeoutMs: 200 })
    await expect(client.write('x', 1)).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
      definite: false,
      request: { number: 1, retry: true },
    })
    // This one was never sent.
    await expect(client.write('y', 1)).rejects.toMatchObject({ code: 'ERR_CANNOT_CONNECT', definite: true })
  })

  it('R10: is not definite where the retry was refused: the first copy may have happened', async () => {
    const breaksOnce = breaks()
    const missing = [{ version: [5, '8~a'], server: '8', holders: [] }]
    const server = await FakeServer.start(({ method }, socket) => {
      if (method === 'hello') return greetingOf('1')
      return breaksOnce(socket) ? undefined : new Refusal(-32001, { definite: true, missing })
    })
    const client = await clientOf([server])
    await expect(client.write('x', 1)).rejects.toMatchObject({
      code: 'ERR_NOT_CAUGHT_UP',
      definite: false,
      missing: [{ server: '8' }],
      request: { retry: true },
    })
  })

  it('R10: does not keep a client at a server that breaks every time', async () => {
    const poisoned = await FakeServer.start(({ method }, socket) => {
      if (method === 'hello') return greetingOf('1')
      socket.destroy()
      return undefined
    })
    const store = new Committing('2')
    const next = await FakeServer.start((asked) => store.answer(asked))
    const client = await clientOf([poisoned, next])
    await expect(client.write('x', 1)).rejects.toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' })
    expect(stampsOf(poisoned).map(({ retry }) => retry)).toEqual([undefined, true])
    expect(stampsOf(next).map(({ retry }) => retry)).toEqual([true])
  })

  it('R10: is retried with the number that its caller gave, so that another process could', async () => {
    const store = new Committing('1')
    const breaksOnce = breaks()
    const server = await FakeServer.start((asked, socket) => {
      const answer = store.answer(asked)
      return asked.method === 'write' && breaksOnce(socket) ? undefined : answer
    })
    const client = await clientOf([server])
    const request = { session: 'order 17', number: 3 }
    const first = await client.write('x', 1, { request })
    expect(stampsOf(server)).toEqual([request, { ...request, retry: true }])
    const elsewhere = await clientOf([server])
    expect(await elsewhere.write('x', 1, { request: { ...request, retry: true } })).toEqual(first)
    expect(store.committed).toEqual(['x'])
  })
})

describe('other requests whose connection breaks before the answer', () => {
  it('R10: reads are asked again, at the next server', async () => {
    const first = await FakeServer.start(({ method }, socket) => {
      if (method === 'hello') return greetingOf('1')
      socket.destroy()
      return undefined
    })
    const next = await FakeServer.start((asked) => new Committing('2').answer(asked))
    const client = await clientOf([first, next])
    expect(await client.read('x')).toEqual({ key: 'x', found: false })
    expect(first.askedFor('read')).toHaveLength(1)
  })

  it('R10: what a lab does to a link is never sent twice', async () => {
    const first = await FakeServer.start(({ method }, socket) => {
      if (method === 'hello') return greetingOf('1')
      socket.destroy()
      return undefined
    })
    const next = await FakeServer.start((asked) => new Committing('2').answer(asked))
    const client = await clientOf([first, next])
    await expect(client.link('2', { action: 'hold' })).rejects.toMatchObject({
      code: 'ERR_CONNECTION_LOST',
      definite: false,
    })
    await client.read('x')
    expect([...first.askedFor('link'), ...next.askedFor('link')]).toHaveLength(1)
  })
})

describe('a server that is going, or has no room', () => {
  const shuttingDown = new Refusal(-32004, { definite: true })

  it('R10: hands its requests on to the next, where they are first copies', async () => {
    const going = await FakeServer.start(({ method }) =>
      method === 'hello' ? greetingOf('1') : shuttingDown,
    )
    const store = new Committing('2')
    const next = await FakeServer.start((asked) => store.answer(asked))
    const client = await clientOf([going, next])
    const both = await Promise.all([client.write('x', 1), client.write('y', 1)])
    expect(both).toMatchObject([{ key: 'x' }, { key: 'y' }])
    expect(stampsOf(next).map(({ number, retry }) => [number, retry])).toEqual([
      [1, undefined],
      [2, undefined],
    ])
  })

  it('R10: leaves a write that was sent before a retry', async () => {
    const breaksOnce = breaks()
    const going = await FakeServer.start(({ method }, socket) => {
      if (method === 'hello') return greetingOf('1')
      return breaksOnce(socket) ? undefined : shuttingDown
    })
    const next = await FakeServer.start((asked) => new Committing('2').answer(asked))
    const client = await clientOf([going, next])
    await expect(client.write('x', 1)).rejects.toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' })
    expect(stampsOf(next)).toMatchObject([{ retry: true }])
  })

  it.each([
    ['shutting down', -32004],
    ['overloaded', -32002],
  ])('is passed over when it answers the greeting with %s', async (_title, code) => {
    const full = await FakeServer.start(() => new Refusal(code, { definite: true }))
    const next = await FakeServer.start((asked) => new Committing('2').answer(asked))
    const client = await clientOf([full, next])
    expect(client.state).toMatchObject({ status: 'connected', server: '2' })
  })
})

describe('writes under way', () => {
  it('R10: are never more than the answers that a server keeps, so that the oldest can still be retried', async () => {
    const arrivals: { readonly id: number; readonly isOldestAnswered: boolean }[] = []
    let isOldestAnswered = false
    let socket: Socket | undefined
    const server = await FakeServer.start(({ method, id }, from) => {
      if (method === 'hello') return greetingOf('1')
      socket = from
      arrivals.push({ id, isOldestAnswered })
      return undefined
    })
    const answer = (place: number) => {
      const result = { key: 'x', version: [1, '1~fake'] }
      socket?.write(`${JSON.stringify({ jsonrpc: '2.0', id: arrivals[place]?.id, result })}\n`)
    }
    const client = await clientOf([server])
    const count = answersPerSessionMax + 2
    const writing = Promise.all(Array.from({ length: count }, () => client.write('x', 1)))
    await until(() => arrivals.length >= answersPerSessionMax, 'as many have arrived as may')
    // Those behind the oldest make no room.
    for (let place = answersPerSessionMax - 1; place > 0; place--) answer(place)
    isOldestAnswered = true
    answer(0)
    await until(() => arrivals.length === count, 'all have arrived')
    for (let place = answersPerSessionMax; place < count; place++) answer(place)
    await writing
    expect(arrivals.map((each) => each.isOldestAnswered)).toEqual(
      Array.from({ length: count }, (_, place) => place >= answersPerSessionMax),
    )
  })
})

/**
 * Stands before a real server and loses its first answer to a write: it breaks the connection in its place.
 *
 * @param before what is waited for first, when the server has committed.
 * @param staysAway whether nobody can reach the server through it after that.
 */
async function losesAnswer(
  server: RunningServer,
  options: { readonly before?: () => Promise<void>; readonly staysAway?: boolean } = {},
): Promise<{ readonly port: number }> {
  const { before = () => Promise.resolve(), staysAway = false } = options
  const isFirst = once(() => {})
  const sockets = new Set<Socket>()
  const listener = createServer((near) => {
    const far = connectSocket(server.port, '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    near.pipe(far)
    far.on('data', (chunk: Buffer) => {
      if (!chunk.includes('"key":"x"') || !isFirst(near)) {
        near.write(chunk)
        return
      }
      if (staysAway) listener.close()
      void before().finally(() => {
        near.destroy()
        far.destroy()
      })
    })
  })
  await new Promise<void>((resolve) => {
    listener.listen(0, '127.0.0.1', resolve)
  })
  closing({
    close: async () => {
      for (const socket of sockets) socket.destroy()
      listener.close()
    },
  })
  return { port: (listener.address() as AddressInfo).port }
}

describe('a write at real servers, the answer to which is lost', () => {
  it('R10: happens once where the same server is asked again', async () => {
    const server = await RunningServer.start()
    const client = await clientOf([await losesAnswer(server)])
    expect(await client.write('x', 1)).toMatchObject({ version: { timestamp: 1 } })
    expect(await client.write('y', 2)).toMatchObject({ version: { timestamp: 2 } })
    expect(await client.status()).toMatchObject({ clock: 2 })
  })

  it('R10: happens once where another server is asked, which has applied it', async () => {
    const first = await RunningServer.start({ id: '1' })
    const second = await RunningServer.start({ id: '2', peers: [first] })
    const other = await clientOf([second])
    const has = async () => (await other.read('x')).found
    const lossy = await losesAnswer(first, {
      before: () => until(has, 'the other server has it'),
      staysAway: true,
    })
    const client = await clientOf([lossy, second])
    const { version } = await client.write('x', 1)
    expect(version.origin).toMatch(/^1~/)
    expect(client.state).toMatchObject({ server: '2' })
    expect(await other.status()).toMatchObject({ clock: 1 })
    expect(await client.read('x')).toEqual({ key: 'x', found: true, value: 1, version })
  })

  it('R10: is not written again where another server is asked, which does not know it', async () => {
    const first = await RunningServer.start({ id: '1' })
    const stranger = await RunningServer.start({ id: '2' })
    const lossy = await losesAnswer(first, { staysAway: true })
    const client = await clientOf([lossy, stranger])
    await expect(client.write('x', 1)).rejects.toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', definite: false })
    expect(await client.read('x')).toEqual({ key: 'x', found: false })
  })
})
