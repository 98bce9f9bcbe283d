import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
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
  const script = await compiledWorker()
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

/** Compiles the simulator as it is now, into a folder that is gone when this process ends. */
async function compiledWorker(): Promise<string> {
  const repository = fileURLToPath(new URL('../..', import.meta.url))
  const folder = await mkdtemp(join(tmpdir(), 'tidings-simulator-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const compiler = join(repository, 'node_modules/typescript/bin/tsc')
  const project = join(repository, 'test/simulation/tsconfig.json')
  await promisify(execFile)(process.execPath, [compiler, '-p', project, '--outDir', folder])
  await writeFile(join(folder, 'package.json'), '{"type":"module"}\n')
  await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'))
  return join(folder, 'test/simulation/seed-worker.js')
}

/** Some seconds of work: so that threads end at about the same time. */
const seedsPerOrder = 10
