import { readFileSync, writeFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'

/**
 * Loaded into a server's process before the server itself: watches how long its event loop is kept from turning, and
 * writes what it has seen into the file that {@link reportVariable} names when the process ends.
 *
 * On a machine with more processes than processors a turn is long for reasons that are not the server's. So where the
 * system (Linux) says so it is noted, too, how long the thread waited for a processor; the rest is its own part. Nor can
 * that be more than all threads of the process have computed: the loop may have waited for one of theirs, which
 * collects garbage, to get a processor.
 */
export interface LoopReport {
  /** How many turns were looked at. */
  readonly turns: number
  /** The longest of them, its own part longest first. */
  readonly stalls: readonly Stall[]
}

/** A turn of the loop that took longer than it should. All in milliseconds. */
export interface Stall {
  /** From one look to the next, less the time that was to pass between them. */
  readonly wallMs: number
  /** What of that the thread waited for a processor; 0 where nobody knows. */
  readonly waitedMs: number
  /** What is left, or what all threads of the process have computed where that is less. */
  readonly ownMs: number
  /** Since the probe was loaded. */
  readonly atMs: number
}

export const reportVariable = 'LOOP_PROBE_REPORT'

const lookEveryMs = 5
const stallsKept = 20
/** Starting takes its time, and nobody is served before. */
const startMs = 3_000

const path = process.env[reportVariable]
if (path !== undefined) {
  const stalls: Stall[] = []
  const began = performance.now()
  let turns = 0
  let lastMs = began
  let lastWaitedMs = waitedMs()
  let lastComputedMs = computedMs()
  setInterval(() => {
    const nowMs = performance.now()
    const wallMs = nowMs - lastMs - lookEveryMs
    const waited = waitedMs()
    const computed = computedMs()
    if (nowMs - began > startMs) {
      turns++
      const own = Math.max(0, Math.min(wallMs - (waited - lastWaitedMs), computed - lastComputedMs))
      note({ wallMs, waitedMs: waited - lastWaitedMs, ownMs: own, atMs: nowMs - began })
    }
    lastWaitedMs = waited
    lastComputedMs = computed
    lastMs = nowMs
  }, lookEveryMs).unref()
  process.once('exit', () => writeFileSync(path, JSON.stringify({ turns, stalls } satisfies LoopReport)))

  const note = (stall: Stall): void => {
    if (stalls.length === stallsKept && stall.ownMs <= (stalls.at(-1)?.ownMs ?? 0)) return
    stalls.push(stall)
    stalls.sort((a, b) => b.ownMs - a.ownMs)
    stalls.length = Math.min(stalls.length, stallsKept)
  }
}

/** How long the threads of this process have had a processor, all together. */
function computedMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** How long this thread has waited for a processor since it began. */
function waitedMs(): number {
  try {
    const [, waitedNs = 0] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')
    return Number(waitedNs) / 1e6
  } catch {
    return 0
  }
}
