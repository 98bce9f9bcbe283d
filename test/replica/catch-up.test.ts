import { describe, expect, it } from 'vitest'
import { Mesh } from './mesh.ts'
import type { Origin } from '../../src/replica/version.ts'
import { buildUpdate, originOf } from './update-builder.ts'

const pullAfterMs = 200
const pullTimeoutMs = 5_000

/** Three servers, all connected and quiet. */
function threeServers(options?: Partial<ConstructorParameters<typeof Mesh>[0]>): Mesh {
  const mesh = new Mesh({ servers: ['1', '2', '3'], ...options })
  mesh.connectAll()
  mesh.settle()
  return mesh
}

function timestampsOf(updates: readonly { readonly timestamp: number }[]): readonly number[] {
  return updates.map(({ timestamp }) => timestamp)
}

describe('a server that keeps up', () => {
  it('is pushed each update as it happens, and nobody pulls (R8)', () => {
    const mesh = threeServers()
    for (const key of ['a', 'b', 'c']) {
      mesh.write('1', key, key)
      mesh.run(1_000)
    }
    expect(mesh.read('3', 'c')).toBe('c')
    for (const id of ['2', '3']) expect(mesh.sent(id, '1', 'pull')).toEqual([])
    expect(mesh.sent('1', '2', 'updates')).toHaveLength(3)
  })

  it('does not pull under steady traffic, where the cut is always a little ahead of what has arrived (R8)', () => {
    const mesh = threeServers()
    // Each push is still in the link when the cut that shows it arrives, and arrives by itself soon after.
    for (let count = 0; count < 40; count++) {
      mesh.write('1', 'x', count)
      mesh.tick(50)
      while (mesh.queued('1', '3').length > 2) {
        const cut = mesh.queued('1', '3').findIndex((message) => message.kind === 'cut')
        mesh.deliver('1', '3', Math.max(0, cut))
      }
    }
    expect(mesh.sent('3', '1', 'pull')).toEqual([])
    expect(mesh.sent('3', '2', 'pull')).toEqual([])
  })

  it('is told the entries of the cut that changed, once for each tick (R8)', () => {
    const mesh = threeServers()
    mesh.write('1', 'x', 1)
    mesh.write('1', 'x', 2)
    mesh.tick(50)
    mesh.tick(50)
    const cuts = mesh.sent('1', '2', 'cut').map(({ entries }) => entries)
    expect(cuts).toEqual([new Map(), new Map([[originOf('1'), 2]])])
  })
})

