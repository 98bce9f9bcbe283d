import type { Random } from '../durability/random.ts'
import type { EventLine, HistoryLine } from '../../src/check/history-line.ts'
import { defaultLimits, defaultTiming, type Limits, type Timing } from '../../src/replica/configuration.ts'
import type { Input } from '../../src/replica/input.ts'
import type { ClientRequest, LinkState, PeerMessage } from '../../src/replica/messages.ts'
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
  operationsLeft: number
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
    return Array.from(this.#holders(), ({ view }) => view)
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
  toldLost(teller: Origin | undefined, versions: readonly Version[]): void {
    this.sometimes('a version was told to be lost')
    const process = [...this.processes].find(({ origin }) => origin === teller)
    if (process === undefined) return
    const reached = [...this.processes].filter(({ id }) => process.knownServers.includes(id))
    const known = new Set([process, ...reached].flatMap(({ knownServers }) => knownServers))
    for (const version of versions) {
      const fact = this.chronicle.find(version)
      if (fact === undefined) continue
      for (const { server, view } of this.#holders()) {
        if (!known.has(server) || !covers(view, fact)) continue
        this.violations.add(
          'R9',
          `${teller} said that ${nameOf(version)} is lost, and server ${server} has it`,
        )
      }
    }
  }

  *#holders(): Generator<{ readonly server: ServerId; readonly view: View }, void, undefined> {
    for (const process of this.processes) yield { server: process.id, view: process.copy }
    for (const [disk, server] of this.idleDisks) yield { server, view: this.durableOf(disk) }
  }

  // ── what is looked at ──────────────────────────────────────────────────────────────────────────────────

  observeStep(process: SimulatedProcess, input: Input, output: Output): void {
    this.#sometimes.observe(process, input, output)
    if (input.kind === 'members') process.knownServers = input.ids
    else if (input.kind === 'linkUp') process.linksUp.add(input.peer)
    else if (input.kind === 'linkDown') process.linksUp.delete(input.peer)
    this.#checkBounds(process, output)
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
    if (text.startsWith('refused what server')) this.violations.add('R1', `${process.origin} ${text}`)
  }

  twinStopped: (process: SimulatedProcess) => void = () => {}

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

function textOf(message: PeerMessage): string {
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
    page: { updatesMax: smallPage, bytesMax: defaultLimits.page.bytesMax },
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
