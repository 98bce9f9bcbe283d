import { execFileSync } from 'node:child_process'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/**
 * Which process has a folder: written into the folder when a process takes it, and read by the next that comes (R7).
 *
 * A number alone does not name a process, as numbers are given again: after a crash, a machine that starts anew may
 * well run something else under the old one. So the owner's start is kept beside its number, and what both count from.
 */
export interface FolderOwner {
  readonly pid: number
  /** When the process started, in words of its system; null where the system does not say. */
  readonly started: string | null
  /** Which run of which machine, or part of it, numbers its processes: the same only where `pid` can be looked up. */
  readonly realm: string
  /** The file that was taken. A folder that has been copied brings along an owner that never had the copy. */
  readonly file: string
}

/** This process, as the owner of a folder whose data is in `file`. */
export function ownOwner(file: string): FolderOwner {
  return { pid: process.pid, started: startOf(process.pid) ?? null, realm: realm(), file }
}

/**
 * Whether the owner that a folder names still has it.
 *
 * @returns `unknown` where its process cannot be seen from here: it belongs to another machine or container, or to an
 * earlier run of this machine.
 */
export function stateOfOwner(owner: FolderOwner, file: string): 'alive' | 'gone' | 'unknown' {
  if (owner.file !== file) return 'gone'
  if (owner.realm !== realm()) return 'unknown'
  if (!isRunning(owner.pid)) return 'gone'
  const started = startOf(owner.pid)
  if (started === undefined || owner.started === null) return 'alive'
  return started === owner.started ? 'alive' : 'gone'
}

/** @returns what was stored, or undefined where it does not name an owner. */
export function parseFolderOwner(stored: unknown): FolderOwner | undefined {
  const { pid, started, realm, file } = (stored ?? {}) as { readonly [name in keyof FolderOwner]?: unknown }
  if (typeof pid !== 'number' || typeof realm !== 'string' || typeof file !== 'string') return undefined
  if (typeof started !== 'string' && started !== null) return undefined
  return { pid, started, realm, file }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // It runs for another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** When a process started; undefined where that cannot be learned, 'ended' for one that only waits to be reaped. */
function startOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    const stat = readText(`/proc/${pid}/stat`)
    if (stat === undefined) return undefined
    // The second field is the name, in parentheses, and may hold spaces and parentheses itself.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? 'ended' : fields[22 - 3]
  }
  if (process.platform === 'win32') return undefined
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return undefined
  }
}

function realm(): string {
  const boot = readText('/proc/sys/kernel/random/boot_id')?.trim()
  if (boot === undefined) return hostname()
  // Containers of one machine share its boot, and each numbers its processes from 1.
  return `${boot} ${readLink('/proc/self/ns/pid') ?? hostname()}`
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}
