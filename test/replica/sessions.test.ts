import { describe, expect, it } from 'vitest'
import type { Cut } from '../../src/replica/cut.ts'
import type { ClientResult, MissingEntry } from '../../src/replica/messages.ts'
import { makeOrigin, type Origin, type ServerId } from '../../src/replica/version.ts'
import { Mesh } from './mesh.ts'
import { originOf, versionOf } from './update-builder.ts'

function threeServers(): Mesh {
  const mesh = new Mesh({ servers: ['1', '2', '3'] })
  mesh.connectAll()
  for (const id of mesh.ids) tellMembers(mesh, id)
  mesh.settle()
  return mesh
}

/** What the shell tells: all servers there are but this one. */
function tellMembers(mesh: Mesh, id: ServerId, others: readonly ServerId[] = ['1', '2', '3']): void {
  mesh.step(id, { kind: 'members', ids: others.filter((other) => other !== id), unidentified: 0 })
}

function cut(entries: Readonly<Record<ServerId, number>>): Cut {
  return new Map(Object.entries(entries).map(([server, timestamp]) => [originOf(server), timestamp]))
}

/** An earlier run of server 1, of which nobody has anything. */
const formerOrigin = makeOrigin({ server: '1', incarnation: 'former' })

/** All answers that a server has given to client 1. */
function answersOf(mesh: Mesh, id: ServerId): readonly ClientResult[] {
  return mesh.outputs(id).flatMap((output) => output.reply.map(({ result }) => result))
}

function missingAt(mesh: Mesh, id: ServerId): readonly MissingEntry[] | undefined {
  const answer = answersOf(mesh, id).at(-1)
  return answer?.method === 'notCaughtUp' ? answer.missing : undefined
}

function read(mesh: Mesh, id: ServerId, key: string, after: Cut, timeoutMs = 1_000): void {
  mesh.request(id, { method: 'read', keys: [key], after, timeoutMs })
}

