import { Client } from '../../src/client/client.ts'
import type { WatchRecord, Watcher } from './watcher.ts'

/** Watches through the client library, which goes on at other servers by itself. */
export class LibraryWatcher implements Watcher {
  readonly record: WatchRecord
  readonly #client: Client
  #readOn: () => void = () => {}
  #stalled: Promise<void> | undefined
  readonly #run: Promise<void>

  constructor(options: { readonly record: WatchRecord; readonly ports: readonly number[] }) {
    this.record = options.record
    this.#client = new Client(options.ports.map((port) => `${port}`))
    this.#run = this.#watch()
  }

  stall(): void {
    // The library does not say what it was told from the state.
    this.record.mayCoalesce()
    this.#stalled ??= new Promise((resolve) => {
      this.#readOn = resolve
    })
  }

  readOn(): void {
    this.#readOn()
    this.#stalled = undefined
  }

  async close(): Promise<void> {
    this.readOn()
    await this.#client.close()
    await this.#run
  }

  async #watch(): Promise<void> {
    for await (const event of this.#client.watch({ prefix: this.record.prefix, since: 'start' })) {
      switch (event.kind) {
        case 'update': {
          const { timestamp, origin } = event.version
          this.record.push([timestamp, origin], event.writes)
          break
        }
        case 'resync':
          this.record.beginAnew()
          break
        case 'caughtUp':
          break
      }
      await this.#stalled
    }
  }
}
