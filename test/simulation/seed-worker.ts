import { parentPort } from 'node:worker_threads'
import { simulate, type RunOptions } from './simulation.ts'
import { Sometimes, type RareState } from './sometimes.ts'

/** Seeds that a worker is to run, one after the other. */
export interface SeedOrder {
  readonly from: number
  readonly count: number
  readonly options: Omit<RunOptions, 'seed' | 'sometimes' | 'trace'>
  /** Whether each is run twice, to see whether both runs are the same. */
  readonly isTwice: boolean
}

/** What came of them. */
export interface SeedTally {
  readonly runs: number
  readonly operations: number
  readonly updates: number
  readonly virtualMs: number
  readonly failures: readonly { readonly seed: number; readonly violation: string }[]
  readonly rareStates: readonly (readonly [RareState, number])[]
}

/** Runs what it is sent, and answers each order with a tally. In a thread of its own, or called where it is. */
export async function carryOut({ from, count, options, isTwice }: SeedOrder): Promise<SeedTally> {
  const sometimes = new Sometimes()
  const failures: { readonly seed: number; readonly violation: string }[] = []
  let operations = 0
  let updates = 0
  let virtualMs = 0
  for (let seed = from; seed < from + count; seed++) {
    const report = await simulate({ ...options, seed, sometimes })
    operations += report.operations
    updates += report.updates
    virtualMs += report.virtualMs
    const [violation] = report.violations
    if (violation !== undefined) failures.push({ seed, violation })
    else if (isTwice && (await traceOf({ ...options, seed })) !== (await traceOf({ ...options, seed }))) {
      failures.push({ seed, violation: 'two runs of this seed are not the same' })
    }
  }
  return { runs: count, operations, updates, virtualMs, failures, rareStates: [...sometimes.counts] }
}

/** Everything that happens in a run, in lines. */
export async function traceOf(options: Omit<RunOptions, 'trace'>): Promise<string> {
  const lines: string[] = []
  await simulate({ ...options, trace: (line) => lines.push(line) })
  return lines.join('\n')
}

parentPort?.on('message', (order: SeedOrder) => {
  void carryOut(order).then((tally) => parentPort?.postMessage(tally))
})
