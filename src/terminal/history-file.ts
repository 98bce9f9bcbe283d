/**
 * The lines typed at earlier prompts, in one file that many prompts share.
 *
 * Node's own history is rewritten whole by each process, so of two REPLs the one that ends last wins. Here a line is
 * *appended*, by one write of one line, to whatever file bears the name at that moment; what others appended meanwhile stays.
 * Only a file that has grown far too long is rewritten, at a start, into a new file that then takes the name. A line that
 * another process appends in the instant between the last look at the old file and the renaming may be lost: it is history.
 *
 * Nothing here throws. A history that cannot be read or written is said once, in `warning`, and the prompt works without it.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'

export type HistoryLimits = {
  /** How many lines a start brings back. */
  readonly lineCountMax: number
  /** A longer line is not kept: to recall it would fill the screen. */
  readonly lineBytesMax: number
}

const LIMITS: HistoryLimits = { lineCountMax: 1_000, lineBytesMax: 8_192 }

/** A file of more than this many times the lines that are ever read is rewritten; so the rewriting is rare. */
const COMPACTION_FACTOR = 4

/** A start reads no more than this from the end of the file, whatever was put there. */
const READ_BYTES_MAX = 8 * 1024 * 1024

/** What was typed is nobody else's business: values and secrets may be among it. */
const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700

/** Where it is no regular file, opening must not wait for somebody at the other end of a pipe. */
const NEVER_WAIT = constants.O_NONBLOCK ?? 0

/**
 * Where the history is: `$XDG_STATE_HOME/tidings/history`, or `~/.local/state/tidings/history` when that variable is not set
 * or not an absolute path (XDG Base Directory Specification).
 */
export function historyPath(env: Readonly<Record<string, string | undefined>>, home = homedir()): string {
  const state = env['XDG_STATE_HOME']
  const base = state !== undefined && isAbsolute(state) ? state : join(home, '.local', 'state')
  return join(base, 'tidings', 'history')
}

export class HistoryFile {
  readonly path: string
  /** The first thing that went wrong, in words for the user; `undefined` while all is well. */
  warning: string | undefined
  readonly #limits: HistoryLimits
  #lastLine: string | undefined
  /** The file ends in the middle of a line (a full disk did that): the next append must not continue it. */
  #endsMidLine = false

  constructor(path: string, limits: Partial<HistoryLimits> = {}) {
    this.path = path
    this.#limits = { ...LIMITS, ...limits }
  }

  /**
   * Reads what all prompts have left, and rewrites the file when it has grown too long.
   *
   * @returns at most `lineCountMax` lines, the oldest first, no line twice in a row; empty when there is no history
   */
  load(): string[] {
    return this.#attempt('read', () => this.#load()) ?? []
  }

  /**
   * Appends a line, cleaned of control characters. An empty line, a repetition of the line before and a very long line are
   * not kept.
   */
  append(line: string): void {
    const kept = clean(line)
    if (kept === '' || kept === this.#lastLine || Buffer.byteLength(kept) > this.#limits.lineBytesMax) return
    this.#lastLine = kept
    this.#attempt('write', () => this.#append(kept))
  }

  #load(): string[] {
    const file = readEnd(this.path)
    if (file === undefined) return []
    this.#endsMidLine = file.text !== '' && !file.text.endsWith('\n')
    const all = file.text.split('\n')
    // A cut at the beginning leaves the end of some line, which nobody typed.
    if (file.isCut) all.shift()

    const stored = all.filter((line) => line !== '')
    const lines = withoutRepetitions(stored.map(clean)).slice(-this.#limits.lineCountMax)
    this.#lastLine = lines.at(-1)
    if (file.isCut || stored.length > COMPACTION_FACTOR * this.#limits.lineCountMax) {
      this.#attempt('shorten', () => this.#compact(lines, file.sizeBytes))
    }
    return lines
  }

  #append(line: string): void {
    mkdirSync(dirname(this.path), { recursive: true, mode: DIRECTORY_MODE })
    // Opened anew for each line: another process may have put a shorter file in this one's place.
    const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | NEVER_WAIT
    const descriptor = openSync(this.path, flags, FILE_MODE)
    try {
      makePrivate(descriptor)
      const bytes = Buffer.from(`${this.#endsMidLine ? '\n' : ''}${line}\n`)
      const writtenBytes = writeSync(descriptor, bytes)
      this.#endsMidLine = writtenBytes < bytes.length
      if (this.#endsMidLine) throw new Error('the line was written in part only; is the disk full?')
    } finally {
      closeSync(descriptor)
    }
  }

  #compact(lines: readonly string[], sizeBytes: number): void {
    // The name may be a link to where the user keeps such files; the link stays.
    const path = realpathSync(this.path)
    const shorter = `${path}.${process.pid}.tmp`
    try {
      rmSync(shorter, { force: true })
      const descriptor = openSync(
        shorter,
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL,
        FILE_MODE,
      )
      try {
        writeAll(descriptor, Buffer.from(lines.map((line) => `${line}\n`).join('')))
      } finally {
        closeSync(descriptor)
      }
      // Somebody appended since it was read: it is shortened at some other start.
      if (statSync(path).size !== sizeBytes) return
      renameSync(shorter, path)
      this.#endsMidLine = false
    } finally {
      rmSync(shorter, { force: true })
    }
  }

  #attempt<Result>(deed: 'read' | 'write' | 'shorten', action: () => Result): Result | undefined {
    try {
      return action()
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.warning ??= `cannot ${deed} the history ${this.path}: ${reason}`
      return undefined
    }
  }
}

type FileEnd = {
  readonly text: string
  readonly sizeBytes: number
  /** The file is longer than what is read of one, so `text` begins somewhere within it. */
  readonly isCut: boolean
}

/** The end of the file; `undefined` when there is no file yet. */
function readEnd(path: string): FileEnd | undefined {
  let descriptor: number
  try {
    descriptor = openSync(path, constants.O_RDONLY | NEVER_WAIT)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  try {
    makePrivate(descriptor)
    const sizeBytes = fstatSync(descriptor).size
    const startBytes = Math.max(0, sizeBytes - READ_BYTES_MAX)
    const bytes = Buffer.alloc(sizeBytes - startBytes)
    let length = 0
    while (length < bytes.length) {
      const count = readSync(descriptor, bytes, length, bytes.length - length, startBytes + length)
      if (count === 0) break
      length += count
    }
    return { text: bytes.toString('utf8', 0, length), sizeBytes, isCut: startBytes > 0 }
  } finally {
    closeSync(descriptor)
  }
}

function makePrivate(descriptor: number): void {
  const stats = fstatSync(descriptor)
  if (!stats.isFile()) throw new Error('it is not a regular file')
  if (process.platform !== 'win32' && (stats.mode & 0o077) !== 0) fchmodSync(descriptor, FILE_MODE)
}

function writeAll(descriptor: number, bytes: Buffer): void {
  let length = 0
  while (length < bytes.length) length += writeSync(descriptor, bytes, length)
}

/** White space of any kind becomes a space, so that words stay apart; other control characters go. */
function clean(line: string): string {
  return line
    .replaceAll(/[\t\n\v\f\r\u0085\u2028\u2029]+/gu, ' ')
    .replaceAll(/\p{Cc}/gu, '')
    .trim()
}

function withoutRepetitions(lines: readonly string[]): string[] {
  return lines.filter((line, index) => line !== '' && line !== lines[index - 1])
}
