import { processorSecondsOf } from './process-figures.ts'
import { pause } from './sockets.ts'

/** Waits until processes have nothing to do, such as a checkpoint, and then a while more. */
export async function leftAlone(pids: readonly number[]): Promise<void> {
  const used = (): number => pids.reduce((sum, pid) => sum + processorSecondsOf(pid), 0)
  let before: number
  do {
    before = used()
    await pause(settleMs)
  } while (used() - before > idleShareMax * (settleMs / 1_000))
}

export const settleMs = 2_000

/** Of one processor, all together. The reads that measure pauses take half of it, a checkpoint more. */
const idleShareMax = 0.4
