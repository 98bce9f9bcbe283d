import { spawn, type ChildProcess } from 'node:child_process'
import ndjson from 'ndjson'
import type { ServerEvent } from '../server/narrator.ts'
import { NotSeen } from './claims.ts'
import { ownCommand, ownEnvironment } from './own-command.ts'

/**
 * A real server: a child process of this very program, which tells what happens in it as newline-delimited JSON.
 * Everything that it has told is kept, so that an event may be asked for before or after it has happened.
 */
export class ServerProcess {
  readonly id: string
  /** The servers that it was told of. */
  readonly peers: readonly string[]
  readonly #child: ChildProcess
  readonly #events: ServerEvent[] = []
  readonly #waits = new Set<Wait>()
  /** Resolves when the process has ended, and all that it had told has been taken. */
  readonly gone: Promise<void>
  #complaint = ''
  #end: NotSeen | undefined

  constructor(options: ServerProcessOptions) {
    this.id = options.id
    this.peers = options.peers
    const [file, ...words] = ownCommand(serverWords(options))
    this.#child = spawn(file, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: ownEnvironment(),
    })
    this.gone = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.#ended(`it could not be started: ${error.message}`)
        resolve()
      })
      // Not `exit`: its last words may still be on their way then.
      this.#child.once('close', (code, signal) => {
        this.#ended(`it has ended (${signal ?? `exit code ${code}`}) ${this.#complaint}`.trimEnd())
        resolve()
      })
    })
    this.#child.stdout
      ?.pipe(ndjson.parse())
      .on('data', (event: ServerEvent) => this.#take(event))
      .on('error', (error: Error) => this.#ended(`it printed something that is no JSON: ${error.message}`))
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-complaintLengthMax)
    })
  }

  /** The process id; undefined where it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid
  }

  /** What it has told so far, in its order. */
  get events(): readonly ServerEvent[] {
    return this.#events
  }

  /**
   * Waits until the server tells of something, at most {@link eventMsMax} milliseconds.
   *
   * @param what in words, for the message.
   * @param wanted tells whether an event is the one.
   * @param after how many of the first events do not count.
   * @throws NotSeen where it does not.
   */
  saw<Event extends ServerEvent>(
    what: string,
    wanted: (event: ServerEvent) => event is Event,
    after = 0,
  ): Promise<Event> {
    const found = this.#events.slice(after).find(wanted)
    if (found !== undefined) return Promise.resolve(found)
    if (this.#end !== undefined) return Promise.reject(this.#end)
    return new Promise((resolve, reject) => {
      const wait: Wait = {
        offer: (event) => {
          if (!wanted(event)) return
          settle()
          resolve(event)
        },
        fail: (error) => {
          settle()
          reject(error)
        },
      }
      const timer = setTimeout(() => wait.fail(this.#unseen(what, after)), eventMsMax)
      const settle = (): void => {
        clearTimeout(timer)
        this.#waits.delete(wait)
      }
      this.#waits.add(wait)
    })
  }

  /** Ends the process, politely, and without mercy after {@link politeMsMax} milliseconds. Never fails. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.kill(), politeMsMax)
    await this.gone
    clearTimeout(timer)
  }

  /** Ends the process at once, with `kill -9`: it can do nothing about it. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #take(event: ServerEvent): void {
    this.#events.push(event)
    for (const wait of this.#waits) wait.offer(event)
  }

  /** Nothing more will come. */
  #ended(reason: string): void {
    this.#end ??= new NotSeen(`server ${this.id} to be running`, reason)
    for (const wait of this.#waits) wait.fail(this.#end)
  }

  #unseen(what: string, after: number): NotSeen {
    const told = this.#events
      .slice(after)
      .slice(-eventsQuoted)
      .map((event) => JSON.stringify(event))
    const seen = told.length === 0 ? 'nothing' : `\n  ${told.join('\n  ')}\n `
    return new NotSeen(`server ${this.id}: ${what}`, `${seen} within ${eventMsMax} ms`)
  }
}

interface ServerProcessOptions {
  readonly id: string
  /** Where to listen; 0 for any free port. */
  readonly port: number
  /** Addresses of servers that run already; the others are found through them. */
  readonly peers: readonly string[]
  /** Where the server keeps its data. */
  readonly folder: string
}

interface Wait {
  offer(event: ServerEvent): void
  fail(error: NotSeen): void
}

/** Everything in the story takes milliseconds; this is for a machine that is busy with other things. */
const eventMsMax = 5_000
const politeMsMax = 2_000
const eventsQuoted = 8
const complaintLengthMax = 2_000

/** The words that start a server of a lab: everything is said, so that it asks nothing. */
function serverWords({ id, port, peers, folder }: ServerProcessOptions): readonly string[] {
  const where = ['--host', '127.0.0.1', '--port', `${port}`, '--peers', peers.join(' ')]
  return ['server', '--id', id, ...where, '--data', folder, '--durability', 'sync', '--lab', '--json']
}
