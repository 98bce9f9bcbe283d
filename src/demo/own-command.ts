/**
 * How this very program is started once more, with other words: from its sources or compiled, as it runs now.
 *
 * @returns the file to execute, and its arguments.
 */
export function ownCommand(words: readonly string[]): readonly [string, ...string[]] {
  // A debugger that listens for this process cannot listen for others on the same port.
  const execArgv = process.execArgv.filter((argument) => !argument.startsWith('--inspect'))
  return [process.execPath, ...execArgv, process.argv[1] ?? '', ...words]
}

/** The same for people: what they type in a terminal, for a program that was started as this one was. */
export function typedCommand(words: readonly string[]): string {
  const [subcommand = '', ...rest] = words.map(quoted)
  const isFromSources = process.argv[1]?.endsWith('.ts') === true
  return [isFromSources ? `npm run ${subcommand} --` : `tidings ${subcommand}`, ...rest].join(' ')
}

/** What is set for the user's own servers and clients has no business in those of a demonstration. */
export function ownEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDINGS_')))
}

function quoted(word: string): string {
  return /^[\w.:=-]+$/.test(word) ? word : `"${word}"`
}
