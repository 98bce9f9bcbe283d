/** Numbers strings from 0 on, in the order in which they first come. */
export class Names {
  readonly #numbers = new Map<string, number>()
  readonly #names: string[] = []

  get size(): number {
    return this.#names.length
  }

  numberOf(name: string): number {
    let number = this.#numbers.get(name)
    if (number === undefined) {
      number = this.#names.length
      this.#numbers.set(name, number)
      this.#names.push(name)
    }
    return number
  }

  /** The name with a number that was given. */
  nameOf(number: number): string {
    return this.#names[number] as string
  }
}