describe('a server that connects', () => {
  it('is sent at once a page of what the other wrote and it lacks (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2'], limits: { page: { updatesMax: 3, bytesMax: 10_000 } } })
    for (let count = 1; count <= 5; count++) mesh.write('1', 'x', count)
    mesh.connect('1', '2')
    mesh.settle()
    expect(timestampsOf(mesh.applications('2'))).toEqual([1, 2, 3])
    mesh.run(pullAfterMs + 100)
    expect(timestampsOf(mesh.applications('2'))).toEqual([1, 2, 3, 4, 5])
  })

  it('and lacks more than a page gets no pushes until it has pulled to the tip (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2'], limits: { page: { updatesMax: 3, bytesMax: 10_000 } } })
    for (let count = 1; count <= 5; count++) mesh.write('1', 'x', count)
    mesh.connect('1', '2')
    mesh.settle()
    mesh.write('1', 'x', 6)
    mesh.settle()
    expect(mesh.events('2', 'waiting')).toEqual([])
    mesh.run(pullAfterMs + 100)
    mesh.write('1', 'x', 7)
    mesh.settle()
    expect(mesh.read('2', 'x')).toBe(7)
  })

  it('under a new origin before the end of the old one was heard of is sent what it lacks now (R7, R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.connect('1', '2')
    mesh.write('1', 'x', 'kept')
    mesh.run(100)
    const reborn = '2~b' as Origin
    mesh.step('1', { kind: 'peerHeard', peer: '2', origin: reborn })
    const { send } = mesh.step('1', { kind: 'linkUp', peer: '2', origin: reborn, applied: new Map() })
    expect(send.map(({ message }) => message.kind)).toEqual(['cut', 'updates'])
  })

  it('and pulls before the other may send to it is answered as soon as that may, not after a timeout (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.write('2', 'x', 1)
    mesh.step('2', { kind: 'peerHeard', peer: '1', origin: originOf('1') })
    const pull = { kind: 'pull', pull: 7, applied: new Map(), except: [] } as const
    expect(mesh.step('2', { kind: 'message', from: '1', message: pull }).send).toEqual([])
    const { send } = mesh.step('2', { kind: 'linkUp', peer: '1', origin: originOf('1'), applied: new Map() })
    expect(send.map(({ message }) => message)).toContainEqual(
      expect.objectContaining({ kind: 'page', pull: 7, more: false }),
    )
    // Once, and not of a link that has gone since.
    mesh.step('2', { kind: 'linkDown', peer: '1', origin: originOf('1') })
    mesh.step('2', { kind: 'message', from: '1', message: pull })
    mesh.step('2', { kind: 'peerSilent', peer: '1', origin: originOf('1') })
    mesh.step('2', { kind: 'peerHeard', peer: '1', origin: originOf('1') })
    const again = mesh.step('2', { kind: 'linkUp', peer: '1', origin: originOf('1'), applied: new Map() })
    expect(again.send.map(({ message }) => message.kind)).not.toContain('page')
  })

  it('and has shown by a pull that it has more than when it was greeted is sent what it lacks now (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2'], limits: { page: { updatesMax: 2, bytesMax: 10_000 } } })
    for (let count = 1; count <= 5; count++) mesh.write('2', 'x', count)
    mesh.step('2', { kind: 'peerHeard', peer: '1', origin: originOf('1') })
    const applied = new Map([[originOf('2'), 3]])
    mesh.step('2', {
      kind: 'message',
      from: '1',
      message: { kind: 'pull', pull: 7, applied, except: [] },
    })
    const { send } = mesh.step('2', { kind: 'linkUp', peer: '1', origin: originOf('1'), applied: new Map() })
    const pushed = send.flatMap(({ message }) => (message.kind === 'updates' ? message.updates : []))
    expect(pushed.map(({ timestamp }) => timestamp)).toEqual([4, 5])
  })

  it('pulls what the other shows in its greeting, though its cut says nothing new after that (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connect('1', '2')
    mesh.write('1', 'x', 'lost')
    mesh.run(100)
    // 3 hears of 1's update only from the cut that came with the link.
    mesh.connect('2', '3')
    mesh.run(pullAfterMs + 100)
    expect(mesh.read('3', 'x')).toBe('lost')
  })

  it('learns from a pull what the puller has, though the cut that follows repeats it (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'], limits: { page: { updatesMax: 2, bytesMax: 10_000 } } })
    // 2 fetches from 3 in pages; the second pull shows 3 what 2 has just got from 1.
    for (let count = 1; count <= 5; count++) mesh.write('3', 'x', count)
    mesh.connect('2', '3')
    mesh.settle()
    mesh.run(pullAfterMs - 50)
    mesh.up('1', '2')
    mesh.write('1', 'y', 'found')
    mesh.deliver('1', '2')
    mesh.deliver('1', '2')
    mesh.step('2', { kind: 'tick', nowMs: mesh.nowMs + 50 })
    // The cut message of that tick is made to arrive after the pulls.
    while (mesh.queued('2', '3').length > 0) mesh.deliver('2', '3', mesh.queued('2', '3').length - 1)
    mesh.run(pullAfterMs + 200)
    expect(mesh.read('3', 'y')).toBe('found')
  })

  it('after a restart under a new origin gets everything back, its own old updates too (R7, R8)', () => {
    const mesh = threeServers()
    mesh.write('1', 'x', 'old')
    mesh.write('2', 'y', 'there')
    mesh.run(300)
    mesh.crash('1')
    mesh.run(300)
    mesh.start('1', 'b')
    mesh.write('1', 'z', 'new')
    mesh.connectAll()
    mesh.run(pullAfterMs + 300)
    expect(mesh.read('1', 'x')).toBe('old')
    expect(mesh.read('1', 'y')).toBe('there')
    for (const id of mesh.ids) expect(mesh.state(id)).toEqual(mesh.state('1'))
    expect(mesh.state('2').applied.map(([origin]) => origin)).toEqual(['1~a', '1~b', '2~a'])
  })

  it('under a new origin is not disturbed by late news of the end of its old connection (R7)', () => {
    const mesh = threeServers()
    const old = mesh.originOf('1')
    mesh.crash('1')
    mesh.start('1', 'b')
    mesh.connectAll()
    mesh.settle()
    mesh.step('2', { kind: 'linkDown', peer: '1', origin: old })
    mesh.step('2', { kind: 'peerSilent', peer: '1', origin: old })
    mesh.write('2', 'x', 1)
    mesh.settle()
    expect(mesh.read('1', 'x')).toBe(1)
  })
})

