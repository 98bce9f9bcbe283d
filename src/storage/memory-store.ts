import type { Cut } from '../replica/cut.ts'
import type { SessionRecord } from '../replica/messages.ts'
import type { KeyRecord, StateRecords } from '../replica/output.ts'
import type { Recovered } from '../replica/recovered.ts'
import type { LogEntry } from '../replica/update-log.ts'
import type { Origin, ServerId } from '../replica/version.ts'
import { firstPositions, logStart, positionsAfter, type Positions } from './positions.ts'
import { StorageError, type KnownServer, type Store, type StoreBatch } from './store.ts'

/**
 * A disk in memory: what a process leaves behind, to be opened again, copied, and made to fail.
 *
 * Invariant: what is durable is the outcome of the first n commits that were made, whole. Commits queue, and only the
 * oldest ever becomes durable; one that fails takes all behind it along.
 *
 * Records are kept as they come, by agreement that nobody changes one; cuts do change, so they are copied.
 */
export class MemoryDisk {
  readonly #settle: 'at once' | 'when told'
  #content = emptyContent()
  #server: ServerId | undefined
  #store: MemoryStore | undefined
  /** Commits that are not durable, the oldest first. */
  #queue: QueuedCommit[] = []
  #isFull = false

  /** @param options.settle whether commits become durable by themselves, or when {@link flush} says so. */
  constructor(options: { readonly settle?: 'at once' | 'when told' } = {}) {
    this.#settle = options.settle ?? 'at once'
  }

  /** Commits that were made and are not durable. */
  get pending(): number {
    return this.#queue.length
  }

