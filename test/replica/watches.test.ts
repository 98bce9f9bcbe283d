import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { covers, entryOf, raiseAll, type Cut, type MutableCut } from '../../src/replica/cut.ts'
import type { ClientId } from '../../src/replica/input.ts'
import { KeySpace } from '../../src/replica/key-space.ts'
import { notificationsOf, type Broadcast, type Notification } from '../../src/replica/output.ts'
import { AppliedVersion } from '../../src/replica/surviving-updates.ts'
import { UpdateLog } from '../../src/replica/update-log.ts'
import { sizeOf, type Update, type Write } from '../../src/replica/update.ts'
import { showVersion, type Origin } from '../../src/replica/version.ts'
import { Watches } from '../../src/replica/watches.ts'
import { Mesh } from './mesh.ts'
import { buildUpdate, originOf, versionOf } from './update-builder.ts'

type UpdatePush = Extract<Notification, { kind: 'update' }>

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

function updatesOf(mesh: Mesh): readonly UpdatePush[] {
  return mesh.notifications('1').filter((pushed): pushed is UpdatePush => pushed.kind === 'update')
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
    expect([[...notificationsOf(output)].length, output.reply.length]).toEqual([1, 1])
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
    expect([...notificationsOf(mesh.request('1', { method: 'write', writes }))]).toEqual([])
  })

  it('that catch up share the budget of a step in turns, and a step says that there is more', () => {
    const mesh = new Mesh({ servers: ['1'], limits: { appliedPerStepMax: 5 } })
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

  it('misses nothing that survives and gets nothing twice, whenever it stalls and drains', () => {
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
          const key = `${index % 7}`
          if (command === 'write at 1') mesh.write('1', key, index)
          else if (command === 'write at 2') mesh.write('2', key, index)
          else if (command === 'link') mesh.deliver('2', '1')
          else if (command === 'tick') mesh.tick(10)
          else if (command === 'continue') mesh.step('1', { kind: 'continue' })
          else if (command === 'stall') mesh.step('1', { kind: 'clientStalled', client: 1 })
          else if (command === 'drain') mesh.step('1', { kind: 'clientDrained', client: 1 })
          else if (command === 'other drains') mesh.step('1', { kind: 'clientDrained', client: 2 })
          else if (opened.length < 3) open()
        }
        mesh.settle()
        // Two updates a step, and three watches may have all of them to read.
        for (let count = 0; count <= 3 * (commands.length + 1); count++) {
          mesh.step('1', { kind: 'clientDrained', client: 1 })
        }
        const surviving = new Set(
          mesh
            .state('1')
            .entries.flatMap(([, siblings]) => siblings.map(({ version }) => showVersion(version))),
        )
        for (const { number, from, cut } of opened) {
          const all = mesh
            .applications('1')
            .slice(from)
            .filter((update) => update.timestamp > (cut.get(update.origin) ?? 0))
            .map((update) => showVersion(update))
          const got = updatesOf(mesh)
            .filter((pushed) => pushed.watch === number)
            .map(({ version }) => showVersion(version))
          const isSlow = commands.includes('stall')
          expect(got).toEqual(isSlow ? all.filter((version) => got.includes(version)) : all)
          expect(got).toEqual(expect.arrayContaining(all.filter((version) => surviving.has(version))))
        }
      }),
      { numRuns: 300 },
    )
  })
})

/** What {@link Watches} stands on, with nothing else of a replica: servers write, and all is applied here at once. */
class Store {
  readonly log: UpdateLog
  readonly keySpace = new KeySpace()
  readonly watches: Watches
  readonly applied: MutableCut = new Map()
  readonly notifications: Notification[] = []
  /** All that was ever applied, with the cut that its server had applied when it wrote. */
  readonly history: { readonly update: Update; readonly seen: Cut }[] = []
  readonly #seen = new Map<string, Cut>()
  #nowMs = 0

  constructor(
    limits: {
      readonly logUpdatesMax?: number
      readonly pageUpdatesMax?: number
      readonly pageBytesMax?: number
      readonly examinedPerStepMax?: number
    } = {},
  ) {
    this.log = new UpdateLog({ updatesMax: limits.logUpdatesMax ?? 1_000, bytesMax: 1_000_000 })
    this.watches = new Watches({
      log: this.log,
      keySpace: this.keySpace,
      pageUpdatesMax: limits.pageUpdatesMax ?? 1_000,
      pageBytesMax: limits.pageBytesMax ?? 1_000_000,
      examinedPerStepMax: limits.examinedPerStepMax ?? 1_000,
      bookmarkEveryMs: 1_000,
    })
  }

