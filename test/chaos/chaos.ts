import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { WireVersion } from '../durability/dump.ts'
import { DataFolder } from '../durability/data-folder.ts'
import { Random } from '../durability/random.ts'
import { within } from '../integration/processes.ts'
import { Audit } from './audit.ts'
import { ChaosMesh, type Applied } from './chaos-mesh.ts'
import { Clients, type Actor } from './clients.ts'
import type { Program } from '../integration/compiled-program.ts'
import { FaultRunner, type DiskLoss } from './fault-runner.ts'
import { faultsOfRound, showFault, type Fault, type FaultKind } from './faults.ts'
import type { Network } from './network.ts'
import { Pace } from './pace.ts'
import { Recorder } from './recorder.ts'
import { recordedValue, type Session } from './session.ts'
import {
  allKeys,
  keysOfRound,
  nextPattern,
  weightsOfRound,
  type RoundKeys,
  type Weights,
} from './workload.ts'

export interface ChaosOptions {
  readonly seed: number
  /** It ends after the round in which so many operations of sessions are done … */
  readonly operations: number
  /** … or after the round that is on when so many seconds are over. */
  readonly seconds: number
  readonly network: Network
  /** The names of its servers. */
  readonly servers: readonly string[]
  readonly faults: readonly FaultKind[]
  /** How long servers may take to be equal once all is healed, and watches to be told; longer is a violation. 30 s by default. */
  readonly settleMsMax?: number
  readonly program: Program
  /** Where the history is written; a file in the temporary folder by default. */
  readonly history?: string
  /** How many operations one round is to have. */
  readonly roundOperations?: number
  /** How many sessions speak over bare sockets; there are a few of the library besides. */
  readonly rawSessions?: number
  /** Sessions forget what they have seen when they go to another server: for a negative control. */
  readonly dropsCuts?: boolean
  /** Is told what happens in each round. */
  readonly told?: (line: string) => void
}

/** What came of a run. */
export interface ChaosReport {
  readonly rounds: number
  /** Of sessions, answered or not. */
  readonly operations: number
  readonly counts: Audit['counts']
  /** Writes that watches were told of. */
  readonly pushes: number
  /** Updates that were applied. */
  readonly updates: number
  readonly faults: ReadonlyMap<FaultKind, number>
  /** Of each round: from the moment when everything was healed until all servers had applied the same. In milliseconds. */
  readonly agreementMs: readonly number[]
  /** What a server had in RAM of its own, at most. */
  readonly ownBytesMax: number
  readonly historyPath: string
  readonly violations: readonly string[]
}

/**
 * Real servers on real disks, real clients that hop between them, and faults, in rounds: while a round's faults come and
 * go, sessions ask, watches are told, and all of it is recorded. Then everything is healed, and the servers have to agree within a
 * bounded time. {@link Audit} looks at what the history cannot say; the history is for the checker.
 *
 * The seed decides what is asked and what is done; what comes of it, the machine decides.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const violations: string[] = []
  const complain = (complaint: string): void => {
    if (violations.length < violationsMax) violations.push(complaint)
  }
  const folder = await DataFolder.make()
  const { seed, network, program, servers: ids } = options
  const mesh = await ChaosMesh.start({ ids, network, folder, program, crashed: complain })
  const historyPath = options.history ?? join(tmpdir(), `tidings-chaos-${process.pid}-${seed}.ndjson`)
  const run = await ChaosRun.prepare(options, { mesh, historyPath, complain })
  try {
    await run.allRounds(() => violations.length > 0)
  } catch (error) {
    if (!(error instanceof Error)) throw error
    complain(error.message)
  } finally {
    await run.close()
    await mesh.close()
    await folder.remove()
  }
  return { ...run.report(), historyPath, violations }
}

/** So many are told; one is as bad. */
const violationsMax = 20

class ChaosRun {
  readonly #options: ChaosOptions
  readonly #mesh: ChaosMesh
  readonly #random: Random
  readonly #complain: (complaint: string) => void
  readonly #recorder: Recorder
  readonly #audit: Audit
  readonly #clients: Clients
  readonly #faults: FaultRunner
  readonly #settleMsMax: number
  readonly #keys = new Set<string>()
  readonly #agreementMs: number[] = []
  #rounds = 0
  #operations = 0
  #ownBytesMax = 0

