/** A growing list of 32-bit integers: a million of them are four megabytes, and reading one is reading one. */
export class Column {
  #values: Int32Array
  #length: number

  /** @param length how many there are at once, each `value`. */
  constructor(length = 0, value = 0) {
    this.#values = new Int32Array(Math.max(length, lengthMin))
    if (value !== 0) this.#values.fill(value, 0, length)
    this.#length = length
  }

  get length(): number {
    return this.#length
  }

  /** The caller keeps the index below `length`. */
  get(index: number): number {
    return this.#values[index] as number
  }

  set(index: number, value: number): void {
    this.#values[index] = value
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const longer = new Int32Array(2 * this.#length)
      longer.set(this.#values)
      this.#values = longer
    }
    this.#values[this.#length++] = value
  }
}

const lengthMin = 16
