import type { ProtocolError } from '../protocol/errors.ts'
import type { Configuration } from '../replica/configuration.ts'
import type { ClientId } from '../replica/input.ts'
import type { ClientResult } from '../replica/messages.ts'
import type { Broadcast, Notification, Output } from '../replica/output.ts'
import type { Recovered } from '../replica/recovered.ts'
import { Replica } from '../replica/replica.ts'
import { StorageError, type Store } from '../storage/store.ts'
import { Checkpointer, notingReplay, type CheckpointLimits } from './checkpointer.ts'
import type { InputSource } from './input-queue.ts'
import { Mesh, type LinkFactory } from './mesh.ts'
import type { ServerEvent } from './narrator.ts'
import { ReplicaLoop, type LoopStorage } from './replica-loop.ts'

/**
 * A server without its sockets, its clock and its terminal: a replica as its store has it, the loop that steps it, stores
 * and releases, and the mesh of links to other servers.
 *
 * Whatever the world is made of stands in {@link CoreSurroundings}. A process gives it sockets and timers; the simulator
 * gives it a network and a time of its own, and runs the very same server.
 */
export class ServerCore {
  readonly replica: Replica
  readonly loop: ReplicaLoop
  readonly mesh: Mesh
  readonly #surroundings: CoreSurroundings

  constructor(options: {
    readonly configuration: Configuration
    /** Absent where everything is in memory only. */
    readonly storage?: CoreStorage | undefined
    readonly surroundings: CoreSurroundings
  }) {
    const { configuration, surroundings } = options
    this.#surroundings = surroundings
    const { replica, storage } = recover(configuration, options.storage)
    this.replica = replica
    this.loop = new ReplicaLoop({
      replica,
      storage,
      relieved: surroundings.relieved,
      sourceRelieved: surroundings.sourceRelieved,
      release: (output) => this.#release(output),
      settle: () => {
        surroundings.settle()
        this.mesh.flush()
      },
      schedule: surroundings.schedule,
      now: surroundings.now,
      later: surroundings.later,
    })
    this.mesh = new Mesh({
      server: configuration.server,
      origin: configuration.origin,
      step: (input) => this.loop.push(input),
      tell: surroundings.tell,
      dial: surroundings.dial,
      idRefused: surroundings.idRefused,
      knownChanged: (known) => this.loop.keepKnown(known),
    })
  }

  /** Carries out one step's output, in the order that its fields state (R6). */
  #release(output: Output): void {
    const { sessionOf } = this.#surroundings
    for (const { to, message } of output.send) this.mesh.send(to, message)
    for (const broadcast of output.broadcast) this.#surroundings.broadcast(broadcast)
    for (const notification of output.notify) sessionOf(notification.client)?.notify(notification)
    for (const { client, id, result } of output.reply) sessionOf(client)?.reply(id, result)
    for (const { peer, reason } of output.refuse) this.mesh.refuse(peer, reason)
    this.#surroundings.tellStep(output.events)
    for (const client of output.awaitDrain) sessionOf(client)?.awaitDrain()
  }
}

/** Where a server keeps what must not be lost (R6). */
export interface CoreStorage {
  readonly store: Store
  readonly mode: LoopStorage['mode']
  /** For tests: checkpoints that come sooner, in smaller slices. */
  readonly checkpointLimits?: Partial<CheckpointLimits>
  /** Nothing can be stored any more. What has not left by now never leaves. */
  readonly failed: (error: unknown) => void
}

/** What the replica says to one client. */
interface CoreSession {
  notify(notification: Notification): void
  reply(request: number, result: ClientResult): void
  awaitDrain(): void
}

/** The world around a {@link ServerCore}. */
export interface CoreSurroundings {
  /** Who is connected under this number, if they still are. */
  readonly sessionOf: (client: ClientId) => CoreSession | undefined
  /** Tells several clients alike, after what they have been told before. */
  readonly broadcast: (broadcast: Broadcast) => void
  /** A slice has been released: what was said to sessions may leave. */
  readonly settle: () => void
  /** The disk has caught up, so that sessions may be read from again. */
  readonly relieved: () => void
  /** No more of what this source sent waits than may. */
  readonly sourceRelieved: (source: InputSource) => void
  readonly dial: LinkFactory
  /** No server has ever accepted this one, and one refused it because its id is taken. */
  readonly idRefused: (error: ProtocolError) => void
  readonly tell: (event: ServerEvent) => void
  readonly tellStep: (events: Output['events']) => void
  /** Runs a function soon, after whatever has arrived by now. */
  readonly schedule: (run: () => void) => void
  /** Milliseconds on any clock that does not fall. */
  readonly now: () => number
  /** Runs a function after so many milliseconds of it. */
  readonly later: (ms: number, run: () => void) => void
}

/** How often its replica is to be told the time: so that a changed cut is told "at most a moment" later (R8). */
export const tickMs = 50

/** How often {@link Mesh.beat} is to be called, and whoever else looks now and then after what it is connected to. */
export const beatMs = 1_000

/** A replica as the store has it, and how its loop goes on storing. */
function recover(
  configuration: Configuration,
  storage: CoreStorage | undefined,
): { readonly replica: Replica; readonly storage?: LoopStorage } {
  if (storage === undefined) return { replica: new Replica(configuration) }
  const { store, mode, failed, checkpointLimits: limits } = storage
  const { recovered, replayed } = notingReplay(store.recover())
  const replica = recoveredReplica(configuration, recovered)
  const checkpointer = new Checkpointer({ replica, replayed, ...(limits === undefined ? {} : { limits }) })
  return { replica, storage: { store, mode, checkpointer, failed } }
}

/**
 * A replica as a store has it.
 *
 * @throws StorageError where what is stored contradicts itself, though each record for itself is sound.
 */
export function recoveredReplica(configuration: Configuration, recovered: Recovered): Replica {
  try {
    return new Replica(configuration, recovered)
  } catch (cause) {
    // Reading a record may have failed, which has been put into words.
    if (cause instanceof StorageError) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new StorageError(
      `what is stored contradicts itself (${reason}); restore the folder from a copy, or move it away and start with none, ` +
        'and the other servers send what they have',
      { cause },
    )
  }
}
