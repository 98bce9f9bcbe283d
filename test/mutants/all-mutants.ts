import { catchUpMutants } from './catch-up-mutants.ts'
import { causalityMutants } from './causality-mutants.ts'
import { conflictMutants } from './conflict-mutants.ts'
import { durabilityMutants } from './durability-mutants.ts'
import { identityMutants } from './identity-mutants.ts'
import type { Mutant } from './mutant.ts'
import { sessionMutants } from './session-mutants.ts'
import { snapshotMutants } from './snapshot-mutants.ts'
import { watchMutants } from './watch-mutants.ts'

/** All wrong protocols that the simulator has to find out, by the rules that they break. */
export const allMutants: readonly Mutant[] = [
  ...causalityMutants,
  ...conflictMutants,
  ...durabilityMutants,
  ...identityMutants,
  ...catchUpMutants,
  ...snapshotMutants,
  ...sessionMutants,
  ...watchMutants,
]
