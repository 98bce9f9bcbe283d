import { entryOf, raise, raiseAll, type Cut, type MutableCut } from '../../src/replica/cut.ts'
import type { ClientRequest, ClientResult } from '../../src/replica/messages.ts'
import type { Notification } from '../../src/replica/output.ts'
import type { Write } from '../../src/replica/update.ts'
import type { Version } from '../../src/replica/version.ts'
import { covers, nameOf, type Fact, type View } from './chronicle.ts'
import type { World } from './world.ts'

/**
 * One watch, over all the connections and servers that it goes on at, and what R11 promises of it:
 *
 * - An update is told once, whole as far as it concerns the watch, and never after one that it is a cause of. Only what is
 *   read from the state is told in part, and without causes that have been overwritten, until the next bookmark.
 * - What a bookmark covers has been told by then, or was overwritten by something that has; and is never told again. The first at a
 *   connection covers all that the watch knows.
 * - `resync` comes only where something is lost that the watch knew of.
 */
export class WatchAudit {
  readonly #world: World
  readonly #name: string
  readonly #prefix: string
  readonly #since: 'now' | 'start'
  /** Where it would go on; undefined before it has begun for the first time. */
  #cut: MutableCut | undefined
  /** What it need not be told: it began after that. */
  #before: View = []
  #told = new Set<Fact>()
  /** How many times it has begun anew. What it is told then need not come after what it was told before. */
  #renewals = 0
  /** What the last bookmark covers. */
  #bookmark: View = []
  #bookmarkCut: MutableCut = new Map()
  /** What has been told since, in causal order, with all causes of that. */
  #reached: View = []
  /** Something was told from the state since the last bookmark. */
  #isLoose = false
  #number: number | undefined
  /** No bookmark has come at this connection. */
  #isWholeDue = true

  constructor(options: {
    readonly name: string
    readonly world: World
    readonly prefix: string
    readonly since: 'now' | 'start'
  }) {
    this.#name = options.name
    this.#world = options.world
    this.#prefix = options.prefix
    this.#since = options.since
  }

