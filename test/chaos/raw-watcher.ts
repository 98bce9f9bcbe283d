import { setTimeout as pause } from 'node:timers/promises'
import type { Write } from '../../src/replica/update.ts'
import type { WireVersion } from '../durability/dump.ts'
import type { Random } from '../durability/random.ts'
import type { WireMessage } from '../integration/raw-client.ts'
import { SharedConnection } from './shared-connection.ts'
import type { WatchRecord, Watcher } from './watcher.ts'

/**
 * Watches over a bare socket, from its start on, at one server after the other: when the connection breaks it goes on
 * somewhere, from the cut of what it was told.
 */
export class RawWatcher implements Watcher {
  readonly record: WatchRecord
  readonly #ports: readonly number[]
  readonly #random: Random
  /** All that it was told of, as a cut; that is where to go on. */
  #cut = new Map<string, number>()
  /** Since the last `caughtUp` it was told of the state: then this is where to go on, the cut as it was before. */
  #cutBefore: ReadonlyMap<string, number> | undefined
  #isStalled = false
  #isClosed = false
  #connection: SharedConnection | undefined
  #moved: () => void = () => {}
  readonly #run: Promise<void>

  constructor(options: {
    readonly record: WatchRecord
    readonly ports: readonly number[]
    readonly random: Random
  }) {
    this.record = options.record
    this.#ports = options.ports
    this.#random = options.random
    this.#run = this.#watchOn()
  }

  stall(): void {
    this.#isStalled = true
    this.#connection?.stopReading()
  }

  readOn(): void {
    this.#isStalled = false
    this.#connection?.readOn()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#connection?.close()
    this.#moved()
    await this.#run
  }

  async #watchOn(): Promise<void> {
    while (!this.#isClosed) {
      const broken = new Promise<void>((resolve) => {
        this.#moved = resolve
      })
      const connection = await SharedConnection.connect(this.#random.oneOf(this.#ports), {
        notified: (message) => this.#notified(message),
        closed: () => this.#moved(),
      })
      if (connection === undefined) {
        await pause(redialMs, undefined, { ref: false })
        continue
      }
      this.#connection = connection
      if (this.#cutBefore !== undefined) this.#beginAnew(this.#cutBefore)
      const since = this.#cut.size === 0 ? 'start' : Object.fromEntries(this.#cut)
      // The answer is not waited for: what is told comes after it.
      void connection.ask('watch', JSON.stringify({ prefix: this.record.prefix, since }), Infinity)
      if (this.#isStalled) connection.stopReading()
      if (this.#isClosed) connection.close()
      await broken
    }
  }

  #notified({ method, params }: WireMessage): void {
    switch (method) {
      case 'update': {
        const { version, writes, coalesced } = params as {
          readonly version: WireVersion
          readonly writes: readonly Write[]
          readonly coalesced?: true
        }
        if (coalesced === true) {
          this.#cutBefore ??= new Map(this.#cut)
          this.record.mayCoalesce()
        }
        this.#raise(version[1], version[0])
        this.record.push(version, writes)
        return
      }
      case 'caughtUp': {
        const { applied } = params as { readonly applied: Readonly<Record<string, number>> }
        for (const [origin, timestamp] of Object.entries(applied)) this.#raise(origin, timestamp)
        this.#cutBefore = undefined
        return
      }
      case 'resync':
        this.#beginAnew(new Map())
        return
    }
  }

  /** What comes now may have come before. */
  #beginAnew(cut: ReadonlyMap<string, number>): void {
    this.#cut = new Map(cut)
    this.#cutBefore = undefined
    this.record.beginAnew()
  }

  #raise(origin: string, timestamp: number): void {
    if ((this.#cut.get(origin) ?? 0) < timestamp) this.#cut.set(origin, timestamp)
  }
}

const redialMs = 50
