import type { Input } from '../replica/input.ts'
import type { Output } from '../replica/output.ts'
import type { Replica } from '../replica/replica.ts'
import type { KnownServer, Store } from '../storage/store.ts'
import type { Checkpointer } from './checkpointer.ts'
import { GroupCommit, type Follower } from './group-commit.ts'
import { InputQueue, type InputSource } from './input-queue.ts'

/** Of a replica, what the loop is concerned with. */
type Stepper = Pick<Replica, 'step' | 'logEnd'>

/** What the loop stores, and what then. */
export interface LoopStorage {
  readonly store: Store
  /** `sync`: nothing leaves before it is durable. `async`: it leaves at once, and the disk follows. */
  readonly mode: 'sync' | 'async'
  readonly checkpointer: Checkpointer
  /** Nothing can be stored any more. The loop has stopped; what it has not released never leaves. */
  readonly failed: (error: unknown) => void
}

/**
 * The one loop of the shell: take the inputs that have arrived, step the replica with each, store what the steps say
 * in one commit, and release the outputs in order behind it (R6). Everything that arrives in one turn of the event
 * loop is one batch, so that what a batch sends to one socket leaves in one write; a batch that takes long is cut
 * into slices, and those who sent it take turns ({@link InputQueue}), so that whoever asked for much does not keep the
 * others waiting, and what it asked for does not pile up.
 *
 * Stepping goes on while a commit is under way. A disk that does not keep up must not fill the memory, so stepping
 * stops while too much is unreleased ({@link isCongested}). Then inputs wait here, and who sends them is held back:
 * a client because its connection is not read from, a peer because it pushes no more than a window without hearing
 * that it was applied. Pings are answered by their connections, so no link is lost over it. A peer that sends more
 * than its window all the same is not read from either ({@link isFull}), and its link may be lost over that.
 *
 * Without a store, outputs are released as they are made.
 */
export class ReplicaLoop {
  readonly #replica: Stepper
  readonly #release: (output: Output) => void
  readonly #settle: () => void
  readonly #schedule: (run: () => void) => void
  readonly #now: () => number
  readonly #relieved: () => void
  readonly #commits: GroupCommit | undefined
  readonly #inputs: InputQueue
  /** What is durable and has not been released yet, in order. */
  readonly #due: Follower[] = []
  #isScheduled = false
  #wasCongested = false
  #isStopping = false
  #isStopped = false

