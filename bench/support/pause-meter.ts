import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { endedWithThis } from './children.ts'
import type { CompiledServer } from './compiled-server.ts'

/** How long clients of servers wait for the answer to a read, as a process of its own measures it. */
export class PauseMeter {
  readonly #child: ChildProcess

  constructor() {
    this.#child = endedWithThis(
      fork(new URL('pause-meter-process.ts', import.meta.url), { stdio: 'inherit' }),
    )
  }

  /** Connects to one more server, which is then read from until it is closed. */
  async open({ id: name, address: { host, port }, pid }: CompiledServer): Promise<void> {
    await this.#order({ kind: 'open', name, host, port, pid })
  }

  async close({ id: name }: CompiledServer): Promise<void> {
    await this.#order({ kind: 'close', name })
  }

  /** Forgets what has been measured so far. */
  async begin(): Promise<void> {
    await this.#order({ kind: 'begin' })
  }

  /** What has been measured since {@link begin}; it goes on. */
  async report(): Promise<readonly PauseReport[]> {
    const answer = await this.#order({ kind: 'report' })
    if (answer.kind !== 'report') throw new Error('the meter has answered something else')
    return answer.pauses
  }

  async stop(): Promise<void> {
    this.#child.disconnect()
    await once(this.#child, 'exit')
  }

  async #order(order: MeterOrder): Promise<MeterAnswer> {
    const answered = once(this.#child, 'message')
    this.#child.send(order)
    const [answer] = (await answered) as [MeterAnswer]
    return answer
  }
}

/** Of one server, in milliseconds. */
export interface PauseReport {
  readonly name: string
  readonly reads: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** The longest without what the server and the meter waited for a processor in it: the server's own part. */
  readonly serverMaxMs: number
  /** When that read was sent, since the measurement began. */
  readonly atMs: number
}

export type MeterOrder =
  | {
      readonly kind: 'open'
      readonly name: string
      readonly host: string
      readonly port: number
      readonly pid: number
    }
  | { readonly kind: 'close'; readonly name: string }
  | { readonly kind: 'begin' }
  | { readonly kind: 'report' }

export type MeterAnswer =
  | { readonly kind: 'opened' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'began' }
  | { readonly kind: 'report'; readonly pauses: readonly PauseReport[] }
