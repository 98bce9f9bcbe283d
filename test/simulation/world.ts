import type { Random } from '../durability/random.ts'
import type { EventLine, HistoryLine } from '../../src/check/history-line.ts'
import { defaultLimits, defaultTiming, type Limits, type Timing } from '../../src/replica/configuration.ts'
import { entryOf, type Cut } from '../../src/replica/cut.ts'
import type { ClientId, Input } from '../../src/replica/input.ts'
import type { ClientRequest, ClientResult, LinkState, PeerMessage } from '../../src/replica/messages.ts'
import type { Notification, Output } from '../../src/replica/output.ts'
import type { Recovered } from '../../src/replica/recovered.ts'
import type { Origin, ServerId, Version } from '../../src/replica/version.ts'
import type { CheckpointLimits } from '../../src/server/checkpointer.ts'
import type { StoreBatch } from '../../src/storage/store.ts'
import { Chronicle, covers, nameOf, type View } from './chronicle.ts'
import type { Faults } from './faults.ts'
import type { DiskObserver, SimulatedDisk } from './simulated-disk.ts'
import { SimulatedNetwork } from './simulated-network.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import type { Sometimes, RareState } from './sometimes.ts'
import { Violations } from './violations.ts'
import { VirtualTime } from './virtual-time.ts'
import type { Workload } from './workload.ts'

/** All that the parts of one run share: its time, its network, what is drawn from its seed, and what is found in it. */
export class World implements DiskObserver {
  readonly random: Random
  readonly faults: Faults
  readonly workload: Workload
  readonly time = new VirtualTime()
  readonly network: SimulatedNetwork
  readonly violations = new Violations()
  readonly chronicle = new Chronicle(this.violations)
  readonly limits: Limits
  readonly timing: Timing
  readonly checkpointLimits: CheckpointLimits
  /** How long a process takes at most before it comes round to what has arrived, in milliseconds. */
  readonly turnMs: number
  /** Whether what servers say to each other goes over the wire as text, and through the gateway. */
  readonly isOnWire: boolean
  readonly history: HistoryLine[] = []
  /** Whoever clients may connect to. */
  readonly processes = new Set<SimulatedProcess>()
  /** The disks of servers that do not run. */
  readonly idleDisks = new Map<SimulatedDisk, ServerId>()
  /** When processes ended. */
  readonly endedMs = new Map<Origin, number>()
  operationsLeft: number
  /** A process has stopped because its id is taken. */
  idRefused: (process: SimulatedProcess) => void = () => {}
  readonly #durable = new Map<SimulatedDisk, View>()
  readonly #sometimes: Sometimes
  readonly #trace: ((line: string) => void) | undefined

  constructor(options: {
    readonly random: Random
    readonly faults: Faults
    readonly workload: Workload
    readonly sometimes: Sometimes
    readonly trace: ((line: string) => void) | undefined
  }) {
    const { random, faults, workload } = options
    this.random = random
    this.faults = faults
    this.workload = workload
    this.#sometimes = options.sometimes
    this.#trace = options.trace
    this.operationsLeft = workload.operations
    this.network = new SimulatedNetwork({ time: this.time, random, faults })
    this.limits = drawLimits(random, faults)
    this.timing = drawTiming(random)
    this.checkpointLimits = {
      writesPerRound: random.oneOf([10, 60, 400]),
      bytesPerRound: 16 << 20,
      keysPerSlice: random.oneOf([1, 5, 1_000]),
      bytesPerSlice: 1 << 20,
    }
    this.turnMs = random.oneOf([0, 0.5, 5])
    this.isOnWire = random.chance(0.1)
  }

  isRunning(origin: Origin): boolean {
    return [...this.processes].some((process) => process.origin === origin && !process.isPaused)
  }

  takeOperation(): boolean {
    if (this.operationsLeft === 0) return false
    this.operationsLeft--
    return true
  }

  /** A server to connect to; the wanted one, where it runs. */
  anyServer(random: Random, wanted: SimulatedProcess | undefined): SimulatedProcess | undefined {
    if (wanted?.isAlive === true) return wanted
    return this.processes.size === 0 ? undefined : random.oneOf([...this.processes])
  }

  sometimes(state: RareState): void {
    this.#sometimes.reached(state)
  }

  gateTold(state: LinkState['state']): void {
    this.#sometimes.gateTold(state)
  }

  recovered(recovered: Recovered): void {
    this.#sometimes.recovered(recovered)
  }

