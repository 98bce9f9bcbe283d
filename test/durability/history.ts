import { RawClient } from '../integration/raw-client.ts'
import type { WireVersion } from './dump.ts'

/** One update as a watcher is told of it. */
export interface ToldUpdate {
  readonly version: WireVersion
  readonly writes: readonly { readonly key: string; readonly value?: unknown; readonly deleted?: true }[]
  /** It was read from the state, so writes that have been overwritten may be missing. */
  readonly coalesced?: true
}

/**
 * All updates that any server was ever seen to have, over all runs of all of them.
 *
 * Invariant: a version names one update for good. Whatever shows another under it is a violation (R7).
 */
export class History {
  readonly violations: string[] = []
  readonly #textByVersion = new Map<string, string>()
  readonly #valuesByVersion = new Map<string, readonly string[]>()
  readonly #versionsByValue = new Map<string, string[]>()

  /** How many updates there are. */
  get size(): number {
    return this.#textByVersion.size
  }

  add({ version, writes }: ToldUpdate): void {
    const name = version.join('@')
    const text = JSON.stringify(writes)
    const known = this.#textByVersion.get(name)
    if (known !== undefined) {
      if (known !== text) this.violations.push(`version ${name} is ${known} and also ${text}`)
      return
    }
    this.#textByVersion.set(name, text)
    const values = writes.flatMap(({ value }) => (typeof value === 'string' ? [value] : []))
    this.#valuesByVersion.set(name, [...new Set(values)])
    for (const value of new Set(values)) {
      const versions = this.#versionsByValue.get(value)
      if (versions === undefined) this.#versionsByValue.set(value, [name])
      else versions.push(name)
    }
  }

  /** The values of an update; undefined where there was none of that version. */
  textsOf(version: WireVersion): readonly string[] | undefined {
    return this.#valuesByVersion.get(version.join('@'))
  }

  /** The updates that wrote a value, as `timestamp@origin`. */
  versionsOf(value: string): readonly string[] {
    return this.#versionsByValue.get(value) ?? []
  }
}

/**
 * What a server has applied and a cut does not cover, in its order, told by a watch (R11).
 *
 * @param since a cut as it is on the wire, or `start` for all there ever was.
 */
export async function updatesSince(
  port: number,
  since: Readonly<Record<string, number>> | 'start',
): Promise<readonly ToldUpdate[]> {
  const client = await RawClient.connect(port)
  try {
    await client.call('watch', { since })
    const updates: ToldUpdate[] = []
    for (;;) {
      const { method, params } = await client.message()
      if (method === 'caughtUp') return updates
      if (method !== 'update') throw new Error(`a watch since a cut was told ${String(method)}`)
      updates.push(params as ToldUpdate)
    }
  } finally {
    client.close()
  }
}
