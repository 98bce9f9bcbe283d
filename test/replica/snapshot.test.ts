import { describe, expect, it } from 'vitest'
import type { PeerMessage } from '../../src/replica/messages.ts'
import type { Origin } from '../../src/replica/version.ts'
import type { Update } from '../../src/replica/update.ts'
import { Mesh } from './mesh.ts'
import { Model } from './model.ts'
import { buildUpdate } from './update-builder.ts'

const shortLog = {
  log: { updatesMax: 8, bytesMax: 100_000 },
  snapshotPage: { updatesMax: 4, bytesMax: 10_000 },
}

/** Two servers that know nothing of each other yet; what 1 has written no longer fits its log. */
function apart(limits: object = shortLog): Mesh {
  const mesh = new Mesh({ servers: ['1', '2'], limits })
  for (let count = 0; count < 30; count++) mesh.write('1', `k${count % 10}`, count)
  return mesh
}

describe('the log', () => {
  it('is trimmed by count and bytes, and its floor covers what is gone (R12)', () => {
    const mesh = apart()
    const replica = mesh.replica('1')
    expect(replica.logEnd).toBe(30)
    expect(replica.logStart).toBeGreaterThanOrEqual(22)
    expect(replica.logFloor).toEqual(new Map([[mesh.originOf('1'), replica.logStart]]))
  })
})

