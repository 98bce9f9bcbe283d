/**
 * How much a mesh of three servers does, and at what cost, beside a bare echo of the same frames: every figure is a ratio
 * of what was measured in one run, in turns, so that whatever else the machine does meets all alike.
 *
 *     npm run bench [-- --quick] [--rounds 7] [--seconds 2] [--only TEXT] [--json FILE]
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { cpus } from 'node:os'
import { echo, mesh, type Candidate, type Running } from './candidates.ts'
import { Load, type LoadReport } from './support/load.ts'
import { memoryOf, processorSecondsOf } from './support/process-figures.ts'
import { mebibytes, median, table } from './support/table.ts'
import { workloads, type Workload } from './workloads.ts'

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
  },
})
const rounds = Number(flags.rounds ?? (flags.quick ? 3 : 7))
const measureMs = 1_000 * Number(flags.seconds ?? (flags.quick ? 0.5 : 2))
const warmMs = flags.quick ? 300 : 500

const candidates: readonly Candidate[] = [echo, mesh('memory'), mesh('async'), mesh('sync')]

interface Measured {
  readonly workload: string
  readonly candidate: string
  readonly round: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Microseconds of the processor for each request: of the first process, of all others, and of the load. */
  readonly firstMicros: number
  readonly othersMicros: number
  readonly loadMicros: number
  readonly residentBytes: number
}

async function measure(
  load: Load,
  running: Running,
  {
    workload,
    candidate,
    round,
  }: { readonly workload: Workload; readonly candidate: Candidate; readonly round: number },
): Promise<Measured> {
  const { addresses, pids, dialect } = running
  let before: readonly number[] = []
  let spent: readonly number[] = []
  const report: LoadReport = await load.run(
    {
      ...workload.plan,
      dialect,
      addresses: workload.isEverywhere ? addresses : addresses.slice(0, 1),
      warmMs,
      measureMs,
    },
    {
      begins: () => {
        before = pids.map(processorSecondsOf)
      },
      ends: () => {
        spent = pids.map((pid, index) => processorSecondsOf(pid) - (before[index] ?? 0))
      },
    },
  )
  const micros = (seconds: number): number => (1e6 * seconds) / report.count
  const [first = Number.NaN, ...others] = spent
  return {
    workload: workload.name,
    candidate: candidate.name,
    round,
    perSecond: report.count / report.seconds,
    p50Ms: report.p50Ms,
    p99Ms: report.p99Ms,
    firstMicros: micros(first),
    othersMicros: micros(others.reduce((sum, seconds) => sum + seconds, 0)),
    loadMicros: micros(report.loadProcessorSeconds),
    residentBytes: Math.max(...pids.map((pid) => memoryOf(pid).residentBytes)),
  }
}

const load = new Load()
const started: { readonly candidate: Candidate; readonly running: Running }[] = []
for (const candidate of candidates) started.push({ candidate, running: await candidate.start() })

const all: Measured[] = []
const chosen = workloads.filter(({ name }) => name.includes(flags.only))
for (const workload of chosen) {
  for (let round = 0; round < rounds; round++) {
    for (const { candidate, running } of started) {
      all.push(await measure(load, running, { workload, candidate, round }))
    }
  }
  process.stdout.write(`\n${workload.name}\n${tableOf(workload)}`)
}
await load.stop()
for (const { running } of started) await running.stop()
process.stdout.write(
  `\n${rounds} rounds of ${measureMs} ms, in turns; the median of each, with the least and the most of the ratios in brackets.\n` +
    candidates.map(({ name, acknowledgement }) => `${name}: answered when ${acknowledgement}\n`).join(''),
)
if (flags.json !== undefined) {
  const machine = { processors: cpus().map(({ model }) => model), node: process.version }
  writeFileSync(
    flags.json,
    `${JSON.stringify({ machine, rounds, measureMs, measured: all }, undefined, 2)}\n`,
  )
}

function tableOf({ name }: Workload): string {
  const of = (candidate: string): readonly Measured[] =>
    all.filter((one) => one.workload === name && one.candidate === candidate)
  const base = of(echo.name)
  const rows = candidates.map(({ name: candidate }) => {
    const measured = of(candidate)
    const middle = (figure: (one: Measured) => number): number => median(measured.map(figure))
    // Of each round by itself: what disturbs a round disturbs both.
    const ratios = (figure: (one: Measured) => number): string => {
      const each = measured.map((one, round) => figure(one) / figure(base[round] as Measured))
      return `${median(each).toFixed(2)} (${Math.min(...each).toFixed(2)}–${Math.max(...each).toFixed(2)})`
    }
    return [
      candidate,
      middle(({ perSecond }) => perSecond).toFixed(0),
      ratios(({ perSecond }) => perSecond),
      middle(({ firstMicros }) => firstMicros).toFixed(1),
      ratios(({ firstMicros }) => firstMicros),
      middle(({ othersMicros }) => othersMicros).toFixed(1),
      middle(({ loadMicros }) => loadMicros).toFixed(1),
      middle(({ p50Ms }) => p50Ms).toFixed(2),
      middle(({ p99Ms }) => p99Ms).toFixed(2),
      mebibytes(middle(({ residentBytes }) => residentBytes)),
    ]
  })
  return table(
    [
      'candidate',
      'a second',
      'of echo',
      'µs of the asked',
      'of echo',
      'µs of the others',
      'µs of the load',
      'p50 ms',
      'p99 ms',
      'memory',
    ],
    rows,
  )
}