describe('a request that comes after a cut', () => {
  it('is carried out at once where the cut is applied (R9)', () => {
    const mesh = threeServers()
    mesh.write('1', 'x', 'lost')
    mesh.settle()
    read(mesh, '3', 'x', cut({ '1': 1 }))
    expect(answersOf(mesh, '3').at(-1)).toMatchObject({ values: [{ key: 'x', winner: { value: 'lost' } }] })
  })

  it('waits until the cut is applied, and then sees it: read your writes (R9)', () => {
    const mesh = threeServers()
    mesh.hold('1', '3')
    mesh.write('1', 'x', 'lost')
    mesh.settle()
    read(mesh, '3', 'x', cut({ '1': 1 }))
    mesh.run(500)
    expect(answersOf(mesh, '3')).toEqual([])
    mesh.release('1', '3')
    mesh.settle()
    expect(answersOf(mesh, '3').at(-1)).toMatchObject({ values: [{ key: 'x', winner: { value: 'lost' } }] })
  })

  it('has its write stamped after what it had seen: writes follow reads (R9)', () => {
    const mesh = threeServers()
    mesh.hold('1', '3')
    mesh.write('1', 'x', 'question')
    mesh.settle()
    mesh.request('3', { method: 'write', writes: [{ key: 'y', value: 'answer' }], after: cut({ '1': 1 }) })
    mesh.release('1', '3')
    mesh.settle()
    const [, answer] = mesh.applications('3')
    expect(answer).toMatchObject({ timestamp: 2, dependencies: { '1~a': 1 } })
  })

  it('names what is missing and who holds it when its time is up (R9)', () => {
    const mesh = threeServers()
    mesh.hold('1', '3')
    mesh.write('1', 'x', 'lost')
    mesh.run(100)
    read(mesh, '3', 'x', cut({ '1': 1 }), 300)
    mesh.run(250)
    expect(answersOf(mesh, '3')).toEqual([])
    mesh.run(100)
    expect(missingAt(mesh, '3')).toEqual([{ version: versionOf('1', 1), holders: ['1', '2'], lost: false }])
  })

  it('is told at once that a version is lost, when every member is connected and none has it (R9)', () => {
    const mesh = threeServers()
    mesh.down('1', '2')
    mesh.down('1', '3')
    mesh.write('1', 'x', 'seen by its writer only')
    mesh.crash('1')
    mesh.start('1', 'b')
    tellMembers(mesh, '1', mesh.ids)
    mesh.connectAll()
    mesh.run(100)
    read(mesh, '2', 'x', cut({ '1': 1 }))
    mesh.settle()
    mesh.run(50)
    expect(missingAt(mesh, '2')).toEqual([{ version: versionOf('1', 1), holders: [], lost: true }])
  })

  it('is not told so while a member is away that may have it (R9)', () => {
    const mesh = threeServers()
    mesh.crash('1')
    read(mesh, '2', 'x', cut({ '1': 7 }), 300)
    mesh.run(250)
    expect(answersOf(mesh, '2')).toEqual([])
    mesh.run(100)
    expect(missingAt(mesh, '2')).toMatchObject([{ lost: false }])
  })

  it('is not told so while it is unknown whose an address is, nor before the members are known (R9)', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.connectAll()
    tellMembers(mesh, '1', mesh.ids)
    read(mesh, '2', 'x', new Map([[formerOrigin, 7]]), 1_000)
    mesh.run(200)
    mesh.step('2', { kind: 'members', ids: ['1'], unidentified: 1 })
    mesh.run(50)
    expect(answersOf(mesh, '2')).toEqual([])
    mesh.step('2', { kind: 'members', ids: ['1'], unidentified: 0 })
    mesh.run(50)
    expect(missingAt(mesh, '2')).toMatchObject([{ lost: true }])
  })

  it('is not told so of a version whose server it has never been told of: it is a member all the same (R9)', () => {
    const mesh = threeServers()
    read(mesh, '2', 'x', cut({ '4': 7 }), 300)
    mesh.run(350)
    expect(missingAt(mesh, '2')).toMatchObject([{ lost: false }])
  })

  it('is not told so while a member that is asked does not reach all whom it knows of (R9)', () => {
    const mesh = threeServers()
    mesh.step('3', { kind: 'members', ids: ['1', '2', '4'], unidentified: 0 })
    read(mesh, '2', 'x', new Map([[formerOrigin, 7]]), 1_000)
    mesh.run(900)
    expect(answersOf(mesh, '2')).toEqual([])
    mesh.step('3', { kind: 'members', ids: ['1', '2'], unidentified: 0 })
    mesh.run(1_000)
    expect(missingAt(mesh, '2')).toMatchObject([{ lost: false }])
    read(mesh, '2', 'x', new Map([[formerOrigin, 7]]), 1_000)
    mesh.run(100)
    expect(missingAt(mesh, '2')).toMatchObject([{ lost: true }])
  })

  it('is not told so for what a member holds in its buffer, where its cause is still to come (R9)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3', '4'] })
    mesh.connectAll()
    for (const id of mesh.ids) tellMembers(mesh, id, mesh.ids)
    mesh.run(1_000)
    mesh.down('4', '3')
    mesh.write('4', 'cause', 1)
    mesh.deliver('4', '1')
    while (mesh.queued('4', '2').length > 0) mesh.drop('4', '2')
    mesh.write('1', 'x', 'effect')
    mesh.deliver('1', '3')
    expect(mesh.events('3', 'waiting')).toHaveLength(1)
    mesh.crash('1')
    mesh.start('1', 'b')
    mesh.connect('1', '2')
    mesh.connect('1', '3')
    mesh.connect('1', '4')
    read(mesh, '2', 'x', cut({ '1': 2 }), 5_000)
    mesh.run(3_000)
    expect(answersOf(mesh, '2').at(-1)).toMatchObject({ values: [{ winner: { value: 'effect' } }] })
  })

  it('is not told so of that either where something else that it has seen is lost (R9)', () => {
    const mesh = threeServers()
    mesh.down('1', '2')
    mesh.write('1', 'x', 'cause')
    mesh.drop('1', '3')
    mesh.write('1', 'x', 'effect')
    mesh.deliver('1', '3')
    expect(mesh.events('3', 'waiting')).toHaveLength(1)
    mesh.crash('1')
    mesh.start('1', 'b')
    tellMembers(mesh, '1', mesh.ids)
    mesh.connectAll()
    mesh.run(100)
    read(mesh, '2', 'x', new Map([[formerOrigin, 7], ...cut({ '1': 2 })]))
    mesh.run(100)
    expect(missingAt(mesh, '2')).toEqual([
      { version: { origin: formerOrigin, timestamp: 7 }, holders: [], lost: true },
      { version: versionOf('1', 2), holders: [], lost: false },
    ])
  })

  it('is not told so for what a peer has applied a moment ago and not yet told (R9)', () => {
    const mesh = threeServers()
    mesh.down('1', '2')
    mesh.write('1', 'x', 'by way of 3')
    mesh.deliver('1', '3')
    mesh.crash('1')
    mesh.start('1', 'b')
    mesh.connectAll()
    // 2 has heard 3's cut as it was before; only asking brings the news.
    read(mesh, '2', 'x', cut({ '1': 1 }))
    mesh.run(1_000)
    expect(answersOf(mesh, '2').at(-1)).toMatchObject({ values: [{ winner: { value: 'by way of 3' } }] })
  })

  it('names a hundred missing versions, what is lost before all else, and counts the others (R9)', () => {
    const mesh = threeServers()
    mesh.hold('1', '3')
    mesh.write('1', 'x', 'still to come')
    mesh.run(100)
    const lost = Array.from({ length: 150 }, (_, index) => [`1~former${index}` as Origin, 1] as const)
    read(mesh, '3', 'x', new Map([[originOf('1'), 1], ...lost]))
    mesh.run(50)
    const missing = missingAt(mesh, '3') ?? []
    expect(missing).toHaveLength(100)
    expect(missing.every((entry) => entry.lost)).toBe(true)
    expect(answersOf(mesh, '3').at(-1)).toMatchObject({ more: 51 })
  })

  it('is refused where as many wait as may (R9)', () => {
    const mesh = new Mesh({ servers: ['1'], limits: { parkedMax: 1 } })
    read(mesh, '1', 'x', cut({ '9': 1 }))
    read(mesh, '1', 'x', cut({ '9': 1 }))
    expect(answersOf(mesh, '1')).toEqual([{ method: 'refused', reason: 'tooManyWaiting' }])
  })

  it('is refused where those that wait hold as much as they may (R9)', () => {
    const mesh = new Mesh({ servers: ['1'], limits: { parkedBytesMax: 2_000 } })
    for (const length of [600, 600]) {
      const writes = [{ key: 'x', value: 'v'.repeat(length) }]
      mesh.request('1', { method: 'write', writes, after: cut({ '9': 1 }) })
    }
    expect(answersOf(mesh, '1')).toEqual([{ method: 'refused', reason: 'tooManyWaiting' }])
  })

  it('keeps its place among the requests of its client (R9)', () => {
    const mesh = new Mesh({ servers: ['1', '2'], limits: { appliedPerStepMax: 1 } })
    mesh.connectAll()
    mesh.hold('1', '2')
    mesh.write('1', 'cause', 1)
    const ask = (value: number) =>
      mesh.request('2', { method: 'write', writes: [{ key: 'x', value }], after: cut({ '1': 1 }) })
    for (const value of [1, 2, 3]) ask(value)
    mesh.release('1', '2')
    mesh.deliver('1', '2')
    mesh.deliver('1', '2')
    mesh.deliver('1', '2')
    ask(4)
    mesh.settle()
    expect(mesh.read('2', 'x')).toBe(4)
  })

  it('is forgotten with its client (R9)', () => {
    const mesh = threeServers()
    mesh.request('2', { method: 'write', writes: [{ key: 'x', value: 1 }], after: cut({ '1': 1 }) })
    mesh.step('2', { kind: 'clientGone', client: 1 })
    mesh.write('1', 'y', 1)
    mesh.run(100)
    expect(mesh.read('2', 'x')).toBeUndefined()
  })
})