describe('a server whose peers no longer have in their logs what it lacks', () => {
  it('takes in a snapshot, page by page, and then what happened meanwhile (R8)', () => {
    const mesh = apart()
    mesh.connectAll()
    mesh.run(1_000)
    expect(mesh.state('2')).toEqual(mesh.state('1'))
    expect(mesh.sent('1', '2', 'snapshot').length).toBeGreaterThan(1)
    expect(mesh.events('2', 'installed')).toMatchObject([{ from: '1', keys: 10 }])
    mesh.write('1', 'k0', 'later')
    mesh.settle()
    expect(mesh.read('2', 'k0')).toBe('later')
  })

  it('shows nothing of it before it is whole (R8)', () => {
    const mesh = apart()
    mesh.connectAll()
    mesh.tick(250)
    for (let turn = 0; turn < 200; turn++) {
      if (!mesh.deliver('1', '2') && !mesh.deliver('2', '1')) mesh.step('2', { kind: 'continue' })
      const list = mesh.request('2', { method: 'keys', prefix: '', from: '', limit: 100 }).reply
      for (const { result } of list) {
        const count = result.method === 'keys' ? result.keys.length : undefined
        expect([0, 10]).toContain(count)
      }
    }
    expect(mesh.state('2')).toEqual(mesh.state('1'))
  })

  it('gets the state of one moment, though writes go on between the pages (R8)', () => {
    const mesh = apart()
    mesh.connectAll()
    mesh.tick(250)
    let value = 100
    for (let turn = 0; turn < 300; turn++) {
      if (turn % 7 === 0 && turn < 100) mesh.write('1', `k${turn % 10}`, value++)
      if (!mesh.deliver('1', '2')) mesh.deliver('2', '1')
    }
    mesh.run(2_000)
    expect(mesh.state('2')).toEqual(mesh.state('1'))
  })

  it('keeps what it has written itself, and both sides end with the same siblings (R4, R5, R8)', () => {
    const mesh = apart()
    for (let count = 0; count < 30; count++) mesh.write('2', `k${count % 15}`, `two ${count}`)
    mesh.connectAll()
    mesh.run(3_000)
    expect(mesh.state('2')).toEqual(mesh.state('1'))
    expect(mesh.answer('1', 'conflicts', { method: 'conflicts', prefix: '' }).keys).toHaveLength(10)
    expect(mesh.replica('1').knownBy(mesh.originOf('2'))).toEqual(
      mesh.replica('2').knownBy(mesh.originOf('2')),
    )
  })

  it('does not bring deleted keys back (R5, R12)', () => {
    const mesh = apart()
    mesh.connectAll()
    mesh.run(1_000)
    mesh.down('1', '2')
    mesh.down('2', '1')
    for (let count = 0; count < 10; count++) mesh.delete('1', `k${count}`)
    for (let count = 0; count < 30; count++) mesh.write('1', 'other', count)
    mesh.connectAll()
    mesh.run(1_000)
    expect(mesh.answer('2', 'keys', { method: 'keys', prefix: '', from: '', limit: 99 }).keys).toEqual([
      'other',
    ])
    expect(mesh.state('2')).toEqual(mesh.state('1'))
  })

  it('raises its own floor, so that it serves nobody from a log with a gap in it (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'], limits: shortLog })
    for (let count = 0; count < 30; count++) mesh.write('1', `k${count % 10}`, count)
    mesh.connect('1', '2')
    mesh.run(1_000)
    expect(mesh.replica('2').logFloor).toEqual(new Map([[mesh.originOf('1'), 30]]))
    mesh.crash('1')
    mesh.connect('2', '3')
    mesh.run(1_000)
    expect(mesh.state('3')).toEqual(mesh.state('2'))
    expect(mesh.events('3', 'installed')).toMatchObject([{ from: '2' }])
  })

  it('tells its live watches all that is new, once, and nothing of what they have seen (R8, R11)', () => {
    const mesh = apart()
    mesh.write('2', 'own', 1)
    mesh.request('2', { method: 'watch', prefix: '', since: 'start' })
    mesh.run(100)
    mesh.connectAll()
    mesh.run(1_000)
    const told = mesh.notifications('2').filter((event) => event.kind === 'update')
    const versions = told.map(({ version }) => `${version.timestamp}@${version.origin}`)
    expect(new Set(versions).size).toBe(versions.length)
    expect(told).toHaveLength(11)
  })

  it('answers a watch that began meanwhile before it tells it anything (R8, R11)', () => {
    const mesh = apart({ ...shortLog, appliedPerStepMax: 2 })
    mesh.connectAll()
    mesh.tick(250)
    // Steps by hand up to the middle of the installation, where all that comes is held.
    while (mesh.outputs('2').at(-1)?.stage.at(-1)?.kind !== 'records') {
      if (!mesh.deliver('1', '2') && !mesh.deliver('2', '1')) mesh.step('2', { kind: 'continue' })
    }
    mesh.request('2', { method: 'watch', prefix: '', since: 'start' })
    mesh.settle()
    const outputs = mesh.outputs('2')
    const answered = outputs.findIndex(({ reply }) => reply.some(({ result }) => result.method === 'watch'))
    const told = outputs.findIndex(({ notify }) => notify.length > 0)
    expect(answered).toBeGreaterThan(0)
    expect(told).toBeGreaterThan(answered)
  })

  it('applies nothing between its first part and its last, not even what was just woken (R8)', () => {
    const model = new Model()
    const mesh = new Mesh({
      servers: ['1', '2'],
      limits: { ...shortLog, snapshotPage: { updatesMax: 99, bytesMax: 99_999 }, appliedPerStepMax: 1 },
      observe: (id, output) => model.observe(id, output),
    })
    for (let count = 0; count < 30; count++) mesh.write('1', `k${count % 10}`, count)
    mesh.connectAll()
    mesh.tick(250)
    while (mesh.sent('1', '2', 'snapshot').length === 0) mesh.deliver('2', '1')
    while (mesh.queued('1', '2')[0]?.kind !== 'snapshot') mesh.deliver('1', '2')
    const chain = [1, 2, 3, 4].map((timestamp) =>
      buildUpdate({ server: '3', timestamp, previous: timestamp - 1, key: 'chain' }),
    )
    // The last arrives first; the first wakes the others one by one, and one is left for the next step.
    for (const update of chain.toReversed()) hand(mesh, update)
    while (mesh.events('2', 'installed').length === 0) {
      if (!mesh.deliver('1', '2')) mesh.step('2', { kind: 'continue' })
    }
    expect(mesh.applications('2')).toHaveLength(2)
    mesh.run(100)
    expect(mesh.applications('2')).toHaveLength(4)
  })

  function hand(mesh: Mesh, update: Update): void {
    mesh.step('2', { kind: 'message', from: '1', message: { kind: 'updates', updates: [update] } })
  }

  it('serves what waits for a cut that came by snapshot (R8, R9)', () => {
    const mesh = apart()
    const after = new Map([[mesh.originOf('1'), 30]])
    mesh.request('2', { method: 'read', keys: ['k9'], after, timeoutMs: 5_000 })
    mesh.connectAll()
    mesh.run(1_000)
    const replies = mesh.outputs('2').flatMap((output) => output.reply)
    expect(replies).toMatchObject([{ result: { values: [{ winner: { value: 29 } }] } }])
  })

  it('starts anew with another peer when the one that it was taking from is gone (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'], limits: shortLog })
    for (let count = 0; count < 30; count++) mesh.write('1', `k${count % 10}`, count)
    mesh.connect('1', '2')
    mesh.run(1_000)
    mesh.connect('1', '3')
    mesh.tick(250)
    for (let count = 0; count < 6; count++) if (!mesh.deliver('3', '1')) mesh.deliver('1', '3')
    expect(mesh.sent('1', '3', 'snapshot').length).toBeGreaterThan(0)
    mesh.crash('1')
    mesh.connect('2', '3')
    mesh.run(1_000)
    expect(mesh.state('3')).toEqual(mesh.state('2'))
  })
})

