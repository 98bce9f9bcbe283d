import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { dialects, type Dialect } from './dialects.ts'
import type { LoadMessage, LoadPlan } from './load.ts'

/** See `Load`. It carries out one plan after the other. */
process.on('message', (plan: LoadPlan) => {
  void carryOut(plan).catch((error: unknown) => {
    say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
  })
})
// Whoever started it has ended.
process.once('disconnect', () => process.exit(0))

async function carryOut(plan: LoadPlan): Promise<void> {
  const dialect: Dialect = dialects[plan.dialect]
  const requests = requestsOf(plan, dialect)
  const times = new Times()
  const connections = await Promise.all(
    Array.from({ length: plan.connections }, async (_, index) => {
      const address = plan.addresses[index % plan.addresses.length]
      if (address === undefined) throw new Error('a load needs an address')
      const socket = await open(address)
      // Each begins somewhere else, so that they do not all ask for the same key at once.
      const first = Math.floor((index * requests.length) / plan.connections)
      return new Connection({ socket, dialect, requests, first, inFlight: plan.inFlight, times })
    }),
  )
  const measured = (async () => {
    for (const connection of connections) connection.begin()
    await pause(plan.warmMs)
    say({ kind: 'begins' })
    times.begin()
    const before = { ms: performance.now(), processor: process.cpuUsage() }
    await pause(plan.measureMs)
    const seconds = (performance.now() - before.ms) / 1_000
    const { user, system } = process.cpuUsage(before.processor)
    const { count, p50Ms, p99Ms } = times.end()
    say({ kind: 'ends' })
    await Promise.all(connections.map((connection) => connection.end()))
    say({
      kind: 'report',
      report: { count, seconds, loadProcessorSeconds: (user + system) / 1e6, p50Ms, p99Ms },
    })
  })()
  try {
    await Promise.race([measured, ...connections.map(({ failure }) => failure)])
  } finally {
    for (const connection of connections) connection.destroy()
  }
}

interface Request {
  readonly text: string
  readonly ends: number
}

/** All of them in words before it begins: what measures shares the processors with what is measured. */
function requestsOf(plan: LoadPlan, dialect: Dialect): readonly Request[] {
  const value = 'x'.repeat(plan.valueBytes)
  const requests: Request[] = []
  // Every key is read and written in its turn, whatever the share of writes.
  const count = plan.writesPerThousand % 1_000 === 0 ? plan.keys : Math.max(plan.keys, 1_000)
  let due = 0
  for (let index = 0; index < count; index++) {
    const key = `key:${index % plan.keys}`
    due += plan.writesPerThousand
    const isWrite = due >= 1_000
    if (isWrite) due -= 1_000
    requests.push(
      isWrite
        ? { text: dialect.write(key, value), ends: dialect.writeEnds }
        : { text: dialect.read(key), ends: dialect.readEnds },
    )
  }
  return requests
}

/** Keeps so many requests in flight: as soon as answers have come the next go, all that are due in one piece. */
class Connection {
  /** Rejected where an answer is an error, or the connection breaks. */
  readonly failure: Promise<never>
  readonly #socket: Socket
  readonly #error: string
  readonly #requests: readonly Request[]
  readonly #inFlight: number
  readonly #times: Times
  #failed: (error: Error) => void = () => {}
  #next: number
  /** Of those in flight, in order: how many ends their answers have left to come, and when they were sent. */
  readonly #endsLeft: number[]
  readonly #sentMs: Float64Array
  #first = 0
  #count = 0
  #isEnding = false
  #ended: () => void = () => {}

  constructor(options: {
    readonly socket: Socket
    readonly dialect: Dialect
    readonly requests: readonly Request[]
    readonly first: number
    readonly inFlight: number
    readonly times: Times
  }) {
    this.#socket = options.socket
    this.#error = options.dialect.error
    this.#requests = options.requests
    this.#inFlight = options.inFlight
    this.#times = options.times
    this.#next = options.first
    this.#endsLeft = Array.from({ length: options.inFlight }, () => 0)
    this.#sentMs = new Float64Array(options.inFlight)
    this.failure = new Promise((_, reject) => {
      this.#failed = reject
    })
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk))
    this.#socket.on('error', (error) => this.#failed(error))
    this.#socket.on('close', () => {
      if (!this.#isEnding) this.#failed(new Error('a connection of the load has been closed'))
    })
  }

  begin(): void {
    this.#send(this.#inFlight, performance.now())
  }

  /** Sends nothing more. @returns when all is answered. */
  end(): Promise<void> {
    this.#isEnding = true
    return new Promise((resolve) => {
      this.#ended = resolve
      if (this.#count === 0) resolve()
    })
  }

  destroy(): void {
    this.#isEnding = true
    this.#socket.destroy()
  }

  #take(chunk: Buffer): void {
    // The first of a piece: an error there is no accident, and to search all would cost more than to count.
    if (chunk.subarray(0, errorWithin).includes(this.#error)) {
      this.#failed(new Error(`the server answered ${chunk.toString('latin1', 0, errorWithin)}`))
      return
    }
    const nowMs = performance.now()
    let answered = 0
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) {
      if (--(this.#endsLeft as [number])[this.#first as 0] > 0) continue
      this.#times.add(nowMs - (this.#sentMs[this.#first] as number))
      this.#first = (this.#first + 1) % this.#inFlight
      this.#count--
      answered++
    }
    if (!this.#isEnding) this.#send(answered, nowMs)
    else if (this.#count === 0) this.#ended()
  }

  #send(count: number, nowMs: number): void {
    if (count === 0) return
    let text = ''
    for (let left = count; left > 0; left--) {
      const request = this.#requests[this.#next] as Request
      this.#next = (this.#next + 1) % this.#requests.length
      const place = (this.#first + this.#count++) % this.#inFlight
      this.#endsLeft[place] = request.ends
      this.#sentMs[place] = nowMs
      text += request.text
    }
    this.#socket.write(text, 'latin1')
  }
}

/** How long answers took, in steps of 2 %: for any number of them, in a fixed space. */
class Times {
  readonly #counts = new Uint32Array(stepsMax)
  #isMeasuring = false

  begin(): void {
    this.#isMeasuring = true
  }

  add(ms: number): void {
    if (!this.#isMeasuring) return
    const step = Math.round(Math.log(Math.max(ms, leastMs) / leastMs) / stepLog)
    const place = Math.min(step, stepsMax - 1)
    this.#counts[place] = (this.#counts[place] as number) + 1
  }

  end(): { readonly count: number; readonly p50Ms: number; readonly p99Ms: number } {
    this.#isMeasuring = false
    let count = 0
    for (const one of this.#counts) count += one
    const at = (share: number): number => {
      let left = count * share
      for (const [step, one] of this.#counts.entries()) {
        left -= one
        if (left <= 0) return leastMs * Math.exp(step * stepLog)
      }
      return Number.NaN
    }
    return { count, p50Ms: at(0.5), p99Ms: at(0.99) }
  }
}

const leastMs = 0.001
const stepLog = Math.log(1.02)
const stepsMax = 1_024

const errorWithin = 256

function open({ host, port }: { readonly host: string; readonly port: number }): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true })
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}

function say(message: LoadMessage): void {
  process.send?.(message)
}
