import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Cut } from '../../src/replica/cut.ts'
import type { Notification } from '../../src/replica/output.ts'
import { Mesh } from './mesh.ts'
import { originOf, versionOf } from './update-builder.ts'

type Update = Extract<Notification, { kind: 'update' }>

function watch(mesh: Mesh, prefix: string, since: 'now' | 'start' | Cut): number {
  return mesh.answer('1', 'watch', { method: 'watch', prefix, since }).watch
}

/** The updates that a watch was sent, by timestamp, with `caughtUp` where it came. */
function story(mesh: Mesh, number = 1): readonly (number | 'caughtUp')[] {
  return mesh
    .notifications('1')
    .filter((pushed) => pushed.watch === number)
    .map((pushed) => (pushed.kind === 'update' ? pushed.version.timestamp : 'caughtUp'))
}

function updatesOf(mesh: Mesh): readonly Update[] {
  return mesh.notifications('1').filter((pushed): pushed is Update => pushed.kind === 'update')
}

function alone(pageUpdatesMax = 1_000): Mesh {
  return new Mesh({ servers: ['1'], limits: { page: { updatesMax: pageUpdatesMax, bytesMax: 1_000_000 } } })
}

describe('a watch (R11)', () => {
  it('from now is sent what is applied after it was answered, and first told that it has caught up', () => {
    const mesh = alone()
    mesh.write('1', 'x', 1)
    watch(mesh, '', 'now')
    mesh.settle()
    mesh.write('1', 'x', 2)
    expect(story(mesh)).toEqual(['caughtUp', 2])
  })

  it('from now misses nothing that is applied between its answer and its first push', () => {
    const mesh = alone()
    watch(mesh, '', 'now')
    mesh.write('1', 'x', 1)
    mesh.settle()
    expect(story(mesh)).toEqual([1, 'caughtUp'])
  })

  it('from the start is sent all that was ever applied, in causal order, then what follows', () => {
    const mesh = alone()
    for (let count = 1; count <= 3; count++) mesh.write('1', 'x', count)
    watch(mesh, '', 'start')
    mesh.settle()
    mesh.write('1', 'x', 4)
    expect(story(mesh)).toEqual([1, 2, 3, 'caughtUp', 4])
  })

  it('from a cut is never sent what the cut covers, even if this server applies it only later', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    mesh.connectAll()
    const read = mesh.write('2', 'x', 'read at 2')
    watch(mesh, '', new Map([[originOf('2'), read.timestamp]]))
    mesh.step('1', { kind: 'continue' })
    mesh.settle()
    expect(mesh.read('1', 'x')).toBe('read at 2')
    mesh.write('2', 'x', 'new')
    mesh.settle()
    expect(story(mesh)).toEqual(['caughtUp', 2])
  })

  it('says with caughtUp which cut it has reached', () => {
    const mesh = alone()
    mesh.write('1', 'x', 1)
    watch(mesh, '', 'start')
    mesh.settle()
    expect(mesh.notifications('1').at(-1)).toEqual({
      kind: 'caughtUp',
      client: 1,
      watch: 1,
      applied: new Map([[originOf('1'), 1]]),
    })
  })

  it('is by prefix, and sends an update’s keys with that prefix together', () => {
    const mesh = alone()
    watch(mesh, 'cart/', 'start')
    mesh.settle()
    mesh.writeAll('1', [
      { key: 'cart/1', value: 'ring' },
      { key: 'user/1', value: 'Alice' },
      { key: 'cart/2', deleted: true },
    ])
    mesh.write('1', 'user/2', 'Bob')
    expect(updatesOf(mesh).map(({ version, writes }) => [version.timestamp, writes])).toEqual([
      [
        1,
        [
          { key: 'cart/1', value: 'ring' },
          { key: 'cart/2', deleted: true },
        ],
      ],
    ])
  })

  it('is sent the losing write of a conflict too, with all siblings (R5)', () => {
    const mesh = new Mesh({ servers: ['1', '2'] })
    watch(mesh, '', 'start')
    mesh.settle()
    mesh.write('2', 'x', 'two')
    mesh.write('1', 'x', 'one')
    mesh.connectAll()
    mesh.settle()
    expect(updatesOf(mesh).map(({ version, conflict }) => [version, conflict])).toEqual([
      [versionOf('1', 1), []],
      [
        versionOf('2', 1),
        [
          {
            key: 'x',
            versions: [
              { version: versionOf('2', 1), value: 'two' },
              { version: versionOf('1', 1), value: 'one' },
            ],
          },
        ],
      ],
    ])
  })

  it('is pushed a client’s own write before that write is answered: one step, pushes first', () => {
    const mesh = alone()
    watch(mesh, '', 'now')
    mesh.settle()
    const output = mesh.request('1', { method: 'write', writes: [{ key: 'x', value: 1 }] })
    expect([output.notify.length, output.reply.length]).toEqual([1, 1])
  })

  it('ends with unwatch, with its client, and for nobody else', () => {
    const mesh = alone()
    const [first, second] = [watch(mesh, '', 'now'), watch(mesh, '', 'now')]
    mesh.request('1', { method: 'watch', prefix: '', since: 'now' }, 2)
    mesh.settle()
    mesh.answer('1', 'unwatch', { method: 'unwatch', watch: first })
    expect(mesh.answer('1', 'refused', { method: 'unwatch', watch: first }).reason).toBe('noSuchWatch')
    mesh.write('1', 'x', 1)
    mesh.step('1', { kind: 'clientGone', client: 1 })
    mesh.write('1', 'x', 2)
    expect(story(mesh, first)).toEqual(['caughtUp'])
    expect(story(mesh, second)).toEqual(['caughtUp', 1])
    expect(mesh.notifications('1', 2).map(({ kind }) => kind)).toEqual(['caughtUp', 'update', 'update'])
    expect(mesh.answer('1', 'status', { method: 'status' }).status.watches).toBe(1)
  })

  it('cannot be ended by another client', () => {
    const mesh = alone()
    const number = watch(mesh, '', 'now')
    const { reply } = mesh.request('1', { method: 'unwatch', watch: number }, 2)
    expect(reply[0]?.result).toEqual({ method: 'refused', reason: 'noSuchWatch' })
  })

  it('more than the limit of one client is refused', () => {
    const mesh = new Mesh({ servers: ['1'], limits: { watchesPerClientMax: 2 } })
    watch(mesh, '', 'now')
    watch(mesh, '', 'now')
    const request = { method: 'watch', prefix: '', since: 'now' } as const
    expect(mesh.answer('1', 'refused', request).reason).toBe('tooManyWatches')
    expect(mesh.request('1', request, 2).reply[0]?.result.method).toBe('watch')
  })
})