describe('a peer whose snapshots are of no use', () => {
  /** Asks server 2's pull for a snapshot of a peer that is only in this test. */
  function liar(mesh: Mesh): { readonly answer: (page: object) => void; readonly pulls: () => number } {
    const origin = '9~a' as Origin
    mesh.step('2', { kind: 'peerHeard', peer: '9', origin })
    mesh.step('2', { kind: 'linkUp', peer: '9', origin, applied: new Map([[origin, 5]]) })
    const sent = () =>
      mesh
        .outputs('2')
        .flatMap((output) => output.send)
        .flatMap(({ to, message }) => (to === '9' && message.kind === 'pull' ? [message] : []))
    return {
      pulls: () => sent().length,
      answer: (page) => {
        const pull = sent().at(-1)?.pull ?? 0
        const empty = { siblings: [], rows: [], sessions: [] }
        const message = { kind: 'snapshot', pull, snapshot: pull, page: 1, ...empty, ...page } as const
        mesh.step('2', { kind: 'message', from: '9', message })
        for (let turn = 0; turn < 5; turn++) mesh.step('2', { kind: 'continue' })
      },
    }
  }

  it('does not keep all pulling to itself by complete and empty ones (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    const { answer, pulls } = liar(mesh)
    mesh.write('1', 'x', 'honest')
    mesh.tick(300)
    answer({ applied: new Map() })
    expect(pulls()).toBe(1)
    mesh.up('2', '1')
    mesh.up('1', '2')
    mesh.drop('1', '2', 1)
    mesh.run(1_000)
    expect(mesh.read('2', 'x')).toBe('honest')
  })

  it('does not do so by one that never ends (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    const { answer } = liar(mesh)
    mesh.tick(300)
    let page = 1
    const another = () => {
      const version = { timestamp: page, origin: '9~a' as Origin }
      answer({ snapshot: 1, page, siblings: [{ key: `k${page}`, version, value: page, first: true }] })
      page++
    }
    another()
    mesh.write('1', 'x', 'honest')
    mesh.up('2', '1')
    mesh.up('1', '2')
    // What is pushed on connecting is lost, so that it has to be pulled.
    mesh.drop('1', '2', 1)
    for (let passedMs = 0; passedMs < 70_000; passedMs += 1_000) {
      mesh.run(1_000, 500)
      another()
    }
    expect(mesh.read('2', 'x')).toBe('honest')
  })

  it('is refused where a page that is not the last has nothing on it (R8)', () => {
    const mesh = new Mesh({ servers: ['2'] })
    const { answer } = liar(mesh)
    mesh.tick(300)
    answer({})
    expect(mesh.refusals('2')).toMatchObject([{ peer: '9' }])
  })

  it('is refused where its cut would use up the clock (R1)', () => {
    const mesh = new Mesh({ servers: ['2'] })
    const { answer } = liar(mesh)
    mesh.tick(300)
    answer({ applied: new Map([['9~a' as Origin, Number.MAX_SAFE_INTEGER]]) })
    expect(mesh.refusals('2')).toMatchObject([{ peer: '9' }])
    expect(mesh.write('2', 'x', 1).timestamp).toBe(1)
  })
})

