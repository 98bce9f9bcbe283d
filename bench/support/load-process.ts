import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { dialects, type Asked, type Conversation } from './dialects.ts'
import type { LoadPlan, LoadReport } from './load.ts'
import { measuredPart, serve } from './measured-part.ts'
import { open } from './sockets.ts'
import { Times } from './times.ts'

/** See `Load`. */
serve(carryOut)

async function carryOut(plan: LoadPlan): Promise<LoadReport> {
  const asked = askedFor(plan)
  const partStart = (whole: number, index: number): number => Math.floor((index * whole) / plan.connections)
  const converse = dialects[plan.dialect](asked)
  const times = new Times()
  const connections = await Promise.all(
    Array.from({ length: plan.connections }, async (_, index) => {
      const address = plan.addresses[index % plan.addresses.length]
      if (address === undefined) throw new Error('a load needs an address')
      const socket = await open(address)
      // Each begins somewhere else, so that they do not all ask for the same key at once.
      const first = partStart(asked.length, index)
      const share =
        plan.count === undefined ? Infinity : partStart(plan.count, index + 1) - partStart(plan.count, index)
      const requests = { first, count: asked.length, inFlight: plan.inFlight, share }
      return new Connection({ socket, conversation: converse(), requests, times })
    }),
  )
  const measured = (async () => {
    for (const connection of connections) connection.begin()
    const allAnswered = (): Promise<unknown> => Promise.all(connections.map((one) => one.allAnswered()))
    const report = await measuredPart(plan, times, plan.count === undefined ? undefined : allAnswered)
    await Promise.all(connections.map((connection) => connection.end()))
    return report
  })()
  try {
    return await Promise.race([measured, ...connections.map(({ failure }) => failure)])
  } finally {
    for (const connection of connections) connection.destroy()
  }
}

/** What is asked for, over and over. */
function askedFor(plan: LoadPlan): readonly Asked[] {
  const value = 'x'.repeat(plan.valueBytes)
  const isMixed = plan.writesPerThousand % 1_000 !== 0
  let due = 0
  return Array.from({ length: isMixed ? Math.max(plan.keys, 1_000) : plan.keys }, (_, index) => {
    due += plan.writesPerThousand
    const isWrite = due >= 1_000
    if (isWrite) due -= 1_000
    return { kind: isWrite ? 'write' : 'read', key: `key-${index % plan.keys}`, value }
  })
}

/** Keeps so many requests in flight: as soon as answers have come the next go, all that are due in one piece. */
class Connection {
  /** Rejected where an answer is an error, or the connection breaks. */
  readonly failure: Promise<never>
  readonly #socket: Socket
  readonly #conversation: Conversation
  readonly #requestCount: number
  readonly #inFlight: number
  readonly #times: Times
  #failed: (error: Error) => void = () => {}
  #next: number
  /** When those in flight were sent, in a ring. */
  readonly #sentMs: Float64Array
  #first = 0
  #count = 0
  /** How many are still to be asked for. */
  #left: number
  #isDone = false
  #answered: () => void = () => {}

  constructor(options: {
    readonly socket: Socket
    readonly conversation: Conversation
    readonly requests: {
      readonly first: number
      readonly count: number
      readonly inFlight: number
      readonly share: number
    }
    readonly times: Times
  }) {
    const { first, count, inFlight, share } = options.requests
    this.#socket = options.socket
    this.#conversation = options.conversation
    this.#requestCount = count
    this.#inFlight = inFlight
    this.#left = share
    this.#times = options.times
    this.#next = first
    this.#sentMs = new Float64Array(inFlight)
    this.failure = new Promise((_, reject) => {
      this.#failed = reject
    })
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk))
    this.#socket.on('error', (error) => this.#failed(error))
    this.#socket.on('close', () => {
      if (!this.#isDone) this.#failed(new Error('a connection of the load has been closed'))
    })
  }

  begin(): void {
    if (this.#conversation.greeting.length > 0) this.#socket.write(this.#conversation.greeting)
    this.#send(Math.min(this.#inFlight, this.#left), performance.now())
  }

  /** Sends nothing more. @returns when all is answered. */
  end(): Promise<void> {
    this.#left = 0
    return this.allAnswered()
  }

  /** @returns when all that was to be asked for is answered. */
  allAnswered(): Promise<void> {
    return new Promise((resolve) => {
      this.#answered = resolve
      this.#tellIfAnswered()
    })
  }

  destroy(): void {
    this.#isDone = true
    this.#socket.destroy()
  }

  #tellIfAnswered(): void {
    if (this.#left === 0 && this.#count === 0) this.#answered()
  }

  #take(chunk: Buffer): void {
    const nowMs = performance.now()
    let answered: number
    try {
      answered = this.#conversation.take(chunk)
    } catch (error) {
      this.#failed(error as Error)
      return
    }
    for (let left = answered; left > 0; left--) {
      this.#times.add(nowMs - (this.#sentMs[this.#first] as number))
      this.#first = (this.#first + 1) % this.#inFlight
    }
    this.#count -= answered
    this.#send(Math.min(answered, this.#left), nowMs)
    this.#tellIfAnswered()
  }

  #send(count: number, nowMs: number): void {
    if (count === 0) return
    this.#left -= count
    const requests: number[] = []
    for (let left = count; left > 0; left--) {
      requests.push(this.#next)
      this.#next = (this.#next + 1) % this.#requestCount
      this.#sentMs[(this.#first + this.#count++) % this.#inFlight] = nowMs
    }
    const bytes = this.#conversation.ask(requests)
    if (typeof bytes === 'string') this.#socket.write(bytes, 'latin1')
    else this.#socket.write(bytes)
  }
}
