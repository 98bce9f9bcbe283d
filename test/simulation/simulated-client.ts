import { Random } from '../durability/random.ts'
import type { EventLine, TransactionPart } from '../../src/check/history-line.ts'
import { SessionCut } from '../../src/client/session-cut.ts'
import type { ClientRequest, ClientResult, KeyValue, RequestStamp } from '../../src/replica/messages.ts'
import type { Notification } from '../../src/replica/output.ts'
import type { Write } from '../../src/replica/update.ts'
import type { Origin, Version } from '../../src/replica/version.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import type { ClientEnd, SimulatedSession } from './simulated-session.ts'
import { WatchAudit } from './watch-audit.ts'
import type { World } from './world.ts'

/**
 * A client: writes and reads one request after the other, at one server and then at another, and takes along the cut of
 * what it has seen. Some watch, too, on the same connection.
 *
 * It records what it asks before it knows the answer, and believes nobody: what it is told is recorded, and judged by
 * others. What is lost for good it goes on without, under a new session's name.
 */
export class SimulatedClient implements ClientEnd {
  readonly #world: World
  readonly #random: Random
  readonly #name: string
  readonly #watched: WatchAudit | undefined
  #cut = new SessionCut()
  readonly #latenciesMs = new Map<string, number>()
  #sessionNumber = 0
  #sessionName: string
  #place = 0
  #counter = 0
  #session: SimulatedSession | undefined
  /** The server that the session is with, once it has greeted. */
  #server: Origin | undefined
  #greeting: number | undefined
  #watching: number | undefined
  #pending: Pending | undefined
  /** Writes of this session that were answered, some of them. */
  #answeredWrites: WriteRequest[] = []
  #repeated: { readonly id: number; readonly request: WriteRequest } | undefined
  /** The place in the order of the keys of what was read last. */
  #lastRead = 0
  #isThinking = false
  /** How many requests in a row were not carried out, because their server lacked something. */
  #vainCount = 0

  constructor(world: World, number: number, isWatching: boolean) {
    this.#world = world
    this.#random = new Random(world.random.between(0, 2 ** 31))
    this.#name = `c${number}`
    this.#sessionName = this.#name
    if (isWatching) {
      const prefix = this.#random.oneOf(['', 'a/', 'b/'])
      const since = this.#random.chance(0.5) ? 'start' : 'now'
      this.#watched = new WatchAudit({ name: this.#name, world, prefix, since })
    }
    this.#think()
    this.#lookAfter()
  }

  get watched(): WatchAudit | undefined {
    return this.#watched
  }

  /** What it still waits for an answer to. */
  get isWaiting(): boolean {
    return this.#pending !== undefined
  }

  get session(): SimulatedSession | undefined {
    return this.#session
  }

  stopReading(): void {
    this.#session?.stopReading()
  }

  readOn(): void {
    this.#session?.readOn()
  }

  latencyMs(): number {
    const id = this.#session?.process.id ?? ''
    let baseMs = this.#latenciesMs.get(id)
    if (baseMs === undefined) {
      baseMs = this.#random.within(0.1, 4)
      this.#latenciesMs.set(id, baseMs)
    }
    return baseMs * this.#random.within(0.5, 1.5)
  }

  // ── what it does ───────────────────────────────────────────────────────────────────────────────────────

