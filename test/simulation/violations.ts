/** What was found wrong in a run. The first ends it. */
export class Violations {
  readonly #found: string[] = []

  /** @param rule that was broken, as docs/architecture.md counts them. */
  add(rule: string, what: string): void {
    this.#found.push(`${rule}: ${what}`)
  }

  get found(): readonly string[] {
    return this.#found
  }

  get any(): boolean {
    return this.#found.length > 0
  }
}
