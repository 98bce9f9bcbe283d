/**
 * Runs the simulator.
 *
 *     npm run simulate -- --seed 7                     one run, with what was drawn for it
 *     npm run simulate -- --seed 7 --trace             … and everything that happens in it
 *     npm run simulate -- --seed 7 --history FILE      … and what its clients saw, for `tidings check`
 *     npm run simulate -- --seed 7 --faults crashRate=0.3,isLogTrimmedEarly=true
 *     npm run simulate -- --seeds 10000 --from 1       many, on all processors; with --twice each three times
 *
 * A run that breaks a rule is made smaller, and the words that repeat it are printed. Exit code 1 then.
 */
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { runCommand, UsageError, wholeNumber, type Values } from '../command-words.ts'
import { faultNames, noFaults, type Faults } from './faults.ts'
import { runSeeds } from './seed-runner.ts'
import { shrink, wordsFor } from './shrink.ts'
import { simulate, type RunOptions } from './simulation.ts'
import { rareStates, Sometimes } from './sometimes.ts'
import type { Workload } from './workload.ts'

const help = `simulate: servers, clients and faults from a seed, all of it judged

  --seed N        one run, and what was drawn for it (1); a run that breaks a rule is made smaller
  --trace         everything that happens in it
  --history FILE  what its clients saw, for the checker
  --seeds N       so many runs, on all processors
  --from N        the first of them (1)
  --threads N     so many at a time
  --twice         each run again, and its trace compared
  --faults LIST   a=1,b=true: these and no others; or none. There are
                  ${faultNames.join(', ')}
  --operations N, --servers N, --clients N, --watchers N
                  in place of what the seed would draw
`

const flags = {
  seed: { type: 'string' },
  seeds: { type: 'string' },
  from: { type: 'string' },
  threads: { type: 'string' },
  faults: { type: 'string' },
  operations: { type: 'string' },
  servers: { type: 'string' },
  clients: { type: 'string' },
  watchers: { type: 'string' },
  history: { type: 'string' },
  trace: { type: 'boolean' },
  twice: { type: 'boolean' },
} as const

type Given = Values<typeof flags>

function faultsOf(text: string): Faults {
  const given: Record<string, number | boolean> = {}
  for (const word of text === 'none' ? [] : text.split(',')) {
    const [name = '', value = ''] = word.split('=')
    if (!faultNames.includes(name as keyof Faults)) {
      throw new UsageError(`there is no fault "${name}"; there are ${faultNames.join(', ')}`)
    }
    const isFlag = typeof noFaults[name as keyof Faults] === 'boolean'
    const isRight = isFlag ? value === 'true' || value === 'false' : value !== '' && Number(value) >= 0
    if (!isRight)
      throw new UsageError(
        `fault ${name} is "${value}", and is to be ${isFlag ? 'true or false' : 'a number'}`,
      )
    given[name] = isFlag ? value === 'true' : Number(value)
  }
  return { ...noFaults, ...given }
}

function optionsOf(given: Given): Pick<RunOptions, 'faults' | 'workload'> {
  const workload: { -readonly [Name in keyof Workload]?: Workload[Name] } = {}
  for (const name of ['operations', 'servers', 'clients', 'watchers'] as const) {
    const text = given[name]
    if (text !== undefined) workload[name] = wholeNumber(name, text)
  }
  return {
    workload,
    ...(given.faults === undefined ? {} : { faults: faultsOf(given.faults) }),
  }
}

/** One run, told at length. */
async function runOne(seed: number, given: Given): Promise<number> {
  const trace = given.trace === true ? (line: string) => console.log(line) : undefined
  const report = await simulate({ ...optionsOf(given), seed, ...(trace === undefined ? {} : { trace }) })
  console.log(`faults: ${JSON.stringify(report.faults)}`)
  console.log(`workload: ${JSON.stringify(report.workload)}`)
  if (given.history !== undefined) {
    writeFileSync(given.history, report.history.map((line) => `${JSON.stringify(line)}\n`).join(''))
  }
  const { operations, updates, virtualMs } = report
  console.log(
    `seed ${seed}: ${operations} requests, ${updates} updates, ${Math.round(virtualMs / 1_000)} s of its own time`,
  )
  for (const violation of report.violations) console.log(`VIOLATION ${violation}`)
  if (report.violations.length === 0) return 0
  const smaller = await shrink(report)
  console.log(`a smaller run: npm run simulate -- ${wordsFor(smaller)}`)
  console.log(`  ${smaller.violations[0]}`)
  return 1
}

async function runMany(count: number, given: Given): Promise<number> {
  const from = wholeNumber('from', given.from ?? '1')
  const threads = wholeNumber('threads', given.threads ?? `${availableParallelism()}`)
  const sometimes = new Sometimes()
  const failures: { readonly seed: number; readonly violation: string }[] = []
  let runs = 0
  let operations = 0
  let updates = 0
  let virtualMs = 0
  const startMs = performance.now()
  const order = { options: optionsOf(given), isTwice: given.twice === true }
  await runSeeds({
    from,
    count,
    threads,
    order,
    told: (tally) => {
      for (const failure of tally.failures) {
        failures.push(failure)
        console.log(`seed ${failure.seed}: VIOLATION ${failure.violation}`)
        console.log(`  npm run simulate -- --seed ${failure.seed}${repeated(given)}`)
      }
      sometimes.add(tally.rareStates)
      const before = Math.floor((runs * 10) / count)
      runs += tally.runs
      operations += tally.operations
      updates += tally.updates
      virtualMs += tally.virtualMs
      if (Math.floor((runs * 10) / count) > before)
        console.log(`${runs} seeds, ${failures.length} violations`)
    },
  })
  const seconds = Math.round((performance.now() - startMs) / 1_000)
  const hours = Math.round(virtualMs / 3_600_000)
  console.log(
    `seeds ${from} to ${from + count - 1} in ${seconds} s: ${operations} requests, ${updates} updates, ${hours} h of ` +
      `their own time${order.isTwice ? ', each the same when run again' : ''}`,
  )
  for (const [state, times] of [...sometimes.counts].toSorted(([, a], [, b]) => a - b))
    console.log(`  ${times} × ${state}`)
  const { missing } = sometimes
  console.log(
    missing.length === 0
      ? `all ${rareStates.length} rare states reached`
      : `never reached: ${missing.join('; ')}`,
  )
  console.log(`${failures.length} violations`)
  // Fewer seeds may miss what is rare; so many have to reach it.
  const isReached = missing.length === 0 || count < seedsForAllStates || given.faults !== undefined
  return failures.length === 0 && isReached ? 0 : 1
}

/** Runs after which every rare state has to have come about. */
const seedsForAllStates = 5_000

/** What else was given, so that the words that are printed make the same run. */
function repeated(given: Given): string {
  const words = (['faults', 'operations', 'servers', 'clients', 'watchers'] as const).map((name) =>
    given[name] === undefined ? '' : ` --${name} ${given[name]}`,
  )
  return words.join('')
}

async function run(given: Given): Promise<number> {
  if (given.seeds === undefined) return await runOne(wholeNumber('seed', given.seed ?? '1'), given)
  if (given.trace === true || given.history !== undefined || given.seed !== undefined)
    throw new UsageError('--seed, --trace and --history are for one run, and --seeds is for many')
  return await runMany(wholeNumber('seeds', given.seeds), given)
}

process.exitCode = await runCommand(process.argv.slice(2), { help, flags, run })
