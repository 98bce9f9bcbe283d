import { pingTimeoutMs } from '../../src/protocol/limits.ts'
import { entryOf } from '../../src/replica/cut.ts'
import type { Input } from '../../src/replica/input.ts'
import type { LinkState, PeerMessage } from '../../src/replica/messages.ts'
import type { Output } from '../../src/replica/output.ts'
import { sizeOf, type Update } from '../../src/replica/update.ts'
import type { Origin, ServerId, Timestamp, Version } from '../../src/replica/version.ts'
import { tickMs } from '../../src/server/server-core.ts'
import { covers, nameOf, type View } from './chronicle.ts'
import type { SimulatedProcess } from './simulated-process.ts'

/**
 * What one process says to its peers, takes from them and has waiting, judged by what has come to it (R3, R8):
 *
 * - A page can be applied as it stands by whoever asked for it; and where it says that it is the last, nothing is missing.
 * - Whoever is linked to is sent what it lacks of this process's own, a page of it. To a peer that has shown all that there
 *   is of that, the next is pushed. Pushes leave nothing out, and what is on its way is bounded.
 * - Where a page that was of use says that there is more, that is asked for as soon as the page is applied.
 * - While a link is theatre, what its server writes is taken from nobody else.
 * - Nobody takes the place of a process with the same id that is there (R7).
 * - An update is dropped only where the buffer is full, and what is said to wait is what waits.
 *
 * While a snapshot is taken in, inputs are put off, and it cannot be told from outside when they have their turn. Until
 * nothing is left to be done after that, nothing is judged.
 */
export class PeerAudit {
  readonly #process: SimulatedProcess
  readonly #peers = new Map<ServerId, Peer>()
  /** What waits, with its size. */
  readonly #waiting = new Map<string, { readonly update: Update; readonly bytes: number }>()
  #waitingBytes = 0
  /** The pull that was sent last, and when, by the clock of its ticks. */
  #pull: { readonly to: ServerId; readonly number: number; readonly sentMs: number } | undefined
  /** Whom more is to be asked of. */
  #more: ServerId | undefined
  /** Inputs that may not have had their turn; undefined while all have theirs at once. */
  #putOff: Input[] | undefined

  constructor(process: SimulatedProcess) {
    this.#process = process
  }

  /** Whether an update waits here for its causes. */
  hasWaiting(version: Version): boolean {
    return this.#waiting.has(nameOf(version))
  }

  /** The connection on which a peer's messages come is closed, as another process has come with its id. */
  displaces({ peer: id, origin }: { readonly peer: ServerId; readonly origin: Origin }): void {
    const { world } = this.#process
    const peer = this.#peers.get(id)
    if (peer?.origin !== origin || !world.isRunning(origin)) return
    // Before it was asked whether it is there, it may have said anything.
    if (world.time.nowMs - peer.heardMs >= pingTimeoutMs) return
    this.#violate('R7', `has heard from ${origin} just now, and closes its connection as if it were gone`)
  }

