import { Command, CommanderError, Option } from 'commander'
import { parseAddresses, type Address } from '../protocol/address.ts'
import type { ServerId } from '../replica/version.ts'
import { chalkFor } from '../terminal/colour.ts'
import { AnswerRefused, QuestionInterrupted, Questions, QuestionUnanswered } from '../terminal/questions.ts'
import { openFolderStore } from '../storage/folder-store.ts'
import { StorageError } from '../storage/store.ts'
import { Narrator } from './narrator.ts'
import {
  defaultFolder,
  peersObjection,
  portObjection,
  readSecret,
  requireSafeHost,
  serverIdObjection,
  UsageError,
  type Durability,
  type ServerOptions,
} from './options.ts'
import { OperatorOutput } from './operator-output.ts'
import { Server, ServerError, type ServerStorage } from './server.ts'

interface Flags {
  readonly port?: string
  readonly id?: string
  readonly peers?: string
  readonly host: string
  readonly data?: string
  readonly durability: Durability
  readonly secretFile?: string
  readonly insecure?: true
  readonly lab?: true
  readonly json?: true
  readonly quiet?: true
  readonly color?: boolean
}

/**
 * `tidings server`: runs one server until it is told to stop.
 *
 * @param argv the words after the sub-command's name.
 * @returns the exit code: 0 stopped as asked, 2 usage, 5 it could not start or go on, 130 interrupted at a question.
 */
export async function run(argv: readonly string[]): Promise<number> {
  try {
    return await serve(parseFlags(argv))
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    if (error instanceof QuestionInterrupted) return 130
    const isUsage =
      error instanceof UsageError || error instanceof AnswerRefused || error instanceof QuestionUnanswered
    if (!isUsage && !(error instanceof ServerError) && !(error instanceof StorageError)) throw error
    const paint = chalkFor(process.stderr, { env: process.env })
    process.stderr.write(`${paint.red('error:')} ${error.message}\n`)
    return isUsage ? 2 : 5
  }
}

async function serve(flags: Flags): Promise<number> {
  const options = await completeOptions(flags)
  const output = new OperatorOutput(process.stdout, (count) => {
    const text = `${count} lines left out: the output was not read in time`
    return flags.json === true ? JSON.stringify({ kind: 'warning', text }) : `… ${text}`
  })
  const paint = chalkFor(process.stdout, { flag: flags.color, env: process.env })
  const narrator = new Narrator({
    write: flags.quiet === true ? undefined : (line) => output.write(line),
    ...(flags.json === true ? {} : { paint }),
  })
  const storage = await openStorage(flags, options.server)
  const server = new Server({ ...options, narrator, ...(storage === undefined ? {} : { storage }) })
  // Before the server says that it listens: whoever reads that may end it at once.
  const ended = untilEnded(server)
  await server.start()
  return await ended
}

/** @throws StorageError where the folder cannot be had, or is another server's. */
async function openStorage(flags: Flags, server: ServerId): Promise<ServerStorage | undefined> {
  if (flags.durability === 'memory') return undefined
  const folder = flags.data ?? defaultFolder(server)
  return { folder, mode: flags.durability, store: await openFolderStore({ folder, server }) }
}

/** @returns the exit code, once the server has stopped: by a signal, or by itself. */
function untilEnded(server: Server): Promise<number> {
  return new Promise<number>((resolve) => {
    const stop = (signal: NodeJS.Signals): void => {
      // A second signal is somebody who does not want to wait.
      process.once('SIGINT', () => process.exit(130)).once('SIGTERM', () => process.exit(143))
      server.stop(`received ${signal}`).then(
        () => resolve(0),
        // What makes a server fail, `failed` tells too, with its message.
        (error: unknown) => {
          if (!(error instanceof ServerError)) resolve(5)
        },
      )
    }
    process.once('SIGINT', stop).once('SIGTERM', stop)
    server.failed.then(
      (error) => {
        process.stderr.write(`error: ${error.message}\n`)
        resolve(5)
      },
      () => resolve(5),
    )
  })
}

