import { describe, expect, it } from 'vitest'
import type { Story } from '../../src/replica/messages.ts'
import { Mesh } from '../replica/mesh.ts'
import { buildUpdate, hand, versionOf } from '../replica/update-builder.ts'
import { DurableMesh } from './durable-mesh.ts'

function why(mesh: Mesh, id: string, key: string): Story {
  const asked = mesh.outputs(id).length
  mesh.request(id, { method: 'why', key })
  mesh.settle()
  for (const { reply } of mesh.outputs(id).slice(asked)) {
    for (const { result } of reply) if (result.method === 'why') return result.story
  }
  throw new Error('nobody told the story')
}

describe('an update that waits for its causes', () => {
  it('Automerge classic #400: changes that were taken show no effect, because one before them has not come, and nothing says so — here what waits is counted, listed, told to the operator, and `why` names what is missing, who has it and what holds it up (R3)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connectAll()
    mesh.settle()
    // The first change gets lost on its way to 3, as the one is that Automerge makes unseen; the second depends on it.
    mesh.hold('1', '3')
    const first = mesh.write('1', 'document', 'made')
    mesh.settle()
    const second = mesh.write('2', 'title', 'on it')
    mesh.run(300)
    expect(second.dependencies).toEqual({ [first.origin]: first.timestamp })
    // It has arrived, and a reader sees nothing of it.
    expect(mesh.sent('2', '3', 'updates')).toHaveLength(1)
    expect(mesh.read('3', 'title')).toBeUndefined()

    expect(mesh.answer('3', 'status', { method: 'status' }).status.waiting).toBe(1)
    expect(mesh.answer('3', 'waiting', { method: 'waiting' }).waiting).toEqual([
      {
        keys: ['title'],
        version: versionOf('2', 2),
        waitsFor: [versionOf('1', 1)],
        from: '2',
        sinceMs: 300,
      },
    ])
    expect(mesh.events('3', 'waiting')).toMatchObject([{ from: '2', waitsFor: [versionOf('1', 1)] }])
    expect(why(mesh, '3', 'title').waiting).toMatchObject([
      {
        version: versionOf('2', 2),
        waitsFor: [
          {
            version: versionOf('1', 1),
            keys: ['document'],
            holders: ['1', '2'],
            heldHolders: ['1'],
            link: { state: 'held' },
          },
        ],
      },
    ])
    mesh.release('1', '3')
    mesh.settle()
    expect(mesh.read('3', 'title')).toBe('on it')
    expect(mesh.events('3', 'applied').at(-1)).toMatchObject({ update: second, waitedMs: 300 })
  })

  it('automerge #599: a change that is queued for its cause is not saved, and a document that was loaded again lacks it for good — here what waits is a cache, and what was in it is fetched again after a restart (R3, R8)', async () => {
    const mesh = new DurableMesh()
    for (const id of ['1', '2', '3']) mesh.start(id, { incarnation: 'a' })
    mesh.connectAll()
    await mesh.settle()
    // Like doc1 there, 3 gets the third change without the second.
    mesh.write('1', 'field', 'one')
    await mesh.run(200)
    mesh.disconnect('1', '3')
    mesh.write('1', 'field', 'two')
    await mesh.settle()
    mesh.write('2', 'field', 'three')
    await mesh.settle()
    const waiting = () => mesh.ask('3', { method: 'status' })
    const before = waiting()
    await mesh.settle()
    expect(before()).toMatchObject({ status: { waiting: 1 } })
    expect(mesh.valueAt('3', 'field')).toBe('one')

    // It is saved and loaded, and what was queued is not there any more.
    const disk = await mesh.stop('3')
    const copy = disk.copy()
    mesh.start('3', { incarnation: 'b', disk })
    const after = waiting()
    await mesh.settle()
    expect(after()).toMatchObject({ status: { waiting: 0 } })
    // Control: given just the change that had been missing, as there, it is one behind the others for good.
    const control = new DurableMesh()
    control.start('3', { incarnation: 'c', disk: copy })
    const second = buildUpdate({
      server: '1',
      timestamp: 2,
      previous: 1,
      writes: [{ key: 'field', value: 'two' }],
    })
    hand(control.replica('3'), '1', second)
    expect(control.valueAt('3', 'field')).toBe('two')

    mesh.connectAll()
    await mesh.run(1_000)
    expect(mesh.valueAt('3', 'field')).toBe('three')
    expect(mesh.state('3')).toEqual(mesh.state('1'))
    expect(mesh.state('3')).toEqual(mesh.state('2'))
  })
})
