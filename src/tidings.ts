#!/usr/bin/env node
/**
 * The command `tidings`. It knows which sub-command is meant and nothing else: each is loaded when it is asked
 * for, because reading code takes longer than most one-shot commands run.
 *
 * A sub-command is a module that exports `run`: it takes the words after its name, prints whatever there is to
 * say, and answers with the exit code.
 */
import { readFileSync } from 'node:fs'
import { finish } from './terminal/standard-streams.ts'

interface Subcommand {
  readonly summary: string
  readonly load: () => Promise<{ run(argv: readonly string[]): Promise<number> }>
}

const subcommands: ReadonlyMap<string, Subcommand> = new Map<string, Subcommand>([
  ['server', { summary: 'run one server of a mesh', load: () => import('./server/command.ts') }],
  [
    'client',
    { summary: 'talk to a server: at a prompt, or one command', load: () => import('./client/command.ts') },
  ],
  [
    'demo',
    { summary: 'watch three servers keep an effect from its cause', load: () => import('./demo/command.ts') },
  ],
  [
    'check',
    {
      summary: 'judge a history: what clients saw of a store, one event a line',
      load: () => import('./check/command.ts'),
    },
  ],
])

const exitUsage = 2
const exitFailed = 5

async function main(argv: readonly string[]): Promise<number> {
  const isDebugging = argv[0] === '--debug'
  const asked = isDebugging ? argv.slice(1) : argv
  // `tidings help client` is `tidings client --help`.
  const [name = '', ...words] = asked[0] === 'help' && asked[1] !== undefined ? [asked[1], '--help'] : asked
  const subcommand = subcommands.get(name)
  if (subcommand === undefined) return await answerAboutItself([name, ...words])
  try {
    const module = await subcommand.load()
    return await module.run(words)
  } catch (error) {
    // Whatever a sub-command did not foresee is a defect of ours, and its stack is for those who repair it.
    const told = isDebugging && error instanceof Error ? error.stack : String(error)
    const advice = isDebugging ? '' : `; for the whole story: tidings --debug ${name} …`
    process.stderr.write(`tidings: unexpected: ${told}${advice}\n`)
    return exitFailed
  }
}

/** `--help`, `--version`, and words that name no sub-command. */
async function answerAboutItself(argv: readonly string[]): Promise<number> {
  const [word = ''] = argv
  if (word !== '' && word !== 'help' && !word.startsWith('-')) {
    const { nearestWord } = await import('./protocol/nearest-word.ts')
    const { printable } = await import('./terminal/printable.ts')
    const names = [...subcommands.keys()]
    const meant = nearestWord(word, names)
    const advice = meant === undefined ? `there are ${names.join(', ')}` : `did you mean "${meant}"?`
    process.stderr.write(`tidings: there is no sub-command "${printable(word)}"; ${advice}\n`)
    return exitUsage
  }
  const { Command, CommanderError } = await import('commander')
  const program = new Command('tidings')
    .description(
      'A replicated key-value store that keeps working when links break, never shows an effect before its cause, ' +
        'and can say why.',
    )
    .usage('<sub-command> [words…]')
    .version(packageVersion(), '-V, --version', 'say which release this is')
    .option('--debug', 'before the sub-command: show the stack of an unexpected error')
    .addHelpText('after', '\nEach sub-command explains itself: tidings server --help')
    .exitOverride()
  for (const [name, { summary }] of subcommands) program.command(name).description(summary)
  try {
    program.parse(word === '' ? [] : [...argv], { from: 'user' })
    return 0
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? 0 : exitUsage
  }
}

function packageVersion(): string {
  // The sources and the compiled files are both one folder below the package's.
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  const { version } = JSON.parse(text) as { readonly version: string }
  return version
}

await finish(await main(process.argv.slice(2)))