describe('watches of many prefixes (R11)', () => {
  it('are each told of what they match, once for an update, whatever the lengths of their prefixes', () => {
    const mesh = alone()
    const prefixes = ['', 'a', 'ab', 'abc', 'b', 'abcdefgh']
    const numbers = prefixes.map((prefix) => watch(mesh, prefix, 'now'))
    mesh.settle()
    const writes = ['ab', 'abc', 'c'].map((key) => ({ key, value: 1 }))
    mesh.writeAll('1', writes)
    const told = numbers.map((number) =>
      updatesOf(mesh)
        .filter((pushed) => pushed.watch === number)
        .map((pushed) => pushed.writes.map(({ key }) => key)),
    )
    expect(told).toEqual([[['ab', 'abc', 'c']], [['ab', 'abc']], [['ab', 'abc']], [['abc']], [], []])
    for (const watch of numbers) mesh.answer('1', 'unwatch', { method: 'unwatch', watch })
    expect(mesh.request('1', { method: 'write', writes }).notify).toEqual([])
  })

  it('that catch up share the budget of a step in turns, and a step says that there is more', () => {
    const mesh = new Mesh({ servers: ['1'], limits: { appliedPerStepMax: 4 } })
    for (let count = 1; count <= 3; count++) mesh.write('1', 'x', count)
    const clients = [1, 2, 3]
    for (const client of clients) mesh.request('1', { method: 'watch', prefix: '', since: 'start' }, client)
    const received = (): readonly number[] =>
      clients.map((client) => mesh.notifications('1', client).filter(({ kind }) => kind === 'update').length)
    const first = mesh.step('1', { kind: 'continue' })
    expect([received(), first.awaitDrain, first.more]).toEqual([[3, 1, 0], [2], true])
    const second = mesh.step('1', { kind: 'continue' })
    expect([received(), second.awaitDrain, second.more]).toEqual([[3, 1, 3], [], false])
    mesh.step('1', { kind: 'clientDrained', client: 2 })
    expect(received()).toEqual([3, 3, 3])
  })
})

describe('a bookmark (R11)', () => {
  it('covers what the watch began from, even where this server has not applied that', () => {
    const mesh = alone()
    mesh.write('1', 'x', 1)
    watch(mesh, '', new Map([[originOf('2'), 9]]))
    mesh.settle()
    expect(mesh.notifications('1').at(-1)).toMatchObject({
      kind: 'caughtUp',
      applied: new Map([
        [originOf('1'), 1],
        [originOf('2'), 9],
      ]),
    })
  })
})

