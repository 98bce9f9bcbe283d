import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { Version } from '../../src/replica/version.ts'
import { ServerProcess, startMesh, stopServers } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'
import { Mesh } from '../replica/mesh.ts'
import { buildUpdate, freshReplica, hand, versionOf } from '../replica/update-builder.ts'
import { DurableMesh } from './durable-mesh.ts'

afterAll(stopServers)
afterEach(stopServers)

function versionOfAnswer(answer: ReturnType<ReturnType<DurableMesh['ask']>>): Version {
  if (answer?.method !== 'write') throw new Error(`a write was answered with ${JSON.stringify(answer)}`)
  return answer.version
}

describe('a server that has lost its data', () => {
  it('Riak kv #679: the coordinator of a write counts from the beginning again, and the others take the new write for an old one — here each start has a name of its own, and the new write is kept (R5, R7)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connectAll()
    for (let count = 1; count <= 5; count++) mesh.write('3', 'k', `old ${count}`)
    mesh.run(500)
    mesh.crash('3')
    mesh.start('3', 'b')
    expect(mesh.read('3', 'k')).toBeUndefined()
    // It takes a write before it can have heard of anything, and begins at 1, where it has been before.
    const fresh = mesh.write('3', 'k', 'new')
    expect(fresh.timestamp).toBe(1)
    expect(mesh.replica('1').applied.get(versionOf('3', 5).origin)).toBe(5)
    // Control: under the old name it would be one of those that everybody has seen, and be dropped without a word.
    const reissued = buildUpdate({ server: '3', timestamp: 1, writes: fresh.writes })
    expect(hand(mesh.replica('1'), '3', reissued)).toMatchObject({ persist: [], events: [], refuse: [] })
    expect(mesh.replica('1').siblingsOf('k')).toHaveLength(1)

    mesh.connectAll()
    mesh.run(1_000)
    expect(mesh.state('3')).toEqual(mesh.state('1'))
    expect(mesh.state('3')).toEqual(mesh.state('2'))
    expect(
      mesh
        .replica('1')
        .siblingsOf('k')
        ?.map(({ value }) => value),
    ).toEqual(['old 5', 'new'])
  })

  it('Riak kv #679: a tombstone that was kept for an absent replica overwrites the key that was created again meanwhile — here it is older, and known to be (R1, R5, R12)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connectAll()
    mesh.write('1', 'k', 'first')
    mesh.run(500)
    // The tombstone gets to 2, which is then cut off with it, as a fallback is that hands off late.
    mesh.disconnect('1', '3')
    mesh.delete('1', 'k')
    while (mesh.deliver('1', '2'));
    for (const other of ['1', '3']) mesh.disconnect('2', other)
    mesh.write('1', 'k', 'created again')
    expect(mesh.replica('2').siblingsOf('k')).toMatchObject([{ deleted: true }])
    mesh.connect('2', '3')
    mesh.run(1_000)
    // It arrives at 3 before the new value does, and at 1 after it.
    expect(mesh.replica('3').siblingsOf('k')).toMatchObject([{ deleted: true }])
    mesh.connectAll()
    mesh.run(1_000)
    for (const id of mesh.ids) {
      expect(mesh.replica(id).siblingsOf('k')).toMatchObject([{ value: 'created again' }])
    }
  })

  it('Automerge classic #92: a device that has yet to get back its own changes makes a new one, under a number that it has used — here its write is new to all, though an update of its own past is still missing (R3, R7)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connectAll()
    for (const key of ['a', 'b']) mesh.write('3', key, `of the first run, ${key}`)
    mesh.run(500)
    mesh.crash('3')
    mesh.write('1', 'c', 'after both')
    mesh.run(500)
    mesh.start('3', 'b')
    // Of all that there is, it gets only what follows its own past.
    mesh.up('1', '3')
    while (mesh.deliver('1', '3'));
    expect(mesh.answer('3', 'waiting', { method: 'waiting' }).waiting).toMatchObject([
      { keys: ['c'], waitsFor: [versionOf('3', 2)] },
    ])
    const written = mesh.write('3', 'd', 'of the second run')
    expect(written.timestamp).toBe(1)
    // Control: there is a change with this number, and under the same name the two are one, with two contents.
    const reused = buildUpdate({ server: '3', timestamp: 1, writes: written.writes })
    expect(
      mesh.applications('1').find(({ origin, timestamp }) => origin === reused.origin && timestamp === 1),
    ).toMatchObject({ writes: [{ key: 'a' }] })

    mesh.connectAll()
    mesh.run(1_000)
    expect(mesh.refusals('1')).toEqual([])
    for (const id of mesh.ids) {
      expect(mesh.state(id)).toEqual(mesh.state('1'))
      expect(['a', 'b', 'c', 'd'].map((key) => mesh.read(id, key))).toEqual([
        'of the first run, a',
        'of the first run, b',
        'after both',
        'of the second run',
      ])
    }
  })
})

