import type { Write } from '../../src/replica/update.ts'
import type { WireVersion } from '../durability/dump.ts'
import type { Recorder } from './recorder.ts'
import { recordedValue } from './session.ts'

/**
 * What a watch was told, recorded as it was told, and looked at beside that: that nothing comes twice, that all of a round
 * has come, and when (R11).
 *
 * Invariant: `told` are the versions pushed under the present name since the round began.
 */
export class WatchRecord {
  readonly #baseName: string
  readonly #recorder: Recorder
  readonly #complain: (complaint: string) => void
  readonly prefix: string
  #name: string
  #life = 1
  #i = 0
  #pushes = 0
  #told = new Set<string>()
  #isWhole = true
  #wait: { readonly version: string; readonly resolve: () => void } | undefined

  constructor(options: {
    readonly name: string
    readonly prefix: string
    readonly recorder: Recorder
    readonly complain: (complaint: string) => void
  }) {
    this.#baseName = options.name
    this.#name = options.name
    this.prefix = options.prefix
    this.#recorder = options.recorder
    this.#complain = options.complain
  }

  get name(): string {
    return this.#name
  }

  /** Writes that it was told of, in all. */
  get pushes(): number {
    return this.#pushes
  }

  /** What it was told since the round began; undefined where it was told of the state, or began anew meanwhile. */
  get whole(): ReadonlySet<string> | undefined {
    return this.#isWhole ? this.#told : undefined
  }

  /** @param writes those of an update to the watched keys. */
  push(version: WireVersion, writes: readonly Write[]): void {
    const name = version.join('@')
    for (const { key, value, deleted } of writes) {
      const line = deleted === true ? { key, version } : { key, value: recordedValue(value), version }
      this.#recorder.record({ session: this.#name, i: ++this.#i, op: 'push', ...line })
      this.#pushes++
    }
    if (this.#told.has(name)) this.#complain(`watch ${this.#name} was told of ${name} twice`)
    this.#told.add(name)
    if (name === this.#wait?.version) this.#wait.resolve()
  }

  /** From here on, until the round is over, values may coalesce. */
  mayCoalesce(): void {
    this.#isWhole = false
  }

  /** What it was told before need not hold, or may come again. */
  beginAnew(): void {
    this.#name = `${this.#baseName}.${++this.#life}`
    this.#i = 0
    this.#told = new Set()
    this.#isWhole = false
  }

  /** What was told so far is settled. */
  beginRound(): void {
    this.#told = new Set()
    this.#isWhole = true
  }

  /** Resolves when it has been told of an update of this round. */
  async toldOf(version: WireVersion): Promise<void> {
    const name = version.join('@')
    if (this.#told.has(name)) return
    await new Promise<void>((resolve) => {
      this.#wait = { version: name, resolve }
    })
    this.#wait = undefined
  }
}

/** A watch, whatever it goes through. */
export interface Watcher {
  readonly record: WatchRecord
  /** Takes nothing more until {@link readOn}. */
  stall(): void
  readOn(): void
  close(): Promise<void>
}