describe('a slow watcher (R11)', () => {
  it('is sent a page at a time, each when it has taken the one before', () => {
    const mesh = alone(2)
    for (let count = 1; count <= 5; count++) mesh.write('1', 'x', count)
    watch(mesh, '', 'start')
    const first = mesh.step('1', { kind: 'continue' })
    expect([story(mesh), first.awaitDrain, first.more]).toEqual([[1, 2], [1], false])
    mesh.tick(1_000)
    expect(story(mesh)).toEqual([1, 2])
    mesh.step('1', { kind: 'clientDrained', client: 1 })
    expect(story(mesh)).toEqual([1, 2, 3, 4])
    const last = mesh.step('1', { kind: 'clientDrained', client: 1 })
    expect([story(mesh), last.awaitDrain]).toEqual([[1, 2, 3, 4, 5, 'caughtUp'], []])
  })

  it('that stalls is sent nothing until it has drained, and then all that it missed', () => {
    const mesh = alone()
    watch(mesh, '', 'start')
    mesh.settle()
    mesh.write('1', 'x', 1)
    mesh.step('1', { kind: 'clientStalled', client: 1 })
    for (let count = 2; count <= 4; count++) mesh.write('1', 'x', count)
    mesh.tick(1_000)
    expect(story(mesh)).toEqual(['caughtUp', 1])
    mesh.step('1', { kind: 'clientDrained', client: 1 })
    mesh.write('1', 'x', 5)
    expect(story(mesh)).toEqual(['caughtUp', 1, 2, 3, 4, 'caughtUp', 5])
  })

  it('does not slow another client’s watch', () => {
    const mesh = alone()
    mesh.request('1', { method: 'watch', prefix: '', since: 'now' }, 2)
    watch(mesh, '', 'now')
    mesh.settle()
    mesh.step('1', { kind: 'clientStalled', client: 1 })
    mesh.write('1', 'x', 1)
    expect(mesh.notifications('1', 2).map(({ kind }) => kind)).toEqual(['caughtUp', 'update'])
  })

  it('may open another watch while it is stalled, which begins when it has drained', () => {
    const mesh = alone()
    mesh.write('1', 'x', 1)
    mesh.step('1', { kind: 'clientStalled', client: 1 })
    watch(mesh, '', 'start')
    mesh.settle()
    expect(story(mesh)).toEqual([])
    mesh.step('1', { kind: 'clientDrained', client: 1 })
    expect(story(mesh)).toEqual([1, 'caughtUp'])
  })

  it('misses nothing and gets nothing twice, whenever it stalls and drains', () => {
    const command = fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom('write at 1', 'write at 2') },
      { weight: 4, arbitrary: fc.constantFrom('link', 'tick', 'continue') },
      { weight: 3, arbitrary: fc.constantFrom('stall', 'drain', 'other drains', 'watch') },
    )
    const since = fc.constantFrom('start' as const, 'now' as const, 'cut' as const)
    fc.assert(
      fc.property(fc.array(command, { maxLength: 80, size: 'max' }), since, (commands, from) => {
        const mesh = new Mesh({
          servers: ['1', '2'],
          limits: { page: { updatesMax: 2, bytesMax: 10_000 }, appliedPerStepMax: 2 },
        })
        mesh.connectAll()
        const covered = commands.length % 4
        /** For each watch: how many updates had been applied when it was opened, where that matters. */
        const opened: { readonly number: number; readonly from: number; readonly cut: Cut }[] = []
        const open = (): void => {
          const cut: Cut = from === 'cut' ? new Map([[originOf('2'), covered]]) : new Map()
          const applied = mesh.applications('1').length
          const number = watch(mesh, '', from === 'cut' ? cut : from)
          opened.push({ number, from: from === 'now' ? applied : 0, cut })
        }
        open()
        for (const [index, command] of commands.entries()) {
          if (command === 'write at 1') mesh.write('1', 'x', index)
          else if (command === 'write at 2') mesh.write('2', 'x', index)
          else if (command === 'link') mesh.deliver('2', '1')
          else if (command === 'tick') mesh.tick(10)
          else if (command === 'continue') mesh.step('1', { kind: 'continue' })
          else if (command === 'stall') mesh.step('1', { kind: 'clientStalled', client: 1 })
          else if (command === 'drain') mesh.step('1', { kind: 'clientDrained', client: 1 })
          else if (command === 'other drains') mesh.step('1', { kind: 'clientDrained', client: 2 })
          else if (opened.length < 3) open()
        }
        mesh.settle()
        for (let count = 0; count <= commands.length; count++) {
          mesh.step('1', { kind: 'clientDrained', client: 1 })
        }
        const applied = mesh.applications('1')
        for (const { number, from, cut } of opened) {
          const expected = applied
            .slice(from)
            .filter((update) => update.timestamp > (cut.get(update.origin) ?? 0))
            .map(({ timestamp, origin }) => ({ timestamp, origin }))
          const got = updatesOf(mesh)
            .filter((pushed) => pushed.watch === number)
            .map(({ version }) => version)
          expect(got).toEqual(expected)
        }
      }),
      { numRuns: 300 },
    )
  })
})
