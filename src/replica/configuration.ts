import type { BufferLimits } from './causal-buffer.ts'
import type { PageLimits } from './update-log.ts'
import type { Origin, ServerId } from './version.ts'

export interface Configuration {
  readonly server: ServerId
  /** New at every start of the process (R7); `serverOf(origin)` is `server`. */
  readonly origin: Origin
  readonly limits: Limits
  readonly timing: Timing
}

export interface Limits {
  readonly buffer: BufferLimits
  /** One page of a pull, and of what is sent on connecting. */
  readonly page: PageLimits
  /** One page of a snapshot: siblings, rows and sessions are counted alike. */
  readonly snapshotPage: PageLimits
  /**
   * How many bytes of this server's own updates may be on their way to one peer. A peer that stops reading
   * is owed no more memory than this and a page; past it, it gets no pushes until it has pulled to the tip.
   */
  readonly pushedBytesMax: number
  /** Updates that a step applies before it hands control back, so that a long drain stalls nobody. */
  readonly appliedPerStepMax: number
  /** Origins in the cut of one peer, which is kept and looked through: as many starts of processes that wrote. */
  readonly originsPerPeerMax: number
  readonly watchesPerClientMax: number
  /** Entries of the cuts that watches go on from, of all clients: each is kept until it is applied here. */
  readonly watchEntriesMax: number
  /** What the log keeps (R12). Whoever lacks more than that gets a snapshot. */
  readonly log: PageLimits
  readonly requests: RequestLimits
  /** Requests of all clients that may wait for what they are to come after (R9). */
  readonly parkedMax: number
  /** Their bytes, counted as those of updates are. */
  readonly parkedBytesMax: number
  /** Missing versions that one answer names: people read it, and whoever asks must not be able to make it long. */
  readonly missingNamedMax: number
}

/** How much is kept to recognise retried requests (R10). */
export interface RequestLimits {
  readonly answersPerSessionMax: number
  /** Of all sessions together; past it, the answers that were given first are let go. */
  readonly answersMax: number
  /** Past it, the sessions that wrote least recently are forgotten. */
  readonly sessionsMax: number
}

/** All in milliseconds, on the clock of the ticks. */
export interface Timing {
  /** How long something that is known to exist may take to come by itself before it is pulled for. */
  readonly pullAfterMs: number
  /** How long an answer to a pull may take before another server is asked. */
  readonly pullTimeoutMs: number
  /** After this, a waiting update whose cause nobody has or can issue is dropped (R3). */
  readonly lostAfterMs: number
  /** How long `why` waits for what the other servers know. */
  readonly askTimeoutMs: number
  /** How long a request waits for what it is to come after, where it does not say (R9). */
  readonly patienceMs: number
  /** How often a live watch is told how far it has come, where anything has been applied since (R11). */
  readonly bookmarkEveryMs: number
}

/** The reasons stand on the fields above. */
export const defaultLimits: Limits = {
  // A wave of 10⁵ updates in the worst order fits; 64 MiB bounds what a peer can make a server hold.
  buffer: { updatesMax: 100_000, bytesMax: 64 << 20 },
  // A page takes a few milliseconds to apply, and fits a peer's frame whatever the size of its last update.
  page: { updatesMax: 1_000, bytesMax: 512 << 10 },
  // Smaller, because it is one frame, in which what is counted here can take more bytes; one value always fits.
  snapshotPage: { updatesMax: 1_000, bytesMax: 128 << 10 },
  pushedBytesMax: 4 << 20,
  appliedPerStepMax: 1_000,
  // A frame of a peer has room for a cut of some 40,000.
  originsPerPeerMax: 32_768,
  watchesPerClientMax: 64,
  // Some 100 MiB. A cut that is applied here costs nothing more once its watch has caught up.
  watchEntriesMax: 1_000_000,
  // An outage of a busy hour or a quiet month; with their objects, some 200 MiB of memory at most.
  log: { updatesMax: 200_000, bytesMax: 64 << 20 },
  // A session may have as many requests under way as a connection; the answers of all take some 50 MiB.
  requests: { answersPerSessionMax: 1_024, answersMax: 262_144, sessionsMax: 65_536 },
  parkedMax: 65_536,
  // As much as may wait of updates; a request holds its values and its cut.
  parkedBytesMax: 64 << 20,
  missingNamedMax: 100,
}

export const defaultTiming: Timing = {
  pullAfterMs: 200,
  pullTimeoutMs: 5_000,
  lostAfterMs: 60_000,
  askTimeoutMs: 500,
  patienceMs: 5_000,
  bookmarkEveryMs: 10_000,
}
