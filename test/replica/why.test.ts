import { describe, expect, it } from 'vitest'
import type { Story } from '../../src/replica/messages.ts'
import { Mesh } from './mesh.ts'
import { buildUpdate, versionOf } from './update-builder.ts'

/** Servers 1, 2 and 3; x is everywhere, y is held between 1 and 3, z waits at 3 for y (design §6). */
function lostAndFound(): Mesh {
  const mesh = new Mesh({ servers: ['1', '2', '3'] })
  mesh.connectAll()
  mesh.write('1', 'x', 'lost')
  mesh.run(300)
  mesh.hold('1', '3')
  mesh.write('1', 'y', 'found')
  mesh.settle()
  mesh.write('2', 'z', 'glad')
  mesh.run(300)
  return mesh
}

/** The stories that a server has told so far. */
function stories(mesh: Mesh, id: string): readonly Story[] {
  return mesh
    .outputs(id)
    .flatMap(({ reply }) => reply.flatMap(({ result }) => (result.method === 'why' ? [result.story] : [])))
}

function why(mesh: Mesh, id: string, key: string): Story {
  mesh.request(id, { method: 'why', key })
  mesh.settle()
  const story = stories(mesh, id).at(-1)
  if (story === undefined) throw new Error('nobody answered')
  return story
}

describe('why', () => {
  it('names the version that is missing, its keys, who holds it, and the held link', () => {
    const mesh = lostAndFound()
    expect(mesh.read('3', 'z')).toBeUndefined()
    expect(why(mesh, '3', 'z')).toEqual({
      key: 'z',
      versions: [],
      waiting: [
        {
          version: versionOf('2', 3),
          from: '2',
          sinceMs: 300,
          waitsFor: [
            {
              version: versionOf('1', 2),
              keys: ['y'],
              waitsHere: false,
              holders: ['1', '2'],
              heldHolders: ['1'],
              link: { state: 'held', delayMs: 0, queued: 0 },
            },
          ],
        },
      ],
      missing: [],
      silent: [],
    })
  })

  it('says of a key that has not come that others have it', () => {
    const mesh = lostAndFound()
    expect(why(mesh, '3', 'y')).toMatchObject({
      versions: [],
      waiting: [],
      missing: [{ version: versionOf('1', 2), keys: ['y'], waitsHere: false, holders: ['1', '2'] }],
    })
  })

  it('has nothing to add to a key that is here and settled', () => {
    expect(why(lostAndFound(), '3', 'x')).toEqual({
      key: 'x',
      versions: [{ version: versionOf('1', 1), value: 'lost' }],
      waiting: [],
      missing: [],
      silent: [],
    })
  })

  it('says where the missing version is here itself, and waits for something else', () => {
    const mesh = lostAndFound()
    mesh.write('2', 'w', 'after glad')
    mesh.settle()
    expect(why(mesh, '3', 'w').waiting[0]?.waitsFor).toMatchObject([
      { version: versionOf('2', 3), keys: ['z'], waitsHere: true },
    ])
  })

  it('names nobody as the holder of what nobody has, over a link that does not exist', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.connectAll()
    mesh.settle()
    const updates = [buildUpdate({ server: '9', timestamp: 8, needs: { gone: 7 } })]
    mesh.step('2', { kind: 'message', from: '1', message: { kind: 'updates', updates } })
    expect(why(mesh, '2', 'k').waiting[0]?.waitsFor).toEqual([
      { version: versionOf('gone', 7), waitsHere: false, holders: [], heldHolders: [], link: 'absent' },
    ])
  })

  it('names the servers that it could not ask, so that silence is not taken for ignorance', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.up('2', '1')
    mesh.write('1', 'island', 1)
    mesh.settle()
    expect(why(mesh, '2', 'island')).toMatchObject({ versions: [], missing: [], silent: ['1'] })
  })

  it('is answered at once where nobody is connected', () => {
    const mesh = new Mesh({ servers: ['1'] })
    mesh.write('1', 'x', 1)
    const { reply } = mesh.request('1', { method: 'why', key: 'x' })
    expect(reply).toHaveLength(1)
  })

  it('waits for the others no longer than its deadline, and names those that were silent', () => {
    const mesh = lostAndFound()
    mesh.request('3', { method: 'why', key: 'z' })
    while (mesh.deliver('3', '2'));
    while (mesh.deliver('2', '3'));
    mesh.tick(499)
    expect(stories(mesh, '3')).toEqual([])
    mesh.tick(1)
    expect(stories(mesh, '3')).toMatchObject([{ silent: ['1'] }])
    // What comes after the deadline changes nothing and disturbs nobody.
    mesh.settle()
    expect(stories(mesh, '3')).toHaveLength(1)
  })

  it('does not wait for a server that goes away', () => {
    const mesh = lostAndFound()
    mesh.request('3', { method: 'why', key: 'z' })
    mesh.disconnect('1', '3')
    mesh.settle()
    expect(stories(mesh, '3')).toHaveLength(1)
  })

  it('still waits for a server that has restarted, when the end of its old connection is heard of late (R7)', () => {
    const mesh = lostAndFound()
    const old = mesh.originOf('2')
    mesh.crash('2')
    mesh.start('2', 'b')
    mesh.connectAll()
    mesh.run(1_000)
    mesh.request('3', { method: 'why', key: 'z' })
    mesh.step('3', { kind: 'peerSilent', peer: '2', origin: old })
    mesh.step('3', { kind: 'linkDown', peer: '2', origin: old })
    while (mesh.deliver('3', '1'));
    while (mesh.deliver('1', '3'));
    expect(stories(mesh, '3')).toEqual([])
    mesh.tick(500)
    expect(stories(mesh, '3')).toMatchObject([{ silent: ['2'] }])
  })

  it('still names the cause when the link was cut: the cut is the last thing that is told', () => {
    const mesh = lostAndFound()
    const cut = { state: 'cut', delayMs: 0, queued: 0 } as const
    mesh.step('3', { kind: 'message', from: '1', message: { kind: 'link', state: cut } })
    mesh.down('1', '3')
    expect(why(mesh, '3', 'z').waiting[0]?.waitsFor[0]?.link).toEqual(cut)
  })

  it('of a client that goes away is answered to nobody', () => {
    const mesh = lostAndFound()
    mesh.request('3', { method: 'why', key: 'z' })
    mesh.step('3', { kind: 'clientGone', client: 1 })
    mesh.run(1_000)
    expect(stories(mesh, '3')).toEqual([])
  })

  it('keeps several questions apart', () => {
    const mesh = lostAndFound()
    for (const key of ['y', 'z', 'x']) mesh.request('3', { method: 'why', key }, 5)
    mesh.settle()
    expect(stories(mesh, '3').map(({ key, missing }) => [key, missing.length])).toEqual([
      ['y', 1],
      ['z', 0],
      ['x', 0],
    ])
  })
})
