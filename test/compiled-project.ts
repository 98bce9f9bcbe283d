import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/**
 * Compiles the sources as they are now into a folder that is gone when this process ends.
 *
 * @param project the path of its configuration, from the root of the repository.
 * @returns where its output is.
 */
export async function compileProject(project: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidings-compiled-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const output = join(folder, 'dist')
  const compiler = join(repository, 'node_modules/typescript/bin/tsc')
  await run(process.execPath, [compiler, '-p', join(repository, project), '--outDir', output])
  await writeFile(join(folder, 'package.json'), '{"type":"module"}\n')
  await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'))
  return output
}

const repository = fileURLToPath(new URL('..', import.meta.url))

const run = promisify(execFile)
