import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { simulate } from '../simulation/simulation.ts'
import { allMutants } from './all-mutants.ts'
import { CompiledSources } from './compiled-sources.ts'
import { killingSeeds } from './killing-seeds.ts'
import { runTrial } from './trial.ts'

describe('the mutants', () => {
  let sources: CompiledSources

  beforeAll(async () => {
    sources = await CompiledSources.compile()
  })

  afterAll(async () => {
    await sources.remove()
  })

  it('fit the sources as they are', () => {
    expect(sources.stale(allMutants)).toEqual([])
  })

  it('have names of their own, and each a seed that finds it out', () => {
    expect([...killingSeeds.keys()]).toEqual(allMutants.map(({ name }) => name))
  })

  it('are the only ones that are found out: their sources without an edit are not', async () => {
    const seeds = [...killingSeeds.values()].slice(0, 5)
    const outcome = await runTrial(await sources.copy(), { seeds, faults: {}, workload: {} })
    expect(outcome).toEqual({ kind: 'survived' })
  })

  describe.each(allMutants)('$rule: $name', ({ name, faults = {}, workload = {}, ...edit }) => {
    const seed = killingSeeds.get(name) ?? 1

    it('is found out', async () => {
      const program = await sources.copy({ name, ...edit })
      const outcome = await runTrial(program, { seeds: [seed], faults, workload })
      expect(outcome).toMatchObject({ kind: expect.stringMatching(/^(violation|exception)$/), seed })
    })

    it('is found out by what it does: the same run without it keeps every rule', async () => {
      const { violations } = await simulate({ seed, faults, workload })
      expect(violations).toEqual([])
    })
  })
})
