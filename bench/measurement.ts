import type { Candidate, Running } from './candidates.ts'
import type { Load, LoadMoments, LoadReport } from './support/load.ts'
import { memoryOf, processorSecondsOf } from './support/process-figures.ts'
import { roundTrip, type Requests, type Watching, type Workload } from './workloads.ts'

/** One candidate's part of one round of a workload. */
export interface Measured {
  readonly workload: string
  readonly candidate: string
  readonly round: number
  /** Answers or pushes. */
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Microseconds of the processor for each answer or push: of the first process, of all others, and of the load. */
  readonly firstMicros: number
  readonly othersMicros: number
  readonly loadMicros: number
  /** Of the process that has most. */
  readonly residentBytes: number
}

export interface Loads {
  readonly requests: Load<'requests'>
  readonly watches: Load<'watches'>
}

export interface Durations {
  readonly warmMs: number
  readonly measureMs: number
}

/** @returns undefined where the candidate cannot do that. */
export async function measure(
  loads: Loads,
  what: {
    readonly workload: Workload
    readonly candidate: Candidate
    readonly running: Running
    readonly round: number
    readonly durations: Durations
  },
): Promise<Measured | undefined> {
  const { workload, candidate, running, round, durations } = what
  const { pids } = running
  let before: readonly number[] = []
  let spent: readonly number[] = []
  const moments: LoadMoments = {
    begins: () => {
      before = pids.map(processorSecondsOf)
    },
    ends: () => {
      spent = pids.map((pid, index) => processorSecondsOf(pid) - (before[index] ?? 0))
    },
  }
  const report = await run(loads, { workload, running, durations, moments })
  if (report === undefined) return undefined
  const micros = (seconds: number): number => (1e6 * seconds) / report.count
  const [first = Number.NaN, ...others] = spent
  return {
    workload: workload.name,
    candidate: candidate.name,
    round,
    perSecond: report.count / report.seconds,
    p50Ms: report.p50Ms,
    p99Ms: report.p99Ms,
    firstMicros: micros(first),
    othersMicros: micros(others.reduce((sum, seconds) => sum + seconds, 0)),
    loadMicros: micros(report.loadProcessorSeconds),
    residentBytes: Math.max(...pids.map((pid) => memoryOf(pid).residentBytes)),
  }
}

interface Order {
  readonly running: Running
  readonly durations: Durations
  readonly moments: LoadMoments
}

async function run(
  loads: Loads,
  { workload, ...order }: Order & { readonly workload: Workload },
): Promise<LoadReport | undefined> {
  if (workload.kind === 'requests') {
    const isAble = order.running.isWritableEverywhere || !workload.isEverywhere
    return isAble ? await ask(loads.requests, workload, order) : undefined
  }
  // Nobody is told by a process that only sends back: its round trip is what visibility is compared with.
  if (order.running.addresses.length > 1) return await watch(loads.watches, workload, order)
  const isVisibility = workload.plan.watchers === 1 && workload.plan.inFlight === 1
  return isVisibility ? await ask(loads.requests, roundTrip, order) : undefined
}

function ask(
  load: Load<'requests'>,
  { plan, isEverywhere }: Requests,
  { running, durations, moments }: Order,
): Promise<LoadReport> {
  const { dialect, addresses } = running
  const asked = isEverywhere ? addresses : addresses.slice(0, 1)
  return load.run({ ...plan, ...durations, dialect, addresses: asked }, moments)
}

async function watch(
  load: Load<'watches'>,
  { plan }: Watching,
  { running, durations, moments }: Order,
): Promise<LoadReport | undefined> {
  const { dialect } = running
  const [writer, watched] = running.addresses
  const canWatch = dialect === 'tidings' || dialect === 'redis'
  if (!canWatch || writer === undefined || watched === undefined) return undefined
  return await load.run({ ...plan, ...durations, dialect, writer, watched }, moments)
}