function parseFlags(argv: readonly string[]): Flags {
  const command = new Command('tidings server')
    .description(
      'Run one server of a mesh. It asks for the port, the id and the other servers where no flag gives them.',
    )
    .addOption(
      new Option('--port <port>', 'port for peers and clients; 0 for any free one').env('TIDINGS_PORT'),
    )
    .addOption(
      new Option('--id <id>', 'what this server is called: 1 to 32 of A–Z a–z 0–9 _ . -').env('TIDINGS_ID'),
    )
    .addOption(
      new Option('--peers <list>', 'other servers, comma- or space-separated: ports or host:port').env(
        'TIDINGS_PEERS',
      ),
    )
    .addOption(new Option('--host <host>', 'address to listen on').env('TIDINGS_HOST').default('127.0.0.1'))
    .addOption(
      new Option('--data <folder>', 'where the data is kept (default: ./tidings-data/<id>)').env(
        'TIDINGS_DATA',
      ),
    )
    .addOption(
      new Option(
        '--durability <mode>',
        'sync: nothing is acknowledged before it is on disk; async: the disk follows within a second; memory: no disk',
      )
        .env('TIDINGS_DURABILITY')
        .choices(['sync', 'async', 'memory'])
        .default('sync'),
    )
    .addOption(
      new Option('--secret-file <file>', 'file with the secret that servers and clients share').env(
        'TIDINGS_SECRET_FILE',
      ),
    )
    .addOption(
      new Option('--insecure', 'listen beyond this machine without a secret').env('TIDINGS_INSECURE'),
    )
    .addOption(new Option('--lab', 'let clients hold, delay and cut links').env('TIDINGS_LAB'))
    .addOption(new Option('--json', 'say what happens as one JSON object a line'))
    .addOption(new Option('--quiet', 'say nothing of what happens'))
    .addOption(new Option('--color', 'colours, also where the output is no terminal'))
    .addOption(new Option('--no-color', 'no colours'))
    .addHelpText('after', '\nExit codes: 0 stopped as asked, 2 usage, 5 could not go on, 130 interrupted.')
    .allowExcessArguments(false)
    .exitOverride()
  // Neither --color nor --no-color is a third case, which the flag's default would hide.
  command.setOptionValue('color', undefined)
  command.parse(argv, { from: 'user' })
  return command.opts<Flags & Record<string, unknown>>()
}

/** Asks for what the flags did not give, in the order and wording that scripts and lessons rely on. */
async function completeOptions(flags: Flags): Promise<ServerOptions> {
  const isInsecure = flags.insecure === true
  requireSafeHost(flags.host, { hasSecret: flags.secretFile !== undefined, isInsecure })
  const { secret, warning } = flags.secretFile === undefined ? {} : readSecret(flags.secretFile)
  if (warning !== undefined) process.stderr.write(`warning: ${warning}\n`)
  const questions = new Questions({ input: process.stdin, output: process.stdout })
  const ask = async (
    given: string | undefined,
    question: string,
    check: (text: string) => string | undefined,
  ) => {
    const objection = given === undefined ? undefined : check(given)
    if (objection !== undefined) throw new UsageError(objection)
    return given ?? (await questions.ask(question, { check }))
  }
  const port = await ask(flags.port, 'Server port: ', portObjection)
  const server = await ask(flags.id, 'Server ID: ', serverIdObjection)
  const peers = await ask(flags.peers, "Enter other servers' ports: ", peersObjection)
  // What else comes on the input is nobody's business, and must not keep the process alive. A terminal is shared
  // with whoever started this, so it is only let go.
  const rest = questions.handOver()
  if (rest === process.stdin) rest.pause()
  else rest.destroy()
  return {
    server,
    port: Number(port),
    host: flags.host,
    peers: parseAddresses(peers) as readonly Address[],
    ...(secret === undefined ? {} : { secret }),
    isInsecure,
    isLab: flags.lab === true,
  }
}
