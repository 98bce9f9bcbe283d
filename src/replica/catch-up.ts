import { covers, entryOf, raise, type Cut, type MutableCut } from './cut.ts'
import type { Limits, Timing } from './configuration.ts'
import type { LinkState, PeerMessage, SnapshotPage } from './messages.ts'
import { OutgoingSnapshot, type SnapshotState } from './outgoing-snapshot.ts'
import type { LogEntry, LogPage, UpdateLog } from './update-log.ts'
import { serverOf, type Origin, type ServerId, type Timestamp, type Version } from './version.ts'

/**
 * Who lacks what, and who is asked for it (R8).
 *
 * Every server tells every peer its cut; that alone says what is missing on either side. From there on there
 * are two ways for an update to travel. A server *pushes* its own updates to each peer as they happen, within a
 * window of bytes. Everything else is *pulled* by whoever lacks it, from anybody who shows it, a page at a time.
 * A push that is lost, refused or never sent needs no bookkeeping: the sender's cut shows it, nothing arrives,
 * and a moment later it is pulled. So any two connected servers make progress, whatever the third does.
 *
 * Where the log does not reach back to what a puller has, the pull is answered with the first page of a snapshot of the
 * whole state, and the puller asks for the next until it has the last (R12).
 *
 * A link that a lab holds or delays is theatre: while it lasts, that peer's updates are pulled from nobody.
 */
