import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { freePorts, meshed, ServerProcess, startMesh, stopServers } from './processes.ts'
import { RawClient } from './raw-client.ts'

afterEach(stopServers)
afterAll(stopServers)

interface Status {
  readonly origin: string
  readonly applied: Record<string, number>
  readonly waiting: number
  readonly peers: readonly { readonly id: string; readonly address: string; readonly state: string }[]
}

/** Writes a key at each server, and waits until it is applied at every server. */
async function writesReachAll(servers: readonly ServerProcess[], label: string): Promise<void> {
  for (const server of servers) {
    const client = await RawClient.connect(server.port)
    await client.call('write', { key: `${label} of ${server.id}`, value: server.id })
    client.close()
  }
  for (const server of servers) {
    for (const writer of servers) await server.applied(`${label} of ${writer.id}`)
  }
}

interface Connection {
  readonly id: string
  readonly address: string
  readonly state: string
}

/** What each server's `status` says of the others. */
async function connections(servers: readonly ServerProcess[]): Promise<readonly (readonly Connection[])[]> {
  const told: Connection[][] = []
  for (const server of inOrder(servers)) {
    const client = await RawClient.connect(server.port)
    const { peers } = await client.call<Status>('status')
    client.close()
    told.push(
      peers
        .map(({ id, address, state }) => ({ id, address, state }))
        .toSorted((a, b) => a.id.localeCompare(b.id)),
    )
  }
  return told
}

/** What they say where each is connected to each. */
function eachToEach(servers: readonly ServerProcess[]): readonly (readonly Connection[])[] {
  return inOrder(servers).map((server) =>
    inOrder(servers)
      .filter((other) => other !== server)
      .map(({ id, address }) => ({ id, address, state: 'connected' })),
  )
}

function inOrder(servers: readonly ServerProcess[]): readonly ServerProcess[] {
  return servers.toSorted((a, b) => a.id.localeCompare(b.id))
}

describe('a mesh forms', () => {
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ] as const

  it.each(orders)(
    'when each of three knows only the next, started in the order %i %i %i',
    async (...order) => {
      const ports = await freePorts(3)
      const servers: ServerProcess[] = []
      for (const index of order) {
        const peer = ports[(index + 1) % 3] ?? 0
        servers.push(
          await ServerProcess.start({ id: `${index + 1}`, port: ports[index] ?? 0, peers: [peer] }),
        )
      }
      await meshed(servers)
      expect(await connections(servers)).toEqual(eachToEach(servers))
      await writesReachAll(servers, 'ring')
    },
  )

  it('when four know only one, which starts last', async () => {
    const [hub = 0] = await freePorts(1)
    const servers = ['2', '3', '4'].map((id) => new ServerProcess({ id, peers: [hub] }))
    for (const server of servers) await server.listening()
    servers.push(await ServerProcess.start({ id: '1', port: hub }))
    await meshed(servers)
    expect(await connections(servers)).toEqual(eachToEach(servers))
    await writesReachAll(servers, 'star')
  })

  it('a server that is given its own address is not its own peer', async () => {
    const [port = 0] = await freePorts(1)
    const self = await ServerProcess.start({ id: '1', port, peers: [port, `localhost:${port}`] })
    const other = await ServerProcess.start({ id: '2', peers: [port] })
    const servers = [self, other]
    await meshed(servers)
    await writesReachAll(servers, 'self')
    const client = await RawClient.connect(self.port)
    const { peers } = await client.until<Status>('status', {}, ({ peers }) => peers.length === 1)
    expect(peers).toMatchObject([{ id: '2', address: other.address, state: 'connected' }])
    client.close()
    expect((await self.stop()).code).toBe(0)
  })
})

