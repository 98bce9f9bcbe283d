import { Command as CommanderCommand, CommanderError, Option } from 'commander'
import { parseAddresses } from '../protocol/address.ts'
import { readSecretFile } from '../protocol/authentication.ts'
import { timeoutMsDefault, timeoutMsMax } from '../protocol/limits.ts'
import { nearestWord } from '../protocol/nearest-word.ts'
import { isServerId } from '../protocol/wire-forms.ts'
import { chalkFor } from '../terminal/colour.ts'
import { printable } from '../terminal/printable.ts'
import { watchStandardStreams, writeFully } from '../terminal/standard-streams.ts'
import { connect } from './client.ts'
import { copyOfCut, type GivenCut } from './given-cut.ts'
import { TidingsError } from './tidings-error.ts'
import { commandLineError } from './command-line-error.ts'
import { fromShell } from './command-line.ts'
import { CommandError, commandNamed, exitCodes, helpText, type CommandContext } from './commands.ts'
import { ConnectionReport } from './connection-report.ts'
import { exitCodeOf } from './exit-code.ts'
import type { Questions } from '../terminal/questions.ts'
import { PeoplePresentation, type Output, type Presentation } from './presentation.ts'

interface Flags {
  readonly servers?: string
  readonly server?: string
  readonly id?: string
  readonly json?: true
  readonly color?: boolean
  readonly timeout?: string
  readonly after?: string
  readonly secretFile?: string
}

/** What the words and flags of the command line ask for. */
interface Wish {
  readonly flags: Flags
  readonly servers: readonly string[]
  /** One command with its arguments; empty for the prompt. */
  readonly words: readonly string[]
  readonly timeoutMs: number
  readonly secret: string | undefined
  /** What the session has seen already. */
  readonly cut: GivenCut | undefined
}

/**
 * `tidings client`: carries out one command, or asks for commands at a prompt.
 *
 * @param argv the words after the sub-command's name.
 * @returns the exit code: 0 ok, 1 key not found, 2 usage, 3 cannot connect, 4 not caught up in time, 5 server error,
 *   130 Ctrl-C.
 */
export async function run(argv: readonly string[]): Promise<number> {
  watchStandardStreams()
  let wish: Wish
  try {
    wish = wishFrom(argv)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
    if (!(error instanceof CommandError)) throw error
    process.stderr.write(`error: ${error.message}\n`)
    return exitCodes.usage
  }
  const output = standardOutput()
  const present = await presentationMaker(wish.flags)
  try {
    return wish.words.length > 0
      ? await runOnce(wish, { output, presentation: present(output) })
      : await runPrompt(wish, present)
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const given = { hasSecret: wish.secret !== undefined, isOneShot: wish.words.length > 0 }
    present(output).failed(error instanceof TidingsError ? commandLineError(error, given) : error)
    return await codeOf(error)
  }
}

/** One command, and out. */
async function runOnce(
  wish: Wish,
  shown: { readonly output: Output; readonly presentation: Presentation },
): Promise<number> {
  const [name = '', ...args] = wish.words
  const command = commandNamed(name)
  if (command.name === 'help') {
    shown.output.print(helpText(args[0], shown.output.width?.()))
    return exitCodes.ok
  }
  const { flags, timeoutMs, secret, cut } = wish
  const servers =
    wish.servers.length > 0 ? wish.servers : [await askForServer(wish, await openQuestions(wish))]
  process.once('SIGINT', () => process.exit(exitCodes.interrupted))
  const report = new ConnectionReport({ serverCount: servers.length, isInteractive: false, ...shown })
  const client = await connect(servers, {
    timeoutMs,
    failFast: true,
    ...(secret === undefined ? {} : { secret }),
    ...(flags.id === undefined ? {} : { id: flags.id }),
    ...(cut === undefined ? {} : { cut }),
    onState: (state) => report.stateChanged(state),
  })
  const context: CommandContext = {
    ...shown,
    client,
    isInteractive: false,
    wrote: () => {},
    watch: async (prefix) => {
      for await (const event of client.watch({ prefix })) {
        shown.presentation.event(event)
        await shown.output.drained()
      }
      return exitCodes.ok
    },
    unwatch: () => {
      throw new CommandError('unwatch works at the prompt: tidings client')
    },
    exit: () => exitCodes.ok,
  }
  try {
    return await command.run(fromShell(args), context)
  } finally {
    await client.close()
  }
}

