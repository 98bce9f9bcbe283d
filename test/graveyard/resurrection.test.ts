import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { DataFolder, removeDataFolders } from '../durability/data-folder.ts'
import { Trio } from '../durability/trio.ts'
import { RawClient } from '../integration/raw-client.ts'
import { stopServers, waitMsMax } from '../integration/processes.ts'
import { Mesh } from '../replica/mesh.ts'
import { DurableMesh } from './durable-mesh.ts'

afterEach(async () => {
  await stopServers()
  await removeDataFolders()
})
afterAll(stopServers)

/** So short that whoever was away is brought up to date with the whole state, as by a full resynchronisation. */
const shortLog = { log: { updatesMax: 8, bytesMax: 100_000 } }

/** The keys with a value. */
function keysAt(mesh: Mesh | DurableMesh, id: string): readonly string[] {
  return [...mesh.replica(id).entries()].filter(([, [winner]]) => winner.deleted !== true).map(([key]) => key)
}

/** What two servers have that give each other whatever the other lacks, and know nothing of deletions. */
function union(a: readonly string[], b: readonly string[]): readonly string[] {
  return [...new Set([...a, ...b])].toSorted()
}

describe('deleted keys', () => {
  it('KeyDB #447: a key that was deleted during a split is put back by the first full synchronisation — here a tombstone is part of the state and overwrites what its writer had seen (R5, R12)', () => {
    const mesh = new Mesh({ servers: ['1', '2'], limits: shortLog })
    mesh.connectAll()
    mesh.write('1', 'key', 'here before the split')
    mesh.run(500)
    mesh.disconnect('1', '2')
    mesh.delete('1', 'key')
    for (let count = 0; count < 30; count++) {
      mesh.write('1', 'west', count)
      mesh.write('2', 'east', count)
    }
    expect(mesh.read('1', 'key')).toBeUndefined()
    expect(mesh.read('2', 'key')).toBe('here before the split')
    // Control: without tombstones the one that still has it gives it back.
    expect(union(keysAt(mesh, '1'), keysAt(mesh, '2'))).toContain('key')

    mesh.connectAll()
    mesh.run(3_000)
    // Neither log reached back: both sides got the other's whole state.
    for (const [from, to] of [
      ['1', '2'],
      ['2', '1'],
    ] as const) {
      expect(mesh.sent(from, to, 'snapshot').length).toBeGreaterThan(0)
    }
    expect(mesh.state('1')).toEqual(mesh.state('2'))
    expect(keysAt(mesh, '2')).toEqual(['east', 'west'])
    expect(mesh.answer('2', 'status', { method: 'status' }).status).toMatchObject({
      tombstones: 1,
      conflicts: 0,
    })
  })

  it('KeyDB #442: keys that were deleted while a server was shut down reappear when it starts again — here what it brings from its disk is older than their tombstones (R5, R12)', async () => {
    const mesh = new DurableMesh({ limits: shortLog })
    mesh.start('VM1', { incarnation: 'a' })
    mesh.start('VM2', { incarnation: 'a' })
    mesh.connectAll()
    for (const key of ['key-1', 'key-2', 'key-3']) mesh.write('VM1', key, 1)
    await mesh.run(500)
    // One is deleted while both are there, the others while VM1 is not.
    mesh.writeAll('VM1', [{ key: 'key-1', deleted: true }])
    await mesh.run(500)
    const disk = await mesh.stop('VM1')
    for (const key of ['key-2', 'key-3']) mesh.writeAll('VM2', [{ key, deleted: true }])
    for (let count = 0; count < 30; count++) mesh.write('VM2', 'other', count)
    await mesh.run(500)
    expect(keysAt(mesh, 'VM2')).toEqual(['other'])

    mesh.start('VM1', { incarnation: 'b', disk })
    expect(keysAt(mesh, 'VM1')).toEqual(['key-2', 'key-3'])
    // Control: a merge of what both have brings back two of three, as it did there.
    expect(union(keysAt(mesh, 'VM1'), keysAt(mesh, 'VM2'))).toEqual(['key-2', 'key-3', 'other'])
    mesh.connectAll()
    await mesh.run(2_000)
    expect(mesh.state('VM1')).toEqual(mesh.state('VM2'))
    expect(keysAt(mesh, 'VM1')).toEqual(['other'])
  })

  it('KeyDB #83: of three servers one is down while a key is deleted, and the key is back once it has joined again — here the deletion reaches it, and it gives nothing back (R5, R8)', async () => {
    const trio = await Trio.start(await DataFolder.make())
    const client = await RawClient.connect(trio.ports['1'])
    for (const id of ['1', '2', '3'] as const) {
      const own = await RawClient.connect(trio.ports[id])
      await own.call('write', { key: 'mycounter', value: `written at ${id}` })
      own.close()
    }
    const before = await trio.agreed([], waitMsMax)
    expect(before.keys['mycounter']).toBeDefined()
    await trio.server('3').stop()
    await client.call('delete', { key: 'mycounter' })

    const again = await trio.start('3')
    // Its disk still has the key, with a value.
    expect(await again.event('recovered')).toMatchObject({ isFresh: false, keys: 1 })
    await trio.meshed()
    const after = await trio.agreed(['mycounter'], waitMsMax)
    expect(after.counts).toEqual({ keys: 0, tombstones: 1, conflicts: 0 })
    expect(after.keys['mycounter']).toEqual([{ version: expect.any(Array) }])
    client.close()
  })

  it('Riak #311: a tombstone is reaped before every replica has it, so that the old value is repaired back — here it stays, however long that takes (R12)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'], limits: shortLog })
    mesh.connectAll()
    mesh.write('1', 'foo', '9698')
    mesh.run(500)
    for (const other of ['1', '2']) mesh.disconnect('3', other)
    const { timestamp, origin } = mesh.delete('1', 'foo')
    mesh.run(500)
    // Whoever can be asked has the tombstone; one replica has an older version of the key.
    expect(mesh.replica('2').siblingsOf('foo')).toMatchObject([{ deleted: true }])
    expect(mesh.read('3', 'foo')).toBe('9698')
    // Control: who reaps it now, after a round of reports, has nothing to set against that version.
    const reaped = keysAt(mesh, '1').filter((key) => key !== 'foo')
    expect(union(reaped, keysAt(mesh, '3'))).toContain('foo')

    for (let count = 0; count < 30; count++) mesh.write('2', 'busy', count)
    // A day; Riak keeps a tombstone for three seconds by default.
    mesh.run(24 * 3_600_000, 60_000)
    expect(mesh.replica('1').logStart).toBeGreaterThan(2)
    mesh.connectAll()
    mesh.run(2_000)
    for (const id of mesh.ids) {
      expect(mesh.replica(id).siblingsOf('foo')).toEqual([{ version: { timestamp, origin }, deleted: true }])
    }
  })

  it('Riak #311: and where every server has reported the tombstone, a backup or a write still on its way has not — here neither brings the key back in silence (R5, R12)', async () => {
    const mesh = new DurableMesh({ limits: shortLog })
    for (const id of ['1', '2', '3', '4']) mesh.start(id, { incarnation: 'a' })
    for (const [a, b] of [
      ['1', '2'],
      ['1', '3'],
      ['2', '3'],
    ] as const) {
      mesh.connect(a, b)
    }
    mesh.write('1', 'foo', '9698')
    await mesh.run(500)
    const backup = mesh.copyOfDisk('3')
    // A newcomer has written the key too, and nobody has heard of it yet.
    mesh.write('4', 'foo', 'from elsewhere')
    mesh.writeAll('1', [{ key: 'foo', deleted: true }])
    for (let count = 0; count < 30; count++) mesh.write('2', 'busy', count)
    await mesh.run(500)
    for (const id of ['1', '2', '3']) {
      expect(mesh.replica(id).siblingsOf('foo')).toMatchObject([{ deleted: true }])
    }
    mesh.crash('3')
    mesh.start('3', { incarnation: 'b', disk: backup })
    expect(mesh.valueAt('3', 'foo')).toBe('9698')
    // Control: after that round of reports a reaper would have dropped it, and would get both versions as new ones.
    const reaped = keysAt(mesh, '1').filter((key) => key !== 'foo')
    for (const id of ['3', '4']) expect(union(reaped, keysAt(mesh, id))).toContain('foo')

    mesh.connectAll()
    await mesh.run(3_000)
    for (const id of ['1', '2', '3', '4']) {
      // What the deletion had seen stays deleted. What it had not seen is a conflict, for somebody to decide.
      expect(mesh.replica(id).siblingsOf('foo')).toMatchObject([
        { deleted: true },
        { value: 'from elsewhere' },
      ])
    }
  })
})
