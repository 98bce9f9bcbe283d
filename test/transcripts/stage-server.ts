import { Chalk } from 'chalk'
import type { LinkAction } from '../../src/protocol/client-messages.ts'
import { defaultTiming, type Limits } from '../../src/replica/configuration.ts'
import type { ClientId } from '../../src/replica/input.ts'
import type { ClientRequest, ClientResult, LinkState, PeerMessage } from '../../src/replica/messages.ts'
import { notificationsOf, type Notification, type Output } from '../../src/replica/output.ts'
import { Replica } from '../../src/replica/replica.ts'
import type { Origin, ServerId } from '../../src/replica/version.ts'
import { Checkpointer, notingReplay } from '../../src/server/checkpointer.ts'
import { Narrator } from '../../src/server/narrator.ts'
import { ReplicaLoop, type LoopStorage } from '../../src/server/replica-loop.ts'
import { Roster } from '../../src/server/roster.ts'
import type { MemoryDisk } from '../../src/storage/memory-store.ts'

/** One server without its sockets. */
export class StageServer {
  readonly id: ServerId
  readonly origin: Origin
  readonly replica: Replica
  readonly loop: ReplicaLoop
  readonly narrator: Narrator
  readonly roster: Roster
  readonly #options: StageServerOptions
  readonly #clients = new Map<ClientId, ClientEnd>()
  #nextClient: ClientId = 1
  #nextRequest = 1
  #scheduled: (() => void)[] = []

  constructor(options: StageServerOptions) {
    const { id, origin, limits, disk, print } = options
    this.#options = options
    this.id = id
    this.origin = origin
    this.narrator = new Narrator({
      write: (line) => print(`${id}| ${line}`),
      paint: new Chalk({ level: 0 }),
    })
    this.roster = new Roster((event) => this.narrator.tell(event))
    const configuration = { server: id, origin, limits, timing: defaultTiming }
    let storage: LoopStorage | undefined
    if (disk === undefined) {
      this.replica = new Replica(configuration)
    } else {
      const store = disk.open(id)
      const { recovered, replayed } = notingReplay(store.recover())
      this.replica = new Replica(configuration, recovered)
      const checkpointer = new Checkpointer({ replica: this.replica, replayed })
      const failed = (error: unknown): never => {
        throw error
      }
      storage = { store, mode: 'sync', checkpointer, failed }
      this.#tellRecovered(store.isFresh)
    }
    this.loop = new ReplicaLoop({
      now: () => 0,
      replica: this.replica,
      release: (output) => this.#release(output),
      settle: () => {},
      schedule: (run) => this.#scheduled.push(run),
      storage,
    })
  }

  /** Steps what has arrived. @returns whether there was anything. */
  think(): boolean {
    const scheduled = this.#scheduled
    this.#scheduled = []
    for (const run of scheduled) run()
    return scheduled.length > 0
  }

  /** @returns the number under which the server knows the client from now on. */
  connect(client: ClientEnd): ClientId {
    const number = this.#nextClient++
    this.#clients.set(number, client)
    return number
  }

  disconnect(number: ClientId): void {
    this.#clients.delete(number)
    this.loop.push({ kind: 'clientGone', client: number })
  }

  /** @returns the number under which the request is answered. */
  request(client: ClientId, request: ClientRequest): number {
    const id = this.#nextRequest++
    this.loop.push({ kind: 'request', client, id, request })
    return id
  }

  applyToLink(peer: ServerId, action: LinkAction): LinkState {
    return this.#options.applyToLink(peer, action)
  }

  #release(output: Output): void {
    for (const { to, message } of output.send) this.#options.send(to, message)
    for (const event of output.events) this.narrator.tell(event)
    for (const notification of notificationsOf(output)) {
      this.#clients.get(notification.client)?.notified(notification)
    }
    for (const { peer, reason } of output.refuse) {
      this.narrator.tell({ kind: 'warning', text: `refused what server ${peer} sent: ${reason}` })
      this.#options.refuse(peer, reason)
    }
    for (const { client, id, result } of output.reply) this.#clients.get(client)?.answered(id, result)
    // On a stage everybody reads at once.
    for (const client of output.awaitDrain) this.loop.push({ kind: 'clientDrained', client })
  }

  /** In the words of a real server, which counts in the same way. */
  #tellRecovered(isFresh: boolean): void {
    const asked = this.replica.step({ kind: 'request', client: 0, id: 0, request: { method: 'status' } })
    const result = asked.reply[0]?.result
    if (result?.method !== 'status') throw new Error('a replica did not answer a question for its status')
    const { keys, log } = result.status
    const folder = `tidings-data/${this.id}`
    this.narrator.tell({ kind: 'recovered', folder, isFresh, keys, updates: log })
  }
}

/** The other end of a client's connection. */
interface ClientEnd {
  answered(id: number, result: ClientResult): void
  notified(notification: Notification): void
}

interface StageServerOptions {
  readonly id: ServerId
  readonly origin: Origin
  readonly limits: Limits
  /** Absent where everything is in memory only. */
  readonly disk: MemoryDisk | undefined
  readonly print: (line: string) => void
  readonly send: (to: ServerId, message: PeerMessage) => void
  /** Closes the connection on which a peer sends. */
  readonly refuse: (peer: ServerId, reason: string) => void
  readonly applyToLink: (peer: ServerId, action: LinkAction) => LinkState
}

/** `200 ms`, `61 s`. */
export function durationMs([number, unit]: readonly string[]): number {
  const unitMs = unit === 'ms' ? 1 : unit === 's' ? 1_000 : Number.NaN
  const durationMs = Number(number) * unitMs
  if (!(durationMs > 0)) throw new Error(`${number} ${unit} is no duration: try "200 ms" or "61 s"`)
  return durationMs
}
