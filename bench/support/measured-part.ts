import { performance } from 'node:perf_hooks'
import type { LoadMessage, LoadPlan, LoadReport } from './load.ts'
import { pause } from './sockets.ts'
import type { Times } from './times.ts'

/**
 * Lets a load that is under way warm, and then measures it, telling when that begins and ends.
 *
 * @param isOver tells when it ends, where that is not a matter of time.
 */
export async function measuredPart(
  { warmMs, measureMs }: Pick<LoadPlan, 'warmMs' | 'measureMs'>,
  times: Times,
  isOver = (): Promise<unknown> => pause(measureMs),
): Promise<LoadReport> {
  if (warmMs > 0) await pause(warmMs)
  say({ kind: 'begins' })
  times.begin()
  const before = { ms: performance.now(), processor: process.cpuUsage() }
  await isOver()
  const seconds = (performance.now() - before.ms) / 1_000
  const { user, system } = process.cpuUsage(before.processor)
  const { count, p50Ms, p99Ms } = times.end()
  say({ kind: 'ends' })
  return { count, seconds, loadProcessorSeconds: (user + system) / 1e6, p50Ms, p99Ms }
}

/** Carries out whatever this process is told, one plan after the other, and says what came of each. */
export function serve(carryOut: (plan: never) => Promise<LoadReport>): void {
  process.on('message', (plan: unknown) => {
    carryOut(plan as never).then(
      (report) => say({ kind: 'report', report }),
      (error: unknown) =>
        say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) }),
    )
  })
  // Whoever started it has ended.
  process.once('disconnect', () => process.exit(0))
}

function say(message: LoadMessage): void {
  process.send?.(message)
}