  /** From now on the server's writes have seen all that is applied here; before, only its own. */
  sync(server: string): void {
    this.#seen.set(server, new Map(this.applied))
  }

  write(server: string, ...keys: readonly string[]): Update {
    const update = this.#stamp(
      server,
      keys.map((key) => ({ key, value: `${key} by ${server}` })),
    )
    return this.#append(update)
  }

  /** Each the name of its server and its keys, applied together. */
  writeInOneStep(...updates: readonly (readonly [string, ...string[]])[]): void {
    this.watches.beginStep()
    for (const [server, ...keys] of updates) {
      const update = this.#stamp(
        server,
        keys.map((key) => ({ key, value: `${key} by ${server}` })),
      )
      this.log.append({ update, bytes: sizeOf(update) })
      this.#told(update)
    }
  }

  delete(server: string, key: string): Update {
    return this.#append(this.#stamp(server, [{ key, deleted: true }]))
  }

  /** What a peer's snapshot brings: several writes, of which only the state comes. */
  install(writes: readonly { readonly server: string; readonly keys: readonly string[] }[]): void {
    const { end } = this.log
    for (const { server, keys } of writes) {
      this.#stamp(
        server,
        keys.map((key) => ({ key, value: `${key} by ${server}` })),
      )
    }
    this.log.skipTo(end + writes.length, new Map(this.applied))
    this.watches.installed(end)
  }

  /** One step's catching up. */
  turn(passedMs = 0): readonly ClientId[] {
    this.#nowMs += passedMs
    return this.watches.catchUp(this.applied, this.#nowMs, this.notifications)
  }

  /** All clients take everything, until all watches are live. */
  settle(clients: readonly ClientId[] = [1]): void {
    for (const client of clients) this.watches.drain(client)
    for (let turns = 0; turns < 1_000; turns++) {
      for (const client of this.turn()) this.watches.drain(client)
      if (!this.watches.anyDue) return
    }
    throw new Error('the watches have not caught up after 1,000 turns')
  }

  /** @returns a handle for {@link of} and {@link story}. */
  open(client: ClientId, prefix: string, since: 'now' | 'start' | Cut): number {
    return handleOf(client, this.watches.open(client, prefix, since))
  }

  of(handle: number): readonly Notification[] {
    return this.notifications.filter(({ client, watch }) => handleOf(client, watch) === handle)
  }

  /** What a watch was sent: updates as `version keys`, and the names of other kinds. */
  story(watch: number): readonly string[] {
    return this.of(watch).map((pushed) =>
      pushed.kind === 'update'
        ? [showVersion(pushed.version), ...pushed.writes.map(({ key }) => key)].join(' ')
        : pushed.kind,
    )
  }

  #stamp(server: string, writes: readonly Write[]): Update {
    const origin = originOf(server)
    const previous = entryOf(this.applied, origin)
    const seen = new Map(this.#seen.get(server))
    seen.set(origin, previous)
    const timestamp = Math.max(...seen.values()) + 1
    const update = { origin, timestamp, previous, dependencies: {}, writes }
    const version = new AppliedVersion(update, this.history.length)
    for (const write of writes) this.keySpace.apply(write, version, (other) => covers(seen, other))
    this.applied.set(origin, timestamp)
    this.history.push({ update, seen })
    return update
  }

  #told(update: Update): void {
    const broadcast: Broadcast[] = []
    const notify: Notification[] = []
    this.watches.applied(update, { toBroadcast: (one) => broadcast.push(one), notify })
    this.notifications.push(...notificationsOf({ broadcast, notify }))
  }

  #append(update: Update): Update {
    this.log.append({ update, bytes: sizeOf(update) })
    this.watches.beginStep()
    this.#told(update)
    return update
  }
}

