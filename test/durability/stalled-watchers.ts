import { connect, type Socket } from 'node:net'
import { freePorts, ServerProcess, within } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'
import type { DataFolder } from './data-folder.ts'
import type { ToldUpdate } from './history.ts'

export interface StallOptions {
  readonly watchers: number
  /** How many keys are overwritten, over and over. */
  readonly keys: number
  readonly valueBytes: number
  /** Writes while the watchers are stalled. */
  readonly writes: number
}

export interface StallReport {
  /** Of the server's memory, what is in RAM. In bytes. */
  readonly residentBytes: {
    /** When nobody stalls, after a tenth of the writes. */
    readonly before: number
    /** The highest that was seen while all watchers stall. */
    readonly during: number
    /** When all have caught up. */
    readonly after: number
  }
  /** What a server would have to hold that kept everything for everybody. In bytes. */
  readonly owedBytes: number
  /**
   * Writes in a second: without watchers; while what they are told still fills the buffers of the system, which takes
   * in megabytes for each; and when nothing of it goes anywhere any more.
   */
  readonly writesPerSecond: { readonly before: number; readonly filling: number; readonly stalled: number }
  /** How long another client waited for each of its reads while the watchers stalled. In milliseconds. */
  readonly readMs: readonly number[]
  /** How many watchers the server cut off, and came back with what they had seen. */
  readonly reconnected: number
  readonly violations: readonly string[]
}

/**
 * Watchers that subscribe and then read nothing, at full write load: what they cost the server and its other clients, and
 * whether each ends with the right values once it reads again (R11).
 */
export async function stalledWatchers(folder: DataFolder, options: StallOptions): Promise<StallReport> {
  const { watchers: count, keys, valueBytes, writes } = options
  const [port = 0] = await freePorts(1)
  // Not as JSON: telling of every single write would be the heavier load.
  const server = new ServerProcess({ id: '1', port, data: folder.at('1'), isJson: false })
  await server.listening()
  const writer = await RawClient.connect(port)
  const write = (amount: number) => overwrite(writer, { amount, keys, valueBytes })
  const tenth = Math.ceil(writes / 10)
  const before = { writesPerSecond: await write(tenth), residentBytes: await server.residentBytes() }

  const watchers: StallingWatcher[] = []
  for (let index = 0; index < count; index++) watchers.push(await StallingWatcher.start(port))
  for (const watcher of watchers) watcher.stall()

  const reader = await RawClient.connect(port)
  const load = { isOver: false }
  const readMs: number[] = []
  let residentBytesMax = 0
  const reading = (async () => {
    for (let time = 0; !load.isOver; time++) {
      const startMs = performance.now()
      await reader.call('read', { key: 'key 0' })
      readMs.push(performance.now() - startMs)
      if (time % 50 === 0) residentBytesMax = Math.max(residentBytesMax, await server.residentBytes())
    }
  })()
  const during = { filling: 0, stalled: 0 }
  try {
    during.filling = await write(Math.ceil(writes / 2))
    during.stalled = await write(Math.ceil(writes / 2))
  } finally {
    load.isOver = true
  }
  residentBytesMax = Math.max(residentBytesMax, await server.residentBytes())
  await reading

  const { applied } = await reader.call<{ readonly applied: Readonly<Record<string, number>> }>('status')
  const names = Array.from({ length: keys }, (_, index) => `key ${index}`)
  const last = await reader.call<{
    readonly values: readonly { readonly key: string; readonly value: string }[]
  }>('read', { keys: names })
  const violations: string[] = []
  await Promise.all(
    watchers.map(async (watcher, index) => {
      await watcher.readUntil(applied)
      for (const { key, value } of last.values) {
        const seen = watcher.values.get(key)
        if (seen !== value) {
          violations.push(
            `watcher ${index} ends with ${seen?.slice(0, 20)} for ${key}, not ${value.slice(0, 20)}`,
          )
        }
      }
      violations.push(...watcher.violations)
      watcher.close()
    }),
  )
  const after = await server.residentBytes()
  writer.close()
  reader.close()
  await server.stop()
  return {
    residentBytes: { before: before.residentBytes, during: residentBytesMax, after },
    owedBytes: count * writes * valueBytes,
    writesPerSecond: { before: before.writesPerSecond, ...during },
    readMs,
    reconnected: watchers.filter(({ connections }) => connections > 1).length,
    violations,
  }
}

