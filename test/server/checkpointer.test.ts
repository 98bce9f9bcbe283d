import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaultLimits, defaultTiming, type Limits } from '../../src/replica/configuration.ts'
import type { Input } from '../../src/replica/input.ts'
import type { PeerMessage } from '../../src/replica/messages.ts'
import type { Output } from '../../src/replica/output.ts'
import { Replica } from '../../src/replica/replica.ts'
import type { Update, Write } from '../../src/replica/update.ts'
import { makeOrigin, type Version } from '../../src/replica/version.ts'
import { Checkpointer, notingReplay } from '../../src/server/checkpointer.ts'
import { ReplicaLoop } from '../../src/server/replica-loop.ts'
import { MemoryDisk } from '../../src/storage/memory-store.ts'
import type { Store, StoreBatch } from '../../src/storage/store.ts'

describe('R6: a crash between any two commits', () => {
  it('leaves what a replica had that stepped just what was committed', async () => {
    const seen = { checkpoints: 0, installs: 0, crashesInRounds: 0 }
    await fc.assert(
      fc.asyncProperty(fc.array(anyAct, { minLength: 20, maxLength: 120 }), async (acts) => {
        const world = new World()
        for (const act of acts) await world.do(act)
        await world.finish()
        seen.checkpoints += world.batches.filter(({ checkpoint }) => checkpoint !== undefined).length
        seen.installs += world.batches.filter(({ install }) => install !== undefined).length
        seen.crashesInRounds += world.batches.filter(
          ({ state, checkpoint }) => state !== undefined && checkpoint === undefined,
        ).length
        for (let count = 0; count <= world.batches.length; count++) {
          const recovered = await world.crashAfter(count)
          expect(recovered.state, `after ${count} commits`).toEqual(world.stateAt(recovered.position))
          expect(recovered.unaccounted, `after ${count} commits`).toEqual([])
        }
      }),
      { numRuns: 200 },
    )
    // A property that never got to what it is about would prove nothing.
    expect(seen.checkpoints).toBeGreaterThan(100)
    expect(seen.crashesInRounds).toBeGreaterThan(30)
    expect(seen.installs).toBeGreaterThan(10)
  })

  it('and a second crash after it does so too', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyAct, { minLength: 10, maxLength: 60 }),
        fc.array(anyAct, { minLength: 10, maxLength: 60 }),
        fc.nat(),
        async (before, after, crash) => {
          const first = new World()
          for (const act of before) await first.do(act)
          const disk = await first.diskAfter(crash % (first.batches.length + 1))
          const second = new World({ disk, incarnation: 'b' })
          for (const act of after) await second.do(act)
          await second.finish()
          for (let count = 0; count <= second.batches.length; count++) {
            const recovered = await second.crashAfter(count)
            expect(recovered.state, `after ${count} commits`).toEqual(second.stateAt(recovered.position))
            expect(recovered.unaccounted, `after ${count} commits`).toEqual([])
          }
        },
      ),
      { numRuns: 100 },
    )
  })
})

describe('a checkpoint', () => {
  it('is made behind the log, a slice with each commit, and then the log before it may go', async () => {
    const world = new World()
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
      await world.do({ kind: 'write', at: '1', writes: [{ key, value: 1 }], request: undefined })
      await world.do({ kind: 'turn' })
      await world.do({ kind: 'disk' })
    }
    await world.finish()
    const keys = world.batches.map(({ state }) => state?.keys.map(({ key }) => key))
    // The sixth write is the first that finds five logged; the slices after it need no write.
    expect(keys).toEqual([undefined, undefined, undefined, undefined, ['a', 'b'], ['c', 'd'], ['e']])
    const last = world.batches.at(-1)
    expect(last?.checkpoint?.position).toBe(5)
    expect(last?.trim?.position).toBe(2)
  })

  it('takes the last of many overwrites only', async () => {
    const world = new World()
    for (let value = 1; value <= 5; value++) {
      await world.do({ kind: 'write', at: '1', writes: [{ key: 'a', value }], request: undefined })
    }
    await world.do({ kind: 'turn' })
    await world.do({ kind: 'disk' })
    const [batch] = world.batches
    expect(batch?.log).toHaveLength(5)
    expect(batch?.state?.keys.map(({ key, siblings }) => [key, siblings[0].value])).toEqual([['a', 5]])
    expect(batch?.checkpoint?.position).toBe(5)
  })

  it('ends although more is written all the time', async () => {
    const world = new World()
    for (let round = 0; round < 40; round++) {
      for (let count = 0; count < 10; count++) {
        const key = `key ${round} ${count}`
        await world.do({ kind: 'write', at: '1', writes: [{ key, value: 1 }], request: undefined })
      }
      await world.do({ kind: 'turn' })
      await world.do({ kind: 'disk' })
    }
    const checkpoints = world.batches.filter(({ checkpoint }) => checkpoint !== undefined)
    expect(checkpoints.length).toBeGreaterThan(10)
  })
})

