import { assert, integer, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkHistory } from '../../src/check/check-history.ts'
import { HistoryFault, type HistoryLine } from '../../src/check/history-line.ts'
import type { Pattern } from '../../src/check/verdict.ts'
import { Random } from '../durability/random.ts'
import { violationsByDefinition, type DefinedViolation } from './definition-checker.ts'
import { modelHistory } from './model-store.ts'
import { mutated } from './mutation.ts'
import { randomHistory } from './random-history.ts'
import { unfounded } from './step-grounds.ts'

/** What the checker finds, as the definitions tell it; undefined where it says that this is no history. */
function violationsFound(lines: readonly HistoryLine[]): readonly DefinedViolation[] | undefined {
  try {
    const { violations, found } = checkHistory(lines, { violationsMax: Infinity })
    expect(violations).toHaveLength(found)
    for (const { steps } of violations) expect(unfounded(steps)).toEqual([])
    return violations.map(({ pattern, steps }): DefinedViolation => {
      const isOfOneLine = !['ThinAirRead', 'CyclicCO', 'DivergentFinal', 'LostWrite'].includes(pattern)
      const hasSize = isOfOneLine || pattern === 'CyclicCO'
      return { pattern, line: isOfOneLine ? (steps.at(-1)?.line ?? 0) : 0, size: hasSize ? steps.length : 0 }
    })
  } catch (error) {
    if (error instanceof HistoryFault) return undefined
    throw error
  }
}

/** Compares the two checkers on many histories. @returns how often each pattern occurred. */
function compare(
  runs: number,
  historyOf: (seed: number) => readonly HistoryLine[],
): ReadonlyMap<Pattern, number> {
  const counts = new Map<Pattern, number>()
  assert(
    property(integer({ min: 1, max: 2 ** 31 }), (seed) => {
      const lines = historyOf(seed)
      const found = violationsFound(lines)
      if (found === undefined) return
      expect(inOrder(found)).toEqual(inOrder(violationsByDefinition(lines)))
      for (const { pattern } of found) counts.set(pattern, (counts.get(pattern) ?? 0) + 1)
    }),
    { seed: 20_170_118, numRuns: runs },
  )
  return counts
}

/** Of what is said in several ways, only that it is said. */
function inOrder(violations: readonly DefinedViolation[]): readonly string[] {
  const told = violations.map(({ pattern, line, size }) => `${pattern} line ${line} size ${size}`)
  const isOnce = (text: string, index: number): boolean =>
    !text.startsWith('ThinAirRead') || told.indexOf(text) === index
  return told.filter(isOnce).sort()
}

const everyPattern: readonly Pattern[] = [
  'ThinAirRead',
  'CyclicCO',
  'WriteCOInitRead',
  'WriteCORead',
  'CyclicCF',
  'FracturedRead',
  'DivergentFinal',
  'LostWrite',
]

describe('the checker and the definitions', () => {
  it('agree on the histories of a causal store that somebody has tampered with', () => {
    const counts = compare(1_500, (seed) => {
      const random = new Random(seed)
      const lines = smallModelHistory(random)
      return mutated(lines, random, random.between(1, 4))
    })
    for (const pattern of everyPattern)
      expect([pattern, (counts.get(pattern) ?? 0) > 20]).toEqual([pattern, true])
  })

  it('agree on histories that nothing but chance has made', () => {
    const counts = compare(2_500, (seed) => randomHistory(new Random(seed)))
    for (const pattern of everyPattern)
      expect([pattern, (counts.get(pattern) ?? 0) > 20]).toEqual([pattern, true])
  })

  it('agree that the histories of a causal store are fine', () => {
    const counts = compare(500, (seed) => smallModelHistory(new Random(seed)))
    expect([...counts]).toEqual([])
  })
})

function smallModelHistory(random: Random): HistoryLine[] {
  return modelHistory({
    seed: random.between(1, 2 ** 31),
    servers: random.between(1, 3),
    sessions: random.between(1, 4),
    keys: random.between(1, 3),
    steps: random.between(4, 30),
    lossChance: random.oneOf([0, 0.05]),
    replicationChance: random.within(0, 0.8),
    pushesMax: random.between(1, 5),
  })
}