describe('a peer that stops reading', () => {
  const limits = { pushedBytesMax: 700, page: { updatesMax: 4, bytesMax: 10_000 } }

  it('is owed no more than the window, gets no pushes until it has pulled to the tip, and then does (R8)', () => {
    const mesh = threeServers({ limits })
    for (let count = 1; count <= 20; count++) mesh.write('1', 'x', count)
    // 100 bytes each: five fit.
    expect(mesh.queued('1', '3')).toHaveLength(5)
    mesh.run(pullAfterMs + 100)
    expect(mesh.read('3', 'x')).toBe(20)
    expect(mesh.events('3', 'pulled').map(({ count }) => count)).toEqual([4, 4, 4, 3])
    const pulls = mesh.sent('3', '1', 'pull').length
    mesh.write('1', 'x', 21)
    mesh.settle()
    expect(mesh.read('3', 'x')).toBe(21)
    expect(mesh.sent('3', '1', 'pull')).toHaveLength(pulls)
  })

  it('frees the window by the cuts that it tells, without a pull (R8)', () => {
    const mesh = threeServers({ limits })
    for (let count = 1; count <= 20; count++) {
      mesh.write('1', 'x', count)
      if (count % 4 === 0) mesh.run(50)
    }
    expect(mesh.sent('1', '3', 'updates')).toHaveLength(20)
    expect(mesh.sent('3', '1', 'pull')).toEqual([])
  })

  it('is owed no more than the window again after it has freed it (R8)', () => {
    const mesh = threeServers({ limits })
    for (let turn = 0; turn < 3; turn++) {
      for (let count = 0; count < 4; count++) mesh.write('1', 'x', count)
      mesh.run(100)
      mesh.run(100)
    }
    for (let count = 0; count < 20; count++) mesh.write('1', 'x', count)
    expect(mesh.queued('1', '3')).toHaveLength(5)
  })

  it('is still pushed a single update that is larger than the window (R8)', () => {
    const mesh = threeServers({ limits })
    const large = 'x'.repeat(10_000)
    mesh.write('1', 'x', large)
    mesh.settle()
    expect(mesh.read('3', 'x')).toBe(large)
  })
})

