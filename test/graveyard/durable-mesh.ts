import { defaultLimits, defaultTiming, type Limits } from '../../src/replica/configuration.ts'
import type { ClientRequest, ClientResult, PeerMessage } from '../../src/replica/messages.ts'
import type { Output, ReplicaEvent } from '../../src/replica/output.ts'
import { Replica } from '../../src/replica/replica.ts'
import type { JsonValue, Write } from '../../src/replica/update.ts'
import { makeOrigin, type Origin, type ServerId } from '../../src/replica/version.ts'
import { Checkpointer, notingReplay } from '../../src/server/checkpointer.ts'
import { ReplicaLoop } from '../../src/server/replica-loop.ts'
import { MemoryDisk } from '../../src/storage/memory-store.ts'
import { stateOf, type ReplicaState } from '../replica/mesh.ts'

/**
 * Servers with disks, joined by links that the test makes and breaks: the shipped replica behind the shipped loop, which
 * lets nothing leave before its commit, on disks that make durable what has been flushed. A crash loses exactly the rest.
 *
 * Nothing moves before {@link settle}; time passes only in {@link run}. Where the disk does not matter, the replicas of
 * `test/replica/mesh.ts` tell the same story with less.
 */
export class DurableMesh {
  readonly #nodes = new Map<ServerId, Node>()
  readonly #links = new Map<string, PeerMessage[]>()
  readonly #limits: Limits
  #nowMs = 0
  #nextRequest = 1

  constructor(options: { readonly limits?: Partial<Limits> } = {}) {
    this.#limits = { ...defaultLimits, ...options.limits }
  }

  // ── servers ────────────────────────────────────────────────────────────────────────────────────────────

