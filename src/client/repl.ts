import type { Readable } from 'node:stream'
import type { ChalkInstance } from 'chalk'
import type { Origin, Version } from '../replica/version.ts'
import { HistoryFile, historyPath } from '../terminal/history-file.ts'
import { LineEditor } from '../terminal/line-editor.ts'
import { printable } from '../terminal/printable.ts'
import type { TerminalOutput } from '../terminal/terminal-line.ts'
import { wrapWords } from '../terminal/word-wrap.ts'
import { connect, Client, type ClientState, type ConnectOptions } from './client.ts'
import { readLine } from './command-line.ts'
import { commandLineError } from './command-line-error.ts'
import { commandNamed, exitCodes, type CommandContext } from './commands.ts'
import { completionOf, hintFor } from './completion.ts'
import { ConnectionReport } from './connection-report.ts'
import { exitCodeOf } from './exit-code.ts'
import type { GivenCut } from './given-cut.ts'
import type { Output, Presentation } from './presentation.ts'
import { isAboutLost, TidingsError } from './tidings-error.ts'
import type { Watch, WatchEvent } from './watch.ts'

export interface ReplOptions {
  readonly servers: readonly string[]
  /** Undefined for piped commands of somebody who gave none. */
  readonly id: string | undefined
  readonly timeoutMs: number
  readonly secret: string | undefined
  /** What the session has seen already; undefined for a new one. */
  readonly cut: GivenCut | undefined
  readonly input: Readable & { readonly isTTY?: boolean }
  readonly output: TerminalOutput
  readonly errorOutput: NodeJS.WritableStream
  readonly paint: ChalkInstance
  readonly presentationFor: (output: Output) => Presentation
  readonly environment: NodeJS.ProcessEnv
}

/**
 * The prompt: takes commands line by line, each finished before the next, and shows what others write as it happens.
 *
 * On a terminal it stays, whatever becomes of servers, until it is left. With piped input it ends with the input, and
 * does not begin where no server answers.
 */
export class Repl {
  readonly #options: ReplOptions
  readonly #isInteractive: boolean
  readonly #output: Output
  readonly #presentation: Presentation
  readonly #editor: LineEditor
  #client: Client | undefined
  #watch: Watch | undefined
  /** The command that is being carried out. */
  #running: Promise<void> | undefined
  #abandon: (() => void) | undefined
  /** Versions of our own writes that the watch has not shown, or has to leave out. */
  readonly #own = new Set<string>()
  /** Servers that the running command may have been sent to. */
  readonly #asked = new Set<Origin>()
  #lastFailure: number = exitCodes.ok
  #isLeaving = false
  /** `exit` was typed behind commands that are not done. */
  #isToLeave = false
  /** Lines that are only counted, since piped commands were given up; undefined while they are carried out. */
  #linesLeftOut: number | undefined
  #countingTimer: NodeJS.Timeout | undefined
  readonly #report: ConnectionReport
  #end: (code: number) => void = () => {}
  readonly #ended: Promise<number>

