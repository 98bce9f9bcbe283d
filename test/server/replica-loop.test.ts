import { describe, expect, it } from 'vitest'
import type { Input } from '../../src/replica/input.ts'
import type { Output, StageItem } from '../../src/replica/output.ts'
import type { LogEntry } from '../../src/replica/update-log.ts'
import { Checkpointer } from '../../src/server/checkpointer.ts'
import type { InputSource } from '../../src/server/input-queue.ts'
import { ReplicaLoop } from '../../src/server/replica-loop.ts'
import { MemoryDisk } from '../../src/storage/memory-store.ts'
import type { Store, StoreBatch } from '../../src/storage/store.ts'
import { buildUpdate } from '../replica/update-builder.ts'

describe('R6: nothing leaves before the state that it reveals is durable', () => {
  it('an acknowledgement waits for its own commit, and for no later one', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    stage.push('write a')
    stage.push('write b')
    stage.turn()
    expect(stage.released).toEqual([])
    expect(stage.commits).toEqual([['a', 'b']])
    stage.push('write c')
    stage.turn()
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a', 'write b'])
    expect(stage.commits).toEqual([['a', 'b'], ['c']])
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a', 'write b', 'write c'])
  })

  it('all that is stepped while one commit is under way goes into the next, and there is one at a time', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    for (const key of ['a', 'b', 'c', 'd']) {
      stage.push(`write ${key}`)
      stage.turn()
    }
    expect(stage.disk.pending).toBe(1)
    await stage.diskWrites()
    expect(stage.disk.pending).toBe(1)
    expect(stage.commits).toEqual([['a'], ['b', 'c', 'd']])
  })

  it('a read leaves behind the writes that it may have seen', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    stage.push('write a')
    stage.turn()
    stage.push('read')
    stage.turn()
    expect(stage.released).toEqual([])
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a', 'read'])
    expect(stage.commits).toEqual([['a']])
  })

  it('what follows nothing that has yet to be stored leaves at once, without a commit', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    stage.push('read')
    stage.push('write a')
    stage.turn()
    expect(stage.released).toEqual(['read'])
    await stage.diskWrites()
    stage.push('read again')
    stage.turn()
    expect(stage.released).toEqual(['read', 'write a', 'read again'])
    expect(stage.commits).toEqual([['a']])
  })

  it('an act in its turn happens after what was asked before it has left, and before what was asked after it', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    stage.push('write a')
    stage.loop.inTurn(1, () => stage.released.push('held the link'))
    stage.push('write b')
    stage.turn()
    expect(stage.released).toEqual([])
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a', 'held the link', 'write b'])
  })

  it('sockets are written to once for all that one commit has released', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    for (let count = 0; count < 100; count++) stage.push('write a')
    stage.turn()
    const settledBefore = stage.settled
    await stage.diskWrites()
    expect(stage.released).toHaveLength(100)
    expect(stage.settled - settledBefore).toBe(1)
  })

  it('when a commit fails nothing more leaves, and no later commit is made', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    stage.push('write a')
    stage.turn()
    stage.push('write b')
    stage.turn()
    stage.disk.isFull = true
    await stage.diskWrites()
    expect(stage.failures).toHaveLength(1)
    stage.push('read')
    stage.turn()
    await stage.loop.stop()
    expect(stage.released).toEqual([])
    expect(stage.commits).toEqual([['a']])
  })

  it('stopping steps what has arrived, stores it and releases it', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    stage.push('write a')
    stage.turn()
    stage.push('write b')
    stage.push('read')
    const stopped = stage.loop.stop()
    stage.push('write too late')
    await stage.diskWrites()
    await stage.diskWrites()
    await stopped
    expect(stage.released).toEqual(['write a', 'write b', 'read'])
    expect(stage.commits).toEqual([['a'], ['b']])
  })

  it('a release that takes long is cut into slices, and what is stepped between them keeps its place', async () => {
    const stage = new LoopStage({ mode: 'sync', releaseTakesMs: 4 })
    for (const key of ['a', 'b', 'c', 'd', 'e']) stage.push(`write ${key}`)
    stage.turn()
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a', 'write b', 'write c'])
    stage.push('read')
    stage.turn()
    expect(stage.released).toEqual(['write a', 'write b', 'write c', 'write d', 'write e', 'read'])
  })
})

