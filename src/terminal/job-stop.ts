import type { TerminalInput } from './terminal-line.ts'

/**
 * What Ctrl-Z does to a program that reads keys one by one.
 *
 * The terminal sends no signal for it then, so the program has to, and to the same processes as the terminal would: to all
 * of its job. Under `npm run client` that is npm, a shell and tsx too; were only this process stopped, those would wait
 * for it and keep the terminal, and no shell would come to let anybody say `fg`.
 *
 * A job without a shell that could continue it (the only program of a window, say) is not stopped: the system sees to
 * that. So whoever stops the job goes on in any case, stopped meanwhile or not.
 */
export class JobStop {
  readonly #input: TerminalInput
  readonly #goOn: () => void

  /** @param goOn draws what the shell has written over; called once or twice after each stop. */
  constructor(input: TerminalInput, goOn: () => void) {
    this.#input = input
    this.#goOn = goOn
    process.on('SIGCONT', this.#continued)
  }

  /** Stops the job, and returns when it goes on. */
  stop(): void {
    this.#input.setRawMode?.(false)
    process.kill(wholeJob, 'SIGTSTP')
    // The signal may take a moment more than this call, and comes to nothing where there is no shell.
    setImmediate(this.#continued)
  }

  close(): void {
    process.off('SIGCONT', this.#continued)
  }

  readonly #continued = (): void => {
    // Shells leave the terminal as they like it, and Node sets only what it does not take to be set.
    this.#input.setRawMode?.(false)
    this.#input.setRawMode?.(true)
    this.#goOn()
  }
}

/** To `kill`, 0 is the group of the caller's own process. */
const wholeJob = 0
