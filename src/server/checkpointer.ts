import type { Cut } from '../replica/cut.ts'
import type { Siblings } from '../replica/key-space.ts'
import type { SessionRecord, SnapshotRow } from '../replica/messages.ts'
import type { KeyRecord, StateRecords } from '../replica/output.ts'
import type { Recovered } from '../replica/recovered.ts'
import { sizeOfValue } from '../replica/update.ts'
import type { LogEntry } from '../replica/update-log.ts'
import type { Origin } from '../replica/version.ts'
import type { StoreBatch } from '../storage/store.ts'
import { SortedRuns } from './sorted-runs.ts'

/** What a checkpoint is made of: a replica, read at moments between its steps. */
export interface CheckpointSource {
  readonly applied: Cut
  readonly logStart: number
  readonly logFloor: Cut
  siblingsOf(key: string): Siblings | undefined
  knownBy(origin: Origin): Cut | undefined
  sessionRecord(session: string): SessionRecord | undefined
  takeForgottenSessions(): readonly string[]
}

/**
 * Brings the state on the disk up to date behind the log, many overwrites of a key in one, so that a start need
 * not replay more than the last of it.
 *
 * A checkpoint is made in a round. It begins at some position P of the log, takes note of `applied` and of the rows
 * of the matrix as they are there, and of which keys and sessions have changed since the round before. Then each
 * commit carries a slice of those, as they are when that commit is made. The last slice says that the checkpoint
 * stands at P. Until then the one before stands, and replaying the log from there covers what the slices lack.
 *
 * Taking in a snapshot (R8) ends in a checkpoint too. From its beginning on, what the last checkpoint lacks is staged
 * beside what the snapshot brings. No round begins meanwhile, as nothing changes: the state in memory is ahead of the log.
 *
 * Invariants:
 * - What a slice captures is at the position that its records say, at or after P, and in the same commit as the
 *   last update that it reflects or in a later one: so no disk ever holds an effect without its cause.
 * - A key, row or session is as new in the store as at the position of its last checkpoint; or it is still to be
 *   captured in the round or the installation under way; or it is in `#dirty`.
 */
export class Checkpointer {
  readonly #replica: CheckpointSource
  readonly #limits: CheckpointLimits
  #dirty = new Dirt()
  #round: Round | undefined
  /** What is to be staged while a snapshot is taken in. */
  #installation: Capture | undefined
  /** Since the last slice: a round must not be outrun by what is written meanwhile. */
  #recentWrites = 0
  #recentBytes = 0

  /** @param options.replayed the updates that no checkpoint held when the replica was recovered. */
  constructor(options: {
    readonly replica: CheckpointSource
    readonly replayed?: readonly LogEntry[]
    readonly limits?: Partial<CheckpointLimits>
  }) {
    this.#replica = options.replica
    this.#limits = { ...defaultCheckpointLimits, ...options.limits }
    for (const entry of options.replayed ?? []) this.#dirty.add(entry)
  }

  /** Whether a round has begun that more commits have to complete. */
  get isUnderWay(): boolean {
    return this.#round !== undefined
  }

  /** An update has been applied, and goes into the next commit. */
  note(entry: LogEntry): void {
    this.#dirty.add(entry)
    this.#recentWrites += entry.update.writes.length
    this.#recentBytes += entry.bytes
  }