  constructor(options: {
    readonly replica: Stepper
    /** Carries out one step's output; called in the order of the steps. */
    readonly release: (output: Output) => void
    /** Called when a slice has been released: time to write what is due on each socket. */
    readonly settle: () => void
    /** Runs a function soon, after the sockets that are ready now have been read. */
    readonly schedule: (run: () => void) => void
    /** Milliseconds on any clock that does not fall. */
    readonly now: () => number
    /** Runs a function after so many milliseconds; see {@link GroupCommit}. */
    readonly later?: (ms: number, run: () => void) => void
    /** Absent where everything is in memory only. */
    readonly storage?: LoopStorage | undefined
    /** Called when {@link isCongested} has come to its end. */
    readonly relieved?: () => void
    /** Called when {@link isFull} has come to its end for a source. */
    readonly sourceRelieved?: (source: InputSource) => void
  }) {
    this.#replica = options.replica
    this.#release = options.release
    this.#settle = options.settle
    this.#schedule = options.schedule
    this.#now = options.now
    this.#relieved = options.relieved ?? (() => {})
    this.#inputs = new InputQueue({ relieved: options.sourceRelieved ?? (() => {}) })
    const { storage } = options
    if (storage === undefined) return
    this.#commits = new GroupCommit({
      store: storage.store,
      mode: storage.mode,
      checkpointer: storage.checkpointer,
      position: options.replica.logEnd,
      now: options.now,
      later: options.later,
      durable: (followers) => this.#releaseBehind(followers),
      failed: (error) => {
        this.#isStopped = true
        storage.failed(error)
      },
    })
  }

  /** Whether so much waits for the disk that no input is stepped for now. */
  get isCongested(): boolean {
    const waiting = this.#due.length + (this.#commits?.waiting ?? 0)
    return waiting > unreleasedMax || (this.#commits?.unsavedBytes ?? 0) > unsavedBytesMax
  }

  /** Whether so much from a source has not been stepped yet that no more is to be read for it. */
  isFull(source: InputSource): boolean {
    return this.#inputs.isFull(source)
  }

  /** @param bytes of the text in which it came, for {@link isFull}; 0 where nobody outside decides how many come. */
  push(input: Input, bytes = 0): void {
    if (this.#isStopping || this.#isStopped) return
    this.#inputs.push(input, bytes)
    this.#scheduleTurn()
  }

  /**
   * Does something in its turn: when all that came from this source before has been carried out, and none of what
   * comes after.
   */
  inTurn(source: InputSource, act: () => void): void {
    if (this.#isStopping || this.#isStopped) return
    this.#inputs.pushAct(source, act)
    this.#scheduleTurn()
  }

  /** What is known of other servers, to be stored with the next commit. */
  keepKnown(known: readonly KnownServer[]): void {
    if (!this.#isStopped) this.#commits?.keepKnown(known)
  }

  /**
   * Steps what has arrived, stores and releases it, and takes no more.
   *
   * @returns when all of it has been released, or nothing more can be because the disk has failed.
   */
  async stop(): Promise<void> {
    if (!this.#isStopping) {
      this.#isStopping = true
      this.#turn()
    }
    await this.#commits?.finish()
    this.#isStopped = true
  }

  #scheduleTurn(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#schedule(() => {
      this.#isScheduled = false
      this.#turn()
    })
  }

  /** One slice: releases what is due, then steps what has arrived, as far as the time goes. */
  #turn(): void {
    if (this.#isStopped) return
    const startMs = this.#now()
    // Stopping takes all that has arrived in one slice: there is no later.
    const hasTime = (): boolean => this.#isStopping || this.#now() - startMs < sliceMs
    const isMoreLeft = this.#releaseDue(hasTime) && this.#stepInputs(hasTime)
    this.#settle()
    this.#commits?.begin()
    if (this.#isStopping) return
    if (isMoreLeft) this.#inputs.push({ kind: 'continue' }, 0)
    const isCongested = this.isCongested
    if (this.#due.length > 0 || (!this.#inputs.isEmpty && !isCongested)) this.#scheduleTurn()
    if (this.#wasCongested && !isCongested) this.#relieved()
    this.#wasCongested = isCongested
  }

  /** @returns whether all of it has been released. */
  #releaseDue(hasTime: () => boolean): boolean {
    const due = this.#due
    let count = 0
    while (count < due.length && hasTime()) this.#carryOut(due[count++] as Follower)
    due.splice(0, count)
    return due.length === 0
  }

  /** @returns whether the last step has left work undone. */
  #stepInputs(hasTime: () => boolean): boolean {
    let isMoreLeft = false
    while (hasTime() && (this.#isStopping || !this.isCongested)) {
      const input = this.#inputs.take()
      if (input === undefined) break
      if (typeof input === 'function') {
        this.#releaseInOrder(input)
        continue
      }
      const output = this.#replica.step(input)
      this.#commits?.take(output)
      this.#releaseInOrder(output)
      isMoreLeft = output.more
    }
    return isMoreLeft
  }

  /** Now, where nothing that it reveals has yet to become durable and nothing before it has yet to leave. */
  #releaseInOrder(follower: Follower): void {
    if (this.#commits?.follow(follower) === true) return
    if (this.#due.length > 0) this.#due.push(follower)
    else this.#carryOut(follower)
  }

  #releaseBehind(followers: readonly Follower[]): void {
    for (const follower of followers) this.#due.push(follower)
    this.#turn()
  }

  #carryOut(follower: Follower): void {
    if (typeof follower === 'function') follower()
    else this.#release(follower)
  }
}

/** In milliseconds. Nobody notices this, and a slice of hundreds of requests fits into it. */
export const sliceMs = 10

/**
 * Outputs that wait for the disk. They hold references to what the replica keeps anyway, about a kibibyte each; a
 * disk that takes a second for a commit is still kept busy.
 */
const unreleasedMax = 65_536

/** What one commit may come to: a disk takes it in a second or so, and its encoding doubles it for a moment. */
const unsavedBytesMax = 32 << 20