describe('a watch that the log does not reach (R11)', () => {
  it('is sent the state: what survives, in causal order, an update’s surviving keys together', () => {
    const store = new Store({ logUpdatesMax: 2 })
    store.write('1', 'a', 'b', 'other')
    store.write('1', 'c')
    store.write('1', 'b')
    store.delete('1', 'c')
    for (const key of ['d', 'e']) store.write('1', key)
    expect(store.log.start).toBeGreaterThan(2)
    const watch = store.open(1, '', 'start')
    store.settle()
    expect(store.story(watch)).toEqual(['1@1 a other', '3@1 b', '4@1 c', '5@1 d', '6@1 e', 'caughtUp'])
    const [first, , third] = store.of(watch)
    expect(first).toMatchObject({ writes: [{ key: 'a', value: 'a by 1' }, { key: 'other' }] })
    expect(third).toMatchObject({ writes: [{ key: 'c', deleted: true }] })
  })

  it('is sent of the state what has its prefix, with all siblings of a conflict', () => {
    const store = new Store({ logUpdatesMax: 1 })
    store.write('1', 'cart/1', 'user/1')
    store.write('2', 'cart/1')
    for (const key of ['x', 'y', 'z']) store.write('1', key)
    const watch = store.open(1, 'cart/', 'start')
    store.settle()
    expect(store.story(watch)).toEqual(['1@1 cart/1', '1@2 cart/1', 'caughtUp'])
    const versions = [{ version: versionOf('2', 1) }, { version: versionOf('1', 1) }]
    expect(store.of(watch)[0]).toMatchObject({ conflict: [{ key: 'cart/1', versions }] })
  })

  it('from a cut is sent of the state what the cut does not cover', () => {
    const store = new Store({ logUpdatesMax: 1 })
    for (const key of ['a', 'b', 'c', 'd']) store.write('1', key)
    const watch = store.open(1, '', new Map([[originOf('1'), 2]]))
    store.settle()
    expect(store.story(watch)).toEqual(['3@1 c', '4@1 d', 'caughtUp'])
  })

  it('from a cut that the log reaches is sent everything after it, overwritten or not', () => {
    const store = new Store({ logUpdatesMax: 4 })
    for (let count = 0; count < 9; count++) store.write('1', 'x')
    const { start, end } = store.log
    expect(start).toBeGreaterThan(0)
    const watch = store.open(1, '', new Map([[originOf('1'), start]]))
    store.settle()
    const expected = Array.from({ length: end - start }, (_, index) => `${start + index + 1}@1 x`)
    expect(store.story(watch)).toEqual([...expected, 'caughtUp'])
  })

  it('that was reading the log goes on from the state where the log is trimmed away before it', () => {
    const store = new Store({ logUpdatesMax: 8, pageUpdatesMax: 2 })
    for (const key of ['a', 'b', 'c', 'd', 'c']) store.write('1', key)
    const watch = store.open(1, '', 'start')
    store.turn()
    for (let count = 0; count < 9; count++) store.write('1', 'e')
    expect(store.log.start).toBeGreaterThan(2)
    store.settle()
    expect(store.story(watch)).toEqual(['1@1 a', '2@1 b', '4@1 d', '5@1 c', '14@1 e', 'caughtUp'])
  })

  it('walks the state a page at a time, never sees what is overwritten meanwhile, and ends live', () => {
    const store = new Store({ logUpdatesMax: 1, pageUpdatesMax: 2 })
    for (const key of ['a', 'b', 'c', 'd']) store.write('1', key)
    const watch = store.open(1, '', 'start')
    expect(store.turn()).toEqual([1])
    store.write('1', 'c')
    store.write('1', 'a')
    store.watches.drain(1)
    expect(store.turn()).toEqual([1])
    store.settle()
    store.write('1', 'live')
    expect(store.story(watch)).toEqual(['1@1 a', '2@1 b', '4@1 d', '5@1 c', '6@1 a', 'caughtUp', '7@1 live'])
  })

  it('costs its share of a step’s budget, as one that reads the log does', () => {
    const store = new Store({ logUpdatesMax: 1, examinedPerStepMax: 5 })
    for (const key of ['a', 'b', 'c']) store.write('1', key)
    const [first, second] = [store.open(1, '', 'start'), store.open(2, '', 'start')]
    expect(store.turn()).toEqual([2])
    expect([store.story(first).length, store.story(second).length]).toEqual([4, 1])
    store.settle([2])
    expect(store.story(second)).toEqual(store.story(first))
  })
})

describe('a live watch whose client stalls (R11)', () => {
  it('is sent all that it missed where that is a page at most', () => {
    const store = new Store({ pageUpdatesMax: 3 })
    const watch = store.open(1, '', 'now')
    store.settle()
    store.watches.stall(1)
    for (let count = 0; count < 3; count++) store.write('1', 'x')
    store.settle()
    expect(store.story(watch)).toEqual(['caughtUp', '1@1 x', '2@1 x', '3@1 x', 'caughtUp'])
  })

  it('is sent what survives of it where that is more: values coalesce by key', () => {
    const store = new Store({ pageUpdatesMax: 3 })
    store.write('1', 'before')
    const watch = store.open(1, '', 'now')
    store.settle()
    store.watches.stall(1)
    for (let count = 0; count < 50; count++) store.write('1', 'x', 'y')
    store.write('1', 'x')
    store.settle()
    store.write('1', 'x')
    expect(store.story(watch)).toEqual(['caughtUp', '51@1 y', '52@1 x', 'caughtUp', '53@1 x'])
  })

  it('is sent what survives where the log was trimmed meanwhile, and none of what it had', () => {
    const store = new Store({ logUpdatesMax: 2 })
    const watch = store.open(1, '', 'now')
    store.settle()
    for (const key of ['a', 'b']) store.write('1', key)
    store.watches.stall(1)
    for (const key of ['c', 'd', 'c', 'e']) store.write('1', key)
    store.settle()
    expect(store.story(watch)).toEqual(['caughtUp', '1@1 a', '2@1 b', '4@1 d', '5@1 c', '6@1 e', 'caughtUp'])
  })

  it('that reads back from the start of its own will is sent everything, however often it stalls', () => {
    const store = new Store({ pageUpdatesMax: 2 })
    for (let count = 0; count < 7; count++) store.write('1', 'x')
    const watch = store.open(1, '', 'start')
    store.turn()
    store.watches.stall(1)
    store.settle()
    expect(store.story(watch).filter((line) => line !== 'caughtUp').length).toBe(7)
  })
})