describe('a pull', () => {
  it('brings updates larger than a page one by one (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2'], limits: { page: { updatesMax: 10, bytesMax: 100 } } })
    for (let count = 1; count <= 5; count++) mesh.write('1', 'x', count)
    mesh.connect('1', '2')
    mesh.run(pullAfterMs + 100)
    expect(mesh.read('2', 'x')).toBe(5)
    expect(mesh.events('2', 'pulled').map(({ count, more }) => [count, more])).toEqual([
      [1, true],
      [1, true],
      [1, true],
      [1, false],
    ])
  })

  it('is answered with all origins together in the order of application, so that each page applies at once (R8)', () => {
    const mesh = new Mesh({
      servers: ['1', '2', '3'],
      limits: { page: { updatesMax: 2, bytesMax: 10_000 }, buffer: { updatesMax: 0, bytesMax: 0 } },
    })
    mesh.connect('1', '2')
    mesh.settle()
    for (let count = 1; count <= 6; count++) {
      mesh.write(count % 2 === 0 ? '1' : '2', 'x', count)
      mesh.settle()
    }
    mesh.connect('2', '3')
    mesh.run(1_000)
    // Not even a buffer of nothing can stop it. What 2 pushed on connecting was dropped, and came again.
    expect(timestampsOf(mesh.applications('3'))).toEqual([1, 2, 3, 4, 5, 6])
    expect(mesh.events('3', 'pulled').every(({ count }) => count <= 2)).toBe(true)
  })

  it('is under way one at a time, so that nothing is fetched twice (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connect('1', '2')
    mesh.write('1', 'x', 1)
    mesh.run(100)
    mesh.crash('1')
    mesh.start('4', 'a')
    mesh.connect('2', '3')
    mesh.run(300)
    mesh.connectAll()
    mesh.run(1_000)
    const pulls = [...mesh.sent('4', '2', 'pull'), ...mesh.sent('4', '3', 'pull')]
    expect(pulls).toHaveLength(1)
    expect(mesh.read('4', 'x')).toBe(1)
  })

  it('is asked of an honest server in the end, however many others never answer (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3', '4'] })
    mesh.write('4', 'x', 'here')
    for (const [from, to] of [
      ['1', '2'],
      ['1', '3'],
      ['1', '4'],
      ['2', '1'],
      ['3', '1'],
      ['4', '1'],
    ] as const) {
      mesh.connect(from, to)
    }
    mesh.settle()
    const entries = new Map([[originOf('ghost'), 9]])
    for (const liar of ['2', '3'])
      mesh.step('1', { kind: 'message', from: liar, message: { kind: 'cut', entries } })
    mesh.step('1', {
      kind: 'message',
      from: '4',
      message: { kind: 'cut', entries: new Map([[originOf('late'), 1]]) },
    })
    for (let passedMs = 0; passedMs < 3 * pullTimeoutMs; passedMs += 50) mesh.tick(50)
    for (const asked of ['2', '3', '4']) expect(mesh.sent('1', asked, 'pull').length).toBeGreaterThan(0)
  })

  it('that is not answered in time asks another server (R8)', () => {
    const mesh = threeServers()
    mesh.disconnect('1', '3')
    mesh.start('4', 'a')
    mesh.connect('4', '2')
    mesh.connect('4', '1')
    mesh.run(100)
    mesh.write('1', 'x', 'lost')
    // 2 and 4 have it, 3 hears of it from 2 only; then 4 connects to 3 too.
    mesh.run(50)
    mesh.connect('3', '4')
    mesh.settle()
    for (let passedMs = 0; passedMs < pullAfterMs + 50; passedMs += 50) mesh.tick(50)
    const [first, second]: readonly [string, string] =
      mesh.sent('3', '2', 'pull').length > 0 ? ['2', '4'] : ['4', '2']
    expect(mesh.sent('3', second, 'pull')).toEqual([])
    mesh.disconnect('2', '1')
    // The first is silent: everything between it and 3 stays where it is.
    for (let passedMs = 0; passedMs < pullTimeoutMs + 50; passedMs += 50) {
      mesh.tick(50)
      while (mesh.deliver('3', second));
      while (mesh.deliver(second, '3'));
    }
    expect(mesh.sent('3', first, 'pull')).toHaveLength(1)
    expect(mesh.sent('3', second, 'pull')).toHaveLength(1)
    expect(mesh.read('3', 'x')).toBe('lost')
  })

  it('whose server goes away is sent to another at once (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3', '4'] })
    mesh.write('1', 'x', 1)
    mesh.connect('1', '2')
    mesh.connect('1', '3')
    mesh.run(100)
    mesh.connect('4', '2')
    mesh.connect('4', '3')
    mesh.settle()
    for (let passedMs = 0; passedMs < pullAfterMs + 50; passedMs += 50) mesh.tick(50)
    const asked = mesh.sent('4', '2', 'pull').length > 0 ? '2' : '3'
    mesh.disconnect('4', asked)
    mesh.run(100)
    expect(mesh.read('4', 'x')).toBe(1)
  })
})

