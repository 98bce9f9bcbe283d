import { execFile } from 'node:child_process'
import { mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** The words after `node` that run the command `tidings`. */
export type Program = readonly string[]

/** The command, run from the sources. Each start takes most of a second of a processor. */
export const programFromSources: Program = [
  '--import',
  import.meta.resolve('tsx'),
  fileURLToPath(new URL('../../src/tidings.ts', import.meta.url)),
]

/** Compiles the sources as they are now into a folder that is gone when this process ends. */
export async function compileProgram(): Promise<Program> {
  const repository = fileURLToPath(new URL('../..', import.meta.url))
  const folder = await mkdtemp(join(tmpdir(), 'tidings-program-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const compiler = join(repository, 'node_modules/typescript/bin/tsc')
  await run(process.execPath, [
    compiler,
    '-p',
    join(repository, 'tsconfig.build.json'),
    '--outDir',
    join(folder, 'dist'),
  ])
  await writeFile(join(folder, 'package.json'), '{"type":"module"}\n')
  await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'))
  return [join(folder, 'dist/tidings.js')]
}

const run = promisify(execFile)
