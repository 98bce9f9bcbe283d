import type { HistoryLine, ReadLine, SeenVersion, TransactionPart } from '../../src/check/history-line.ts'
import type { Pattern } from '../../src/check/verdict.ts'

/**
 * A good history made bad, in one way that a broken store could have caused, and the patterns by which a checker has to find it
 * out.
 */
export interface HistoryEdit {
  readonly name: string
  /** One of these: which it is can depend on what a history happens to have. */
  readonly patterns: readonly Pattern[]
  /** @throws Error where the history has no place for it. */
  readonly make: (lines: readonly HistoryLine[]) => readonly HistoryLine[]
}

export const historyEdits: readonly HistoryEdit[] = [
  {
    name: 'two reads of different keys have their values swapped',
    patterns: ['ThinAirRead'],
    make: (lines) => {
      const first = place(lines, isReadOfValue)
      const second = place(lines, (line) => isReadOfValue(line) && line.key !== readAt(lines, first).key)
      return replaced(lines, [
        [first, withValueOf(readAt(lines, first), readAt(lines, second))],
        [second, withValueOf(readAt(lines, second), readAt(lines, first))],
      ])
    },
  },
  {
    name: 'a key is gone from the end of all servers',
    patterns: ['LostWrite'],
    make: (lines) => {
      const key = finalKeyOf(lines)
      return lines.filter((line) => line.op !== 'final' || line.key !== key)
    },
  },
  {
    name: 'one server ends with an older version of a key',
    patterns: ['DivergentFinal'],
    make: (lines) => {
      const at = place(lines, (line, index) => line.op === 'final' && olderWrite(lines, index) !== undefined)
      const final = lines[at] as Extract<HistoryLine, { op: 'final' }>
      const older = olderWrite(lines, at) as SeenWrite
      return replaced(lines, [[at, { ...final, ...older }]])
    },
  },
  {
    name: 'a session reads what it is going to write',
    patterns: ['CyclicCO'],
    make: (lines) => {
      const [write, read] = ownWriteAndRead(lines)
      const places = [lines[write], lines[read]].map((line) => (line as ReadLine).i)
      return replaced(lines, [
        [write, { ...(lines[write] as ReadLine), i: places[1] as number }],
        [read, { ...readAt(lines, read), i: places[0] as number }],
      ])
    },
  },
  {
    name: 'a session does not find what it has written',
    patterns: ['WriteCOInitRead'],
    make: (lines) => {
      const [, read] = ownWriteAndRead(lines)
      const { session, i, key } = readAt(lines, read)
      return replaced(lines, [[read, { session, i, op: 'read', key, ok: true }]])
    },
  },
  {
    name: 'a session goes back to what it had overwritten',
    // By the order of causes, where what was overwritten had been seen; by that of versions, where it was concurrent.
    patterns: ['WriteCORead', 'CyclicCF'],
    make: (lines) => {
      const [, read] = ownWriteAndRead(lines)
      const older = olderWrite(lines, read)
      if (older === undefined) throw new Error('a key was written once only')
      return replaced(lines, [[read, { ...readAt(lines, read), ...older }]])
    },
  },
  {
    name: 'of a batch, a reader of several keys finds one half',
    patterns: ['FracturedRead'],
    make: (lines) => {
      for (const [at, line] of lines.entries()) {
        if (line.op !== 'txn') continue
        const half = halfOfBatch(lines, line.ops)
        if (half !== undefined) return replaced(lines, [[at, { ...line, ops: half }]])
      }
      throw new Error('nobody has read a batch')
    },
  },
  {
    name: 'something is pushed that nobody wrote',
    patterns: ['ThinAirRead'],
    make: (lines) => {
      const at = place(lines, (line) => line.op === 'push' && typeof line.value === 'string')
      const push = lines[at] as Extract<HistoryLine, { op: 'push' }>
      return replaced(lines, [[at, { ...push, value: 'nobody-1' }]])
    },
  },
]

interface SeenWrite {
  readonly value: string
  readonly version: SeenVersion
}

function place(
  lines: readonly HistoryLine[],
  isWanted: (line: HistoryLine, index: number) => boolean,
): number {
  const index = lines.findIndex(isWanted)
  if (index === -1) throw new Error('this history has no place for that')
  return index
}

function replaced(
  lines: readonly HistoryLine[],
  changes: readonly (readonly [index: number, line: HistoryLine])[],
): readonly HistoryLine[] {
  const edited = [...lines]
  for (const [index, line] of changes) edited[index] = line
  return edited
}

function isReadOfValue(line: HistoryLine): line is ReadLine & SeenWrite {
  return line.op === 'read' && typeof line.value === 'string' && line.ok === true
}

function readAt(lines: readonly HistoryLine[], index: number): ReadLine & SeenWrite {
  return lines[index] as ReadLine & SeenWrite
}

function withValueOf(read: ReadLine, other: SeenWrite): HistoryLine {
  return { ...read, value: other.value }
}

function finalKeyOf(lines: readonly HistoryLine[]): string {
  const final = lines[place(lines, ({ op }) => op === 'final')]
  return (final as Extract<HistoryLine, { op: 'final' }>).key
}

/** A session that writes a key and then reads it, and finds its own value. */
function ownWriteAndRead(lines: readonly HistoryLine[]): readonly [write: number, read: number] {
  for (const [read, line] of lines.entries()) {
    if (!isReadOfValue(line)) continue
    const write = lines.findIndex(
      (other) => other.op === 'write' && other.session === line.session && other.value === line.value,
    )
    if (write !== -1 && olderWrite(lines, read) !== undefined) return [write, read]
  }
  throw new Error('nobody has read what they wrote')
}

/** An acknowledged write of the key of a line, with a lower version than that line has. */
function olderWrite(lines: readonly HistoryLine[], index: number): SeenWrite | undefined {
  const { key, version } = lines[index] as TransactionPart
  return version === undefined || version === null ? undefined : olderThan(lines, key, version)
}

function olderThan(lines: readonly HistoryLine[], key: string, version: SeenVersion): SeenWrite | undefined {
  for (const line of lines) {
    if (line.op !== 'write' || line.key !== key || line.ok !== true) continue
    const { value, version: own } = line
    if (own !== undefined && own !== null && own[0] < version[0]) return { value, version: own }
  }
  return undefined
}

/** What a read of two keys of one batch would be, had it found one of them only. */
function halfOfBatch(
  lines: readonly HistoryLine[],
  parts: readonly TransactionPart[],
): readonly TransactionPart[] | undefined {
  for (const [at, part] of parts.entries()) {
    const { op, key, version } = part
    if (op !== 'read' || version === undefined || version === null) continue
    const isBatch = parts.some((other) => other !== part && other.version?.join('@') === version.join('@'))
    const older = isBatch ? olderThan(lines, key, version) : undefined
    if (older !== undefined) return parts.with(at, { op, key, ...older })
  }
  return undefined
}
