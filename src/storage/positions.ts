import type { StoreBatch } from './store.ts'

/** Where a store stands in the positions of its updates. None of these ever falls. */
export interface Positions {
  /** The position of the next update. */
  readonly logEnd: number
  /** The position at which the state is: what the log has from here on is never let go. */
  readonly checkpoint: number
  /** Before this position, updates may go as far as the checkpoint allows. */
  readonly trim: number
}

export const firstPositions: Positions = { logEnd: 0, checkpoint: 0, trim: 0 }

/** Updates from this position on are kept. */
export function logStart({ trim, checkpoint }: Omit<Positions, 'logEnd'>): number {
  return Math.min(trim, checkpoint)
}

/**
 * Where a store stands after a batch.
 *
 * @throws Error for a batch that breaks the order of positions: a mistake of our own, which must not reach a disk.
 */
export function positionsAfter(batch: StoreBatch, before: Positions): Positions {
  let { logEnd, checkpoint, trim } = before
  for (const { position } of batch.log ?? []) {
    if (!Number.isSafeInteger(position) || position < logEnd) {
      throw new Error(`position ${position} is not at or after ${logEnd}, where the log goes on`)
    }
    logEnd = position + 1
  }
  if (batch.checkpoint !== undefined)
    checkpoint = risen('the checkpoint', checkpoint, batch.checkpoint.position)
  if (batch.trim !== undefined) trim = risen('the start of the log', trim, batch.trim.position)
  if (batch.install !== undefined) {
    const { position } = batch.install
    checkpoint = risen('the checkpoint', checkpoint, position)
    if (position < logEnd)
      throw new Error(`a snapshot is installed at ${position}, before the log ends at ${logEnd}`)
  }
  return { logEnd: Math.max(logEnd, checkpoint), checkpoint, trim }
}

function risen(what: string, before: number, after: number): number {
  if (!Number.isSafeInteger(after) || after < before) {
    throw new Error(`${what} would fall from ${before} to ${after}`)
  }
  return after
}