/** The prompt, after asking for what flags and environment did not give. */
async function runPrompt(wish: Wish, present: (output: Output) => Presentation): Promise<number> {
  const questions = await openQuestions(wish)
  const servers = wish.servers.length > 0 ? wish.servers : [await askForServer(wish, questions)]
  // Piped input after a server's name is commands, as it is after both names: nobody is there to be asked.
  const isAsked = wish.servers.length === 0 || process.stdin.isTTY
  const id =
    wish.flags.id ?? (isAsked ? await questions.ask('Client ID: ', { check: idObjection }) : undefined)
  const { Repl } = await import('./repl.ts')
  const repl = new Repl({
    servers,
    id,
    timeoutMs: wish.timeoutMs,
    secret: wish.secret,
    cut: wish.cut,
    input: questions.handOver(),
    output: process.stdout,
    errorOutput: process.stderr,
    paint: chalkFor(process.stdout, { flag: wish.flags.color, env: process.env }),
    presentationFor: present,
    environment: process.env,
  })
  return await repl.run()
}

async function openQuestions({ flags }: Wish): Promise<Questions> {
  const { Questions } = await import('../terminal/questions.ts')
  // Questions among lines of JSON would be no JSON.
  return new Questions({
    input: process.stdin,
    output: flags.json === true ? process.stderr : process.stdout,
  })
}

async function askForServer({ words }: Wish, questions: Questions): Promise<string> {
  const answer = await questions.ask('Server port: ', { check: serverObjection })
  // In one-shot use nobody reads the rest of the input.
  if (words.length > 0) questions.handOver().destroy()
  return answer
}

// ── the command line ─────────────────────────────────────────────────────────────────────────────────────

function wishFrom(argv: readonly string[]): Wish {
  const end = argv.indexOf('--')
  const head = end === -1 ? argv : argv.slice(0, end)
  const tail = end === -1 ? [] : argv.slice(end + 1)
  const parser = commandLineParser()
  // Words that begin with a dash may be values (`write x -5`); only what looks like a flag is looked at below.
  parser.parse([...head], { from: 'user' })
  const flags = parser.opts<Flags & Record<string, unknown>>()
  const words = parser.args
  const firstWord = words.findIndex((word) => typeof parseAddresses(word) === 'string' || word.trim() === '')
  const named = firstWord === -1 ? words : words.slice(0, firstWord)
  const command = firstWord === -1 ? [] : words.slice(firstWord)
  refuseUnknownFlags(command, parser)
  refuseNearServer(command[0])
  const given = named.length > 0 ? named : [flags.servers ?? flags.server ?? '']
  const servers = given.flatMap((text) => text.split(/[\s,]+/)).filter((text) => text !== '')
  const objection = servers.map(serverObjection).find((each) => each !== undefined)
  if (objection !== undefined) throw new CommandError(objection)
  if (flags.id !== undefined && !isServerId(flags.id))
    throw new CommandError(
      `--id is 1 to 32 of A–Z a–z 0–9 _ . -, such as alice, and not "${printable(flags.id)}"`,
    )
  return {
    flags,
    servers,
    words: [...command, ...tail],
    timeoutMs: timeoutFrom(flags.timeout),
    secret: secretFrom(flags.secretFile),
    cut: cutFrom(flags.after),
  }
}

function commandLineParser(): CommanderCommand {
  const parser = new CommanderCommand('tidings client')
    .usage('[server…] [command [argument…]] [flags]')
    .description(
      'Talk to a server: carry out one command, or ask for commands at a prompt. A server is a port or host:port; ' +
        'with several, the next is tried when one cannot be reached. What is not given is asked for.',
    )
    .addOption(
      new Option('--servers <list>', 'servers, where none are named as words').env('TIDINGS_SERVERS'),
    )
    .addOption(new Option('--server <server>', 'the same for one').env('TIDINGS_SERVER').hideHelp())
    .addOption(new Option('--id <id>', 'what the server calls this client').env('TIDINGS_CLIENT_ID'))
    .addOption(new Option('--json', 'results as one JSON object a line'))
    .addOption(
      new Option('--timeout <ms>', `how long a request may take (${timeoutMsDefault})`).env(
        'TIDINGS_TIMEOUT',
      ),
    )
    .addOption(
      new Option(
        '--after <cut>',
        'answer only once all of this is applied: a cut, {"origin":timestamp}, as JSON; ' +
          'JSON.stringify(client.cut) of the library is one, and so is .applied of status --json',
      ),
    )
    .addOption(new Option('--secret-file <file>', "file with the mesh's secret").env('TIDINGS_SECRET_FILE'))
    .addOption(new Option('--color', 'colours, also where the output is no terminal'))
    .addOption(new Option('--no-color', 'no colours'))
    .addHelpText(
      'after',
      () =>
        `\nCommands:\n${helpText(undefined, process.stdout.isTTY ? process.stdout.columns : undefined)}\n\n${afterHelp}`,
    )
    .allowUnknownOption()
    .allowExcessArguments()
    .exitOverride()
  // Neither --color nor --no-color is a third case, which the flag's default would hide.
  parser.setOptionValue('color', undefined)
  return parser
}

