import { faultNames, noFaults, type Faults } from './faults.ts'
import { simulate, type RunOptions, type RunReport } from './simulation.ts'

/**
 * Looks for a smaller run of the same seed that breaks the same rule: fewer requests, fewer faults, fewer clients. What is
 * left out makes it another run, so it is tried each time.
 *
 * @param failed what came of the run that is to be made smaller.
 * @returns the smallest that was found; the same where none was.
 */
export async function shrink(failed: RunReport): Promise<RunReport> {
  const rule = ruleOf(failed)
  let smallest = failed
  async function take(options: Omit<RunOptions, 'seed'>): Promise<boolean> {
    const report = await simulate({ ...options, seed: failed.seed })
    if (ruleOf(report) !== rule) return false
    smallest = report
    return true
  }
  const withOperations = (operations: number): Promise<boolean> =>
    take({ faults: smallest.faults, workload: { ...smallest.workload, operations } })
  // What comes after the violation is of no matter.
  await withOperations(smallest.operations)
  for (const name of faultNames) {
    if (smallest.faults[name] === noFaults[name]) continue
    await take({ faults: without(smallest.faults, name), workload: smallest.workload })
  }
  for (const key of ['clients', 'watchers', 'servers'] as const) {
    const least = key === 'servers' ? 3 : key === 'clients' ? 1 : 0
    while (smallest.workload[key] > least) {
      const workload = { ...smallest.workload, [key]: smallest.workload[key] - 1 }
      if (!(await take({ faults: smallest.faults, workload }))) break
    }
  }
  while (smallest.workload.operations > 10) {
    if (!(await withOperations(Math.floor(smallest.workload.operations / 2)))) break
  }
  return smallest
}

function without(faults: Faults, name: keyof Faults): Faults {
  return { ...faults, [name]: noFaults[name] }
}

function ruleOf({ violations }: RunReport): string | undefined {
  return violations[0]?.split(':')[0]
}

/** The words after `npm run simulate --` that make this very run. */
export function wordsFor({ seed, faults, workload }: RunReport): string {
  const set = faultNames.filter((name) => faults[name] !== noFaults[name])
  const given = set.map((name) => `${name}=${String(faults[name])}`).join(',')
  const { operations, servers, clients, watchers } = workload
  const sizes = `--operations ${operations} --servers ${servers} --clients ${clients} --watchers ${watchers}`
  return `--seed ${seed} --faults ${given === '' ? 'none' : given} ${sizes}`
}
