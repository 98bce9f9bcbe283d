import { performance } from 'node:perf_hooks'
import type * as configurationModule from '../../src/replica/configuration.ts'
import type * as replicaModule from '../../src/replica/replica.ts'
import type * as loopModule from '../../src/server/replica-loop.ts'
import type { Input } from '../../src/replica/input.ts'
import type { Update } from '../../src/replica/update.ts'
import type { Origin } from '../../src/replica/version.ts'
import { ProcessorWaits, waitedBetween } from './processor-waits.ts'
import { runErrand } from './run-errand.ts'
import { median } from './table.ts'

/** How many updates there are, of which all others wait for the first. */
export interface DrainPlan {
  readonly updates: number
}

/** Microseconds for each update: until it waits, and from the coming of the first until it is applied. */
export interface DrainReport {
  readonly keptMicros: number
  readonly appliedMicros: number
  /** The longest turns of the loop meanwhile, in which nobody else is served. */
  readonly keptStall: Stall
  readonly appliedStall: Stall
}

/** The longest of all, and the longest without what was for want of a processor, in milliseconds. */
interface Stall {
  readonly allMs: number
  readonly ownMs: number
}

interface Modules {
  readonly loop: typeof loopModule
  readonly replica: typeof replicaModule
  readonly configuration: typeof configurationModule
}

runErrand(async ({ updates }: DrainPlan, modules): Promise<DrainReport> => {
  const code: Modules = {
    loop: await modules('server/replica-loop'),
    replica: await modules('replica/replica'),
    configuration: await modules('replica/configuration'),
  }
  const wave = new Wave(updates)
  const warm = new Wave(warmUpdates)
  // Until its engine has compiled the code.
  for (let times = 0; times < warmTimes; times++) await warm.drain(code)
  const reports: DrainReport[] = []
  // What is over in a moment is measured several times.
  do reports.push(await wave.drain(code))
  while (reports.length * updates < repeatedUpdates)
  const middle = (figure: (report: DrainReport) => number): number => median(reports.map(figure))
  return {
    keptMicros: middle(({ keptMicros }) => keptMicros),
    appliedMicros: middle(({ appliedMicros }) => appliedMicros),
    keptStall: {
      allMs: middle(({ keptStall }) => keptStall.allMs),
      ownMs: middle(({ keptStall }) => keptStall.ownMs),
    },
    appliedStall: {
      allMs: middle(({ appliedStall }) => appliedStall.allMs),
      ownMs: middle(({ appliedStall }) => appliedStall.ownMs),
    },
  }
})

const warmUpdates = 10_000
const warmTimes = 5
const repeatedUpdates = 100_000

/**
 * One causal chain that three servers have written in turns: each update names the one before it of its own origin, and
 * the last two of the others. It comes from its end: of each server's, what it sent last comes first.
 */
class Wave {
  readonly #frames: readonly Frame[]
  readonly #last: Update
  readonly #count: number

  constructor(count: number) {
    const updates = Array.from({ length: count }, (_, index) => updateAt(index + 1))
    this.#last = updates.at(-1) as Update
    this.#count = count
    const frames: Frame[] = []
    for (let end = count; end > 1; end -= writers * frameUpdates) {
      const part = updates.slice(Math.max(1, end - writers * frameUpdates), end).reverse()
      for (let writer = 0; writer < writers; writer++) {
        const own = part.filter(({ timestamp }) => timestamp % writers === writer)
        if (own.length > 0) frames.push(frameOf(own))
      }
    }
    this.#frames = [...frames, frameOf(updates.slice(0, 1))]
  }

  async drain(modules: Modules): Promise<DrainReport> {
    const { defaultLimits: limits, defaultTiming: timing } = modules.configuration
    const configuration: configurationModule.Configuration = {
      server: '4',
      origin: '4~bench' as Origin,
      // What does not fit is sent again later, which is another thing to measure.
      limits: { ...limits, buffer: { updatesMax: this.#count, bytesMax: Infinity } },
      timing,
    }
    const replica = new modules.replica.Replica(configuration)
    const waits = new ProcessorWaits(process.pid)
    let stall = none
    let released = 0
    let settled = nothing
    const loop = new modules.loop.ReplicaLoop({
      replica,
      release: () => released++,
      settle: () => settled(),
      schedule: (run) =>
        void setImmediate(() => {
          const waited = waits.read()
          const beganMs = performance.now()
          run()
          const allMs = performance.now() - beganMs
          const ownMs = allMs - waitedBetween(waited, waits.read())
          stall = { allMs: Math.max(stall.allMs, allMs), ownMs: Math.max(stall.ownMs, ownMs) }
        }),
      now: () => performance.now(),
    })

    /** Gives the loop what has come. @returns how long it took until that was so. */
    const until = async (frames: readonly Frame[], isSo: () => boolean): Promise<number> => {
      const beganMs = performance.now()
      const reached = new Promise<void>((resolve) => {
        settled = () => {
          if (isSo()) resolve()
        }
      })
      for (const frame of frames) loop.push(frame)
      await reached
      return performance.now() - beganMs
    }

    const early = this.#frames.slice(0, -1)
    const keptMs = await until(early, () => released === early.length)
    if (replica.applied.size > 0) throw new Error('what was to wait has been applied')
    const keptStall = stall
    stall = none
    const { origin, timestamp } = this.#last
    const appliedMs = await until(
      this.#frames.slice(-1),
      () => (replica.applied.get(origin) ?? 0) >= timestamp,
    )
    await loop.stop()
    waits.close()
    return {
      keptMicros: (1e3 * keptMs) / this.#count,
      appliedMicros: (1e3 * appliedMs) / this.#count,
      keptStall,
      appliedStall: stall,
    }
  }
}

const none: Stall = { allMs: 0, ownMs: 0 }
const nothing = (): void => {}
const writers = 3
const frameUpdates = 1_000
const keys = 10_000
const value = 'x'.repeat(100)

function originOf(timestamp: number): Origin {
  return `${timestamp % writers}~bench` as Origin
}

function updateAt(timestamp: number): Update {
  const previous = Math.max(0, timestamp - writers)
  const others = Array.from({ length: writers - 1 }, (_, back) => timestamp - 1 - back)
  const dependencies = others.filter((other) => other > 0).map((other) => [originOf(other), other] as const)
  return {
    origin: originOf(timestamp),
    timestamp,
    previous,
    dependencies: Object.fromEntries(dependencies),
    writes: [{ key: `key-${timestamp % keys}`, value }],
  }
}

type Frame = Extract<Input, { kind: 'message' }>

/** What their server sends in one. */
function frameOf(updates: readonly Update[]): Frame {
  const from = updates[0]?.origin.split('~')[0] ?? ''
  return { kind: 'message', from, message: { kind: 'updates', updates } }
}