/** Server 1 has a disk and is the one that crashes; 2 and 3 are there to write concurrently and to be pulled from. */
class World {
  readonly disk: MemoryDisk
  /** What server 1 has committed, in order. */
  readonly batches: StoreBatch[] = []
  readonly #replica: Replica
  readonly #loop: ReplicaLoop
  readonly #before: MemoryDisk
  readonly #others = new Map<ServerName, Replica>()
  readonly #links = new Map<string, PeerMessage[]>()
  /** What server 1 had at each position that a commit may end at. */
  readonly #states = new Map<number, State>()
  /** All updates that exist. */
  readonly #updates: Update[] = []
  readonly #numbers = new Map<string, number>()
  readonly #incarnation: string
  #scheduled: (() => void)[] = []
  #nowMs = 0

  /**
   * @param options.incarnation of all servers: one for each world, as two updates of one name are not possible (R1).
   *   Where a second world's servers had those of the first, server 1 took new updates for some that it had.
   */
  constructor({
    disk = new MemoryDisk({ settle: 'when told' }),
    incarnation = 'a',
  }: { readonly disk?: MemoryDisk; readonly incarnation?: string } = {}) {
    this.#before = disk.copy()
    this.disk = disk
    this.#incarnation = incarnation
    const store = this.disk.open('1')
    const { recovered, replayed } = notingReplay(store.recover())
    this.#replica = new Replica(configurationOf('1', incarnation), recovered)
    this.#states.set(this.#replica.logEnd, stateOf(this.#replica))
    // What it recovered exists, although nobody else here has it.
    for (const { entry } of store.recover().log) this.#updates.push(entry.update)
    const checkpointer = new Checkpointer({
      replica: this.#replica,
      replayed,
      limits: { writesPerRound: 5, keysPerSlice: 2 },
    })
    this.#loop = new ReplicaLoop({
      replica: {
        logEnd: this.#replica.logEnd,
        step: (input) => this.#stepOne(input),
      },
      release: (output) => this.#send('1', output),
      settle: () => {},
      schedule: (run) => this.#scheduled.push(run),
      now: () => 0,
      storage: {
        store: this.#recording(store),
        mode: 'sync',
        checkpointer,
        failed: (error) => {
          throw error
        },
      },
    })
    for (const id of ['2', '3'] as const) this.#others.set(id, new Replica(configurationOf(id, incarnation)))
    for (const from of servers) for (const to of servers) if (from !== to) this.#connect(from, to)
  }

  async do(act: Act): Promise<void> {
    switch (act.kind) {
      case 'write': {
        const { at, writes, request: session } = act
        const number = (this.#numbers.get(`${at} ${session}`) ?? 0) + 1
        this.#numbers.set(`${at} ${session}`, number)
        const request = session === undefined ? {} : { request: { session: `${session} of ${at}`, number } }
        this.#input(at, {
          kind: 'request',
          client: 1,
          id: 1,
          request: { method: 'write', writes, ...request },
        })
        return
      }
      case 'deliver':
        this.#deliver(act.from, act.to)
        return
      case 'break':
        this.#input(act.from, { kind: 'linkDown', peer: act.to, origin: this.#originOf(act.to) })
        this.#input(act.to, { kind: 'peerSilent', peer: act.from, origin: this.#originOf(act.from) })
        this.#connect(act.from, act.to)
        return
      case 'tick':
        this.#nowMs += act.ms
        for (const id of servers) this.#input(id, { kind: 'tick', nowMs: this.#nowMs })
        return
      case 'turn':
        this.#turn()
        return
      case 'disk':
        this.disk.flush(1)
        await new Promise((resolve) => {
          setImmediate(resolve)
        })
    }
  }

  /** Everything arrives everywhere, and all that is committed is durable. */
  async finish(): Promise<void> {
    for (let round = 0; round < 12; round++) {
      await this.do({ kind: 'tick', ms: 100 })
      for (let count = 0; count < 10; count++) {
        for (const from of servers) for (const to of servers) while (this.#deliver(from, to));
        this.#turn()
        await this.do({ kind: 'disk' })
      }
    }
  }

  /** What a start finds after a crash that left the first `count` commits. */
  async crashAfter(count: number): Promise<Recovery> {
    const disk = await this.diskAfter(count)
    const store = disk.open('1')
    const replica = new Replica(configurationOf('1', `${this.#incarnation}2`), store.recover())
    const { log, logFloor } = store.recover()
    const logged = new Set([...log].map(({ entry }) => nameOf(entry.update)))
    const unaccounted = this.#updates.filter(
      (update) =>
        update.timestamp <= (replica.applied.get(update.origin) ?? 0) &&
        update.timestamp > (logFloor.get(update.origin) ?? 0) &&
        !logged.has(nameOf(update)),
    )
    return { state: stateOf(replica), position: replica.logEnd, unaccounted: unaccounted.map(nameOf) }
  }

  async diskAfter(count: number): Promise<MemoryDisk> {
    const disk = this.#before.copy()
    const store = disk.open('1')
    const commits = this.batches.slice(0, count).map((batch) => store.commit(batch))
    disk.flush()
    await Promise.all(commits)
    await store.close()
    return disk
  }

  stateAt(position: number): State | undefined {
    return this.#states.get(position)
  }

  #stepOne(input: Input): Output {
    const output = this.#replica.step(input)
    // While a snapshot is taken in, the state is ahead of its position; the first that is seen at one is right.
    const position = this.#replica.logEnd
    if (!this.#states.has(position)) this.#states.set(position, stateOf(this.#replica))
    this.#updates.push(...output.persist.map(({ update }) => update))
    return output
  }

  #input(to: ServerName, input: Input): void {
    if (to === '1') {
      this.#loop.push(input)
      return
    }
    const replica = this.#others.get(to) as Replica
    let output = replica.step(input)
    this.#send(to, output)
    while (output.more) {
      output = replica.step({ kind: 'continue' })
      this.#send(to, output)
    }
  }

  #send(from: ServerName, output: Output): void {
    if (from !== '1') this.#updates.push(...output.persist.map(({ update }) => update))
    for (const { to, message } of output.send) this.#links.get(`${from} ${to}`)?.push(message)
  }

  #deliver(from: ServerName, to: ServerName): boolean {
    const message = this.#links.get(`${from} ${to}`)?.shift()
    if (message === undefined) return false
    this.#input(to, { kind: 'message', from, message })
    return true
  }

  #connect(from: ServerName, to: ServerName): void {
    this.#links.set(`${from} ${to}`, [])
    this.#input(to, { kind: 'peerHeard', peer: from, origin: this.#originOf(from) })
    const applied = new Map(to === '1' ? this.#replica.applied : this.#others.get(to)?.applied)
    this.#input(from, { kind: 'linkUp', peer: to, origin: this.#originOf(to), applied })
  }

  #originOf(id: ServerName): Version['origin'] {
    return makeOrigin({ server: id, incarnation: this.#incarnation })
  }

  #turn(): void {
    const scheduled = this.#scheduled
    this.#scheduled = []
    for (const run of scheduled) run()
  }

  #recording(store: Store): Store {
    return {
      isFresh: store.isFresh,
      addresses: store.addresses,
      recover: () => store.recover(),
      commit: (batch) => {
        this.batches.push(frozenCuts(batch))
        return store.commit(batch)
      },
      close: () => store.close(),
    }
  }
}

