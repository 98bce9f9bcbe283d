import { describe, expect, it } from 'vitest'
import type { ClientResult, RequestStamp } from '../../src/replica/messages.ts'
import type { ServerId } from '../../src/replica/version.ts'
import { Mesh } from './mesh.ts'
import { versionOf } from './update-builder.ts'

function twoServers(options?: Partial<ConstructorParameters<typeof Mesh>[0]>): Mesh {
  const mesh = new Mesh({ servers: ['1', '2'], ...options })
  mesh.connectAll()
  mesh.settle()
  return mesh
}

function write(mesh: Mesh, id: ServerId, value: number, request: RequestStamp): ClientResult | undefined {
  return mesh.request(id, { method: 'write', writes: [{ key: 'x', value }], request }).reply[0]?.result
}

const session = 's'
const unknown = { method: 'refused', reason: 'outcomeUnknown' }

describe('a write that carries a request', () => {
  it('gets the first answer when it is met again on the same server (R10)', () => {
    const mesh = twoServers()
    const first = write(mesh, '1', 1, { session, number: 1 })
    expect(write(mesh, '1', 1, { session, number: 1, retry: true })).toEqual(first)
    expect(mesh.applications('1')).toHaveLength(1)
  })

  it('gets the first answer on another server that has applied it (R10)', () => {
    const mesh = twoServers()
    const first = write(mesh, '1', 1, { session, number: 1 })
    mesh.settle()
    expect(write(mesh, '2', 1, { session, number: 1, retry: true })).toEqual(first)
    expect(mesh.applications('2')).toHaveLength(1)
  })

  it('has an unknown outcome on a server that does not know it, and writes nothing there (R10)', () => {
    const mesh = twoServers()
    mesh.hold('1', '2')
    write(mesh, '1', 1, { session, number: 1 })
    expect(write(mesh, '2', 1, { session, number: 1, retry: true })).toEqual(unknown)
    expect(mesh.applications('2')).toEqual([])
  })

  it('is carried out by such a server where it is told to do it again (R10)', () => {
    const mesh = twoServers()
    expect(write(mesh, '2', 1, { session, number: 1, retry: 'again' })).toEqual({
      method: 'write',
      version: versionOf('2', 1),
    })
    expect(write(mesh, '2', 1, { session, number: 1, retry: 'again' })).toMatchObject({
      version: versionOf('2', 1),
    })
    expect(mesh.applications('2')).toHaveLength(1)
  })

  it('is invalid with other content (R10)', () => {
    const mesh = twoServers()
    write(mesh, '1', 1, { session, number: 1 })
    const reused = { method: 'refused', reason: 'requestReused' }
    expect(write(mesh, '1', 2, { session, number: 1 })).toEqual(reused)
    mesh.settle()
    expect(write(mesh, '2', 2, { session, number: 1, retry: 'again' })).toEqual(reused)
  })

  it('at or below the highest number let go is never carried out, whatever it says (R10)', () => {
    const mesh = twoServers({
      limits: { requests: { answersPerSessionMax: 2, answersMax: 9, sessionsMax: 9 } },
    })
    for (const number of [1, 2, 3]) write(mesh, '1', number, { session, number })
    mesh.settle()
    for (const id of mesh.ids) {
      expect(write(mesh, id, 1, { session, number: 1 })).toEqual(unknown)
      expect(write(mesh, id, 1, { session, number: 1, retry: 'again' })).toEqual(unknown)
      expect(write(mesh, id, 2, { session, number: 2, retry: true })).toMatchObject({
        version: versionOf('1', 2),
      })
      expect(mesh.applications(id)).toHaveLength(3)
    }
  })

  it('carried out at two servers has the same answer everywhere (R10)', () => {
    const mesh = twoServers()
    mesh.down('1', '2')
    mesh.down('2', '1')
    write(mesh, '1', 1, { session, number: 1 })
    write(mesh, '2', 1, { session, number: 1, retry: 'again' })
    mesh.connectAll()
    mesh.run(500)
    const answers = mesh.ids.map((id) => write(mesh, id, 1, { session, number: 1, retry: true }))
    expect(answers).toEqual(mesh.ids.map(() => ({ method: 'write', version: versionOf('1', 1) })))
  })

  it('is known to a server that learnt of it by a snapshot (R8, R10)', () => {
    const mesh = new Mesh({ servers: ['1', '2'], limits: { log: { updatesMax: 2, bytesMax: 1_000 } } })
    const first = write(mesh, '1', 1, { session, number: 1 })
    for (let count = 0; count < 20; count++) mesh.write('1', 'y', count)
    mesh.connectAll()
    mesh.run(1_000)
    expect(mesh.events('2', 'installed')).not.toEqual([])
    expect(write(mesh, '2', 1, { session, number: 1, retry: true })).toEqual(first)
  })

  it('that waits for its cut is carried out once, though it came twice (R9, R10)', () => {
    const mesh = twoServers()
    mesh.hold('1', '2')
    mesh.write('1', 'cause', 1)
    const after = new Map([[mesh.originOf('1'), 1]])
    const writes = [{ key: 'x', value: 1 }]
    mesh.request('2', { method: 'write', writes, after, request: { session, number: 1 } })
    mesh.request('2', { method: 'write', writes, after, request: { session, number: 1, retry: true } })
    mesh.release('1', '2')
    mesh.settle()
    const own = mesh.applications('2').filter(({ origin }) => origin === mesh.originOf('2'))
    expect(own).toHaveLength(1)
  })
})
