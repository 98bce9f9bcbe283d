import { createReadStream } from 'node:fs'
import { Command, CommanderError, Option } from 'commander'
import { chalkFor } from '../terminal/colour.ts'
import { printable } from '../terminal/printable.ts'
import { watchStandardStreams, writeFully } from '../terminal/standard-streams.ts'
import { judge } from './check-history.ts'
import { HistoryFault } from './history-line.ts'
import { HistoryReader } from './history-reader.ts'
import { History } from './history.ts'
import { reportOf } from './report.ts'
import type { Verdict } from './verdict.ts'

interface Flags {
  readonly json?: true
  readonly color?: boolean
}

/**
 * `tidings check FILE`: judges a history.
 *
 * @param argv the words after the sub-command's name.
 * @returns the exit code: 0 no violation, 1 at least one, 2 usage, or the input is no history or cannot be read.
 */
export async function run(argv: readonly string[]): Promise<number> {
  let file: string | undefined
  let flags: Flags = {}
  const command = new Command('tidings check')
    .description(
      'Judge a history: what clients saw of a store, one JSON object a line. It names each violation of causal ' +
        'convergence and of the session guarantees, with the smallest cycle that shows it.',
    )
    .argument(
      '[file]',
      'the history; - for the standard input, which is also read where something is piped in',
    )
    .addOption(new Option('--json', 'one JSON object a line: each violation, and last the summary'))
    .addOption(new Option('--color', 'colours, also where the output is no terminal'))
    .addOption(new Option('--no-color', 'no colours'))
    .addHelpText('after', '\nExit codes: 0 no violation, 1 violations, 2 usage, or this is no history.')
    .allowExcessArguments(false)
    .exitOverride()
    .action((name: string | undefined, options: Flags) => {
      file = name
      flags = options
    })
  // Neither --color nor --no-color is a third case, which the flag's default would hide.
  command.setOptionValue('color', undefined)
  watchStandardStreams()
  try {
    command.parse(argv, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    throw error
  }
  if (file === undefined && process.stdin.isTTY) {
    return refuse('there is no file, and nothing is piped in; try: tidings check history.ndjson')
  }
  const isPiped = file === undefined || file === '-'
  const name = isPiped ? 'standard input' : (file ?? '')
  try {
    const history = await historyOf(
      isPiped ? process.stdin : createReadStream(name, { highWaterMark: chunkBytes }),
    )
    const verdict = judge(history)
    await tell(verdict, name, flags)
    return verdict.ok ? 0 : 1
  } catch (error) {
    if (error instanceof HistoryFault) return refuse(`${name} is no history: ${error.message}`)
    if (isOfTheSystem(error)) return refuse(`cannot read ${name}: ${error.message}`)
    throw error
  }
}

const chunkBytes = 1 << 20

async function historyOf(input: AsyncIterable<Uint8Array>): Promise<History> {
  const history = new History()
  const reader = new HistoryReader((line, number) => history.add(line, number))
  for await (const chunk of input) reader.write(chunk)
  reader.end()
  return history
}

async function tell(verdict: Verdict, name: string, { json, color }: Flags): Promise<void> {
  const { violations, ...summary } = verdict
  const paint = chalkFor(process.stdout, { flag: color, env: process.env })
  const lines =
    json === true
      ? [...violations, { file: name, ...summary }].map((told) => JSON.stringify(told))
      : reportOf(verdict, name, paint)
  await writeFully(process.stdout, lines.map((line) => `${line}\n`).join(''))
}

/** @returns the exit code. */
function refuse(message: string): number {
  const paint = chalkFor(process.stderr, { env: process.env })
  process.stderr.write(`${paint.red('error:')} ${printable(message)}\n`)
  return 2
}

function isOfTheSystem(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error
}
