import type { Output } from '../../src/replica/output.ts'
import type { Chronicle, Fact } from './chronicle.ts'
import { nameOf } from './chronicle.ts'
import type { Violations } from './violations.ts'
import type { VirtualTime } from './virtual-time.ts'

/**
 * What a crash may cost a process that lets everything leave at once (R6): nothing is shown that has not been on its disk
 * for longer than that.
 */
export class UnsavedAudit {
  readonly #world: {
    readonly chronicle: Chronicle
    readonly time: VirtualTime
    readonly violations: Violations
  }
  readonly #appliedMs = new Map<Fact, number>()

  constructor(world: {
    readonly chronicle: Chronicle
    readonly time: VirtualTime
    readonly violations: Violations
  }) {
    this.#world = world
  }

  step({ persist }: Output): void {
    const { chronicle, time } = this.#world
    for (const { update } of persist) {
      const fact = chronicle.find(update)
      if (fact !== undefined) this.#appliedMs.set(fact, time.nowMs)
    }
  }

  /** Something leaves that shows an update, which is not on the disk. What came with a snapshot is not looked at. */
  shown(fact: Fact, where: string): void {
    const { time, violations } = this.#world
    const unsavedMs = time.nowMs - (this.#appliedMs.get(fact) ?? time.nowMs)
    if (unsavedMs <= unsavedMsMax) return
    const what = `${nameOf(fact.update)} is shown in ${where}`
    violations.add('R6', `${what}, and has not been on its asynchronous disk for ${Math.round(unsavedMs)} ms`)
  }
}

/** A second, and a slice of the loop. */
const unsavedMsMax = 1_050
