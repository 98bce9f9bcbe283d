import { describe, expect, it } from 'vitest'
import type { Output } from '../../src/replica/output.ts'
import { Mesh } from './mesh.ts'
import { buildUpdate, freshReplica, hand, originOf, versionOf } from './update-builder.ts'

function appliedBy(output: Output): readonly number[] {
  return output.persist.map(({ update }) => update.timestamp)
}

/** All that three servers put out in a short history. */
function someOutputs(): readonly Output[] {
  const mesh = new Mesh({ servers: ['1', '2', '3'] })
  mesh.connectAll()
  mesh.request('2', { method: 'watch', prefix: '', since: 'start' })
  for (let count = 0; count < 10; count++) {
    mesh.write(mesh.ids[count % 3] as string, `k${count % 4}`, count)
    mesh.run(100)
  }
  return mesh.ids.flatMap((id) => mesh.outputs(id))
}

describe('a stamp (R1, R2)', () => {
  it('is one more than the highest timestamp applied', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.connectAll()
    for (let count = 0; count < 3; count++) mesh.write('1', 'x', count)
    mesh.settle()
    expect(mesh.write('2', 'y', 'late')).toMatchObject({ timestamp: 4, previous: 0 })
    expect(mesh.write('2', 'y', 'later')).toMatchObject({ timestamp: 5, previous: 4 })
  })

  it('names, on an origin’s first update, all that it had applied, and later only what rose', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connectAll()
    mesh.write('1', 'x', 1)
    mesh.write('3', 'y', 1)
    mesh.settle()
    expect(mesh.write('2', 'z', 1).dependencies).toEqual({ '1~a': 1, '3~a': 1 })
    expect(mesh.write('2', 'z', 2).dependencies).toEqual({})
    mesh.settle()
    mesh.write('3', 'y', 2)
    mesh.settle()
    expect(mesh.write('2', 'z', 3).dependencies).toEqual({ '3~a': 4 })
  })

  it('is not raised by what waits: only what is applied moves the clock', () => {
    const replica = freshReplica()
    hand(replica, '1', buildUpdate({ server: '1', timestamp: 900, previous: 899 }))
    expect(replica.clock).toBe(0)
  })

  it('is refused when there are no integers left, and nothing is changed', () => {
    const replica = freshReplica()
    const top = Number.MAX_SAFE_INTEGER
    expect(appliedBy(hand(replica, '1', buildUpdate({ server: '1', timestamp: 1 })))).toEqual([1])
    // Nobody can get a clock there but by 2^53 writes; so only the refusal of the poison can be shown.
    const poison = hand(replica, '1', buildUpdate({ server: '2', timestamp: top }))
    expect(poison.refuse).toHaveLength(1)
    expect(replica.clock).toBe(1)
  })
})

