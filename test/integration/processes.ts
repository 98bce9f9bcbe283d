import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import ndjson from 'ndjson'
import type { ServerEvent } from '../../src/server/narrator.ts'
import type { Durability } from '../../src/server/options.ts'
import { programFromSources, type Program } from './compiled-program.ts'

/**
 * Real servers as child processes, for tests of the whole: started from the sources, on ports that the system
 * chooses, and known by what they tell of themselves as newline-delimited JSON.
 *
 * Nothing here sleeps. Whoever waits, waits for an event, with a bound, and learns at the bound what came instead.
 */
export class ServerProcess {
  readonly id: string
  /** What it has told so far, in its order. */
  readonly events: ServerEvent[] = []
  /** All that it has printed, as text. */
  stdout = ''
  stderr = ''
  /** Resolves when the process has ended and its last words have been read. */
  readonly ended: Promise<ProcessEnd>
  readonly #isJson: boolean
  readonly #child: ChildProcess
  readonly #waits = new Set<Wait>()
  #end: ProcessEnd | undefined

  /** Starts without waiting for anything. */
  constructor(start: ServerStart) {
    this.id = start.id ?? '?'
    this.#isJson = start.isJson ?? true
    const words = [...(start.program ?? programFromSources), 'server', ...(start.words ?? serverWords(start))]
    const [command, ...rest] =
      start.fileKibibytesMax === undefined
        ? [process.execPath, ...words]
        : ['bash', '-c', `ulimit -f ${start.fileKibibytesMax}; exec "$0" "$@"`, process.execPath, ...words]
    this.#child = spawn(command, rest, {
      cwd: start.directory ?? repository,
      env: { ...cleanEnvironment(), TIDINGS_DURABILITY: 'memory', ...start.env },
      stdio: [start.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    running.add(this)
    if (start.input !== undefined) {
      // A server that has ended, or has what it needs, does not read the rest; that is no fault of the test.
      this.#child.stdin?.on('error', () => {})
      if (start.keepsInputOpen === true) this.#child.stdin?.write(start.input)
      else this.#child.stdin?.end(start.input)
    }
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      if (this.stdout.length < textKeptMax) this.stdout += text
      for (const wait of this.#waits) wait.look()
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
      for (const wait of this.#waits) wait.look()
    })
    if (this.#isJson) {
      this.#child.stdout?.pipe(ndjson.parse({ strict: false })).on('data', (event: ServerEvent) => {
        this.events.push(event)
        for (const wait of this.#waits) wait.look()
      })
    }
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.#end ??= { code, signal }
        running.delete(this)
        for (const wait of this.#waits) wait.look()
        resolve(this.#end)
      }
      this.#child.once('error', () => end(null, null))
      // Not `exit`: its last words may still be on their way then.
      this.#child.once('close', end)
    })
  }

  /** Starts a server and waits until it listens. */
  static async start(start: ServerStart): Promise<ServerProcess> {
    const server = new ServerProcess(start)
    await server.listening()
    return server
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`server ${this.id} was never started`)
    return this.#child.pid
  }

  /** `host:port`, once it listens. */
  get address(): string {
    if (this.#isJson) return this.#listening.address
    const address = / listening on (\S+) /.exec(this.stdout)?.[1]
    if (address === undefined) throw new Error(`server ${this.id} does not listen`)
    return address
  }

  /** Of its memory, what is in RAM. In bytes. */
  async residentBytes(): Promise<number> {
    const { stdout } = await run('ps', ['-o', 'rss=', '-p', `${this.pid}`])
    return Number(stdout) * 1024
  }

  get port(): number {
    return Number(this.address.slice(this.address.lastIndexOf(':') + 1))
  }

  get origin(): string {
    return this.#listening.origin
  }

  get #listening(): Extract<ServerEvent, { kind: 'listening' }> {
    const event = this.events.find((told) => told.kind === 'listening')
    if (event === undefined) throw new Error(`server ${this.id} does not listen`)
    return event
  }

  async listening(): Promise<void> {
    if (this.#isJson) await this.event('listening')
    else await this.printed(' listening on ')
  }

  /** Waits until this server has links in both directions to each of the others. */
  async joined(others: readonly ServerProcess[]): Promise<void> {
    for (const other of others) {
      await this.event('peerJoined', ({ address }) => address === other.address)
    }
  }

  /**
   * Waits for the first event of a kind that is as wanted; one that has been told already counts.
   *
   * @param after how many of the first events do not count.
   */
  async event<Kind extends ServerEvent['kind']>(
    kind: Kind,
    isWanted: (event: Extract<ServerEvent, { kind: Kind }>) => boolean = () => true,
    after = 0,
  ): Promise<Extract<ServerEvent, { kind: Kind }>> {
    return await this.#wait(`the event ${kind}`, () => {
      for (let index = after; index < this.events.length; index++) {
        const event = this.events[index] as Extract<ServerEvent, { kind: Kind }>
        if (event.kind === kind && isWanted(event)) return event
      }
      return undefined
    })
  }

  /** Waits until an update that writes a key has been applied here, or taken. */
  async applied(key: string, after = 0): Promise<void> {
    await this.#wait(`an update of ${key} to be applied`, () =>
      this.events
        .slice(after)
        .find(
          (event) =>
            (event.kind === 'applied' || event.kind === 'taken') &&
            event.update.writes.some((write) => write.key === key),
        ),
    )
  }

  /** Waits until its printed text, errors included, holds something. */
  async printed(text: string): Promise<void> {
    await this.#wait(`the text ${JSON.stringify(text)}`, () =>
      this.stdout.includes(text) || this.stderr.includes(text) ? true : undefined,
    )
  }

  /** Waits until it has ended by itself. */
  async exit(): Promise<ProcessEnd> {
    return await within(this.ended, () => `server ${this.id} has not ended; it said ${this.#lastWords()}`)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Ends it, politely, and without mercy where that takes too long. */
  async stop(): Promise<ProcessEnd> {
    if (this.#end !== undefined) return this.#end
    this.#child.kill('SIGCONT')
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), politeMsMax)
    const end = await this.ended
    clearTimeout(timer)
    return end
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }

  async #wait<Found>(what: string, find: () => Found | undefined): Promise<Found> {
    const now = find()
    if (now !== undefined) return now
    const mute = (): string => `server ${this.id} has not told ${what}; it said ${this.#lastWords()}`
    if (this.#end !== undefined) throw new Error(mute())
    let wait: Wait | undefined
    const found = new Promise<Found>((resolve, reject) => {
      wait = {
        look: () => {
          const value = find()
          if (value !== undefined) resolve(value)
          else if (this.#end !== undefined) reject(new Error(mute()))
        },
      }
      this.#waits.add(wait)
    })
    try {
      return await within(found, mute)
    } finally {
      if (wait !== undefined) this.#waits.delete(wait)
    }
  }

  #lastWords(): string {
    return `${this.stdout.slice(-1_500)}\n${this.stderr.slice(-1_500)}`.trim() || 'nothing'
  }
}