describe('a broken link', () => {
  it('in one direction only is routed around: what does not come by itself is pulled from a third (R8)', () => {
    const mesh = threeServers()
    mesh.down('1', '3')
    mesh.write('1', 'x', 'lost')
    mesh.run(pullAfterMs + 150)
    expect(mesh.read('3', 'x')).toBe('lost')
  })

  it('does not keep the cause of what a third shows from arriving (R8; Antidote #204)', () => {
    const mesh = threeServers()
    mesh.disconnect('1', '3')
    mesh.write('1', 'x', 'lost')
    mesh.settle()
    mesh.write('2', 'y', 'sorry')
    mesh.settle()
    expect(mesh.read('3', 'y')).toBeUndefined()
    mesh.run(pullAfterMs + 150)
    expect(mesh.read('3', 'x')).toBe('lost')
    expect(mesh.read('3', 'y')).toBe('sorry')
  })

  it('that heals brings everything written meanwhile on both sides (R8; Antidote #489)', () => {
    const mesh = threeServers()
    for (const id of ['1', '2']) mesh.disconnect(id, '3')
    for (let count = 0; count < 30; count++)
      for (const id of mesh.ids) mesh.write(id, `${id} ${count}`, count)
    mesh.run(500)
    mesh.connectAll()
    mesh.run(1_000)
    for (const id of mesh.ids) expect(mesh.state(id)).toEqual(mesh.state('1'))
    expect(mesh.state('1').entries).toHaveLength(90)
  })
})

