import { createServer, connect, type AddressInfo, type Server as Listener, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { Address } from '../../src/protocol/address.ts'
import { Narrator, type ServerEvent } from '../../src/server/narrator.ts'
import { Server } from '../../src/server/server.ts'
import { freePorts, within } from './processes.ts'
import { RawClient } from './raw-client.ts'

/** A server in this process, and what it has told its operator. */
interface Running {
  readonly server: Server
  readonly port: number
  readonly events: readonly ServerEvent[]
}

interface Status {
  readonly keys: number
  readonly peers: readonly {
    readonly id: string
    readonly address: string
    readonly state: string
    readonly link: string
  }[]
  readonly members: readonly { readonly id: string; readonly host: string }[]
}

const running: Running[] = []
const listeners: Listener[] = []
const clients: RawClient[] = []
const sockets = new Set<Socket>()

afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  for (const socket of sockets) socket.destroy()
  for (const listener of listeners.splice(0)) listener.close()
  await Promise.all(running.splice(0).map(({ server }) => server.stop('end of the test')))
})

async function start(
  id: string,
  options: {
    readonly peers?: readonly (number | Address)[]
    readonly host?: string
    readonly port?: number
  } = {},
): Promise<Running> {
  const events: ServerEvent[] = []
  const server = new Server({
    server: id,
    host: options.host ?? '127.0.0.1',
    port: options.port ?? 0,
    peers: (options.peers ?? []).map((peer) =>
      typeof peer === 'number' ? { host: '127.0.0.1', port: peer } : peer,
    ),
    isInsecure: true,
    isLab: true,
    narrator: new Narrator({ write: (line) => events.push(JSON.parse(line) as ServerEvent) }),
  })
  const { port } = await server.start()
  const started = { server, port, events }
  running.push(started)
  return started
}

async function clientOf({ port }: { readonly port: number }): Promise<RawClient> {
  const client = await RawClient.connect(port)
  clients.push(client)
  return client
}

/** Listens on any free port. */
async function listen(accept: (socket: Socket) => void): Promise<number> {
  const listener = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    accept(socket)
  })
  listeners.push(listener)
  await new Promise<void>((resolve) => {
    listener.listen({ host: '127.0.0.1', port: 0 }, resolve)
  })
  return (listener.address() as AddressInfo).port
}

/** Waits until all of these are a full mesh. */
async function meshed(servers: readonly Running[]): Promise<void> {
  for (const server of servers) {
    const client = await clientOf(server)
    await client.until<Status>(
      'status',
      {},
      ({ peers }) => peers.length === servers.length - 1 && peers.every(({ state }) => state === 'connected'),
    )
  }
}

function told(server: Running, kind: ServerEvent['kind']): readonly ServerEvent[] {
  return server.events.filter((event) => event.kind === kind)
}

function warnings(server: Running): readonly string[] {
  return server.events.flatMap((event) => (event.kind === 'warning' ? [event.text] : []))
}

describe('a link that is cut', () => {
  it('and healed in the same breath is up again, as often as this is done', async () => {
    const two = await start('2')
    const one = await start('1', { peers: [two.port] })
    await meshed([one, two])
    const client = await clientOf(one)
    for (let round = 0; round < 5; round++) {
      client.sendMessage({ jsonrpc: '2.0', id: 'cut', method: 'link', params: { peer: '2', action: 'cut' } })
      client.sendMessage({
        jsonrpc: '2.0',
        id: 'heal',
        method: 'link',
        params: { peer: '2', action: 'heal' },
      })
      await client.answer('heal')
      await meshed([one, two])
      await client.call('write', { key: `round ${round}`, value: round })
      const other = await clientOf(two)
      await other.until<{ found: boolean }>('read', { key: `round ${round}` }, ({ found }) => found)
    }
  })

  it('stays cut though the same server has another address', async () => {
    const two = await start('2')
    const one = await start('1', { peers: [{ host: 'localhost', port: two.port }, two.port] })
    await meshed([one, two])
    const client = await clientOf(one)
    await client.call('link', { peer: '2', action: 'cut' })
    const other = await clientOf(two)
    await other.until<Status>('status', {}, ({ peers }) => peers[0]?.state === 'sending only')
    // Two is dialled by nobody, but dials: what it tells of itself is no way round the cut.
    await (await clientOf(two)).call('write', { key: 'k', value: 1 })
    await client.until<{ found: boolean }>('read', { key: 'k' }, ({ found }) => found)
    expect((await client.call<Status>('status')).peers).toMatchObject([{ id: '2', link: 'cut' }])
    await client.call('link', { peer: '2', action: 'heal' })
    await meshed([one, two])
  })
})

