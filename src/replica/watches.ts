import { covers, raiseAll, type Cut, type MutableCut } from './cut.ts'
import type { ClientId } from './input.ts'
import type { KeySpace } from './key-space.ts'
import type { Notification } from './output.ts'
import type { UpdateLog } from './update-log.ts'
import type { Update } from './update.ts'
import { compareVersions, type Version } from './version.ts'

/** One watch of one client (R11). */
interface Watch {
  readonly client: ClientId
  readonly number: number
  readonly prefix: string
  /** What this cut covers is never sent, even if it is applied here only later. */
  readonly since: Cut
  /**
   * The position in the log up to which everything has been sent, or `live`: the watch is sent each update
   * as it is applied. Everything before it has been sent; nothing after it has.
   */
  position: number | 'live'
}

/**
 * The watches of all clients. A watch is in one of two states: *live*, or *catching up* from a position in the
 * log, a page at a time, each asked for by the client's connection having drained. One that stalls goes from
 * live back to catching up, where it costs a number and no memory.
 */
export class Watches {
  readonly #byClient = new Map<ClientId, Map<number, Watch>>()
  /**
   * Those that are live, by the length of their prefix and then by the prefix itself. An update is matched once for
   * all that share a prefix, and costs a look for each length in use, however many prefixes there are.
   */
  readonly #live = new Map<number, Map<string, Set<Watch>>>()
  /** Those that are catching up and whose client can take a page, in the order of their turns. */
  readonly #due = new Set<Watch>()
  readonly #stalled = new Set<ClientId>()
  readonly #log: UpdateLog
  readonly #keySpace: KeySpace
  readonly #pageUpdatesMax: number
  readonly #examinedPerStepMax: number
  #next = 1
  #count = 0

  constructor(options: {
    readonly log: UpdateLog
    readonly keySpace: KeySpace
    readonly pageUpdatesMax: number
    /** Updates of the log that one {@link catchUp} looks at, of all watches together. */
    readonly examinedPerStepMax: number
  }) {
    this.#log = options.log
    this.#keySpace = options.keySpace
    this.#pageUpdatesMax = options.pageUpdatesMax
    this.#examinedPerStepMax = options.examinedPerStepMax
  }

  get count(): number {
    return this.#count
  }

  countOf(client: ClientId): number {
    return this.#byClient.get(client)?.size ?? 0
  }

  /** Whether some watch's page is due, so that {@link catchUp} has work. */
  get anyDue(): boolean {
    return this.#due.size > 0
  }

