import type { ClientId } from '../../src/replica/input.ts'
import type { ClientRequest, ClientResult } from '../../src/replica/messages.ts'
import type { Notification } from '../../src/replica/output.ts'
import { compareVersions, type Version } from '../../src/replica/version.ts'
import type { SimulatedProcess } from './simulated-process.ts'

/** The client's end of its connection. */
export interface ClientEnd {
  answered(request: number, result: ClientResult): void
  notified(notification: Notification): void
  /** A connection has broken; it may be news of one that was given up before. */
  lost(session: SimulatedSession): void
  /** How long a line takes on its way, in either direction; drawn anew for each. */
  latencyMs(): number
}

/**
 * One connection of a client to a process, both ends and what is between them. It keeps its order; and while the client
 * does not read, what is said to it piles up to a bound, and after that waits on the server's side, as in a process.
 */
export class SimulatedSession {
  readonly process: SimulatedProcess
  readonly number: ClientId
  readonly #client: ClientEnd
  #isOpen = true
  #isReading = true
  #readsSinceMs: number
  #isStalled = false
  #awaitsDrain = false
  /** What has left the server's hands and is not read yet. */
  #unread: (() => void)[] = []
  /** What the server says once the client takes what there is. */
  #owed: (() => void)[] = []
  #toClientMs = 0
  #toServerMs = 0
  #nextRequest = 1
  #pushesBefore: { readonly answer: ClientResult; readonly push: UpdateNotification }[] = []

  constructor(options: {
    readonly process: SimulatedProcess
    readonly number: ClientId
    readonly client: ClientEnd
  }) {
    this.process = options.process
    this.number = options.number
    this.#client = options.client
    this.#readsSinceMs = options.process.world.time.nowMs
  }

  /** For how long the client has taken whatever came. */
  readingMs(): number {
    return this.#isReading ? this.process.world.time.nowMs - this.#readsSinceMs : 0
  }

  /** @returns the number under which it is answered. */
  request(request: ClientRequest): number {
    const id = this.#nextRequest++
    this.#toServer(() => this.process.core.loop.push({ kind: 'request', client: this.number, id, request }))
    return id
  }

  /** The client closes, or its connection breaks: the server learns of it a moment later. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#plan(() => this.process.disconnect(this))
  }

  /** The process has ended. @param isSilent nobody tells the client, whose system finds out by itself, and late. */
  lose(isSilent: boolean): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    const afterMs = isSilent ? keepAliveMs : this.#client.latencyMs()
    this.process.world.time.in(afterMs, () => this.#client.lost(this))
  }

  stopReading(): void {
    this.#isReading = false
  }

  readOn(): void {
    if (this.#isReading) return
    this.#isReading = true
    this.#readsSinceMs = this.process.world.time.nowMs
    const unread = this.#unread
    this.#unread = []
    for (const arrive of unread) this.#toClient(arrive)
    if (this.#isStalled || this.#awaitsDrain) this.process.in(this.#client.latencyMs(), () => this.#drained())
  }

  // ── what the server says ───────────────────────────────────────────────────────────────────────────────

  reply(request: number, result: ClientResult): void {
    this.#reveals(result)
    if (this.#pushesBefore.some(({ answer }) => answer === result)) {
      const what = `${this.process.origin} answers client ${this.number} before the push of what the answer shows`
      this.process.world.violations.add('R11', what)
    }
    this.#say(() => this.#client.answered(request, result))
  }

  notify(notification: Notification): void {
    if (this.#pushesBefore.length > 0)
      this.#pushesBefore = this.#pushesBefore.filter(({ push }) => !isSamePush(push, notification))
    if (notification.kind === 'update') {
      this.process.reveals(notification.version, 'a push to client ', this.number)
    } else if (notification.kind === 'caughtUp') {
      // What the watch has seen elsewhere is in it too; of the rest it says that it is applied here.
      this.process.world.observeBookmark(this.process, notification)
    }
    this.#say(() => this.#client.notified(notification))
  }

  /** @param push has to leave before an answer. */
  expectBefore(answer: ClientResult, push: UpdateNotification): void {
    this.#pushesBefore.push({ answer, push })
  }

  #reveals(result: ClientResult): void {
    const where = 'an answer to client '
    for (const version of versionsIn(result)) this.process.reveals(version, where, this.number)
    if (result.method === 'hello' || result.method === 'watch') {
      this.process.revealsCut(result.applied, where, this.number)
    }
  }

  awaitDrain(): void {
    this.#awaitsDrain = true
    if (this.#isReading && !this.#isStalled) this.process.in(this.#client.latencyMs(), () => this.#drained())
  }

  #say(arrive: () => void): void {
    if (this.#isStalled || this.#owed.length > 0) this.#owed.push(arrive)
    else this.#send(arrive)
  }

  #send(arrive: () => void): void {
    if (this.#isReading) {
      this.#toClient(arrive)
      return
    }
    this.#unread.push(arrive)
    if (this.#unread.length <= unreadMax || this.#isStalled) return
    this.#isStalled = true
    this.process.world.sometimes('a client stalled')
    this.process.core.loop.push({ kind: 'clientStalled', client: this.number })
  }

  #drained(): void {
    if (!this.#isOpen || !this.#isReading || (!this.#isStalled && !this.#awaitsDrain)) return
    this.#isStalled = false
    this.#awaitsDrain = false
    const owed = this.#owed
    this.#owed = []
    for (const arrive of owed) this.#say(arrive)
    if (this.#isStalled) return
    this.process.core.loop.push({ kind: 'clientDrained', client: this.number })
  }

  #toServer(arrive: () => void): void {
    this.#plan(() => {
      if (this.#isOpen) arrive()
    })
  }

  #toClient(arrive: () => void): void {
    const { time } = this.process.world
    this.#toClientMs = Math.max(this.#toClientMs, time.nowMs + this.#client.latencyMs())
    time.at(this.#toClientMs, () => {
      if (this.#isOpen) arrive()
    })
  }

  #plan(arrive: () => void): void {
    const { time } = this.process.world
    this.#toServerMs = Math.max(this.#toServerMs, time.nowMs + this.#client.latencyMs())
    time.at(this.#toServerMs, () => this.process.whenRunning(arrive))
  }
}

/** What a write or a read shows. */
export function versionsIn(result: ClientResult): readonly Version[] {
  if (result.method === 'write') return [result.version]
  if (result.method !== 'read') return []
  return result.values.flatMap(({ winner, conflicts }) =>
    winner === undefined
      ? conflicts.map(({ version }) => version)
      : [winner, ...conflicts].map(({ version }) => version),
  )
}

/** After this the system of a client that waits for nothing asks whether the other side is there. */
const keepAliveMs = 15_000

/** What the sockets between them hold: messages here, where they are bytes in a process. */
const unreadMax = 8

type UpdateNotification = Extract<Notification, { readonly kind: 'update' }>

function isSamePush(push: UpdateNotification, other: Notification): boolean {
  return (
    other.kind === 'update' &&
    other.watch === push.watch &&
    compareVersions(other.version, push.version) === 0
  )
}
