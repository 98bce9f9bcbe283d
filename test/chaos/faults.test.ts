import { describe, expect, it } from 'vitest'
import { Random } from '../durability/random.ts'
import { allFaultKinds, faultsOfRound, type Fault } from './faults.ts'
import { linksOf } from './network.ts'

const ids = ['1', '2', '3']

function drawn(seed: number, rounds: number): readonly (readonly Fault[])[] {
  const random = new Random(seed)
  return Array.from({ length: rounds }, () =>
    faultsOfRound({ random, kinds: allFaultKinds, ids, links: linksOf(ids) }),
  )
}

describe('the faults of a run', () => {
  it('are the same for the same seed, and others for another', () => {
    expect(drawn(1, 20)).toEqual(drawn(1, 20))
    expect(drawn(1, 20)).not.toEqual(drawn(2, 20))
  })

  it('are of every kind, before long', () => {
    const kinds = new Set(drawn(1, 400).flatMap((faults) => faults.map(({ kind }) => kind)))
    expect([...kinds].toSorted()).toEqual(allFaultKinds.toSorted())
  })

  it('leave a server whose disk is lost to itself: nothing else then destroys what others have', () => {
    for (const faults of drawn(1, 400)) {
      const isAboutDisks = faults.some(({ kind }) => kind === 'wipe' || kind === 'restore')
      if (isAboutDisks) expect(faults).toHaveLength(1)
    }
  })
})
