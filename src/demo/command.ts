import { Command, CommanderError, Option } from 'commander'
import { chalkFor } from '../terminal/colour.ts'
import { watchStandardStreams } from '../terminal/standard-streams.ts'
import { Cast } from './cast.ts'
import { ClaimFailed, Claims, NotSeen } from './claims.ts'
import { Columns, columnsWidthMin } from './columns.ts'
import { Interruption } from './interruption.ts'
import { NarrowPage } from './narrow-page.ts'
import { participants } from './phrases.ts'
import type { Stage } from './stage.ts'
import { tellStory } from './story.ts'

interface Flags {
  readonly terminals?: true
  readonly color?: boolean
  readonly slow?: true
}

/**
 * `tidings demo`: three real servers on free ports play the story that the store exists for, told in columns.
 *
 * @param argv the words after the sub-command's name.
 * @returns the exit code: 0 every claim held, 1 one did not, 2 usage, 5 tmux failed, 130 Ctrl-C.
 */
export async function run(argv: readonly string[]): Promise<number> {
  let flags: Flags
  try {
    flags = parseFlags(argv)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    throw error
  }
  watchStandardStreams()
  if (flags.terminals === true) {
    const { openTerminals } = await import('./terminals.ts')
    return await openTerminals()
  }
  return await play(flags)
}

async function play(flags: Flags): Promise<number> {
  const paint = chalkFor(process.stdout, { flag: flags.color, env: process.env })
  const width = pageWidth()
  const page = { participants, width, paint }
  const stage: Stage = width < columnsWidthMin ? new NarrowPage(page) : new Columns(page)
  const claims = new Claims()
  const cast = new Cast()
  const interruption = new Interruption()
  const say = async (lines: readonly string[]): Promise<void> => {
    if (interruption.hasHappened) return
    process.stdout.write(lines.map((line) => `${line}\n`).join(''))
    if (flags.slow === true) await interruption.sleep(readingMs(lines))
  }
  const story = async (): Promise<number> => {
    const startedMs = performance.now()
    await tellStory(await cast.start(), { stage, claims, say, cast })
    const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1)
    await say(['', paint.green(`${claims.summary()}, in ${seconds} s on three servers`)])
    return 0
  }
  try {
    return await Promise.race([story(), interruption.exitCode])
  } catch (error) {
    if (!(error instanceof ClaimFailed) && !(error instanceof NotSeen)) throw error
    const claim = error instanceof ClaimFailed ? error.claim : 'the three servers start and find each other'
    const failed = [
      `This did not come true: ${claim}`,
      `  expected: ${error.expected}`,
      `  seen: ${error.seen}`,
    ]
    await say(['', ...failed.map((line) => paint.red(line)), '', paint.red(claims.summary())])
    return 1
  } finally {
    await cast.stop()
    interruption.dispose()
  }
}

function parseFlags(argv: readonly string[]): Flags {
  const command = new Command('tidings demo')
    .description(
      'Three real servers on free ports of this machine play a story of causes and effects, and check every line.',
    )
    .addOption(new Option('--terminals', 'the same cast in terminals of your own, to play with'))
    .addOption(new Option('--slow', 'leave time to read along'))
    .addOption(new Option('--color', 'colours, also where the output is no terminal'))
    .addOption(new Option('--no-color', 'no colours'))
    .addHelpText(
      'after',
      '\nExit codes: 0 every claim held, 1 one did not, 2 usage, 5 tmux failed, 130 Ctrl-C.',
    )
    .allowExcessArguments(false)
    .exitOverride()
  // Neither --color nor --no-color is a third case, which the flag's default would hide.
  command.setOptionValue('color', undefined)
  command.parse(argv, { from: 'user' })
  return command.opts<Flags & Record<string, unknown>>()
}

/** That of the terminal; where the output is none, what `COLUMNS` says. */
function pageWidth(): number {
  const told = Number(process.env['COLUMNS'])
  return process.stdout.columns ?? (Number.isInteger(told) && told > 0 ? told : pipedWidth)
}

const pipedWidth = 100

/** About as long as it takes to read the lines aloud. */
function readingMs(lines: readonly string[]): number {
  const words = lines.join(' ').split(/[^\p{L}\p{N}]+/u).length
  return 400 + 150 * words
}