export interface ServerStart {
  /** What is run; the sources by default. */
  readonly program?: Program
  readonly id?: string
  /** Addresses or ports of others. */
  readonly peers?: readonly (string | number)[]
  /** Any free one by default. */
  readonly port?: number
  /** The folder of its data; it has no disk without one. */
  readonly data?: string
  /** `sync` where there is a folder, and `memory` where there is none. */
  readonly durability?: Durability
  /** Words after the usual ones. */
  readonly more?: readonly string[]
  /** All words, in place of the usual ones. */
  readonly words?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  /** What is piped into it; absent for no input at all. */
  readonly input?: string
  /** Whether the input goes on after that, as a terminal's does. */
  readonly keepsInputOpen?: boolean
  /** Where it runs, and so where a relative path leads; the repository by default. */
  readonly directory?: string
  /** How large any file that it writes may become, as on a disk that is full then. */
  readonly fileKibibytesMax?: number
  /** Whether its output is newline-delimited JSON, as it is by default. */
  readonly isJson?: boolean
}

export interface ProcessEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

interface Wait {
  look(): void
}

function serverWords({
  id = '1',
  peers = [],
  port = 0,
  data,
  durability = data === undefined ? 'memory' : 'sync',
  more = [],
  isJson = true,
}: ServerStart): string[] {
  const words = ['--port', `${port}`, '--id', id, '--peers', peers.join(' '), '--lab']
  words.push('--durability', durability)
  if (data !== undefined) words.push('--data', data)
  words.push(...more)
  return isJson ? [...words, '--json'] : words
}

/** Servers that know only the first, connected each to each, named from 1. */
export async function startMesh(
  count: number,
  more: readonly string[] = [],
): Promise<readonly ServerProcess[]> {
  const [port = 0] = await freePorts(1)
  const first = new ServerProcess({ id: '1', port, more })
  const others = Array.from(
    { length: count - 1 },
    (_, index) => new ServerProcess({ id: `${index + 2}`, peers: [port], more }),
  )
  const servers = [first, ...others]
  await meshed(servers)
  return servers
}

/** Waits until each is connected to each. */
export async function meshed(servers: readonly ServerProcess[]): Promise<void> {
  await Promise.all(servers.map((server) => server.listening()))
  await Promise.all(servers.map((server) => server.joined(servers.filter((other) => other !== server))))
}

/** For an `afterAll`: ends every server that a test has left running. */
export async function stopServers(): Promise<void> {
  await Promise.all([...running].map((server) => server.stop()))
}

/**
 * Ports that were free a moment ago, for servers that have to be named before they run. Not among those that the system
 * gives to outgoing connections and to whoever asks for any: one of these may be taken again before it is used.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = randomInt(firstPort, lastPort)
    if (await isFree(port)) ports.add(port)
  }
  return [...ports]
}

const firstPort = 10_240
const lastPort = 32_768

async function isFree(port: number): Promise<boolean> {
  const listener = createServer()
  return await new Promise((resolve) => {
    listener.once('error', () => resolve(false))
    listener.listen(port, '127.0.0.1', () => listener.close(() => resolve(true)))
  })
}

/** A promise with a bound. @param complaint says, at the bound, what there is instead. */
export async function within<Value>(
  promise: Promise<Value>,
  complaint: () => string,
  boundMs = waitMsMax,
): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const bound = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${complaint()} (within ${boundMs} ms)`)), boundMs)
  })
  try {
    return await Promise.race([promise, bound])
  } finally {
    clearTimeout(timer)
  }
}

/** Everything here takes milliseconds; this is for a machine that is busy with other things. */
export const waitMsMax = 30_000
const politeMsMax = 15_000
/** A server under load tells much. */
const textKeptMax = 1 << 20

const repository = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)
const running = new Set<ServerProcess>()

/** What is set for the user's own servers, or by the test runner, has no business in these. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('TIDINGS_') && !name.startsWith('VITEST') && name !== 'NODE_OPTIONS',
  )
  return { ...Object.fromEntries(kept), FORCE_COLOR: undefined, NO_COLOR: '1' }
}

// Should the test runner itself end before its hooks, nothing is left behind either.
process.once('exit', () => {
  for (const server of running) server.signal('SIGKILL')
})
