import type { EventLine, HistoryLine, SeenVersion, TransactionPart } from '../../src/check/history-line.ts'
import type { Random } from '../durability/random.ts'

/** A small history that nothing holds together but that mostly something is seen that somebody wrote. */
export function randomHistory(random: Random): HistoryLine[] {
  const sessions = Array.from({ length: random.between(1, 4) }, (_, index) => `s${index + 1}`)
  const keys = Array.from({ length: random.between(1, 3) }, (_, index) => `k${index + 1}`)
  const clock = { timestamp: 0 }
  const lines: HistoryLine[] = []
  const written: Seen[] = []
  const places = random.shuffled(Array.from({ length: random.between(2, 14) }, (_, index) => index))
  for (const [index, i] of places.entries()) {
    const place = { session: random.oneOf(sessions), i }
    if (random.chance(0.5)) {
      lines.push(randomUpdate(random, { place, keys, name: `v${index}`, clock, written }))
    } else {
      lines.push({ ...place, op: 'read', key: '', ok: true })
    }
  }
  const seen = lines.map((line) => {
    if (line.op !== 'read') return line
    return randomObservation(random, { session: line.session, i: line.i }, keys, written)
  })
  if (random.chance(0.5)) seen.push(...randomEnd(random, keys, written))
  return seen
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

function randomUpdate(
  random: Random,
  options: {
    readonly place: Place
    readonly keys: readonly string[]
    readonly name: string
    readonly clock: { timestamp: number }
    readonly written: Seen[]
  },
): EventLine {
  const { place, keys, name, clock, written } = options
  // Mostly rising, as in a store that is nearly right.
  clock.timestamp = Math.max(1, clock.timestamp + random.oneOf([1, 1, 1, 1, 0, -2]))
  const version: SeenVersion = [clock.timestamp, random.oneOf(['a', 'b', 'c'])]
  const ok = random.oneOf([true, true, true, true, null, null, false])
  const chosen = random.chance(0.3) ? random.shuffled(keys).slice(0, 2) : [random.oneOf(keys)]
  const parts = chosen.map((key, index): TransactionPart => {
    const value = random.chance(0.3) ? undefined : `${name}.${index}`
    if (ok !== false || random.chance(0.2))
      written.push({ key, version, ...(value === undefined ? {} : { value }) })
    return {
      op: value === undefined ? 'delete' : 'write',
      key,
      ...(value === undefined ? {} : { value }),
      ...(ok === true ? { version } : {}),
    }
  })
  if (parts.length > 1) return { ...place, op: 'txn', ops: parts, ok }
  return { ...place, ...(parts[0] as TransactionPart), ok } as EventLine
}

function randomObservation(
  random: Random,
  place: Place,
  keys: readonly string[],
  written: readonly Seen[],
): EventLine {
  if (random.chance(0.25)) {
    const told = written.length === 0 ? undefined : random.oneOf(written)
    if (told !== undefined) return { ...place, op: 'push', ...told, ok: true }
  }
  const chosen = random.chance(0.3) ? keys : [random.oneOf(keys)]
  const parts = chosen.map((key): TransactionPart => {
    const candidates = written.filter((seen) => seen.key === key)
    if (candidates.length === 0 || random.chance(0.1)) return { op: 'read', key }
    return { op: 'read', ...random.oneOf(candidates) }
  })
  if (parts.length > 1) return { ...place, op: 'txn', ops: parts, ok: true }
  return { ...place, ...(parts[0] as TransactionPart), ok: true } as EventLine
}

function randomEnd(random: Random, keys: readonly string[], written: readonly Seen[]): HistoryLine[] {
  const lines: HistoryLine[] = []
  for (const key of keys) {
    const candidates = written
      .filter((seen) => seen.key === key)
      .toSorted((a, b) => b.version[0] - a.version[0])
    const [highest] = candidates
    if (highest === undefined) continue
    const agreed = random.chance(0.8) ? highest : random.oneOf(candidates)
    for (const server of ['1', '2']) {
      const end = random.chance(0.1) ? random.oneOf(candidates) : agreed
      lines.push({ op: 'final', server, ...end })
    }
    if (random.chance(0.1)) lines.push({ op: 'lost', version: highest.version })
  }
  return lines
}
