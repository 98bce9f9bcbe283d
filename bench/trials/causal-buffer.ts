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
    { name: 'longest stall ms, keeping', digits: 1 },
    { name: 'longest stall ms, applying', digits: 1 },
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
    'longest stall ms, keeping': report.keptStallMs,
    'longest stall ms, applying': report.appliedStallMs,
  }
}
