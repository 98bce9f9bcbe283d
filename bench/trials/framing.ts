import { errand } from '../support/errand.ts'
import type { FramingPlan, FramingReport } from '../support/framing-process.ts'
import { subject, type Trial } from '../trial.ts'

/**
 * Our line decoder next to `ndjson.parse` with the guards that it needs, on the same pieces: both parse each line, both
 * refuse long lines.
 */
export const framing: Trial = {
  name: 'framing',
  figures: [
    { name: 'ours a second', digits: 0 },
    { name: 'ndjson a second', digits: 0 },
    { name: 'ndjson of ours', digits: 2 },
    { name: 'a line of 1 MiB ms', digits: 2, isCompared: true },
  ],
  subjects: () =>
    [64 * 1024, 4 * 1024, aLine].map((chunkBytes) =>
      subject(`pieces of ${chunkBytes.toLocaleString('en')} bytes`, async () => {
        const plan: FramingPlan = { chunkBytes }
        const report = await errand<FramingReport>('framing-process.ts', plan)
        return {
          'ours a second': report.ours,
          'ndjson a second': report.ndjson,
          'ndjson of ours': report.ndjson / report.ours,
          'a line of 1 MiB ms': report.longLineMs,
        }
      }),
    ),
}

/** About as long as a message. */
const aLine = 172
