import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { compileProject } from '../compiled-project.ts'
import type { SeedOrder, SeedTally } from './seed-worker.ts'

/**
 * Runs many seeds on several threads, compiled: sources that are translated while they are loaded run a quarter slower.
 *
 * @param told is called with each tally as it comes.
 */
export async function runSeeds(options: {
  readonly from: number
  readonly count: number
  readonly threads: number
  readonly order: Pick<SeedOrder, 'options' | 'isTwice'>
  readonly told: (tally: SeedTally) => void
}): Promise<void> {
  const { from, count, threads, order, told } = options
  const compiled = await compileProject('test/simulation/tsconfig.json')
  const script = join(compiled, 'test/simulation/seed-worker.js')
  let next = from
  const end = from + count
  async function work(): Promise<void> {
    // A run makes much that is soon forgotten: with more room for that it is a tenth faster.
    const worker = new Worker(script, { resourceLimits: { maxYoungGenerationSizeMb: 128 } })
    try {
      while (next < end) {
        const taken = Math.min(seedsPerOrder, end - next)
        const given: SeedOrder = { ...order, from: next, count: taken }
        next += taken
        told(await answerTo(worker, given))
      }
    } finally {
      await worker.terminate()
    }
  }
  await Promise.all(Array.from({ length: threads }, work))
}

function answerTo(worker: Worker, order: SeedOrder): Promise<SeedTally> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      const seeds = `${order.from} to ${order.from + order.count - 1}`
      reject(new Error(`one of the seeds ${seeds} ended in an exception`, { cause: error }))
    }
    worker.once('error', failed)
    worker.once('message', (tally: SeedTally) => {
      worker.off('error', failed)
      resolve(tally)
    })
    worker.postMessage(order)
  })
}

/** Some seconds of work: so that threads end at about the same time. */
const seedsPerOrder = 10
