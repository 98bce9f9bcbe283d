import { errand } from '../support/errand.ts'
import type { DrainPlan, DrainReport } from '../support/causal-buffer-process.ts'
import { subject, type Figures, type Trial } from '../trial.ts'

/**
 * A wave of updates arrives in the worst order: each before its cause, so that all of them wait until the last to come
 * brings the first. Cost per update must not depend on how many wait (R3), and nobody else must be kept waiting by them.
 */
export const causalBuffer: Trial = {
  name: 'causal buffer in the worst order',
  figures: [
    { name: 'µs to keep', digits: 2, isCompared: true },
    { name: 'µs to apply', digits: 2, isCompared: true },
    { name: 'keeping: longest stall ms', digits: 1 },
    { name: 'of it our own, keeping', digits: 1 },
    { name: 'applying: longest stall ms', digits: 1 },
    { name: 'of it our own, applying', digits: 1 },
  ],
  subjects: ({ isQuick }) => {
    // What all are compared with comes first.
    const counts = isQuick ? [10_000, 1_000] : [10_000, 1_000, 100_000, 1_000_000]
    return counts.map((count) => subject(`${count.toLocaleString('en')} updates`, () => drain(count)))
  },
}

async function drain(updates: number): Promise<Figures> {
  // A million updates that wait take a gigabyte, which is not to be what its engine is short of.
  const words = ['--max-old-space-size=8192']
  const plan: DrainPlan = { updates }
  const report = await errand<DrainReport>('causal-buffer-process.ts', plan, words)
  return {
    'µs to keep': report.keptMicros,
    'µs to apply': report.appliedMicros,
    'keeping: longest stall ms': report.keptStall.allMs,
    'of it our own, keeping': report.keptStall.ownMs,
    'applying: longest stall ms': report.appliedStall.allMs,
    'of it our own, applying': report.appliedStall.ownMs,
  }
}
