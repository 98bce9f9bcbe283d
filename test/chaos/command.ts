/**
 * Chaos: real servers, real disks and real clients under faults, recorded and judged.
 *
 *     npm run chaos -- --seed 1 --operations 100000
 *     npm run chaos -- --seed 2 --seconds 60 --history history.ndjson --faults kill,cut,delay
 *
 * It ends by itself, with exit code 1 where anything is not as it has to be; then it names the history, which is kept.
 */
import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { chalkFor } from '../../src/terminal/colour.ts'
import { reportOf } from '../../src/check/report.ts'
import { runCommand, UsageError, type Values } from '../command-words.ts'
import { removeDataFolders } from '../durability/data-folder.ts'
import { runChaos, type ChaosOptions, type ChaosReport } from './chaos.ts'
import { killServers } from './chaos-server.ts'
import { compileProgram } from '../integration/compiled-program.ts'
import { allFaultKinds, faultKinds, type FaultKind } from './faults.ts'
import { verdictOn } from './history-verdict.ts'
import { NamespaceNetwork, runAmongNamespaces } from './namespace-network.ts'
import { ProxyNetwork } from './proxy-network.ts'

const help = `chaos: real servers, disks and clients under faults, recorded and judged

  --seed N         decides what is asked, and what is done to whom (1)
  --operations N   how many operations of sessions, in all
  --seconds S      how long, if that is over first (60, where --operations is not given)
  --history FILE   where the history is written, and kept
  --servers N      how many servers (3)
  --network KIND   proxies, in which links break and are slow (the default), or namespaces, in which packets
                   are lost; these take root and Linux, and where there are none, proxies do
  --faults LIST    ${allFaultKinds.join(', ')};
                   by default all but those of a lost disk, ${notByDefault().join(' and ')}
  --round N        operations in one round (8000)
  --settle-ms MS   how long servers may take to be equal once all is healed (30000)
  --sessions N     sessions over bare sockets (48); there are a few of the library besides
  --drop-cuts      sessions forget what they have seen when they move: must be found out
`

async function run(given: Values<typeof flags>, argv: readonly string[]): Promise<number> {
  const options = optionsFrom(given)
  if (given.network === 'namespaces' && given.among === undefined) {
    const self = fileURLToPath(import.meta.url)
    const code = await runAmongNamespaces(options.servers, (prefix) => [
      ...process.execArgv,
      self,
      ...argv,
      '--among',
      prefix,
    ])
    if (code !== undefined) return code
    console.log('there are no network namespaces here; proxies it is')
  }
  try {
    const { servers, amongNamespaces } = options
    const network =
      amongNamespaces === undefined
        ? await ProxyNetwork.start(servers)
        : await NamespaceNetwork.start(amongNamespaces, servers)
    const faults = options.faults.filter((kind) => network.canDelay || kind !== 'delay')
    const report = await runChaos({ ...options, network, faults, program: await compileProgram() })
    console.log(summaryOf(report))
    const verdict = await verdictOn(report.historyPath)
    const paint = chalkFor(process.stdout, { env: process.env })
    for (const line of reportOf(verdict, report.historyPath, paint)) console.log(line)
    for (const violation of report.violations) console.log(`VIOLATION: ${violation}`)
    const isGood = verdict.ok && report.violations.length === 0
    if (isGood && given.history === undefined) await rm(report.historyPath, { force: true })
    else console.log(`the history is in ${report.historyPath}`)
    if (!isGood) console.log(`run again: npm run chaos -- ${againWords(argv, options.seed).join(' ')}`)
    console.log(isGood ? 'ok' : `${report.violations.length + verdict.found} violations`)
    return isGood ? 0 : 1
  } finally {
    await removeDataFolders()
  }
}

/** What repeats a run, as far as the machine lets it. */
function againWords(argv: readonly string[], seed: number): readonly string[] {
  const among = argv.indexOf('--among')
  const words = among === -1 ? argv : argv.slice(0, among)
  return words.some((word) => word.startsWith('--seed')) ? words : [...words, '--seed', `${seed}`]
}