  trace(line: () => string): void {
    this.#trace?.(`${this.time.nowMs.toFixed(3)} ${line()}`)
  }

  // ── copies ─────────────────────────────────────────────────────────────────────────────────────────────

  /** What is durable on a disk. */
  durableOf(disk: SimulatedDisk): View {
    let view = this.#durable.get(disk)
    if (view === undefined) {
      view = []
      this.#durable.set(disk, view)
    }
    return view
  }

  copyDisk(disk: SimulatedDisk): SimulatedDisk {
    const copy = disk.copy()
    this.#durable.set(copy, [...this.durableOf(disk)])
    return copy
  }

  durable(disk: SimulatedDisk, batch: StoreBatch): void {
    this.#sometimes.stored(batch)
    const view = this.durableOf(disk)
    for (const { entry } of batch.log ?? []) {
      const fact = this.chronicle.find(entry.update)
      if (fact !== undefined) view[fact.originIndex] = Math.max(view[fact.originIndex] ?? 0, fact.sequence)
    }
    if (batch.install === undefined) return
    for (const [index, count] of this.chronicle.viewOf(batch.install.applied).entries()) {
      view[index] = Math.max(view[index] ?? 0, count ?? 0)
    }
  }

  /** Where updates are that no fault has destroyed. */
  copies(): readonly View[] {
    const running = Array.from(this.processes, (process) => process.copy)
    return [...running, ...Array.from(this.idleDisks.keys(), (disk) => this.durableOf(disk))]
  }

  /** Of these, what a mesh can know of: some other server that runs knows the one that has it. */
  knowableCopies(): readonly View[] {
    const known = new Set([...this.processes].flatMap(({ knownServers }) => knownServers))
    return Array.from(this.#holders()).flatMap(({ server, view }) => (known.has(server) ? [view] : []))
  }

  /** Something that destroys copies: what is nowhere else is excused from being in the end state. */
  destroying(act: () => void): void {
    const before = this.copies().map((view) => view.slice())
    act()
    this.chronicle.excuse(before, this.copies())
  }

  // ── what clients are told ──────────────────────────────────────────────────────────────────────────────

  record<Line extends EventLine>(line: Line): Line {
    this.history.push(line)
    return line
  }

  /** A line of the history is as it stays. */
  recorded(line: EventLine): void {
    this.trace(() => JSON.stringify(line))
  }

  revealed(version: Version): void {
    const fact = this.chronicle.find(version)
    if (fact === undefined)
      this.violations.add('R1', `a client was shown ${nameOf(version)}, which nobody issued`)
    else fact.isRevealed = true
  }

  acknowledged(request: ClientRequest, version: Version): void {
    const fact = this.chronicle.find(version)
    if (request.method !== 'write' || request.request === undefined) return
    const { session, number } = request.request
    const carriedOut = this.chronicle.carriedOut(session, number)
    if (fact !== undefined && fact === carriedOut) return
    const told =
      carriedOut === undefined ? 'never carried out' : `carried out as ${nameOf(carriedOut.update)}`
    this.violations.add('R10', `${session} ${number} was acknowledged as ${nameOf(version)}, and was ${told}`)
  }

  /**
   * A server said that nobody has these versions any more: then nobody may have them. What a fault has made all forget whom
   * it reaches, it cannot know of.
   */
  #checkLost(teller: SimulatedProcess, versions: readonly Version[]): void {
    const reached = [...this.processes].filter(({ id }) => teller.knownServers.includes(id))
    const known = new Set([teller, ...reached].flatMap(({ id, knownServers }) => knownServers.concat(id)))
    for (const version of versions) {
      for (const { origin, peerAudit } of reached) {
        if (!peerAudit.hasWaiting(version)) continue
        const what = `${teller.origin} said that ${nameOf(version)} is lost`
        this.violations.add('R9', `${what}, and ${origin} has it waiting`)
      }
      const fact = this.chronicle.find(version)
      if (fact === undefined) continue
      for (const { server, view } of this.#holders()) {
        if (!known.has(server) || !covers(view, fact)) continue
        this.violations.add(
          'R9',
          `${teller.origin} said that ${nameOf(version)} is lost, and server ${server} has it`,
        )
      }
    }
  }

