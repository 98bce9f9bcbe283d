import { covers, entryOf, raise, type Cut, type MutableCut } from './cut.ts'
import type { ClientId } from './input.ts'
import type { HeldSibling, KeySpace } from './key-space.ts'
import type { Broadcast, Notification, UpdatePush } from './output.ts'
import { PrefixTree } from './prefix-tree.ts'
import type { AppliedVersion } from './surviving-updates.ts'
import type { UpdateLog } from './update-log.ts'
import { sizeOfWrites, type Update, type Write } from './update.ts'
import { compareVersions, type Origin, type Version } from './version.ts'

/** Where a watch has come to. */
type Reading =
  /** It is sent each update as it is applied, and has been sent all before. */
  { readonly kind: 'live' } | CatchingUp

/** Everything before `position` has been sent, or is covered by `since`; nothing at or after it has been sent. */
type CatchingUp =
  /**
   * It is sent the updates of the log. `isSlow` where it was live and its client stalled: as long as it is no more than a
   * page behind it is sent all that it missed, and past that it goes on from the state, so that values coalesce by key.
   * One that reads back from a cut or from the start, of its own will, or that is behind for a reason of this server's, is
   * sent everything that the log still has when its turn comes.
   */
  | { readonly kind: 'log'; readonly position: number; readonly isSlow: boolean }
  /** It is sent the updates that survive, with those of their writes that do; `isAnew`: but first a `resync`. */
  | { readonly kind: 'state'; readonly position: number; readonly isAnew: boolean }

/** One watch of one client (R11). */
interface Watch {
  readonly client: ClientId
  readonly number: number
  readonly prefix: string
  /** What this cut covers is never sent, even if it is applied here only later. */
  since: Cut
  reading: Reading
  /** Of its last bookmark, while it is live: how many updates had been counted by then, and when it was. */
  bookmark: { readonly rises: number; readonly sentMs: number }
}

/**
 * The watches of all clients. A watch is *live*, or it catches up: from the log where that reaches back to its
 * position without a gap, and from the state where it does not. It does so a page at a time, each asked for by
 * the client's connection having drained. One that stalls goes from live back to catching up, where it costs a
 * number and no memory, however long it takes and whatever becomes of the log meanwhile.
 *
 * Both ways are in the order of application, and positions mean the same in both. So a watch goes from the log to
 * the state, and from either to live, without missing anything or being sent anything twice. What it is sent from the
 * state is not a causal story, though: where a cause has been overwritten, its successor may come after the effect.
 * With `caughtUp` it has all of it.
 */
export class Watches {
  readonly #byClient = new Map<ClientId, ClientWatches>()
  /** Those that are live, by their prefixes. An update is matched once for all that share one. */
  readonly #live = new PrefixTree<Audience>()
  /** Those that are live, in the order of their last bookmarks, the oldest first. */
  readonly #byBookmark = new Set<Watch>()
  /**
   * The origins whose entries rose while watches were live, in the order of their last rises, each with the count of
   * updates at that time. Only those that some live watch has not been told of: {@link #bookmark} drops the others.
   */
  readonly #risen = new Map<Origin, number>()
  #rises = 0
  /** Those that are catching up and whose client can take a page, in the order of their turns. */
  readonly #due = new Set<Watch>()
  readonly #stalled = new Set<ClientId>()
  readonly #log: UpdateLog
  readonly #keySpace: KeySpace
  readonly #pageUpdatesMax: number
  readonly #pageBytesMax: number
  readonly #examinedPerStepMax: number
  readonly #bookmarkEveryMs: number
  /**
   * What live watches may still be told in this step of parts of updates, beyond what those updates have in all: one
   * update is told whole however many watch it, but of parts it has as many as there are prefixes.
   */
  #partBytesLeft = 0
  /** What a watch was told of an update last in this step, as it catches up: often others of its prefix are told the same. */
  #lastPart: { readonly update: Update; readonly prefix: string; readonly push: UpdatePush } | undefined
  #count = 0
  #sinceEntries = 0

