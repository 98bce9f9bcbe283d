import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdirSync, readFileSync } from 'node:fs'

/** What a demo did, once it has ended. */
export interface Ended {
  readonly exitCode: number | null
  readonly output: string
  /** Processes that it has started, directly or not, and that are still there. */
  readonly leftBehind: readonly number[]
}

/**
 * Runs the real program.
 *
 * @param words after `tidings demo`.
 * @param seen is told of all output so far, whenever there is more; it may send a signal.
 */
export function runDemo(
  words: readonly string[],
  options: {
    readonly env?: NodeJS.ProcessEnv
    readonly seen?: (output: string, signal: (name: NodeJS.Signals) => void) => void
  } = {},
): Promise<Ended> {
  const { env = {}, seen = () => {} } = options
  const { TMUX: _inside, FORCE_COLOR: _colour, ...outer } = process.env
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/tidings.ts', 'demo', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...outer, COLUMNS: '100', [marker]: `${process.pid}-${runs++}`, ...env },
  })
  const mark = `${marker}=${process.pid}-${runs - 1}`
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      seen(output, (name) => child.kill(name))
    })
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), demoMsMax)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exitCode) => {
      clearTimeout(timer)
      resolve({ exitCode, output, leftBehind: processesMarked(mark) })
    })
  })
}

/** Every process inherits it, so that whoever is left behind can be told from everybody else's processes. */
const marker = 'DEMO_TEST_RUN'
let runs = 0
const demoMsMax = 40_000

/** Processes with a given line in their environment; none where the system does not tell. */
function processesMarked(mark: string): readonly number[] {
  if (!existsSync('/proc/self/environ')) return []
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => environmentOf(pid).includes(mark))
    .map(Number)
}

function environmentOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  } catch {
    // It has ended meanwhile, or is somebody else's.
    return []
  }
}
