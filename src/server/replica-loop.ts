import type { Input } from '../replica/input.ts'
import type { Output } from '../replica/output.ts'
import type { Replica } from '../replica/replica.ts'

/**
 * The one loop of the shell: take the inputs that have arrived, step the replica with each, then release the
 * outputs in order (R6). Everything that arrives in one turn of the event loop is one batch, so that what a
 * batch sends to one socket leaves in one write; a batch that takes long is cut into slices, so that whoever asked
 * for much does not keep the others waiting, and what it asked for does not pile up.
 *
 * A store that must reach a disk first has its place between the steps and the release: one commit for all
 * `persist` of a slice.
 */
export class ReplicaLoop {
  readonly #replica: Replica
  readonly #release: (output: Output) => void
  readonly #settle: () => void
  readonly #schedule: (run: () => void) => void
  readonly #inputs: (Input | (() => void))[] = []
  readonly #now: () => number
  #isScheduled = false
  #isStopping = false
  #isStopped = false

  constructor(options: {
    readonly replica: Replica
    /** Carries out one step's output; called in the order of the steps. */
    readonly release: (output: Output) => void
    /** Called when a slice has been released: time to write what is due on each socket. */
    readonly settle: () => void
    /** Runs a function soon, after the sockets that are ready now have been read. */
    readonly schedule: (run: () => void) => void
    /** Milliseconds on any clock that does not fall. */
    readonly now: () => number
  }) {
    this.#replica = options.replica
    this.#release = options.release
    this.#settle = options.settle
    this.#schedule = options.schedule
    this.#now = options.now
  }

  push(input: Input): void {
    this.#enqueue(input)
  }

  /** Does something in its turn: when all inputs before have been carried out, and none after. */
  inTurn(act: () => void): void {
    this.#enqueue(act)
  }

  #enqueue(item: Input | (() => void)): void {
    if (this.#isStopped) return
    this.#inputs.push(item)
    this.#scheduleRun()
  }

  /** Steps what has arrived and takes no more. */
  stop(): void {
    this.#isStopping = true
    this.#run()
    this.#isStopped = true
  }

  #run(): void {
    this.#isScheduled = false
    if (this.#isStopped) return
    const inputs = this.#inputs
    const startMs = this.#now()
    let isMoreLeft = false
    let count = 0
    // Stopping takes all that has arrived in one slice: there is no later.
    while (count < inputs.length && (this.#isStopping || this.#now() - startMs < sliceMs)) {
      const input = inputs[count++] as Input | (() => void)
      if (typeof input === 'function') {
        input()
      } else {
        const output = this.#replica.step(input)
        this.#release(output)
        isMoreLeft = output.more
      }
    }
    inputs.splice(0, count)
    this.#settle()
    if (isMoreLeft) this.#inputs.push({ kind: 'continue' })
    if (this.#inputs.length > 0) this.#scheduleRun()
  }

  #scheduleRun(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#schedule(() => this.#run())
  }
}

/** Nobody notices this, and a slice of hundreds of requests fits into it. */
const sliceMs = 10
