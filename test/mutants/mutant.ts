import type { Faults } from '../simulation/faults.ts'
import type { Workload } from '../simulation/workload.ts'

/**
 * A wrong protocol: the sources with one edit, which breaks one rule.
 *
 * The simulator has to find it out. One that it does not find out shows that a check is missing, or a fault, or that
 * nobody asks for what it gets wrong.
 */
export interface Mutant {
  /** What it does wrong, in a few words; no two have the same. */
  readonly name: string
  /** The rule that it breaks, as docs/architecture.md counts them. */
  readonly rule: string
  /** What somebody who wrote this would have overlooked, and what comes of it. */
  readonly why: string
  /** Path of the edited file, from the root of the repository. */
  readonly file: string
  /** What is replaced. It occurs exactly once in the file, or the mutant is stale. */
  readonly find: string
  readonly replace: string
  /** What has to go wrong for it to show soon. What is not given is drawn from the seed, as always. */
  readonly faults?: Partial<Faults>
  /** What clients have to do for it to show soon. */
  readonly workload?: Partial<Workload>
}