describe('an update that arrives', () => {
  it('is applied when all that it follows is, and waits before (R3)', () => {
    const replica = freshReplica()
    const [x, y, z] = [
      buildUpdate({ server: '1', timestamp: 1, key: 'x' }),
      buildUpdate({ server: '1', timestamp: 2, previous: 1, key: 'y' }),
      buildUpdate({ server: '2', timestamp: 3, needs: { '1': 2 }, key: 'z' }),
    ]
    const first = hand(replica, '2', z)
    expect(first.persist).toEqual([])
    expect(first.events).toEqual([{ kind: 'waiting', update: z, from: '2', waitsFor: [versionOf('1', 2)] }])
    expect(appliedBy(hand(replica, '1', y))).toEqual([])
    expect(appliedBy(hand(replica, '1', x))).toEqual([1, 2, 3])
  })

  it('waits once however often it comes, and is dropped when it comes again after it was applied (R3)', () => {
    const replica = freshReplica()
    const second = buildUpdate({ server: '1', timestamp: 2, previous: 1 })
    for (let count = 0; count < 3; count++) hand(replica, '1', second)
    const first = buildUpdate({ server: '1', timestamp: 1 })
    expect(appliedBy(hand(replica, '1', first, second, first))).toEqual([1, 2])
    expect(hand(replica, '1', second, first)).toMatchObject({ persist: [], refuse: [], events: [] })
  })

  it('says how long it waited, on the clock of the ticks', () => {
    const replica = freshReplica()
    hand(replica, '2', buildUpdate({ server: '2', timestamp: 2, needs: { '1': 1 } }))
    replica.step({ kind: 'tick', nowMs: 700 })
    const { events } = hand(replica, '1', buildUpdate({ server: '1', timestamp: 1 }))
    expect(
      events.map((event) => (event.kind === 'applied' ? [event.from, event.waitedMs] : event.kind)),
    ).toEqual([
      ['1', undefined],
      ['2', 700],
    ])
  })

  it('is applied with all its keys or not at all (R2)', () => {
    const replica = freshReplica()
    const update = buildUpdate({
      server: '1',
      timestamp: 2,
      needs: { '2': 1 },
      writes: [
        { key: 'x', value: 1 },
        { key: 'y', value: 2 },
      ],
    })
    hand(replica, '1', update)
    expect([...replica.entries()]).toEqual([])
    hand(replica, '2', buildUpdate({ server: '2', timestamp: 1 }))
    expect([...replica.entries()].map(([key]) => key)).toEqual(['k', 'x', 'y'])
  })

  it('and loses to a higher version is applied all the same, so that what follows it is not kept waiting (R4)', () => {
    const replica = freshReplica()
    hand(replica, '2', buildUpdate({ server: '2', timestamp: 1, key: 'x' }))
    hand(replica, '1', buildUpdate({ server: '1', timestamp: 1, key: 'x' }))
    const output = hand(replica, '3', buildUpdate({ server: '3', timestamp: 2, needs: { '1': 1 }, key: 'y' }))
    expect(appliedBy(output)).toEqual([2])
    const reply = replica.step({
      kind: 'request',
      client: 1,
      id: 1,
      request: { method: 'read', keys: ['x'] },
    }).reply[0]?.result
    expect(reply).toEqual({
      method: 'read',
      values: [
        {
          key: 'x',
          winner: { version: versionOf('2', 1), value: '1@2' },
          conflicts: [{ version: versionOf('1', 1), value: '1@1' }],
        },
      ],
    })
  })
})

describe('an update that breaks a rule is refused, and with it its sender (R1)', () => {
  const first = buildUpdate({ server: '1', timestamp: 1 })
  const cases = [
    {
      title: 'a timestamp that no history explains, such as 2^53 − 1',
      update: buildUpdate({ server: '2', timestamp: Number.MAX_SAFE_INTEGER }),
      says: 'its timestamp is above 2',
    },
    {
      title: 'a timestamp beyond the safe integers',
      update: buildUpdate({ server: '2', timestamp: 2 ** 53 }),
      says: 'not a positive safe integer',
    },
    {
      title: 'a timestamp that is no integer',
      update: buildUpdate({ server: '2', timestamp: 1.5 }),
      says: 'not a positive safe integer',
    },
    {
      title: 'a timestamp of zero',
      update: buildUpdate({ server: '2', timestamp: 0 }),
      says: 'not a positive safe integer',
    },
    {
      title: 'a timestamp that is not above its previous',
      update: buildUpdate({ server: '1', timestamp: 2, previous: 2 }),
      says: 'not above its previous 2',
    },
    {
      title: 'a timestamp that is not above a dependency',
      update: buildUpdate({ server: '2', timestamp: 1, needs: { '1': 1 } }),
      says: 'not above its dependency 1',
    },
    {
      title: 'a dependency on its own origin',
      update: buildUpdate({ server: '2', timestamp: 5, needs: { '2': 4 } }),
      says: 'depends on its own origin',
    },
    {
      title: 'a previous that is not the update before it',
      update: buildUpdate({ server: '1', timestamp: 2, previous: 0 }),
      says: "its previous is 0, but its origin's update before it here is 1",
    },
  ]
  it.each(cases.map(({ title, ...rest }) => [title, rest] as const))('%s', (_, { update, says }) => {
    const replica = freshReplica()
    hand(replica, '1', first)
    const next = buildUpdate({ server: '1', timestamp: 2, previous: 1 })
    const output = hand(replica, 'liar', update, next)
    expect(output.refuse).toHaveLength(1)
    expect(output.refuse[0]).toMatchObject({ peer: 'liar' })
    expect(output.refuse[0]?.reason).toContain(says)
    // The rest of the frame is not looked at; the store and its clock are as before.
    expect(output.persist).toEqual([])
    expect(replica.clock).toBe(1)
    expect(appliedBy(hand(replica, '1', next))).toEqual([2])
  })

  it('but one of our own run that we never issued is only dropped: its sender may just have passed it on (R7)', () => {
    const replica = freshReplica()
    const forged = buildUpdate({ server: 'fresh', timestamp: 1 })
    const output = hand(replica, 'relay', forged, first)
    expect(output.refuse).toEqual([])
    expect(output.events.map(({ kind }) => kind)).toEqual(['forged', 'applied'])
    expect(replica.applied.has(forged.origin)).toBe(false)
  })

  it('also when the poison has waited first: then whoever sent it is refused, not who sent the cause', () => {
    const replica = freshReplica()
    const poison = buildUpdate({ server: '2', timestamp: Number.MAX_SAFE_INTEGER, needs: { '1': 1 } })
    expect(hand(replica, 'liar', poison).refuse).toEqual([])
    const output = hand(replica, '1', first)
    expect(output.refuse.map(({ peer }) => peer)).toEqual(['liar'])
    expect(appliedBy(output)).toEqual([1])
    expect(replica.clock).toBe(1)
  })

  it('a page that breaks a rule is not followed by a pull for the next', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.write('1', 'x', 1)
    mesh.connect('1', '2')
    mesh.settle()
    const updates = [buildUpdate({ server: '9', timestamp: 99 })]
    mesh.step('2', {
      kind: 'message',
      from: '1',
      message: { kind: 'page', pull: 1, updates, more: true },
    })
    expect(mesh.refusals('2')).toHaveLength(1)
    expect(mesh.sent('2', '1', 'pull')).toEqual([])
  })
})