  step(input: Input, output: Output): void {
    if (output.stage.some(({ kind }) => kind === 'begin')) this.#putOff ??= []
    if (this.#putOff === undefined) {
      this.#take(input)
      this.#judge(input, output)
      return
    }
    this.#putOff.push(input)
    this.#pull = undefined
    this.#more = undefined
    this.#noteWaiting(output)
    for (const { to, message } of output.send) {
      if (message.kind === 'updates') this.#peers.get(to)?.push(message.updates)
    }
    if (output.more) return
    for (const late of this.#putOff) this.#take(late)
    // What was pushed before a link came up and what after it is not known.
    for (const peer of this.#peers.values()) peer.reached = Infinity
    this.#putOff = undefined
    this.#forgetApplied()
  }

  // ── what has come ──────────────────────────────────────────────────────────────────────────────────────

  #take(input: Input): void {
    switch (input.kind) {
      case 'linkUp': {
        const peer = this.#peerOf(input.peer, input.origin)
        peer.sends = true
        peer.show(entryOf(input.applied, this.#process.origin))
        peer.pushed = []
        peer.reached = peer.shown
        return
      }
      case 'linkDown':
        this.#lose(input, 'sends')
        return
      case 'peerHeard': {
        const peer = this.#peerOf(input.peer, input.origin)
        peer.hears = true
        peer.link = 'open'
        return
      }
      case 'peerSilent':
        this.#lose(input, 'hears')
        return
      case 'message':
        this.#hear(this.#peers.get(input.from), input.message)
        return
      default:
    }
  }

  #hear(peer: Peer | undefined, message: PeerMessage): void {
    if (peer === undefined) return
    peer.heardMs = this.#process.world.time.nowMs
    if (message.kind === 'cut') peer.show(entryOf(message.entries, this.#process.origin))
    else if (message.kind === 'link') peer.link = message.state.state
    else if (message.kind === 'pull') {
      peer.show(entryOf(message.applied, this.#process.origin))
      peer.pull = message
    }
  }

  #peerOf(id: ServerId, origin: Origin): Peer {
    let peer = this.#peers.get(id)
    if (peer?.origin !== origin) {
      peer = new Peer(origin)
      this.#peers.set(id, peer)
    }
    return peer
  }

  #lose(
    { peer: id, origin }: { readonly peer: ServerId; readonly origin: Origin },
    direction: 'sends' | 'hears',
  ): void {
    const peer = this.#peers.get(id)
    if (peer?.origin !== origin) return
    peer[direction] = false
    if (peer.sends || peer.hears) return
    this.#peers.delete(id)
  }

  // ── what is said ───────────────────────────────────────────────────────────────────────────────────────

  #judge(input: Input, output: Output): void {
    const isConnecting = input.kind === 'linkUp'
    if (isConnecting) this.#judgeConnecting(input.peer, output)
    this.#judgePushing(output)
    for (const { to, message } of output.send) {
      const peer = this.#peers.get(to)
      if (peer === undefined) continue
      if (message.kind === 'page') this.#judgePage(peer, message, output)
      else if (message.kind === 'updates') {
        if (!isConnecting) this.#judgeWindow(to, peer, message.updates)
        this.#judgeGap(to, peer, message.updates)
        peer.push(message.updates)
      }
    }
    this.#judgeMore(input, output)
    if (input.kind === 'message' && input.message.kind === 'page') this.#judgeDetours(input.from, output)
    this.#noteWaiting(output)
    this.#judgeWaking(output)
    this.#judgeWaiting(input, output)
  }

  /** Whoever has all that there was is kept up to date without asking. */
  #judgePushing({ persist, send }: Output): void {
    const own = persist.find(({ update }) => update.origin === this.#process.origin)?.update
    if (own === undefined || own.previous === 0) return
    for (const [id, peer] of this.#peers) {
      if (!peer.sends || peer.shown < own.previous) continue
      if (isPushed(own, id, send)) continue
      this.#violate('R8', `does not push ${nameOf(own)} to ${id}, which has shown all before it`)
    }
  }

  /** What a link that has just come up brings first. */
  #judgeConnecting(id: ServerId, { send }: Output): void {
    const { origin, witness, world, core } = this.#process
    const shown = this.#peers.get(id)?.shown ?? 0
    // What the log no longer has is not pushed, but pulled.
    if (entryOf(core.replica.logFloor, origin) > shown) return
    const lacking = world.chronicle
      .between([], witness.view)
      .find(({ update }) => update.origin === origin && update.timestamp > shown)?.update
    if (lacking === undefined || isPushed(lacking, id, send)) return
    this.#violate('R8', `is linked to ${id}, and does not send it ${nameOf(lacking)}`)
  }

  #judgeGap(id: ServerId, { reached }: Peer, [first]: readonly Update[]): void {
    if (first === undefined || first.previous <= reached) return
    this.#violate('R8', `pushes ${nameOf(first)} to ${id}, which lacks ${first.previous} before it`)
  }

  #judgeMore(input: Input, output: Output): void {
    const { timing } = this.#process.world
    const isLinkNews = input.kind === 'message' && input.message.kind === 'link'
    if (input.kind === 'linkDown' || input.kind === 'peerSilent' || isLinkNews)
      this.#pull = this.#more = undefined
    else if (input.kind === 'message' && input.message.kind === 'page') {
      const isAwaited =
        input.message.pull === this.#pull?.number &&
        // It is given up at a tick.
        this.#process.clockMs - this.#pull.sentMs < timing.pullTimeoutMs - tickMs
      const isFruitful = output.events.some(({ kind }) => kind === 'pulled')
      const isToGoOn = isAwaited && isFruitful && input.message.more
      // A pull that came twice is answered twice, and awaited once.
      if (isAwaited) this.#pull = undefined
      // One that comes twice is in vain, and nothing in vain is followed at once.
      this.#more = isToGoOn && this.#peers.get(input.from)?.sends === true ? input.from : undefined
    }
    for (const { to, message } of output.send) {
      if (message.kind !== 'pull') continue
      this.#pull = { to, number: message.pull, sentMs: this.#process.clockMs }
      if (to === this.#more) this.#more = undefined
    }
    if (output.more || this.#more === undefined) return
    this.#violate('R8', `does not ask ${this.#more} for more`)
  }

  #judgeWindow(id: ServerId, { pushed }: Peer, updates: readonly Update[]): void {
    const { pushedBytesMax } = this.#process.world.limits
    if (pushed.length === 0) return
    let bytes = 0
    for (const update of pushed) bytes += sizeOf(update)
    for (const update of updates) bytes += sizeOf(update)
    if (bytes <= pushedBytesMax) return
    this.#violate('R8', `has ${bytes} bytes of pushes on their way to ${id}, more than ${pushedBytesMax}`)
  }

  #judgePage(peer: Peer, page: Extract<PeerMessage, { kind: 'page' }>, { persist }: Output): void {
    const { pull } = peer
    const { core, origin } = this.#process
    if (pull?.pull !== page.pull) return
    if (!page.more) peer.reached = Math.max(peer.reached, entryOf(core.replica.applied, origin))
    // Where origins are left out, what could only wait for them is left out too.
    if (pull.except.length > 0) return
    const { chronicle } = this.#process.world
    const reached: View = chronicle.viewOf(pull.applied)
    for (const update of page.updates) {
      const fact = chronicle.find(update)
      if (fact === undefined) continue
      const isNext = fact.past.every((count, index) => (reached[index] ?? 0) >= count)
      if (!isNext) {
        this.#violate('R8', `answers a pull with ${nameOf(update)} on a page that lacks causes of it`)
        return
      }
      reached[fact.originIndex] = Math.max(reached[fact.originIndex] ?? 0, fact.sequence)
    }
    if (page.more) return
    const late = new Set(persist.map(({ update }) => chronicle.find(update)))
    for (const fact of chronicle.between(reached, this.#process.witness.view)) {
      if (late.has(fact)) continue
      this.#violate('R8', `answers a pull to the end, and leaves out ${nameOf(fact.update)}`)
      return
    }
  }

  /** What was on its way when the link was held is not looked at either. */
  #judgeDetours(from: ServerId, output: Output): void {
    for (const event of output.events) {
      const isNew = event.kind === 'waiting' || (event.kind === 'applied' && event.waitedMs === undefined)
      if (!isNew || event.from !== from) continue
      for (const [id, { origin, hears, link }] of this.#peers) {
        const isTheatre = hears && (link === 'held' || link === 'delayed')
        if (id === from || !isTheatre || origin !== event.update.origin) continue
        this.#violate('R8', `takes ${nameOf(event.update)} from ${from}, and the link from ${id} is ${link}`)
      }
    }
  }

