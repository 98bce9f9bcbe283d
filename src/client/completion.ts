import { isPrintable } from '../terminal/printable.ts'
import type { Completion } from '../terminal/terminal-line.ts'
import type { Client } from './client.ts'
import { wordsOf } from './command-line.ts'
import { commands, type Command } from './commands.ts'

/** More than this nobody reads; who sees so many types another character. */
const keysOffered = 50

/**
 * What the word that is being typed may become: the name of a command, a key, or a peer.
 *
 * Keys and peers are asked from the server, so this may take as long as that does, and rejects when it fails.
 */
export async function completionOf(line: string, client: Client): Promise<Completion> {
  const words = wordsOf(line)
  const last = words.at(-1)
  const isAtNewWord = last === undefined || last.end < line.length
  const from = isAtNewWord ? line.length : last.start
  const typed = line.slice(from)
  const place = isAtNewWord ? words.length : words.length - 1
  if (place === 0) return { candidates: startingWith(typed, commands.map(withSpace)), from }
  const command = commandCalled(words[0]?.text)
  switch (command?.completes(place - 1)) {
    case 'key': {
      const { keys } = await client.keys({ prefix: typed, limit: keysOffered })
      return { candidates: keys.filter(isPlain).map((key) => `${key} `), from }
    }
    case 'peer': {
      const { peers } = await client.status()
      return {
        candidates: startingWith(
          typed,
          peers.map(({ id }) => `${id} `),
        ),
        from,
      }
    }
    case 'command':
      return {
        candidates: startingWith(
          typed,
          commands.map(({ name }) => name),
        ),
        from,
      }
    case undefined:
      return { candidates: [], from }
  }
}

/** The arguments that are still to come, to be shown after the line; undefined where there are none. */
export function hintFor(line: string): string | undefined {
  const words = wordsOf(line)
  const command = commandCalled(words[0]?.text)
  if (command === undefined || command.usage === '') return undefined
  const isAtNewWord = /\s$/.test(line)
  const given = words.length - 1
  const parameters = command.usage.split(' ')
  const rest = parameters.slice(given)
  // The last one may be given any number of times, or is all the rest of the line.
  if (rest.length === 0) return undefined
  return `${isAtNewWord ? '' : ' '}${rest.join(' ')}`
}

function commandCalled(name: string | undefined): Command | undefined {
  return commands.find((command) => command.name === name?.toLowerCase())
}

function withSpace({ name, usage }: Command): string {
  return usage === '' ? name : `${name} `
}

function startingWith(typed: string, candidates: readonly string[]): readonly string[] {
  return candidates.filter((candidate) => candidate.startsWith(typed))
}

/** Whether a key can be typed as it is. */
function isPlain(key: string): boolean {
  return isPrintable(key) && !/[\s"]/.test(key)
}