  /** What to ask a server for, to begin or to go on. */
  request(): ClientRequest {
    if (this.#isLoose) {
      // What was read from a state is no cut to go on from: as the library does, it begins anew.
      this.#world.sometimes('a watch began anew, as its reading from the state broke off')
      this.#beginAnew()
      this.#cut = new Map()
    }
    const since = this.#cut === undefined ? this.#since : new Map(this.#cut)
    return { method: 'watch', prefix: this.#prefix, since }
  }

  began(result: ClientResult): void {
    if (result.method !== 'watch') {
      this.#violate(`it was answered with ${result.method}`)
      return
    }
    this.#number = result.watch
    if (this.#cut !== undefined) {
      this.#world.sometimes('a watch went on at another connection')
      return
    }
    if (this.#since === 'start') {
      this.#cut = new Map()
      return
    }
    this.#cut = new Map(result.applied)
    this.#before = this.#world.chronicle.viewOf(result.applied)
  }

  /** Its connection has broken. */
  broken(): void {
    this.#number = undefined
    this.#isWholeDue = true
  }

  get renewals(): number {
    return this.#renewals
  }

  /** @param saw takes each write that was told. */
  notified(notification: Notification, saw: (version: Version, write: Write) => void): void {
    if (notification.watch !== this.#number) {
      this.#violate(
        `it was told something under number ${notification.watch}, and its own is ${this.#number ?? 'not told yet'}`,
      )
      return
    }
    switch (notification.kind) {
      case 'update':
        this.#update(notification)
        for (const write of notification.writes) saw(notification.version, write)
        return
      case 'caughtUp': {
        const cut = (this.#cut ??= new Map())
        if (this.#isWholeDue) this.#checkWhole(notification.applied, cut)
        this.#isWholeDue = false
        raiseAll(cut, notification.applied)
        raiseAll(this.#bookmarkCut, notification.applied)
        this.#caughtUp(this.#world.chronicle.viewOf(this.#bookmarkCut))
        return
      }
      case 'resync':
        this.#world.sometimes('a watch was told to resync')
        this.#checkResync()
        this.#beginAnew()
        this.#cut = new Map()
    }
  }

  /** Whether it has been told all that a view has, as far as it concerns it. */
  missingOf(view: View): string | undefined {
    const { chronicle } = this.#world
    const [lost] = chronicle.between(view, chronicle.viewOf(this.#cut ?? new Map()))
    if (lost !== undefined) return `a word that ${nameOf(lost.update)} is lost`
    for (const fact of chronicle.between(this.#bookmark, view)) {
      if (this.#concerns(fact) && !this.#isKnown(fact) && !this.#isOverwritten(fact, view))
        return nameOf(fact.update)
    }
    return undefined
  }

  #update(notification: Extract<Notification, { kind: 'update' }>): void {
    const { version, writes, coalesced } = notification
    const fact = this.#world.chronicle.find(version)
    if (fact === undefined) {
      this.#violate(`it was told ${nameOf(version)}, which nobody issued`)
      return
    }
    raise((this.#cut ??= new Map()), version.origin, version.timestamp)
    if (this.#told.has(fact)) this.#violate(`it was told ${nameOf(version)} twice`)
    else if (covers(this.#before, fact))
      this.#violate(`it was told ${nameOf(version)}, which its beginning covers`)
    else if (covers(this.#bookmark, fact))
      this.#violate(`it was told ${nameOf(version)}, which a bookmark covers`)
    this.#told.add(fact)
    const expected = fact.update.writes.filter(({ key }) => key.startsWith(this.#prefix))
    const isWhole = writes.length === expected.length
    const isRight = writes.every((write) =>
      expected.some(
        (one) => one.key === write.key && one.value === write.value && one.deleted === write.deleted,
      ),
    )
    if (!isRight || writes.length === 0 || (!isWhole && coalesced !== true)) {
      this.#violate(`it was told ${JSON.stringify(writes)} of ${nameOf(version)}`)
    }
    if (coalesced === true) {
      this.#world.sometimes('a watch read from the state')
      this.#isLoose = true
    }
    if (covers(this.#reached, fact))
      this.#violate(`it was told ${nameOf(version)} after something that depends on it`)
    for (let index = 0; index < fact.past.length; index++) {
      this.#reached[index] = Math.max(this.#reached[index] ?? 0, fact.past[index] as number)
    }
    this.#reached[fact.originIndex] = Math.max(this.#reached[fact.originIndex] ?? 0, fact.sequence)
  }

  #caughtUp(bookmark: View): void {
    for (const fact of this.#world.chronicle.between(this.#bookmark, bookmark)) {
      if (!this.#concerns(fact) || this.#isKnown(fact)) continue
      if (this.#isLoose && this.#isOverwritten(fact, bookmark)) continue
      this.#violate(`a bookmark covers ${nameOf(fact.update)}, which it was never told`)
      return
    }
    this.#isLoose = false
    for (const [index, count] of bookmark.entries()) {
      this.#bookmark[index] = Math.max(this.#bookmark[index] ?? 0, count ?? 0)
      this.#reached[index] = Math.max(this.#reached[index] ?? 0, count ?? 0)
    }
  }

  /** Whoever keeps nothing but the first bookmark of a connection goes on from there. */
  #checkWhole(bookmark: Cut, cut: Cut): void {
    for (const [origin, timestamp] of cut) {
      if (entryOf(bookmark, origin) < timestamp)
        this.#violate(`its first bookmark does not cover ${nameOf({ origin, timestamp })}, which it knows`)
    }
  }

  #concerns(fact: Fact): boolean {
    return fact.update.writes.some(({ key }) => key.startsWith(this.#prefix))
  }

  #isKnown(fact: Fact): boolean {
    return this.#told.has(fact) || covers(this.#before, fact)
  }

  /** Whether nothing that it wrote for this watch is left among the siblings that a view leads to. */
  #isOverwritten(fact: Fact, view: View): boolean {
    return fact.update.writes.every(
      ({ key }) => !key.startsWith(this.#prefix) || this.#world.chronicle.isOverwritten(fact, key, view),
    )
  }

  #checkResync(): void {
    const copies = this.#world.knowableCopies()
    // All that its cut covers, what does not concern it too: whoever goes on from there is promised to have it.
    const known = this.#world.chronicle.between([], this.#world.chronicle.viewOf(this.#cut ?? new Map()))
    const isLost = known.some((fact) => fact.isExcused || !copies.some((copy) => covers(copy, fact)))
    if (!isLost) this.#violate('it was told to resync, though nothing that it knew is lost')
  }

  #beginAnew(): void {
    this.#renewals++
    this.#before = []
    this.#told = new Set()
    this.#bookmark = []
    this.#bookmarkCut = new Map()
    this.#reached = []
    this.#isLoose = false
  }

  #violate(what: string): void {
    this.#world.violations.add('R11', `the watch of ${this.#name}: ${what}`)
  }
}