  #think(): void {
    if (this.#isThinking) return
    this.#isThinking = true
    this.#world.time.in(this.#random.within(0, this.#world.workload.thinkMs), () => {
      this.#isThinking = false
      this.#act()
    })
  }

  /** A server that does not answer at all is one that has stopped, or that cannot be reached. */
  #lookAfter(): void {
    const { time } = this.#world
    if (this.#pending?.id !== undefined && time.nowMs > this.#pending.deadlineMs) {
      const session = this.#session
      if (
        session !== undefined &&
        Math.min(session.readingMs(), session.process.healthyMs()) > healthyMsMin
      ) {
        this.#world.violations.add(
          'R9',
          `${this.#sessionName} gets no answer from ${session.process.origin}, in good health`,
        )
      }
      this.#leave()
    }
    time.in(lookMs, () => this.#lookAfter())
  }

  #act(): void {
    if (this.#session === undefined) this.#connect()
    else if (this.#server === undefined) return
    else if (this.#pending !== undefined) this.#send(this.#pending)
    else if (this.#world.operationsLeft > 0 && this.#random.chance(this.#world.workload.hopChance))
      this.#leave()
    else if (this.#answeredWrites.length > 0 && this.#random.chance(this.#world.workload.repeatChance))
      this.#repeat(this.#session, this.#random.oneOf(this.#answeredWrites))
    else if (this.#world.takeOperation()) {
      this.#pending = this.#nextOperation()
      this.#send(this.#pending)
    }
  }

  #connect(): void {
    const isRetry = this.#pending?.mayHaveHappened === true
    const process = this.#world.anyServer(this.#random, this.#lastServer(isRetry))
    if (process === undefined) {
      this.#think()
      return
    }
    this.#lastProcess = process
    const session = process.connect(this)
    this.#session = session
    this.#greeting = session.request({ method: 'hello' })
    this.#world.time.in(greetingMsMax, () => {
      if (this.#session === session && this.#server === undefined) this.#leave()
    })
  }

  #lastProcess: SimulatedProcess | undefined

  /** Where a retry goes, if that can be had: a server that may know what became of the write. */
  #lastServer(isRetry: boolean): SimulatedProcess | undefined {
    const isWanted = isRetry && !this.#random.chance(this.#world.faults.retryElsewhereChance)
    return isWanted ? this.#lastProcess : undefined
  }

  /** Gives the connection up, and makes another. */
  #leave(): void {
    if (this.#session === undefined) return
    this.#session.close()
    this.lost(this.#session)
  }

  lost(session: SimulatedSession): void {
    if (this.#session !== session) return
    this.#session = undefined
    this.#server = undefined
    this.#greeting = undefined
    this.#watching = undefined
    this.#repeated = undefined
    this.#watched?.broken()
    const pending = this.#pending
    if (pending !== undefined) {
      pending.id = undefined
      pending.mayHaveHappened ||= pending.wasSent
    }
    this.#think()
  }

  /** Asks once more for what was answered, without a word of that. It must not be carried out again (R10). */
  #repeat(session: SimulatedSession, request: WriteRequest): void {
    const after = this.#cut.after()
    const timeoutMs = this.#world.workload.patienceMs
    const id = session.request({ ...request, ...(after === undefined ? {} : { after, timeoutMs }) })
    this.#repeated = { id, request }
    this.#think()
  }

  #nextOperation(): Pending {
    const { workload } = this.#world
    const dice = this.#random.within(0, 1)
    const { writeShare, deleteShare, batchShare, readManyShare } = workload
    if (dice < writeShare) return this.#writing([{ key: this.#keyToWrite(), value: this.#value() }])
    if (dice < writeShare + deleteShare) return this.#writing([{ key: this.#keyToWrite(), deleted: true }])
    if (dice < writeShare + deleteShare + batchShare) {
      const keys = this.#someKeys(2, 4)
      return this.#writing(
        keys.map((key) =>
          this.#random.chance(0.85) ? { key, value: this.#value() } : { key, deleted: true },
        ),
      )
    }
    const isMany = dice < writeShare + deleteShare + batchShare + readManyShare
    return this.#reading(isMany ? this.#someKeys(2, 8) : [this.#key()])
  }

  #writing(writes: readonly Write[]): Pending {
    const parts = writes.map((write) =>
      write.deleted === true
        ? ({ op: 'delete', key: write.key } as const)
        : ({ op: 'write', key: write.key, value: write.value as string } as const),
    )
    const line = this.#line(parts, null)
    const stamp: RequestStamp = { session: this.#sessionName, number: this.#place }
    return newPending({ method: 'write', writes, request: stamp }, line)
  }

  #reading(keys: readonly string[]): Pending {
    // Of what was not answered nothing was seen.
    return newPending(
      { method: 'read', keys },
      this.#line(
        keys.map((key) => ({ op: 'read', key })),
        false,
      ),
    )
  }

  #line(parts: readonly TransactionPart[], ok: null | false): EventLine {
    const session = this.#sessionName
    const i = ++this.#place
    const [part] = parts
    if (parts.length > 1 || part === undefined)
      return this.#world.record({ session, i, op: 'txn', ops: parts, ok })
    const { op, key } = part
    return this.#world.record(
      op === 'write' ? { session, i, op, key, value: part.value as string, ok } : { session, i, op, key, ok },
    )
  }

  #value(): string {
    return `${this.#sessionName}-${++this.#counter}`
  }

  #key(): string {
    const { keys, skew } = this.#world.workload
    this.#lastRead = Math.floor(this.#random.within(0, 1) ** skew * keys)
    return keyAt(this.#lastRead)
  }

  #keyToWrite(): string {
    if (!this.#random.chance(this.#world.workload.chainChance)) return this.#key()
    return keyAt((this.#lastRead + 1) % this.#world.workload.keys)
  }

  #someKeys(least: number, most: number): readonly string[] {
    const keys = new Set<string>()
    for (let count = this.#random.between(least, most); count > 0; count--) keys.add(this.#key())
    return [...keys]
  }

  #send(pending: Pending): void {
    const session = this.#session
    if (session === undefined || this.#server === undefined || pending.id !== undefined) return
    const { faults, workload, time } = this.#world
    const after = this.#cut.after()
    const timeoutMs = Math.ceil(this.#random.within(10, workload.patienceMs))
    pending.after = after
    pending.deadlineMs = time.nowMs + timeoutMs + answerMsMax
    pending.wasSent = true
    pending.id = session.request({
      ...asRetried(pending.request, pending.mayHaveHappened),
      ...(after === undefined ? {} : { after, timeoutMs }),
    })
    const { id } = pending
    const isOpen = (): boolean => this.#session === session && this.#pending?.id === id
    if (pending.request.method === 'write' && this.#random.chance(faults.lostAnswerChance)) {
      time.in(this.#random.within(0, 15), () => {
        if (!isOpen()) return
        this.#world.sometimes('an answer was lost')
        this.#leave()
      })
    }
  }

  // ── what it is told ────────────────────────────────────────────────────────────────────────────────────

  answered(id: number, result: ClientResult): void {
    if (id === this.#greeting && result.method === 'hello') {
      this.#greeting = undefined
      this.#server = result.origin
      this.#cut.connected(result.origin, result.applied)
      this.#watch()
      this.#act()
      return
    }
    if (id === this.#watching) {
      this.#watching = undefined
      this.#watched?.began(result)
      return
    }
    if (id === this.#repeated?.id) {
      const { request } = this.#repeated
      this.#repeated = undefined
      if (result.method === 'write') this.#world.acknowledged(request, result.version)
      return
    }
    const pending = this.#pending
    if (pending?.id !== id) return
    this.#pending = undefined
    const isWrite = pending.request.method === 'write'
    switch (result.method) {
      case 'write':
        this.#accept(pending)
        this.#saw(result.version)
        this.#world.acknowledged(pending.request, result.version)
        this.#remember(pending.request)
        this.#fill(pending.line, result.version)
        break
      case 'read':
        this.#accept(pending)
        this.#fillRead(pending.line, result.values)
        for (const { winner, conflicts } of result.values) {
          for (const sibling of winner === undefined ? conflicts : [winner, ...conflicts])
            this.#saw(sibling.version)
        }
        break
      case 'notCaughtUp':
        this.#settleUnanswered(pending, isWrite)
        this.#notCaughtUp(result.missing)
        break
      case 'refused':
        if (result.reason === 'outcomeUnknown') this.#world.sometimes('an outcome was unknown')
        else if (result.reason !== 'tooManyWaiting') {
          this.#world.violations.add('R10', `${this.#sessionName} was refused: ${result.reason}`)
        }
        this.#settleUnanswered(pending, isWrite)
        break
      default:
        this.#world.violations.add(
          '§4',
          `${this.#sessionName} asked to ${pending.request.method} and got ${result.method}`,
        )
    }
    this.#think()
  }

  #settleUnanswered(pending: Pending, isWrite: boolean): void {
    pending.line.ok = isWrite && pending.mayHaveHappened ? null : false
    this.#world.recorded(pending.line)
  }

  #notCaughtUp(missing: Extract<ClientResult, { method: 'notCaughtUp' }>['missing']): void {
    const lost = missing.filter((entry) => entry.lost).map(({ version }) => version)
    if (lost.length === 0) {
      this.#world.sometimes('a request was not caught up in time')
      if (++this.#vainCount > patience) {
        // What it has seen may be gone for as long as somebody is away: people begin again.
        this.#cut = new SessionCut()
        this.#beginSession()
        this.#leave()
      } else if (this.#random.chance(0.5)) this.#leave()
      return
    }
    const before = this.#cut.seen
    this.#cut.drop(lost)
    this.#world.observeForgotten(this.#sessionName, lost, { before, after: this.#cut.seen })
    this.#beginSession()
  }

  /** What comes now is no longer bound to what was seen before. */
  #beginSession(): void {
    this.#answeredWrites = []
    this.#sessionName = `${this.#name}.${++this.#sessionNumber}`
    this.#vainCount = 0
  }

  #accept({ after }: Pending): void {
    this.#vainCount = 0
    if (after !== undefined) this.#cut.accepted(after)
  }

  #remember(request: Pending['request']): void {
    if (request.method !== 'write') return
    this.#answeredWrites.push(request)
    if (this.#answeredWrites.length <= rememberedMax) return
    // One goes, whichever: so that some are old.
    this.#answeredWrites.splice(this.#random.between(0, rememberedMax - 1), 1)
  }

  #saw(version: Version): void {
    this.#cut.learn(version, this.#server)
    this.#world.revealed(version)
  }

  #fill(line: Mutable<EventLine>, version: Version): void {
    line.ok = true
    const seen = [version.timestamp, version.origin] as const
    if (line.op === 'txn') line.ops = line.ops.map((part) => ({ ...part, version: seen }))
    else line.version = seen
    this.#world.recorded(line)
  }

  #fillRead(line: Mutable<EventLine>, values: readonly KeyValue[]): void {
    line.ok = true
    if (line.op === 'txn')
      line.ops = values.map((value) => ({ op: 'read', key: value.key, ...seenOf(value) }))
    else if (line.op === 'read') {
      const { value, version } = seenOf(values[0])
      if (value !== undefined) line.value = value
      if (version !== undefined) line.version = version
    }
    this.#world.recorded(line)
  }

  #watch(): void {
    const session = this.#session
    const watched = this.#watched
    if (session === undefined || watched === undefined) return
    this.#watching = session.request(watched.request())
  }

  notified(notification: Notification): void {
    const watched = this.#watched
    watched?.notified(notification, (version, write) => {
      this.#saw(version)
      const { renewals } = watched
      const session = renewals === 0 ? this.#sessionName : `${this.#name}~${renewals}`
      const told = { session, i: ++this.#place, op: 'push', key: write.key, ok: true } as const
      const line = { ...told, version: [version.timestamp, version.origin] as const }
      this.#world.recorded(
        this.#world.record(write.deleted === true ? line : { ...line, value: write.value as string }),
      )
    })
  }
}