/** A batch as it is when it is committed: its cuts may rise afterwards. */
function frozenCuts(batch: StoreBatch): StoreBatch {
  const { trim } = batch
  return trim === undefined ? batch : { ...batch, trim: { ...trim, logFloor: new Map(trim.logFloor) } }
}

interface Recovery {
  readonly state: State
  readonly position: number
  /** Updates that are applied, and neither in the log nor covered by its floor: nobody could get them from here. */
  readonly unaccounted: readonly string[]
}

interface State {
  readonly entries: readonly unknown[]
  readonly applied: readonly unknown[]
  readonly known: readonly unknown[]
  readonly clock: number
  readonly sessions: readonly unknown[]
}

function stateOf(replica: Replica): State {
  const applied = [...replica.applied].toSorted(byName)
  const plain = ({ timestamp, origin }: Version): string => `${timestamp}@${origin}`
  return {
    entries: [...replica.entries()].map(([key, siblings]) => ({
      key,
      siblings: siblings.map(({ version, value, deleted }) => [plain(version), value, deleted === true]),
    })),
    applied,
    known: applied.map(([origin]) => [origin, [...(replica.knownBy(origin) ?? [])].toSorted(byName)]),
    clock: replica.clock,
    sessions: sessionNames.map((name) => {
      const record = replica.sessionRecord(name)
      if (record === undefined) return undefined
      const answers = record.answers.map(({ number, version, fingerprint }) => {
        return { number, version: plain(version), fingerprint }
      })
      return { letGo: record.letGo, answers }
    }),
  }
}

