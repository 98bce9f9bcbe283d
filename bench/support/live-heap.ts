import { readFileSync } from 'node:fs'

/**
 * What a server's JavaScript heap holds just after its garbage has been collected. What a process has in RAM says
 * little about that: it swings by hundreds of megabytes with the moments at which its engine collects.
 *
 * @param file where the server is to note it, each time.
 * @returns words for its Node.
 */
export function notingLiveHeap(file: string): readonly string[] {
  const program = `
    import { writeFileSync } from 'node:fs'
    import { constants, PerformanceObserver } from 'node:perf_hooks'
    const isMajor = ({ detail }) => detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR
    new PerformanceObserver((list) => {
      if (list.getEntries().some(isMajor)) writeFileSync(${JSON.stringify(file)}, \`\${process.memoryUsage().heapUsed}\`)
    }).observe({ entryTypes: ['gc'] })`
  return ['--import', `data:text/javascript,${encodeURIComponent(program)}`]
}

/** @returns the last that was noted, in bytes; NaN before the first. */
export function liveHeapBytes(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8'))
  } catch {
    return Number.NaN
  }
}
