import type { EventLine, HistoryLine, SeenVersion, TransactionPart } from '../../src/check/history-line.ts'
import type { Random } from '../durability/random.ts'
import { seen, updatePart } from './parts.ts'

/**
 * A small history that nothing holds together, but that what is seen was written, mostly.
 *
 * Each history has a style of its own: how many sessions and keys, how many deletions, pushes and unknown outcomes. So
 * what needs many of one kind together comes about as well.
 */
export function randomHistory(random: Random): HistoryLine[] {
  const style = randomStyle(random)
  const written: Seen[] = []
  const lines: EventLine[] = []
  let timestamp = 0
  for (let number = 0; number < style.events; number++) {
    const place = { session: random.oneOf(style.sessions), i: number }
    if (random.chance(style.updateChance)) {
      // Mostly rising, as in a store that is nearly right.
      timestamp = Math.max(1, timestamp + (random.chance(style.disorderChance) ? -random.between(0, 3) : 1))
      lines.push(randomUpdate(random, style, { place, name: `v${number}`, timestamp, written }))
    } else {
      lines.push(randomObservation(random, style, place, written))
    }
  }
  if (random.chance(style.disorderChance)) takeFromTheFuture(random, lines, written)
  return [...lines, ...(random.chance(0.5) ? randomEnd(random, style, written) : [])]
}

interface Style {
  readonly events: number
  readonly sessions: readonly string[]
  readonly keys: readonly string[]
  readonly updateChance: number
  readonly deletionChance: number
  readonly unknownChance: number
  readonly pushChance: number
  readonly batchChance: number
  /** Of all that is wrong: old values, nothing where something is, versions that fall. */
  readonly disorderChance: number
}

interface Place {
  readonly session: string
  readonly i: number
}

interface Seen {
  readonly key: string
  readonly value?: string
  readonly version: SeenVersion
}

function randomStyle(random: Random): Style {
  return {
    events: random.between(3, 26),
    sessions: names('s', random.between(1, 6)),
    keys: names('k', random.between(1, 4)),
    updateChance: random.within(0.3, 0.6),
    deletionChance: random.oneOf([0, 0.3, 0.9]),
    unknownChance: random.oneOf([0, 0.2, 0.7]),
    pushChance: random.oneOf([0, 0.2, 0.7]),
    batchChance: random.oneOf([0, 0.3, 0.7]),
    disorderChance: random.oneOf([0.05, 0.2, 0.6]),
  }
}

function names(letter: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${letter}${index + 1}`)
}

function randomUpdate(
  random: Random,
  style: Style,
  options: {
    readonly place: Place
    readonly name: string
    readonly timestamp: number
    readonly written: Seen[]
  },
): EventLine {
  const { place, name, timestamp, written } = options
  const version: SeenVersion = [timestamp, random.oneOf(['a', 'b', 'c'])]
  const ok = random.chance(style.unknownChance) ? null : !random.chance(0.05)
  const chosen = random.chance(style.batchChance)
    ? random.shuffled(style.keys).slice(0, 3)
    : [random.oneOf(style.keys)]
  const parts = chosen.map((key, index): TransactionPart => {
    const value = random.chance(style.deletionChance) ? undefined : `${name}.${index}`
    if (ok !== false || random.chance(0.2)) written.push({ key, ...seen(value, version) })
    return updatePart(key, value, ok === true ? version : undefined)
  })
  return eventOf(place, parts, ok)
}

function randomObservation(random: Random, style: Style, place: Place, written: readonly Seen[]): EventLine {
  const told = random.chance(style.pushChance) ? written.at(-random.between(1, 6)) : undefined
  if (told !== undefined) return { ...place, op: 'push', ...told, ok: true }
  const chosen = random.chance(style.batchChance) ? style.keys : [random.oneOf(style.keys)]
  return eventOf(
    place,
    chosen.map((key) => randomPart(random, style, key, written)),
    true,
  )
}

function randomPart(random: Random, style: Style, key: string, written: readonly Seen[]): TransactionPart {
  const candidates = written.filter((seen) => seen.key === key)
  if (candidates.length === 0 || random.chance(style.disorderChance / 4)) return { op: 'read', key }
  const seen = random.chance(style.disorderChance) ? random.oneOf(candidates) : highestOf(candidates)
  return { op: 'read', ...seen }
}

/** A read shows what is written further down. */
function takeFromTheFuture(random: Random, lines: EventLine[], written: readonly Seen[]): void {
  const number = random.between(0, lines.length - 1)
  const line = lines[number]
  if (line === undefined || line.op !== 'read' || written.length === 0) return
  lines[number] = { session: line.session, i: line.i, op: 'read', ...random.oneOf(written), ok: true }
}

function randomEnd(random: Random, style: Style, written: readonly Seen[]): HistoryLine[] {
  const lines: HistoryLine[] = []
  for (const key of style.keys) {
    const candidates = written.filter((seen) => seen.key === key)
    if (candidates.length === 0) continue
    const highest = highestOf(candidates)
    const agreed = random.chance(0.8) ? highest : random.oneOf(candidates)
    for (const server of ['1', '2']) {
      const end = random.chance(style.disorderChance / 4) ? random.oneOf(candidates) : agreed
      lines.push({ op: 'final', server, ...end })
    }
    if (random.chance(0.1)) lines.push({ op: 'lost', version: highest.version })
  }
  return lines
}

function highestOf(seen: readonly Seen[]): Seen {
  return seen.reduce((a, b) => (b.version[0] >= a.version[0] ? b : a))
}

function eventOf(place: Place, parts: readonly TransactionPart[], ok: boolean | null): EventLine {
  if (parts.length > 1) return { ...place, op: 'txn', ops: parts, ok }
  return { ...place, ...(parts[0] as TransactionPart), ok } as EventLine
}
