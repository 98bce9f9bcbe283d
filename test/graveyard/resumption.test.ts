import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { connect, type Client, type Watch } from '../../src/client/client.ts'
import { raiseAll, type Cut, type MutableCut } from '../../src/replica/cut.ts'
import type { Write } from '../../src/replica/update.ts'
import { endAll, RunningServer } from '../client/running-server.ts'
import type { ToldUpdate } from '../durability/history.ts'
import { startMesh, stopServers, waitMsMax, within } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'
import { Mesh } from '../replica/mesh.ts'

const closing: { close(): unknown }[] = []

afterEach(async () => {
  await Promise.all(closing.splice(0).map((open) => open.close()))
  await endAll()
  await stopServers()
})
afterAll(stopServers)

async function clientOf(...ports: readonly number[]): Promise<Client> {
  const client = await connect(
    ports.map((port) => `${port}`),
    { timeoutMs: waitMsMax },
  )
  closing.push(client)
  return client
}

async function rawClientOf(port: number): Promise<RawClient> {
  const client = await RawClient.connect(port)
  closing.push(client)
  return client
}

/** The writes of the next update that a watch yields. */
async function nextWrites(watch: Watch): Promise<readonly Write[]> {
  for (;;) {
    const { value } = await within(watch.next(), () => 'the watch says nothing more')
    if (value === undefined) throw new Error('the watch has ended')
    if (value.kind === 'resync') throw new Error('the watch was told to begin anew')
    if (value.kind === 'update') return value.writes
  }
}

/** What a watch of a server of a mesh has been told. */
interface Told {
  readonly writes: readonly Write[]
  /** Where to go on; undefined before it has caught up. */
  readonly cut: Cut | undefined
}

function toldTo(mesh: Mesh, client: number): Told {
  const told = mesh.notifications('1', client)
  const cut: MutableCut = new Map()
  for (const pushed of told) if (pushed.kind === 'caughtUp') raiseAll(cut, pushed.applied)
  return {
    writes: told.flatMap((pushed) => (pushed.kind === 'update' ? pushed.writes : [])),
    cut: told.some(({ kind }) => kind === 'caughtUp') ? cut : undefined,
  }
}

function watch(mesh: Mesh, client: number, prefix: string, since: 'start' | Cut): void {
  mesh.request('1', { method: 'watch', prefix, since }, client)
}