describe('watches of a server that installs a snapshot (R8, R11)', () => {
  it('are sent what it brought, and nothing that they had', () => {
    const store = new Store()
    store.write('1', 'a')
    const live = store.open(1, '', 'start')
    store.settle()
    const reading = store.open(2, '', 'start')
    const covering = store.open(3, '', new Map([[originOf('2'), 1]]))
    store.install([
      { server: '2', keys: ['b'] },
      { server: '2', keys: ['c', 'd'] },
      { server: '2', keys: ['c'] },
    ])
    store.write('1', 'e')
    store.settle([1, 2, 3])
    const brought = ['2@2 d', '3@2 c', '2@1 e', 'caughtUp']
    expect(store.story(live)).toEqual(['1@1 a', 'caughtUp', '1@2 b', ...brought])
    expect(store.story(reading)).toEqual(['1@1 a', '1@2 b', ...brought])
    expect(store.story(covering)).toEqual(['1@1 a', ...brought])
  })

  it('go on from the state while the log has a gap, even from a cut that covers all before the log', () => {
    const store = new Store()
    for (const key of ['a', 'b', 'a']) store.write('1', key)
    store.install([{ server: '2', keys: ['c'] }])
    const watch = store.open(1, '', new Map(store.log.floor))
    store.settle()
    const start = store.open(1, '', 'start')
    store.settle()
    expect(store.story(start)).toEqual(['2@1 b', '3@1 a', '1@2 c', 'caughtUp'])
    expect(store.story(watch)).toEqual(['caughtUp'])
  })
})

describe('a watch of a server that came back from its disk (R6, R11)', () => {
  it('is sent what its cut does not cover, whatever the order in which that was applied', () => {
    const log = new UpdateLog({ updatesMax: 10, bytesMax: 1_000 })
    const keySpace = new KeySpace()
    const restoration = keySpace.restoration()
    const [trimmed, logged, installed] = [versionOf('2', 5), versionOf('1', 1), versionOf('3', 6)]
    for (const [key, version] of [
      ['a', trimmed],
      ['b', logged],
      ['c', installed],
    ] as const) {
      restoration.restore(key, [{ version, value: key }])
    }
    const floor = new Map([trimmed, installed].map(({ origin, timestamp }) => [origin, timestamp]))
    log.skipTo(1, floor)
    const update = buildUpdate({ server: '1', timestamp: 1, key: 'b' })
    log.append({ update, bytes: sizeOf(update) })
    restoration.locate(update, 1)
    log.skipTo(3, floor)
    restoration.finish(log.gapEnd)
    const limits = { pageUpdatesMax: 10, pageBytesMax: 1_000, examinedPerStepMax: 10, bookmarkEveryMs: 1_000 }
    const watches = new Watches({ log, keySpace, ...limits })
    watches.open(1, '', floor)
    const notifications: Notification[] = []
    watches.catchUp(new Map(), 0, notifications)
    expect(notifications.map((pushed) => (pushed.kind === 'update' ? pushed.version : pushed.kind))).toEqual([
      logged,
      'caughtUp',
    ])
  })
})