describe('a snapshot of a key with very many siblings', () => {
  it('is taken in by steps that are short, and looks at each pair of siblings once (R8)', () => {
    const mesh = new Mesh({ servers: ['1', '2'], limits: shortLog })
    for (let count = 0; count < 300; count++) {
      const update = buildUpdate({ server: `w${count}`, timestamp: 1, key: 'hot' })
      mesh.step('1', { kind: 'message', from: '9', message: { kind: 'updates', updates: [update] } })
    }
    mesh.connectAll()
    mesh.run(2_000)
    expect(mesh.state('2')).toEqual(mesh.state('1'))
    expect(mesh.replica('2').siblingsOf('hot')).toHaveLength(300)
  })
})

describe('a snapshot that breaks a rule', () => {
  function firstPage(mesh: Mesh): Extract<PeerMessage, { kind: 'snapshot' }> {
    mesh.connectAll()
    mesh.tick(250)
    for (let turn = 0; turn < 50 && mesh.sent('1', '2', 'snapshot').length === 0; turn++) {
      mesh.deliver('2', '1')
    }
    const [page] = mesh.sent('1', '2', 'snapshot')
    if (page === undefined) throw new Error('no snapshot was sent')
    return page
  }

  it('is refused where its cut does not cover what it holds (R1, R8)', () => {
    const mesh = apart()
    const page = firstPage(mesh)
    mesh.step('2', { kind: 'message', from: '1', message: { ...page, applied: new Map() } })
    expect(mesh.refusals('2')).toMatchObject([
      { peer: '1', reason: expect.stringContaining('does not cover') },
    ])
    expect([...mesh.replica('2').entries()]).toEqual([])
  })

  it('is refused where it has updates of this very run that were never issued (R7)', () => {
    const mesh = apart()
    const page = firstPage(mesh)
    const applied = new Map<Origin, number>([
      [mesh.originOf('1'), 99],
      [mesh.originOf('2'), 7],
    ])
    mesh.step('2', { kind: 'message', from: '1', message: { ...page, applied } })
    expect(mesh.refusals('2')).toMatchObject([
      { peer: '1', reason: expect.stringContaining('never issued it') },
    ])
  })

  it('is not looked at where nobody asked for it, or its beginning was missed (R8)', () => {
    const mesh = apart()
    const page = firstPage(mesh)
    mesh.step('2', {
      kind: 'message',
      from: '1',
      message: { ...page, pull: 999, applied: new Map([[mesh.originOf('1'), 99]]) },
    })
    mesh.step('2', {
      kind: 'message',
      from: '1',
      message: { ...page, page: 2, applied: new Map([[mesh.originOf('1'), 99]]) },
    })
    expect([...mesh.replica('2').entries()]).toEqual([])
    mesh.run(20_000, 250)
    expect(mesh.state('2')).toEqual(mesh.state('1'))
  })
})
