import { describe, expect, it } from 'vitest'
import type { ClientResult } from '../../src/replica/messages.ts'
import { DurableMesh } from './durable-mesh.ts'

async function answerOf(
  mesh: DurableMesh,
  id: string,
  request: Parameters<DurableMesh['ask']>[1],
): Promise<ClientResult | undefined> {
  const answer = mesh.ask(id, request)
  await mesh.settle()
  return answer()
}

describe('the losing write of a conflict', () => {
  it('replicant-client #41: it is told once, in memory, to whoever has registered for it, and is gone if nobody has or the client crashes — here it is kept on every disk, listed until somebody who has seen it writes, and the same everywhere (R5, R6)', async () => {
    const mesh = new DurableMesh()
    for (const id of ['1', '2']) mesh.start(id, { incarnation: 'a' })
    mesh.write('1', 'song', 'recorded in the studio')
    mesh.write('2', 'song', 'recorded on the train')
    await mesh.settle()
    // Nobody watches, and nobody has asked to be told.
    mesh.connectAll()
    await mesh.run(500)
    for (const id of ['1', '2']) expect(mesh.events(id, 'conflict')).toHaveLength(1)
    // Both crash before anybody has saved anything.
    const disks = ['1', '2'].map((id) => mesh.crash(id))
    for (const [index, id] of ['1', '2'].entries()) {
      const disk = disks[index]
      if (disk === undefined) throw new Error('each has a disk')
      mesh.start(id, { incarnation: 'b', disk })
    }
    const versions = [
      { value: 'recorded on the train', version: { timestamp: 1, origin: '2~a' } },
      { value: 'recorded in the studio', version: { timestamp: 1, origin: '1~a' } },
    ]
    for (const id of ['1', '2']) {
      // The same on both, so that whoever saves the loser saves one copy and not two.
      expect(await answerOf(mesh, id, { method: 'conflicts', prefix: '' })).toMatchObject({
        keys: [{ key: 'song', versions }],
      })
      expect(await answerOf(mesh, id, { method: 'read', keys: ['song'] })).toMatchObject({
        values: [{ winner: versions[0], conflicts: [versions[1]] }],
      })
    }
    mesh.connectAll()
    await mesh.run(500)
    mesh.write('1', 'song', 'both, mixed')
    await mesh.run(500)
    for (const id of ['1', '2']) {
      expect(await answerOf(mesh, id, { method: 'conflicts', prefix: '' })).toMatchObject({ keys: [] })
      expect(mesh.valueAt(id, 'song')).toBe('both, mixed')
    }
  })

  it('replicant-client #41: two devices that both resolve a conflict make two more copies — here two resolutions that did not know of each other are one conflict of two, and whatever they had both seen is gone (R5)', async () => {
    const mesh = new DurableMesh()
    for (const id of ['1', '2', '3']) mesh.start(id, { incarnation: 'a' })
    for (const id of ['1', '2', '3']) mesh.write(id, 'song', `take ${id}`)
    await mesh.settle()
    mesh.connectAll()
    await mesh.run(500)
    expect(mesh.replica('1').siblingsOf('song')).toHaveLength(3)
    mesh.disconnect('1', '2')
    for (const other of ['1', '2']) mesh.disconnect('3', other)
    for (const id of ['1', '2']) mesh.write(id, 'song', `mixed at ${id}`)
    await mesh.settle()
    mesh.connectAll()
    await mesh.run(500)
    for (const id of ['1', '2', '3']) {
      const values = mesh
        .replica(id)
        .siblingsOf('song')
        ?.map(({ value }) => value)
      expect(values).toEqual(['mixed at 2', 'mixed at 1'])
    }
  })
})