describe('a held link', () => {
  it("is not routed around: that server's updates are pulled from nobody until it is released (R8)", () => {
    const mesh = threeServers()
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.run(20_000, 500)
    expect(mesh.read('2', 'y')).toBe('found')
    expect(mesh.read('3', 'y')).toBeUndefined()
    mesh.release('1', '3')
    mesh.settle()
    expect(mesh.read('3', 'y')).toBe('found')
  })

  it('lets others be pulled from, and what does not depend on the held updates comes (R8)', () => {
    const mesh = threeServers()
    mesh.start('4', 'a')
    mesh.connect('4', '2')
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.write('4', 'w', 'free')
    mesh.run(pullAfterMs + 200)
    expect(mesh.read('3', 'w')).toBe('free')
    expect(mesh.read('3', 'y')).toBeUndefined()
  })

  it('does not make its receiver pull from the holder, whose answer would stay in the link, while another has it (R8)', () => {
    const mesh = threeServers()
    mesh.start('4', 'a')
    mesh.connect('4', '1')
    mesh.connect('4', '2')
    mesh.hold('1', '3')
    mesh.write('4', 'w', 'free')
    mesh.run(pullAfterMs + 200)
    expect(mesh.read('3', 'w')).toBe('free')
  })

  it('is no storm of pulls, however much waits for the held update (R8)', () => {
    const mesh = threeServers({ limits: { page: { updatesMax: 3, bytesMax: 10_000 } } })
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.settle()
    for (let count = 0; count < 10; count++) mesh.write('2', 'z', count)
    mesh.run(5_000)
    expect(mesh.answer('3', 'waiting', { method: 'waiting' }).waiting).toHaveLength(10)
    expect(mesh.sent('3', '2', 'pull').length).toBeLessThanOrEqual(5_000 / pullAfterMs)
    mesh.release('1', '3')
    mesh.settle()
    expect(mesh.read('3', 'z')).toBe(9)
  })

  it('does not keep a page from reaching what is behind many updates that wait for the held one (R8)', () => {
    const mesh = threeServers({ limits: { page: { updatesMax: 3, bytesMax: 10_000 } } })
    mesh.start('4', 'a')
    mesh.connect('4', '2')
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.settle()
    for (let count = 0; count < 10; count++) mesh.write('2', 'z', count)
    mesh.down('2', '4')
    mesh.write('4', 'w', 'free')
    mesh.settle()
    mesh.run(1_000)
    expect(mesh.read('3', 'w')).toBe('free')
    expect(mesh.read('3', 'z')).toBeUndefined()
  })

  it('is not routed around by a pull that was sent before the hold, and answered after it (R8)', () => {
    const mesh = threeServers()
    mesh.down('1', '3')
    mesh.write('1', 'x', 'lost')
    mesh.tick(50)
    while (mesh.deliver('1', '2'));
    mesh.tick(50)
    while (mesh.deliver('2', '3'));
    for (let passedMs = 0; passedMs < pullAfterMs + 50; passedMs += 50) mesh.tick(50)
    expect(mesh.queued('3', '2').map(({ kind }) => kind)).toContain('pull')
    mesh.up('1', '3')
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.run(2_000)
    expect(mesh.read('2', 'y')).toBe('found')
    expect(mesh.read('3', 'y')).toBeUndefined()
    mesh.release('1', '3')
    mesh.run(1_000)
    expect(mesh.state('3')).toEqual(mesh.state('2'))
  })

  it('ends a pull that was sent to its holder, and another is asked at once (R8)', () => {
    const mesh = threeServers()
    mesh.start('4', 'a')
    mesh.connect('4', '1')
    mesh.connect('4', '2')
    mesh.write('4', 'w', 'free')
    mesh.tick(50)
    for (const id of ['1', '2']) while (mesh.deliver('4', id));
    mesh.tick(50)
    for (const id of ['1', '2']) while (mesh.deliver(id, '3'));
    for (let passedMs = 0; passedMs < pullAfterMs + 50; passedMs += 50) mesh.tick(50)
    const asked = mesh.sent('3', '1', 'pull').length > 0 ? '1' : '2'
    mesh.hold(asked, '3')
    mesh.run(200)
    expect(mesh.read('3', 'w')).toBe('free')
  })

  it('that breaks after many vain pulls is routed around at once (R8)', () => {
    const mesh = threeServers()
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.settle()
    mesh.write('2', 'z', 'glad')
    mesh.run(20_000, 100)
    mesh.disconnect('1', '3')
    mesh.run(pullAfterMs + 100)
    expect(mesh.read('3', 'z')).toBe('glad')
  })

  it('that breaks is theatre no longer, and the mesh routes around it (R8)', () => {
    const mesh = threeServers()
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.run(1_000)
    mesh.disconnect('1', '3')
    mesh.run(pullAfterMs + 200)
    expect(mesh.read('3', 'y')).toBe('found')
  })
})

