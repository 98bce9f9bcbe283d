import { parseArgs, type ParseArgsConfig } from 'node:util'

/** What was asked for makes no sense; the message says what would. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** @throws UsageError where it is none, or less than the least that makes sense. */
export function wholeNumber(name: string, text: string, least = 0): number {
  const number = Number(text)
  const from = least === 0 ? '' : ` from ${least}`
  if (text.trim() === '' || !Number.isSafeInteger(number) || number < least)
    throw new UsageError(`--${name} is "${text}", and is to be a whole number${from}`)
  return number
}

/**
 * Runs a command of the proof: prints its help where that is asked for, and says in a line what is wrong with its words.
 *
 * @param run is given what the words say, and returns the exit code.
 * @returns the exit code; 2 where the words make no sense.
 */
export async function runCommand<const Flags extends NonNullable<ParseArgsConfig['options']>>(
  argv: readonly string[],
  command: {
    readonly help: string
    readonly flags: Flags
    readonly run: (values: Values<Flags>) => Promise<number>
  },
): Promise<number> {
  try {
    if (argv.includes('--help')) {
      console.log(command.help)
      return 0
    }
    return await command.run(valuesOf(argv, command.flags))
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    console.error(`${error.message}; --help tells what there is`)
    return 2
  }
}

/** What is given by words with these flags. */
export type Values<Flags extends NonNullable<ParseArgsConfig['options']>> = ReturnType<
  typeof parseArgs<{ options: Flags }>
>['values']

function valuesOf<const Flags extends NonNullable<ParseArgsConfig['options']>>(
  argv: readonly string[],
  flags: Flags,
): Values<Flags> {
  try {
    return parseArgs({ args: [...argv], options: flags }).values
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message, { cause: error })
    throw error
  }
}