describe('one server in two places', () => {
  it('DEPs #43: a log that goes on from a backup, or on two devices, has two histories, and nobody replicates it any further — here the copy is a new origin, and both histories are kept (R7)', async () => {
    const mesh = new DurableMesh()
    for (const id of ['1', '2', '3']) mesh.start(id, { incarnation: 'a' })
    mesh.connectAll()
    mesh.write('3', 'chapter 1', 'on both devices')
    await mesh.run(500)
    const backup = mesh.copyOfDisk('3')
    const onFirst = mesh.write('3', 'chapter 2', 'on the first device')
    await mesh.run(500)

    const second = new DurableMesh()
    second.start('3', { incarnation: 'b', disk: backup.copy() })
    expect(second.valueAt('3', 'chapter 2')).toBeUndefined()
    const onSecond = second.write('3', 'chapter 2', 'on the second device')
    await second.settle()
    // Both have appended to the same beginning, at the same place.
    expect(versionOfAnswer(onSecond()).timestamp).toBe(versionOfAnswer(onFirst()).timestamp)
    // Control: going on under the name in the folder, they have given one version to two updates.
    const forked = new DurableMesh()
    forked.start('3', { incarnation: 'a', disk: backup })
    const inTheFork = forked.write('3', 'chapter 2', 'on the second device')
    await forked.settle()
    expect(versionOfAnswer(inTheFork())).toEqual(versionOfAnswer(onFirst()))

    // The first device is switched off, and the second takes its place among the others.
    mesh.crash('3')
    mesh.start('3', { incarnation: 'c', disk: second.crash('3') })
    mesh.connectAll()
    await mesh.run(1_000)
    for (const id of ['1', '2', '3']) {
      expect(mesh.state(id)).toEqual(mesh.state('1'))
      expect(
        mesh
          .replica(id)
          .siblingsOf('chapter 2')
          ?.map(({ value }) => value),
      ).toEqual(['on the second device', 'on the first device'])
    }
    // Its operator learns that the folder is not what it was (R7), and it goes on.
    expect(mesh.events('3', 'restored')).toMatchObject([{ origin: '3~a', here: 1, there: 2 }])
    mesh.write('3', 'chapter 3', 'the story goes on')
    await mesh.run(500)
    expect(mesh.valueAt('1', 'chapter 3')).toBe('the story goes on')
  })

  it('OrbitDB #513: one identity on two devices gives two entries the same clock and the same name, and each reader orders them its own way — here no two starts share a name, and the order is total (R1, R7)', () => {
    const onPhone = buildUpdate({
      server: '1',
      timestamp: 1,
      key: 'note',
      writes: [{ key: 'note', value: 'phone' }],
    })
    const onLaptop = { ...onPhone, writes: [{ key: 'note', value: 'laptop' }] }
    const read = (...updates: readonly (typeof onPhone)[]): unknown => {
      const replica = freshReplica({ server: 'reader' })
      for (const update of updates) hand(replica, '1', update)
      return replica.siblingsOf('note')?.map(({ value }) => value)
    }
    // Control: with one name they are one version with two contents, and whoever comes first has it.
    expect(read(onPhone, onLaptop)).toEqual(['phone'])
    expect(read(onLaptop, onPhone)).toEqual(['laptop'])

    // Two devices with the same id, each of which takes a write as its first.
    const [phone, laptop] = ['p', 'l'].map((incarnation) => {
      const mesh = new Mesh({ servers: [] })
      mesh.start('1', incarnation)
      return mesh.write('1', 'note', incarnation === 'p' ? 'phone' : 'laptop')
    })
    if (phone === undefined || laptop === undefined) throw new Error('there are two devices')
    expect(phone.timestamp).toBe(laptop.timestamp)
    expect(read(phone, laptop)).toEqual(['phone', 'laptop'])
    expect(read(laptop, phone)).toEqual(['phone', 'laptop'])
  })

  it('OrbitDB #513: and while both devices run, the second is refused and told where the first is (R7)', async () => {
    const [first, other] = await startMesh(2)
    if (first === undefined || other === undefined) throw new Error('two servers were to start')
    const second = new ServerProcess({ id: first.id, peers: [other.port] })
    expect((await second.exit()).code).toBe(5)
    expect(second.stderr).toContain(`server id ${first.id} is in use by a running server at ${first.address}`)
    const client = await RawClient.connect(first.port)
    await client.call('write', { key: 'note', value: 'from the first' })
    await other.applied('note')
    client.close()
  })
})
