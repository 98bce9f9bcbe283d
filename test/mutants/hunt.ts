import type { CompiledSources } from './compiled-sources.ts'
import type { Mutant } from './mutant.ts'
import { runTrial, type Outcome } from './trial.ts'

/** One mutant, and what came of it. */
export interface Catch {
  readonly mutant: Mutant
  readonly outcome: Outcome
  /** How long that took. */
  readonly ms: number
}

/**
 * Tries mutants, each with one seed after the other until it is found out; some at a time.
 *
 * @param options.seedsOf the seeds to try a mutant with, in their order.
 * @param options.caught is told of each as soon as it is done.
 */
export async function hunt(
  sources: CompiledSources,
  mutants: readonly Mutant[],
  options: {
    readonly seedsOf: (mutant: Mutant) => readonly number[]
    readonly atOnce: number
    readonly caught: (each: Catch) => void
  },
): Promise<void> {
  const due = [...mutants]
  const work = async (): Promise<void> => {
    for (let mutant = due.shift(); mutant !== undefined; mutant = due.shift()) {
      const startMs = performance.now()
      const { faults = {}, workload = {} } = mutant
      const plan = { seeds: options.seedsOf(mutant), faults, workload }
      const outcome = await runTrial(await sources.copy(mutant), plan)
      options.caught({ mutant, outcome, ms: performance.now() - startMs })
    }
  }
  await Promise.all(Array.from({ length: options.atOnce }, work))
}
