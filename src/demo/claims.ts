import { isDeepStrictEqual } from 'node:util'

/** A claim that turned out not to be so. The story stops there: what would follow stands on it. */
export class ClaimFailed extends Error {
  override readonly name = 'ClaimFailed'
  readonly claim: string
  readonly expected: string
  readonly seen: string

  constructor(claim: string, expected: string, seen: string) {
    super(`${claim}: expected ${expected}, saw ${seen}`)
    this.claim = claim
    this.expected = expected
    this.seen = seen
  }
}

/** Counts what has been claimed, and holds it against what is seen. */
export class Claims {
  #checked = 0
  #failed = 0

  /**
   * Claims that two things are the same, in all their parts.
   *
   * @throws ClaimFailed where they are not.
   */
  same(claim: string, seen: unknown, expected: unknown): void {
    this.#checked++
    if (isDeepStrictEqual(seen, expected)) return
    this.fail(claim, inWords(expected), inWords(seen))
  }

  /**
   * Claims that something comes to pass within its bound.
   *
   * @param event rejects with {@link NotSeen} where it does not.
   * @throws ClaimFailed where it does not.
   */
  async happens<Event>(claim: string, event: Promise<Event>): Promise<Event> {
    try {
      const seen = await event
      this.#checked++
      return seen
    } catch (error) {
      if (!(error instanceof NotSeen)) throw error
      this.#checked++
      this.fail(claim, error.expected, error.seen)
    }
  }

  /** @throws ClaimFailed always. */
  fail(claim: string, expected: string, seen: string): never {
    this.#failed++
    throw new ClaimFailed(claim, expected, seen)
  }

  /** Such as `18 claims checked, 0 failed`. */
  summary(): string {
    return `${this.#checked} claims checked, ${this.#failed} failed`
  }
}

/** What was waited for did not come in time. */
export class NotSeen extends Error {
  override readonly name = 'NotSeen'
  readonly expected: string
  readonly seen: string

  constructor(expected: string, seen: string) {
    super(`expected ${expected}, saw ${seen}`)
    this.expected = expected
    this.seen = seen
  }
}

function inWords(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value)
}
