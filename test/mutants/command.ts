/**
 * Mutants: wrong protocols, each of which the simulator has to find out.
 *
 *     npm run mutants
 *     npm run mutants -- --only 'tie ignored' --seeds 2000
 *     npm run mutants -- --record
 *
 * It prints what found each of them out, and ends with exit code 1 where one was not, or does not fit the sources.
 */
import { writeFile } from 'node:fs/promises'
import { runCommand, UsageError, wholeNumber, type Values } from '../command-words.ts'
import { allMutants } from './all-mutants.ts'
import { CompiledSources } from './compiled-sources.ts'
import { hunt, type Catch } from './hunt.ts'
import { killingSeeds, killingSeedsPath } from './killing-seeds.ts'

const help = `mutants: wrong protocols, each of which the simulator has to find out

  --only NAME     of these alone whose name has this in it
  --seeds N       each is given up after this many seeds (500)
  --at-once N     so many are tried at a time (2)
  --record        notes the seeds that kill, for the suite, which tries those first
`

async function run(values: Values<typeof flags>): Promise<number> {
  const seedCount = wholeNumber('seeds', values.seeds ?? '500', 1)
  const atOnce = wholeNumber('at-once', values['at-once'] ?? '2', 1)
  const mutants = allMutants.filter(({ name }) => name.includes(values.only ?? ''))
  if (mutants.length === 0) throw new UsageError(`no mutant has "${values.only}" in its name`)
  const sources = await CompiledSources.compile()
  try {
    const stale = sources.stale(mutants)
    for (const line of stale) console.log(`STALE: ${line}`)
    if (stale.length > 0) return 1
    const seeds = Array.from({ length: seedCount }, (_, index) => index + 1)
    const catches: Catch[] = []
    await hunt(sources, mutants, {
      seedsOf: () => seeds,
      atOnce,
      caught: (each) => {
        catches.push(each)
        console.log(rowOf(each))
      },
    })
    if (values.record === true) await record(catches)
    return sumUp(catches, seedCount)
  } finally {
    await sources.remove()
  }
}

const flags = {
  only: { type: 'string' },
  seeds: { type: 'string' },
  'at-once': { type: 'string' },
  record: { type: 'boolean' },
} as const

function rowOf({ mutant, outcome, ms }: Catch): string {
  const name = `${mutant.rule.padEnd(4)} ${mutant.name.padEnd(48)}`
  const took = `${Math.round(ms)} ms`.padStart(10)
  switch (outcome.kind) {
    case 'violation':
      return `${name} ${`seed ${outcome.seed}`.padStart(8)} ${took}  ${shortened(outcome.what)}`
    case 'exception':
      return `${name} ${`seed ${outcome.seed}`.padStart(8)} ${took}  threw ${shortened(outcome.what)}`
    case 'hung':
      return `${name} ${`seed ${outcome.seed}`.padStart(8)} ${took}  NEVER CAME TO AN END`
    case 'survived':
      return `${name} ${'SURVIVED'.padStart(8)} ${took}`
  }
}

/** @returns the exit code. */
function sumUp(catches: readonly Catch[], seedCount: number): number {
  const seeds: number[] = []
  let thrownCount = 0
  for (const { outcome } of catches) {
    if (outcome.kind === 'violation' || outcome.kind === 'exception') seeds.push(outcome.seed)
    if (outcome.kind === 'exception') thrownCount++
  }
  seeds.sort((a, b) => a - b)
  console.log(
    `${seeds.length} of ${catches.length} mutants killed within ${seedCount} seeds, ` +
      `${thrownCount} of them by an exception; seeds to kill: ${seeds[seeds.length >> 1] ?? 0} (median), ${seeds.at(-1) ?? 0} at most`,
  )
  for (const { mutant, outcome } of catches) {
    if (outcome.kind === 'survived') console.log(`SURVIVED: ${mutant.name} (${mutant.rule}): ${mutant.why}`)
    else if (outcome.kind === 'hung') console.log(`HUNG: ${mutant.name}, seed ${outcome.seed}`)
  }
  return seeds.length === catches.length ? 0 : 1
}

async function record(catches: readonly Catch[]): Promise<void> {
  const seeds = new Map(killingSeeds)
  for (const { mutant, outcome } of catches) if ('seed' in outcome) seeds.set(mutant.name, outcome.seed)
  const known = allMutants.flatMap(({ name }) => {
    const seed = seeds.get(name)
    return seed === undefined ? [] : [[name, seed] as const]
  })
  await writeFile(killingSeedsPath, `${JSON.stringify(Object.fromEntries(known), undefined, 2)}\n`)
}

function shortened(what: string): string {
  const line = what.replaceAll(/\s+/g, ' ')
  return line.length <= shownMax ? line : `${line.slice(0, shownMax)}…`
}

const shownMax = 160

process.exitCode = await runCommand(process.argv.slice(2), { help, flags, run })
