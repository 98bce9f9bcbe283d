import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileProject } from '../compiled-project.ts'

/** The words after `node` that run the command `tidings`. */
export type Program = readonly string[]

/** The command, run from the sources. Each start takes most of a second of a processor. */
export const programFromSources: Program = [
  '--import',
  import.meta.resolve('tsx'),
  fileURLToPath(new URL('../../src/tidings.ts', import.meta.url)),
]

/** The command, compiled from the sources as they are now. */
export async function compileProgram(): Promise<Program> {
  return [join(await compileProject('tsconfig.build.json'), 'tidings.js')]
}