const afterHelp = `Flags may stand anywhere; after -- every word is a word.

Examples:
  tidings client 60001 write x lost
  tidings client 60001,60002 read x --json
  tidings client 60001 --id alice

Exit codes: 0 ok, 1 key not found, 2 usage, 3 cannot connect, 4 not caught up in time, 5 server error, 130 Ctrl-C.`

/** A misspelt flag must not pass for a key. Only a value may look like one. */
function refuseUnknownFlags(command: readonly string[], parser: CommanderCommand): void {
  const valueAt = command[0]?.toLowerCase() === 'write' ? 2 : Infinity
  const stray = command.find((word, place) => word.startsWith('--') && place < valueAt)
  if (stray === undefined) return
  const known = parser.options.map((option) => option.long ?? '')
  const meant = nearestWord(stray, known)
  const advice = meant === undefined ? 'see tidings client --help' : `did you mean ${meant}?`
  throw new CommandError(`there is no flag ${printable(stray)}; ${advice} (a key like this goes after --)`)
}

/** `6000l` is neither a server nor a command, and more probably the former. */
function refuseNearServer(word: string | undefined): void {
  if (word !== undefined && /^\d|:/.test(word)) refuse(serverObjection(word))
}

function serverObjection(text: string): string | undefined {
  const addresses = parseAddresses(text)
  if (typeof addresses === 'string') return addresses
  return addresses.length > 0 ? undefined : 'name a server: its port (60001), or host:port'
}

/** Any text would do for the server. But the name stands in every prompt, and a command typed too early is no name. */
function idObjection(id: string): string | undefined {
  if (isServerId(id)) return undefined
  return `a client is called by 1 to 32 of A–Z a–z 0–9 _ . -, such as alice; this is where its name goes, commands come later`
}

function timeoutFrom(text: string | undefined): number {
  if (text === undefined) return timeoutMsDefault
  const ms = /^\d{1,9}$/.test(text) ? Number(text) : 0
  if (ms >= 1 && ms <= timeoutMsMax) return ms
  throw new CommandError(
    `--timeout is in milliseconds, from 1 to ${timeoutMsMax}, and not "${printable(text)}"`,
  )
}

function cutFrom(text: string | undefined): GivenCut | undefined {
  if (text === undefined) return undefined
  try {
    const cut = copyOfCut(JSON.parse(text) as GivenCut, '--after')
    if (cut.size === 0)
      process.stderr.write(`warning: this --after is empty, and waits for nothing; ${cutAdvice}\n`)
    return cut
  } catch (error) {
    if (!(error instanceof TidingsError || error instanceof SyntaxError)) throw error
    const reason = error instanceof TidingsError ? `: ${error.message}` : ''
    const message = `--after needs a cut, such as '{"1~m3k9x":7}', not ${printable(text)}${reason}; ${cutAdvice}`
    throw new CommandError(message, { cause: error })
  }
}

const cutAdvice = 'a cut is JSON.stringify(client.cut) of the library, or .applied of status --json'

function secretFrom(file: string | undefined): string | undefined {
  if (file === undefined) return undefined
  try {
    const { secret, warning } = readSecretFile(file)
    if (warning !== undefined) process.stderr.write(`warning: ${warning}\n`)
    return secret
  } catch (error) {
    if (!(error instanceof Error)) throw error
    throw new CommandError(error.message, { cause: error })
  }
}

function refuse(objection: string | undefined): void {
  if (objection !== undefined) throw new CommandError(objection)
}

// ── the streams ──────────────────────────────────────────────────────────────────────────────────────────

function standardOutput(): Output {
  return {
    print: (text) => void process.stdout.write(`${text}\n`),
    note: (text) => void process.stderr.write(`${text}\n`),
    complain: (text) => void process.stderr.write(`${text}\n`),
    // What goes elsewhere than to the terminal is for a program, or for an editor that wraps it.
    width: () => (process.stdout.isTTY && process.stderr.isTTY ? process.stdout.columns : undefined),
    drained: () => writeFully(process.stdout, ''),
  }
}

async function presentationMaker(flags: Flags): Promise<(output: Output) => Presentation> {
  if (flags.json === true) {
    const { JsonPresentation } = await import('./json-presentation.ts')
    return (output) => new JsonPresentation(output)
  }
  const wish = { flag: flags.color, env: process.env }
  const paints = { output: chalkFor(process.stdout, wish), errors: chalkFor(process.stderr, wish) }
  return (output) => new PeoplePresentation(output, paints)
}

async function codeOf(error: Error): Promise<number> {
  const { QuestionInterrupted, QuestionUnanswered, AnswerRefused } = await import('../terminal/questions.ts')
  if (error instanceof QuestionInterrupted) return exitCodes.interrupted
  if (error instanceof QuestionUnanswered || error instanceof AnswerRefused) return exitCodes.usage
  return exitCodeOf(error)
}