describe('the buffer', () => {
  it('drops what does not fit, and it comes back by a pull when its turn has come (R3)', () => {
    const mesh = threeServers({ limits: { buffer: { updatesMax: 3, bytesMax: 10_000 } } })
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.settle()
    for (let count = 0; count < 10; count++) mesh.write('2', `z${count}`, count)
    mesh.settle()
    const { waiting } = mesh.answer('3', 'waiting', { method: 'waiting' })
    expect(waiting).toHaveLength(3)
    expect(mesh.events('3', 'dropped')).toHaveLength(7)
    mesh.release('1', '3')
    mesh.run(1_000)
    expect(mesh.state('3')).toEqual(mesh.state('2'))
  })

  it('is bounded in bytes too, and an update that can never fit still applies in its turn (R3)', () => {
    const mesh = threeServers({ limits: { buffer: { updatesMax: 100, bytesMax: 1_000 } } })
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.settle()
    const large = 'x'.repeat(5_000)
    mesh.write('2', 'z', large)
    mesh.settle()
    expect(mesh.events('3', 'dropped')).toHaveLength(1)
    mesh.release('1', '3')
    mesh.run(1_000)
    expect(mesh.read('3', 'z')).toBe(large)
  })
})

describe('an update that waits for what nobody has', () => {
  const orphan = buildUpdate({ server: '9', timestamp: 8, needs: { gone: 7 }, key: 'k' })

  it('is dropped after a minute and said to be lost (R3)', () => {
    const mesh = threeServers()
    mesh.step('3', {
      kind: 'message',
      from: '1',
      message: { kind: 'updates', updates: [orphan] },
    })
    mesh.run(59_000, 1_000)
    expect(mesh.events('3', 'lost')).toEqual([])
    mesh.run(2_000, 1_000)
    expect(mesh.events('3', 'lost')).toEqual([
      { kind: 'lost', update: orphan, waitsFor: [{ origin: originOf('gone'), timestamp: 7 }] },
    ])
    expect(mesh.answer('3', 'waiting', { method: 'waiting' }).waiting).toEqual([])
  })

  it('takes with it what waits for it in turn (R3)', () => {
    const mesh = threeServers()
    const next = buildUpdate({ server: '9', timestamp: 9, previous: 8 })
    for (const update of [orphan, next]) {
      mesh.step('3', {
        kind: 'message',
        from: '1',
        message: { kind: 'updates', updates: [update] },
      })
    }
    mesh.run(65_000, 1_000)
    expect(timestampsOf(mesh.events('3', 'lost').map(({ update }) => update))).toEqual([8, 9])
  })

  it('is kept while a connected server has its cause, though that server did not write it and cannot send it (R3)', () => {
    const mesh = threeServers()
    mesh.start('4', 'a')
    mesh.connect('4', '2')
    mesh.connect('4', '1')
    mesh.write('4', 'y', 'found')
    mesh.settle()
    mesh.crash('4')
    mesh.hold('2', '3')
    mesh.disconnect('1', '3')
    const needsOfFour = buildUpdate({ server: '9', timestamp: 6, needs: { '4': 1 } })
    mesh.step('3', {
      kind: 'message',
      from: '2',
      message: { kind: 'updates', updates: [needsOfFour] },
    })
    mesh.run(120_000, 1_000)
    expect(mesh.read('3', 'y')).toBeUndefined()
    expect(mesh.events('3', 'lost')).toEqual([])
  })

  it('is kept while its cause is here and may yet apply, though nobody else has that (R3)', () => {
    const mesh = threeServers()
    mesh.start('4', 'a')
    mesh.connect('4', '1')
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.settle()
    mesh.up('4', '3')
    mesh.write('4', 'z', 'glad')
    mesh.write('4', 'w', 'very glad')
    while (mesh.deliver('4', '3'));
    mesh.crash('4')
    mesh.run(120_000, 1_000)
    expect(mesh.events('3', 'lost')).toEqual([])
    mesh.release('1', '3')
    mesh.settle()
    expect(mesh.read('3', 'w')).toBe('very glad')
  })

  it('is woken by the next sweep where its cause was passed over, which only a faulty peer can name (R3)', () => {
    const mesh = threeServers()
    const updates = [
      buildUpdate({ server: '9', timestamp: 3, needs: { '8': 2 }, key: 'odd' }),
      buildUpdate({ server: '8', timestamp: 1 }),
      buildUpdate({ server: '7', timestamp: 2, needs: { '8': 1 } }),
      buildUpdate({ server: '8', timestamp: 3, previous: 1, needs: { '7': 2 } }),
    ]
    mesh.step('3', { kind: 'message', from: '2', message: { kind: 'updates', updates } })
    expect(mesh.read('3', 'odd')).toBeUndefined()
    mesh.run(1_000)
    expect(mesh.read('3', 'odd')).toBe('3@9')
  })

  it('is kept while a connected server has its cause, or still runs under its origin (R3)', () => {
    const mesh = threeServers()
    const needsOfOne = buildUpdate({ server: '9', timestamp: 6, needs: { '1': 5 } })
    mesh.step('3', {
      kind: 'message',
      from: '2',
      message: { kind: 'updates', updates: [needsOfOne] },
    })
    mesh.run(120_000, 1_000)
    expect(mesh.events('3', 'lost')).toEqual([])
    mesh.hold('1', '3')
    mesh.write('1', 'y', 'found')
    mesh.settle()
    mesh.write('2', 'z', 'glad')
    mesh.run(120_000, 1_000)
    expect(mesh.events('3', 'lost')).toEqual([])
    mesh.release('1', '3')
    mesh.settle()
    expect(mesh.read('3', 'z')).toBe('glad')
  })
})