describe('a server that is killed', () => {
  it('harms nobody, and comes back as a new origin that catches up with its own former writes too', async () => {
    const servers = await startMesh(3)
    const [one, two, three] = servers as [ServerProcess, ServerProcess, ServerProcess]
    await writesReachAll(servers, 'before')
    await three.kill()
    for (const server of [one, two]) await server.event('peerLeft', ({ peer }) => peer === '3')
    const client = await RawClient.connect(one.port)
    await client.call('write', { key: 'meanwhile', value: 1 })
    await two.applied('meanwhile')
    await client.until<Status>('status', {}, ({ peers }) =>
      peers.some(({ id, state }) => id === '3' && state !== 'connected'),
    )

    const marks = [one.events.length, two.events.length] as const
    const again = await ServerProcess.start({ id: '3', port: three.port, peers: [one.port] })
    expect(again.origin).not.toBe(three.origin)
    await again.joined([one, two])
    await one.event('peerJoined', ({ peer }) => peer === '3', marks[0])
    await two.event('peerJoined', ({ peer }) => peer === '3', marks[1])
    for (const key of ['before of 1', 'before of 2', 'before of 3', 'meanwhile']) await again.applied(key)
    const survivor = await RawClient.connect(again.port)
    expect(await survivor.call('read', { key: 'before of 3' })).toMatchObject({
      found: true,
      value: '3',
      version: [expect.any(Number), three.origin],
    })
    await survivor.call('write', { key: 'after', value: 'here I am' })
    for (const server of [one, two]) await server.applied('after')
    expect(await connections([one, two, again])).toEqual(eachToEach([one, two, again]))
    await writesReachAll([one, two, again], 'later')
    const statuses: Status[] = []
    for (const server of [one, two, again]) {
      const reader = await RawClient.connect(server.port)
      statuses.push(await reader.call<Status>('status'))
      reader.close()
    }
    expect(statuses[1]?.applied).toEqual(statuses[0]?.applied)
    expect(statuses[2]?.applied).toEqual(statuses[0]?.applied)
  })

  it('may come back elsewhere: its former address is forgotten', async () => {
    const [one, two, three] = (await startMesh(3)) as [ServerProcess, ServerProcess, ServerProcess]
    await three.kill()
    const again = await ServerProcess.start({ id: '3', peers: [two.port] })
    const servers = [one, two, again]
    await meshed(servers)
    await writesReachAll(servers, 'moved')
    for (const server of servers) {
      const client = await RawClient.connect(server.port)
      const { peers } = await client.until<Status>('status', {}, ({ peers }) => peers.length === 2)
      expect(peers.every(({ state }) => state === 'connected')).toBe(true)
      client.close()
    }
  })

  it('may be killed in the middle of a stream of writes: what the others have, they have alike', async () => {
    const servers = await startMesh(3)
    const [one, two, three] = servers as [ServerProcess, ServerProcess, ServerProcess]
    const client = await RawClient.connect(three.port)
    for (let number = 0; number < 3_000; number++) {
      client.sendMessage({
        jsonrpc: '2.0',
        id: number,
        method: 'write',
        params: { key: `stream ${number}`, value: number },
      })
    }
    await one.applied('stream 10')
    await three.kill()
    client.close()
    for (const server of [one, two]) await server.event('peerLeft', ({ peer }) => peer === '3')
    await writesReachAll([one, two], 'settled')
    const [first, second] = [await RawClient.connect(one.port), await RawClient.connect(two.port)]
    const { applied } = await first.call<Status>('status')
    // Whichever of the two got less is brought up by the other.
    const highest = async (reader: RawClient): Promise<number> =>
      (await reader.call<Status>('status')).applied[three.origin] ?? 0
    const most = Math.max(applied[three.origin] ?? 0, await highest(second))
    for (const reader of [first, second]) {
      const status = await reader.until<Status>(
        'status',
        {},
        (now) => (now.applied[three.origin] ?? 0) >= most,
      )
      expect(status.waiting).toBe(0)
    }
    expect((await first.call<Status>('status')).applied).toEqual(
      (await second.call<Status>('status')).applied,
    )
    first.close()
    second.close()
  })
})

describe('a server that stops answering', () => {
  it('holds up nobody for as long as it is stopped, and catches up when it goes on', async () => {
    const [one, two, three] = (await startMesh(3)) as [ServerProcess, ServerProcess, ServerProcess]
    three.signal('SIGSTOP')
    const [first, second] = [await RawClient.connect(one.port), await RawClient.connect(two.port)]
    for (let number = 0; number < 500; number++) {
      await first.call('write', { key: `a${number}`, value: number })
      await second.call('write', { key: `b${number}`, value: number })
    }
    await one.applied('b499')
    await two.applied('a499')
    three.signal('SIGCONT')
    await three.applied('a499')
    await three.applied('b499')
    const third = await RawClient.connect(three.port)
    expect(await third.call('status')).toMatchObject({ keys: 1_000, waiting: 0 })
  })

  it('is taken for gone when it is stopped for long, and joins again by itself', async () => {
    const [one, two, three] = (await startMesh(3)) as [ServerProcess, ServerProcess, ServerProcess]
    three.signal('SIGSTOP')
    const marks = [one.events.length, two.events.length, three.events.length] as const
    await one.event('linkLost', ({ peer, direction }) => peer === '3' && direction === 'to', marks[0])
    await two.event('linkLost', ({ peer, direction }) => peer === '3' && direction === 'to', marks[1])
    await writesReachAll([one, two], 'without')
    three.signal('SIGCONT')
    for (const key of ['without of 1', 'without of 2']) await three.applied(key)
    await one.event('peerJoined', ({ peer }) => peer === '3', marks[0])
    await two.event('peerJoined', ({ peer }) => peer === '3', marks[1])
    await three.event('peerJoined', ({ peer }) => peer === '1', marks[2])
    await three.event('peerJoined', ({ peer }) => peer === '2', marks[2])
    await writesReachAll([one, two, three], 'with')
    expect(await connections([one, two, three])).toEqual(eachToEach([one, two, three]))
  })
})

