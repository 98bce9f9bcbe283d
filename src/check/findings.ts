import type { Violation } from './verdict.ts'

/** Collects violations, keeps the smallest, and words only those that are asked for. */
export class Findings {
  readonly #kept: Finding[] = []
  #found = 0

  get found(): number {
    return this.#found
  }

  /** Whether more findings of which the size has to be searched for would help anybody. */
  get hasEnough(): boolean {
    return this.#kept.length >= keptMax
  }

  add(finding: Finding): void {
    this.#found++
    if (!this.hasEnough) this.#kept.push(finding)
  }

  /** Counts a violation that is not looked at any closer. */
  count(): void {
    this.#found++
  }

  /** The smallest, and of equal size those that come first in the history. */
  smallest(count: number): readonly Violation[] {
    return this.#kept
      .toSorted((a, b) => a.size - b.size || a.line - b.line)
      .slice(0, count)
      .map(({ word }) => word())
  }
}

export interface Finding {
  /** The number of steps that show it. */
  readonly size: number
  /** The last line of those. */
  readonly line: number
  readonly word: () => Violation
}

/** A store that is wrong is wrong thousands of times; people read the smallest of the first thousand. */
const keptMax = 1_000
