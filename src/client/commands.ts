import { isKey, isServerId } from '../protocol/wire-forms.ts'
import { linkDelayMsMax } from '../protocol/limits.ts'
import { nearestWord } from '../protocol/nearest-word.ts'
import type { LinkAction } from '../protocol/client-messages.ts'
import type { Version } from '../replica/version.ts'
import { printable } from '../terminal/printable.ts'
import { wrapWords } from '../terminal/word-wrap.ts'
import type { Client } from './client.ts'
import type { CommandLine } from './command-line.ts'
import type { Output, Presentation } from './presentation.ts'
import { TidingsError } from './tidings-error.ts'
import { valueFromText } from './value-text.ts'

/** A command was typed wrong; the message says what is wrong and what would be right. Exit code 2. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
}

/** What a command works with, at the prompt and in one-shot use. */
export interface CommandContext {
  readonly client: Client
  readonly output: Output
  readonly presentation: Presentation
  /** Somebody sits there who does not want a million lines. */
  readonly isInteractive: boolean
  /** Is told of every write that was taken, before its result is shown. */
  readonly wrote: (version: Version) => void
  /** Shows what happens to keys with a prefix, from now on. At the prompt it returns at once. */
  readonly watch: (prefix: string) => Promise<number>
  readonly unwatch: () => number
  readonly exit: () => number
}

/** What may be completed at a place of a command line. */
type Completable = 'key' | 'peer' | 'command' | undefined

export interface Command {
  readonly name: string
  /** The arguments as people are shown them: `<key> <value…>`; empty where there are none. */
  readonly usage: string
  readonly summary: string
  /** More, where the summary does not say it all; one line each. */
  readonly details?: readonly string[]
  /** What other stores call it: whoever types that is told this command's name. */
  readonly alsoCalled?: readonly string[]
  /** What the argument at a place (0 is the first) may be completed with. */
  readonly completes: (place: number) => Completable
  /** @returns the exit code. May throw a CommandError or a TidingsError. */
  readonly run: (line: CommandLine, context: CommandContext) => Promise<number> | number
}

export const exitCodes = {
  ok: 0,
  notFound: 1,
  usage: 2,
  cannotConnect: 3,
  notCaughtUp: 4,
  server: 5,
  interrupted: 130,
} as const

const noArguments = (): Completable => undefined
const keysOnly = (): Completable => 'key'
const firstKey = (place: number): Completable => (place === 0 ? 'key' : undefined)
const firstPeer = (place: number): Completable => (place === 0 ? 'peer' : undefined)