export class CatchUp {
  readonly #peers = new Map<ServerId, Peer>()
  readonly #own: Origin
  readonly #applied: Cut
  readonly #log: UpdateLog
  readonly #state: SnapshotState
  readonly #limits: Limits
  readonly #timing: Timing
  #snapshotNumber = 0
  /** The other servers that there are, as far as this one has been told (R9); before that, it may be any. */
  #members: { readonly ids: readonly ServerId[]; readonly unidentified: number } = {
    ids: [],
    unidentified: 1,
  }
  /** Entries of `applied` that have risen since the peers were last told. */
  readonly #risen = new Set<Origin>()
  /** The pull that is under way; one at a time, so that no update is fetched twice. */
  #pull: OpenPull | undefined
  /** How long a snapshot may take while others could be asked. */
  #patienceMs = patienceMsMin
  #pullNumber = 0

  constructor(options: {
    readonly own: Origin
    /** The replica's own, live. */
    readonly applied: Cut
    readonly state: SnapshotState
    readonly limits: Limits
    readonly timing: Timing
  }) {
    this.#own = options.own
    this.#applied = options.applied
    this.#log = options.state.log
    this.#state = options.state
    this.#limits = options.limits
    this.#timing = options.timing
  }

  get peers(): ReadonlyMap<ServerId, PeerView> {
    return this.#peers
  }

  /** This server may send to `peer` from now on: tells it our cut and sends what of our own it lacks. */
  linkUp(
    peer: { readonly id: ServerId; readonly origin: Origin; readonly applied: Cut },
    nowMs: number,
    send: Send[],
  ): void {
    const view = this.#viewOf(peer.id, peer.origin)
    view.sends = true
    this.#learn(view, peer.applied, nowMs)
    send.push({ to: peer.id, message: { kind: 'cut', entries: new Map(this.#applied) } })
    this.#sendOwn(view, send)
    const { asked } = view
    view.asked = undefined
    if (asked !== undefined) this.#answerPull(view, asked, send)
  }

  #sendOwn(view: Peer, send: Send[]): void {
    view.pushed = { timestamps: [], sizes: [] }
    view.pushedBytes = 0
    // Where the log does not reach back to what it has, the rest could only wait there.
    view.behind = entryOf(view.applied, this.#own) < entryOf(this.#log.floor, this.#own)
    if (view.behind) return
    const page = this.#log.page({ cut: view.applied, only: new Set([this.#own]), limits: this.#limits.page })
    for (const entry of page.entries) this.#recordPush(view, entry)
    if (page.entries.length > 0) send.push({ to: view.id, message: updatesMessage(page.entries) })
    view.behind = page.more
  }

  /** @returns whether this is the peer that we know, and not news of an earlier run of its process (R7). */
  linkDown(id: ServerId, origin: Origin): boolean {
    const view = this.#peers.get(id)
    if (view?.origin !== origin) return false
    view.sends = false
    view.snapshot = undefined
    if (this.#pull?.peer === id) this.#pull = undefined
    this.#forgetIfGone(view)
    return true
  }

  peerHeard(id: ServerId, origin: Origin): void {
    const view = this.#viewOf(id, origin)
    view.hears = true
    view.link = openLink
  }

  /** @returns as {@link linkDown}. */
  peerSilent(id: ServerId, origin: Origin): boolean {
    const view = this.#peers.get(id)
    if (view?.origin !== origin) return false
    view.hears = false
    view.asked = undefined
    // A hold ends when its connection does. A cut is why it ended: `why` goes on to say so.
    if (view.link.state !== 'cut') view.link = openLink
    this.#hopeAgain()
    if (this.#pull?.peer === id) this.#pull = undefined
    this.#forgetIfGone(view)
    return true
  }

  /** Sends an update of our own, just applied here, to all peers that are keeping up. */
  push(entry: LogEntry, send: Send[]): void {
    const message: PeerMessage = { kind: 'updates', updates: [entry.update] }
    for (const view of this.#peers.values()) {
      if (!view.sends || view.behind) continue
      if (view.pushedBytes + entry.bytes > this.#limits.pushedBytesMax && view.pushedBytes > 0) {
        // It sees from our cut that there is more, and pulls; what is on its way to it stays bounded.
        view.behind = true
        continue
      }
      this.#recordPush(view, entry)
      send.push({ to: view.id, message })
    }
  }

  /** An entry of our `applied` rose. */
  applied(origin: Origin): void {
    this.#risen.add(origin)
  }

  /** @returns false where the peer's cut has more origins than are kept. */
  receiveCut(id: ServerId, entries: Cut, nowMs: number): boolean {
    const view = this.#peers.get(id)
    if (view === undefined) return true
    if (view.applied.size + entries.size > 2 * this.#limits.originsPerPeerMax) return false
    this.#learn(view, entries, nowMs)
    return view.applied.size <= this.#limits.originsPerPeerMax
  }

  receiveLink(id: ServerId, state: LinkState): void {
    const view = this.#peers.get(id)
    if (view === undefined) return
    view.link = state
    this.#hopeAgain()
    if (state.state === 'held' && this.#pull?.peer === id) this.#pull = undefined
  }

  /**
   * Answers a pull with the page that comes next for a cut; where nothing may be sent yet, as soon as that may.
   *
   * @returns as {@link receiveCut}: a pull shows a cut, too.
   */
  receivePull(id: ServerId, pull: Pull, nowMs: number, send: Send[]): boolean {
    if (!this.receiveCut(id, pull.applied, nowMs)) return false
    const view = this.#peers.get(id)
    if (view === undefined) return true
    if (view.sends) this.#answerPull(view, pull, send)
    else view.asked = pull
    return true
  }

  #answerPull(view: Peer, pull: Pull, send: Send[]): void {
    const except = new Set(pull.except)
    const isUnderWay = view.snapshot !== undefined && view.snapshot.number === pull.snapshot
    if (pull.snapshot !== undefined && !isUnderWay) {
      // Asked for ahead, of a snapshot that has gone out whole since, or has been begun anew.
      if (view.snapshot !== undefined || pull.snapshot === view.finishedSnapshot) return
    }
    if (except.size === 0 && (isUnderWay || !this.#log.reaches(pull.applied))) {
      send.push({
        to: view.id,
        message: { kind: 'snapshot', pull: pull.pull, ...this.#snapshotPage(view, isUnderWay) },
      })
      return
    }
    view.snapshot = undefined
    // A snapshot leaves no origin out: what lies behind a held link waits until it is released.
    const page: LogPage = this.#log.reaches(pull.applied, except)
      ? this.#log.page({ cut: pull.applied, except, limits: this.#limits.page })
      : { entries: [], more: false }
    if (!page.more && !except.has(this.#own)) {
      // It has pulled to the tip: from here on pushes follow without a gap.
      view.behind = false
    }
    const { updates } = updatesMessage(page.entries)
    send.push({ to: view.id, message: { kind: 'page', pull: pull.pull, updates, more: page.more } })
  }

  #snapshotPage(view: Peer, isUnderWay: boolean): SnapshotPage {
    if (!isUnderWay) view.snapshot = this.#beginSnapshot()
    const page = view.snapshot?.next(this.#applied, this.#limits.snapshotPage)
    if (page === undefined) {
      // More was applied while it was under way than the log keeps.
      view.snapshot = this.#beginSnapshot()
      return this.#snapshotPage(view, true)
    }
    if (page.applied !== undefined) {
      view.finishedSnapshot = page.snapshot
      view.snapshot = undefined
    }
    return page
  }

  #beginSnapshot(): OutgoingSnapshot {
    return new OutgoingSnapshot(++this.#snapshotNumber, this.#state)
  }

  /**
   * A page of a snapshot has come that is not its last: asks for more, some pages ahead, so that a long way to the peer
   * does not make a snapshot slower than what is written meanwhile.
   *
   * @param isFirst whether it is the first page.
   */
  continueSnapshot(
    id: ServerId,
    page: { readonly snapshot: number; readonly isFirst: boolean },
    nowMs: number,
    send: Send[],
  ): void {
    const view = this.#peers.get(id)
    if (view === undefined || !view.sends || this.#pull === undefined) return
    this.#pull = { ...this.#pull, sentMs: nowMs }
    const count = page.isFirst ? snapshotPagesAhead : 1
    for (let asked = 0; asked < count; asked++) {
      send.push({ to: id, message: this.#pullMessage(view, this.#pull.number, page.snapshot) })
    }
  }

  /** A snapshot has come to its end, in vain or not; what is left to fetch is asked for. */
  endSnapshot(
    id: ServerId,
    ended: { readonly pull: number; readonly isFruitful: boolean },
    nowMs: number,
    send: Send[],
  ): void {
    const view = this.#peers.get(id)
    // Whoever has just served a whole state gives way to the others, who may have been waiting for long.
    if (view !== undefined) view.unansweredMs = nowMs
    // One that brought nothing and could be followed by the next such is followed by none for a while.
    this.receivePage(id, { ...ended, more: !ended.isFruitful }, nowMs, send)
    if (ended.isFruitful) this.#patienceMs = patienceMsMin
  }

  /** Whether a page answers the pull that is under way, and not one that was given up. */
  isAwaited(pull: number): boolean {
    return this.#pull?.number === pull
  }

  /** A page has been applied: asks for the next, or is done. */
  receivePage(id: ServerId, page: PageReceipt, nowMs: number, send: Send[]): void {
    const view = this.#peers.get(id)
    if (view === undefined || this.#pull?.number !== page.pull) return
    this.#pull = undefined
    // Without a held link a last page in vain just crossed what it asked for on its way. One that is in vain and
    // promises more is none to be followed at once, or a faulty peer could keep all pulling to itself.
    const isInVain = !page.isFruitful && (page.more || this.#exceptedFrom(id).size > 0)
    view.fruitlessPulls = isInVain ? view.fruitlessPulls + 1 : 0
    view.pulledMs = nowMs
    if (page.more && page.isFruitful && view.sends) this.#sendPull(view, nowMs, send)
  }

  /** Tells the peers how our cut has risen since they were last told. */
  tellCut(send: Send[]): void {
    if (this.#risen.size === 0) return
    const entries: MutableCut = new Map()
    for (const origin of this.#risen) entries.set(origin, entryOf(this.#applied, origin))
    this.#risen.clear()
    for (const view of this.#peers.values()) {
      if (view.sends) send.push({ to: view.id, message: { kind: 'cut', entries } })
    }
  }

  /** Tells the peers how our cut has risen, and pulls for what has not come by itself. */
  tick(nowMs: number, send: Send[]): void {
    this.tellCut(send)
    if (this.#pull !== undefined && this.#mayGoOn(this.#pull, nowMs)) return
    const unanswered = this.#pull === undefined ? undefined : this.#peers.get(this.#pull.peer)
    if (unanswered !== undefined) unanswered.unansweredMs = nowMs
    this.#pull = undefined
    const candidates = [...this.#peers.values()].filter((view) => this.#isCandidate(view, nowMs))
    // Whoever let a pull time out is asked again only when all others have had their turn.
    const [chosen] = candidates.toSorted((a, b) => a.unansweredMs - b.unansweredMs)
    if (chosen !== undefined) this.#sendPull(chosen, nowMs, send)
  }

  /**
   * Whether the pull that is under way is left to go on. A snapshot may take as long as its pages come; but one that takes
   * long while somebody else could be asked gives way, or a peer whose snapshots never end would keep all pulling to
   * itself. Each time it may take twice as long, so that a large one comes to its end all the same.
   */
  #mayGoOn(pull: OpenPull, nowMs: number): boolean {
    if (nowMs - pull.sentMs >= this.#pullTimeoutMs(pull.peer)) return false
    if (nowMs - pull.sinceMs < this.#patienceMs) return true
    for (const view of this.#peers.values()) {
      if (view.id === pull.peer || !this.#isCandidate(view, nowMs)) continue
      this.#patienceMs *= 2
      return false
    }
    return true
  }

  /** An answer over a held link would stay there, and keep us from asking anybody else. */
  #isCandidate(view: Peer, nowMs: number): boolean {
    return view.sends && view.hears && view.link.state !== 'held' && this.#owes(view, nowMs)
  }

  /** Connected servers that have told that they applied a version. */
  holdersOf(version: Version): readonly ServerId[] {
    return [...this.#peers.values()].filter((view) => covers(view.applied, version)).map((view) => view.id)
  }

  /** Whether any connected server has told that it applied a version. */
  hasHolder(version: Version): boolean {
    for (const view of this.#peers.values()) if (covers(view.applied, version)) return true
    return false
  }

  /** Whether a lab holds the link on which a server sends to this one, so that it is asked for nothing. */
  isHeld(id: ServerId): boolean {
    return this.#peers.get(id)?.link.state === 'held'
  }

  learnMembers(ids: readonly ServerId[], unidentified: number): void {
    this.#members = { ids, unidentified }
  }

  /** Whether every other server that this one has been told of is connected in both directions (R9). */
  get isWhole(): boolean {
    if (this.#members.unidentified > 0) return false
    return this.#members.ids.every((id) => {
      const view = this.#peers.get(id)
      return view !== undefined && view.sends && view.hears
    })
  }

  /**
   * Whether this server has ever been told of another, or is it. Of a version whose server it has not heard of it can only
   * say that it has not been told of everybody yet (R9).
   */
  isMember(id: ServerId): boolean {
    return id === serverOf(this.#own) || this.#members.ids.includes(id)
  }

  /** Whether a connected server runs under this origin, so that it can still issue updates. */
  canIssue(origin: Origin): boolean {
    return [...this.#peers.values()].some((view) => view.origin === origin)
  }

  /** Origins whose own way here a lab holds, so that their updates are not to come by this server (R8). */
  detoursBy(id: ServerId): ReadonlySet<Origin> {
    return this.#exceptedFrom(id)
  }

  /** The state of the link on which a server's own updates come here. */
  linkFrom(id: ServerId): LinkState | 'absent' {
    const view = this.#peers.get(id)
    if (view === undefined) return 'absent'
    return view.hears || view.link.state === 'cut' ? view.link : 'absent'
  }

  #viewOf(id: ServerId, origin: Origin): Peer {
    let view = this.#peers.get(id)
    if (view === undefined || view.origin !== origin) {
      if (this.#pull?.peer === id) this.#pull = undefined
      view = {
        id,
        origin,
        sends: false,
        hears: false,
        applied: new Map(),
        ahead: new Map(),
        link: openLink,
        behind: false,
        pushed: { timestamps: [], sizes: [] },
        pushedBytes: 0,
        fruitlessPulls: 0,
        pulledMs: 0,
        unansweredMs: -1,
        asked: undefined,
        snapshot: undefined,
        finishedSnapshot: undefined,
      }
      this.#peers.set(id, view)
    }
    return view
  }

  /** A link has changed: what was asked for in vain may be had now. */
  #hopeAgain(): void {
    for (const view of this.#peers.values()) view.fruitlessPulls = 0
  }

  #forgetIfGone(view: Peer): void {
    if (!view.sends && !view.hears) this.#peers.delete(view.id)
  }

  #recordPush(view: Peer, entry: LogEntry): void {
    view.pushed.timestamps.push(entry.update.timestamp)
    view.pushed.sizes.push(entry.bytes)
    view.pushedBytes += entry.bytes
  }

  /** The peer has applied this much, however we heard of it: what of it we lack, it owes us from now on. */
  #learn(view: Peer, entries: Cut, nowMs: number): void {
    for (const [origin, timestamp] of entries) {
      if (!raise(view.applied, origin, timestamp)) continue
      if (entryOf(this.#applied, origin) < timestamp && !view.ahead.has(origin)) {
        view.ahead.set(origin, { timestamp, sinceMs: nowMs })
      }
    }
    this.#acknowledge(view)
  }

  /** What the peer's cut shows of our own updates is no longer on its way. */
  #acknowledge(view: Peer): void {
    const applied = entryOf(view.applied, this.#own)
    const { timestamps, sizes } = view.pushed
    let count = 0
    for (const timestamp of timestamps) {
      if (timestamp > applied) break
      view.pushedBytes -= sizes[count++] as number
    }
    if (count > 0) {
      timestamps.splice(0, count)
      sizes.splice(0, count)
    }
    // It has all of ours, wherever it got it: from here on pushes follow without a gap.
    if (applied > 0 && applied >= entryOf(this.#applied, this.#own)) view.behind = false
  }

  /** A delayed link is theatre: what it delays is not late. */
  #pullAfterMs(view: Peer): number {
    return this.#timing.pullAfterMs + view.link.delayMs
  }

  #pullTimeoutMs(id: ServerId): number {
    return this.#timing.pullTimeoutMs + (this.#peers.get(id)?.link.delayMs ?? 0)
  }

  /** Whether this peer has for a while shown something that has not come by itself. */
  #owes(view: Peer, nowMs: number): boolean {
    let owes = false
    const excepted = this.#exceptedFrom(view.id)
    const pauseMs =
      view.fruitlessPulls === 0 ? 0 : this.#timing.pullAfterMs * 2 ** Math.min(view.fruitlessPulls, 4)
    if (nowMs - view.pulledMs < pauseMs) return false
    for (const [origin, ahead] of view.ahead) {
      const shown = entryOf(view.applied, origin)
      if (entryOf(this.#applied, origin) >= shown) view.ahead.delete(origin)
      else if (entryOf(this.#applied, origin) >= ahead.timestamp)
        view.ahead.set(origin, { timestamp: shown, sinceMs: nowMs })
      else if (!excepted.has(origin) && nowMs - ahead.sinceMs >= this.#pullAfterMs(view)) owes = true
    }
    return owes
  }

  /**
   * Origins whose links to here are theatre, as far as a peer is concerned: its own updates it may send, and they come
   * over the very link that holds or delays them.
   */
  #exceptedFrom(id: ServerId): ReadonlySet<Origin> {
    const excepted = new Set<Origin>()
    for (const view of this.#peers.values()) {
      const isTheatre = view.hears && (view.link.state === 'held' || view.link.state === 'delayed')
      if (isTheatre && view.id !== id) excepted.add(view.origin)
    }
    return excepted
  }

  #sendPull(view: Peer, nowMs: number, send: Send[]): void {
    const number = ++this.#pullNumber
    this.#pull = { number, peer: view.id, sinceMs: nowMs, sentMs: nowMs }
    send.push({ to: view.id, message: this.#pullMessage(view, number) })
  }

  #pullMessage(view: Peer, pull: number, snapshot?: number): PeerMessage {
    return {
      kind: 'pull',
      pull,
      applied: new Map(this.#applied),
      except: [...this.#exceptedFrom(view.id)],
      ...(snapshot === undefined ? {} : { snapshot }),
    }
  }
}

/** What is known here of a connected server. */
export interface PeerView {
  readonly id: ServerId
  readonly origin: Origin
  /** Whether this server's link to it is up. */
  readonly sends: boolean
  /** Whether its link to this server is up. */
  readonly hears: boolean
  /** At most what it has really applied: what it has told. */
  readonly applied: Cut
}

interface Peer extends PeerView {
  sends: boolean
  hears: boolean
  readonly applied: MutableCut
  /**
   * What its cut has shown above ours: one timestamp of each such origin, and when it was seen. An entry may be
   * stale; it is checked when it is used. Under steady traffic the cut is always a little ahead, and each
   * timestamp arrives by itself soon after; only one that does not is pulled for.
   */
  readonly ahead: Map<Origin, { readonly timestamp: Timestamp; readonly sinceMs: number }>
  /** What it says of its link to this server. */
  link: LinkState
  /** It lacks updates of ours that were not pushed; it gets no pushes until it has pulled to the tip. */
  behind: boolean
  /** Our updates that are on their way to it, in order: pushed, and not yet shown by its cut. */
  pushed: { readonly timestamps: Timestamp[]; readonly sizes: number[] }
  /** The sum of their bytes; at most `pushedBytesMax`, but for a page on connecting and a single large one. */
  pushedBytes: number
  /**
   * How many pulls in a row have brought nothing new. While a link is held, what waits for its updates is here and
   * cannot apply, so the peer's cut stays above ours; asking again and again would be in vain.
   */
  fruitlessPulls: number
  /** When the last pull from it was answered to the end. */
  pulledMs: number
  /** When it last let a pull go unanswered; -1 for never. */
  unansweredMs: number
  /**
   * Its pull that came when nothing could be sent to it. It takes our link for up a moment before we do, and would
   * wait for its timeout in vain; so it is answered when the link is up.
   */
  asked: Pull | undefined
  /** The snapshot that it is taking from us. */
  snapshot: OutgoingSnapshot | undefined
  /** The number of the last snapshot that it has taken to its end. */
  finishedSnapshot: number | undefined
}

/** What a page that was received means for whoever asked for it. */
export interface PageReceipt {
  readonly pull: number
  readonly more: boolean
  /** Whether anything on it was new here. */
  readonly isFruitful: boolean
}

type Pull = Extract<PeerMessage, { readonly kind: 'pull' }>

interface Send {
  readonly to: ServerId
  readonly message: PeerMessage
}

/** A pull of ours that is under way. */
interface OpenPull {
  readonly number: number
  readonly peer: ServerId
  /** When it began. */
  readonly sinceMs: number
  /** When it was last answered, or began. */
  readonly sentMs: number
}

/** A large state over a fast network takes less. */
const patienceMsMin = 60_000

/** Pages of a snapshot that are on their way at once: a mebibyte and more, as a long fat network wants it. */
const snapshotPagesAhead = 6

const openLink: LinkState = { state: 'open', delayMs: 0, queued: 0 }

function updatesMessage(entries: readonly LogEntry[]): Extract<PeerMessage, { kind: 'updates' }> {
  return { kind: 'updates', updates: entries.map((entry) => entry.update) }
}