  private constructor(
    options: ChaosOptions,
    given: {
      readonly mesh: ChaosMesh
      readonly recorder: Recorder
      readonly audit: Audit
      readonly clients: Clients
      readonly complain: (complaint: string) => void
    },
  ) {
    const { mesh, recorder, audit, clients, complain } = given
    const { seed, settleMsMax = settleMsMaxByDefault } = options
    this.#options = options
    this.#mesh = mesh
    this.#recorder = recorder
    this.#audit = audit
    this.#clients = clients
    this.#complain = complain
    this.#random = new Random(seed)
    this.#settleMsMax = settleMsMax
    const { switchboard, libraryProxies, watchers } = clients
    const random = new Random(seed * 10_000 + 9_999)
    this.#faults = new FaultRunner({ mesh, switchboard, libraryProxies, watchers, random, complain })
  }

  static async prepare(
    options: ChaosOptions,
    given: {
      readonly mesh: ChaosMesh
      readonly historyPath: string
      readonly complain: (complaint: string) => void
    },
  ): Promise<ChaosRun> {
    const { mesh, historyPath, complain } = given
    const { seed, rawSessions = rawSessionsByDefault, dropsCuts = false } = options
    const recorder = new Recorder(historyPath)
    const audit = new Audit(complain)
    const { ports } = mesh
    const clients = await Clients.start({
      ports,
      seed,
      rawSessions,
      recorder,
      observer: audit,
      complain,
      dropsCuts,
    })
    return new ChaosRun(options, { mesh, recorder, audit, clients, complain })
  }

