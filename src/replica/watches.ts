import { covers, type Cut } from './cut.ts'
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
  /** Those that are live, by prefix: an update is matched once for all that share a prefix. */
  readonly #live = new Map<string, Set<Watch>>()
  /** Clients whose next page is due: drained, with a watch that is catching up. */
  readonly #due = new Set<ClientId>()
  readonly #stalled = new Set<ClientId>()
  readonly #log: UpdateLog
  readonly #keySpace: KeySpace
  readonly #pageUpdatesMax: number
  #next = 1
  #count = 0

  constructor(options: {
    readonly log: UpdateLog
    readonly keySpace: KeySpace
    readonly pageUpdatesMax: number
  }) {
    this.#log = options.log
    this.#keySpace = options.keySpace
    this.#pageUpdatesMax = options.pageUpdatesMax
  }

  get count(): number {
    return this.#count
  }

  countOf(client: ClientId): number {
    return this.#byClient.get(client)?.size ?? 0
  }

  /** Whether some client's page is due, so that {@link catchUp} has work. */
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
    if (!this.#stalled.has(client)) this.#due.add(client)
    return watch.number
  }

  /** @returns whether there was such a watch. */
  close(client: ClientId, number: number): boolean {
    const watches = this.#byClient.get(client)
    const watch = watches?.get(number)
    if (watches === undefined || watch === undefined) return false
    this.#leaveLive(watch)
    watches.delete(number)
    this.#count--
    return true
  }

  closeAll(client: ClientId): void {
    for (const number of this.#byClient.get(client)?.keys() ?? []) this.close(client, number)
    this.#byClient.delete(client)
    this.#due.delete(client)
    this.#stalled.delete(client)
  }

  /** The client takes no more: its watches go back to catching up, from the end of the log as it is now. */
  stall(client: ClientId): void {
    this.#stalled.add(client)
    this.#due.delete(client)
    for (const watch of this.#byClient.get(client)?.values() ?? []) {
      if (watch.position !== 'live') continue
      this.#leaveLive(watch)
      watch.position = this.#log.end
    }
  }

  /** The client has taken all that was sent to it. */
  drain(client: ClientId): void {
    this.#stalled.delete(client)
    for (const watch of this.#byClient.get(client)?.values() ?? []) {
      if (watch.position !== 'live') this.#due.add(client)
    }
  }

  /** Tells the live watches of an update that was just applied and appended to the log. */
  applied(update: Update, notify: Notification[]): void {
    for (const [prefix, watches] of this.#live) {
      const push = this.#push(update, prefix)
      if (push === undefined) continue
      for (const watch of watches) {
        if (!covers(watch.since, update)) notify.push({ client: watch.client, watch: watch.number, ...push })
      }
    }
  }

  /**
   * One page for each watch whose client can take it; those that reach the end of the log become live.
   *
   * @returns the clients that have not reached it, and are to be asked for when they have drained.
   */
  catchUp(applied: Cut, notify: Notification[]): readonly ClientId[] {
    const unfinished: ClientId[] = []
    for (const client of this.#due) {
      const watches = [...(this.#byClient.get(client)?.values() ?? [])]
      for (const watch of watches) this.#advance(watch, applied, notify)
      if (watches.some((watch) => watch.position !== 'live')) unfinished.push(client)
    }
    this.#due.clear()
    return unfinished
  }

  #advance(watch: Watch, applied: Cut, notify: Notification[]): void {
    if (watch.position === 'live') return
    const pageEnd = Math.min(this.#log.end, watch.position + this.#pageUpdatesMax)
    for (let position = watch.position; position < pageEnd; position++) {
      const update = this.#log.at(position)?.update
      if (update === undefined || covers(watch.since, update)) continue
      const push = this.#push(update, watch.prefix)
      if (push !== undefined) notify.push({ client: watch.client, watch: watch.number, ...push })
    }
    watch.position = pageEnd
    if (pageEnd < this.#log.end) return
    watch.position = 'live'
    let live = this.#live.get(watch.prefix)
    if (live === undefined) {
      live = new Set()
      this.#live.set(watch.prefix, live)
    }
    live.add(watch)
    notify.push({ kind: 'caughtUp', client: watch.client, watch: watch.number, applied: new Map(applied) })
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

  #leaveLive(watch: Watch): void {
    const live = this.#live.get(watch.prefix)
    live?.delete(watch)
    if (live?.size === 0) this.#live.delete(watch.prefix)
  }
}

type UpdatePush = Omit<Extract<Notification, { kind: 'update' }>, 'client' | 'watch'>

const nothing: Cut = new Map()

function isSame(a: Version, b: Version): boolean {
  return compareVersions(a, b) === 0
}