  /**
   * What the next commit is to carry besides its updates. To be asked when everything that has been applied so far
   * is in that commit or an earlier one.
   *
   * @param position of the next update.
   * @returns undefined where there is nothing to do.
   */
  slice(position: number): Pick<StoreBatch, 'state' | 'checkpoint' | 'trim'> | undefined {
    // Twice what came in between, so that each slice brings the end of the round nearer.
    const limits = {
      keysMax: Math.max(this.#limits.keysPerSlice, 2 * this.#recentWrites),
      bytesMax: Math.max(this.#limits.bytesPerSlice, 2 * this.#recentBytes),
    }
    this.#recentWrites = 0
    this.#recentBytes = 0
    this.#round ??= this.#isDue() ? this.#begin(position) : undefined
    const round = this.#round
    if (round === undefined) return undefined
    const { keys, sessions, isComplete } = round.capture.next(this.#replica, position, limits)
    const state = { keys, rows: [], sessions }
    if (!isComplete) return { state }
    this.#round = undefined
    return {
      state,
      checkpoint: { position: round.position, applied: round.applied, rows: round.rows },
      // No further than the checkpoint, so that a later start has the log from just here on.
      trim: {
        position: Math.min(this.#replica.logStart, round.position),
        logFloor: this.#replica.logFloor,
      },
    }
  }

  /** A snapshot is being taken in: until {@link completeInstall}, nothing but that changes the state, so no round is due. */
  beginInstall(): void {
    const round = this.#round
    this.#round = undefined
    const dirty = this.#dirty
    this.#dirty = new Dirt()
    for (const { origin } of round?.rows ?? []) dirty.origins.add(origin)
    this.#installation = new Capture(dirty, round?.capture)
  }

  /** A slice of what the last checkpoint lacks, to be staged. */
  stage(position: number): StateRecords {
    const { keysPerSlice: keysMax, bytesPerSlice: bytesMax } = this.#limits
    return this.#stage(position, { keysMax, bytesMax })
  }

  /** The rest of it, rows too: what is then installed is a checkpoint. */
  completeInstall(position: number): StateRecords {
    const rows = rowsOf(this.#replica, this.#installation?.origins ?? [])
    const { keys, sessions } = this.#stage(position, { keysMax: Infinity, bytesMax: Infinity })
    this.#installation = undefined
    return { keys, rows, sessions }
  }

  #stage(position: number, limits: SliceLimits): StateRecords {
    const staged = this.#installation?.next(this.#replica, position, limits)
    return { keys: staged?.keys ?? [], rows: [], sessions: staged?.sessions ?? [] }
  }

  #isDue(): boolean {
    const { writes, bytes } = this.#dirty
    return writes >= this.#limits.writesPerRound || bytes >= this.#limits.bytesPerRound
  }

  #begin(position: number): Round {
    for (const session of this.#replica.takeForgottenSessions()) this.#dirty.sessions.add(session)
    const dirty = this.#dirty
    this.#dirty = new Dirt()
    return {
      position,
      applied: new Map(this.#replica.applied),
      rows: rowsOf(this.#replica, dirty.origins),
      capture: new Capture(dirty),
    }
  }
}

/**
 * Passes on what has been recovered to whoever replays it, and notes on the way which updates no checkpoint holds.
 *
 * @returns the same, to be iterated over once; and afterwards what {@link Checkpointer} is to know of.
 */
export function notingReplay(recovered: Recovered): {
  readonly recovered: Recovered
  readonly replayed: readonly LogEntry[]
} {
  const replayed: LogEntry[] = []
  function* log(): Generator<{ readonly position: number; readonly entry: LogEntry }> {
    for (const item of recovered.log) {
      if (item.position >= recovered.checkpoint) replayed.push(item.entry)
      yield item
    }
  }
  return { recovered: { ...recovered, log: log() }, replayed }
}

/** When a round is made, and how large its slices are. */
export interface CheckpointLimits {
  readonly writesPerRound: number
  readonly bytesPerRound: number
  readonly keysPerSlice: number
  readonly bytesPerSlice: number
}

/** The reasons stand on the fields. */
const defaultCheckpointLimits: CheckpointLimits = {
  // Replayed in about half a second at a start, which reads a log twice as long anyway; and the more, the more
  // overwrites of a key become one.
  writesPerRound: 100_000,
  bytesPerRound: 32 << 20,
  // A few milliseconds of encoding and of the disk, which is what an acknowledgement may be delayed by.
  keysPerSlice: 1_000,
  bytesPerSlice: 1 << 20,
}

/** What has changed since a checkpoint. */
class Dirt {
  readonly #keys = new Set<string>()
  /** The same, in order. */
  readonly keys = new SortedRuns()
  readonly sessions = new Set<string>()
  readonly origins = new Set<Origin>()
  writes = 0
  bytes = 0

  add({ update, bytes }: LogEntry): void {
    for (const { key } of update.writes) {
      if (this.#keys.has(key)) continue
      this.#keys.add(key)
      this.keys.add(key)
    }
    if (update.request !== undefined) this.sessions.add(update.request.session)
    this.origins.add(update.origin)
    this.writes += update.writes.length
    this.bytes += bytes
  }
}

/** Goes once through what has changed, and takes it as it is by then. */
class Capture {
  readonly #keys: Iterator<string>
  readonly #sessions: Iterator<string>
  readonly origins: ReadonlySet<Origin>

  /** @param before one that has not come to its end, whose rest is taken first. */
  constructor(dirt: Dirt, before?: Capture) {
    // In order, so that a slice touches few pages of a tree on a disk: many times faster where much is dirty.
    this.#keys = chain(before === undefined ? undefined : before.#keys, dirt.keys.read())
    this.#sessions = chain(before === undefined ? undefined : before.#sessions, dirt.sessions)
    this.origins = dirt.origins
  }

  /** @param position of the next update: what is captured is the state before it. */
  next(replica: CheckpointSource, position: number, limits: SliceLimits): CaptureSlice {
    const keys: KeyRecord[] = []
    const sessions: SessionRecord[] = []
    let bytes = 0
    while (keys.length + sessions.length < limits.keysMax && bytes < limits.bytesMax) {
      const key = this.#keys.next()
      if (key.done !== true) {
        const siblings = replica.siblingsOf(key.value)
        if (siblings === undefined) continue
        keys.push({ key: key.value, position, siblings })
        for (const { value } of siblings) bytes += siblingOverheadBytes + sizeOfValue(value)
        continue
      }
      const session = this.#sessions.next()
      if (session.done === true) return { keys, sessions, isComplete: true }
      // Of one that has been forgotten, the record says that nothing is kept.
      const record = replica.sessionRecord(session.value) ?? { session: session.value, letGo: 0, answers: [] }
      sessions.push(record)
      bytes += answerBytes * record.answers.length
    }
    return { keys, sessions, isComplete: false }
  }
}

interface CaptureSlice {
  readonly keys: readonly KeyRecord[]
  readonly sessions: readonly SessionRecord[]
  readonly isComplete: boolean
}

interface SliceLimits {
  readonly keysMax: number
  readonly bytesMax: number
}

interface Round {
  readonly position: number
  readonly applied: Cut
  readonly rows: readonly SnapshotRow[]
  readonly capture: Capture
}

function* chain(before: Iterator<string> | undefined, after: Iterable<string>): Generator<string> {
  for (let next = before?.next(); next !== undefined && next.done !== true; next = before?.next()) {
    yield next.value
  }
  yield* after
}

function rowsOf(replica: CheckpointSource, origins: Iterable<Origin>): readonly SnapshotRow[] {
  const rows: SnapshotRow[] = []
  for (const origin of origins) {
    const known = replica.knownBy(origin)
    if (known !== undefined) rows.push({ origin, known: new Map(known) })
  }
  return rows
}

/** A sibling's version, and its key's share. */
const siblingOverheadBytes = 80
const answerBytes = 64