describe('R6: a slow disk does not fill the memory', () => {
  it('stepping stops while too much waits for the disk, and goes on when it has caught up', async () => {
    const stage = new LoopStage({ mode: 'sync', updateBytes: 8 << 20 })
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) {
      stage.push(`write ${key}`)
      stage.turn()
    }
    // Five times 8 MiB are above the bound of 32.
    expect(stage.stepped).toEqual(['write a', 'write b', 'write c', 'write d', 'write e'])
    expect(stage.loop.isCongested).toBe(true)
    await stage.diskWrites()
    expect(stage.loop.isCongested).toBe(true)
    await stage.diskWrites()
    stage.turn()
    expect(stage.stepped).toHaveLength(7)
    expect(stage.relieved).toBe(1)
    expect(stage.loop.isCongested).toBe(false)
  })

  it('ticks that come meanwhile are one tick', async () => {
    const stage = new LoopStage({ mode: 'sync', updateBytes: 40 << 20 })
    stage.push('write a')
    stage.turn()
    for (let nowMs = 0; nowMs < 1_000; nowMs += 50) stage.loop.push({ kind: 'tick', nowMs })
    await stage.diskWrites()
    stage.turn()
    expect(stage.stepped).toEqual(['write a', 'tick 950'])
  })
})

describe('R6: without a disk, or with one that follows', () => {
  it('in memory everything leaves as it is stepped', () => {
    const stage = new LoopStage({ mode: 'memory' })
    stage.push('write a')
    stage.turn()
    expect(stage.released).toEqual(['write a'])
  })

  it('async: everything leaves at once, and commits follow one at a time, in order', async () => {
    const stage = new LoopStage({ mode: 'async' })
    for (const key of ['a', 'b', 'c']) {
      stage.push(`write ${key}`)
      stage.turn()
    }
    expect(stage.released).toEqual(['write a', 'write b', 'write c'])
    expect(stage.disk.pending).toBe(1)
    await stage.diskWrites()
    await stage.diskWrites()
    expect(stage.commits).toEqual([['a'], ['b', 'c']])
  })

  it('async: what is not on the disk after a second holds everything back until it is', async () => {
    const stage = new LoopStage({ mode: 'async' })
    stage.push('write a')
    stage.turn()
    stage.nowMs += 1_001
    stage.push('write b')
    stage.push('read')
    stage.turn()
    expect(stage.released).toEqual(['write a'])
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a'])
    // What waits keeps its place, although the disk is no longer late.
    stage.push('read again')
    stage.turn()
    expect(stage.released).toEqual(['write a'])
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a', 'write b', 'read', 'read again'])
  })

  it('async: so do sixteen mebibytes that are not on the disk', async () => {
    const stage = new LoopStage({ mode: 'async', updateBytes: 9 << 20 })
    for (const key of ['a', 'b', 'c']) stage.push(`write ${key}`)
    stage.turn()
    expect(stage.released).toEqual(['write a'])
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a', 'write b', 'write c'])
  })
})

describe('R8: a snapshot that is taken in', () => {
  it('ends its commit: what is stepped after it has a commit of its own, at the positions after it', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    stage.push('write a')
    stage.push('begin')
    stage.push('records x')
    stage.push('install 10')
    stage.push('write b')
    stage.turn()
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a', 'begin', 'records x', 'install 10'])
    await stage.diskWrites()
    expect(stage.released.at(-1)).toBe('write b')
    const [first, second] = stage.batches
    expect(first?.log?.map(({ position }) => position)).toEqual([0])
    expect(first?.unstage).toBe(true)
    expect(first?.staged?.keys.map(({ key }) => key)).toEqual(['x'])
    expect(first?.install?.position).toBe(10)
    expect(second?.log?.map(({ position }) => position)).toEqual([10])
    expect(second?.install).toBeUndefined()
  })

  it('that begins anew leaves nothing of the one before', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    for (const step of ['begin', 'records x', 'begin', 'records y']) stage.push(step)
    stage.turn()
    expect(stage.batches[0]?.unstage).toBe(true)
    expect(stage.batches[0]?.staged?.keys.map(({ key }) => key)).toEqual(['y'])
  })
})

