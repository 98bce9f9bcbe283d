import { defaultLimits, defaultTiming, type Limits, type Timing } from '../../src/replica/configuration.ts'
import type { ClientId, Input } from '../../src/replica/input.ts'
import type { Siblings } from '../../src/replica/key-space.ts'
import type { ClientRequest, ClientResult, LinkState, PeerMessage } from '../../src/replica/messages.ts'
import {
  notificationsOf,
  type Notification,
  type Output,
  type ReplicaEvent,
} from '../../src/replica/output.ts'
import { Replica } from '../../src/replica/replica.ts'
import type { JsonValue, Update, Write } from '../../src/replica/update.ts'
import { makeOrigin, type Origin, type ServerId } from '../../src/replica/version.ts'

/**
 * Replicas joined by links that the test moves by hand: no socket, no clock, no randomness.
 *
 * A directed link is a queue. Nothing in it moves before {@link deliver} or {@link settle}; time passes only in
 * {@link tick} and {@link run}. So each test states its schedule exactly, and a failing one fails again.
 */
export class Mesh {
  readonly #nodes = new Map<ServerId, Node>()
  readonly #links = new Map<string, Link>()
  readonly #limits: Limits
  readonly #timing: Timing
  readonly #observe: (id: ServerId, output: Output, replica: Replica) => void
  #nowMs = 0

  constructor(options: {
    readonly servers: readonly ServerId[]
    readonly limits?: Partial<Limits>
    readonly timing?: Partial<Timing>
    /** Sees each output of each server as it is made. */
    readonly observe?: (id: ServerId, output: Output, replica: Replica) => void
  }) {
    this.#limits = { ...defaultLimits, ...options.limits }
    this.#timing = { ...defaultTiming, ...options.timing }
    this.#observe = options.observe ?? (() => {})
    for (const id of options.servers) this.start(id, 'a')
  }

