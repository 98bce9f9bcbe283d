import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** `ownBytes` is what the system cannot take back: without the files that are mapped. */
export interface Memory {
  readonly residentBytes: number
  readonly ownBytes: number
}

/** What a process has in RAM, in bytes. */
export function memoryOf(pid: number): Memory {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const of = (name: string): number =>
      1024 * Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1])
    return { residentBytes: of('VmRSS'), ownBytes: of('VmRSS') - of('RssFile') }
  } catch {
    const kibibytes = execFileSync('ps', ['-o', 'rss=', '-p', `${pid}`], { encoding: 'utf8' })
    const residentBytes = 1024 * Number(kibibytes)
    return { residentBytes, ownBytes: residentBytes }
  }
}

/** What a process has had of the processor, in seconds since its start; NaN where the system does not say. */
export function processorSecondsOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / clockTicksPerSecond
  } catch {
    return Number.NaN
  }
}

/** Of all Linux systems that Node runs on. */
const clockTicksPerSecond = 100
