import { mkdtemp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import type { Mutant } from './mutant.ts'

/**
 * The program that tries mutants and all that it imports, as it stands in the checkout now, compiled. Copies of it are
 * written to folders of their own, each with a mutant's edit: the checkout itself is never touched.
 */
export class CompiledSources {
  /** By path from the root of the repository. */
  readonly #sources: ReadonlyMap<string, string>
  readonly #compiled: ReadonlyMap<string, string>
  readonly #folder: string
  #copies = 0

  private constructor(sources: ReadonlyMap<string, string>, folder: string) {
    this.#sources = sources
    this.#compiled = new Map(Array.from(sources, ([path, source]) => [path, compiled(path, source)]))
    this.#folder = folder
  }

  static async compile(): Promise<CompiledSources> {
    return new CompiledSources(
      await sourcesFrom(entryPath),
      await mkdtemp(join(tmpdir(), 'tidings-mutants-')),
    )
  }

  /** Of these mutants, those whose edit does not fit the sources any more, each with the reason. */
  stale(mutants: readonly Mutant[]): readonly string[] {
    return mutants.flatMap((mutant) => {
      const source = this.#sources.get(mutant.file)
      if (source === undefined) return [`${mutant.name}: the simulator does not run ${mutant.file}`]
      const count = source.split(mutant.find).length - 1
      return count === 1 ? [] : [`${mutant.name}: what it replaces occurs ${count} times in ${mutant.file}`]
    })
  }

  /**
   * Writes a copy with a mutant's edit, or one that is as the checkout is.
   *
   * @returns the path of the program to run.
   * @throws Error where the mutant is stale.
   */
  async copy(mutant?: Mutant): Promise<string> {
    const root = join(this.#folder, `${this.#copies++}`)
    const files = new Map(this.#compiled)
    if (mutant !== undefined) files.set(mutant.file, compiled(mutant.file, this.#edited(mutant)))
    for (const [path, text] of files) {
      const target = join(root, path.replace(/\.ts$/, '.js'))
      await mkdir(dirname(target), { recursive: true })
      await writeFile(target, text)
    }
    await writeFile(join(root, 'package.json'), '{"type":"module"}\n')
    await symlink(join(repository, 'node_modules'), join(root, 'node_modules'))
    return join(root, entryPath.replace(/\.ts$/, '.js'))
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true })
  }

  #edited(mutant: Mutant): string {
    const [stale] = this.stale([mutant])
    if (stale !== undefined) throw new Error(`stale mutant: ${stale}`)
    // As a function, so that a dollar in the replacement means nothing.
    return (this.#sources.get(mutant.file) as string).replace(mutant.find, () => mutant.replace)
  }
}

/** A file and, one after the other, all files of the repository that it imports. */
async function sourcesFrom(entry: string): Promise<ReadonlyMap<string, string>> {
  const sources = new Map<string, string>()
  const due = [entry]
  for (let path = due.pop(); path !== undefined; path = due.pop()) {
    if (sources.has(path)) continue
    const source = await readFile(join(repository, path), 'utf8')
    sources.set(path, source)
    for (const { fileName } of ts.preProcessFile(source).importedFiles) {
      if (fileName.startsWith('.')) due.push(posix.join(posix.dirname(path), fileName))
    }
  }
  return sources
}

/** Without a look at types: a mutant may do what they forbid. */
function compiled(path: string, source: string): string {
  const { outputText } = ts.transpileModule(source, {
    fileName: path,
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      rewriteRelativeImportExtensions: true,
    },
  })
  return outputText
}

const repository = fileURLToPath(new URL('../..', import.meta.url))

const entryPath = 'test/mutants/trial-process.ts'
