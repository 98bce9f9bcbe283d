/**
 * Spreads the operations of a round over its time, so that there is work whatever fault is on: who is to do one asks for
 * its turn. Those that the servers could not take in time are made up for as fast as they can.
 */
export class Pace {
  readonly #operations: number
  readonly #overMs: number
  readonly #endsMs: number
  readonly #beganMs = performance.now()
  readonly #waiting: ((isOn: boolean) => void)[] = []
  readonly #timer: NodeJS.Timeout
  #given = 0
  #isOver = false
  #end: () => void = () => {}
  /** Resolves when all turns have been given, or the time is up. */
  readonly ended = new Promise<void>((resolve) => {
    this.#end = resolve
  })

  /** @param plan.endsMs when it ends, whatever has been done by then. */
  constructor(plan: { readonly operations: number; readonly overMs: number; readonly endsMs: number }) {
    this.#operations = plan.operations
    this.#overMs = plan.overMs
    this.#endsMs = plan.endsMs
    this.#timer = setInterval(() => this.#give(), giveMs)
  }

  /** How many turns were given. */
  get given(): number {
    return this.#given
  }

  /** @returns whether there is one more; false once the round is over. */
  async turn(): Promise<boolean> {
    if (this.#isOver) return false
    return await new Promise((resolve) => {
      this.#waiting.push(resolve)
      this.#give()
    })
  }

  #give(): void {
    const passedMs = performance.now() - this.#beganMs
    const due = Math.min(this.#operations, Math.ceil((this.#operations * passedMs) / this.#overMs))
    while (this.#given < due && this.#waiting.length > 0) {
      this.#given++
      this.#waiting.shift()?.(true)
    }
    if (this.#given < this.#operations && passedMs < this.#endsMs) return
    this.#isOver = true
    clearInterval(this.#timer)
    for (const refuse of this.#waiting.splice(0)) refuse(false)
    this.#end()
  }
}

const giveMs = 5
