import { CatchUp, type PageReceipt } from './catch-up.ts'
import { CausalBuffer, type WaitingUpdate } from './causal-buffer.ts'
import type { Configuration } from './configuration.ts'
import { covers, coversCut, entryOf, raise, type Cut, type MutableCut } from './cut.ts'
import { Enquiry } from './enquiry.ts'
import { fingerprintOf } from './fingerprint.ts'
import { IncomingSnapshot } from './incoming-snapshot.ts'
import type { ClientId, Input } from './input.ts'
import { KeySpace, type Siblings } from './key-space.ts'
import { KnownMatrix } from './known-matrix.ts'
import type {
  ClientRequest,
  ClientResult,
  KeyValue,
  MissingEntry,
  MissingVersion,
  Patience,
  PeerMessage,
  SessionRecord,
  SnapshotPage,
  Story,
} from './messages.ts'
import type { Output, StateRecords } from './output.ts'
import { OutputDraft } from './output-draft.ts'
import { ParkedRequests, type ParkedRequest } from './parked-requests.ts'
import { Questions, versionKey, type Question } from './questions.ts'
import type { Recovered } from './recovered.ts'
import { RequestTable } from './request-table.ts'
import { SnapshotInstallation } from './snapshot-installation.ts'
import { AppliedVersion } from './surviving-updates.ts'
import { UpdateLog, type LogEntry } from './update-log.ts'
import { dependenciesOf, malformation, noDependencies, sizeOf, sizeOfWrites, type Update } from './update.ts'
import { serverOf, showVersion, type Origin, type ServerId, type Timestamp, type Version } from './version.ts'
import { Watches } from './watches.ts'

/**
 * The state machine that decides everything, and does no I/O.
 *
 * It is a function of its inputs: the same inputs in the same order give the same outputs, on any machine and
 * at any time. The shell feeds it what happened and carries out what it says; the order in which it may do so
 * is R6, and stands on the fields of {@link Output}.
 *
 * Invariants, of which everything else is made:
 * - `applied` is causally closed: if it covers an update, it covers all that the update's origin had applied.
 * - `clock` is the highest timestamp that `applied` covers, and nothing else raises it (R1).
 * - Every update in the log is covered by `applied`, and none that waits is.
 * - What `applied` covers is in the log, or `logFloor` covers it (R8).
 * - Row o of `known` is what o had applied when it issued the update (`applied[o]`, o) (R5).
 */
export class Replica {
  readonly #configuration: Configuration
  readonly #origin: Origin
  readonly #applied: MutableCut = new Map()
  #clock = 0
  readonly #known = new KnownMatrix()
  /** Where `applied` is above this server's own row of `known`: the dependencies of its next update (R2). */
  readonly #risenSinceOwn: MutableCut = new Map()
  readonly #keySpace = new KeySpace()
  readonly #log: UpdateLog
  readonly #requests: RequestTable
  readonly #buffer: CausalBuffer
  readonly #parked: ParkedRequests
  /** Parked requests and watches that look as if they waited for something lost. */
  readonly #enquiry = new Enquiry<Doubt>()
  /** Watches that go on from a cut which is not all applied here, by {@link watchKey}. */
  readonly #expectant = new Map<string, ExpectantWatch>()
  /** What the folder held of this server's earlier runs, and what has been said of it since; without one, none. */
  readonly #former: MutableCut | undefined
  #incoming: IncomingSnapshot | undefined
  /** While it is under way nothing else happens: what comes is held. */
  #installation: { readonly work: SnapshotInstallation; readonly pull: number } | undefined
  #held: Input[] = []
  /** A page whose last updates may still be among the woken; the next is asked for when they are applied. */
  #pageTaken: (PageReceipt & { readonly from: ServerId }) | undefined
  readonly #catchUp: CatchUp
  readonly #watches: Watches
  readonly #questions = new Questions()
  #nowMs = 0
  #sweptMs = 0
  #enquiredMs = -1
  /** How many of the parked requests were looked at before the present look; the next goes on there. */
  #enquiredUpTo = 0
  #examined = 0