describe('R6: a snapshot does not fill the memory, or keep the process', () => {
  it('is staged in commits of so many records each, and the install ends the last', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    stage.push('begin')
    for (let count = 0; count < 12; count++) stage.push('records x', 1_000)
    stage.push('install 10')
    stage.turn()
    for (let count = 0; count < 3; count++) await stage.diskWrites()
    expect(stage.batches.map(({ staged }) => staged?.keys.length)).toEqual([5_000, 5_000, 2_000])
    expect(stage.batches.map(({ unstage }) => unstage ?? false)).toEqual([true, false, false])
    expect(stage.batches.map(({ install }) => install?.position)).toEqual([undefined, undefined, 10])
    expect(stage.released.at(-1)).toBe('install 10')
  })

  it('what is staged holds stepping back as updates do', async () => {
    const stage = new LoopStage({ mode: 'sync', valueLength: 9 << 20 })
    for (const step of ['begin', 'records a', 'records b', 'records c', 'records d', 'records e'])
      stage.push(step)
    stage.turn()
    expect(stage.stepped).toEqual(['begin', 'records a', 'records b', 'records c', 'records d'])
    expect(stage.loop.isCongested).toBe(true)
    await stage.diskWrites()
    stage.turn()
    expect(stage.stepped.at(-1)).toBe('records e')
    for (let count = 0; count < 4; count++) await stage.diskWrites()
    expect(stage.batches.map(({ staged }) => staged?.keys.length)).toEqual([1, 1, 1, 1, 1])
    expect(stage.loop.isCongested).toBe(false)
  })

  it('async: sixteen mebibytes that are staged hold everything back until they are on the disk', async () => {
    const stage = new LoopStage({ mode: 'async', valueLength: 9 << 20 })
    for (const step of ['begin', 'records a', 'records b', 'records c']) stage.push(step)
    stage.turn()
    expect(stage.released).toEqual(['begin', 'records a'])
    await stage.diskWrites()
    await stage.diskWrites()
    await stage.diskWrites()
    expect(stage.released).toEqual(['begin', 'records a', 'records b', 'records c'])
  })
})

describe('R8: a peer that sends more than its window', () => {
  it('is not to be read from until it has been stepped, and does not keep a client waiting', () => {
    const stage = new LoopStage({ mode: 'memory', releaseTakesMs: 4 })
    for (let count = 0; count < 10; count++) stage.hear('2', 1 << 20)
    expect(stage.loop.isFull('2')).toBe(true)
    stage.push('read')
    stage.turn()
    expect(stage.stepped).toEqual(['message', 'read', 'message'])
    while (stage.loop.isFull('2')) stage.turn()
    expect(stage.sourcesRelieved).toEqual(['2'])
  })
})

describe('a part of a snapshot that has nothing to store (R6)', () => {
  it('lets nothing overtake the commit under way', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    stage.push('write a')
    stage.turn()
    stage.push('records x', 0)
    stage.push('ask')
    stage.turn()
    expect(stage.released).toEqual([])
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a', 'records x', 'ask'])
    expect(stage.batches).toHaveLength(1)
  })
})

describe('a commit for which nobody waits (R6)', () => {
  it('waits a little for more to share it', async () => {
    const stage = new LoopStage({ mode: 'sync', gathers: true })
    for (const key of ['a', 'b']) {
      stage.push(`write ${key}`)
      stage.turn()
    }
    expect(stage.commits).toEqual([])
    expect(stage.released).toEqual([])
    stage.pass(5)
    expect(stage.commits).toEqual([['a', 'b']])
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a', 'write b'])
  })

  it('waits no longer as soon as somebody does', async () => {
    const stage = new LoopStage({ mode: 'sync', gathers: true })
    stage.push('write a')
    stage.turn()
    stage.push('ask')
    stage.turn()
    expect(stage.commits).toEqual([['a']])
    await stage.diskWrites()
    expect(stage.released).toEqual(['write a', 'ask'])
    // Time that was taken for the one before is none for the next.
    stage.push('write b')
    stage.turn()
    stage.pass(4)
    expect(stage.commits).toEqual([['a']])
    stage.pass(5)
    expect(stage.commits).toEqual([['a'], ['b']])
  })

  it('waits for no more where there is much, while a snapshot is taken in, or the server stops', async () => {
    const much = new LoopStage({ mode: 'sync', gathers: true, updateBytes: 2 << 20 })
    much.push('write a')
    much.turn()
    expect(much.commits).toEqual([['a']])
    const snapshot = new LoopStage({ mode: 'sync', gathers: true })
    snapshot.push('begin')
    snapshot.turn()
    expect(snapshot.batches).toHaveLength(1)
    const stopped = new LoopStage({ mode: 'sync', gathers: true })
    stopped.push('write a')
    stopped.turn()
    const end = stopped.loop.stop()
    expect(stopped.commits).toEqual([['a']])
    await stopped.diskWrites()
    await end
    expect(stopped.released).toEqual(['write a'])
  })
})

