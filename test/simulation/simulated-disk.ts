import type { Random } from '../durability/random.ts'
import { MemoryDisk } from '../../src/storage/memory-store.ts'
import type { Store, StoreBatch } from '../../src/storage/store.ts'
import type { ServerId } from '../../src/replica/version.ts'
import type { VirtualTime } from './virtual-time.ts'

/** What somebody who looks on is told of a disk. */
export interface DiskObserver {
  /** These have become durable, in this order; all before them had been. */
  durable(disk: SimulatedDisk, batch: StoreBatch): void
}

/**
 * The shipped disk in memory, whose commits take a time that the seed chooses: so a crash finds some of them durable,
 * and some not.
 */
export class SimulatedDisk {
  readonly #time: VirtualTime
  readonly #random: Random
  readonly #observer: DiskObserver
  readonly #commitMs: number
  readonly #memory: MemoryDisk
  /** Those that are not durable, the oldest first. */
  #waiting: StoreBatch[] = []
  #lastDueMs = 0
  /** Rises with every crash, so that what was planned before it does nothing after it. */
  #generation = 0
  #isFull = false
  /** How many times as long a commit takes as it should. */
  slowness = 1

  constructor(options: {
    readonly time: VirtualTime
    readonly random: Random
    readonly observer: DiskObserver
    /** What a commit takes at most while the disk is in health. */
    readonly commitMs: number
    readonly memory?: MemoryDisk
  }) {
    this.#time = options.time
    this.#random = options.random
    this.#observer = options.observer
    this.#commitMs = options.commitMs
    this.#memory = options.memory ?? new MemoryDisk({ settle: 'when told' })
  }

  /** Commits that are not durable yet. */
  get pending(): number {
    return this.#waiting.length
  }

  /** Whether the next commit that would become durable fails, and all behind it. */
  set isFull(isFull: boolean) {
    this.#isFull = isFull
    this.#memory.isFull = isFull
  }

  open(server: ServerId): Store {
    const store = this.#memory.open(server)
    const generation = this.#generation
    const commit = (batch: StoreBatch): Promise<void> => {
      const stored = store.commit(batch)
      // The process is gone, and does not know it yet.
      if (generation !== this.#generation) return stored
      this.#waiting.push(batch)
      const tookMs = this.#random.within(0.1, 1) * this.#commitMs * this.slowness
      this.#lastDueMs = Math.max(this.#lastDueMs, this.#time.nowMs + tookMs)
      this.#time.at(this.#lastDueMs, () => {
        if (generation === this.#generation) this.#flush(1)
      })
      return stored
    }
    return {
      isFresh: store.isFresh,
      addresses: store.addresses,
      recover: () => store.recover(),
      commit,
      close: () => store.close(),
    }
  }

  /** The process that has it open is gone. @param keptCount commits that become durable all the same. */
  crash(keptCount: number): void {
    this.#flush(keptCount)
    this.#generation++
    this.#waiting = []
    this.#memory.crash()
  }

  /** A disk with what is durable here. */
  copy(): SimulatedDisk {
    return new SimulatedDisk({
      time: this.#time,
      random: this.#random,
      observer: this.#observer,
      commitMs: this.#commitMs,
      memory: this.#memory.copy(),
    })
  }

  #flush(count: number): void {
    for (let left = Math.min(count, this.#waiting.length); left > 0; left--) {
      this.#memory.flush(1)
      this.#time.settleSoon()
      if (this.#isFull) {
        // All that waited has failed.
        this.#waiting = []
        return
      }
      this.#observer.durable(this, this.#waiting.shift() as StoreBatch)
    }
  }
}
