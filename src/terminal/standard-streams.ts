/**
 * The two output streams of the process, and how it ends without losing or complaining about what it wrote.
 *
 * `process.exit` throws away what has not been written yet (pipes on some systems, slow terminals), so a command sets
 * `process.exitCode` and lets the process run out, or ends it with {@link finish}, which waits for the output first.
 */

/** What is used of an output stream; `process.stdout` and `process.stderr` fit. */
export type StandardStream = {
  readonly writable: boolean
  write(text: string, written: (error?: Error | null) => void): boolean
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** What is used of the process; `process` fits. */
export type EndingProcess = {
  readonly stdout: StandardStream
  readonly stderr: StandardStream
  exitCode?: number | string | null | undefined
  exit(code?: number): void
}

/** Longer than a terminal or a working reader ever needs; whoever holds a full pipe open for good is not waited for. */
const DRAIN_MS_MAX = 5_000

/**
 * Ends the process quietly, exit code 0, once nobody reads its output any more: in `tidings … | head -1` that is success.
 * Any other failure of the output (a full disk) ends it with exit code 5 and one line on stderr. To be called once, first.
 */
export function watchStandardStreams(ending: EndingProcess = process): void {
  for (const stream of [ending.stdout, ending.stderr]) {
    stream.on('error', (error) => {
      if (isBrokenPipe(error)) return ending.exit(0)
      ending.exitCode = 5
      if (stream === ending.stderr) return ending.exit(5)
      ending.stderr.write(`tidings: cannot write the output: ${error.message}\n`, () => ending.exit(5))
    })
  }
}

/**
 * Writes a text and waits until the system has taken all of it, or has refused it (see {@link watchStandardStreams}).
 */
export function writeFully(stream: StandardStream, text: string): Promise<void> {
  return new Promise((resolve) => {
    if (!stream.writable) return resolve()
    stream.write(text, () => resolve())
  })
}

/**
 * Ends the process once stdout and stderr have taken all that was written to them, at most `drainMsMax` milliseconds later,
 * whatever sockets and timers are still open.
 *
 * @param code the exit code; it holds from the start, also when the process runs out by itself meanwhile
 */
export async function finish(
  code: number,
  ending: EndingProcess = process,
  drainMsMax: number = DRAIN_MS_MAX,
): Promise<void> {
  ending.exitCode = code
  let timer: NodeJS.Timeout | undefined
  const bound = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, drainMsMax)
  })
  const drained = Promise.all([writeFully(ending.stdout, ''), writeFully(ending.stderr, '')])
  await Promise.race([drained, bound])
  clearTimeout(timer)
  ending.exit(code)
}

function isBrokenPipe(error: Error): boolean {
  return 'code' in error && (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED')
}
