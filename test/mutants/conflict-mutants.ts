import type { Mutant } from './mutant.ts'

const keySpace = 'src/replica/key-space.ts'
const matrix = 'src/replica/known-matrix.ts'

/** Who wins, and what is a conflict (R4, R5). */
export const conflictMutants: readonly Mutant[] = [
  {
    name: 'order by arrival',
    rule: 'R4',
    why: 'Of two concurrent writes the one that came last is the value, which is another one at every server.',
    file: keySpace,
    find: 'after = [written, ...rest].toSorted(byVersionDownwards) as unknown as HeldSiblings',
    replace: 'after = [written, ...rest] as unknown as HeldSiblings',
  },
  {
    name: 'tie ignored',
    rule: 'R4',
    why: 'Of two writes with one timestamp the one that came first wins: origins are not compared.',
    file: 'src/replica/version.ts',
    find: 'return a.origin < b.origin ? -1 : a.origin > b.origin ? 1 : 0',
    replace: 'return 0',
  },
  {
    name: 'the lowest version wins',
    rule: 'R4',
    why: 'The order is turned round.',
    file: keySpace,
    find: 'return compareVersions(b.version, a.version)',
    replace: 'return compareVersions(a.version, b.version)',
  },
  {
    name: 'the last writer silences the others',
    rule: 'R5',
    why: 'Whatever is overwritten counts as seen, and the losing write of a conflict vanishes without trace.',
    file: keySpace,
    find: 'const rest = before.filter((sibling) => !overwrites(sibling.version))',
    replace: 'const rest: HeldSibling[] = []',
  },
  {
    name: 'a conflict is never settled',
    rule: 'R5',
    why: 'Somebody who has seen all siblings writes the key, and they stay.',
    file: keySpace,
    find: 'const rest = before.filter((sibling) => !overwrites(sibling.version))',
    replace: 'const rest = before.filter((sibling) => !overwrites(sibling.version) || before.length > 1)',
  },
  {
    name: 'seen by timestamp',
    rule: 'R5',
    why: 'A lower timestamp is taken for seen, and concurrent writes for overwritten.',
    file: matrix,
    find: 'version.origin === origin ? version.timestamp <= previous : covers(row, version))',
    replace:
      'version.origin === origin ? version.timestamp <= previous : version.timestamp < update.timestamp)',
  },
  {
    name: 'the own entry is not previous',
    rule: 'R5',
    why: 'A row has no entry for its own origin, so a server never overwrites its own earlier write.',
    file: matrix,
    find: 'version.origin === origin ? version.timestamp <= previous : covers(row, version))',
    replace: 'covers(row, version))',
  },
  {
    name: 'rows not summed up',
    rule: 'R5',
    why: 'A row is what the last update says, and not what all before it have said.',
    file: matrix,
    find: '    const row = this.#rowOf(origin)\n    for (const [other, timestamp] of dependenciesOf(update))',
    replace:
      '    this.#rows.delete(origin)\n    const row = this.#rowOf(origin)\n    for (const [other, timestamp] of dependenciesOf(update))',
  },
  {
    name: 'a deletion takes all siblings along',
    rule: 'R5',
    why: 'A tombstone is no sibling like any other: it removes what its writer had not seen.',
    file: keySpace,
    find: 'if (before !== undefined && (before.length > 1 || !overwrites(before[0].version))) {',
    replace:
      'if (write.deleted !== true && before !== undefined && (before.length > 1 || !overwrites(before[0].version))) {',
  },
]