type WriteRequest = Extract<ClientRequest, { method: 'write' }>

interface Pending {
  readonly request: Extract<ClientRequest, { method: 'write' | 'read' }>
  readonly line: Mutable<EventLine>
  /** Of the present connection; undefined while it is to be sent. */
  id: number | undefined
  after: ReadonlyMap<Origin, number> | undefined
  /** When no answer is to be expected any more. */
  deadlineMs: number
  wasSent: boolean
  mayHaveHappened: boolean
}

type Mutable<Line> = { -readonly [Field in keyof Line]: Line[Field] }

function newPending(request: Pending['request'], line: EventLine): Pending {
  return {
    request,
    line,
    id: undefined,
    after: undefined,
    deadlineMs: 0,
    wasSent: false,
    mayHaveHappened: false,
  }
}

function asRetried(request: Pending['request'], mayHaveHappened: boolean): Pending['request'] {
  if (request.method !== 'write' || !mayHaveHappened || request.request === undefined) return request
  return { ...request, request: { ...request.request, retry: true } }
}

function seenOf(value: KeyValue | undefined): Pick<TransactionPart, 'value' | 'version'> {
  const winner = value?.winner
  if (winner === undefined) return {}
  const version = [winner.version.timestamp, winner.version.origin] as const
  return winner.deleted === true ? { version } : { value: winner.value as string, version }
}

/** Keys of two prefixes, so that a watch may see half of them. */
export function keyAt(index: number): string {
  return `${index % 2 === 0 ? 'a' : 'b'}/${index}`
}

const greetingMsMax = 1_000
/** Requests in vain after which a client begins anew. */
const patience = 2
const answerMsMax = 1_000
/** More than the fewest answers that a server keeps of a session. */
const rememberedMax = 8
const lookMs = 250
/** Longer than what was kept waiting by a trouble takes to be done after it. */
const healthyMsMin = 5_000