describe('a watch that goes on from a cut', () => {
  it('is told to begin anew where what it has seen is lost (R11)', () => {
    const mesh = threeServers()
    mesh.write('2', 'x', 'kept')
    mesh.run(100)
    mesh.request('2', {
      method: 'watch',
      prefix: '',
      since: new Map([[formerOrigin, 9], ...cut({ '2': 1 })]),
    })
    mesh.run(100)
    expect(mesh.notifications('2').map(({ kind }) => kind)).toEqual([
      'caughtUp',
      'resync',
      'update',
      'caughtUp',
    ])
  })

  it('is told so whichever client it is of, though each client numbers its own watches (R11)', () => {
    const mesh = threeServers()
    const since = new Map([[formerOrigin, 9]])
    for (const client of [1, 2]) mesh.request('2', { method: 'watch', prefix: '', since }, client)
    mesh.step('2', { kind: 'clientGone', client: 3 })
    mesh.run(100)
    for (const client of [1, 2]) {
      const told = mesh.notifications('2', client).map(({ kind, watch }) => [kind, watch])
      expect(told).toEqual([
        ['caughtUp', 1],
        ['resync', 1],
        ['caughtUp', 1],
      ])
    }
  })

  it('is not, as long as what it has seen may still come (R11)', () => {
    const mesh = threeServers()
    mesh.down('1', '2')
    mesh.down('3', '2')
    mesh.write('1', 'x', 1)
    mesh.settle()
    mesh.request('2', { method: 'watch', prefix: '', since: cut({ '1': 1 }) })
    mesh.run(100)
    mesh.connectAll()
    mesh.run(500)
    expect(mesh.read('2', 'x')).toBe(1)
    expect(mesh.notifications('2').map(({ kind }) => kind)).toEqual(['caughtUp'])
  })
})