describe('a commit that many wait for (R6)', () => {
  /** Steps so many writes that are answered. */
  function put(stage: LoopStage, name: string, count: number): void {
    for (let number = 0; number < count; number++) stage.push(`put ${name}`)
    stage.turn()
  }

  function sizes(stage: LoopStage): readonly number[] {
    return stage.commits.map(({ length }) => length)
  }

  it('is put off until nearly as many wait for it as had not been answered when the one before ended', async () => {
    const stage = new LoopStage({ mode: 'sync', gathers: true })
    put(stage, 'a', 20)
    expect(sizes(stage)).toEqual([20])
    put(stage, 'b', 20)
    stage.pass(3)
    await stage.diskWrites()
    // Forty had not been answered, and half of them wait for this one.
    expect(sizes(stage)).toEqual([20])
    put(stage, 'c', 11)
    expect(sizes(stage)).toEqual([20])
    put(stage, 'd', 1)
    expect(sizes(stage)).toEqual([20, 32])
  })

  it('is put off for as long as the one before took, and never for long', async () => {
    const stage = new LoopStage({ mode: 'sync', gathers: true })
    for (const [tookMs, waitsMs] of [
      [1, 1],
      [50, 2],
    ] as const) {
      put(stage, 'a', 100)
      stage.pass(tookMs)
      await stage.diskWrites()
      const before = stage.commits.length
      put(stage, 'b', 1)
      stage.pass(waitsMs - 0.5)
      expect(stage.commits).toHaveLength(before)
      stage.pass(0.5)
      expect(stage.commits).toHaveLength(before + 1)
      await stage.diskWrites()
    }
  })

  it('is not put off for a few writers, however many read beside them', async () => {
    const stage = new LoopStage({ mode: 'sync', gathers: true })
    for (let round = 1; round <= 3; round++) {
      put(stage, 'a', 4)
      for (let reader = 0; reader < 100; reader++) stage.push('ask')
      stage.turn()
      expect(stage.commits).toHaveLength(round)
      stage.pass(1)
      await stage.diskWrites()
    }
  })

  it('is not put off for as long as one that nobody waits for, which was begun before', async () => {
    const stage = new LoopStage({ mode: 'sync', gathers: true })
    put(stage, 'a', 20)
    stage.pass(10)
    await stage.diskWrites()
    stage.push('write b')
    stage.turn()
    stage.pass(1)
    put(stage, 'c', 1)
    expect(sizes(stage)).toEqual([20])
    stage.pass(1)
    expect(sizes(stage)).toEqual([20, 2])
  })
})

describe('addresses', () => {
  it('are stored soon, and nobody waits for that', async () => {
    const stage = new LoopStage({ mode: 'sync' })
    stage.loop.keepKnown([{ host: '127.0.0.1', port: 60_002 }])
    stage.push('read')
    stage.turn()
    expect(stage.released).toEqual(['read'])
    await stage.diskWrites()
    expect(stage.disk.copy().open('1').addresses).toEqual([{ host: '127.0.0.1', port: 60_002 }])
  })
})

/**
 * A loop with a replica that does as it is told: `write <key>` applies one update, `put <key>` answers that too, `begin`,
 * `records <key>` and `install <position>` stage a snapshot, `ask` is answered, and anything else is a question without an
 * answer. Time and the disk move by hand.
 */
class LoopStage {
  readonly disk = new MemoryDisk({ settle: 'when told' })
  readonly loop: ReplicaLoop
  /** In order: the steps whose outputs have left. */
  readonly released: string[] = []
  readonly stepped: string[] = []
  readonly batches: StoreBatch[] = []
  readonly failures: unknown[] = []
  readonly sourcesRelieved: InputSource[] = []
  settled = 0
  relieved = 0
  nowMs = 0
  readonly #steps: string[] = []
  readonly #outputs = new Map<Output, string>()
  readonly #updateBytes: number
  readonly #value: string
  #timers: { readonly atMs: number; readonly run: () => void }[] = []
  #scheduled: (() => void)[] = []
  #timestamp = 0