describe('a server with two addresses', () => {
  it('is linked to once, and nothing flaps', async () => {
    const two = await start('2', { host: '0.0.0.0' })
    const one = await start('1', {
      peers: [{ host: 'localhost', port: two.port }, two.port, { host: '127.0.0.2', port: two.port }],
    })
    await meshed([one, two])
    const client = await clientOf(one)
    for (let key = 0; key < 50; key++) await client.call('write', { key: `${key}`, value: key })
    for (const server of [one, two]) {
      expect(told(server, 'peerJoined')).toHaveLength(1)
      expect(told(server, 'linkLost')).toEqual([])
    }
  })

  it('is found again under either when it comes back', async () => {
    const [port = 0] = await freePorts(1)
    const two = await start('2', { port })
    const one = await start('1', {
      peers: [
        { host: 'localhost', port },
        { host: '127.0.0.1', port },
      ],
    })
    await meshed([one, two])
    await two.server.stop('for now')
    const client = await clientOf(one)
    const { peers } = await client.until<Status>('status', {}, ({ peers }) =>
      peers.every(({ state }) => state === 'waiting to retry (connection refused)'),
    )
    expect(peers).toMatchObject([{ id: '2' }])
    const again = await start('2', { port })
    await meshed([one, again])
  })

  it('and one that listens everywhere tells nobody a wildcard', async () => {
    const two = await start('2', { host: '0.0.0.0' })
    const one = await start('1', { host: '0.0.0.0', peers: [two.port] })
    const three = await start('3', { host: '0.0.0.0', peers: [{ host: 'localhost', port: two.port }] })
    const servers = [one, two, three]
    await meshed(servers)
    for (const server of servers) {
      const status = await (await clientOf(server)).call<Status>('status')
      for (const { host } of status.members) expect(host).not.toBe('0.0.0.0')
      expect(told(server, 'linkLost')).toEqual([])
      expect(told(server, 'peerJoined')).toHaveLength(2)
    }
  })
})

describe('a slow link', () => {
  it('is not taken for dead while a large value crosses it', { timeout: 30_000 }, async () => {
    const two = await start('2')
    let connectionCount = 0
    const proxy = await listen((near) => {
      connectionCount++
      const far = connect({ port: two.port, host: '127.0.0.1' })
      sockets.add(far)
      far.on('error', () => near.destroy())
      near.on('close', () => far.destroy())
      far.pipe(near)
      // 100 kB/s in one direction.
      const timer = setInterval(() => {
        const chunk: unknown = near.read(Math.min(10_000, near.readableLength))
        if (chunk instanceof Buffer) far.write(chunk)
      }, 100)
      near.on('close', () => clearInterval(timer))
      near.pause()
    })
    const one = await start('1', { peers: [proxy] })
    const client = await clientOf(one)
    await client.until<Status>('status', {}, ({ peers }) => peers.some(({ id }) => id === '2'))
    const before = connectionCount
    await client.call('write', { key: 'large', value: 'v'.repeat(800_000) })
    const other = await clientOf(two)
    await other.until<Status>('status', {}, ({ keys }) => keys === 1, 25_000)
    expect(connectionCount).toBe(before)
  })
})

describe('an id that is taken', () => {
  it('stops the newcomer though others have dialled it, and says who refused whom', async () => {
    const [port = 0] = await freePorts(1)
    const two = await start('2')
    const three = await start('3', { peers: [two.port, port] })
    const client = await clientOf(three)
    await client.until<Status>('status', {}, ({ peers }) => peers.some(({ state }) => state === 'connected'))
    const impostor = await start('2', { port })
    const error = await within(impostor.server.failed, () => 'the impostor goes on')
    expect(error.message).toContain(`server id 2 is in use by a running server at 127.0.0.1:${two.port}`)
    expect(warnings(three).some((text) => text.startsWith('127.0.0.1'))).toBe(false)
  })

  it('is named with the address of its holder also where only its incoming link is up (R7)', async () => {
    const [port = 0] = await freePorts(1)
    const one = await start('1')
    const hello = { server: '2', protocol: 1, members: [], address: { host: '127.0.0.1', port } }
    const holder = await clientOf(one)
    await holder.call('peer.hello', { ...hello, origin: '2~holder' })
    const second = await clientOf(one)
    second.sendMessage({
      jsonrpc: '2.0',
      id: 1,
      method: 'peer.hello',
      params: { ...hello, origin: '2~second', address: { port: 1 } },
    })
    // The holder is asked whether it is still there.
    const ping = await holder.push('peer.ping')
    holder.sendMessage({ jsonrpc: '2.0', id: ping.id, result: {} })
    const { error } = await second.answer(1)
    expect(error?.message).toContain(`in use by a running server at 127.0.0.1:${port}`)
  })
})

describe('why two servers do not get together', () => {
  it('is told when the other side says so and closes, once, and shows in the status', async () => {
    let dialled = 0
    const reason = 'params.updates[0].origin must be an origin'
    const port = await listen((socket) => {
      dialled++
      const error = { code: -32_602, message: reason, data: { definite: true } }
      socket.end(`${JSON.stringify({ jsonrpc: '2.0', id: null, error })}\n`)
      socket.resume()
    })
    const one = await start('1', { peers: [port] })
    const client = await clientOf(one)
    await client.until<Status>(
      'status',
      {},
      ({ peers }) => dialled >= 3 && peers[0]?.state === `waiting to retry (${reason})`,
    )
    expect(warnings(one).filter((text) => text.includes(reason))).toEqual([
      `127.0.0.1:${port} refused this server: ${reason}`,
    ])
  })

  it('shows in the status where nothing listens', async () => {
    const [port = 0] = await freePorts(1)
    const one = await start('1', { peers: [port] })
    const client = await clientOf(one)
    await client.until<Status>(
      'status',
      {},
      ({ peers }) => peers[0]?.state === 'waiting to retry (connection refused)',
    )
  })
})
