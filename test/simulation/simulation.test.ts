import { describe, expect, it } from 'vitest'
import { carryOut, traceOf } from './seed-worker.ts'
import { noFaults } from './faults.ts'
import { shrink, wordsFor } from './shrink.ts'
import { simulate } from './simulation.ts'

/**
 * The simulator in small; `npm run simulate -- --seeds 10000` is the same at length. A failure names its seed, and
 * `npm run simulate -- --seed N` repeats it.
 */
describe('servers under faults that a seed draws', () => {
  it('keep every rule, in thirty runs of 2,000 requests each', async () => {
    const tally = await carryOut({ from: 1, count: 30, options: {}, isTwice: false })
    expect(tally.failures).toEqual([])
    expect(tally.operations).toBeGreaterThan(55_000)
  }, 300_000)

  it('answer all that is asked of them where nothing goes wrong', async () => {
    const workload = { operations: 600, patienceMs: 60_000, hopChance: 0.2 }
    const report = await simulate({ seed: 7, faults: noFaults, workload })
    expect(report.violations).toEqual([])
    expect(report.operations).toBe(600)
    expect(report.history.filter((line) => 'ok' in line && line.ok !== true)).toEqual([])
  })
})

describe('a run', () => {
  it('is the same to the last byte when its seed is run again', async () => {
    for (let seed = 101; seed <= 103; seed++) {
      const options = { seed, workload: { operations: 500 } }
      const trace = await traceOf(options)
      expect(trace.length).toBeGreaterThan(10_000)
      expect(await traceOf(options)).toBe(trace)
    }
  }, 120_000)

  it('is made again by what its report says was drawn for it', async () => {
    const workload = { operations: 300 }
    const { faults, workload: drawn } = await simulate({ seed: 5, workload })
    expect(await traceOf({ seed: 5, faults, workload: drawn })).toBe(await traceOf({ seed: 5, workload }))
  })

  it('is not made smaller where no smaller one breaks its rule, and is told in words that repeat it', async () => {
    const report = await simulate({ seed: 11, workload: { operations: 200, clients: 5 } })
    const unbroken = await shrink({ ...report, violations: ['R0: made up'] })
    expect(unbroken.workload).toEqual(report.workload)
    expect(wordsFor(report)).toMatch(
      /^--seed 11 --faults \S+ --operations 200 --servers \d --clients 5 --watchers \d$/u,
    )
  }, 120_000)
})