  // ── what waits ─────────────────────────────────────────────────────────────────────────────────────────

  #noteWaiting({ events }: Output): void {
    const { updatesMax, bytesMax } = this.#process.world.limits.buffer
    for (const event of events) {
      switch (event.kind) {
        case 'waiting': {
          const bytes = sizeOf(event.update)
          this.#waiting.set(nameOf(event.update), { update: event.update, bytes })
          this.#waitingBytes += bytes
          break
        }
        case 'dropped': {
          // One that was woken in vain has left its place for a moment.
          this.#noLongerWaits(event.update)
          const isFull =
            this.#waiting.size >= updatesMax || this.#waitingBytes + sizeOf(event.update) > bytesMax
          if (!isFull && this.#putOff === undefined) {
            this.#violate(
              'R3',
              `drops ${nameOf(event.update)}, and only ${this.#waiting.size} of ${updatesMax} wait, ` +
                `${this.#waitingBytes} bytes of ${bytesMax}`,
            )
          }
          break
        }
        case 'applied':
        case 'lost':
          this.#noLongerWaits(event.update)
          break
        default:
      }
    }
  }

  /** What all causes of are there waits no longer. */
  #judgeWaking({ persist, more }: Output): void {
    if (more || persist.length === 0 || this.#waiting.size === 0) return
    const { chronicle } = this.#process.world
    const { view } = this.#process.witness
    for (const { update } of this.#waiting.values()) {
      const fact = chronicle.find(update)
      if (fact === undefined || !fact.past.every((count, index) => (view[index] ?? 0) >= count)) continue
      this.#violate('R3', `has all that ${nameOf(update)} needs, and lets it wait`)
      return
    }
  }

  #judgeWaiting(input: Input, output: Output): void {
    if (input.kind !== 'request' || input.request.method !== 'status') return
    for (const { client, id, result } of output.reply) {
      if (client !== input.client || id !== input.id || result.method !== 'status') continue
      // What was applied in the same step waited until then.
      const { waiting } = result.status
      if (output.events.length > 0 || waiting === this.#waiting.size) continue
      this.#violate('R3', `says that ${waiting} updates wait, and ${this.#waiting.size} do`)
    }
  }

  #noLongerWaits(version: Version): void {
    const name = nameOf(version)
    this.#waitingBytes -= this.#waiting.get(name)?.bytes ?? 0
    this.#waiting.delete(name)
  }

  /** What came with a snapshot waits no more. */
  #forgetApplied(): void {
    const { chronicle } = this.#process.world
    for (const { update } of this.#waiting.values()) {
      const fact = chronicle.find(update)
      if (fact !== undefined && covers(this.#process.witness.view, fact)) this.#noLongerWaits(update)
    }
  }

  #violate(rule: string, what: string): void {
    this.#process.world.violations.add(rule, `${this.#process.origin} ${what}`)
  }
}