  constructor(options: {
    readonly mode: 'sync' | 'async' | 'memory'
    readonly updateBytes?: number
    readonly releaseTakesMs?: number
    /** Of each staged record. */
    readonly valueLength?: number
    /** Whether a commit may wait for more. */
    readonly gathers?: boolean
  }) {
    this.#updateBytes = options.updateBytes ?? 100
    this.#value = 'v'.repeat(options.valueLength ?? 1)
    const storage =
      options.mode === 'memory'
        ? undefined
        : {
            store: this.#recording(this.disk.open('1')),
            mode: options.mode,
            checkpointer: new Checkpointer({ replica: nothing }),
            failed: (error: unknown) => this.failures.push(error),
          }
    this.loop = new ReplicaLoop({
      replica: { logEnd: 0, step: (input) => this.#step(input) },
      release: (output) => {
        this.released.push(this.#outputs.get(output) as string)
        this.nowMs += options.releaseTakesMs ?? 0
      },
      settle: () => this.settled++,
      schedule: (run) => this.#scheduled.push(run),
      now: () => this.nowMs,
      ...(options.gathers === true && {
        later: (ms: number, run: () => void) => this.#timers.push({ atMs: this.nowMs + ms, run }),
      }),
      storage,
      relieved: () => this.relieved++,
      sourceRelieved: (source) => this.sourcesRelieved.push(source),
    })
  }

  /** The keys of each commit so far. */
  get commits(): readonly (readonly string[])[] {
    return this.batches.map(({ log = [] }) =>
      log.flatMap(({ entry }) => entry.update.writes.map(({ key }) => key)),
    )
  }

  /** @param count of the records that it stages. */
  push(step: string, count = 1): void {
    this.#steps.push(`${step} ${count}`)
    this.loop.push({ kind: 'request', client: 1, id: 1, request: { method: 'status' } })
  }

  /** A peer has said something. */
  hear(from: string, bytes: number): void {
    this.loop.push({ kind: 'message', from, message: { kind: 'cut', entries: new Map() } }, bytes)
  }

  /** One turn of the event loop. */
  turn(): void {
    const scheduled = this.#scheduled
    this.#scheduled = []
    for (const run of scheduled) run()
  }

  pass(ms: number): void {
    this.nowMs += ms
    const due = this.#timers.filter(({ atMs }) => atMs <= this.nowMs)
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.nowMs)
    for (const { run } of due) run()
  }

  /** The commit under way becomes durable, or fails where the disk is full. */
  async diskWrites(): Promise<void> {
    this.disk.flush(1)
    // The store's promise, and what awaits it, settle in a few turns of the microtask queue.
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }

  #step(input: Input): Output {
    const [step, count] = this.#stepOf(input)
    this.stepped.push(step)
    const [verb, argument = ''] = step.split(' ')
    const output: Output = {
      ...emptyOutput,
      persist: verb === 'write' || verb === 'put' ? [this.#entry(argument)] : [],
      stage: this.#stageItems({ verb, argument, count }),
      reply: verb === 'ask' || verb === 'put' ? [{ client: 1, id: 1, result: { method: 'unwatch' } }] : [],
    }
    this.#outputs.set(output, step)
    return output
  }

  #stepOf(input: Input): [step: string, count: number] {
    if (input.kind === 'tick') return [`tick ${input.nowMs}`, 0]
    if (input.kind !== 'request') return [input.kind, 0]
    const [, step = '', count] = /^(.*) (\d+)$/.exec(this.#steps.shift() ?? '') ?? []
    return [step, Number(count)]
  }

  #entry(key: string): LogEntry {
    const update = buildUpdate({ server: '1', timestamp: ++this.#timestamp, key })
    return { update, bytes: this.#updateBytes }
  }

  #stageItems(asked: {
    readonly verb: string | undefined
    readonly argument: string
    readonly count: number
  }): readonly StageItem[] {
    switch (asked.verb) {
      case 'begin':
        return [{ kind: 'open' }, { kind: 'begin' }]
      case 'records': {
        const version = buildUpdate({ server: '2', timestamp: 1 })
        const siblings = [{ version, value: this.#value }] as const
        const keys = Array.from({ length: asked.count }, () => ({
          key: asked.argument,
          position: 1,
          siblings,
        }))
        return [{ kind: 'records', records: { keys, rows: [], sessions: [] } }]
      }
      case 'install': {
        const position = Number(asked.argument)
        return [{ kind: 'install', position, applied: new Map(), logFloor: new Map() }]
      }
      default:
        return []
    }
  }

  #recording(store: Store): Store {
    return {
      isFresh: store.isFresh,
      addresses: store.addresses,
      recover: () => store.recover(),
      commit: (batch) => {
        this.batches.push(batch)
        return store.commit(batch)
      },
      close: () => store.close(),
    }
  }
}

const emptyOutput: Output = {
  persist: [],
  stage: [],
  send: [],
  broadcast: [],
  notify: [],
  reply: [],
  refuse: [],
  events: [],
  awaitDrain: [],
  more: false,
}

/** A replica that has nothing to checkpoint. */
const nothing = {
  applied: new Map(),
  logStart: 0,
  logFloor: new Map(),
  siblingsOf: () => undefined,
  knownBy: () => undefined,
  sessionRecord: () => undefined,
  takeForgottenSessions: () => [],
}