  constructor(options: {
    readonly log: UpdateLog
    readonly keySpace: KeySpace
    /** Updates that a watch is sent, or that are looked at for it, before its client must have drained. */
    readonly pageUpdatesMax: number
    /** Bytes of updates after which a page, and with it one {@link catchUp}, ends; also of parts of updates in a step. */
    readonly pageBytesMax: number
    /** Writes, and entries of first bookmarks, that one {@link catchUp} looks at, of all watches together. */
    readonly examinedPerStepMax: number
    readonly bookmarkEveryMs: number
  }) {
    this.#log = options.log
    this.#keySpace = options.keySpace
    this.#pageUpdatesMax = options.pageUpdatesMax
    this.#pageBytesMax = options.pageBytesMax
    this.#examinedPerStepMax = options.examinedPerStepMax
    this.#bookmarkEveryMs = options.bookmarkEveryMs
  }

  get count(): number {
    return this.#count
  }

  /** Entries of the cuts that watches go on from, of all together. */
  get sinceEntries(): number {
    return this.#sinceEntries
  }

  countOf(client: ClientId): number {
    return this.#byClient.get(client)?.byNumber.size ?? 0
  }

  /** Whether some watch's page is due, so that {@link catchUp} has work. */
  get anyDue(): boolean {
    return this.#due.size > 0
  }

