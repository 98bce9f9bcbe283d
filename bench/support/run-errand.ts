import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Errand } from './errand.ts'

/** A compiled module of ours, by its path in the sources, without its ending. */
export type CompiledModules = <Module>(path: string) => Promise<Module>

/** The other side of `errand`: does what this process is told, and reports. */
export function runErrand(work: (plan: never, modules: CompiledModules) => Promise<object>): void {
  process.once('message', ({ compiled, plan }: Errand) => {
    const modules: CompiledModules = (path) =>
      import(pathToFileURL(join(compiled, 'dist', `${path}.js`)).href) as Promise<never>
    void (async () => process.send?.(await work(plan as never, modules)))()
  })
  // Whoever started it has its report, or has ended.
  process.once('disconnect', () => process.exit(0))
}
