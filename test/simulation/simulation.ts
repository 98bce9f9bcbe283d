import { Random } from '../durability/random.ts'
import { checkHistory } from '../../src/check/check-history.ts'
import type { HistoryLine } from '../../src/check/history-line.ts'
import { covers, nameOf, type View } from './chronicle.ts'
import { drawFaults, type Faults } from './faults.ts'
import { Nemesis } from './nemesis.ts'
import { ServerSlot } from './server-slot.ts'
import { SimulatedClient } from './simulated-client.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import { Sometimes } from './sometimes.ts'
import { drawWorkload, type Workload } from './workload.ts'
import { World } from './world.ts'

/** What a run is made of. Whatever is not given is drawn from the seed. */
export interface RunOptions {
  readonly seed: number
  readonly faults?: Partial<Faults>
  readonly workload?: Partial<Workload>
  /** Counts rare states. */
  readonly sometimes?: Sometimes
  /** Takes a line for everything that happens; without it, none is put into words. */
  readonly trace?: (line: string) => void
}

/** What came of a run. */
export interface RunReport {
  readonly seed: number
  readonly faults: Faults
  readonly workload: Workload
  /** What was found wrong; empty where nothing was. */
  readonly violations: readonly string[]
  /** Requests that were sent, and updates that were issued. */
  readonly operations: number
  readonly updates: number
  /** How long the run took in its own time. */
  readonly virtualMs: number
  /** What clients saw, and what servers held in the end. */
  readonly history: readonly HistoryLine[]
}

/**
 * Runs servers, clients and whatever goes wrong, from one seed: the same seed is the same run, to the last event.
 *
 * First everything happens at once, until the clients have asked all they are to ask. Then all but two servers are cut
 * off, and these two have to bring each other up to date, whatever became of the others (R8). Then everything is mended, and
 * all have to become equal (R4). What was seen meanwhile is judged by those who look on, as it happens, and in the end by
 * the checker of histories, who knows nothing of stores.
 */
export async function simulate(options: RunOptions): Promise<RunReport> {
  const random = new Random(options.seed)
  const faults = drawFaults(random, options.faults)
  const workload = drawWorkload(random, options.workload)
  const sometimes = options.sometimes ?? new Sometimes()
  const world = new World({ random, faults, workload, sometimes, trace: options.trace })
  const run = new Run(world)
  await run.toTheEnd()
  return {
    seed: options.seed,
    faults,
    workload,
    violations: world.violations.found,
    operations: workload.operations - world.operationsLeft,
    updates: world.chronicle.count,
    virtualMs: Math.round(world.time.nowMs),
    history: world.history,
  }
}

class Run {
  readonly #world: World
  readonly #slots: ServerSlot[] = []
  readonly #clients: SimulatedClient[] = []
  readonly #nemesis: Nemesis