describe('conflicts (R5)', () => {
  it('are gone once somebody whose server had applied them all writes the key again', () => {
    const mesh = new Mesh({ servers: ['1', '2', '3'] })
    mesh.connectAll()
    mesh.write('1', 'x', 'one')
    mesh.write('2', 'x', 'two')
    mesh.settle()
    for (const id of mesh.ids) {
      expect(mesh.read(id, 'x')).toBe('two')
      expect(mesh.answer(id, 'conflicts', { method: 'conflicts', prefix: '' }).keys).toEqual([
        {
          key: 'x',
          versions: [
            { version: versionOf('2', 1), value: 'two' },
            { version: versionOf('1', 1), value: 'one' },
          ],
        },
      ])
    }
    mesh.write('3', 'x', 'both')
    mesh.settle()
    for (const id of mesh.ids) {
      expect(mesh.read(id, 'x')).toBe('both')
      expect(mesh.answer(id, 'status', { method: 'status' }).status.conflicts).toBe(0)
    }
  })

  it('include a write that its server took before it had applied a lower version, which is no winner by time alone', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.write('1', 'x', 'early')
    mesh.write('2', 'other', 1)
    mesh.write('2', 'x', 'late, and unaware')
    mesh.connectAll()
    mesh.settle()
    expect(mesh.replica('1').clock).toBe(2)
    for (const id of mesh.ids) {
      expect(
        mesh.answer(id, 'conflicts', { method: 'conflicts', prefix: 'x' }).keys[0]?.versions,
      ).toHaveLength(2)
    }
  })

  it('are told to the operator as they arise, and counted', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.write('1', 'x', 1)
    mesh.write('2', 'x', 2)
    mesh.connectAll()
    mesh.settle()
    expect(mesh.events('1', 'conflict')).toEqual([
      { kind: 'conflict', key: 'x', versions: [versionOf('2', 1), versionOf('1', 1)] },
    ])
  })

  it('a deletion and a concurrent write are two siblings on every server, whatever came first', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.connectAll()
    mesh.write('1', 'x', 'first')
    mesh.settle()
    mesh.delete('1', 'x')
    mesh.write('2', 'x', 'again')
    mesh.settle()
    expect(mesh.state('1')).toEqual(mesh.state('2'))
    expect(mesh.read('1', 'x')).toBe('again')
    expect(mesh.state('1').entries[0]?.[1]).toHaveLength(2)
  })
})

