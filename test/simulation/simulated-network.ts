import type { Random } from '../durability/random.ts'
import type { ServerId } from '../../src/replica/version.ts'
import type { Faults } from './faults.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import type { VirtualTime } from './virtual-time.ts'

/** How one direction between two servers is. */
export type Passage =
  | 'open'
  /** Connections break at once, and none can be made. */
  | 'cut'
  /** Everything is swallowed, and nobody is told. */
  | 'swallowing'

/**
 * The network between the servers of a run: who listens where, and what becomes of what is sent.
 *
 * What is sent on one connection arrives in its order, or not at all from some point on, as with TCP; between two
 * connections there is no order. Each takes its own time, which the seed chooses, different in the two directions.
 */
export class SimulatedNetwork {
  readonly #time: VirtualTime
  readonly #random: Random
  readonly #faults: Faults
  readonly #listeners = new Map<number, SimulatedProcess>()
  readonly #passages = new Map<string, Passage>()
  readonly #baseMs = new Map<string, number>()
  /** For how much longer a direction takes, while it is delayed. */
  readonly #extraMs = new Map<string, number>()
  readonly #connections = new Set<PeerConnection>()
  /** The chance of a message to arrive twice. */
  duplicateChance: number

  constructor(options: { readonly time: VirtualTime; readonly random: Random; readonly faults: Faults }) {
    this.#time = options.time
    this.#random = options.random
    this.#faults = options.faults
    this.duplicateChance = options.faults.duplicateChance
  }

  get connections(): Iterable<PeerConnection> {
    return this.#connections
  }

  listen(port: number, process: SimulatedProcess): void {
    this.#listeners.set(port, process)
  }