describe('a page of long values (R11)', () => {
  it.each([
    ['log', 1_000],
    ['state', 1],
  ])('of the %s ends when it has come to its bytes, and the next goes on behind it', (_, logUpdatesMax) => {
    // Each write comes to some 40 bytes.
    const store = new Store({ logUpdatesMax, pageBytesMax: 60 })
    for (const key of ['a', 'b', 'c', 'd', 'e']) store.write('1', key)
    const watch = store.open(1, '', 'start')
    store.turn()
    expect(store.story(watch)).toEqual(['1@1 a', '2@1 b'])
    store.watches.drain(1)
    store.turn()
    expect(store.story(watch).slice(2)).toEqual(['3@1 c', '4@1 d'])
    store.settle()
    expect(store.story(watch).slice(4)).toEqual(['5@1 e', 'caughtUp'])
  })

  it('leaves the other watches for the next step', () => {
    const store = new Store({ pageBytesMax: 60 })
    for (const key of ['a', 'b', 'c']) store.write('1', key)
    const [one, other] = [store.open(1, '', 'start'), store.open(2, '', 'start')]
    store.turn()
    expect([store.story(one), store.story(other)]).toEqual([['1@1 a', '2@1 b'], []])
    expect(store.watches.anyDue).toBe(true)
    store.turn()
    expect(store.story(other)).toEqual(['1@1 a', '2@1 b'])
  })

  it('has one update at least, however long it is', () => {
    const store = new Store({ pageBytesMax: 1 })
    for (const key of ['a', 'b']) store.write('1', key)
    const watch = store.open(1, '', 'start')
    store.settle()
    expect(store.story(watch)).toEqual(['1@1 a', '2@1 b', 'caughtUp'])
  })
})

describe('an update of which there are many parts to tell (R11)', () => {
  const keys = Array.from({ length: 8 }, (_, index) => 'a'.repeat(index + 1))

  it('is told to some at once, and to the others a page at a time; the parts are the same', () => {
    // Eight prefixes of parts that come to some 900 bytes in all, the update to 240.
    const store = new Store({ pageBytesMax: 300 })
    const watches = keys.map((prefix, index) => store.open(index + 1, prefix, 'now'))
    store.settle()
    store.write('1', ...keys)
    const parts = (): readonly number[] =>
      watches.map((watch) => (store.story(watch)[1] ?? '').split(' ').length - 1)
    const atOnce = parts().filter((count) => count > 0).length
    expect(atOnce).toBeGreaterThan(2)
    expect(atOnce).toBeLessThan(8)
    store.settle()
    expect(parts()).toEqual([8, 7, 6, 5, 4, 3, 2, 1])
    for (const [index, watch] of watches.entries()) {
      const [, part, ...rest] = store.story(watch)
      expect(part).toBe(`1@1 ${keys.slice(index).join(' ')}`)
      expect(rest.every((item) => item === 'caughtUp')).toBe(true)
    }
    // And what comes next comes to all of them, in its place.
    store.write('1', 'aaaaaaaa')
    store.settle()
    for (const watch of watches)
      expect(store.story(watch).filter((item) => item === '2@1 aaaaaaaa')).toHaveLength(1)
  })

  it('of which no key has two of the prefixes is told at once, however long it is', () => {
    const store = new Store({ pageBytesMax: 1 })
    const letters = ['a', 'b', 'c', 'd']
    const watches = letters.map((prefix, index) => store.open(index + 1, prefix, 'now'))
    store.settle()
    store.write('1', ...letters)
    expect(watches.map((watch) => store.story(watch)[1])).toEqual(letters.map((key) => `1@1 ${key}`))
  })

  it('is told to whoever it has a small part for, though there is no room for the large ones', () => {
    const store = new Store({ pageBytesMax: 1 })
    const [wide, wider, narrow] = ['aa', 'a', 'aaaaaaaa'].map((prefix, index) =>
      store.open(index + 1, prefix, 'now'),
    ) as [number, number, number]
    store.settle()
    store.write('1', ...keys, 'b', 'bb')
    const isTold = (watch: number): boolean => store.story(watch).length > 1
    expect([isTold(wider), isTold(wide), isTold(narrow)]).toEqual([true, false, true])
  })

  it('leaves room for the parts of the next, which are no more than that has', () => {
    const store = new Store({ pageBytesMax: 300 })
    const prefixes = ['a', 'aa', 'aaa', 'm', 'n']
    const watches = prefixes.map((prefix, index) => store.open(index + 1, prefix, 'now'))
    store.settle()
    store.writeInOneStep(['1', ...keys, 'b'], ['1', 'm1', 'n1'])
    expect(watches.slice(3).map((watch) => store.story(watch)[1])).toEqual(['2@1 m1', '2@1 n1'])
  })

  it('is no reason to leave out what is overwritten meanwhile: the clients were not slow', () => {
    const store = new Store({ pageBytesMax: 1, pageUpdatesMax: 4 })
    const watches = ['a', 'aa', 'aaa'].map((prefix, index) => store.open(index + 1, prefix, 'now'))
    store.settle([1, 2, 3])
    store.write('1', ...keys, 'b')
    for (let count = 0; count < 10; count++) store.write('1', 'aaaa')
    store.settle([1, 2, 3])
    for (const watch of watches) {
      expect(
        store.of(watch).filter((pushed) => pushed.kind === 'update' && pushed.coalesced !== true),
      ).toHaveLength(11)
    }
  })

  it('is put into words once for those who catch up with it together', () => {
    const store = new Store({ pageBytesMax: 1 })
    const others = ['a', 'aa'].map((prefix, index) => store.open(index + 1, prefix, 'now'))
    const alike = [3, 4, 5].map((client) => store.open(client, 'aaa', 'now'))
    store.settle()
    store.write('1', ...keys, 'b')
    store.settle()
    expect(others.map((watch) => store.story(watch)[1])).not.toContain(undefined)
    const told = alike.map((watch) => store.of(watch).find((pushed) => pushed.kind === 'update'))
    expect(new Set(told.map((pushed) => pushed?.kind === 'update' && pushed.writes)).size).toBe(1)
  })

  it('costs each watch that catches up as much as it has writes', () => {
    const store = new Store({ examinedPerStepMax: 20 })
    store.write('1', ...keys)
    const watches = [1, 2, 3, 4].map((client) => store.open(client, 'aaaaaaaa', 'start'))
    store.turn()
    expect(watches.filter((watch) => store.story(watch).length > 0)).toHaveLength(3)
  })
})

