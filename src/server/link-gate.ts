import type { LinkAction } from '../protocol/client-messages.ts'
import type { LinkState, PeerMessage } from '../replica/messages.ts'

/** A message that carries updates, or a state that they have made; the only kind that a gate keeps back. */
type Carrier = Extract<PeerMessage, { kind: 'updates' | 'page' | 'snapshot' }>

/**
 * The gate through which one outgoing link sends: open, or held or delayed by a lab.
 *
 * Updates keep their order. Everything else passes: cuts, pulls, pings, and the news that the link is held, which
 * is what keeps the mesh from routing around it. What is in a held gate is bounded by the replica, which
 * pushes no more than a window of bytes without an acknowledgement; of pages, and parts of a snapshot, only the last
 * is kept, because a new one means that the other side has given up the one before.
 */
export class LinkGate {
  readonly #pass: (message: PeerMessage) => void
  readonly #startTimer: (run: () => void, delayMs: number) => void
  #state: LinkState['state'] = 'open'
  #delayMs = 0
  #queue: Carrier[] = []
  /** Changes whenever what was delayed before must no longer pass by its timer. */
  #generation = 0

  constructor(options: {
    readonly pass: (message: PeerMessage) => void
    /** Runs a function once, after the given number of milliseconds. */
    readonly startTimer: (run: () => void, delayMs: number) => void
  }) {
    this.#pass = options.pass
    this.#startTimer = options.startTimer
  }

  get state(): LinkState {
    const queued = this.#queue.reduce((sum, carrier) => sum + countOf(carrier), 0)
    return { state: this.#state, delayMs: this.#delayMs, queued }
  }

  send(message: PeerMessage): void {
    if (this.#state === 'cut') return
    if (this.#state === 'open' || !isCarrier(message)) {
      this.#pass(message)
      return
    }
    if (message.kind !== 'updates') this.#queue = this.#queue.filter((carrier) => carrier.kind === 'updates')
    // One update an item, so that a lab can let them go one by one.
    const carriers = message.kind === 'updates' ? singly(message) : [message]
    this.#queue.push(...carriers)
    if (this.#state === 'delayed') for (const carrier of carriers) this.#letGoLater(carrier)
    this.#tell()
  }

  /** The connection is gone, and with it what was in the link; a cut stays until it is healed. */
  reset(): void {
    this.#queue = []
    this.#generation++
    if (this.#state !== 'cut') this.#state = 'open'
    this.#delayMs = 0
  }

  apply(action: LinkAction): void {
    switch (action.action) {
      case 'hold':
        if (this.#state !== 'cut') this.#become('held')
        break
      case 'release':
        if (this.#state === 'cut') break
        this.#letGo(action.count ?? Infinity)
        if (action.count === undefined) this.#become('open')
        break
      case 'delay':
        if (this.#state === 'cut') break
        this.#become(action.ms === 0 ? 'open' : 'delayed')
        this.#delayMs = action.ms
        // What was held so far is on its way from now on, in its order.
        if (action.ms === 0) this.#letGo(Infinity)
        else for (const carrier of this.#queue) this.#letGoLater(carrier)
        break
      case 'cut':
        // The last thing that passes is the news, so that the other side can say why nothing comes.
        this.#queue = []
        this.#become('cut')
        break
      case 'heal':
        if (this.#state === 'cut') this.#become('open')
        break
    }
    this.#tell()
  }

  #become(state: LinkState['state']): void {
    this.#state = state
    this.#generation++
    if (state !== 'delayed') this.#delayMs = 0
  }

  #letGo(updateCount: number): void {
    let left = updateCount
    while (left > 0) {
      const carrier = this.#queue.shift()
      if (carrier === undefined) return
      left -= countOf(carrier)
      this.#pass(carrier)
    }
  }

  #letGoLater(carrier: Carrier): void {
    const generation = this.#generation
    this.#startTimer(() => {
      const index = this.#queue.indexOf(carrier)
      // It may have been released, or replaced, before its time.
      if (generation !== this.#generation || index < 0) return
      for (const due of this.#queue.splice(0, index + 1)) this.#pass(due)
      this.#tell()
    }, this.#delayMs)
  }

  #tell(): void {
    this.#pass({ kind: 'link', state: this.state })
  }
}

function singly(message: Extract<PeerMessage, { kind: 'updates' }>): Carrier[] {
  return message.updates.map((update) => ({ kind: 'updates', updates: [update] }))
}

function isCarrier(message: PeerMessage): message is Carrier {
  return message.kind === 'updates' || message.kind === 'page' || message.kind === 'snapshot'
}

/** How many updates a carrier stands for. */
function countOf(carrier: Carrier): number {
  return carrier.kind === 'snapshot' ? carrier.siblings.length : carrier.updates.length
}
