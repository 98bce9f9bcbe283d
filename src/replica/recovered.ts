import type { Cut } from './cut.ts'
import type { SessionRecord, SnapshotRow } from './messages.ts'
import type { KeyRecord } from './output.ts'
import type { LogEntry } from './update-log.ts'

/**
 * What a disk has kept of a replica: a checkpoint of its state, and the log. A replica that starts with it is where
 * the last commit left it.
 *
 * The checkpoint is fuzzy: its keys were written one after the other while updates went on. Each says up to which
 * position it is current, at or after `checkpoint`; so replaying the log from `checkpoint` on, each update is
 * applied to those of its keys that do not have it yet. `applied` and the rows are exactly as they were at
 * `checkpoint`.
 */
export interface Recovered {
  readonly keys: Iterable<KeyRecord>
  readonly rows: Iterable<SnapshotRow>
  readonly sessions: Iterable<SessionRecord>
  readonly applied: Cut
  /** The position from which on the log is to be replayed. */
  readonly checkpoint: number
  /** The updates in the log with their positions, which rise; some may be before `checkpoint`. */
  readonly log: Iterable<{ readonly position: number; readonly entry: LogEntry }>
  /** The position of the next update. */
  readonly logEnd: number
  /** What lies before the log (R8). */
  readonly logFloor: Cut
}