describe('a watch from a cut of many entries (R11)', () => {
  it('costs as many turns of a step as its bookmark has entries', () => {
    const store = new Store({ examinedPerStepMax: 10 })
    const cut = new Map(Array.from({ length: 20 }, (_, index) => [originOf(`s${index}`), 1] as const))
    const watches = [1, 2, 3].map((client) => store.open(client, '', cut))
    const joined = (): number => watches.filter((watch) => store.story(watch).includes('caughtUp')).length
    for (const count of [1, 2, 3]) {
      store.turn()
      expect(joined()).toBe(count)
    }
  })
})

describe('a resync (R11)', () => {
  it('is told, and the whole state follows, what the cut covered too', () => {
    const store = new Store()
    for (const key of ['a', 'b', 'a']) store.write('1', key)
    const watch = store.open(1, '', new Map([[originOf('1'), 2]]))
    store.settle()
    store.watches.resync(1, 1)
    store.write('1', 'c')
    store.settle()
    store.write('1', 'd')
    expect(store.story(watch)).toEqual([
      '3@1 a',
      'caughtUp',
      'resync',
      '2@1 b',
      '3@1 a',
      '4@1 c',
      'caughtUp',
      '5@1 d',
    ])
    expect(store.of(watch).at(-2)).toMatchObject({ applied: new Map([[originOf('1'), 4]]) })
  })

  it('waits for a client that is stalled, and concerns no other watch', () => {
    const store = new Store({ pageUpdatesMax: 1 })
    for (const key of ['a', 'b']) store.write('1', key)
    const [watch, other] = [store.open(1, '', 'now'), store.open(2, '', 'now')]
    store.settle([1, 2])
    store.watches.stall(1)
    store.watches.resync(1, 1)
    // It has no second one, and that of another client is none of its.
    store.watches.resync(1, 2)
    store.turn()
    expect(store.story(watch)).toEqual(['caughtUp'])
    store.settle()
    expect(store.story(watch)).toEqual(['caughtUp', 'resync', '1@1 a', '2@1 b', 'caughtUp'])
    expect(store.story(other)).toEqual(['caughtUp'])
  })
})