describe('a watch that goes on', () => {
  it('etcd #9386: a watcher whose revision has been compacted gets an error, and can only step over what it missed — here it is told from the state what has become of it, and of nothing else (R11)', () => {
    const mesh = new Mesh({ servers: ['1'], limits: { log: { updatesMax: 100, bytesMax: 1 << 20 } } })
    for (const key of ['config/1', 'config/2', 'config/3']) mesh.write('1', key, 'old')
    watch(mesh, 1, 'config/', 'start')
    mesh.settle()
    const { cut } = toldTo(mesh, 1)
    if (cut === undefined) throw new Error('the watch has not caught up')
    mesh.step('1', { kind: 'clientGone', client: 1 })
    mesh.write('1', 'config/1', 'new')
    mesh.delete('1', 'config/2')
    for (let count = 0; count < 500; count++) mesh.write('1', `other/${count % 5}`, count)
    // The log begins long after what it had seen.
    const origin = mesh.originOf('1')
    expect(mesh.replica('1').logFloor.get(origin)).toBeGreaterThan((cut.get(origin) ?? 0) + 2)
    // Control: stepping forward to where the log begins passes over both changes.
    const left = mesh.applications('1').slice(mesh.replica('1').logStart)
    expect(left.flatMap(({ writes }) => writes).filter(({ key }) => key.startsWith('config/'))).toEqual([])

    watch(mesh, 2, 'config/', cut)
    mesh.settle()
    expect(mesh.notifications('1', 2).map(({ kind }) => kind)).toEqual(['update', 'update', 'caughtUp'])
    expect(toldTo(mesh, 2).writes).toEqual([
      { key: 'config/1', value: 'new' },
      { key: 'config/2', deleted: true },
    ])
  })

  it('etcd #12824: a new reader cannot ask for all there is without a race, for what it is to begin at may be compacted before its watch begins — here that is one call, and holds while the log is trimmed under it (R11)', () => {
    const mesh = new Mesh({
      servers: ['1'],
      limits: { log: { updatesMax: 16, bytesMax: 1 << 20 }, page: { updatesMax: 10, bytesMax: 1 << 20 } },
    })
    for (let count = 0; count < 200; count++) mesh.write('1', `event/${count}`, 'recorded')
    // Control: whoever asks where the log begins, and then for what is there, comes too late.
    const beginning = mesh.replica('1').logStart
    watch(mesh, 1, '', 'start')
    let pages = 0
    while (toldTo(mesh, 1).cut === undefined) {
      mesh.step('1', { kind: 'clientDrained', client: 1 })
      mesh.write('1', `event/${(pages * 37) % 200}`, `changed ${pages}`)
      mesh.delete('1', `event/${(pages * 53) % 200}`)
      mesh.write('1', `event/later ${pages}`, 'recorded')
      pages++
    }
    expect(pages).toBeGreaterThan(10)
    expect(mesh.replica('1').logStart).toBeGreaterThan(beginning + 16)

    const story = new Map<string, unknown>()
    for (const { key, value, deleted } of toldTo(mesh, 1).writes) {
      if (deleted === true) story.delete(key)
      else story.set(key, value)
    }
    const state = [...mesh.replica('1').entries()].flatMap(([key, [{ value, deleted }]]) =>
      deleted === true ? [] : [[key, value] as const],
    )
    expect(story).toEqual(new Map(state))
  })

  it('etcd #12824: and when the server of a watch is killed the watch hangs — here it goes on at another server, from what it has seen (R11)', async () => {
    const [first, second] = await startMesh(2)
    if (first === undefined || second === undefined) throw new Error('two servers were to start')
    const client = await clientOf(first.port, second.port)
    const events = client.watch({ since: 'start' })
    await client.write('event', 1)
    expect(await nextWrites(events)).toEqual([{ key: 'event', value: 1 }])
    await second.applied('event')
    await first.kill()
    const other = await rawClientOf(second.port)
    await other.call('write', { key: 'event', value: 2 })
    expect(await nextWrites(events)).toEqual([{ key: 'event', value: 2 }])
    expect(client.state).toMatchObject({ status: 'connected', server: second.id })
  })

  it('Valkey #28: what happens while a subscriber has no connection is lost to it — here it is told each change once, when its server is back, deletions too (R11)', async () => {
    const first = await RunningServer.start({ id: '1' })
    const second = await RunningServer.start({ id: '2', peers: [first] })
    // It knows no other server, so that it has no connection for as long as this one is gone.
    const subscriber = await clientOf(first.port)
    const notifications = subscriber.watch({ prefix: 'session/' })
    await notifications.started
    const writer = await rawClientOf(second.port)
    await writer.call('write', { key: 'session/1', value: 'open' })
    expect(await nextWrites(notifications)).toEqual([{ key: 'session/1', value: 'open' }])
    const { port } = first
    await first.stop()
    await writer.call('write', { key: 'session/1', value: 'busy' })
    await writer.call('write', { key: 'session/2', value: 'open' })
    await writer.call('delete', { key: 'session/1' })
    expect(subscriber.state.status).not.toBe('connected')

    // It has no disk: it comes back with nothing, and has it all from the other.
    const again = await RunningServer.start({ id: first.id, port, peers: [second] })
    expect(await nextWrites(notifications)).toEqual([{ key: 'session/1', value: 'busy' }])
    expect(await nextWrites(notifications)).toEqual([{ key: 'session/2', value: 'open' }])
    expect(await nextWrites(notifications)).toEqual([{ key: 'session/1', deleted: true }])
    // Control: who subscribes again as if nothing had been is told of none of that.
    const forgetful = await rawClientOf(again.port)
    await forgetful.call('watch', { prefix: 'session/', since: 'now' })
    await forgetful.push('caughtUp')
    await writer.call('write', { key: 'session/2', value: 'live again' })
    expect(await nextWrites(notifications)).toEqual([{ key: 'session/2', value: 'live again' }])
    const { params } = await forgetful.push('update')
    expect((params as ToldUpdate).writes).toEqual([{ key: 'session/2', value: 'live again' }])
  })

  it('Redis #5766: notifications are sent and forgotten, so that a consumer that was away has no record to read on from — here the cut of what it has seen is that record, and any server can read on from it (R11)', async () => {
    const first = await RunningServer.start({ id: '1' })
    const second = await RunningServer.start({ id: '2', peers: [first] })
    const writer = await rawClientOf(first.port)
    const consumer = await rawClientOf(first.port)
    const { applied } = await consumer.call<{ readonly applied: Record<string, number> }>('watch', {
      prefix: 'status/',
    })
    await consumer.push('caughtUp')
    await writer.call('write', { key: 'status/a', value: 'queued' })
    const seen = (await consumer.push('update')).params as ToldUpdate
    // All that it needs to remember of it is this, and it goes away.
    const cut = { ...applied, [seen.version[1]]: seen.version[0] }
    consumer.close()
    await writer.call('batch', {
      writes: [
        { key: 'status/a', value: 'running' },
        { key: 'elsewhere', value: 1 },
        { key: 'status/b', value: 'queued' },
      ],
    })
    await writer.call('write', { key: 'status/a', value: 'done' })

    const back = await rawClientOf(second.port)
    await back.call('watch', { prefix: 'status/', since: cut })
    const told: unknown[] = []
    while (told.length < 2) {
      const { method, params } = await back.message()
      if (method === 'update') told.push((params as ToldUpdate).writes)
    }
    expect(told).toEqual([
      [
        { key: 'status/a', value: 'running' },
        { key: 'status/b', value: 'queued' },
      ],
      [{ key: 'status/a', value: 'done' }],
    ])
  })
})
