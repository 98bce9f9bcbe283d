/**
 * Whether a stream gets colours, and how many.
 *
 * The most deliberate wish wins: `--color` or `--no-color`, then `NO_COLOR`, then `FORCE_COLOR`, then what the stream says
 * of itself. Each stream is asked for itself: with `tidings … > file` the errors on the terminal keep their colours and the
 * file stays plain. chalk's own guess is not used, because it ignores `NO_COLOR` on a terminal.
 */
import { Chalk } from 'chalk'
import type { ChalkInstance, ColorSupportLevel } from 'chalk'

/** What is asked of an output stream; `process.stdout` and `process.stderr` fit. */
export type ColourStream = {
  readonly isTTY?: boolean
  hasColors?(count: number, env: object): boolean
}

export type ColourWish = {
  /** `true` for `--color`, `false` for `--no-color`, absent when neither was given. */
  readonly flag?: boolean | undefined
  readonly env: Readonly<Record<string, string | undefined>>
}

/** A chalk for one stream, at the level that {@link colourLevel} decides. */
export function chalkFor(stream: ColourStream, wish: ColourWish): ChalkInstance {
  return new Chalk({ level: colourLevel(stream, wish) })
}

/**
 * Decides the colours of one stream: 0 none, 1 for 16 colours, 2 for 256, 3 for 16 million.
 *
 * `NO_COLOR` counts whenever it is not empty (https://no-color.org). `FORCE_COLOR` likewise; its values 2 and 3 choose a
 * level, `0` and `false` switch colours off, anything else means 16 colours.
 */
export function colourLevel(stream: ColourStream, { flag, env }: ColourWish): ColorSupportLevel {
  if (flag === false) return 0
  const forced = forcedLevel(env['FORCE_COLOR'])
  // Who types --color wants some colour even in a file, and never fewer than the terminal has.
  if (flag === true) return (forced ?? 0) > 0 ? (forced ?? 1) : ownLevel(stream, env) || 1
  if (isSet(env['NO_COLOR'])) return 0
  return forced ?? ownLevel(stream, env)
}

function forcedLevel(value: string | undefined): ColorSupportLevel | undefined {
  if (!isSet(value)) return undefined
  switch (value) {
    case '0':
    case 'false':
      return 0
    case '2':
      return 2
    case '3':
      return 3
    default:
      return 1
  }
}

function ownLevel(stream: ColourStream, env: ColourWish['env']): ColorSupportLevel {
  if (stream.isTTY !== true) return 0
  if (stream.hasColors === undefined) return env['TERM'] === 'dumb' ? 0 : 1
  // Node's answer mixes these two in by rules of its own; they have been judged above.
  const { NO_COLOR: _no, FORCE_COLOR: _force, ...terminal } = env
  if (stream.hasColors(2 ** 24, terminal)) return 3
  if (stream.hasColors(2 ** 8, terminal)) return 2
  return stream.hasColors(2 ** 4, terminal) ? 1 : 0
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== ''
}