function byName(a: readonly [string, number], b: readonly [string, number]): number {
  return a[0] < b[0] ? -1 : 1
}

function nameOf(update: Update): string {
  return `${update.timestamp}@${update.origin}`
}

function configurationOf(id: ServerName, incarnation: string): ConstructorParameters<typeof Replica>[0] {
  return { server: id, origin: makeOrigin({ server: id, incarnation }), limits, timing: defaultTiming }
}

/** So small that trimming, snapshots and letting answers go are everyday matters. */
const limits: Limits = {
  ...defaultLimits,
  log: { updatesMax: 4, bytesMax: 1 << 20 },
  page: { updatesMax: 3, bytesMax: 1 << 20 },
  requests: { answersPerSessionMax: 2, answersMax: 1_000, sessionsMax: 100 },
  appliedPerStepMax: 2,
}

const servers = ['1', '2', '3'] as const
type ServerName = (typeof servers)[number]

const sessions = ['s', 't'] as const
const sessionNames = servers.flatMap((id) => sessions.map((session) => `${session} of ${id}`))

type Act =
  | {
      readonly kind: 'write'
      readonly at: ServerName
      readonly writes: readonly Write[]
      readonly request: (typeof sessions)[number] | undefined
    }
  | { readonly kind: 'deliver'; readonly from: ServerName; readonly to: ServerName }
  /** The link comes up again at once, without what was in it. */
  | { readonly kind: 'break'; readonly from: ServerName; readonly to: ServerName }
  | { readonly kind: 'tick'; readonly ms: number }
  /** Server 1 has a turn of its event loop. */
  | { readonly kind: 'turn' }
  /** One commit of server 1 becomes durable. */
  | { readonly kind: 'disk' }

const anyServer = fc.constantFrom(...servers)

const anyWrite: fc.Arbitrary<Write> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), value: fc.nat(99) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ key: fc.constantFrom('a', 'b', 'c'), deleted: fc.constant(true as const) }),
  },
)

const anyAct: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      at: anyServer,
      writes: fc.uniqueArray(anyWrite, { minLength: 1, maxLength: 3, selector: ({ key }) => key }),
      request: fc.option(fc.constantFrom(...sessions), { nil: undefined }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc
      .record({ kind: fc.constant('deliver' as const), from: anyServer, to: anyServer })
      .filter(({ from, to }) => from !== to),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({ kind: fc.constant('break' as const), from: anyServer, to: anyServer })
      .filter(({ from, to }) => from !== to),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('tick' as const), ms: fc.constantFrom(50, 300) }) },
  { weight: 4, arbitrary: fc.constant({ kind: 'turn' as const }) },
  { weight: 4, arbitrary: fc.constant({ kind: 'disk' as const }) },
)
