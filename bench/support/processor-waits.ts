import { closeSync, openSync, readdirSync, readSync } from 'node:fs'

/** How long each thread of a process has waited for a processor; of none, where the system does not say. */
export class ProcessorWaits {
  readonly #descriptors: number[] = []
  readonly #bytes = Buffer.alloc(64)

  constructor(pid: number) {
    try {
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        this.#descriptors.push(openSync(`/proc/${pid}/task/${thread}/schedstat`, 'r'))
      }
    } catch {
      this.close()
    }
  }

  /** In milliseconds, the main thread first. */
  read(): readonly number[] {
    return this.#descriptors.map((descriptor) => {
      try {
        const length = readSync(descriptor, this.#bytes, 0, this.#bytes.length, 0)
        return Number(this.#bytes.toString('latin1', 0, length).split(' ')[1]) / 1e6
      } catch {
        // It has ended.
        return 0
      }
    })
  }

  close(): void {
    for (const descriptor of this.#descriptors.splice(0)) closeSync(descriptor)
  }
}

/**
 * How much of a pause was for want of a processor: what the main thread waited, and the longest that one of those
 * waited that it had to wait for, such as when they collect garbage together.
 */
export function waitedBetween(before: readonly number[], after: readonly number[]): number {
  const [main = 0, ...others] = after.map((waited, thread) => Math.max(0, waited - (before[thread] ?? 0)))
  return main + Math.max(0, ...others)
}