  /** Of two with one id a mesh talks to one, and cannot know of what the other has. */
  *#holders(): Generator<{ readonly server: ServerId; readonly view: View }, void, undefined> {
    const held = Array.from(this.processes, ({ id, witness }) => ({ server: id, view: witness.view }))
    for (const [disk, server] of this.idleDisks) held.push({ server, view: this.durableOf(disk) })
    for (const holder of held) {
      if (held.every((other) => other === holder || other.server !== holder.server)) yield holder
    }
  }

  // ── what is looked at ──────────────────────────────────────────────────────────────────────────────────

  observeStep(process: SimulatedProcess, input: Input, output: Output): void {
    this.#sometimes.observe(process, input, output)
    if (input.kind === 'tick') process.clockMs = input.nowMs
    else if (input.kind === 'members') process.knownServers = input.ids
    else if (input.kind === 'linkUp') process.linksUp.add(input.peer)
    else if (input.kind === 'linkDown') process.linksUp.delete(input.peer)
    this.#checkBounds(process, output)
    process.peerAudit.step(input, output)
    process.unsavedAudit?.step(output)
    if (input.kind === 'request') {
      process.asked.set(askedAs(input.client, input.id), { request: input.request, atMs: process.clockMs })
    }
    if (output.notify.length + output.broadcast.length > 0 && output.reply.length > 0)
      process.expectPushesFirst(output)
    // Where a step applies something too, it may have answered before.
    const isStill = output.persist.length === 0 && output.stage.length === 0
    for (const { client, id, result } of output.reply) {
      const asked = process.asked.get(askedAs(client, id))
      if (asked === undefined) continue
      process.asked.delete(askedAs(client, id))
      this.#checkAnswer(process, asked, result, isStill)
    }
    for (const { reason } of output.refuse)
      this.violations.add('R1', `${process.origin} refused a peer: ${reason}`)
    if (this.#trace === undefined) return
    const { persist, send, reply, notify } = output
    const applied = persist.map(({ update }) => nameOf(update)).join(' ')
    this.trace(
      () => `${process.origin} ${input.kind}: [${applied}] ${send.length} ${notify.length} ${reply.length}`,
    )
  }

  observeSent(process: SimulatedProcess, to: ServerId, message: PeerMessage): void {
    this.#sometimes.sent(process, to, message)
    this.trace(() => `${process.origin} → ${to}: ${textOf(message)}`)
  }

  observeBookmark(process: SimulatedProcess, { applied }: Extract<Notification, { kind: 'caughtUp' }>): void {
    this.trace(() => `${process.origin} bookmark ${JSON.stringify([...applied])}`)
  }

  observeWarning(process: SimulatedProcess, text: string): void {
    this.trace(() => `${process.origin} warns: ${text}`)
  }

  /** An answer has to be one to what was asked: not too early, not too late, and not for want of what is there. */
  #checkAnswer(
    process: SimulatedProcess,
    { request, atMs }: Asked,
    result: ClientResult,
    isStill: boolean,
  ): void {
    const after = 'after' in request ? request.after : undefined
    const { view } = process.witness
    const violate = (rule: string, what: string): void => {
      this.violations.add(rule, `${process.origin} answered to ${textOf(request)}: ${what}`)
    }
    if (result.method === 'notCaughtUp') {
      const lost = result.missing.filter((entry) => entry.lost).map(({ version }) => version)
      if (lost.length > 0) this.sometimes('a version was told to be lost')
      this.#checkLost(process, lost)
      const isMissing = result.missing.every(({ version }) => !this.chronicle.has(view, version))
      if (result.missing.length === 0 || (isStill && !isMissing))
        violate('R9', 'not caught up with what it has')
      const allowedMs = 'timeoutMs' in request ? (request.timeoutMs ?? 0) : 0
      if (lost.length === 0 && process.clockMs - atMs < allowedMs)
        violate('R9', 'not caught up, before its time')
      return
    }
    if (result.method === 'refused') {
      if (result.reason !== 'outcomeUnknown' || request.method !== 'write' || request.request === undefined)
        return
      const { session, number, retry } = request.request
      const carriedOut = this.chronicle.carriedOut(session, number)
      // Of a session that has gone on since, the answer may have been let go.
      if (this.chronicle.isFollowed(session, number)) return
      if (retry === undefined) violate('R10', 'outcome unknown, at its first attempt')
      if (isStill && carriedOut !== undefined && covers(view, carriedOut))
        violate('R10', 'outcome unknown, of what it has')
      return
    }
    for (const [origin, timestamp] of after ?? []) {
      if (!this.chronicle.has(view, { origin, timestamp }))
        violate('R9', `it came after ${timestamp}@${origin}`)
    }
    if (result.method !== 'read' || !isStill) return
    for (const { key, winner, conflicts } of result.values) {
      process.witness.compare(key, winner === undefined ? undefined : [winner, ...conflicts])
    }
  }

  /** A server was refused because its id is taken: by a process that answers, or did so a moment ago (R7). */
  observeIdRefused(refused: Origin, taken: Origin): void {
    this.sometimes('id refused')
    const other = [...this.processes].find(({ origin }) => origin === taken)
    const silentMs = other === undefined ? this.time.nowMs - (this.endedMs.get(taken) ?? 0) : other.pausedMs()
    if (silentMs <= refusalMsMax) return
    const since = `which has not answered for ${Math.round(silentMs)} ms`
    this.violations.add('R7', `${refused} was refused because of ${taken}, ${since}`)
  }

  /** A session was told what is lost, and has forgotten that; and nothing else (R9). */
  observeForgotten(
    session: string,
    lost: readonly Version[],
    cuts: { readonly before: Cut; readonly after: Cut },
  ): void {
    const origins = new Set(lost.map(({ origin }) => origin))
    for (const [origin, timestamp] of cuts.before) {
      if (origins.has(origin) || entryOf(cuts.after, origin) >= timestamp) continue
      this.violations.add('R9', `${session} forgot ${timestamp}@${origin}, which is not lost`)
    }
  }

  #checkBounds(process: SimulatedProcess, output: Output): void {
    const { appliedPerStepMax, buffer, log, parkedMax, requests } = this.limits
    for (const { client, result } of output.reply) {
      if (client !== 0 || result.method !== 'status') continue
      const { waiting, log: logged, parked, answers } = result.status
      const isBounded =
        waiting <= buffer.updatesMax &&
        logged <= log.updatesMax &&
        parked <= parkedMax &&
        answers <= requests.answersMax
      if (!isBounded) {
        const told = JSON.stringify({ waiting, logged, parked, answers })
        this.violations.add('R12', `${process.origin} keeps more than it may: ${told}`)
      }
    }
    if (output.persist.length > appliedPerStepMax + this.limits.page.updatesMax + 256) {
      this.violations.add('R3', `${process.origin} applied ${output.persist.length} updates in one step`)
    }
  }
}