  async allRounds(isOver: () => boolean): Promise<void> {
    const { operations, seconds } = this.#options
    const endsMs = performance.now() + seconds * 1_000
    while (!isOver() && this.#operations < operations && performance.now() < endsMs) await this.#round()
    if (!isOver()) await this.#recordEnd()
  }

  report(): Omit<ChaosReport, 'historyPath' | 'violations'> {
    return {
      rounds: this.#rounds,
      operations: this.#operations,
      counts: this.#audit.counts,
      pushes: this.#clients.watchers.reduce((sum, { record }) => sum + record.pushes, 0),
      updates: this.#audit.updates,
      faults: this.#faults.counts,
      agreementMs: this.#agreementMs,
      ownBytesMax: this.#ownBytesMax,
    }
  }

  async close(): Promise<void> {
    await this.#clients.close()
    await this.#recorder.close()
  }

  async #round(): Promise<void> {
    const round = ++this.#rounds
    const random = this.#random
    const keys = keysOfRound(round, random)
    for (const key of allKeys(keys)) this.#keys.add(key)
    const weights = weightsOfRound(random)
    const { ids, links } = this.#mesh
    const faults = faultsOfRound({ random, kinds: this.#options.faults, ids, links })
    for (const { record } of this.#clients.watchers) record.beginRound()

    const pace = this.#paceOf(faults)
    const idle = Promise.all([
      ...this.#clients.actors.map((actor) => work(actor, { pace, keys, weights })),
      ...(faults.some(({ kind }) => kind === 'stall' || kind === 'full') ? [this.#load(keys, pace)] : []),
    ])
    // What fails is told when the work is over.
    idle.catch(() => {})
    const over = (async () => {
      await pace.ended
      await within(idle, () => 'a session does not get to its end', idleMsMax)
    })()
    await Promise.all([over, ...faults.map((fault) => this.#faults.run(fault, over))])
    this.#operations += pace.given

    await this.#mesh.heal()
    const { tookMs, dump } = await this.#mesh.agreed(this.#keys, this.#settleMsMax)
    this.#agreementMs.push(tookMs)
    await this.#endWatches(keys)
    const agreed = await this.#mesh.agreed(this.#keys, this.#settleMsMax)
    await this.#judge(agreed.dump.applied, this.#faults.takeLoss())
    this.#options.told?.(
      `round ${round}: ${pace.given} operations; ${faults.map(showFault).join('; ') || 'no fault'}; ` +
        `agreed after ${Math.round(tookMs)} ms on ${dump.counts.keys} keys`,
    )
  }

  #paceOf(faults: readonly Fault[]): Pace {
    const { operations, roundOperations = roundOperationsByDefault } = this.#options
    const ends = faults.map(({ atMs, lastsMs }) => atMs + (lastsMs === Infinity ? lastingMs : lastsMs))
    const overMs = Math.max(roundMsMin, ...ends)
    return new Pace({
      operations: Math.min(roundOperations, operations - this.#operations),
      overMs,
      endsMs: overMs + lateMsMax,
    })
  }

  /** Long values, as fast as they are taken, until there are many or the round is over. */
  async #load({ ballast }: RoundKeys, pace: Pace): Promise<void> {
    for (let count = 0; count < ballastWrites && (await pace.turn()); count++) {
      await this.#clients.ballast.write(ballast[count % ballast.length] as string, ballastBytes)
      if (count % 50 === 49) await this.#clients.ballast.hop()
    }
  }

  /** One more update, which comes after all others; whoever watches has to be told of it. */
  async #endWatches({ ends, ballast }: RoundKeys): Promise<void> {
    await this.#clients.ender.hop()
    const changes = [
      ...ends.map((key) => ({ key, deleted: false })),
      // Long values are read often, and have done their work.
      ...ballast.map((key) => ({ key, deleted: true })),
    ]
    const version = await this.#endWith(changes)
    const told = Promise.all(this.#clients.watchers.map(({ record }) => record.toldOf(version)))
    await within(told, () => `a watch is not told of ${version.join('@')}`, this.#settleMsMax)
  }

  async #endWith(changes: Parameters<Session['batch']>[0]): Promise<WireVersion> {
    for (let attempt = 1; attempt <= endAttemptsMax; attempt++) {
      const outcome = await this.#clients.ender.batch(changes)
      if (outcome.kind === 'written') return outcome.version
      // If it has happened all the same, the next one comes after it.
      await this.#mesh.agreed(this.#keys, this.#settleMsMax)
    }
    throw new Error(`no server takes the last write of a round`)
  }

  async #judge(applied: Applied, loss: DiskLoss | undefined): Promise<void> {
    const lost = new Set(this.#recordLost(applied, loss))
    await this.#audit.judge(this.#mesh, {
      applied,
      isLost: (version) => lost.has(version.join('@')),
      watchers: this.#clients.watchers,
    })
    for (const leak of await this.#mesh.leaks()) this.#complain(leak)
    for (const { id, ownBytes } of this.#mesh.servers.values()) {
      this.#ownBytesMax = Math.max(this.#ownBytesMax, ownBytes)
      if (ownBytes > ownBytesMax) this.#complain(`server ${id} has ${ownBytes} bytes of its own in RAM`)
    }
  }

  /** Of what was seen, what no server has and no server but the one without its disk can have had. */
  #recordLost(applied: Applied, loss: DiskLoss | undefined): readonly string[] {
    const isMissing = ([timestamp, origin]: WireVersion): boolean => (applied[origin] ?? 0) < timestamp
    const missing = this.#recorder.takeVersions().filter(isMissing)
    if (loss === undefined) return []
    const { server, survived } = loss
    const lost = missing.filter(
      ([timestamp, origin]) => origin.startsWith(`${server}~`) && (survived.get(origin) ?? 0) < timestamp,
    )
    for (const version of lost) this.#recorder.record({ op: 'lost', version })
    return lost.map((version) => version.join('@'))
  }

  async #recordEnd(): Promise<void> {
    const { dumps } = await this.#mesh.agreed(this.#keys, this.#settleMsMax)
    for (const [server, { keys }] of dumps) {
      for (const [key, [winner]] of Object.entries(keys)) {
        if (winner === undefined) continue
        const { version, value } = winner
        const held = value === undefined ? { version } : { value: recordedValue(value), version }
        this.#recorder.record({ op: 'final', server, key, ...held })
      }
    }
  }
}

/** Does one thing after the other, until the round is over. */
async function work(
  { session, random }: Actor,
  round: { readonly pace: Pace; readonly keys: RoundKeys; readonly weights: Weights },
): Promise<void> {
  const { pace, keys, weights } = round
  for (;;) {
    const pattern = nextPattern(keys, random, weights)
    let step = pattern.next()
    while (step.done !== true) {
      if (!(await pace.turn())) return
      step = pattern.next(await step.value(session))
    }
  }
}

const rawSessionsByDefault = 48

const roundOperationsByDefault = 8_000
const roundMsMin = 1_000
/** How long faults without an end are on beside work. */
const lastingMs = 1_500
/** What servers that were away may take longer for a round's work. */
const lateMsMax = 20_000
/** For the hung: a session gives up after a few attempts, each of some seconds. */
const idleMsMax = 300_000

/** Together more than buffers take between a server and a watcher that reads nothing. */
const ballastWrites = 240
const ballastBytes = 60_000

const endAttemptsMax = 20
/** Liveness: links are dialled again every two seconds at least, and a standstill is over after ten. */
const settleMsMaxByDefault = 30_000
/** A log of 64 MiB, a few thousand keys, and what is collected only now and then. */
const ownBytesMax = 1.5 * 2 ** 30