  /** @param recovered what a disk has kept, where there is one; also where it was empty. */
  constructor(configuration: Configuration, recovered?: Recovered) {
    const { origin, limits, timing } = configuration
    this.#configuration = configuration
    this.#origin = origin
    this.#log = new UpdateLog(limits.log)
    this.#requests = new RequestTable(limits.requests)
    this.#buffer = new CausalBuffer(limits.buffer)
    this.#parked = new ParkedRequests({ max: limits.parkedMax })
    const state = {
      log: this.#log,
      keySpace: this.#keySpace,
      known: this.#known,
      requests: this.#requests,
    }
    this.#catchUp = new CatchUp({ own: origin, applied: this.#applied, state, limits, timing })
    this.#watches = new Watches({
      log: this.#log,
      keySpace: this.#keySpace,
      pageUpdatesMax: limits.page.updatesMax,
      pageBytesMax: limits.page.bytesMax,
      examinedPerStepMax: limits.appliedPerStepMax,
      bookmarkEveryMs: timing.bookmarkEveryMs,
    })
    if (recovered === undefined) return
    this.#recover(recovered)
    const former = [...this.#applied].filter(([past]) => serverOf(past) === configuration.server)
    this.#former = new Map(former)
  }

  /** The only way in. Synchronous, total and deterministic; throws only on a defect of its own. */
  step(input: Input): Output {
    const output = new OutputDraft()
    this.#watches.beginStep()
    if (this.#installation !== undefined) {
      this.#hold(input)
      if (input.kind === 'tick') this.#refuseExpired(output)
      this.#install(output, this.#installation)
      output.more = true
      return output
    }
    const tookHeld = this.#held.length > 0
    if (tookHeld) this.#acceptHeld(input, output)
    else this.#accept(input, output)
    if (this.#installation !== undefined) {
      output.more = true
      return output
    }
    this.#drain(output)
    this.#serveParked(output)
    if (this.#pageTaken !== undefined && this.#buffer.wokenCount === 0) {
      this.#catchUp.receivePage(this.#pageTaken.from, this.#pageTaken, this.#nowMs, output.send)
      this.#pageTaken = undefined
    }
    if (input.kind === 'tick') {
      this.#refuseExpired(output)
      if (this.#nowMs - this.#sweptMs >= sweepEveryMs) this.#sweep(output)
      this.#catchUp.tick(this.#nowMs, output.send)
    }
    if (input.kind === 'tick' || input.kind === 'message') this.#enquire(output)
    // One that began in this step, as only what was held can in such a one, is told nothing before its answer.
    const mayTell = input.kind === 'tick' || input.kind === 'continue' || input.kind === 'clientDrained'
    if (mayTell && !tookHeld) {
      output.awaitDrain = this.#watches.catchUp(this.#applied, this.#nowMs, output.notify)
    }
    this.#answerQuestions(output)
    output.more =
      this.#buffer.wokenCount > 0 ||
      this.#parked.readyCount > 0 ||
      this.#watches.anyDue ||
      this.#held.length > 0
    return output
  }

  /** Takes up what was held, in its order and a part of it in each step, and the new input after that. */
  #acceptHeld(input: Input, output: OutputDraft): void {
    this.#hold(input)
    const held = this.#held.splice(0, heldPerStepMax)
    let count = 0
    const { appliedPerStepMax } = this.#configuration.limits
    while (
      count < held.length &&
      this.#installation === undefined &&
      output.persist.length < appliedPerStepMax
    ) {
      this.#accept(held[count++] as Input, output)
    }
    // There was much in it, or another snapshot has begun, for whose end the rest waits.
    this.#held.unshift(...held.slice(count))
  }

  /** Time goes on while a snapshot is taken in; all else waits for its end. */
  #hold(input: Input): void {
    if (input.kind === 'tick') this.#nowMs = Math.max(this.#nowMs, input.nowMs)
    else if (input.kind !== 'continue') this.#held.push(input)
  }

  get applied(): Cut {
    return this.#applied
  }

  get clock(): number {
    return this.#clock
  }

  /**
   * How often a dependency of an update has been looked up, since the start. This, and not time, is what R3
   * bounds: each is examined once when it is found met, and once for each time its update is woken.
   */
  get examined(): number {
    return this.#examined
  }

  /** Every key ever written, tombstones too, sorted, with its siblings; what replicas agree on (R4, R5). */
  entries(): ReturnType<KeySpace['entries']> {
    return this.#keySpace.entries()
  }

  siblingsOf(key: string): Siblings | undefined {
    return this.#keySpace.siblingsOf(key)
  }

  /** Row `origin` of the matrix of R5; undefined before its first update is applied here. */
  knownBy(origin: Origin): Cut | undefined {
    return this.#known.row(origin)
  }

  /** What is kept of a session's requests (R10). */
  sessionRecord(session: string): SessionRecord | undefined {
    return this.#requests.sessionRecord(session)
  }

  /** Sessions that were forgotten since this was last asked: their copies may go too. */
  takeForgottenSessions(): readonly string[] {
    return this.#requests.takeForgotten()
  }

  /** The position of the oldest update in the log. */
  get logStart(): number {
    return this.#log.start
  }

  /** The position of the next update. */
  get logEnd(): number {
    return this.#log.end
  }

  /** Covers what was applied and is no longer in the log (R8). */
  get logFloor(): Cut {
    return this.#log.floor
  }

  // ── starting from a disk ───────────────────────────────────────────────────────────────────────────────

  /**
   * Takes up a checkpoint, and applies what the log has after it. No output comes of that: all of it had happened.
   * Each update is applied to those of its keys whose records are older than it.
   */
  #recover(recovered: Recovered): void {
    const restoration = this.#keySpace.restoration()
    const newer = new Map<string, number>()
    for (const { key, position, siblings } of recovered.keys) {
      restoration.restore(key, siblings)
      if (position > recovered.checkpoint) newer.set(key, position)
    }
    for (const { origin, known } of recovered.rows) this.#known.merge(origin, known)
    for (const session of recovered.sessions) this.#requests.merge(session)
    for (const [origin, timestamp] of recovered.applied) this.#rise(origin, timestamp)
    this.#log.skipTo(0, recovered.logFloor)
    for (const { position, entry } of recovered.log) {
      this.#log.skipTo(position, nothing)
      this.#log.append(entry)
      const { update } = entry
      const version = restoration.locate(update, position)
      if (position < recovered.checkpoint) continue
      const overwrites = this.#known.learn(update)
      for (const write of update.writes) {
        if ((newer.get(write.key) ?? 0) <= position) this.#keySpace.apply(write, version, overwrites)
      }
      this.#rise(update.origin, update.timestamp)
      if (update.request !== undefined) {
        this.#requests.record(update.request, version, fingerprintOf(update.writes))
      }
    }
    this.#log.skipTo(recovered.logEnd, nothing)
    // The records come in the order of their keys; what a watch reads of the state is to come in a causal one.
    restoration.finish(Math.max(this.#log.start, this.#log.gapEnd))
  }

  #rise(origin: Origin, timestamp: Timestamp): void {
    if (!raise(this.#applied, origin, timestamp)) return
    this.#clock = Math.max(this.#clock, timestamp)
    if (origin !== this.#origin) this.#risenSinceOwn.set(origin, timestamp)
  }

  #accept(input: Input, output: OutputDraft): void {
    switch (input.kind) {
      case 'tick':
        this.#nowMs = Math.max(this.#nowMs, input.nowMs)
        return
      case 'continue':
        return
      case 'request':
        this.#request(input, output)
        return
      case 'clientDrained':
        this.#watches.drain(input.client)
        return
      case 'clientStalled':
        this.#watches.stall(input.client)
        return
      case 'clientGone':
        this.#watches.closeAll(input.client)
        this.#parked.forgetClient(input.client)
        for (const [key, { client }] of this.#expectant) {
          if (client === input.client) this.#expectant.delete(key)
        }
        this.#questions.forgetClient(input.client)
        return
      case 'linkUp':
        this.#catchUp.linkUp(
          { id: input.peer, origin: input.origin, applied: input.applied },
          this.#nowMs,
          output.send,
        )
        this.#compareFormer(input.peer, input.applied, output)
        return
      case 'linkDown':
        this.#enquiry.abandon()
        this.#forgetIncoming(input.peer)
        if (this.#catchUp.linkDown(input.peer, input.origin)) this.#questions.forgetServer(input.peer)
        return
      case 'peerHeard':
        this.#catchUp.peerHeard(input.peer, input.origin)
        return
      case 'members':
        this.#catchUp.learnMembers(input.ids, input.unidentified)
        return
      case 'peerSilent':
        this.#enquiry.abandon()
        this.#forgetIncoming(input.peer)
        if (this.#catchUp.peerSilent(input.peer, input.origin)) this.#questions.forgetServer(input.peer)
        return
      case 'message':
        this.#message(input.from, input.message, output)
        return
    }
  }

  // ── clients ────────────────────────────────────────────────────────────────────────────────────────────

  #request(input: Extract<Input, { kind: 'request' }>, output: OutputDraft): void {
    const { client, id, request } = input
    const after = afterOf(request)
    if (after === undefined) {
      this.#carryOut(input, output)
      return
    }
    // Behind those that are ready and have not had their turn, so that a client's requests keep their order.
    if (this.#parked.readyCount === 0 && coversCut(this.#applied, after)) {
      this.#carryOut(input, output)
      return
    }
    const { limits, timing } = this.#configuration
    const bytes = after.size * entryBytes + weightOf(request)
    if (this.#parked.isFull || this.#parked.bytes + bytes > limits.parkedBytesMax) {
      output.toReply({ client, id, result: { method: 'refused', reason: 'tooManyWaiting' } })
      return
    }
    const deadlineMs = this.#nowMs + ((request as Patience).timeoutMs ?? timing.patienceMs)
    this.#parked.park({ client, id, request, after, deadlineMs, bytes }, this.#applied)
  }

  #carryOut(asked: Omit<Extract<Input, { kind: 'request' }>, 'kind'>, output: OutputDraft): void {
    const { client, id, request } = asked
    if (request.method === 'why') {
      this.#ask({ client, id, key: request.key }, output)
      return
    }
    const result = request.method === 'write' ? this.#write(request, output) : this.#answer(client, request)
    output.toReply({ client, id, result })
  }

  /** Carries out what has been waited for, up to a bound, so that no step is long (R9). */
  #serveParked(output: OutputDraft): void {
    for (let count = 0; count < this.#configuration.limits.appliedPerStepMax; count++) {
      const ready = this.#parked.takeReady()
      if (ready === undefined) return
      this.#carryOut(ready, output)
    }
  }

  #refuseExpired(output: OutputDraft): void {
    let entriesLeft = examinedEntriesMax
    while (entriesLeft > 0) {
      const [expired] = this.#parked.takeExpired(this.#nowMs, 1)
      if (expired === undefined) return
      const { client, id, after } = expired
      entriesLeft -= 1 + after.size
      output.toReply({ client, id, result: this.#notCaughtUp(after, () => false) })
    }
  }

  /** Names what is missing, what is lost before all else; of many, the first. */
  #notCaughtUp(after: Cut, isLost: (version: Version) => boolean): ClientResult {
    const { missingNamedMax } = this.#configuration.limits
    const lost: MissingEntry[] = []
    const missing: MissingEntry[] = []
    let count = 0
    for (const version of this.#uncovered(after)) {
      count++
      if (isLost(version)) {
        if (lost.length < missingNamedMax) lost.push({ version, holders: [], lost: true })
      } else if (missing.length < missingNamedMax) {
        missing.push({ version, holders: this.#catchUp.holdersOf(version), lost: false })
      }
    }
    const named = [...lost, ...missing].slice(0, missingNamedMax)
    return { method: 'notCaughtUp', missing: named, more: count - named.length }
  }

  *#uncovered(after: Cut): Generator<Version, void, undefined> {
    for (const [origin, timestamp] of after) {
      if (entryOf(this.#applied, origin) < timestamp) yield { origin, timestamp }
    }
  }

  /**
   * Finds out whether what is waited for still exists (R9). While every member is connected and none shows it, each
   * is asked for its cut; if none shows it then either, it is lost, and whoever waits for it is told at once.
   */
  #enquire(output: OutputDraft): void {
    if (this.#parked.size === 0 && this.#expectant.size === 0) return
    for (const doubt of this.#enquiry.takeSettled(this.#nowMs)) this.#judge(doubt, output)
    if (this.#enquiry.isOpen || this.#enquiredMs === this.#nowMs || !this.#catchUp.isWhole) return
    // Looking through all that is parked is for once a tick, and not for all of a large crowd.
    this.#enquiredMs = this.#nowMs
    const doubts: Doubt[] = []
    const versions = new Map<string, Version>()
    const doubt = (after: Cut, who: Doubt['who']): void => {
      const doubted = new Set<string>()
      for (const version of this.#uncovered(after)) {
        if (!this.#looksLost(version)) continue
        const name = versionKey(version)
        if (versions.size === toldVersionsMax && !versions.has(name)) continue
        doubted.add(name)
        versions.set(name, version)
      }
      if (doubted.size > 0) doubts.push({ who, doubted })
    }
    let entriesLeft = examinedEntriesMax
    let index = 0
    const first = this.#enquiredUpTo
    this.#enquiredUpTo = 0
    for (const parked of this.#parked) {
      if (index++ < first) continue
      if (entriesLeft <= 0 || versions.size === toldVersionsMax) {
        // The next look begins where this one stopped.
        this.#enquiredUpTo = index - 1
        break
      }
      entriesLeft -= 1 + parked.after.size
      doubt(parked.after, { kind: 'request', parked })
    }
    let watchesLeft = this.#expectant.size
    for (const [key, watch] of this.#expectant) {
      if (watchesLeft-- === 0 || entriesLeft <= 0 || versions.size === toldVersionsMax) break
      entriesLeft -= 1 + watch.since.size
      this.#expectant.delete(key)
      if (coversCut(this.#applied, watch.since)) continue
      // Behind the others, so that each has its turn.
      this.#expectant.set(key, watch)
      doubt(watch.since, { kind: 'watch', watch })
    }
    if (doubts.length === 0) return
    const asked = [...this.#catchUp.peers.keys()]
    const number = this.#questions.nextNumber()
    const ask = { kind: 'ask', question: number, versions: [...versions.values()] } as const
    for (const to of asked) output.send.push({ to, message: ask })
    const deadlineMs = this.#nowMs + this.#configuration.timing.askTimeoutMs
    this.#enquiry.begin({ number, asked, doubts, deadlineMs })
    // Who has no peers has nobody to ask.
    for (const settled of this.#enquiry.takeSettled(this.#nowMs)) this.#judge(settled, output)
  }

  /** Lost is only what was asked for: a version that nobody shows may wait somewhere, and who has it says so when asked. */
  #judge({ who, doubted }: Doubt, output: OutputDraft): void {
    const isLost = (version: Version): boolean =>
      doubted.has(versionKey(version)) && !this.#enquiry.isKnown(version) && this.#looksLost(version)
    const after = who.kind === 'watch' ? who.watch.since : who.parked.after
    if (![...this.#uncovered(after)].some(isLost)) return
    if (who.kind === 'watch') {
      const { client, number } = who.watch
      if (!this.#expectant.delete(watchKey(client, number))) return
      this.#watches.resync(client, number)
      return
    }
    const { parked } = who
    if (!this.#parked.remove(parked)) return
    output.toReply({ client: parked.client, id: parked.id, result: this.#notCaughtUp(after, isLost) })
  }

  #looksLost(version: Version): boolean {
    return this.#catchUp.isWhole && this.#catchUp.isMember(serverOf(version.origin)) && this.#isLost(version)
  }

  #answer(client: ClientId, request: Exclude<ClientRequest, { method: 'write' | 'why' }>): ClientResult {
    switch (request.method) {
      case 'hello':
        return { method: 'hello', origin: this.#origin, applied: new Map(this.#applied) }
      case 'read':
        return { method: 'read', values: request.keys.map((key) => this.#read(key)) }
      case 'keys':
        return { method: 'keys', ...this.#keySpace.list(request) }
      case 'watch': {
        if (this.#watches.countOf(client) >= this.#configuration.limits.watchesPerClientMax) {
          return { method: 'refused', reason: 'tooManyWatches' }
        }
        const { since } = request
        const { watchEntriesMax } = this.#configuration.limits
        if (typeof since !== 'string' && this.#watches.sinceEntries + since.size > watchEntriesMax) {
          return { method: 'refused', reason: 'tooManyWaiting' }
        }
        const watch = this.#watches.open(client, request.prefix, since)
        if (typeof since !== 'string' && !coversCut(this.#applied, since)) {
          this.#expectant.set(watchKey(client, watch), { client, number: watch, since })
        }
        return { method: 'watch', watch, applied: new Map(this.#applied) }
      }
      case 'unwatch': {
        const closed = this.#watches.close(client, request.watch)
        if (closed) this.#expectant.delete(watchKey(client, request.watch))
        return closed ? { method: 'unwatch' } : { method: 'refused', reason: 'noSuchWatch' }
      }
      case 'conflicts': {
        const keys = this.#keySpace.conflicts(request.prefix)
        return { method: 'conflicts', keys: keys.map(({ key, siblings }) => ({ key, versions: siblings })) }
      }
      case 'status':
        return {
          method: 'status',
          status: {
            server: this.#configuration.server,
            origin: this.#origin,
            clock: this.#clock,
            applied: new Map(this.#applied),
            waiting: this.#buffer.size,
            keys: this.#keySpace.keyCount,
            tombstones: this.#keySpace.tombstoneCount,
            conflicts: this.#keySpace.conflictCount,
            log: this.#log.length,
            logBytes: this.#log.bytes,
            origins: this.#applied.size,
            sessions: this.#requests.sessionCount,
            answers: this.#requests.answerCount,
            parked: this.#parked.size,
            watches: this.#watches.count,
            peers: [...this.#catchUp.peers.values()].map(({ id, origin, applied }) => ({
              id,
              origin,
              applied: new Map(applied),
            })),
          },
        }
      case 'waiting':
        return {
          method: 'waiting',
          waiting: this.#buffer.oldest(listedWaitingMax).map(({ update, from, sinceMs }) => ({
            keys: update.writes.map((write) => write.key),
            version: versionOf(update),
            waitsFor: this.#missingOf(update),
            from,
            sinceMs: this.#nowMs - sinceMs,
          })),
        }
    }
  }

  #read(key: string): KeyValue {
    const siblings = this.#keySpace.siblingsOf(key)
    if (siblings === undefined) return { key, conflicts: [] }
    return { key, winner: siblings[0], conflicts: siblings.length === 1 ? none : siblings.slice(1) }
  }

  /** Stamps a client's write (R1, R2) and applies it, unless it is a retry of one that has been (R10). */
  #write(request: Extract<ClientRequest, { method: 'write' }>, output: OutputDraft): ClientResult {
    const { writes, request: stamp } = request
    const fingerprint = stamp === undefined ? 0 : fingerprintOf(writes)
    if (stamp !== undefined) {
      const recognition = this.#requests.recognise(stamp, fingerprint)
      switch (recognition.kind) {
        case 'known':
          return { method: 'write', version: recognition.version }
        case 'other':
          return { method: 'refused', reason: 'requestReused' }
        case 'unknown':
          return { method: 'refused', reason: 'outcomeUnknown' }
        case 'new':
      }
    }
    if (this.#clock >= Number.MAX_SAFE_INTEGER) return { method: 'refused', reason: 'clockExhausted' }
    const unstamped: Update = {
      origin: this.#origin,
      timestamp: this.#clock + 1,
      previous: entryOf(this.#applied, this.#origin),
      dependencies: this.#risenSinceOwn.size === 0 ? noDependencies : Object.fromEntries(this.#risenSinceOwn),
      writes,
    }
    const update =
      stamp === undefined
        ? unstamped
        : { ...unstamped, request: { session: stamp.session, number: stamp.number } }
    const entry: LogEntry = { update, bytes: sizeOf(update) }
    output.tell({ kind: 'taken', update })
    this.#apply(entry, output, fingerprint)
    this.#catchUp.push(entry, output.send)
    return { method: 'write', version: versionOf(update) }
  }

  // ── peers ──────────────────────────────────────────────────────────────────────────────────────────────

  #message(from: ServerId, message: PeerMessage, output: OutputDraft): void {
    switch (message.kind) {
      case 'updates':
        this.#receive(from, message.updates, output)
        return
      case 'page':
        this.#receivePage(from, message, output)
        return
      case 'snapshot':
        this.#receiveSnapshot(from, message, output)
        return
      case 'pull':
        if (!this.#catchUp.receivePull(from, message, this.#nowMs, output.send)) this.#refuseCut(from, output)
        return
      case 'cut':
        if (this.#catchUp.receiveCut(from, message.entries, this.#nowMs))
          this.#compareFormer(from, message.entries, output)
        else this.#refuseCut(from, output)
        return
      case 'link':
        this.#catchUp.receiveLink(from, message.state)
        return
      case 'ask':
        // The cut goes first, so that whoever asks knows what is applied here when it reads the answer.
        this.#catchUp.tellCut(output.send)
        // Whether something is lost nobody can say who does not reach everybody that it knows of: it may be there (R9).
        if (message.key === undefined && !this.#catchUp.isWhole) return
        output.send.push({ to: from, message: this.#tell(message) })
        return
      case 'tell':
        this.#questions.answer(from, message)
        this.#enquiry.answer(
          from,
          message.question,
          message.keys.map(({ version }) => version),
        )
        return
    }
  }

  #receivePage(from: ServerId, page: Extract<PeerMessage, { kind: 'page' }>, output: OutputDraft): void {
    // The pull may be older than the hold; what comes round a held link is not looked at.
    const detours = this.#catchUp.detoursBy(from)
    const updates = page.updates.filter((update) => !detours.has(update.origin))
    const count = this.#receive(from, updates, output)
    if (count === undefined) return
    if (count > 0) output.tell({ kind: 'pulled', from, count, more: page.more })
    if (!this.#catchUp.isAwaited(page.pull)) return
    this.#incoming = undefined
    this.#pageTaken = { from, pull: page.pull, more: page.more, isFruitful: count > 0 }
  }

  /** A part of a peer's state has come, or all of it is there (R8). */
  #receiveSnapshot(
    from: ServerId,
    page: Extract<PeerMessage, { kind: 'snapshot' }>,
    output: OutputDraft,
  ): void {
    if (!this.#catchUp.isAwaited(page.pull)) return
    if (this.#incoming?.expects(from, page) !== true)
      this.#incoming = new IncomingSnapshot(from, page.snapshot)
    const incoming = this.#incoming
    // A snapshot of which the beginning was missed, or one that comes round a held link, is not looked at.
    if (!incoming.expects(from, page) || this.#catchUp.detoursBy(from).size > 0) {
      this.#incoming = undefined
      this.#catchUp.endSnapshot(from, { pull: page.pull, isFruitful: false }, this.#nowMs, output.send)
      return
    }
    const broken = incoming.take(page) ?? this.#forgery(incoming)
    if (page.page === 1) output.toStage({ kind: 'open' })
    if (broken === undefined) output.toStage({ kind: 'arrived', records: recordsOf(incoming, page) })
    if (broken !== undefined) {
      this.#incoming = undefined
      output.toRefuse({ peer: from, reason: `its snapshot is refused: ${broken}` })
    } else if (incoming.applied === undefined) {
      const { snapshot } = page
      this.#catchUp.continueSnapshot(from, { snapshot, isFirst: page.page === 1 }, this.#nowMs, output.send)
    } else {
      this.#incoming = undefined
      const own = {
        keySpace: this.#keySpace,
        known: this.#known,
        requests: this.#requests,
        applied: new Map(this.#applied),
        position: this.#log.end,
      }
      const work = new SnapshotInstallation(incoming, incoming.applied, own)
      this.#installation = { work, pull: page.pull }
      output.toStage({ kind: 'begin' })
    }
  }

  /** What a snapshot claims of this very run, which knows better. */
  #forgery(incoming: IncomingSnapshot): string | undefined {
    const claimed = incoming.applied?.get(this.#origin) ?? 0
    if (claimed <= entryOf(this.#applied, this.#origin)) return undefined
    return `it has update ${claimed} of origin ${this.#origin}, which is this run and never issued it`
  }

  /** Goes on with taking in a snapshot; at the end it becomes visible, all at once. */
  #install(
    output: OutputDraft,
    { work, pull }: { readonly work: SnapshotInstallation; readonly pull: number },
  ): void {
    output.toStage({
      kind: 'records',
      records: work.advance(this.#configuration.limits.appliedPerStepMax),
    })
    if (!work.isDone) return
    this.#installation = undefined
    if (this.#log.end !== work.began) throw new Error('something was applied while a snapshot was taken in')
    const risen: MutableCut = new Map()
    for (const [origin, timestamp] of work.theirs) {
      if (entryOf(this.#applied, origin) >= timestamp) continue
      this.#rise(origin, timestamp)
      this.#catchUp.applied(origin)
      risen.set(origin, timestamp)
    }
    const before = this.#log.end
    this.#log.skipTo(work.position, risen)
    output.toStage({
      kind: 'install',
      position: this.#log.end,
      applied: new Map(this.#applied),
      logFloor: new Map(this.#log.floor),
    })
    this.#watches.installed(before)
    for (const { waitsFor } of this.#buffer) {
      if (waitsFor !== undefined && covers(this.#applied, waitsFor)) this.#buffer.wake(waitsFor)
    }
    this.#parked.recheck(this.#applied)
    const { from } = work.snapshot
    if (risen.size > 0) output.tell({ kind: 'installed', from, keys: work.keys })
    this.#catchUp.endSnapshot(from, { pull, isFruitful: risen.size > 0 }, this.#nowMs, output.send)
  }

  #forgetIncoming(peer: ServerId): void {
    if (this.#incoming?.from === peer) this.#incoming = undefined
  }

  /** A peer that has more of this server's earlier runs than its folder had: somebody has to be told (R7). */
  #compareFormer(peer: ServerId, theirs: Cut, output: OutputDraft): void {
    if (this.#former === undefined) return
    const runs: { origin: Origin; here: Timestamp; there: Timestamp }[] = []
    for (const [origin, there] of theirs) {
      if (origin === this.#origin || serverOf(origin) !== this.#configuration.server) continue
      const here = entryOf(this.#former, origin)
      if (raise(this.#former, origin, there)) runs.push({ origin, here, there })
    }
    const [latest, ...others] = runs.toSorted((a, b) => b.there - a.there)
    if (latest !== undefined) output.tell({ kind: 'restored', peer, ...latest, others: others.length })
  }

  /** @returns how many of the updates were new here, or undefined where the sender was refused. */
  #receive(from: ServerId, updates: readonly Update[], output: OutputDraft): number | undefined {
    let count = 0
    for (const update of updates) {
      const broken = malformation(update)
      if (broken !== undefined) {
        this.#refuse(from, update, broken, output)
        return undefined
      }
      if (covers(this.#applied, update) || this.#buffer.find(update) !== undefined) continue
      if (update.origin === this.#origin) {
        // This very run never issued it. Whoever sends it may only pass on what somebody else made up.
        output.tell({ kind: 'forged', update, from })
        continue
      }
      const arrival: WaitingUpdate = {
        update,
        from,
        bytes: sizeOf(update),
        sinceMs: this.#nowMs,
        waitsFor: undefined,
        dependenciesMet: 0,
      }
      if (!this.#place(arrival, output)) return undefined
      count++
    }
    return count
  }

  /**
   * Applies an update whose turn it is, or has it wait for one version that it lacks (R3).
   *
   * @returns false where it can never apply, and its sender was refused.
   */
  #place(arrival: WaitingUpdate, output: OutputDraft): boolean {
    const { update, from } = arrival
    const missing = this.#firstMissing(arrival)
    if (missing !== undefined) {
      if (!this.#buffer.hasRoomFor(arrival.bytes)) {
        output.tell({ kind: 'dropped', update, from })
        return true
      }
      const isNew = arrival.waitsFor === undefined
      this.#buffer.add(arrival, missing)
      if (isNew) output.tell({ kind: 'waiting', update, from, waitsFor: this.#missingOf(update) })
      return true
    }
    const previous = entryOf(this.#applied, update.origin)
    if (previous !== update.previous) {
      const rule = `its previous is ${update.previous}, but its origin's update before it here is ${previous}`
      return this.#refuse(from, update, rule, output)
    }
    if (update.timestamp > this.#clock + 1) {
      const rule = `its timestamp is above ${this.#clock + 1}, one more than all that it says it follows`
      return this.#refuse(from, update, rule, output)
    }
    output.tell(
      arrival.waitsFor === undefined
        ? { kind: 'applied', update, from }
        : { kind: 'applied', update, from, waitedMs: this.#nowMs - arrival.sinceMs },
    )
    this.#apply({ update, bytes: arrival.bytes }, output)
    return true
  }

  /** A version that the update needs and that is not applied here, going on where it was left. */
  #firstMissing(arrival: WaitingUpdate): Version | undefined {
    const { update } = arrival
    this.#examined++
    if (entryOf(this.#applied, update.origin) < update.previous) {
      return { origin: update.origin, timestamp: update.previous }
    }
    const dependencies = dependenciesOf(update)
    for (; arrival.dependenciesMet < dependencies.length; arrival.dependenciesMet++) {
      const [origin, timestamp] = dependencies[arrival.dependenciesMet] as readonly [Origin, number]
      this.#examined++
      if (entryOf(this.#applied, origin) < timestamp) return { origin, timestamp }
    }
    return undefined
  }

  /** Applies an update whose causes are all applied: but for snapshots, the only place where the store changes. */
  #apply(entry: LogEntry, output: OutputDraft, fingerprint?: number): void {
    const { update } = entry
    const { origin, timestamp } = update
    const version = new AppliedVersion(update, this.#log.end)
    const overwrites = this.#known.learn(update)
    for (const write of update.writes) {
      const siblings = this.#keySpace.apply(write, version, overwrites)
      if (siblings.length > 1) {
        output.tell({
          kind: 'conflict',
          key: write.key,
          versions: siblings.slice(0, toldVersionsMax).map((sibling) => sibling.version),
        })
      }
    }
    if (update.request !== undefined) {
      this.#requests.record(update.request, version, fingerprint ?? fingerprintOf(update.writes))
    }
    this.#rise(origin, timestamp)
    if (origin === this.#origin) this.#risenSinceOwn.clear()
    this.#log.append(entry)
    this.#catchUp.applied(origin)
    output.toPersist(entry)
    this.#watches.applied(update, output)
    this.#buffer.wake(update)
    this.#parked.wake(origin, this.#applied)
  }

  /** Gives the woken their turn, up to a bound, so that no step is long. */
  #drain(output: OutputDraft): void {
    for (let count = 0; count < this.#configuration.limits.appliedPerStepMax; count++) {
      const woken = this.#buffer.takeWoken()
      if (woken === undefined) return
      if (!covers(this.#applied, woken.update)) this.#place(woken, output)
    }
  }

  #refuseCut(peer: ServerId, output: OutputDraft): void {
    const { originsPerPeerMax } = this.#configuration.limits
    output.toRefuse({ peer, reason: `its cut names more than ${originsPerPeerMax} origins` })
  }

  #refuse(peer: ServerId, update: Update, rule: string, output: OutputDraft): false {
    const what = update.writes.map((write) => write.key).join(', ')
    output.toRefuse({
      peer,
      reason: `update ${showVersion(update)} (${what}) is refused: ${rule}`,
    })
    return false
  }

  #missingOf(update: Update): readonly Version[] {
    const needs: Version[] = dependenciesOf(update).map(([origin, timestamp]) => ({ origin, timestamp }))
    if (update.previous > 0) needs.unshift({ origin: update.origin, timestamp: update.previous })
    return needs.filter((version) => !covers(this.#applied, version))
  }

  /**
   * Looks through all that waits, now and then. Drops what waits for a version that nobody connected has and
   * nobody can still issue (R3); and wakes what waits for a version that was passed over without ever being
   * applied, which only a faulty peer can name.
   */
  #sweep(output: OutputDraft): void {
    this.#sweptMs = this.#nowMs
    const lost: { waiting: WaitingUpdate; waitsFor: readonly Version[] }[] = []
    for (const waiting of this.#buffer) {
      if (waiting.waitsFor !== undefined && covers(this.#applied, waiting.waitsFor)) {
        this.#buffer.wake(waiting.waitsFor)
      } else if (this.#nowMs - waiting.sinceMs >= this.#configuration.timing.lostAfterMs) {
        const waitsFor = this.#missingOf(waiting.update)
        if (waitsFor.some((version) => this.#isLost(version))) lost.push({ waiting, waitsFor })
      }
    }
    // Who waits for what is lost is lost with it; the list grows while it is walked.
    const isLost = new Set(lost.map(({ waiting }) => waiting))
    for (const { waiting } of lost) {
      for (const heir of this.#buffer.waitersOf(waiting.update)) {
        if (isLost.has(heir) || this.#catchUp.holdersOf(waiting.update).length > 0) continue
        isLost.add(heir)
        lost.push({ waiting: heir, waitsFor: [versionOf(waiting.update)] })
      }
    }
    this.#buffer.removeAll(isLost)
    for (const { waiting, waitsFor } of lost) {
      output.tell({ kind: 'lost', update: waiting.update, waitsFor })
    }
  }

  #isLost(version: Version): boolean {
    return (
      this.#buffer.find(version) === undefined &&
      !this.#catchUp.hasHolder(version) &&
      !this.#catchUp.canIssue(version.origin)
    )
  }

  // ── why ────────────────────────────────────────────────────────────────────────────────────────────────

  #ask(
    why: { readonly client: ClientId; readonly id: number; readonly key: string },
    output: OutputDraft,
  ): void {
    const asked = [...this.#catchUp.peers.values()]
      .filter((peer) => peer.sends && peer.hears)
      .map(({ id }) => id)
    const versions = [...this.#waitingFor(why.key)].flatMap(({ update }) => this.#missingOf(update))
    const deadlineMs = this.#nowMs + this.#configuration.timing.askTimeoutMs
    const { number } = this.#questions.ask({ ...why, deadlineMs, asked })
    for (const to of asked) {
      output.send.push({ to, message: { kind: 'ask', question: number, key: why.key, versions } })
    }
  }

  #tell(ask: Extract<PeerMessage, { kind: 'ask' }>): PeerMessage {
    return {
      kind: 'tell',
      question: ask.question,
      siblings: (ask.key === undefined ? [] : (this.#keySpace.siblingsOf(ask.key) ?? [])).map(
        (sibling) => sibling.version,
      ),
      keys: distinct(ask.versions)
        .slice(0, toldVersionsMax)
        .flatMap((version) => {
          const keys = this.#keysOf(version)
          if (keys === undefined) return []
          // Who asks for no key wants to know only that it is there.
          return [{ version, keys: ask.key === undefined ? [] : keys.slice(0, toldKeysMax) }]
        }),
    }
  }

  /** What a version wrote, where it is here, applied or waiting. */
  #keysOf(version: Version): readonly string[] | undefined {
    const update = this.#log.find(version) ?? this.#buffer.find(version)?.update
    return update?.writes.map((write) => write.key)
  }

  #answerQuestions(output: OutputDraft): void {
    for (const question of this.#questions.takeSettled(this.#nowMs)) {
      const { client, id } = question
      output.toReply({ client, id, result: { method: 'why', story: this.#story(question) } })
    }
  }

  #story(question: Question): Story {
    const missing = (version: Version, knownKeys?: readonly string[]): MissingVersion => {
      const keys = knownKeys ?? this.#keysOf(version) ?? question.keysOf.get(versionKey(version))
      const holders = this.#catchUp.holdersOf(version)
      return {
        version,
        ...(keys === undefined ? {} : { keys }),
        waitsHere: this.#buffer.find(version) !== undefined,
        holders,
        heldHolders: holders.filter((id) => this.#catchUp.isHeld(id)),
        link: this.#catchUp.linkFrom(serverOf(version.origin)),
      }
    }
    return {
      key: question.key,
      versions: this.#keySpace.siblingsOf(question.key) ?? [],
      waiting: [...this.#waitingFor(question.key)].map(({ update, from, sinceMs }) => ({
        version: versionOf(update),
        from,
        sinceMs: this.#nowMs - sinceMs,
        waitsFor: this.#missingOf(update).map((version) => missing(version)),
      })),
      missing: question.siblings
        .filter((version) => !covers(this.#applied, version) && this.#buffer.find(version) === undefined)
        .map((version) => missing(version, [question.key])),
      silent: [...question.unanswered, ...this.#unaskable().filter((id) => !question.unanswered.has(id))],
    }
  }

  /** Servers whose links are up in one direction only, so that no answer of theirs can come. */
  #unaskable(): readonly ServerId[] {
    return [...this.#catchUp.peers.values()].filter((peer) => !peer.sends || !peer.hears).map(({ id }) => id)
  }

  *#waitingFor(key: string): Generator<WaitingUpdate, void, undefined> {
    for (const waiting of this.#buffer) {
      if (waiting.update.writes.some((write) => write.key === key)) yield waiting
    }
  }
}

/** Looking through a full buffer takes some milliseconds, and nothing there is urgent. */
const sweepEveryMs = 1_000

/** Updates that one `waiting` lists, the oldest: people read it, and `status` has the count. */
const listedWaitingMax = 1_000

/** What one answer tells: people read it, and whoever asks must not be able to make it long. */
const toldVersionsMax = 100
const toldKeysMax = 100

/** A page as it is staged: each key with all the siblings that have arrived of it. */
function recordsOf(incoming: IncomingSnapshot, page: SnapshotPage): StateRecords {
  const keys = new Set(page.siblings.map(({ key }) => key))
  return {
    keys: Array.from(keys, (key) => ({ key, position: 0, siblings: incoming.siblingsOf(key) })),
    rows: page.rows,
    sessions: page.sessions,
  }
}

/** What an entry of a cut takes in memory: the name of an origin, and a place in a map. */
const entryBytes = 100

/** What came while a snapshot was taken in: so much of it is taken up in one step. */
const heldPerStepMax = 256

/**
 * Entries of the cuts of parked requests that one step looks at, to answer those whose time is up and to find those that
 * wait for what is lost: a few milliseconds. The rest has its turn in the next.
 */
const examinedEntriesMax = 20_000

const nothing: Cut = new Map()
const none: readonly never[] = []

/** Who waits for versions that look lost. */
interface Doubt {
  /** Keys of the versions that were asked for. */
  readonly doubted: ReadonlySet<string>
  readonly who:
    | { readonly kind: 'request'; readonly parked: ParkedRequest }
    | { readonly kind: 'watch'; readonly watch: ExpectantWatch }
}

interface ExpectantWatch {
  readonly client: ClientId
  readonly number: number
  readonly since: Cut
}

/** Each client numbers its own watches. */
function watchKey(client: ClientId, number: number): string {
  return `${client} ${number}`
}

/** About how many bytes a request holds, its cut not counted. */
function weightOf(request: ClientRequest): number {
  switch (request.method) {
    case 'write':
      return requestBytes + sizeOfWrites(request.writes) + (request.request?.session.length ?? 0)
    case 'read':
      return request.keys.reduce((sum, key) => sum + entryBytes + key.length, requestBytes)
    case 'keys':
      return requestBytes + request.prefix.length + request.from.length
    default:
      return requestBytes
  }
}

/** A request without what it names, and its place among those that wait. */
const requestBytes = 500

function afterOf(request: ClientRequest): Cut | undefined {
  return 'after' in request ? request.after : undefined
}

function distinct(versions: readonly Version[]): readonly Version[] {
  return [...new Map(versions.map((version) => [versionKey(version), version])).values()]
}

function versionOf(update: Update): Version {
  return { timestamp: update.timestamp, origin: update.origin }
}