describe('requests', () => {
  it('of several keys are answered from one moment, in the order asked', () => {
    const mesh = new Mesh({ servers: ['1'] })
    mesh.writeAll('1', [
      { key: 'x', value: 1 },
      { key: 'y', value: 2 },
    ])
    const { values } = mesh.answer('1', 'read', { method: 'read', keys: ['y', 'none', 'x'] })
    expect(values.map(({ key, winner }) => [key, winner?.value])).toEqual([
      ['y', 2],
      ['none', undefined],
      ['x', 1],
    ])
  })

  it('may name any key, and __proto__ is one like any other', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.connectAll()
    for (const key of ['__proto__', 'constructor', 'toString']) mesh.write('1', key, key)
    mesh.settle()
    for (const key of ['__proto__', 'constructor', 'toString']) expect(mesh.read('2', key)).toBe(key)
    expect(mesh.read('2', 'hasOwnProperty')).toBeUndefined()
  })

  it('get a status that counts what is here and what the peers have told', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.connectAll()
    mesh.write('1', 'x', 1)
    mesh.write('1', 'y', 1)
    mesh.delete('1', 'y')
    mesh.run(100)
    expect(mesh.answer('1', 'status', { method: 'status' }).status).toEqual({
      server: '1',
      origin: '1~a',
      clock: 3,
      applied: new Map([['1~a', 3]]),
      waiting: 0,
      keys: 1,
      tombstones: 1,
      conflicts: 0,
      log: 3,
      logBytes: 399,
      origins: 1,
      sessions: 0,
      answers: 0,
      parked: 0,
      watches: 0,
      peers: [{ id: '2', origin: '2~a', applied: new Map([['1~a', 3]]) }],
    })
  })

  it('get copies: an answer does not change afterwards', () => {
    const mesh = new Mesh({ servers: ['1'] })
    const { applied } = mesh.answer('1', 'hello', { method: 'hello' })
    mesh.write('1', 'x', 1)
    expect(applied.size).toBe(0)
  })

  it('list what waits, with all that it waits for', () => {
    const replica = freshReplica()
    hand(
      replica,
      '2',
      buildUpdate({ server: '2', timestamp: 9, previous: 3, needs: { '1': 8, '3': 2 }, key: 'z' }),
    )
    replica.step({ kind: 'tick', nowMs: 250 })
    const { reply } = replica.step({ kind: 'request', client: 1, id: 7, request: { method: 'waiting' } })
    expect(reply).toEqual([
      {
        client: 1,
        id: 7,
        result: {
          method: 'waiting',
          waiting: [
            {
              keys: ['z'],
              version: versionOf('2', 9),
              waitsFor: [versionOf('2', 3), versionOf('1', 8), versionOf('3', 2)],
              from: '2',
              sinceMs: 250,
            },
          ],
        },
      },
    ])
  })
})

describe('a step', () => {
  it('is a function of its inputs: the same inputs give the same outputs', () => {
    const [first, second] = [someOutputs(), someOutputs()]
    expect(first.length).toBeGreaterThan(100)
    expect(first).toEqual(second)
  })

  it('applies no more than a bound, says that there is more, and goes on when told to', () => {
    const replica = freshReplica({ limits: { appliedPerStepMax: 4 } })
    for (let timestamp = 11; timestamp > 1; timestamp--) {
      hand(replica, '1', buildUpdate({ server: '1', timestamp, previous: timestamp - 1 }))
    }
    const first = hand(replica, '1', buildUpdate({ server: '1', timestamp: 1 }))
    const slices = [first]
    while (slices.at(-1)?.more === true) slices.push(replica.step({ kind: 'continue' }))
    expect(slices.map(appliedBy)).toEqual([
      [1, 2, 3, 4, 5],
      [6, 7, 8, 9],
      [10, 11],
    ])
  })

  it('never sends one of its own origins’ names to anybody but in what it did: an idle start is in no cut (R7)', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.connectAll()
    mesh.run(500)
    expect(mesh.replica('2').applied.has(originOf('1'))).toBe(false)
    expect(mesh.sent('1', '2', 'cut').map(({ entries }) => entries.size)).toEqual([0])
  })
})