  constructor(options: ReplOptions) {
    this.#options = options
    this.#isInteractive = options.input.isTTY === true && options.output.isTTY === true
    this.#ended = new Promise((resolve) => {
      this.#end = resolve
    })
    this.#output = this.#openOutput()
    this.#presentation = options.presentationFor(this.#output)
    this.#report = new ConnectionReport({
      serverCount: options.servers.length,
      isInteractive: this.#isInteractive,
      output: this.#output,
      presentation: {
        failed: (error) =>
          this.#presentation.failed(error instanceof TidingsError ? this.#inWords(error) : error),
      },
    })
    const history = this.#isInteractive ? new HistoryFile(historyPath(options.environment)) : undefined
    this.#editor = new LineEditor({
      input: options.input,
      output: options.output,
      prompt: this.#promptFor({ status: 'connecting', address: options.servers[0] ?? '' }),
      history: history?.load() ?? [],
      complete: async (line) => {
        if (this.#client === undefined) return { candidates: [], from: line.length }
        return await completionOf(line, this.#client)
      },
      hint: hintFor,
      onLine: (line) => this.#takeLine(line),
      onAhead: (line) => this.#foresee(line),
      onClose: () => {
        this.#sayWhatWasLeftOut('')
        this.#end(this.#lastFailure)
      },
      onInterrupt: () => this.#interrupted(),
      onHistory: (line) => history?.append(line),
      environment: options.environment,
    })
    // Lines are held back until there is somebody to carry them out.
    this.#editor.pause()
    if (history?.warning !== undefined) this.#output.note(history.warning)
  }

  /**
   * Runs until the input ends or the user leaves.
   *
   * @returns the exit code: that of the last command that failed, or 0.
   * @throws TidingsError where the input is piped and no server can be used.
   */
  async run(): Promise<number> {
    try {
      const client = await this.#connect()
      this.#client = client
      const watching = this.#startWatch(client, '')
      if (!this.#isInteractive) await watching.started
      this.#editor.resume()
      return await this.#ended
    } finally {
      clearTimeout(this.#countingTimer)
      this.#editor.close()
      await this.#client?.close()
    }
  }

  async #connect(): Promise<Client> {
    const { servers, id, timeoutMs, secret, cut } = this.#options
    const options: ConnectOptions = {
      timeoutMs,
      onState: (state) => this.#stateChanged(state),
      onLost: (lost) => this.#presentation.lost(lost),
      ...(id === undefined ? {} : { id }),
      ...(cut === undefined ? {} : { cut }),
      ...(secret === undefined ? {} : { secret }),
    }
    return this.#isInteractive
      ? new Client(servers, options)
      : await connect(servers, { ...options, failFast: true })
  }

  // ── commands ───────────────────────────────────────────────────────────────────────────────────────────

  #takeLine(line: string): void {
    if (this.#linesLeftOut !== undefined && line.trim() !== '') this.#linesLeftOut++
    if (this.#isLeaving) return
    this.#editor.pause()
    this.#asked.clear()
    const state = this.#client?.state
    if (state?.status === 'connected') this.#asked.add(state.origin)
    this.#running = this.#carryOut(line).finally(() => {
      this.#running = undefined
      this.#editor.resume()
    })
  }

  async #carryOut(line: string): Promise<void> {
    const abandoned = new Promise<number>((resolve) => {
      this.#abandon = () => resolve(exitCodes.interrupted)
    })
    try {
      const code = await Promise.race([this.#run(line), abandoned])
      if (code !== exitCodes.ok) this.#lastFailure = code
      if (code === exitCodes.interrupted)
        this.#output.note('abandoned; a write may have been carried out all the same')
    } catch (error) {
      if (!(error instanceof Error)) throw error
      // Who has left is not told what became of the rest.
      if (this.#isLeaving) return
      this.#lastFailure = exitCodeOf(error)
      // What was typed wrong is said at once. An answer may come when other things have been typed.
      if (error instanceof TidingsError) this.#presentation.failed(this.#inWords(error), line.trim())
      else this.#presentation.failed(error)
      if (!this.#isInteractive && isNobodyThere(error)) this.#giveUp()
    } finally {
      this.#abandon = undefined
    }
  }

  #inWords(error: TidingsError): TidingsError {
    return commandLineError(error, { hasSecret: this.#options.secret !== undefined, isOneShot: false })
  }

  /** The same once more where nothing stood in its way but what is forgotten now: what was seen, and is lost (R9). */
  async #run(line: string): Promise<number> {
    try {
      return await this.#runOnce(line)
    } catch (error) {
      if (error instanceof TidingsError && isAboutLost(error) && error.definite)
        return await this.#runOnce(line)
      throw error
    }
  }

  async #runOnce(line: string): Promise<number> {
    const read = readLine(line)
    const client = this.#client
    if (read === undefined || client === undefined) return exitCodes.ok
    const context: CommandContext = {
      client,
      output: this.#output,
      presentation: this.#presentation,
      isInteractive: this.#isInteractive,
      wrote: (version) => this.#leaveOut(version),
      watch: async (prefix) => await this.#narrowWatch(client, prefix),
      unwatch: () => {
        const wasWatching = this.#watch?.hasEnded === false
        void this.#watch?.return()
        const what = wasWatching ? 'what others write is no longer shown' : 'nothing was being watched'
        this.#output.note(`${what}; watch shows it`)
        return exitCodes.ok
      },
      exit: () => {
        this.#leave()
        return exitCodes.ok
      },
    }
    return await commandNamed(read.name).run(read.rest, context)
  }

  #leave(): void {
    this.#isLeaving = true
    this.#end(this.#lastFailure)
  }

  /**
   * A line was entered before its turn. `exit` does not wait for a server that is away: what is typed before it would
   * each take its whole time. Where the server is there it does wait, for that is a moment, and what was written is kept.
   */
  #foresee(line: string): void {
    if (!this.#isInteractive || line.trim().toLowerCase() !== 'exit') return
    this.#isToLeave = true
    this.#leaveWithoutServer()
  }

  #leaveWithoutServer(): void {
    if (!this.#isToLeave || this.#isLeaving || this.#client?.state.status === 'connected') return
    if (this.#running !== undefined) this.#output.note('left before all was answered')
    this.#leave()
  }

  /** Piped commands come after one another, and none will fare better: so the rest is not tried, only counted. */
  #giveUp(): void {
    this.#lastFailure = exitCodes.cannotConnect
    this.#isLeaving = true
    this.#linesLeftOut = 0
    // Whoever holds the pipe open is not waited for.
    this.#countingTimer = setTimeout(() => {
      this.#sayWhatWasLeftOut(' or more')
      this.#end(this.#lastFailure)
    }, countingMsMax)
  }

  #sayWhatWasLeftOut(more: string): void {
    const lines = this.#linesLeftOut ?? 0
    this.#linesLeftOut = undefined
    if (lines === 0) return
    this.#output.note(
      `stopped there: ${lines}${more} ${lines === 1 && more === '' ? 'line was' : 'lines were'} not run`,
    )
  }

  #interrupted(): void {
    if (this.#abandon === undefined) this.#end(exitCodes.interrupted)
    else this.#abandon()
  }

  // ── what others write ──────────────────────────────────────────────────────────────────────────────────

  #startWatch(client: Client, prefix: string): Watch {
    void this.#watch?.return()
    const watch = client.watch({ prefix })
    this.#watch = watch
    void this.#showEvents(watch)
    return watch
  }

  async #narrowWatch(client: Client, prefix: string): Promise<number> {
    const watch = this.#startWatch(client, prefix)
    let timer: NodeJS.Timeout | undefined
    const tooLate = new Promise<never>((_resolve, reject) => {
      const { timeoutMs } = this.#options
      const message = `no server took the watch within ${timeoutMs} ms; it goes on as soon as one does`
      timer = setTimeout(() => reject(new TidingsError('ERR_TIMEOUT', message)), timeoutMs)
    })
    try {
      await Promise.race([watch.started, tooLate])
    } finally {
      clearTimeout(timer)
    }
    this.#output.note(
      prefix === '' ? 'watching all keys' : `watching keys that begin with ${printable(prefix)}`,
    )
    return exitCodes.ok
  }

  async #showEvents(watch: Watch): Promise<void> {
    try {
      for await (const event of watch) {
        if (event.kind === 'update' && !(await this.#isOwn(event))) this.#presentation.event(event)
      }
    } catch (error) {
      if (error instanceof Error) this.#presentation.failed(error)
    }
  }

  /** Our own write may be pushed before it is answered: then the answer tells whose it is. */
  async #isOwn(event: Extract<WatchEvent, { kind: 'update' }>): Promise<boolean> {
    if (this.#asked.has(event.version.origin)) await this.#running
    return this.#own.delete(nameOf(event.version))
  }

  #leaveOut(version: Version): void {
    // Keys outside the watched prefix are never pushed, so some stay; a few are enough to remember.
    const [eldest] = this.#own
    if (this.#own.size >= ownVersionsMax && eldest !== undefined) this.#own.delete(eldest)
    this.#own.add(nameOf(version))
  }

  // ── the connection ─────────────────────────────────────────────────────────────────────────────────────

  #stateChanged(state: ClientState): void {
    this.#editor.setPrompt(this.#promptFor(state))
    this.#report.stateChanged(state)
    this.#leaveWithoutServer()
    if (this.#running !== undefined && state.status === 'connected') this.#asked.add(state.origin)
  }

  #promptFor(state: ClientState): string {
    const { paint, id = 'tidings' } = this.#options
    const name = printable(id)
    switch (state.status) {
      case 'connected':
        return `${paint.cyan(`${name}@${state.server}`)}> `
      case 'connecting':
      case 'reconnecting':
        return `${name} ${paint.yellow(`(${state.status} to ${state.address})`)}> `
      case 'closed':
        return `${name}> `
    }
  }

  #openOutput(): Output {
    const { paint, output, errorOutput } = this.#options
    if (this.#isInteractive) {
      return {
        print: (text) => this.#editor.printAbove(text),
        note: (text) => {
          const wrapped = wrapWords(text, { width: output.columns, hangingIndent: 2 })
          this.#editor.printAbove(paint.dim(wrapped))
        },
        complain: (text) => this.#editor.printAbove(text),
        width: () => output.columns,
        drained: () => Promise.resolve(),
      }
    }
    return {
      print: (text) => this.#editor.printAbove(text),
      note: (text) => errorOutput.write(`${text}\n`),
      complain: (text) => errorOutput.write(`${text}\n`),
      drained: () => new Promise((resolve) => output.write('', () => resolve())),
    }
  }
}

const ownVersionsMax = 1_000
/** A file or a script's text is read to its end in less. */
const countingMsMax = 200

function isNobodyThere(error: Error): boolean {
  return (
    error instanceof TidingsError && (error.code === 'ERR_CANNOT_CONNECT' || error.code === 'ERR_TIMEOUT')
  )
}

function nameOf(version: Version): string {
  return `${version.timestamp} ${version.origin}`
}
