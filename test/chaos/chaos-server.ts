import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { within, type ProcessEnd } from '../integration/processes.ts'
import type { Program } from '../integration/compiled-program.ts'

/**
 * One server of a mesh, over all runs of its process: its id, port and folder stay.
 *
 * It tells people what it does, as ever, and is not told apart from any other by what it is tried with.
 */
export class ChaosServer {
  readonly id: string
  readonly folder: string
  readonly #place: readonly string[]
  readonly #launcher: readonly string[]
  readonly #program: Program
  readonly #crashed: (complaint: string) => void
  #child: ChildProcess | undefined
  #ended: Promise<ProcessEnd> | undefined
  #isUp = false
  /** Whether it is no surprise when its process ends. */
  #mayEnd = false
  #said = ''

  constructor(options: {
    readonly id: string
    readonly host: string
    readonly port: number
    /** Where it is to dial another one. */
    readonly peer: string
    readonly folder: string
    /** Words before those of its own command line. */
    readonly launcher: readonly string[]
    readonly program: Program
    /** Its process has ended, and nobody had ended it. */
    readonly crashed: (complaint: string) => void
  }) {
    const { host, port, peer } = options
    this.id = options.id
    this.folder = options.folder
    this.#place = ['--host', host, '--port', `${port}`, '--peers', peer]
    this.#launcher = options.launcher
    this.#program = options.program
    this.#crashed = options.crashed
  }

  /** Whether it listens, as far as is known; a process that is stopped does. */
  get isUp(): boolean {
    return this.#isUp
  }

  /**
   * Starts a process and waits until it listens.
   *
   * @param fileKibibytesMax how large any file that it writes may become, as on a disk that is full then.
   * @throws Error, as a rejection, where it ends before it listens, with what it said.
   */
  async start({ fileKibibytesMax }: { readonly fileKibibytesMax?: number } = {}): Promise<void> {
    // Where it listens beyond its machine, that is a network of its own.
    const own = ['--id', this.id, '--data', this.folder, '--durability', 'sync', '--lab', '--insecure']
    const words = [...this.#program, 'server', ...this.#place, ...own]
    const limit = fileKibibytesMax === undefined ? 'unlimited' : `${fileKibibytesMax}`
    const limited = ['bash', '-c', `ulimit -f ${limit}; exec "$0" "$@"`, process.execPath]
    const [command = '', ...rest] = [...this.#launcher, ...limited, ...words]
    const child = spawn(command, rest, { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    running.add(child)
    this.#said = ''
    this.#mayEnd = fileKibibytesMax !== undefined
    this.#ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        running.delete(child)
        this.#isUp = false
        if (!this.#mayEnd) {
          this.#crashed(`server ${this.id} has ended (${code ?? signal}); it said ${this.lastWords}`)
        }
        resolve({ code, signal })
      })
    })
    const listening = new Promise<void>((resolve, reject) => {
      const hear = (text: string): void => {
        this.#said = (this.#said + text).slice(-textKeptMax)
        if (this.#isUp || !this.#said.includes(' listening on ')) return
        this.#isUp = true
        resolve()
      }
      child.stdout.setEncoding('utf8').on('data', hear)
      child.stderr.setEncoding('utf8').on('data', hear)
      child.once('error', reject)
      child.once('close', () => reject(new Error(`server ${this.id} has ended; it said ${this.lastWords}`)))
    })
    await within(listening, () => `server ${this.id} does not listen; it said ${this.lastWords}`, startMsMax)
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    this.#isUp = false
    this.#mayEnd = true
    this.#child?.kill('SIGKILL')
    await this.#ended
  }

  /** Its process stands still, as it is, until {@link resume}. */
  pause(): void {
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  /** Ends it politely. @returns how it ended, undefined where it was never started. */
  async stop(): Promise<ProcessEnd | undefined> {
    this.#isUp = false
    this.#mayEnd = true
    this.#child?.kill('SIGCONT')
    this.#child?.kill('SIGTERM')
    return await this.#ended
  }

  /** Resolves when its process ends, whoever ends it. */
  async ended(): Promise<ProcessEnd | undefined> {
    return await this.#ended
  }

  /** What it said last, on its output and its standard error. */
  get lastWords(): string {
    return this.#said.slice(-2_000).trim() || 'nothing'
  }

  /** What it has in RAM of its own, without the mapped file; 0 where the system does not say. */
  get ownBytes(): number {
    try {
      const status = readFileSync(`/proc/${this.#child?.pid}/status`, 'utf8')
      const of = (name: string): number =>
        1024 * Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1])
      return of('VmRSS') - of('RssFile')
    } catch {
      return 0
    }
  }
}

/** For the hung. A log of 64 MiB takes a second to read, and many times that on a machine on which many others run. */
const startMsMax = 300_000
const textKeptMax = 16_384
const running = new Set<ChildProcess>()

/** What is set for the user's own servers, or by the test runner, has no business in these. */
function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('TIDINGS_') && !name.startsWith('VITEST') && name !== 'NODE_OPTIONS',
  )
  return { ...Object.fromEntries(kept), FORCE_COLOR: undefined, NO_COLOR: '1' }
}

/** For the end of a run, however it comes: ends every server that is left. */
export function killServers(): void {
  for (const child of running) {
    child.kill('SIGKILL')
  }
}

process.once('exit', killServers)
