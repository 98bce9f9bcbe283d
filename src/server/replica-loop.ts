import type { Input } from '../replica/input.ts'
import type { Output } from '../replica/output.ts'
import type { Replica } from '../replica/replica.ts'

/**
 * The one loop of the shell: take the inputs that have arrived, step the replica with each, then release the
 * outputs in order (R6). Everything that arrives in one turn of the event loop is one batch, so that what a
 * batch sends to one socket leaves in one write.
 *
 * A store that must reach a disk first has its place between the steps and the release: one commit for all
 * `persist` of the batch.
 */
export class ReplicaLoop {
  readonly #replica: Replica
  readonly #release: (output: Output) => void
  readonly #settle: () => void
  readonly #schedule: (run: () => void) => void
  #inputs: (Input | (() => void))[] = []
  #isScheduled = false
  #isStopped = false

  constructor(options: {
    readonly replica: Replica
    /** Carries out one step's output; called in the order of the steps. */
    readonly release: (output: Output) => void
    /** Called when a batch has been released: time to write what is due on each socket. */
    readonly settle: () => void
    /** Runs a function soon, after the sockets that are ready now have been read. */
    readonly schedule: (run: () => void) => void
  }) {
    this.#replica = options.replica
    this.#release = options.release
    this.#settle = options.settle
    this.#schedule = options.schedule
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
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#schedule(() => this.#run())
  }

  /** Steps what has arrived and takes no more. */
  stop(): void {
    this.#run()
    this.#isStopped = true
  }

  #run(): void {
    this.#isScheduled = false
    if (this.#isStopped) return
    const inputs = this.#inputs
    this.#inputs = []
    const outputs = inputs.map((input) => (typeof input === 'function' ? input : this.#replica.step(input)))
    let isMoreLeft = false
    for (const output of outputs) {
      if (typeof output === 'function') {
        output()
      } else {
        this.#release(output)
        isMoreLeft = output.more
      }
    }
    this.#settle()
    if (isMoreLeft) this.push({ kind: 'continue' })
  }
}
