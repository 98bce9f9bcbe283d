/**
 * How much a mesh of three servers does, and at what cost, beside a bare echo of the same frames and, with `--vs`, beside
 * what somebody might pick instead. All candidates take turns in one run, so that whatever else the machine does meets all
 * alike; what counts are the ratios. What is not asked of all of them, such as a start or a catching up, follows.
 *
 *     npm run bench [-- --quick] [--vs redis,nats,etcd] [--rounds 7] [--seconds 2] [--only TEXT]… [--base CANDIDATE] [--json FILE]
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { echo, mesh, type Candidate } from './candidates.ts'
import { measure, type Measured } from './measurement.ts'
import { tableOf, tableOfTrial } from './report.ts'
import { isInstalled, rivals } from './rivals.ts'
import { Load } from './support/load.ts'
import { carryOut, type Tried } from './trial.ts'
import { trials } from './trials.ts'
import { workloads } from './workloads.ts'

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    only: { type: 'string', multiple: true },
    vs: { type: 'string', default: '' },
    base: { type: 'string', default: echo.name },
    json: { type: 'string' },
  },
})
const rounds = Number(flags.rounds ?? (flags.quick ? 3 : 7))
// What takes minutes is not done seven times.
const trialRounds = Number(flags.rounds ?? (flags.quick ? 1 : 3))
const measureMs = 1_000 * Number(flags.seconds ?? (flags.quick ? 0.2 : 2))
const warmMs = flags.quick ? 100 : 500
const isChosen = ({ name }: { readonly name: string }): boolean =>
  flags.only?.some((part) => name.includes(part)) ?? true
const chosen = workloads.filter(isChosen)
// A minute has no time for them.
const chosenTrials = flags.quick && flags.only === undefined ? [] : trials.filter(isChosen)

const asked = flags.vs.split(',').filter((name) => name !== '')
const unknown = asked.find((name) => !rivals.some((rival) => rival.name === name))
const isNothing = chosen.length + chosenTrials.length === 0
if (unknown !== undefined || isNothing || !(rounds >= 1) || !(measureMs > 0)) {
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
const durations = { warmMs, measureMs }
const loads = { requests: new Load('requests'), watches: new Load('watches') }
const measured = chosen.length === 0 ? [] : await measureAll()
const tried: Tried[] = []
const options = {
  isQuick: flags.quick,
  durations,
  load: loads.requests,
  beside: present.map(({ name }) => name),
}
for (const trial of chosenTrials) {
  const each = await carryOut(trial, options, trialRounds)
  process.stdout.write(`\n${trial.name}\n${tableOfTrial(trial, each)}`)
  tried.push(...each)
}
await loads.requests.stop()
await loads.watches.stop()
if (flags.json !== undefined) {
  const machine = { processors: cpus().map(({ model }) => model), node: process.version }
  writeFileSync(
    flags.json,
    `${JSON.stringify({ machine, rounds, measureMs, measured, tried }, undefined, 2)}\n`,
  )
}

/** What is asked of all candidates, of each workload in turns. */
async function measureAll(): Promise<readonly Measured[]> {
  const candidates: readonly Candidate[] = [
    echo,
    mesh('memory'),
    mesh('async'),
    mesh('sync'),
    ...present.flatMap((rival) => rival.candidates),
  ]
  const started = []
  for (const candidate of candidates) started.push({ candidate, running: await candidate.start() })
  const all: Measured[] = []
  for (const workload of chosen) {
    const measured: Measured[] = []
    for (let round = 0; round < rounds; round++) {
      for (const { candidate, running } of started) {
        const one = await measure(loads, { workload, candidate, running, round, durations })
        if (one !== undefined) measured.push(one)
      }
    }
    process.stdout.write(`\n${workload.name}\n${tableOf(measured, flags.base)}`)
    all.push(...measured)
  }
  for (const { running } of started) await running.stop()
  process.stdout.write(
    `\n${rounds} rounds of ${measureMs} ms, in turns; medians, and the least and the most of the ratios in brackets.\n` +
      candidates
        .map(({ name, acknowledgement }) => `${name}: a write is answered when it is ${acknowledgement}\n`)
        .join(''),
  )
  return all
}
