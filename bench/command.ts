/**
 * How much a mesh of three servers does, and at what cost, beside a bare echo of the same frames and, with `--vs`, beside
 * what somebody might pick instead. All candidates take turns in one run, so that whatever else the machine does meets all
 * alike; what counts are the ratios.
 *
 *     npm run bench [-- --quick] [--vs redis,nats,etcd] [--rounds 7] [--seconds 2] [--only TEXT] [--json FILE]
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { echo, mesh, type Candidate } from './candidates.ts'
import { measure, type Measured } from './measurement.ts'
import { tableOf } from './report.ts'
import { isInstalled, rivals } from './rivals.ts'
import { Load } from './support/load.ts'
import { workloads } from './workloads.ts'

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    only: { type: 'string', default: '' },
    vs: { type: 'string', default: '' },
    json: { type: 'string' },
  },
})
const rounds = Number(flags.rounds ?? (flags.quick ? 3 : 7))
const measureMs = 1_000 * Number(flags.seconds ?? (flags.quick ? 0.3 : 2))
const warmMs = flags.quick ? 200 : 500
const chosen = workloads.filter(({ name }) => name.includes(flags.only))

const asked = flags.vs.split(',').filter((name) => name !== '')
const unknown = asked.find((name) => !rivals.some((rival) => rival.name === name))
if (unknown !== undefined || chosen.length === 0 || !(rounds >= 1) || !(measureMs > 0)) {
  const names = rivals.map(({ name }) => name).join(', ')
  process.stderr.write(
    `--vs takes some of ${names}; --only a part of a workload's name; --rounds and --seconds a number above 0\n`,
  )
  process.exit(2)
}
const present = rivals.filter((rival) => asked.includes(rival.name) && isInstalled(rival))
for (const rival of rivals) {
  if (!asked.includes(rival.name) || present.includes(rival)) continue
  process.stdout.write(`${rival.name} is not installed, and left out (Debian: ${rival.package})\n`)
}
const candidates: readonly Candidate[] = [
  echo,
  mesh('memory'),
  mesh('async'),
  mesh('sync'),
  ...present.flatMap((rival) => rival.candidates),
]

const loads = { requests: new Load('requests'), watches: new Load('watches') }
const started = []
for (const candidate of candidates) started.push({ candidate, running: await candidate.start() })
const all: Measured[] = []
for (const workload of chosen) {
  const measured: Measured[] = []
  for (let round = 0; round < rounds; round++) {
    for (const { candidate, running } of started) {
      const durations = { warmMs, measureMs }
      const one = await measure(loads, { workload, candidate, running, round, durations })
      if (one !== undefined) measured.push(one)
    }
  }
  process.stdout.write(`\n${workload.name}\n${tableOf(measured)}`)
  all.push(...measured)
}
await loads.requests.stop()
await loads.watches.stop()
for (const { running } of started) await running.stop()
process.stdout.write(
  `\n${rounds} rounds of ${measureMs} ms, in turns; medians, and the least and the most of the ratios in brackets.\n` +
    candidates
      .map(({ name, acknowledgement }) => `${name}: a write is answered when it is ${acknowledgement}\n`)
      .join(''),
)
if (flags.json !== undefined) {
  const machine = { processors: cpus().map(({ model }) => model), node: process.version }
  writeFileSync(
    flags.json,
    `${JSON.stringify({ machine, rounds, measureMs, measured: all }, undefined, 2)}\n`,
  )
}