  stopListening(port: number, process: SimulatedProcess): void {
    if (this.#listeners.get(port) === process) this.#listeners.delete(port)
  }

  passage(from: ServerId, to: ServerId): Passage {
    return this.#passages.get(`${from} ${to}`) ?? 'open'
  }

  setPassage(from: ServerId, to: ServerId, passage: Passage): void {
    this.#passages.set(`${from} ${to}`, passage)
    for (const connection of this.#connections) {
      if (connection.from.id !== from || connection.to.id !== to) continue
      if (passage === 'cut') connection.breakOff('the connection was cut')
      else if (passage === 'swallowing') connection.swallow()
    }
  }

  delay(from: ServerId, to: ServerId, extraMs: number): void {
    this.#extraMs.set(`${from} ${to}`, extraMs)
  }

  /** Everything passes again, in no more time than usual. What was swallowed stays so. */
  heal(): void {
    this.#passages.clear()
    this.#extraMs.clear()
    this.duplicateChance = 0
  }

  /** How long a message from one server to another takes. */
  latencyMs(from: ServerId, to: ServerId): number {
    const name = `${from} ${to}`
    let baseMs = this.#baseMs.get(name)
    if (baseMs === undefined) {
      baseMs = this.#random.chance(0.2) ? this.#random.within(5, 40) : this.#random.within(0.1, 3)
      this.#baseMs.set(name, baseMs)
    }
    return baseMs + this.#random.within(0, this.#faults.jitterMs) + (this.#extraMs.get(name) ?? 0)
  }

  /** A connection begins to be made, where somebody listens and the way is open. */
  connect(from: SimulatedProcess, port: number): PeerConnection | 'refused' | 'unanswered' {
    const to = this.#listeners.get(port)
    if (to === undefined) return 'refused'
    const passage = this.passage(from.id, to.id)
    if (passage === 'cut') return 'refused'
    if (passage === 'swallowing') return 'unanswered'
    const connection = new PeerConnection({ time: this.#time, network: this, from, to })
    this.#connections.add(connection)
    return connection
  }

  forget(connection: PeerConnection): void {
    this.#connections.delete(connection)
  }

  isDuplicated(): boolean {
    return this.duplicateChance > 0 && this.#random.chance(this.duplicateChance)
  }
}

/** One connection that a server has dialled, and on which it alone says something; the other only answers. */
export class PeerConnection {
  readonly from: SimulatedProcess
  readonly to: SimulatedProcess
  readonly #time: VirtualTime
  readonly #network: SimulatedNetwork
  /** When the last of what is on its way arrives, in each direction. */
  #forwardMs = 0
  #backwardMs = 0
  #isOpenHere = true
  #isOpenThere = true
  /** How many messages have come to each end. */
  #receivedHere = 0
  #receivedThere = 0
  #swallowedSinceMs: number | undefined
  /** Called, once, when one of the ends learns that it is closed. */
  closedHere: (reason: string) => void = () => {}
  closedThere: (reason: string) => void = () => {}

  constructor(options: {
    readonly time: VirtualTime
    readonly network: SimulatedNetwork
    readonly from: SimulatedProcess
    readonly to: SimulatedProcess
  }) {
    this.#time = options.time
    this.#network = options.network
    this.from = options.from
    this.to = options.to
  }

  get isOpenHere(): boolean {
    return this.#isOpenHere
  }

  get isOpenThere(): boolean {
    return this.#isOpenThere
  }

  /** How many messages have come to who dialled; undefined where it has closed. */
  get receivedHere(): number | undefined {
    return this.#isOpenHere ? this.#receivedHere : undefined
  }

  /** The same of who was dialled. */
  get receivedThere(): number | undefined {
    return this.#isOpenThere ? this.#receivedThere : undefined
  }

  /** For how long nothing has come through any more; 0 while everything does. */
  silentMs(): number {
    return this.#swallowedSinceMs === undefined ? 0 : this.#time.nowMs - this.#swallowedSinceMs
  }

  /** From whom dialled to whom was dialled. */
  forward(arrive: () => void): void {
    if (!this.#isOpenHere) return
    this.#forwardMs = Math.max(
      this.#forwardMs,
      this.#time.nowMs + this.#network.latencyMs(this.from.id, this.to.id),
    )
    this.#plan(this.#forwardMs, this.to, () => {
      if (!this.#isOpenThere) return
      this.#receivedThere++
      arrive()
    })
  }

  /** The answers. */
  backward(arrive: () => void): void {
    if (!this.#isOpenThere) return
    this.#backwardMs = Math.max(
      this.#backwardMs,
      this.#time.nowMs + this.#network.latencyMs(this.to.id, this.from.id),
    )
    this.#plan(this.#backwardMs, this.from, () => {
      if (!this.#isOpenHere) return
      this.#receivedHere++
      arrive()
    })
  }

  #plan(atMs: number, receiver: SimulatedProcess, arrive: () => void): void {
    if (this.#swallowedSinceMs !== undefined) return
    this.#time.at(atMs, () => {
      if (this.#swallowedSinceMs === undefined) receiver.whenRunning(arrive)
    })
  }

  /** From now on nothing comes through, and nobody is told. */
  swallow(): void {
    this.#swallowedSinceMs ??= this.#time.nowMs
  }

  /** The dialling side closes; the other learns of it as soon as that has come through. */
  closeHere(reason: string): void {
    if (!this.#isOpenHere) return
    this.forward(() => this.#endThere(reason))
    this.#endHere(reason)
  }

  closeThere(reason: string): void {
    if (!this.#isOpenThere) return
    this.backward(() => this.#endHere(reason))
    this.#endThere(reason)
  }

  /** It breaks: what is in it is lost, and both ends are told. */
  breakOff(reason: string): void {
    this.#swallowedSinceMs ??= this.#time.nowMs
    this.from.whenRunning(() => this.#endHere(reason))
    this.to.whenRunning(() => this.#endThere(reason))
  }

  #endHere(reason: string): void {
    if (!this.#isOpenHere) return
    this.#isOpenHere = false
    this.#forgetIfClosed()
    this.closedHere(reason)
  }

  #endThere(reason: string): void {
    if (!this.#isOpenThere) return
    this.#isOpenThere = false
    this.#forgetIfClosed()
    this.closedThere(reason)
  }

  #forgetIfClosed(): void {
    if (!this.#isOpenHere && !this.#isOpenThere) this.#network.forget(this)
  }
}