/** A ping, and what a greeting may take. */
const refusalMsMax = 7_000

/** What a client has asked and was not answered yet. */
export interface Asked {
  readonly request: ClientRequest
  /** By the clock of its ticks, which stands still while the process does. */
  readonly atMs: number
}

/** The number of a request among those of all clients of one process; each sends far fewer. */
function askedAs(client: ClientId, id: number): number {
  return client * 100_000 + id
}

function textOf(message: PeerMessage | ClientRequest): string {
  return JSON.stringify(message, (_, value: unknown) => (value instanceof Map ? [...value] : value))
}

function drawLimits(random: Random, faults: Faults): Limits {
  const smallPage = random.oneOf([4, 20, 1_000])
  const buffer = faults.isBufferSmall
    ? { updatesMax: random.between(2, 12), bytesMax: 8_000 }
    : defaultLimits.buffer
  const log = faults.isLogTrimmedEarly
    ? { updatesMax: random.oneOf([8, 16, 60]), bytesMax: 1 << 20 }
    : defaultLimits.log
  return {
    ...defaultLimits,
    buffer,
    log,
    page: { updatesMax: smallPage, bytesMax: random.chance(0.3) ? 300 : defaultLimits.page.bytesMax },
    snapshotPage: {
      updatesMax: random.oneOf([3, 10, 60, 1_000]),
      bytesMax: defaultLimits.snapshotPage.bytesMax,
    },
    pushedBytesMax: random.oneOf([600, 4_000, defaultLimits.pushedBytesMax]),
    appliedPerStepMax: random.oneOf([5, 30, 1_000]),
    requests: { ...defaultLimits.requests, answersPerSessionMax: random.oneOf([2, 16, 1_024]) },
  }
}

function drawTiming(random: Random): Timing {
  return {
    ...defaultTiming,
    pullAfterMs: random.oneOf([50, 200]),
    pullTimeoutMs: random.oneOf([300, 1_000, 5_000]),
    lostAfterMs: random.oneOf([3_000, 10_000, 60_000]),
    askTimeoutMs: random.oneOf([100, 500]),
    bookmarkEveryMs: random.oneOf([100, 1_000, 10_000]),
  }
}
