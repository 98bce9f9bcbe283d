/**
 * The process that tries one mutant: it runs on a copy of the sources that has the mutant's edit, and simulates one seed
 * after the other until something is found wrong. It says so, and ends.
 */
import { writeSync } from 'node:fs'
import { simulate } from '../simulation/simulation.ts'
import type { TrialPlan, TrialWord } from './trial.ts'

const { seeds, faults, workload } = JSON.parse(process.argv[2] as string) as TrialPlan

let seed = 0

function tell(word: TrialWord): void {
  writeSync(process.stdout.fd, `${JSON.stringify(word)}\n`)
}

function die(error: unknown): never {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  tell({ kind: 'exception', seed, what })
  process.exit()
}

// What goes wrong in a promise that nobody awaits is found out, too.
process.on('uncaughtException', die)

for (seed of seeds) {
  tell({ kind: 'begun', seed })
  try {
    const { violations } = await simulate({ seed, faults, workload })
    const [what] = violations
    if (what !== undefined) {
      tell({ kind: 'violation', seed, what })
      process.exit()
    }
  } catch (error) {
    die(error)
  }
}
tell({ kind: 'survived' })
