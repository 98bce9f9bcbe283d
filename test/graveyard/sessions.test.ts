import { afterEach, describe, expect, it } from 'vitest'
import { connect, type Client, type ConnectOptions } from '../../src/client/client.ts'
import type { Cut, MutableCut } from '../../src/replica/cut.ts'
import type { ClientResult } from '../../src/replica/messages.ts'
import { endAll, RunningServer } from '../client/running-server.ts'
import { CuttingProxy } from '../durability/cutting-proxy.ts'
import { waitMsMax } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'
import { Mesh } from '../replica/mesh.ts'

const closing: { close(): unknown }[] = []

afterEach(async () => {
  await Promise.all(closing.splice(0).map((open) => open.close()))
  await endAll()
})

async function clientOf(port: number, options: ConnectOptions = {}): Promise<Client> {
  const client = await connect(`${port}`, { timeoutMs: waitMsMax, ...options })
  closing.push(client)
  return client
}

async function rawClientOf(port: number): Promise<RawClient> {
  const client = await RawClient.connect(port)
  closing.push(client)
  return client
}

/** Waits until a server is connected to so many others. */
async function connected(client: RawClient, count: number): Promise<void> {
  await client.until<{ readonly peers: readonly { readonly state: string }[] }>(
    'status',
    {},
    ({ peers }) => peers.length === count && peers.every(({ state }) => state === 'connected'),
  )
}

/** Asks a server of a mesh for a key, as somebody who has seen a cut. @returns all answers so far. */
function ask(mesh: Mesh, id: string, key: string, after?: Cut): () => readonly ClientResult[] {
  const asked = mesh.outputs(id).length
  const patience = after === undefined ? {} : { after, timeoutMs: 60_000 }
  mesh.request(id, { method: 'read', keys: [key], ...patience })
  return () =>
    mesh
      .outputs(id)
      .slice(asked)
      .flatMap(({ reply }) => reply.map(({ result }) => result))
}

describe('who reads at another server', () => {
  it('NATS #6557: a value that was just put is not found when a replica answers the get — here a session shows what it has seen, and the replica waits for it (R9)', async () => {
    const leader = await RunningServer.start({ id: '1', isLab: true })
    const replica = await RunningServer.start({ id: '2', peers: [leader] })
    const lab = await rawClientOf(leader.port)
    await connected(lab, 1)
    await lab.call('link', { peer: replica.id, action: 'hold' })
    const writer = await clientOf(leader.port)
    const { version } = await writer.write('key', 'just put')
    // Control: the replica has yet to get it, and whoever asks without a session is not told.
    const direct = await rawClientOf(replica.port)
    expect(await direct.call('read', { key: 'key' })).toEqual({ key: 'key', found: false })

    // The session may go on in another process: its cut has been through JSON.
    const cut = JSON.parse(JSON.stringify(writer.cut)) as Record<string, number>
    const reader = await clientOf(replica.port, { cut })
    const read = reader.read('key')
    await direct.until<{ readonly parked: number }>('status', {}, ({ parked }) => parked === 1)
    expect(await direct.call('read', { key: 'key' })).toEqual({ key: 'key', found: false })
    await lab.call('link', { peer: replica.id, action: 'release' })
    expect(await read).toMatchObject({ found: true, value: 'just put', version })
  })

  it('NATS #4710: reads of one key go back and forth between the present value and one that is hours old — here a session that has seen the new one is never shown the old one again, but told what is missing and who has it (R9)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connectAll()
    mesh.write('1', 'deployment', 'revision 832643')
    mesh.run(500)
    // A replica that is cut off goes on answering.
    for (const other of ['1', '2']) mesh.disconnect('3', other)
    const present = mesh.write('1', 'deployment', 'revision 835937')
    mesh.run(3 * 3_600_000, 60_000)
    // Control: asked by turns, the servers answer by turns.
    const byTurns = ['1', '3', '2', '3'].map((id) => mesh.read(id, 'deployment'))
    expect(byTurns).toEqual(['revision 835937', 'revision 832643', 'revision 835937', 'revision 832643'])

    const seen: MutableCut = new Map([[present.origin, present.timestamp]])
    const answers = ask(mesh, '3', 'deployment', seen)
    // A link from 2 comes up, and none to 2: so it hears who has it, and cannot ask for it.
    mesh.up('2', '3')
    mesh.settle()
    expect(answers()).toEqual([])
    mesh.tick(60_000)
    expect(answers()).toEqual([
      {
        method: 'notCaughtUp',
        missing: [
          { version: { timestamp: present.timestamp, origin: present.origin }, holders: ['2'], lost: false },
        ],
        more: 0,
      },
    ])

    const again = ask(mesh, '3', 'deployment', seen)
    mesh.connectAll()
    mesh.run(1_000)
    expect(again()).toMatchObject([{ method: 'read', values: [{ winner: { value: 'revision 835937' } }] }])
  })
})

describe('a session that no server can serve', () => {
  it('Cosmos .NET #5281: a session token that belongs elsewhere costs half a minute of silent retries in all regions, and ends in not found — here the first server says at once which versions nobody has, and the session goes on without them (R9)', async () => {
    const nearest = await RunningServer.start({ id: '1' })
    for (const id of ['2', '3', '4']) await RunningServer.start({ id, peers: [nearest] })
    const proxy = await CuttingProxy.start(nearest.port)
    closing.push(proxy)
    const writer = await clientOf(nearest.port)
    await writer.write('item', 'here')
    const lost: unknown[] = []
    // What another mesh calls 9@1 is nothing here, and never will be.
    const stranger = await clientOf(proxy.port, {
      cut: { '1~elsewhere': 9 },
      timeoutMs: 60_000,
      onLost: (entries) => lost.push(...entries),
    })
    // Every member has to be connected for that to be certain; until then it would have to wait.
    await connected(await rawClientOf(nearest.port), 3)
    await expect(stranger.read('item')).rejects.toMatchObject({
      code: 'ERR_NOT_CAUGHT_UP',
      definite: true,
      missing: [{ version: { timestamp: 9, origin: '1~elsewhere' }, server: '1', holders: [], lost: true }],
    })
    expect(lost).toHaveLength(1)
    const reads = () => proxy.asked.filter((line) => line.includes('"method":"read"'))
    // One request, one answer: nothing was tried again behind anybody's back.
    expect(reads()).toHaveLength(1)
    expect(await stranger.read('item')).toMatchObject({ found: true, value: 'here' })
    expect(reads()).toHaveLength(2)
  })

  it('Cosmos .NET #5281: the caller cannot say how long it may take — here it says so with each request, and is answered when that time is up, with what is missing and who has it (R9)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connectAll()
    mesh.settle()
    mesh.hold('1', '3')
    const { timestamp, origin } = mesh.write('1', 'item', 'here')
    mesh.run(200)
    const asked = mesh.outputs('3').length
    const after = new Map([[origin, timestamp]])
    mesh.request('3', { method: 'read', keys: ['item'], after, timeoutMs: 250 })
    const answers = () =>
      mesh
        .outputs('3')
        .slice(asked)
        .flatMap(({ reply }) => reply)
    mesh.run(200)
    expect(answers()).toEqual([])
    mesh.run(100)
    expect(answers()).toMatchObject([
      {
        result: {
          method: 'notCaughtUp',
          missing: [{ version: { timestamp, origin }, holders: ['1', '2'], lost: false }],
        },
      },
    ])
  })
})