describe('bookmarks of live watches (R11)', () => {
  const applied = (store: Store, watch: number): readonly Cut[] =>
    store.of(watch).flatMap((pushed) => (pushed.kind === 'caughtUp' ? [pushed.applied] : []))

  it('come at most once in a while, and hold what rose since the last', () => {
    const store = new Store()
    for (const server of ['1', '2', '3']) store.write(server, 'x')
    const watch = store.open(1, 'other/', 'now')
    store.settle()
    store.write('1', 'x')
    store.turn(999)
    expect(applied(store, watch).length).toBe(1)
    store.write('1', 'x')
    store.write('2', 'x')
    store.turn(1)
    store.turn(1_000)
    store.write('3', 'x')
    store.turn()
    store.turn(5_000)
    const origins = ['1', '2', '3'].map(originOf) as [Origin, Origin, Origin]
    expect(applied(store, watch)).toEqual([
      new Map(origins.map((origin) => [origin, 1])),
      new Map([
        [origins[0], 3],
        [origins[1], 2],
      ]),
      new Map([[origins[2], 2]]),
    ])
  })

  it('hold for each watch what rose since its own last', () => {
    const store = new Store()
    const first = store.open(1, '', 'now')
    store.settle()
    store.write('1', 'x')
    store.turn(600)
    const second = store.open(1, '', 'now')
    store.settle()
    store.write('2', 'x')
    store.turn(400)
    store.turn(600)
    const one = [originOf('1'), 1] as const
    const two = [originOf('2'), 1] as const
    expect(applied(store, first)).toEqual([new Map(), new Map([one, two])])
    expect(applied(store, second)).toEqual([new Map([one]), new Map([two])])
  })

  it('come at once where the last is long ago and something rises', () => {
    const store = new Store()
    const watch = store.open(1, '', 'now')
    store.settle()
    for (let count = 0; count < 5; count++) store.turn(900)
    store.write('1', 'x')
    store.turn()
    expect(applied(store, watch)).toEqual([new Map(), new Map([[originOf('1'), 1]])])
  })

  it('do not come where nothing rose, or nothing beyond what the watch began from', () => {
    const store = new Store()
    const watch = store.open(1, '', new Map([[originOf('1'), 2]]))
    store.settle()
    store.turn(10_000)
    store.write('1', 'x')
    store.turn(10_000)
    expect(applied(store, watch)).toEqual([new Map([[originOf('1'), 2]])])
    for (let count = 0; count < 2; count++) store.write('1', 'x')
    store.turn(10_000)
    expect(applied(store, watch).at(-1)).toEqual(new Map([[originOf('1'), 3]]))
  })

  it('do not come to a stalled client, which is told all when it has caught up', () => {
    const store = new Store()
    const watch = store.open(1, '', 'now')
    store.settle()
    store.watches.stall(1)
    store.write('1', 'x')
    store.turn(10_000)
    expect(applied(store, watch).length).toBe(1)
    store.settle()
    expect(applied(store, watch).at(-1)).toEqual(new Map([[originOf('1'), 1]]))
  })

  it('share the budget of a step, those first that have waited longest', () => {
    const store = new Store({ examinedPerStepMax: 2 })
    const watches = [1, 2, 3].map((client) => store.open(client, '', 'now'))
    store.settle()
    store.write('1', 'x')
    store.turn(1_000)
    const counts = (): readonly number[] => watches.map((watch) => applied(store, watch).length)
    expect(counts()).toEqual([2, 2, 1])
    store.turn()
    expect(counts()).toEqual([2, 2, 2])
  })
})

describe('all watches together (R11)', () => {
  it('tell every client the state in the end, whatever stalls, is trimmed, installed or begun anew', () => {
    const server = fc.constantFrom('1', '2', '3')
    const key = fc.constantFrom('a/1', 'a/2', 'a/3', 'b/1', 'b/2')
    const client = fc.constantFrom(1, 2)
    const keys = fc.uniqueArray(key, { minLength: 1, maxLength: 3 })
    const command = fc.oneof(
      { weight: 8, arbitrary: fc.record({ kind: fc.constant('write' as const), server, keys }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), server, key }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('sync' as const), server }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant('install' as const),
          writes: fc.array(fc.record({ server, keys }), { minLength: 1, maxLength: 4 }),
        }),
      },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('turn' as const), passedMs: fc.nat(700) }) },
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constantFrom('stall' as const, 'drain' as const), client }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('open' as const),
          client,
          prefix: fc.constantFrom('', 'a/', 'a/1', 'b/2'),
          since: fc.constantFrom('start' as const, 'now' as const, 'past' as const, 'floor' as const),
          past: fc.nat(20),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('resync' as const), client, number: fc.nat(5) }),
      },
    )
    const limits = fc.record({
      logUpdatesMax: fc.constantFrom(1, 4, 16, 1_000),
      pageUpdatesMax: fc.integer({ min: 1, max: 4 }),
      pageBytesMax: fc.constantFrom(1, 60, 1_000_000),
      examinedPerStepMax: fc.integer({ min: 1, max: 6 }),
    })
    fc.assert(
      fc.property(fc.array(command, { maxLength: 100, size: 'max' }), limits, (commands, limits) => {
        const store = new Store(limits)
        const told = new Told(store)
        for (const command of commands) {
          switch (command.kind) {
            case 'write':
              store.write(command.server, ...command.keys)
              break
            case 'delete':
              store.delete(command.server, command.key)
              break
            case 'sync':
              store.sync(command.server)
              break
            case 'install':
              store.install(command.writes)
              break
            case 'turn':
              store.turn(command.passedMs)
              break
            case 'stall':
              store.watches.stall(command.client)
              break
            case 'drain':
              store.watches.drain(command.client)
              break
            case 'open':
              told.open(command)
              break
            case 'resync':
              told.resync(command)
              break
          }
          told.check()
        }
        store.settle([1, 2])
        told.check()
        // As many turns as make a bookmark for each, however few a step has.
        for (const _ of commands) store.turn(10_000)
        told.check()
        told.checkState()
      }),
      { numRuns: 1_000 },
    )
  })
})