describe('a cut link', () => {
  it('is routed around: what 1 writes reaches 3 through 2; healed, it carries again', async () => {
    const servers = await startMesh(3)
    const [one, two, three] = servers as [ServerProcess, ServerProcess, ServerProcess]
    const client = await RawClient.connect(one.port)
    expect(await client.call('link', { peer: '3', action: 'cut' })).toMatchObject({ peer: '3', state: 'cut' })
    await three.event('linkLost', ({ peer }) => peer === '1')
    const mark = three.events.length
    await client.call('write', { key: 'around', value: 1 })
    await two.applied('around')
    const applied = await three.event(
      'applied',
      ({ update }) => update.writes.some(({ key }) => key === 'around'),
      mark,
    )
    expect(applied.from).toBe('2')
    await three.event('pulled', ({ from }) => from === '2', mark)
    const east = await RawClient.connect(three.port)
    await east.call('write', { key: 'back', value: 1 })
    await one.applied('back')

    const healedAt = three.events.length
    await client.call('link', { peer: '3', action: 'heal' })
    await three.event('peerJoined', ({ peer }) => peer === '1', healedAt)
    await client.call('write', { key: 'direct', value: 1 })
    const direct = await three.event('applied', ({ update }) =>
      update.writes.some(({ key }) => key === 'direct'),
    )
    expect(direct.from).toBe('1')
    expect(await connections(servers)).toEqual(eachToEach(servers))
  })

  it('a delayed link delays, and changes no order', async () => {
    const servers = await startMesh(2)
    const [one, two] = servers as [ServerProcess, ServerProcess]
    const client = await RawClient.connect(one.port)
    await client.call('link', { peer: '2', action: 'delay', ms: 300 })
    const startMs = performance.now()
    for (let number = 0; number < 20; number++)
      await client.call('write', { key: `d${number}`, value: number })
    await two.applied('d19')
    expect(performance.now() - startMs).toBeGreaterThan(290)
    const keys = two.events.flatMap((event) =>
      event.kind === 'applied' ? event.update.writes.map(({ key }) => key) : [],
    )
    expect(keys).toEqual(Array.from({ length: 20 }, (_, number) => `d${number}`))
  })
})

describe('a server id belongs to one live server', () => {
  it('a second one is refused with the address of the first, and ends with exit code 5', async () => {
    const servers = await startMesh(2)
    const [one, two] = servers as [ServerProcess, ServerProcess]
    const impostors = [
      // It asks a third server, or the very one whose id it has.
      { server: new ServerProcess({ id: '2', peers: [one.port] }), rightful: two },
      { server: new ServerProcess({ id: '2', peers: [two.port] }), rightful: two },
      { server: new ServerProcess({ id: '1', peers: [two.port] }), rightful: one },
    ]
    for (const { server, rightful } of impostors) {
      expect(await server.exit()).toEqual({ code: 5, signal: null })
      expect(server.stderr).toContain(
        `error: server id ${rightful.id} is in use by a running server at ${rightful.address}; choose another --id, or stop that one`,
      )
    }
    expect(await connections(servers)).toEqual(eachToEach(servers))
    await writesReachAll(servers, 'unharmed')
    for (const server of servers)
      expect(server.events.filter(({ kind }) => kind === 'peerLeft' || kind === 'linkLost')).toEqual([])
  })

  it('of one that no longer answers, it passes to the one that does', async () => {
    const [one, two] = (await startMesh(2)) as [ServerProcess, ServerProcess]
    const mark = one.events.length
    two.signal('SIGSTOP')
    const successor = await ServerProcess.start({ id: '2', peers: [one.port] })
    await one.event('peerJoined', ({ address }) => address === successor.address, mark)
    await writesReachAll([one, successor], 'succeeded')
    expect(await connections([one, successor])).toEqual(eachToEach([one, successor]))
  })
})
