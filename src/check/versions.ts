import { Column } from './column.ts'
import type { SeenVersion } from './history-line.ts'
import { Names } from './names.ts'

/**
 * Numbers versions from 0 on, and knows their order: by timestamp, then by origin in code units. It is the order in
 * which conflicting writes win, and the one that the checker pins.
 */
export class Versions {
  readonly #origins = new Names()
  readonly #numbers: Map<number, number>[] = []
  readonly #timestamps: number[] = []
  readonly #originOf = new Column()

  get size(): number {
    return this.#timestamps.length
  }

  numberOf([timestamp, origin]: SeenVersion): number {
    const originNumber = this.#origins.numberOf(origin)
    const numbers = (this.#numbers[originNumber] ??= new Map<number, number>())
    let number = numbers.get(timestamp)
    if (number === undefined) {
      number = this.#timestamps.length
      numbers.set(timestamp, number)
      this.#timestamps.push(timestamp)
      this.#originOf.push(originNumber)
    }
    return number
  }

  versionOf(number: number): SeenVersion {
    return [this.#timestamps[number] as number, this.#origins.nameOf(this.#originOf.get(number))]
  }

  /** @returns whether version `a` is above version `b`; both by number. */
  isAbove(a: number, b: number): boolean {
    if (a === b) return false
    const difference = (this.#timestamps[a] as number) - (this.#timestamps[b] as number)
    if (difference !== 0) return difference > 0
    return this.#origins.nameOf(this.#originOf.get(a)) > this.#origins.nameOf(this.#originOf.get(b))
  }
}
