import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { freePorts, ServerProcess, stopServers } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'
import { Mesh } from '../replica/mesh.ts'
import { freshReplica, hand } from '../replica/update-builder.ts'
import { DurableMesh } from './durable-mesh.ts'

afterEach(stopServers)
afterAll(stopServers)

const page = 1_000

/** Updates in a mesh's link from 1 to 2, and updates and siblings of pages alike. */
function onTheWay(mesh: Mesh): number {
  let count = 0
  for (const message of mesh.queued('1', '2')) {
    if ('updates' in message) count += message.updates.length
    if (message.kind === 'snapshot') count += message.siblings.length
  }
  return count
}

/**
 * A server that was away joins one that has written a great deal, and goes on writing.
 *
 * @returns the most that was ever on its way to it, and the most that waited in it.
 */
function catchUp(options: { readonly behind: number; readonly logUpdatesMax: number }): {
  readonly mesh: Mesh
  readonly onTheWayMost: number
  readonly waitingMost: number
} {
  let mesh: Mesh | undefined
  let onTheWayMost = 0
  let waitingMost = 0
  mesh = new Mesh({
    servers: ['1', '2'],
    limits: {
      page: { updatesMax: page, bytesMax: 1 << 20 },
      snapshotPage: { updatesMax: page, bytesMax: 1 << 20 },
      log: { updatesMax: options.logUpdatesMax, bytesMax: 64 << 20 },
    },
    observe: () => {
      if (mesh !== undefined) onTheWayMost = Math.max(onTheWayMost, onTheWay(mesh))
    },
  })
  for (let count = 0; count < options.behind; count++) mesh.write('1', `key ${count}`, count)
  mesh.connectAll()
  for (let round = 0; round < 40; round++) {
    for (let count = 0; count < 5; count++) mesh.write('1', `meanwhile ${count}`, round)
    mesh.run(50)
    const { status } = mesh.answer('2', 'status', { method: 'status' })
    waitingMost = Math.max(waitingMost, status.waiting)
  }
  mesh.run(1_000)
  return { mesh, onTheWayMost, waitingMost }
}

describe('a server that is very far behind', () => {
  it('Corrosion #198: a node that was off for long queues millions of changes faster than it can take them in — here it asks for each page when it has applied the one before (R8)', () => {
    const behind = 30_000
    const { mesh, onTheWayMost, waitingMost } = catchUp({ behind, logUpdatesMax: 200_000 })
    expect(mesh.state('2')).toEqual(mesh.state('1'))
    expect(mesh.sent('2', '1', 'pull').length).toBeGreaterThanOrEqual(behind / page - 1)
    // A page on connecting, and one that was asked for.
    expect(onTheWayMost).toBeLessThanOrEqual(2 * page)
    expect(waitingMost).toBeLessThanOrEqual(page)

    // Control: sent all of it at once, with only the first of it late, it would queue nearly everything.
    const overwhelmed = freshReplica({ server: '2' })
    hand(overwhelmed, '1', ...mesh.applications('1').slice(1, behind))
    const { reply } = overwhelmed.step({ kind: 'request', client: 1, id: 1, request: { method: 'status' } })
    expect(reply).toMatchObject([{ result: { status: { waiting: behind - 1 } } }])
  })

  it('Corrosion #198: also where it lacks more than any log holds, and gets the whole state (R8, R12)', () => {
    const { mesh, onTheWayMost, waitingMost } = catchUp({ behind: 30_000, logUpdatesMax: 2_000 })
    expect(mesh.state('2')).toEqual(mesh.state('1'))
    expect(mesh.events('2', 'installed')).toMatchObject([{ from: '1' }])
    // Six pages of a snapshot are on their way at once, however many there are.
    expect(onTheWayMost).toBeLessThanOrEqual(8 * page)
    expect(waitingMost).toBeLessThanOrEqual(page)
  })

  it('Corrosion #198: changes come in faster than they are stored — here the next page is asked for behind the commit of the one before, so that a slow disk slows the sender (R6, R8)', async () => {
    const mesh = new DurableMesh({ limits: { page: { updatesMax: page, bytesMax: 1 << 20 } } })
    for (const id of ['1', '2']) mesh.start(id, { incarnation: 'a' })
    for (let count = 0; count < 10_000; count++) mesh.write('1', `key ${count}`, count)
    await mesh.settle()
    mesh.holdDisk('2')
    mesh.connectAll()
    await mesh.run(20_000)
    // For twenty seconds it has been given what came on connecting, and has not even asked for more.
    const origin = mesh.originOf('1')
    expect(mesh.replica('1').applied.get(origin)).toBe(10_000)
    expect(mesh.replica('2').applied.get(origin)).toBe(page)
    expect(mesh.pendingCommits('2')).toBe(1)
    expect(mesh.onTheWay('1', '2')).toEqual([])

    mesh.releaseDisk('2')
    await mesh.run(2_000)
    expect(mesh.state('2')).toEqual(mesh.state('1'))
  })

  it(
    'Corrosion #198: and on real sockets, where it was stopped in its tracks while all that happened, it answers its clients while it catches up, and few updates wait in it (R3, R8)',
    { timeout: 180_000 },
    async () => {
      const [first = 0, second = 0] = await freePorts(2)
      // Not as JSON: telling of every single write would be the heavier load.
      const one = new ServerProcess({ id: '1', port: first, isJson: false })
      const two = new ServerProcess({ id: '2', port: second, peers: [first], isJson: false })
      await Promise.all([one.listening(), two.listening()])
      const writer = await RawClient.connect(first)
      const reader = await RawClient.connect(second)
      interface Status {
        readonly applied: Readonly<Record<string, number>>
        readonly waiting: number
        readonly keys: number
        readonly peers: readonly { readonly state: string }[]
      }
      for (const client of [writer, reader]) {
        await client.until<Status>('status', {}, ({ peers }) =>
          peers.some(({ state }) => state === 'connected'),
        )
      }
      two.signal('SIGSTOP')
      const behind = 20_000
      const padding = '.'.repeat(1_024)
      let number = 0
      const writeOn = async (): Promise<void> => {
        while (number < behind) await writer.call('write', { key: `key ${++number}`, value: padding })
      }
      // All of it is acknowledged, though the other takes nothing.
      await Promise.all(Array.from({ length: 64 }, writeOn))
      two.signal('SIGCONT')
      let looks = 0
      let lacked = 0
      let waitingMost = 0
      await reader.until<Status>(
        'status',
        {},
        ({ waiting, keys }) => {
          looks++
          lacked = Math.max(lacked, behind - keys)
          waitingMost = Math.max(waitingMost, waiting)
          return keys === behind
        },
        120_000,
      )
      expect(lacked).toBeGreaterThan(behind / 2)
      expect(looks).toBeGreaterThan(5)
      expect(waitingMost).toBeLessThan(behind / 10)
      writer.close()
      reader.close()
    },
  )
})