  /** @returns the watch's number. Nothing is sent for it before the next {@link catchUp}. */
  open(client: ClientId, prefix: string, since: 'now' | 'start' | Cut): number {
    const watch: Watch = {
      client,
      number: this.#next++,
      prefix,
      since: typeof since === 'string' ? nothing : since,
      position: since === 'now' ? this.#log.end : 0,
    }
    let watches = this.#byClient.get(client)
    if (watches === undefined) {
      watches = new Map()
      this.#byClient.set(client, watches)
    }
    watches.set(watch.number, watch)
    this.#count++
    if (!this.#stalled.has(client)) this.#due.add(watch)
    return watch.number
  }

  /** @returns whether there was such a watch. */
  close(client: ClientId, number: number): boolean {
    const watches = this.#byClient.get(client)
    const watch = watches?.get(number)
    if (watches === undefined || watch === undefined) return false
    this.#leaveLive(watch)
    this.#due.delete(watch)
    watches.delete(number)
    this.#count--
    return true
  }

  closeAll(client: ClientId): void {
    for (const number of this.#byClient.get(client)?.keys() ?? []) this.close(client, number)
    this.#byClient.delete(client)
    this.#stalled.delete(client)
  }

  /** The client takes no more: its watches go back to catching up, from the end of the log as it is now. */
  stall(client: ClientId): void {
    this.#stalled.add(client)
    for (const watch of this.#byClient.get(client)?.values() ?? []) {
      this.#due.delete(watch)
      if (watch.position !== 'live') continue
      this.#leaveLive(watch)
      watch.position = this.#log.end
    }
  }

  /** The client has taken all that was sent to it. */
  drain(client: ClientId): void {
    this.#stalled.delete(client)
    for (const watch of this.#byClient.get(client)?.values() ?? []) {
      if (watch.position !== 'live') this.#due.add(watch)
    }
  }

  /** Tells the live watches of an update that was just applied and appended to the log. */
  applied(update: Update, notify: Notification[]): void {
    if (this.#live.size === 0) return
    for (const [prefix, watches] of this.#matching(update)) {
      const push = this.#push(update, prefix)
      if (push === undefined) continue
      for (const watch of watches) {
        if (!covers(watch.since, update)) notify.push({ client: watch.client, watch: watch.number, ...push })
      }
    }
  }

  /**
   * A page for each watch whose client can take it, as far as the budget of a step goes: the rest stays due, and
   * comes first in the next. Those that reach the end of the log become live.
   *
   * @returns the clients of those that have not reached it, which are to go on when they have drained.
   */
  catchUp(applied: Cut, notify: Notification[]): readonly ClientId[] {
    const unfinished = new Set<ClientId>()
    let budget = this.#examinedPerStepMax
    for (const watch of this.#due) {
      if (budget <= 0) break
      this.#due.delete(watch)
      // A watch with nothing to catch up with costs its turn, so that no number of them is free.
      budget -= Math.max(1, this.#advance(watch, budget, applied, notify))
      if (watch.position !== 'live') unfinished.add(watch.client)
    }
    return [...unfinished]
  }

  /** @returns how many updates were looked at, `budget` at most. */
  #advance(watch: Watch, budget: number, applied: Cut, notify: Notification[]): number {
    if (watch.position === 'live') return 0
    const pageStart = watch.position
    const pageEnd = Math.min(this.#log.end, pageStart + Math.min(this.#pageUpdatesMax, budget))
    for (let position = pageStart; position < pageEnd; position++) {
      const update = this.#log.at(position)?.update
      if (update === undefined || covers(watch.since, update)) continue
      const push = this.#push(update, watch.prefix)
      if (push !== undefined) notify.push({ client: watch.client, watch: watch.number, ...push })
    }
    watch.position = pageEnd
    if (pageEnd === this.#log.end) {
      this.#joinLive(watch)
      // What `since` covers is never sent, even where it is not applied here yet: whoever goes on from this
      // bookmark at another server must not be sent it either.
      const bookmark: MutableCut = new Map(applied)
      raiseAll(bookmark, watch.since)
      notify.push({ kind: 'caughtUp', client: watch.client, watch: watch.number, applied: bookmark })
    }
    return pageEnd - pageStart
  }

  /** The live watches whose prefix some key of the update has, by prefix, each once. */
  #matching(update: Update): ReadonlyMap<string, ReadonlySet<Watch>> {
    const matching = new Map<string, ReadonlySet<Watch>>()
    for (const [length, byPrefix] of this.#live) {
      for (const { key } of update.writes) {
        // A key that is shorter is cut to itself, and no prefix of this length equals it.
        const prefix = key.slice(0, length)
        const watches = byPrefix.get(prefix)
        if (watches !== undefined) matching.set(prefix, watches)
      }
    }
    return matching
  }

  /** What of an update concerns a prefix; undefined where nothing does. */
  #push(update: Update, prefix: string): UpdatePush | undefined {
    const writes = update.writes.filter((write) => write.key.startsWith(prefix))
    if (writes.length === 0) return undefined
    const conflict = writes
      .map((write) => ({ key: write.key, siblings: this.#keySpace.siblingsOf(write.key) ?? [] }))
      .filter(
        ({ siblings }) => siblings.length > 1 && siblings.some((sibling) => isSame(sibling.version, update)),
      )
      .map(({ key, siblings }) => ({ key, versions: siblings }))
    const version = { timestamp: update.timestamp, origin: update.origin }
    return { kind: 'update', version, writes, conflict }
  }

  #joinLive(watch: Watch): void {
    watch.position = 'live'
    let byPrefix = this.#live.get(watch.prefix.length)
    if (byPrefix === undefined) {
      byPrefix = new Map()
      this.#live.set(watch.prefix.length, byPrefix)
    }
    let live = byPrefix.get(watch.prefix)
    if (live === undefined) {
      live = new Set()
      byPrefix.set(watch.prefix, live)
    }
    live.add(watch)
  }

  #leaveLive(watch: Watch): void {
    const byPrefix = this.#live.get(watch.prefix.length)
    const live = byPrefix?.get(watch.prefix)
    live?.delete(watch)
    if (live?.size === 0) byPrefix?.delete(watch.prefix)
    if (byPrefix?.size === 0) this.#live.delete(watch.prefix.length)
  }
}

type UpdatePush = Omit<Extract<Notification, { kind: 'update' }>, 'client' | 'watch'>

const nothing: Cut = new Map()

function isSame(a: Version, b: Version): boolean {
  return compareVersions(a, b) === 0
}
