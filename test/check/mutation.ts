import type { HistoryLine, SeenVersion } from '../../src/check/history-line.ts'
import type { Random } from '../durability/random.ts'

/** A history in which some lines say something else than they did; it may still be fine. */
export function mutated(lines: readonly HistoryLine[], random: Random, count: number): HistoryLine[] {
  const result = structuredClone(lines) as Changeable[]
  for (let done = 0; done < count && result.length > 0; done++) random.oneOf(mutations)(result, random)
  return result as HistoryLine[]
}

/** A line, or a part of one, of which anything can be changed. */
interface Changeable {
  op: HistoryLine['op']
  session?: string
  i?: number
  key?: string
  value?: string
  version?: SeenVersion
  ok?: boolean | null
  ops?: Changeable[]
}

type Mutation = (lines: Changeable[], random: Random) => void

const mutations: readonly Mutation[] = [
  /** Something is seen as something else was seen, mostly of the same key. */
  (lines, random) => {
    const sightings = partsOf(lines).filter(({ op }) => op === 'read' || op === 'push' || op === 'final')
    if (sightings.length === 0) return
    const sighting = random.oneOf(sightings)
    const others = partsOf(lines).filter(
      ({ key, version }) => version !== undefined && (key === sighting.key || random.chance(0.05)),
    )
    if (others.length === 0) return
    const { value, version } = random.oneOf(others)
    set(sighting, { value, version })
  },
  /** A read finds nothing. */
  (lines, random) => {
    const reads = partsOf(lines).filter(({ op }) => op === 'read')
    if (reads.length > 0) set(random.oneOf(reads), { value: undefined, version: undefined })
  },
  /** An update has another timestamp, wherever it is named. */
  (lines, random) => {
    const versions = versionsOf(lines)
    if (versions.length === 0) return
    const [timestamp, origin] = random.oneOf(versions)
    const other = Math.max(1, timestamp + random.between(-3, 3))
    for (const part of [...partsOf(lines), ...lines]) {
      if (part.version?.[0] === timestamp && part.version[1] === origin) part.version = [other, origin]
    }
  },
  /** One line has another timestamp. */
  (lines, random) => {
    const parts = partsOf(lines).filter(({ version }) => version !== undefined)
    if (parts.length === 0) return
    const part = random.oneOf(parts)
    const [timestamp, origin] = part.version as SeenVersion
    part.version = [Math.max(1, timestamp + random.between(-2, 2)), origin]
  },
  /** Two lines of a session change places. */
  (lines, random) => {
    const line = random.oneOf(lines)
    const other = random.oneOf(lines.filter(({ session }) => session === line.session))
    const { i } = line
    if (i === undefined || other.i === undefined) return
    line.i = other.i
    other.i = i
  },
  /** A line belongs to another session. */
  (lines, random) => {
    const line = random.oneOf(lines)
    const { session } = random.oneOf(lines)
    if (line.session === undefined || session === undefined) return
    line.session = session
    line.i = random.between(1_000, 1_000_000_000)
  },
  /** Nobody knows whether a write happened, or it certainly did not. */
  (lines, random) => {
    const updates = lines.filter((line) => line.ok === true && writingParts(line).length > 0)
    if (updates.length === 0) return
    const line = random.oneOf(updates)
    line.ok = random.oneOf([null, null, false])
    for (const part of writingParts(line)) set(part, { value: part.value, version: undefined })
  },
  /** A write becomes a deletion of unknown outcome. */
  (lines, random) => {
    const writes = lines.filter(({ op }) => op === 'write')
    if (writes.length === 0) return
    const line = random.oneOf(writes)
    line.op = 'delete'
    line.ok = null
    const { value } = line
    for (const part of partsOf(lines)) {
      if (part !== line && part.value === value && random.chance(0.9))
        set(part, { value: undefined, version: part.version })
    }
    set(line, { value: undefined, version: undefined })
  },
  /** A line is missing. */
  (lines, random) => {
    lines.splice(random.between(0, lines.length - 1), 1)
  },
  /** Something was done to another key. */
  (lines, random) => {
    const parts = partsOf(lines).filter(({ key }) => key !== undefined)
    if (parts.length === 0) return
    random.oneOf(parts).key = random.oneOf(parts).key as string
  },
]

function set(
  part: Changeable,
  seen: { readonly value: string | undefined; readonly version: SeenVersion | undefined },
): void {
  delete part.value
  delete part.version
  if (seen.value !== undefined) part.value = seen.value
  if (seen.version !== undefined) part.version = seen.version
}

function partsOf(lines: readonly Changeable[]): Changeable[] {
  return lines.flatMap((line) => line.ops ?? [line])
}

function writingParts(line: Changeable): Changeable[] {
  return (line.ops ?? [line]).filter(({ op }) => op === 'write' || op === 'delete')
}

function versionsOf(lines: readonly Changeable[]): SeenVersion[] {
  return partsOf(lines).flatMap(({ version }) => (version === undefined ? [] : [version]))
}