  constructor(world: World) {
    this.#world = world
    const { workload, random, time } = world
    for (let number = 1; number <= workload.servers; number++) {
      const slot = this.#addSlot()
      time.in(random.within(0, 200), () => slot.start())
    }
    this.#nemesis = new Nemesis({
      world,
      slots: () => this.#slots,
      clients: () => this.#clients,
      join: () => this.#addSlot().start(),
    })
    world.idRefused = (process) => {
      const slot = this.#slots.find((one) => one.refused(process))
      // Its operator tries again.
      if (slot?.process === undefined) time.in(restartMs, () => slot?.start())
    }
    for (let number = 1; number <= workload.clients; number++) {
      this.#clients.push(new SimulatedClient(world, number, number <= workload.watchers))
    }
  }

  async toTheEnd(): Promise<void> {
    try {
      await this.#throughAllPhases()
    } catch (error) {
      const told = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#world.violations.add('exception', told)
    }
  }

  async #throughAllPhases(): Promise<void> {
    const { time, violations } = this.#world
    await time.run(chaosMsMax, () => violations.any || this.#world.operationsLeft === 0)
    this.#nemesis.end()
    // Who was partitioned finds the others again, as far as that takes no more than a connection's own time.
    await time.run(time.nowMs + reconnectMs, () => violations.any)
    if (!violations.any) await this.#twoAlone()
    if (!violations.any) await this.#levelOff()
    if (!violations.any) this.#judge()
  }

  /** Of two servers each has to get what the other has, while nobody else can be reached. */
  async #twoAlone(): Promise<void> {
    const { network, violations } = this.#world
    const pair = this.#twoWhoKnowEachOther()
    if (pair === undefined) return
    const [one, other] = pair
    for (const from of this.#slots) {
      for (const to of this.#slots) {
        const isBetween = (from === one || from === other) && (to === one || to === other)
        if (from !== to && !isBetween) network.setPassage(from.id, to.id, 'cut')
      }
    }
    this.#world.trace(() => `only ${one.id} and ${other.id} reach each other`)
    const goal = both(viewOf(one.process), viewOf(other.process))
    if (!isEqual(viewOf(one.process), viewOf(other.process)))
      this.#world.sometimes('two alone had something to get')
    const isReached = (): boolean =>
      includes(viewOf(one.process), goal) && includes(viewOf(other.process), goal)
    await this.#until(isReached, aloneMsMax)
    if (violations.any || isReached()) return
    violations.add('R8', `servers ${one.id} and ${other.id} are connected, and do not get what the other has`)
  }

  /** Who has just joined may know nobody but one who is cut off then. */
  #twoWhoKnowEachOther(): readonly [ServerSlot, ServerSlot] | undefined {
    for (const one of this.#world.random.shuffled(this.#slots)) {
      const known = one.process?.linksUp ?? new Set()
      const others = this.#slots.filter((slot) => slot !== one && known.has(slot.id))
      if (others.length > 0) return [one, this.#world.random.oneOf(others)]
    }
    return undefined
  }

  async #levelOff(): Promise<void> {
    const { network, violations } = this.#world
    network.heal()
    this.#world.trace(() => 'all is mended')
    await this.#until(() => this.#isLevel(), levelMsMax)
    if (violations.any) return
    if (!this.#isLevel()) {
      violations.add('R4', `the servers do not become equal: ${this.#differences()}`)
    }
  }

  /** Runs until something is reached, as long as there is some progress on the way: small pages take many turns. */
  async #until(isReached: () => boolean, withoutProgressMsMax: number): Promise<void> {
    const { time, violations } = this.#world
    let before = -1
    for (let applied = this.#appliedCount(); applied > before; applied = this.#appliedCount()) {
      before = applied
      await time.run(time.nowMs + withoutProgressMsMax, () => violations.any, isReached)
      if (violations.any || isReached()) return
    }
  }

  /** How many updates all servers have applied, counted at each. */
  #appliedCount(): number {
    let sum = 0
    for (const { process } of this.#slots) for (const count of viewOf(process)) sum += count ?? 0
    return sum
  }

  /** Whether everybody has everything, and has been told. */
  #isLevel(): boolean {
    const [first, ...others] = this.#slots.map(({ process }) => process)
    if (first === undefined || this.#world.operationsLeft > 0) return false
    const { view } = first.witness
    if (!others.every((process) => process !== undefined && isEqual(process.witness.view, view))) return false
    // Addresses spread: each is linked to each, whomever it knew at first (R8).
    if (!this.#slots.every(({ process }) => process?.linksUp.size === this.#slots.length - 1)) return false
    return this.#clients.every(
      (client) =>
        !client.isWaiting && (client.watched === undefined || client.watched.missingOf(view) === undefined),
    )
  }

  #differences(): string {
    const views = this.#slots.map(({ id, process }) => `${id} ${JSON.stringify(viewOf(process))}`)
    const waiting = this.#clients.filter((client) => client.isWaiting).length
    const view = viewOf(this.#slots[0]?.process)
    const untold = this.#clients
      .map((client) => client.watched?.missingOf(view))
      .filter((name) => name !== undefined)
    return `${views.join(', ')}; ${waiting} clients wait for answers; watches lack ${untold.join(', ')}`
  }

  #judge(): void {
    const { chronicle, violations, history } = this.#world
    const [first] = this.#slots
    const view = viewOf(first?.process)
    for (const { process } of this.#slots) if (process !== undefined) this.#judgeState(process)
    for (const fact of chronicle.facts()) {
      if (covers(view, fact)) continue
      const { timestamp, origin } = fact.update
      if (!fact.isExcused && fact.isRevealed) {
        violations.add('R6', `${nameOf(fact.update)} was shown to a client, and nobody has it in the end`)
      }
      history.push({ op: 'lost', version: [timestamp, origin] })
    }
    const verdict = checkHistory(history)
    for (const violation of verdict.violations) violations.add('history', JSON.stringify(violation))
  }

  #judgeState({ id, witness, core: { replica } }: SimulatedProcess): void {
    const { chronicle, violations, history } = this.#world
    witness.compareAll(replica)
    for (const [origin, timestamp] of replica.applied) {
      const last = chronicle.find({ origin, timestamp })
      if (last === undefined) continue
      const row = chronicle.cutOf(Array.from(last.past))
      row.delete(origin)
      const known = replica.knownBy(origin) ?? new Map()
      const isExact = known.size === row.size && [...row].every(([other, time]) => known.get(other) === time)
      if (!isExact) {
        const told = JSON.stringify([[...known], [...row]])
        violations.add('R5', `server ${id} has a wrong row of ${origin} in its matrix: ${told}`)
      }
    }
    for (const [key, [winner]] of replica.entries()) {
      const version = [winner.version.timestamp, winner.version.origin] as const
      const line = { op: 'final', server: id, key, version } as const
      history.push(winner.deleted === true ? line : { ...line, value: winner.value as string })
    }
  }

  #addSlot(): ServerSlot {
    const { workload, random } = this.#world
    const number = this.#slots.length + 1
    const others = this.#slots.map(({ port }) => port)
    const firstPort = firstSlotPort
    const slot = new ServerSlot(this.#world, {
      id: `${number}`,
      port: firstPort + number,
      durability: workload.durabilities[(number - 1) % workload.durabilities.length] ?? 'sync',
      // One is enough to find the rest; of the first that start, each is told of the next.
      peers: () =>
        number <= workload.servers ? [firstPort + (number % workload.servers) + 1] : [random.oneOf(others)],
    })
    this.#slots.push(slot)
    return slot
  }
}

function viewOf(process: SimulatedProcess | undefined): View {
  return process?.witness.view ?? []
}

function both(one: View, other: View): View {
  const length = Math.max(one.length, other.length)
  return Array.from({ length }, (_, index) => Math.max(one[index] ?? 0, other[index] ?? 0))
}

function includes(view: View, other: View): boolean {
  return other.every((count, index) => (view[index] ?? 0) >= count)
}

function isEqual(one: View, other: View): boolean {
  return includes(one, other) && includes(other, one)
}

/** Clients that have not asked everything by then ask the rest while things mend. */
const chaosMsMax = 12_000

/** Twice what it takes to find a half-open connection, and to dial, and to let a pull time out. */
const aloneMsMax = 60_000
const levelMsMax = 120_000

const firstSlotPort = 60_000

const restartMs = 500

const reconnectMs = 300