/** Each client numbers its own watches. */
function handleOf(client: ClientId, watch: number): number {
  return client * 1_000 + watch
}

/** What the clients of a {@link Store} make of its notifications, and what they must have been told. */
class Told {
  readonly #store: Store
  readonly #watches = new Map<number, ToldWatch>()
  #checked = 0

  constructor(store: Store) {
    this.#store = store
  }

  open(options: {
    readonly client: ClientId
    readonly prefix: string
    readonly since: 'start' | 'now' | 'past' | 'floor'
    readonly past: number
  }): void {
    const { client, prefix } = options
    const { history, log, watches } = this.#store
    let since: 'start' | 'now' | Cut
    let cut: Cut = new Map()
    switch (options.since) {
      case 'start':
      case 'now':
        since = options.since
        break
      case 'past':
        // Any cut that was a server's: what a client has that went away and comes back.
        since = cut = new Map(history.at(options.past % Math.max(1, history.length))?.seen)
        break
      case 'floor':
        since = cut = new Map(log.floor)
        break
    }
    const number = watches.open(client, prefix, since)
    this.#watches.set(handleOf(client, number), {
      client,
      prefix,
      since: cut,
      from: since === 'now' ? history.length : 0,
      sent: new Map(),
      bookmark: new Map(),
    })
  }

  resync({ client, number }: { readonly client: ClientId; readonly number: number }): void {
    this.#store.watches.resync(client, number)
    const watch = this.#watches.get(handleOf(client, number))
    if (watch === undefined) return
    // What comes before the notification is still of the time before.
    watch.isResyncDue = true
  }

  /** Each notification that came since the last check, in its order. */
  check(): void {
    const { notifications, history, applied } = this.#store
    for (const pushed of notifications.slice(this.#checked)) {
      const watch = this.#watches.get(handleOf(pushed.client, pushed.watch)) as ToldWatch
      switch (pushed.kind) {
        case 'resync':
          expect(watch.isResyncDue).toBe(true)
          Object.assign(watch, { since: new Map(), from: 0, isResyncDue: false })
          watch.sent.clear()
          watch.bookmark.clear()
          break
        case 'caughtUp':
          raiseAll(watch.bookmark, pushed.applied)
          break
        case 'update': {
          const version = showVersion(pushed.version)
          const index = history.findIndex(({ update }) => showVersion(update) === version)
          const { seen } = history[index] as Store['history'][number]
          expect(watch.isResyncDue ?? false).toBe(false)
          expect(covers(watch.since, pushed.version)).toBe(false)
          expect(index).toBeGreaterThanOrEqual(watch.from)
          // Never twice, and never before something that it depends on.
          expect(watch.sent.has(version)).toBe(false)
          for (const other of watch.sent.values()) expect(covers(other.seen, pushed.version)).toBe(false)
          expect(pushed.writes.every((write) => write.key.startsWith(watch.prefix))).toBe(true)
          watch.sent.set(version, { seen, writes: pushed.writes })
          break
        }
      }
    }
    this.#checked = notifications.length
    for (const watch of this.#watches.values()) {
      for (const [origin, timestamp] of watch.bookmark) {
        const reached = Math.max(entryOf(applied, origin), entryOf(watch.since, origin))
        expect(timestamp).toBeLessThanOrEqual(reached)
      }
    }
  }

  /** When all are live and have had a bookmark: every sibling was told, and the bookmark says where that is. */
  checkState(): void {
    const { history, keySpace, applied } = this.#store
    for (const watch of this.#watches.values()) {
      const reached = new Map(applied)
      raiseAll(reached, watch.since)
      expect(watch.bookmark).toEqual(reached)
      for (const [key, siblings] of keySpace.entries()) {
        if (!key.startsWith(watch.prefix)) continue
        for (const { version, ...value } of siblings) {
          const index = history.findIndex(({ update }) => showVersion(update) === showVersion(version))
          if (index < watch.from || covers(watch.since, version)) continue
          const writes = watch.sent.get(showVersion(version))?.writes
          expect(writes?.find((write) => write.key === key)).toEqual({ key, ...value })
        }
      }
    }
  }
}

interface ToldWatch {
  readonly client: ClientId
  readonly prefix: string
  readonly since: Cut
  /** How many updates had been applied before the first that it is to be told of. */
  readonly from: number
  readonly sent: Map<string, { readonly seen: Cut; readonly writes: readonly Write[] }>
  readonly bookmark: MutableCut
  isResyncDue?: boolean
}