  /** Starts a server with what its disk has kept, as a process does. */
  start(
    id: ServerId,
    options: {
      readonly incarnation: string
      /** A new one where there is none. */
      readonly disk?: MemoryDisk
      readonly mode?: 'sync' | 'async'
    },
  ): void {
    const { incarnation, disk = new MemoryDisk({ settle: 'when told' }), mode = 'sync' } = options
    const origin = makeOrigin({ server: id, incarnation })
    const store = disk.open(id)
    const { recovered, replayed } = notingReplay(store.recover())
    const configuration = { server: id, origin, limits: this.#limits, timing: defaultTiming }
    const replica = new Replica(configuration, recovered)
    const due: (() => void)[] = []
    const node: Node = {
      origin,
      disk,
      replica,
      due,
      isDiskStuck: false,
      answers: new Map(),
      events: [],
      loop: new ReplicaLoop({
        replica,
        release: (output) => this.#release(id, output),
        settle: () => {},
        schedule: (run) => due.push(run),
        now: () => this.#nowMs,
        storage: {
          store,
          mode,
          checkpointer: new Checkpointer({ replica, replayed, limits: checkpointLimits }),
          failed: (error) => {
            throw error
          },
        },
      }),
    }
    this.#nodes.set(id, node)
    node.loop.push({ kind: 'tick', nowMs: this.#nowMs })
  }

  /** The power fails: what is not durable is gone, and so is what is in its links. @returns its disk. */
  crash(id: ServerId): MemoryDisk {
    for (const other of this.#nodes.keys()) if (other !== id) this.disconnect(id, other)
    const { disk } = this.#node(id)
    disk.crash()
    this.#nodes.delete(id)
    return disk
  }

  /** An orderly end: what has arrived is stored first. @returns its disk. */
  async stop(id: ServerId): Promise<MemoryDisk> {
    await this.settle()
    return this.crash(id)
  }

  /** From now on a server's disk makes nothing durable, as one that is synced only now and then. */
  holdDisk(id: ServerId): void {
    this.#node(id).isDiskStuck = true
  }

  releaseDisk(id: ServerId): void {
    this.#node(id).isDiskStuck = false
  }

  /** A disk with what is durable now, as a backup. */
  copyOfDisk(id: ServerId): MemoryDisk {
    return this.#node(id).disk.copy()
  }

  /** Commits of a server that are not durable. */
  pendingCommits(id: ServerId): number {
    return this.#node(id).disk.pending
  }

  replica(id: ServerId): Replica {
    return this.#node(id).replica
  }

  originOf(id: ServerId): Origin {
    return this.#node(id).origin
  }

  state(id: ServerId): ReplicaState {
    return stateOf(this.replica(id))
  }

  /** What the server's operator has been told. */
  events<Kind extends ReplicaEvent['kind']>(
    id: ServerId,
    kind: Kind,
  ): readonly Extract<ReplicaEvent, { kind: Kind }>[] {
    return this.#node(id).events.filter(
      (event): event is Extract<ReplicaEvent, { kind: Kind }> => event.kind === kind,
    )
  }

  // ── clients ────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends a request. @returns what has been answered to it so far. */
  ask(id: ServerId, request: ClientRequest): () => ClientResult | undefined {
    const node = this.#node(id)
    const number = this.#nextRequest++
    node.loop.push({ kind: 'request', client: 1, id: number, request })
    return () => node.answers.get(number)
  }

  write(id: ServerId, key: string, value: JsonValue): () => ClientResult | undefined {
    return this.writeAll(id, [{ key, value }])
  }

  writeAll(id: ServerId, writes: readonly Write[]): () => ClientResult | undefined {
    return this.ask(id, { method: 'write', writes })
  }

  /** What the server has for a key, whether or not it could show it yet. */
  valueAt(id: ServerId, key: string): JsonValue | undefined {
    return this.replica(id).siblingsOf(key)?.[0].value
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────

  connectAll(): void {
    const ids = [...this.#nodes.keys()]
    for (const a of ids) for (const b of ids) if (a < b) this.connect(a, b)
  }

  connect(a: ServerId, b: ServerId): void {
    this.up(a, b)
    this.up(b, a)
  }

  /** The link on which `from` sends to `to` comes up. What both have is durable by then. */
  up(from: ServerId, to: ServerId): void {
    if (this.#links.has(linkKey(from, to))) return
    this.#links.set(linkKey(from, to), [])
    const [sender, receiver] = [this.#node(from), this.#node(to)]
    receiver.loop.push({ kind: 'peerHeard', peer: from, origin: sender.origin })
    const applied = new Map(receiver.replica.applied)
    sender.loop.push({ kind: 'linkUp', peer: to, origin: receiver.origin, applied })
  }

  disconnect(a: ServerId, b: ServerId): void {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      if (!this.#links.delete(linkKey(from, to))) continue
      const [sender, receiver] = [this.#node(from), this.#node(to)]
      sender.loop.push({ kind: 'linkDown', peer: to, origin: receiver.origin })
      receiver.loop.push({ kind: 'peerSilent', peer: from, origin: sender.origin })
    }
  }

  /** What has left a server for another, and has not arrived. */
  onTheWay(from: ServerId, to: ServerId): readonly PeerMessage[] {
    return this.#links.get(linkKey(from, to)) ?? []
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────────

  /** One turn of each server's event loop: what has arrived is stepped, and nothing else happens. */
  turn(): boolean {
    let isQuiet = true
    for (const { due } of this.#nodes.values()) {
      for (const run of due.splice(0)) {
        run()
        isQuiet = false
      }
    }
    return isQuiet
  }

  /** Steps, makes durable and delivers until nothing moves, but for disks that are held. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < turnsMax; turn++) {
      let isQuiet = this.turn()
      for (const [key, queue] of this.#links) {
        const [from, to] = key.split(' ') as [ServerId, ServerId]
        for (const message of queue.splice(0)) {
          this.#node(to).loop.push({ kind: 'message', from, message })
          isQuiet = false
        }
      }
      for (const { disk, isDiskStuck } of this.#nodes.values()) {
        if (isDiskStuck || disk.pending === 0) continue
        disk.flush()
        isQuiet = false
      }
      // What awaits a commit goes on within a few turns of the microtask queue.
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
      if (isQuiet) return
    }
    throw new Error(`the servers are not quiet after ${turnsMax} turns although no time passes`)
  }

  /** Lets time pass in short ticks, and settles after each. */
  async run(durationMs: number, tickMs = 50): Promise<void> {
    await this.settle()
    for (let passedMs = 0; passedMs < durationMs; passedMs += tickMs) {
      this.#nowMs += tickMs
      for (const { loop } of this.#nodes.values()) loop.push({ kind: 'tick', nowMs: this.#nowMs })
      await this.settle()
    }
  }

  #release(id: ServerId, { send, reply, events }: Output): void {
    const node = this.#nodes.get(id)
    // A process that has crashed lets nothing out any more.
    if (node === undefined) return
    for (const { to, message } of send) this.#links.get(linkKey(id, to))?.push(message)
    for (const { id: number, result } of reply) node.answers.set(number, result)
    node.events.push(...events)
  }

  #node(id: ServerId): Node {
    const node = this.#nodes.get(id)
    if (node === undefined) throw new Error(`there is no server ${id}`)
    return node
  }
}

interface Node {
  readonly origin: Origin
  readonly disk: MemoryDisk
  readonly replica: Replica
  readonly loop: ReplicaLoop
  /** What is to run in the next turn of its event loop. */
  readonly due: (() => void)[]
  isDiskStuck: boolean
  readonly answers: Map<number, ClientResult>
  readonly events: ReplicaEvent[]
}

/** So soon, and in so small slices, that a restart reads most from the state on the disk, and little from the log. */
const checkpointLimits = { writesPerRound: 2, keysPerSlice: 2 }

/** Far above what any test needs; servers that pass it are in a loop. */
const turnsMax = 5_000

function linkKey(from: ServerId, to: ServerId): string {
  return `${from} ${to}`
}
