import type { Write } from '../../src/replica/update.ts'
import type { Dump, WireVersion } from './dump.ts'
import type { History } from './history.ts'

/** One request of a writer: recorded before it is sent, and its answer as soon as it is there. */
export interface Attempt {
  readonly writer: string
  /** Rises within a writer, who has one request under way at a time. */
  readonly number: number
  /** At least one of them writes {@link textOf} the attempt, which nobody else writes. */
  readonly writes: readonly Write[]
  outcome: 'open' | 'acknowledged' | 'refused' | 'unknown'
  /** Of an acknowledged one. */
  version: WireVersion | undefined
}

/** What an attempt writes. */
export function textOf({ writer, number }: Pick<Attempt, 'writer' | 'number'>): string {
  return `${writer}#${number}`
}

/**
 * What clients asked for and were told, and the judge of what servers show after that.
 *
 * Each writer has keys of its own, and its requests come after its own earlier ones (R9). So of its own keys it can be
 * said exactly what may be read: the last write that was acknowledged, or something that the writer tried after it, and
 * beside that nothing but tries whose outcome nobody knew. Keys that all share are judged by their order alone.
 */
export class Ledger {
  /** What was found wrong, in words. */
  readonly violations: string[] = []
  readonly #attempts: Attempt[] = []
  readonly #byText = new Map<string, Attempt>()
  readonly #keys = new Set<string>()
  readonly #waits = new Set<() => void>()
  #acknowledged = 0

  /** Those that were answered with a version. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  get keys(): ReadonlySet<string> {
    return this.#keys
  }

  count(outcome: Attempt['outcome']): number {
    return this.#attempts.filter((attempt) => attempt.outcome === outcome).length
  }

  /** To be called before anything is sent. */
  begin(attempt: Pick<Attempt, 'writer' | 'number' | 'writes'>): Attempt {
    const begun: Attempt = { ...attempt, outcome: 'open', version: undefined }
    this.#attempts.push(begun)
    this.#byText.set(textOf(begun), begun)
    for (const { key } of begun.writes) this.#keys.add(key)
    return begun
  }

  acknowledge(attempt: Attempt, version: WireVersion): void {
    attempt.outcome = 'acknowledged'
    attempt.version = version
    this.#acknowledged++
    for (const look of this.#waits) look()
  }

  /** Resolves when that many more have been acknowledged. */
  async acknowledgedMore(count: number): Promise<void> {
    const wanted = this.#acknowledged + count
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (this.#acknowledged < wanted) return
        this.#waits.delete(look)
        resolve()
      }
      this.#waits.add(look)
      look()
    })
  }

  /**
   * Judges what all servers were found to hold, and what one of them has done since it was judged last.
   *
   * @param history all updates so far, of all servers.
   */
  judge(dump: Dump, history: History): void {
    this.#judgeHistory(dump, history)
    const lastByKey = this.#lastAcknowledged()
    for (const [key, siblings] of Object.entries(dump.keys)) {
      for (const { version } of siblings) {
        if (history.textsOf(version) === undefined) {
          this.violations.push(`key ${key} has version ${version.join('@')}, which no update wrote`)
        }
      }
      const last = lastByKey.get(key)
      if (last === undefined) continue
      const holders = siblings.flatMap(({ version }) => this.#attemptsOf(history, version))
      if (isShared(key)) this.#judgeShared(key, siblings[0]?.version, last.versions)
      else this.#judgeOwn(key, holders, last.attempt)
    }
  }

  #judgeHistory(dump: Dump, history: History): void {
    for (const attempt of this.#attempts) {
      const text = textOf(attempt)
      const versions = history.versionsOf(text)
      if (versions.length > 1) this.violations.push(`${text} was applied as ${versions.join(' and ')}`)
      const { version, outcome } = attempt
      if (outcome === 'refused' && versions.length > 0) {
        this.violations.push(`${text} was refused for good, and applied as ${versions.join(' and ')}`)
      }
      if (version === undefined) continue
      const [timestamp, origin] = version
      if ((dump.applied[origin] ?? 0) < timestamp) {
        this.violations.push(`${text} was acknowledged as ${version.join('@')}, and no cut covers it`)
      } else if (versions[0] !== version.join('@')) {
        this.violations.push(
          `${text} was acknowledged as ${version.join('@')}, and applied as ${versions[0] ?? 'nothing'}`,
        )
      }
    }
  }

  #judgeOwn(key: string, holders: readonly Attempt[], last: Attempt): void {
    const told = holders.map((holder) => `${textOf(holder)} (${holder.outcome})`).join(', ') || 'nothing'
    if (!holders.some(({ number }) => number >= last.number)) {
      this.violations.push(`key ${key} holds ${told} and not ${textOf(last)}, which was acknowledged last`)
    }
    for (const holder of holders) {
      if (holder.number < last.number && holder.outcome === 'acknowledged') {
        this.violations.push(`key ${key} still holds ${told}, though ${textOf(last)} came after it`)
      }
    }
  }

  /** The winner is the highest there is, and what was acknowledged is not above it. */
  #judgeShared(key: string, winner: WireVersion | undefined, versions: readonly WireVersion[]): void {
    for (const version of versions) {
      if (winner === undefined || isAbove(version, winner)) {
        this.violations.push(
          `key ${key} is ${winner?.join('@') ?? 'nothing'}, below ${version.join('@')}, which was acknowledged`,
        )
      }
    }
  }

  /** For each key, the last attempt of its writer that was acknowledged, and all acknowledged versions. */
  #lastAcknowledged(): ReadonlyMap<string, { attempt: Attempt; versions: WireVersion[] }> {
    const last = new Map<string, { attempt: Attempt; versions: WireVersion[] }>()
    for (const attempt of this.#attempts) {
      if (attempt.version === undefined) continue
      for (const { key } of attempt.writes) {
        const known = last.get(key)
        if (known === undefined) last.set(key, { attempt, versions: [attempt.version] })
        else {
          known.attempt = attempt
          known.versions.push(attempt.version)
        }
      }
    }
    return last
  }

  #attemptsOf(history: History, version: WireVersion): readonly Attempt[] {
    return (history.textsOf(version) ?? []).flatMap((text) => this.#byText.get(text) ?? [])
  }
}

/** Keys that all writers write begin so. */
export const sharedPrefix = 'shared/'

function isShared(key: string): boolean {
  return key.startsWith(sharedPrefix)
}

/** The total order of versions (R1). */
function isAbove([a, aOrigin]: WireVersion, [b, bOrigin]: WireVersion): boolean {
  return a === b ? aOrigin > bOrigin : a > b
}
