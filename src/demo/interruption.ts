/** What the signals mean that ask a program to stop, as exit codes: 128 and the signal's number. */
const exitCodes = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const

/** Ctrl-C, and its kind: noticed, so that whoever has started processes can end them first. */
export class Interruption {
  /** Resolves, with the exit code that is due, when the process is asked to stop; never before. */
  readonly exitCode: Promise<number>
  readonly #controller = new AbortController()
  readonly #listeners: readonly (readonly [NodeJS.Signals, () => void])[]

  constructor() {
    const listeners: [NodeJS.Signals, () => void][] = []
    this.exitCode = new Promise((resolve) => {
      for (const [signal, exitCode] of exitCodes) {
        listeners.push([
          signal,
          () => {
            this.#controller.abort()
            resolve(exitCode)
          },
        ])
      }
    })
    this.#listeners = listeners
    for (const [signal, listener] of listeners) process.on(signal, listener)
  }

  get hasHappened(): boolean {
    return this.#controller.signal.aborted
  }

  /** Waits for some time, in milliseconds, or until the process is asked to stop. */
  sleep(durationMs: number): Promise<void> {
    const { signal } = this.#controller
    return new Promise((resolve) => {
      if (signal.aborted) return resolve()
      const done = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, durationMs)
      signal.addEventListener('abort', done)
    })
  }

  /** The signals mean again what they mean without this. */
  dispose(): void {
    for (const [signal, listener] of this.#listeners) process.removeListener(signal, listener)
  }
}