/** All commands, in the order in which `help` lists them. */
export const commands: readonly Command[] = [
  {
    name: 'write',
    alsoCalled: ['put', 'set'],
    usage: '<key> <value…>',
    summary: 'write a value; all the rest of the line is the value',
    details: [
      'The value is JSON where it reads as JSON (5, true, {"a":1}, "5"), and text otherwise (lost, two words).',
      'A key with spaces goes in quotes: write "my key" lost',
    ],
    completes: firstKey,
    run: async (line, { client, presentation, wrote }) => {
      const key = keyAt(line, 0, 'write')
      const text = line.textFrom(1)
      // A shell may have made an empty word of "": that is an empty text.
      if (line.words.length < 2)
        throw new CommandError(
          `write needs a value for ${printable(key)}: write <key> <value…> ("" is an empty text)`,
        )
      const read = valueFromText(text)
      if ('fault' in read)
        throw new CommandError(quotesAdvised(read.fault, { key, text, isFromShell: line.isFromShell }))
      const result = await client.write(key, read.value)
      wrote(result.version)
      presentation.written(result, read.value)
      return exitCodes.ok
    },
  },
  {
    name: 'read',
    alsoCalled: ['get'],
    usage: '<key…>',
    summary: 'read one key, or several at one moment',
    completes: keysOnly,
    run: async (line, { client, presentation }) => {
      const keys = keysOf(line, 'read')
      const [key, ...others] = keys
      const values =
        key !== undefined && others.length === 0 ? [await client.read(key)] : await client.readMany(keys)
      presentation.values(values)
      return values.every(({ found }) => found) ? exitCodes.ok : exitCodes.notFound
    },
  },
  {
    name: 'delete',
    alsoCalled: ['del', 'rm', 'remove'],
    usage: '<key>',
    summary: 'delete a key',
    completes: firstKey,
    run: async (line, { client, presentation, wrote }) => {
      const key = keyAt(line, 0, 'delete')
      noMoreThan(line, 1, 'delete')
      const result = await client.delete(key)
      wrote(result.version)
      presentation.deleted(result)
      return exitCodes.ok
    },
  },
  {
    name: 'keys',
    alsoCalled: ['ls', 'list'],
    usage: '[prefix]',
    summary: 'list the keys that have a value',
    completes: firstKey,
    run: async (line, { client, presentation, output, isInteractive }) => {
      const prefix = prefixOf(line, 'keys')
      let page = await client.keys({ prefix })
      presentation.keys(page.keys)
      while (page.next !== undefined) {
        if (isInteractive) {
          output.note(`… and more: narrow it down with a longer prefix`)
          break
        }
        page = await client.keys({ prefix, from: page.next })
        presentation.keys(page.keys)
        await output.drained()
      }
      return exitCodes.ok
    },
  },
  {
    name: 'watch',
    alsoCalled: ['subscribe'],
    usage: '[prefix]',
    summary: 'show what happens to keys from now on; at the prompt all is shown until you narrow it',
    completes: firstKey,
    run: (line, { watch }) => watch(prefixOf(line, 'watch')),
  },
  {
    name: 'unwatch',
    usage: '',
    summary: 'show no more of what happens',
    completes: noArguments,
    run: (line, { unwatch }) => {
      noMoreThan(line, 0, 'unwatch')
      return unwatch()
    },
  },
  {
    name: 'conflicts',
    usage: '[prefix]',
    summary: 'list keys that were written at the same time at several servers',
    details: ['The winner stands first. Writing the key again settles the conflict.'],
    completes: firstKey,
    run: async (line, { client, presentation }) => {
      presentation.conflicts(await client.conflicts(prefixOf(line, 'conflicts')))
      return exitCodes.ok
    },
  },
  {
    name: 'status',
    alsoCalled: ['info'],
    usage: '',
    summary: 'say how the server is, and whom it is connected to',
    completes: noArguments,
    run: async (line, { client, presentation }) => {
      noMoreThan(line, 0, 'status')
      presentation.status(await client.status())
      return exitCodes.ok
    },
  },
  {
    name: 'waiting',
    usage: '',
    summary: 'list updates that have arrived before their causes',
    completes: noArguments,
    run: async (line, { client, presentation }) => {
      noMoreThan(line, 0, 'waiting')
      presentation.waiting(await client.waiting())
      return exitCodes.ok
    },
  },
  {
    name: 'why',
    usage: '<key>',
    summary: 'tell the story of a key: what it waits for, who has that, what to do',
    completes: firstKey,
    run: async (line, { client, presentation }) => {
      const key = keyAt(line, 0, 'why')
      noMoreThan(line, 1, 'why')
      const story = await client.why(key)
      const { state } = client
      presentation.story(story, state.status === 'connected' ? state.server : 'here')
      return exitCodes.ok
    },
  },
  lab({
    name: 'hold',
    usage: '<peer>',
    summary: 'keep updates to a peer in the link',
    action: () => ({ action: 'hold' }),
  }),
  lab({
    name: 'release',
    usage: '<peer> [n]',
    summary: 'let the updates in the link go, all or the next n',
    details: [
      'Without n it ends a hold or a delay too; with n what follows those n is still held.',
      'It lets go what hold or delay keeps. A link that was cut keeps nothing: heal connects it again.',
    ],
    action: (line) => {
      const count = line.words[1]
      return count === undefined
        ? { action: 'release' }
        : { action: 'release', count: numberIn(count, 'n', { min: 1 }) }
    },
  }),
  lab({
    name: 'delay',
    usage: '<peer> <ms>',
    summary: 'keep each update to a peer in the link for some milliseconds',
    details: ['It ends with 0 milliseconds (delay 3 0), or with release.'],
    action: (line) => {
      const ms = line.words[1]
      if (ms === undefined) throw new CommandError('delay needs the milliseconds: delay <peer> <ms>')
      return { action: 'delay', ms: numberIn(ms, 'ms', { min: 0, max: linkDelayMsMax }) }
    },
  }),
  lab({
    name: 'cut',
    usage: '<peer>',
    summary: 'break the link to a peer until it is healed',
    action: () => ({ action: 'cut' }),
  }),
  lab({
    name: 'heal',
    usage: '<peer>',
    summary: 'connect a link that was cut',
    details: ['It undoes cut only: release lets go what hold or delay keeps.'],
    action: () => ({ action: 'heal' }),
  }),
  {
    name: 'help',
    usage: '[command]',
    summary: 'list the commands, or explain one',
    completes: (place) => (place === 0 ? 'command' : undefined),
    run: (line, { output }) => {
      output.print(helpText(line.words[0], output.width?.()))
      return exitCodes.ok
    },
  },
  {
    name: 'exit',
    alsoCalled: ['quit', 'bye'],
    usage: '',
    summary: 'leave (so does Ctrl-D)',
    completes: noArguments,
    run: (_line, { exit }) => exit(),
  },
]