describe('a delayed link with more in it than may be on its way', () => {
  it('is caught up over while the delay lasts, by pulls on that very link (R8)', () => {
    const mesh = threeServers({ limits: { pushedBytesMax: 2_000 } })
    const state = { state: 'delayed', delayMs: 100, queued: 0 } as const
    mesh.step('2', { kind: 'message', from: '1', message: { kind: 'link', state } })
    for (let count = 0; count < 50; count++) mesh.write('1', `k${count}`, count)
    mesh.run(5_000)
    expect(mesh.replica('2').clock).toBe(50)
  })

  it('is not pulled over for what is merely on its way (R8)', () => {
    const mesh = threeServers()
    const state = { state: 'delayed', delayMs: 1_000, queued: 0 } as const
    mesh.step('2', { kind: 'message', from: '1', message: { kind: 'link', state } })
    mesh.down('1', '3')
    mesh.write('1', 'x', 1)
    const cut = new Map([[mesh.originOf('1'), 1]])
    mesh.step('2', { kind: 'message', from: '1', message: { kind: 'cut', entries: cut } })
    for (let passedMs = 0; passedMs < 1_000; passedMs += 50) mesh.tick(50)
    expect(mesh.sent('2', '1', 'pull')).toEqual([])
  })
})

describe('a peer whose cut names more origins than are kept', () => {
  it('is refused (R8)', () => {
    const mesh = threeServers({ limits: { originsPerPeerMax: 10 } })
    for (let frame = 0; frame < 3; frame++) {
      const entries = new Map(Array.from({ length: 5 }, (_, index) => [`9~${frame}.${index}` as Origin, 1]))
      mesh.step('2', { kind: 'message', from: '1', message: { kind: 'cut', entries } })
    }
    expect(mesh.refusals('2')).toEqual([{ peer: '1', reason: 'its cut names more than 10 origins' }])
  })

  it('is refused in a pull too, before anything may be sent to who pulls (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2'], limits: { originsPerPeerMax: 10 } })
    mesh.step('2', { kind: 'peerHeard', peer: '1', origin: originOf('1') })
    for (let pull = 1; pull <= 3; pull++) {
      const applied = new Map(Array.from({ length: 5 }, (_, index) => [`9~${pull}.${index}` as Origin, 1]))
      mesh.step('2', { kind: 'message', from: '1', message: { kind: 'pull', pull, applied, except: [] } })
    }
    expect(mesh.refusals('2')).toEqual([{ peer: '1', reason: 'its cut names more than 10 origins' }])
  })
})
