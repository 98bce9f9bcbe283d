import { spawn, spawnSync } from 'node:child_process'

/** tmux would not do something; the message says what and why. */
export class TmuxError extends Error {
  override readonly name = 'TmuxError'
}

/** A tmux server, spoken to by its own command. */
export class Tmux {
  readonly #selection: readonly string[]

  /** @param socket the name of a socket of its own; absent for the server that this process runs inside of. */
  constructor(socket: string | undefined) {
    this.#selection = socket === undefined ? [] : ['-L', socket]
  }

  /** Whether there is a tmux on this machine. */
  static isInstalled(): boolean {
    return spawnSync('tmux', ['-V'], { stdio: 'ignore' }).status === 0
  }

  /**
   * Runs one tmux command.
   *
   * @returns what it printed, without the last line end.
   * @throws TmuxError with tmux's own words where it fails.
   */
  run(...words: readonly string[]): string {
    const { status, stdout, stderr, error } = this.#spawn(words)
    if (status !== 0) {
      const advice = /no space/.test(stderr) ? '; make this terminal larger' : ''
      throw new TmuxError(`tmux ${words[0]}: ${stderr.trim()}${advice}`, { cause: error })
    }
    return stdout.trimEnd()
  }

  /** Whether one tmux command succeeds. */
  succeeds(...words: readonly string[]): boolean {
    return this.#spawn(words).status === 0
  }

  /** Gives the terminal to tmux until its user detaches or everything in it has ended. */
  attach(session: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = spawn('tmux', [...this.#selection, 'attach-session', '-t', session], { stdio: 'inherit' })
      child.once('error', reject)
      child.once('exit', () => resolve())
    })
  }

  #spawn(words: readonly string[]) {
    return spawnSync('tmux', [...this.#selection, ...words], { encoding: 'utf8' })
  }
}