/** A connected server, as far as this one has heard. */
class Peer {
  readonly origin: Origin
  sends = false
  hears = false
  /** When its last message came. */
  heardMs = -Infinity
  link: LinkState['state'] = 'open'
  /** Up to which of this process's own updates it has shown to have. */
  shown: Timestamp = 0
  /** What was pushed to it and it has not shown yet. */
  pushed: Update[] = []
  /** Up to which of them it has shown, has been pushed, or has pulled to the tip. */
  reached: Timestamp = 0
  /** Its last. */
  pull: Extract<PeerMessage, { kind: 'pull' }> | undefined

  constructor(origin: Origin) {
    this.origin = origin
  }

  show(timestamp: Timestamp): void {
    this.shown = Math.max(this.shown, timestamp)
    this.reached = Math.max(this.reached, timestamp)
    const [first] = this.pushed
    if (first !== undefined && first.timestamp <= this.shown)
      this.pushed = this.pushed.filter((update) => update.timestamp > this.shown)
  }

  push(updates: readonly Update[]): void {
    this.pushed.push(...updates)
    this.reached = updates.at(-1)?.timestamp ?? this.reached
  }
}

function isPushed(update: Update, id: ServerId, send: Output['send']): boolean {
  return send.some(
    ({ to, message }) => to === id && message.kind === 'updates' && message.updates.includes(update),
  )
}