/** @throws CommandError with the command that was probably meant. */
export function commandNamed(name: string): Command {
  const command = commands.find((each) => each.name === name.toLowerCase())
  if (command !== undefined) return command
  const namesake = commands.find((each) => each.alsoCalled?.includes(name.toLowerCase()))
  const names = commands.map((each) => each.name)
  const meant = namesake?.name ?? nearestWord(name, names)
  const advice = meant === undefined ? 'help lists the commands' : `did you mean "${meant}"?`
  throw new CommandError(`there is no command "${printable(name)}"; ${advice}`)
}

/** The usage of a command with its name. */
function usageOf({ name, usage }: Command): string {
  return usage === '' ? name : `${name} ${usage}`
}

/**
 * What `help` says: of one command, or of all, one a line.
 *
 * @param width columns of the terminal; undefined where it is none.
 */
export function helpText(name?: string, width?: number): string {
  if (name !== undefined) {
    const command = commandNamed(name)
    const lines = [command.summary, ...(command.details ?? [])].map((line) => `  ${line}`)
    return wrapWords([usageOf(command), ...lines].join('\n'), { width, hangingIndent: 2 })
  }
  const usageColumns = Math.max(...commands.map((command) => usageOf(command).length))
  const lines = commands.map((command) => `  ${usageOf(command).padEnd(usageColumns)}  ${command.summary}`)
  return wrapWords(lines.join('\n'), { width, hangingIndent: usageColumns + 2 })
}

/** The server speaks to programs; somebody who types wants to see what to type. */
function quotesAdvised(
  fault: string,
  { key, text, isFromShell }: { readonly key: string; readonly text: string; readonly isFromShell: boolean },
): string {
  const quoted = isFromShell ? `'"${text}"'` : `"${text}"`
  const example = /^-?[\d.eE+-]+$/.test(text) ? `: write ${printable(key)} ${quoted}` : ''
  return fault.replace('; send it as a string', `; put it in quotes${example}`)
}

/** A command that acts on the server's outgoing link to a peer. */
function lab(options: {
  readonly name: string
  readonly usage: string
  readonly summary: string
  readonly details?: readonly string[]
  readonly action: (line: CommandLine) => LinkAction
}): Command {
  const { name, usage, details = [], action } = options
  return {
    name,
    usage,
    summary: `lab: ${options.summary}`,
    details: [...details, 'Works at a server that was started with --lab, on its outgoing link.'],
    completes: firstPeer,
    run: async (line, { client, presentation }) => {
      const [peer] = line.words
      if (peer === undefined)
        throw new CommandError(`${name} needs the id of a peer: ${name} ${usage}; status lists them`)
      if (!isServerId(peer))
        throw new CommandError(`"${printable(peer)}" is not the id of a server; status lists the peers`)
      noMoreThan(line, usage.split(' ').length, name)
      try {
        presentation.link(await client.link(peer, action(line)))
      } catch (error) {
        throw error instanceof TidingsError && error.data['path'] === 'params.peer'
          ? await unknownPeer(peer, client, error)
          : error
      }
      return exitCodes.ok
    },
  }
}

async function unknownPeer(peer: string, client: Client, cause: TidingsError): Promise<CommandError> {
  const { peers } = await client.status()
  const ids = peers.map(({ id }) => id)
  const known =
    ids.length === 0
      ? 'this server has none'
      : ids.length === 1
        ? `the only peer is ${ids.join('')}`
        : `the peers are ${ids.join(', ')}`
  return new CommandError(`there is no peer ${peer}; ${known}`, { cause })
}

function keyAt(line: CommandLine, place: number, name: string): string {
  const key = line.words[place]
  if (key === undefined) throw new CommandError(`${name} needs a key: ${usageOf(commandNamed(name))}`)
  if (!isKey(key))
    throw new CommandError(
      `this is not a key: it has ${Buffer.byteLength(key)} bytes, and a key has 1 to 1,024`,
    )
  return key
}

function keysOf(line: CommandLine, name: string): readonly string[] {
  return Array.from({ length: Math.max(1, line.words.length) }, (_, place) => keyAt(line, place, name))
}

function prefixOf(line: CommandLine, name: string): string {
  noMoreThan(line, 1, name)
  return line.words[0] ?? ''
}

function noMoreThan(line: CommandLine, countMax: number, name: string): void {
  const extra = line.words[countMax]
  if (extra === undefined) return
  throw new CommandError(`"${printable(extra)}" is one word too many: ${usageOf(commandNamed(name))}`)
}

function numberIn(
  word: string,
  name: string,
  range: { readonly min: number; readonly max?: number },
): number {
  const number = /^\d{1,15}$/.test(word) ? Number(word) : NaN
  if (number >= range.min && number <= (range.max ?? Infinity)) return number
  const upTo = range.max === undefined ? '' : ` to ${range.max}`
  throw new CommandError(`${name} must be a whole number from ${range.min}${upTo}, not "${printable(word)}"`)
}