  /** @returns the watch's number. Nothing is sent for it before the next {@link catchUp}. */
  open(client: ClientId, prefix: string, since: 'now' | 'start' | Cut): number {
    const cut = typeof since === 'string' ? nothing : since
    let watches = this.#byClient.get(client)
    if (watches === undefined) {
      watches = { byNumber: new Map(), last: 0 }
      this.#byClient.set(client, watches)
    }
    const watch: Watch = {
      client,
      number: ++watches.last,
      prefix,
      since: cut,
      reading:
        since === 'now' ? { kind: 'log', position: this.#log.end, isSlow: false } : this.#readingFrom(cut),
      bookmark: { rises: 0, sentMs: 0 },
    }
    watches.byNumber.set(watch.number, watch)
    this.#count++
    this.#sinceEntries += cut.size
    if (!this.#stalled.has(client)) this.#due.add(watch)
    return watch.number
  }

  /** @returns whether there was such a watch. */
  close(client: ClientId, number: number): boolean {
    const watches = this.#byClient.get(client)?.byNumber
    const watch = watches?.get(number)
    if (watches === undefined || watch === undefined) return false
    this.#leaveLive(watch)
    this.#due.delete(watch)
    watches.delete(number)
    this.#count--
    this.#sinceEntries -= watch.since.size
    return true
  }

  closeAll(client: ClientId): void {
    for (const number of this.#byClient.get(client)?.byNumber.keys() ?? []) this.close(client, number)
    this.#byClient.delete(client)
    this.#stalled.delete(client)
  }

  /** The client takes no more: its watches go back to catching up, from the end of the log as it is now. */
  stall(client: ClientId): void {
    this.#stalled.add(client)
    for (const watch of this.#byClient.get(client)?.byNumber.values() ?? []) {
      this.#due.delete(watch)
      if (watch.reading.kind !== 'live') continue
      this.#leaveLive(watch)
      watch.reading = { kind: 'log', position: this.#log.end, isSlow: true }
    }
  }

  /** The client has taken all that was sent to it. */
  drain(client: ClientId): void {
    this.#stalled.delete(client)
    for (const watch of this.#byClient.get(client)?.byNumber.values() ?? []) {
      if (watch.reading.kind !== 'live') this.#due.add(watch)
    }
  }

  beginStep(): void {
    this.#partBytesLeft = this.#pageBytesMax
    this.#lastPart = undefined
  }

  /**
   * Tells the live watches of an update that was just applied and appended to the log. Where there would be too much to
   * tell of its parts, those for whose part there is no room go back to catching up, which takes as many steps as it needs.
   */
  applied(update: Update, told: Told): void {
    if (this.#byBookmark.size === 0) return
    this.#risen.delete(update.origin)
    this.#risen.set(update.origin, ++this.#rises)
    const writes = new OrderedWrites(update.writes, this.#live.hasPrefixes)
    // Prefixes of the same keys come one after the other, and are told the same.
    let last: { readonly from: number; readonly to: number; readonly push: UpdatePush } | undefined
    let partBytes = 0
    for (const { item: audience, from, to } of this.#live.matching(writes.keys)) {
      if (last?.from !== from || last.to !== to) {
        const isWhole = to - from === update.writes.length
        const bytes = isWhole ? 0 : writes.bytesBetween(from, to)
        if (partBytes > 0 && partBytes + bytes > this.#partBytesLeft + writes.bytes) {
          // The update that was appended last is the first that they miss.
          for (const watch of audience.watches) this.#postpone(watch, this.#log.end - 1)
          continue
        }
        partBytes += bytes
        last = { from, to, push: this.#push(update, isWhole ? update.writes : writes.between(from, to)) }
      }
      audience.tell(last.push, told)
    }
    if (partBytes > 0) this.#partBytesLeft -= Math.max(0, partBytes - writes.bytes)
    this.#partBytesLeft = Math.max(0, this.#partBytesLeft)
  }

  /**
   * A snapshot was taken in, and what it brought is among the survivors, at or after a position: the end of the log
   * as it was before. All that were live catch up from there, in which the gap in the log leads them to the state.
   */
  installed(position: number): void {
    for (const watch of this.#byBookmark) this.#postpone(watch, position)
  }

  /**
   * What this watch has been sent is no longer known to be so: it is told, and starts again from the state. From then on
   * nothing counts as known to it. Does nothing where there is no such watch.
   */
  resync(client: ClientId, number: number): void {
    const watch = this.#byClient.get(client)?.byNumber.get(number)
    if (watch === undefined) return
    this.#leaveLive(watch)
    this.#setSince(watch, nothing)
    watch.reading = { kind: 'state', position: 0, isAnew: true }
    if (!this.#stalled.has(client)) this.#due.add(watch)
  }

  /**
   * A page for each watch whose client can take it, as far as the budget of a step goes: the rest stays due, and
   * comes first in the next. Those that reach the end become live. Live ones get a bookmark now and then.
   *
   * @param nowMs on the clock of the ticks.
   * @returns the clients of those that have not reached it, which are to go on when they have drained.
   */
  catchUp(applied: Cut, nowMs: number, notify: Notification[]): readonly ClientId[] {
    const unfinished = new Set<ClientId>()
    let budget = this.#examinedPerStepMax
    let bytes = 0
    for (const watch of this.#due) {
      if (budget <= 0 || bytes >= this.#pageBytesMax) break
      this.#due.delete(watch)
      if (watch.reading.kind === 'live') continue
      const page = this.#page(watch, watch.reading, Math.min(this.#pageUpdatesMax, budget), notify)
      // A watch with nothing to catch up with costs its turn, so that no number of them is free.
      budget -= Math.max(1, page.examined)
      bytes += page.bytes
      if (page.isLast) {
        // Its bookmark is made of these.
        budget -= applied.size + watch.since.size
        this.#joinLive(watch, applied, nowMs, notify)
      } else unfinished.add(watch.client)
    }
    this.#bookmark(applied, nowMs, budget, notify)
    return [...unfinished]
  }

  /** From the log where it has all that a cut does not cover, without a gap; else from the state. */
  #readingFrom(since: Cut): Reading {
    const { start, gapEnd } = this.#log
    if (start >= gapEnd && this.#log.reaches(since)) return { kind: 'log', position: start, isSlow: false }
    return { kind: 'state', position: 0, isAnew: false }
  }

  /** A watch that was live catches up from a position: nothing at or after that has been sent. Its turn comes by itself. */
  #postpone(watch: Watch, position: number): void {
    this.#leaveLive(watch)
    watch.reading = { kind: 'log', position, isSlow: false }
    this.#due.add(watch)
  }

  /** Sends a page, of which `examinedMax` updates are looked at at most, and notes how far that goes. */
  #page(watch: Watch, reading: CatchingUp, examinedMax: number, notify: Notification[]): Progress {
    switch (reading.kind) {
      case 'log': {
        const { position, isSlow } = reading
        const { start, end, gapEnd } = this.#log
        const isWhole = position >= start && position >= gapEnd
        if (!isWhole || (isSlow && end - position > this.#pageUpdatesMax)) {
          return this.#pageOfState(watch, position, examinedMax, notify)
        }
        return this.#pageOfLog(watch, reading, examinedMax, notify)
      }
      case 'state':
        if (reading.isAnew) notify.push({ kind: 'resync', client: watch.client, watch: watch.number })
        return this.#pageOfState(watch, reading.position, examinedMax, notify)
    }
  }

  #pageOfLog(
    watch: Watch,
    reading: Extract<Reading, { kind: 'log' }>,
    examinedMax: number,
    notify: Notification[],
  ): Progress {
    let { position } = reading
    let examined = 0
    let bytes = 0
    for (; position < this.#log.end && examined < examinedMax && bytes < this.#pageBytesMax; position++) {
      const update = this.#log.at(position)?.update
      // Each write is looked at, whether or not it concerns this watch.
      examined += update?.writes.length ?? 1
      if (update === undefined || covers(watch.since, update)) continue
      const isTold = this.#lastPart?.update === update && this.#lastPart.prefix === watch.prefix
      const push = isTold ? this.#lastPart?.push : this.#partOf(update, watch.prefix)
      if (push === undefined) continue
      notify.push({ client: watch.client, watch: watch.number, ...push })
      // It is there, and is put into words, once.
      if (!isTold) bytes += sizeOfWrites(push.writes)
    }
    watch.reading = { ...reading, position }
    return { examined, bytes, isLast: position === this.#log.end }
  }

  /** What concerns the watches of a prefix in an update, if anything does. */
  #partOf(update: Update, prefix: string): UpdatePush | undefined {
    const writes = writesWith(prefix, update)
    if (writes.length === 0) return undefined
    const push = this.#push(update, writes)
    this.#lastPart = { update, prefix, push }
    return push
  }

  #pageOfState(watch: Watch, from: number, examinedMax: number, notify: Notification[]): Progress {
    const page = this.#keySpace.survivors.page(from, examinedMax)
    let { next } = page
    let bytes = 0
    for (const version of page.versions) {
      if (bytes >= this.#pageBytesMax) {
        next = version.position
        break
      }
      if (covers(watch.since, version)) continue
      const writes = this.#survivingWrites(watch.prefix, version)
      if (writes.length === 0) continue
      const push = this.#push(version, writes)
      notify.push({ client: watch.client, watch: watch.number, ...push, coalesced: true })
      bytes += sizeOfWrites(writes)
    }
    watch.reading = { kind: 'state', position: next ?? this.#log.end, isAnew: false }
    return { examined: page.examined, bytes, isLast: next === undefined }
  }

  #survivingWrites(prefix: string, version: AppliedVersion): readonly Write[] {
    const keys = version.keys.filter((key) => key.startsWith(prefix))
    return keys.map((key) => {
      const siblings = this.#keySpace.siblingsOf(key) ?? []
      const { value, deleted } = siblings.find((sibling) => sibling.version === version) as HeldSibling
      return deleted === true ? { key, deleted } : { key, value: value ?? null }
    })
  }

  /**
   * Tells live watches which entries of `applied` rose since they were last told, those first that have not been told
   * for longest. Where nothing rose this is one comparison, however many watches there are.
   */
  #bookmark(applied: Cut, nowMs: number, countMax: number, notify: Notification[]): void {
    const cuts = new Map<number, Cut>()
    let count = 0
    for (const watch of this.#byBookmark) {
      const { rises, sentMs } = watch.bookmark
      // Whoever follows has been told later, and of no less.
      if (count >= countMax || rises === this.#rises || nowMs - sentMs < this.#bookmarkEveryMs) break
      count++
      let cut = cuts.get(rises)
      if (cut === undefined) {
        cut = this.#risenSince(rises, applied)
        cuts.set(rises, cut)
      }
      this.#markBookmark(watch, nowMs)
      // An entry that is no news beside `since` would take the bookmark back.
      const news =
        watch.since.size === 0
          ? cut
          : new Map([...cut].filter(([origin, to]) => entryOf(watch.since, origin) < to))
      if (news.size > 0)
        notify.push({ kind: 'caughtUp', client: watch.client, watch: watch.number, applied: news })
    }
  }

  /** The entries that rose since that many updates had been counted, no live watch having been told before that. */
  #risenSince(rises: number, applied: Cut): Cut {
    const cut: MutableCut = new Map()
    for (const [origin, lastRise] of this.#risen) {
      if (lastRise <= rises) this.#risen.delete(origin)
      else cut.set(origin, entryOf(applied, origin))
    }
    return cut
  }

  #markBookmark(watch: Watch, nowMs: number): void {
    watch.bookmark = { rises: this.#rises, sentMs: nowMs }
    this.#byBookmark.delete(watch)
    this.#byBookmark.add(watch)
  }

  /** What a watch is told of an update whose writes to its keys are these. */
  #push(update: Version, writes: readonly Write[]): UpdatePush {
    const conflict = writes
      .map((write) => ({ key: write.key, siblings: this.#keySpace.siblingsOf(write.key) ?? [] }))
      .filter(
        ({ siblings }) => siblings.length > 1 && siblings.some((sibling) => isSame(sibling.version, update)),
      )
      .map(({ key, siblings }) => ({ key, versions: siblings }))
    const version = { timestamp: update.timestamp, origin: update.origin }
    return { kind: 'update', version, writes, conflict }
  }

  #joinLive(watch: Watch, applied: Cut, nowMs: number, notify: Notification[]): void {
    watch.reading = { kind: 'live' }
    let audience = this.#live.get(watch.prefix)
    if (audience === undefined) {
      audience = new Audience()
      this.#live.set(watch.prefix, audience)
    }
    this.#markBookmark(watch, nowMs)
    // What `since` covers is never sent, even where it is not applied here yet: whoever goes on from this
    // bookmark at another server must not be sent it either.
    const bookmark: MutableCut = new Map(applied)
    let isAllToCome = true
    for (const [origin, timestamp] of watch.since) {
      if (!raise(bookmark, origin, timestamp)) isAllToCome = false
    }
    // What is applied here has been passed over; only what is still to come has to be known.
    if (!isAllToCome) {
      const toCome = [...watch.since].filter(([origin, timestamp]) => entryOf(applied, origin) < timestamp)
      this.#setSince(watch, toCome.length === 0 ? nothing : new Map(toCome))
    }
    audience.add(watch)
    notify.push({ kind: 'caughtUp', client: watch.client, watch: watch.number, applied: bookmark })
  }

  #setSince(watch: Watch, since: Cut): void {
    this.#sinceEntries += since.size - watch.since.size
    watch.since = since
  }

  #leaveLive(watch: Watch): void {
    const audience = this.#live.get(watch.prefix)
    audience?.delete(watch)
    if (audience?.watches.size === 0) this.#live.delete(watch.prefix)
    this.#byBookmark.delete(watch)
    if (this.#byBookmark.size === 0) this.#risen.clear()
  }
}

/** What became of one page. */
interface Progress {
  /** Writes that were looked at. */
  readonly examined: number
  /** About how many were sent that had not been sent to others just before. */
  readonly bytes: number
  /** Whether nothing is left to catch up with. */
  readonly isLast: boolean
}

/** The watches of a client, by their numbers, and the last number that one was given. */
interface ClientWatches {
  readonly byNumber: Map<number, Watch>
  last: number
}

/** Where what watches are told of an update is to go. */
interface Told {
  toBroadcast(broadcast: Broadcast): void
  readonly notify: Notification[]
}

/**
 * The live watches of one prefix. What they are told of an update differs in nothing but their numbers, so those of one
 * number are told together; each client counts its own watches, and most have one.
 */
class Audience {
  readonly #watches = new Set<Watch>()
  /** By number, those of them that are told of every update; undefined where they have changed. */
  #groups: readonly Group[] | undefined

  get watches(): ReadonlySet<Watch> {
    return this.#watches
  }

  add(watch: Watch): void {
    this.#watches.add(watch)
    this.#groups = undefined
  }

  delete(watch: Watch): void {
    this.#watches.delete(watch)
    this.#groups = undefined
  }

  tell(push: UpdatePush, told: Told): void {
    this.#groups ??= this.#grouped()
    for (const { clients, watch, apart } of this.#groups) {
      if (clients.length > 0) told.toBroadcast({ clients, watch, push })
      for (const one of apart) {
        if (!covers(one.since, push.version)) told.notify.push({ client: one.client, watch, ...push })
      }
    }
  }

  #grouped(): readonly Group[] {
    const groups = new Map<number, { clients: ClientId[]; watch: number; apart: Watch[] }>()
    for (const watch of this.#watches) {
      let group = groups.get(watch.number)
      if (group === undefined) {
        group = { clients: [], watch: watch.number, apart: [] }
        groups.set(watch.number, group)
      }
      if (watch.since.size === 0) group.clients.push(watch.client)
      else group.apart.push(watch)
    }
    return [...groups.values()]
  }
}

interface Group {
  readonly clients: readonly ClientId[]
  /** The number that all of them have. */
  readonly watch: number
  /** Those that are not told of some updates: they have been told elsewhere. */
  readonly apart: readonly Watch[]
}

const nothing: Cut = new Map()

/** An update's writes, to be taken by the places of their keys in order. */
class OrderedWrites {
  readonly keys: readonly string[]
  readonly #writes: readonly Write[]
  readonly #order: readonly number[]
  /** At each place the bytes of all before it. */
  #bytesBefore: readonly number[] | undefined

  /** @param isOrdered whether the order matters; otherwise the places are those that they have in the update. */
  constructor(writes: readonly Write[], isOrdered: boolean) {
    this.#writes = writes
    // One write needs no order, and most updates have just one.
    if (writes.length === 1) this.#order = firstOnly
    else this.#order = isOrdered ? [...writes.keys()].toSorted(byKey) : [...writes.keys()]
    this.keys = this.#order.map((index) => (writes[index] as Write).key)

    function byKey(one: number, other: number): number {
      return (writes[one] as Write).key < (writes[other] as Write).key ? -1 : 1
    }
  }

  /** About how many bytes all of them take. */
  get bytes(): number {
    return this.bytesBetween(0, this.#order.length)
  }

  bytesBetween(from: number, to: number): number {
    if (this.#bytesBefore === undefined) {
      let sum = 0
      const sums = this.#order.map((index) => (sum += sizeOfWrites([this.#writes[index] as Write])))
      this.#bytesBefore = [0, ...sums]
    }
    return (this.#bytesBefore[to] as number) - (this.#bytesBefore[from] as number)
  }

  /** Those at these places, in the order that they have in the update. */
  between(from: number, to: number): readonly Write[] {
    const indices = this.#order.slice(from, to).toSorted((one, other) => one - other)
    return indices.map((index) => this.#writes[index] as Write)
  }
}

const firstOnly = [0]

function writesWith(prefix: string, update: Update): readonly Write[] {
  const { writes } = update
  // The same for all whom it concerns alike, so that it is put into words once.
  return writes.every(({ key }) => key.startsWith(prefix))
    ? writes
    : writes.filter(({ key }) => key.startsWith(prefix))
}

function isSame(a: Version, b: Version): boolean {
  return compareVersions(a, b) === 0
}