/** Keeps as many writes under way as a connection may have. @returns how many were acknowledged in a second. */
async function overwrite(
  client: RawClient,
  load: { readonly amount: number; readonly keys: number; readonly valueBytes: number },
): Promise<number> {
  const startMs = performance.now()
  let sent = 0
  const padding = '.'.repeat(load.valueBytes)
  const writeOn = async (): Promise<void> => {
    while (sent < load.amount) {
      const number = sent++
      await client.call('write', { key: `key ${number % load.keys}`, value: `${number} ${padding}` })
    }
  }
  await Promise.all(Array.from({ length: underWay }, writeOn))
  return (load.amount / (performance.now() - startMs)) * 1_000
}

const underWay = 64

/** A watcher that keeps only what it has to: its cut, and of each key the value that it saw last. */
class StallingWatcher {
  readonly values = new Map<string, string>()
  readonly violations: string[] = []
  connections = 0
  readonly #port: number
  readonly #seen = new Map<string, number>()
  #socket: Socket
  #rest = ''
  #look: () => void = () => {}

  private constructor(port: number) {
    this.#port = port
    this.#socket = this.#dial()
  }

  static async start(port: number): Promise<StallingWatcher> {
    const watcher = new StallingWatcher(port)
    await watcher.#until(() => watcher.#hasStarted, 'a watch to start')
    return watcher
  }

  stall(): void {
    this.#socket.pause()
  }

  /** Reads on until all that a cut covers was seen, on a new connection where the server has cut this one off. */
  async readUntil(cut: Readonly<Record<string, number>>): Promise<void> {
    this.#socket.resume()
    const isThere = (): boolean =>
      Object.entries(cut).every(([origin, timestamp]) => (this.#seen.get(origin) ?? 0) >= timestamp)
    await this.#until(isThere, 'a watch to catch up')
  }

  close(): void {
    this.#isClosed = true
    this.#socket.destroy()
  }

  #hasStarted = false
  #isClosed = false

  async #until(isThere: () => boolean, what: string): Promise<void> {
    const there = new Promise<void>((resolve) => {
      this.#look = () => {
        if (isThere()) resolve()
      }
      this.#look()
    })
    await within(there, () => `a stalled watcher waits for ${what}`, catchUpMsMax)
  }

  #dial(): Socket {
    const socket = connect({ port: this.#port, host: '127.0.0.1' })
    this.#rest = ''
    this.connections++
    const since = this.connections === 1 ? 'start' : Object.fromEntries(this.#seen)
    socket.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'watch', params: { since } })}\n`)
    socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n')
      this.#rest = lines.pop() ?? ''
      for (const line of lines) this.#read(line)
      this.#look()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (!this.#isClosed) this.#socket = this.#dial()
    })
    return socket
  }

  #read(line: string): void {
    const { method, params, error } = JSON.parse(line) as {
      readonly method?: string
      readonly params?: unknown
      readonly error?: { readonly message: string }
    }
    if (error !== undefined) this.violations.push(error.message)
    if (method === undefined) this.#hasStarted = true
    else if (method === 'resync') this.violations.push('a watcher was told to begin anew')
    else if (method === 'caughtUp') {
      const { applied } = params as { readonly applied: Readonly<Record<string, number>> }
      for (const [origin, timestamp] of Object.entries(applied)) this.#saw(origin, timestamp)
    } else this.#take(params as ToldUpdate)
  }

  #take({ version, writes }: ToldUpdate): void {
    const [timestamp, origin] = version
    if ((this.#seen.get(origin) ?? 0) >= timestamp) {
      this.violations.push(`a watcher was told twice of ${timestamp}@${origin}`)
    }
    this.#saw(origin, timestamp)
    for (const { key, value } of writes) this.values.set(key, value as string)
  }

  #saw(origin: string, timestamp: number): void {
    this.#seen.set(origin, Math.max(timestamp, this.#seen.get(origin) ?? 0))
  }
}

/** For a thousand of them on a machine that is busy with other things. */
const catchUpMsMax = 180_000
