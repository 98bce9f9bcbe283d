/** How long answers took, in steps of 2 %: for any number of them, in a fixed space. */
export class Times {
  readonly #counts = new Uint32Array(stepsMax)
  #isMeasuring = false

  begin(): void {
    this.#isMeasuring = true
  }

  add(ms: number): void {
    if (!this.#isMeasuring) return
    const step = Math.round(Math.log(Math.max(ms, leastMs) / leastMs) / stepLog)
    const place = Math.min(step, stepsMax - 1)
    this.#counts[place] = (this.#counts[place] as number) + 1
  }

  end(): { readonly count: number; readonly p50Ms: number; readonly p99Ms: number } {
    this.#isMeasuring = false
    let count = 0
    for (const one of this.#counts) count += one
    const at = (share: number): number => {
      let left = count * share
      for (const [step, one] of this.#counts.entries()) {
        left -= one
        if (left <= 0) return leastMs * Math.exp(step * stepLog)
      }
      return Number.NaN
    }
    return { count, p50Ms: at(0.5), p99Ms: at(0.99) }
  }
}

const leastMs = 0.001
const stepLog = Math.log(1.02)
const stepsMax = 1_024
