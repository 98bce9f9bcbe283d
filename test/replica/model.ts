import { covers, type Cut } from '../../src/replica/cut.ts'
import type { Output } from '../../src/replica/output.ts'
import type { JsonValue, Update } from '../../src/replica/update.ts'
import { compareVersions, type Version } from '../../src/replica/version.ts'

/**
 * What a store must look like, computed slowly from first principles (R2, R4, R5).
 *
 * It knows of each server the set of updates that it has applied, and of each update the whole set that its
 * server had applied when it took it: that is happened-before, with no cut, no matrix and no log in between.
 * It never looks at an update's `previous` or `dependencies`.
 */
export class Model {
  readonly #updates = new Map<string, { readonly update: Update; readonly before: ReadonlySet<string> }>()
  readonly #applied = new Map<string, Set<string>>()
  /** The position of each server's next update. */
  readonly #positions = new Map<string, number>()

  /**
   * Takes note of a step's output at a server.
   *
   * @throws where an update was applied twice, or before one that happened before it.
   */
  observe(server: string, output: Output): void {
    const applied = this.appliedAt(server)
    for (const { update } of output.persist) {
      const name = nameOf(update)
      if (applied.has(name)) throw new Error(`server ${server} applied ${name} twice`)
      const known = this.#updates.get(name)
      if (known === undefined) this.#updates.set(name, { update, before: new Set(applied) })
      for (const cause of known?.before ?? []) {
        if (!applied.has(cause)) throw new Error(`server ${server} applied ${name} before its cause ${cause}`)
      }
      applied.add(name)
    }
    const position = (this.#positions.get(server) ?? 0) + output.persist.length
    this.#positions.set(server, position)
    for (const item of output.stage) {
      if (item.kind === 'records') {
        const early = item.records.keys.find((record) => record.position < position)
        if (early !== undefined)
          throw new Error(`server ${server} staged ${early.key} at a position that is taken`)
      } else if (item.kind === 'install') {
        this.#install(server, item.applied)
        this.#positions.set(server, item.position)
      }
    }
  }

  /** A snapshot stands for all the updates that its cut covers. */
  #install(server: string, cut: Cut): void {
    const applied = this.appliedAt(server)
    for (const [name, { update }] of this.#updates) if (covers(cut, update)) applied.add(name)
    for (const name of applied) {
      for (const cause of this.#updates.get(name)?.before ?? []) {
        if (!applied.has(cause))
          throw new Error(`server ${server} installed ${name} without its cause ${cause}`)
      }
    }
  }

  /** A server starts with nothing. */
  restart(server: string): void {
    this.#applied.delete(server)
    this.#positions.delete(server)
  }

  appliedAt(server: string): Set<string> {
    let applied = this.#applied.get(server)
    if (applied === undefined) {
      applied = new Set()
      this.#applied.set(server, applied)
    }
    return applied
  }

  get updates(): readonly Update[] {
    return [...this.#updates.values()].map(({ update }) => update)
  }

  happenedBefore(a: Version, b: Version): boolean {
    return this.#updates.get(nameOf(b))?.before.has(nameOf(a)) === true
  }

  /** Every key with its siblings, the winner first: the maximal elements by happened-before. */
  entriesAt(server: string): readonly (readonly [string, readonly ModelSibling[]])[] {
    const byKey = new Map<string, ModelSibling[]>()
    for (const name of this.appliedAt(server)) {
      const { update } = this.#updates.get(name) as { update: Update }
      const version = { timestamp: update.timestamp, origin: update.origin }
      for (const write of update.writes) {
        const versions = byKey.get(write.key) ?? []
        versions.push(write.deleted === true ? { version, deleted: true } : { version, value: write.value })
        byKey.set(write.key, versions)
      }
    }
    return [...byKey]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, versions]) => [
        key,
        versions
          .filter((one) => !versions.some((other) => this.happenedBefore(one.version, other.version)))
          .toSorted((a, b) => compareVersions(b.version, a.version)),
      ])
  }
}

export interface ModelSibling {
  readonly version: Version
  readonly value?: JsonValue
  readonly deleted?: true
}

export function nameOf(version: Version): string {
  return `${version.timestamp}@${version.origin}`
}