  /**
   * Opens what is durable, for one process.
   *
   * @throws StorageError where the disk is open already, or belongs to another server id.
   */
  open(server: ServerId): MemoryStore {
    if (this.#store !== undefined) {
      throw new StorageError(`this disk is in use by server "${this.#server}"; close its store first`)
    }
    if (this.#server !== undefined && this.#server !== server) {
      throw new StorageError(
        `this disk holds the data of server "${this.#server}", and this is server "${server}"`,
      )
    }
    const isFresh = this.#server === undefined
    this.#server = server
    // Records of a snapshot that was under way at a crash: nobody goes on with it.
    this.#content.staged = emptyRecords()
    const store = new MemoryStore({
      isFresh,
      content: this.#content,
      enqueue: (commit) => {
        this.#queue.push(commit)
        if (this.#settle === 'at once') this.flush()
      },
      release: () => {
        if (this.#store === store) this.#store = undefined
      },
    })
    this.#store = store
    return store
  }

  /** Makes the oldest commits durable: so many, or all of them. */
  flush(count: number = Infinity): void {
    for (let left = count; left > 0; left--) {
      const commit = this.#queue[0]
      if (commit === undefined) return
      if (this.#isFull) {
        const lost = this.#queue
        this.#queue = []
        const failure = new StorageError('the disk in memory is full; make room on it')
        this.#store?.fail(failure)
        for (const { settle } of lost) settle(failure)
        return
      }
      this.#queue.shift()
      apply(commit.batch, this.#content)
      commit.settle()
    }
  }

  /** Whether it is full: then the next commit that would become durable fails, and its store for good. */
  set isFull(isFull: boolean) {
    this.#isFull = isFull
  }

  /** The process that has it open is gone, and what was not durable with it: those promises never settle. */
  crash(): void {
    this.#queue = []
    this.#store?.fail(new StorageError('the process of this store has crashed; open its disk again'))
    this.#store = undefined
  }

  /** A disk with what is durable here, as a restored backup or a copied folder: nobody has it open. */
  copy(): MemoryDisk {
    const copy = new MemoryDisk({ settle: this.#settle })
    copy.#content = copyOf(this.#content)
    copy.#server = this.#server
    return copy
  }
}

/** The store of one process, on a {@link MemoryDisk}. */
export class MemoryStore implements Store {
  readonly isFresh: boolean
  readonly #content: Content
  readonly #enqueue: (commit: QueuedCommit) => void
  readonly #release: () => void
  #positions: Positions
  #failure: StorageError | undefined
  /** Settles, without fail, when the last commit has. */
  #last: Promise<void> = Promise.resolve()

  /** @param disk how its disk takes its commits; see {@link MemoryDisk.open}. */
  constructor(disk: {
    readonly isFresh: boolean
    readonly content: Content
    readonly enqueue: (commit: QueuedCommit) => void
    readonly release: () => void
  }) {
    this.isFresh = disk.isFresh
    this.#content = disk.content
    this.#enqueue = disk.enqueue
    this.#release = disk.release
    this.#positions = disk.content.positions
  }

  get addresses(): readonly KnownServer[] {
    return this.#content.addresses
  }

  recover(): Recovered {
    const { state, applied, positions, log, logFloor } = this.#content
    return {
      keys: state.keys.values(),
      rows: rowsOf(state),
      sessions: state.sessions.values(),
      applied,
      checkpoint: positions.checkpoint,
      log,
      logEnd: positions.logEnd,
      logFloor,
    }
  }

  async commit(batch: StoreBatch): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    this.#positions = positionsAfter(batch, this.#positions)
    const settled = new Promise<void>((resolve, reject) => {
      this.#enqueue({
        batch: withOwnCuts(batch),
        settle: (failure) => {
          if (failure === undefined) resolve()
          else reject(failure)
        },
      })
    })
    this.#last = settled.catch(() => undefined)
    await settled
  }

  async close(): Promise<void> {
    this.fail(new StorageError('this store has been closed'))
    await this.#last
    this.#release()
  }

  /** From now on no commit is accepted. */
  fail(failure: StorageError): void {
    this.#failure ??= failure
  }
}

interface QueuedCommit {
  readonly batch: StoreBatch
  /** Tells whoever made it; with an error where it has failed. */
  readonly settle: (failure?: StorageError) => void
}

interface Content {
  readonly state: Records
  staged: Records
  applied: Cut
  positions: Positions
  log: { readonly position: number; readonly entry: LogEntry }[]
  logFloor: Cut
  addresses: readonly KnownServer[]
}

/** A {@link StateRecords} by name, so that what comes again replaces what came before. */
interface Records {
  readonly keys: Map<string, KeyRecord>
  readonly rows: Map<Origin, Cut>
  readonly sessions: Map<string, SessionRecord>
}

function emptyRecords(): Records {
  return { keys: new Map(), rows: new Map(), sessions: new Map() }
}

function emptyContent(): Content {
  return {
    state: emptyRecords(),
    staged: emptyRecords(),
    applied: new Map(),
    positions: firstPositions,
    log: [],
    logFloor: new Map(),
    addresses: [],
  }
}

function copyOf(content: Content): Content {
  const { keys, rows, sessions } = content.state
  return {
    ...content,
    state: { keys: new Map(keys), rows: new Map(rows), sessions: new Map(sessions) },
    staged: emptyRecords(),
    log: [...content.log],
  }
}

/** Makes a batch part of what is durable. */
function apply(batch: StoreBatch, content: Content): void {
  const startBefore = logStart(content.positions)
  content.positions = positionsAfter(batch, content.positions)
  const start = logStart(content.positions)
  for (const item of batch.log ?? []) content.log.push(item)
  if (start > startBefore) content.log = content.log.filter(({ position }) => position >= start)
  if (batch.state !== undefined) {
    put(batch.state, content.state)
    dropEmptySessions(content.state)
  }
  if (batch.checkpoint !== undefined) {
    put({ keys: [], rows: batch.checkpoint.rows, sessions: [] }, content.state)
    content.applied = batch.checkpoint.applied
  }
  if (batch.trim !== undefined) content.logFloor = batch.trim.logFloor
  if (batch.unstage === true) content.staged = emptyRecords()
  if (batch.staged !== undefined) put(batch.staged, content.staged)
  if (batch.install !== undefined) {
    const { keys, sessions } = content.staged
    put(
      { keys: [...keys.values()], rows: rowsOf(content.staged), sessions: [...sessions.values()] },
      content.state,
    )
    dropEmptySessions(content.state)
    content.staged = emptyRecords()
    content.applied = batch.install.applied
    content.logFloor = batch.install.logFloor
  }
  if (batch.addresses !== undefined) content.addresses = batch.addresses
}

function put(from: StateRecords, into: Records): void {
  for (const record of from.keys) into.keys.set(record.key, record)
  for (const { origin, known } of from.rows) into.rows.set(origin, known)
  for (const record of from.sessions) into.sessions.set(record.session, record)
}

/** What says that nothing is kept has done its work once it has replaced what was. */
function dropEmptySessions(records: Records): void {
  for (const [name, { letGo, answers }] of records.sessions) {
    if (letGo === 0 && answers.length === 0) records.sessions.delete(name)
  }
}

function rowsOf(records: Records): StateRecords['rows'] {
  return Array.from(records.rows, ([origin, known]) => ({ origin, known }))
}

/** The batch as it is now: whoever made it may raise its cuts and fill its lists again. */
function withOwnCuts(batch: StoreBatch): StoreBatch {
  const { log, state, checkpoint, trim, staged, install } = batch
  return {
    ...batch,
    ...(log && { log: [...log] }),
    ...(state && { state: withOwnRows(state) }),
    ...(staged && { staged: withOwnRows(staged) }),
    ...(checkpoint && {
      checkpoint: {
        position: checkpoint.position,
        applied: new Map(checkpoint.applied),
        rows: ownRows(checkpoint.rows),
      },
    }),
    ...(trim && { trim: { position: trim.position, logFloor: new Map(trim.logFloor) } }),
    ...(install && {
      install: {
        position: install.position,
        applied: new Map(install.applied),
        logFloor: new Map(install.logFloor),
      },
    }),
  }
}

function withOwnRows(records: StateRecords): StateRecords {
  return { keys: [...records.keys], rows: ownRows(records.rows), sessions: [...records.sessions] }
}

function ownRows(rows: StateRecords['rows']): StateRecords['rows'] {
  return rows.map(({ origin, known }) => ({ origin, known: new Map(known) }))
}