const flags = {
  seed: { type: 'string' },
  operations: { type: 'string' },
  seconds: { type: 'string' },
  history: { type: 'string' },
  servers: { type: 'string' },
  network: { type: 'string' },
  /** What the namespaces' names begin with, in whose router this process runs. Not for people. */
  among: { type: 'string' },
  faults: { type: 'string' },
  round: { type: 'string' },
  sessions: { type: 'string' },
  'settle-ms': { type: 'string' },
  'drop-cuts': { type: 'boolean' },
} as const

type Options = Omit<ChaosOptions, 'program' | 'network'> & { readonly amongNamespaces?: string }

/** @throws UsageError where anything is wrong with the flags. */
function optionsFrom(values: Values<typeof flags>): Options {
  const names = ['seed', 'operations', 'seconds', 'servers', 'round', 'sessions', 'settle-ms'] as const
  for (const name of names) {
    const text = values[name]
    if (text !== undefined && !/^\d+$/.test(text))
      throw new UsageError(`--${name} takes a whole number, not "${text}"`)
  }
  const numbers = {
    seed: Number(values.seed ?? 1),
    operations: Number(values.operations ?? Infinity),
    seconds: Number(values.seconds ?? (values.operations === undefined ? 60 : Infinity)),
    servers: Number(values.servers ?? 3),
    roundOperations: Number(values.round ?? 8_000),
    rawSessions: Number(values.sessions ?? 48),
    settleMsMax: Number(values['settle-ms'] ?? 30_000),
  }
  if (numbers.servers < 2)
    throw new UsageError('--servers takes 2 or more: alone, a server has nobody to differ from')
  const faults = values.faults?.split(',').filter((name) => name !== '') ?? byDefault()
  const unknown = faults.find((name) => !Object.hasOwn(faultKinds, name))
  if (unknown !== undefined)
    throw new UsageError(`there is no fault "${unknown}"; there is ${allFaultKinds.join(', ')}`)
  const { network = 'proxies', among } = values
  if (network !== 'proxies' && network !== 'namespaces') {
    throw new UsageError(`there is no network "${network}"; there are proxies and namespaces`)
  }
  return {
    ...numbers,
    servers: Array.from({ length: numbers.servers }, (_, index) => `${index + 1}`),
    ...(among === undefined ? {} : { amongNamespaces: among }),
    faults: faults as FaultKind[],
    dropsCuts: values['drop-cuts'] === true,
    told: (line) => console.log(line),
    ...(values.history === undefined ? {} : { history: values.history }),
  }
}

function byDefault(): FaultKind[] {
  return allFaultKinds.filter((kind) => faultKinds[kind].isByDefault)
}

function notByDefault(): FaultKind[] {
  return allFaultKinds.filter((kind) => !faultKinds[kind].isByDefault)
}

function summaryOf(report: ChaosReport): string {
  const { counts, agreementMs } = report
  const sorted = agreementMs.toSorted((a, b) => a - b)
  const faults = [...report.faults].map(([kind, count]) => `${kind} ${count}`)
  return [
    `${report.operations} operations in ${report.rounds} rounds: ${counts.acknowledged} writes acknowledged, ` +
      `${counts.unknown} of unknown outcome, ${counts.refused} refused, ${counts.reads} reads; ` +
      `${report.updates} updates applied, ${report.pushes} pushed`,
    `faults: ${faults.join(', ') || 'none'}`,
    `agreed ${Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0)} ms after healing ` +
      `(median; at most ${Math.round(sorted.at(-1) ?? 0)} ms); ` +
      `memory of one server at most ${Math.round(report.ownBytesMax / 2 ** 20)} MiB`,
  ].join('\n')
}

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => {
    killServers()
    void removeDataFolders().finally(() => process.exit(code))
  })
}

const words = process.argv.slice(2)
process.exitCode = await runCommand(words, { help, flags, run: (given) => run(given, words) })
