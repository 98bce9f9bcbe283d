import type { Version } from '../replica/version.ts'

/**
 * A version with the run of its server: `26@1~jtvopu0k2d`.
 *
 * A version that is lost may have a namesake: the next run of its server counts on from where the store stands. So where a
 * version is missing, or lost, both are told apart by their runs, which elsewhere nobody wants to read.
 */
export function showRunVersion({ timestamp, origin }: Version): string {
  return `${timestamp}@${origin}`
}