  get ids(): readonly ServerId[] {
    return [...this.#nodes.keys()]
  }

  get nowMs(): number {
    return this.#nowMs
  }

  // ── servers ────────────────────────────────────────────────────────────────────────────────────────────

  /** Starts a server with nothing, as a process without a disk does; also after {@link crash}. */
  start(id: ServerId, incarnation: string): void {
    const origin = makeOrigin({ server: id, incarnation })
    const replica = new Replica({ server: id, origin, limits: this.#limits, timing: this.#timing })
    this.#nodes.set(id, { replica, origin, outputs: [] })
    this.step(id, { kind: 'tick', nowMs: this.#nowMs })
  }

  /** The process ends: its links break on both sides, and what was in them is gone. */
  crash(id: ServerId): void {
    for (const other of this.ids) if (other !== id) this.disconnect(id, other)
    this.#nodes.delete(id)
  }

  replica(id: ServerId): Replica {
    return this.#node(id).replica
  }

  originOf(id: ServerId): Origin {
    return this.#node(id).origin
  }

  /** Feeds one input and puts what the replica sends into its links; what has no link is lost. */
  step(id: ServerId, input: Input): Output {
    const node = this.#node(id)
    const output = node.replica.step(input)
    node.outputs.push(output)
    for (const { to, message } of output.send) this.#links.get(linkKey(id, to))?.send(message)
    this.#observe(id, output, node.replica)
    return output
  }

  // ── clients ────────────────────────────────────────────────────────────────────────────────────────────

  request(id: ServerId, request: ClientRequest, client: ClientId = 1): Output {
    return this.step(id, { kind: 'request', client, id: 1, request })
  }

  /** The answer to a request that is answered at once. */
  answer<Method extends ClientResult['method']>(
    id: ServerId,
    method: Method,
    request: ClientRequest,
  ): Extract<ClientResult, { method: Method }> {
    const result = this.request(id, request).reply[0]?.result
    if (result?.method !== method) throw new Error(`${id} answered ${JSON.stringify(result)}, not ${method}`)
    return result as Extract<ClientResult, { method: Method }>
  }

  write(id: ServerId, key: string, value: JsonValue): Update {
    return this.writeAll(id, [{ key, value }])
  }

  delete(id: ServerId, key: string): Update {
    return this.writeAll(id, [{ key, deleted: true }])
  }

  writeAll(id: ServerId, writes: readonly Write[]): Update {
    let output = this.request(id, { method: 'write', writes })
    // While a snapshot is taken in, everything else waits.
    while (output.reply.length === 0 && output.more) output = this.step(id, { kind: 'continue' })
    const update = output.persist.find((entry) => entry.update.origin === this.originOf(id))?.update
    if (update === undefined) throw new Error(`${id} refused a write: ${JSON.stringify(output.reply)}`)
    return update
  }

  /** The value that a reader at this server gets; undefined where there is none. */
  read(id: ServerId, key: string): JsonValue | undefined {
    return this.answer(id, 'read', { method: 'read', keys: [key] }).values[0]?.winner?.value
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────

  connect(a: ServerId, b: ServerId): void {
    this.up(a, b)
    this.up(b, a)
  }

  connectAll(): void {
    for (const a of this.ids) for (const b of this.ids) if (a !== b) this.up(a, b)
  }

  disconnect(a: ServerId, b: ServerId): void {
    this.down(a, b)
    this.down(b, a)
  }

  /** The link on which `from` sends to `to` comes up. */
  up(from: ServerId, to: ServerId): void {
    if (this.#links.has(linkKey(from, to))) return
    this.#links.set(linkKey(from, to), new Link())
    this.step(to, { kind: 'peerHeard', peer: from, origin: this.originOf(from) })
    const applied = new Map(this.replica(to).applied)
    this.step(from, { kind: 'linkUp', peer: to, origin: this.originOf(to), applied })
  }

  /** The link breaks, and what is in it is lost. */
  down(from: ServerId, to: ServerId): void {
    if (!this.#links.delete(linkKey(from, to))) return
    this.step(from, { kind: 'linkDown', peer: to, origin: this.originOf(to) })
    this.step(to, { kind: 'peerSilent', peer: from, origin: this.originOf(from) })
  }

  isUp(from: ServerId, to: ServerId): boolean {
    return this.#links.has(linkKey(from, to))
  }

  /** As a lab holds a link: updates stay in it, and the receiver is told (design §5). */
  hold(from: ServerId, to: ServerId): void {
    const link = this.#link(from, to)
    link.isHeld = true
    this.#tellLink(from, to, link)
  }

  /** Opens a held link; what was in it goes on in order. */
  release(from: ServerId, to: ServerId): void {
    const link = this.#link(from, to)
    link.isHeld = false
    link.queue.push(...link.held.splice(0))
    this.#tellLink(from, to, link)
  }

  queued(from: ServerId, to: ServerId): readonly PeerMessage[] {
    return this.#links.get(linkKey(from, to))?.queue ?? []
  }

  held(from: ServerId, to: ServerId): readonly PeerMessage[] {
    return this.#links.get(linkKey(from, to))?.held ?? []
  }

  /** Delivers one message of the link; by default the first. @returns false where there is none. */
  deliver(from: ServerId, to: ServerId, index = 0): boolean {
    const [message] = this.#links.get(linkKey(from, to))?.queue.splice(index, 1) ?? []
    if (message === undefined) return false
    this.step(to, { kind: 'message', from, message })
    return true
  }

  /** Loses one message, as a connection does that is about to break. */
  drop(from: ServerId, to: ServerId, index = 0): void {
    const link = this.#link(from, to)
    link.queue.splice(index, 1)
    link.hasLost = true
  }

  /** Whether a message of this link was lost since it came up. */
  hasLost(from: ServerId, to: ServerId): boolean {
    return this.#link(from, to).hasLost
  }

  duplicate(from: ServerId, to: ServerId, index = 0): void {
    const queue = this.#links.get(linkKey(from, to))?.queue
    const message = queue?.[index]
    if (queue !== undefined && message !== undefined) queue.push(message)
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Time passes at every server; nothing is delivered. */
  tick(passedMs: number): void {
    this.#nowMs += passedMs
    for (const id of this.ids) this.step(id, { kind: 'tick', nowMs: this.#nowMs })
  }

  /**
   * Delivers everything in every link that is not held, and lets every replica finish its work.
   *
   * @throws where the mesh does not become quiet: without time passing, work must come to an end.
   */
  settle(): void {
    for (let turn = 0; turn < turnsMax; turn++) {
      let isQuiet = true
      for (const [key, link] of this.#links) {
        const [from, to] = key.split(' ') as [ServerId, ServerId]
        // Only what is there now: an answer waits for the next turn, as it would in a batch.
        for (let count = link.queue.length; count > 0; count--) {
          this.deliver(from, to)
          isQuiet = false
        }
      }
      for (const [id, node] of this.#nodes) {
        if (node.outputs.at(-1)?.more !== true) continue
        this.step(id, { kind: 'continue' })
        isQuiet = false
      }
      if (isQuiet) return
    }
    throw new Error(`the mesh is not quiet after ${turnsMax} turns although no time passes`)
  }

  /** Lets time pass in short ticks and delivers everything after each. */
  run(durationMs: number, tickMs = 50): void {
    this.settle()
    for (let passedMs = 0; passedMs < durationMs; passedMs += tickMs) {
      this.tick(tickMs)
      this.settle()
    }
  }

  // ── records ────────────────────────────────────────────────────────────────────────────────────────────

  outputs(id: ServerId): readonly Output[] {
    return this.#node(id).outputs
  }

  /** What this server applied, in its order. */
  applications(id: ServerId): readonly Update[] {
    return this.outputs(id).flatMap((output) => output.persist.map((entry) => entry.update))
  }

  events<Kind extends ReplicaEvent['kind']>(
    id: ServerId,
    kind: Kind,
  ): readonly Extract<ReplicaEvent, { kind: Kind }>[] {
    return this.outputs(id).flatMap((output) =>
      output.events.filter((event): event is Extract<ReplicaEvent, { kind: Kind }> => event.kind === kind),
    )
  }

  notifications(id: ServerId, client: ClientId = 1): readonly Notification[] {
    return this.outputs(id).flatMap((output) =>
      [...notificationsOf(output)].filter((pushed) => pushed.client === client),
    )
  }

  refusals(id: ServerId): readonly Output['refuse'][number][] {
    return this.outputs(id).flatMap((output) => output.refuse)
  }

  /** All that this server has sent to another, delivered or not. */
  sent<Kind extends PeerMessage['kind']>(
    from: ServerId,
    to: ServerId,
    kind: Kind,
  ): readonly Extract<PeerMessage, { kind: Kind }>[] {
    return this.outputs(from).flatMap((output) =>
      output.send
        .filter((sent) => sent.to === to)
        .map((sent) => sent.message)
        .filter((message): message is Extract<PeerMessage, { kind: Kind }> => message.kind === kind),
    )
  }

  state(id: ServerId): ReplicaState {
    return stateOf(this.replica(id))
  }

  #node(id: ServerId): Node {
    const node = this.#nodes.get(id)
    if (node === undefined) throw new Error(`there is no server ${id}`)
    return node
  }

  #link(from: ServerId, to: ServerId): Link {
    const link = this.#links.get(linkKey(from, to))
    if (link === undefined) throw new Error(`there is no link ${from}→${to}`)
    return link
  }

  #tellLink(from: ServerId, to: ServerId, link: Link): void {
    const state: LinkState = {
      state: link.isHeld ? 'held' : 'open',
      delayMs: 0,
      queued: link.held.reduce(
        (sum, message) => sum + ('updates' in message ? message.updates.length : 0),
        0,
      ),
    }
    this.step(to, { kind: 'message', from, message: { kind: 'link', state } })
  }
}

/** What two replicas that have applied the same updates must agree on. */
export interface ReplicaState {
  readonly entries: readonly (readonly [string, Siblings])[]
  readonly applied: readonly (readonly [Origin, number])[]
  readonly known: readonly (readonly [Origin, readonly (readonly [Origin, number])[]])[]
  readonly clock: number
}

export function stateOf(replica: Replica): ReplicaState {
  const applied = sorted(replica.applied)
  return {
    entries: [...replica.entries()],
    applied,
    known: applied.map(([origin]) => [origin, sorted(replica.knownBy(origin) ?? new Map())] as const),
    clock: replica.clock,
  }
}

function sorted(cut: ReadonlyMap<Origin, number>): (readonly [Origin, number])[] {
  return [...cut].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

interface Node {
  readonly replica: Replica
  readonly origin: Origin
  readonly outputs: Output[]
}

class Link {
  readonly queue: PeerMessage[] = []
  /** Updates and pages that the hold keeps back; control messages pass. */
  readonly held: PeerMessage[] = []
  isHeld = false
  hasLost = false

  send(message: PeerMessage): void {
    const isKept =
      this.isHeld && (message.kind === 'updates' || message.kind === 'page' || message.kind === 'snapshot')
    const queue = isKept ? this.held : this.queue
    queue.push(message)
  }
}

/** Far above what any test needs; a mesh that passes it is in a loop. */
const turnsMax = 5_000

function linkKey(from: ServerId, to: ServerId): string {
  return `${from} ${to}`
}
