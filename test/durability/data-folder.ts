import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * A folder of this test's own, below which servers have theirs; gone when the test is done.
 *
 * What is done to disks is done here: they are wiped, copied and put back. Each only while no server runs on it.
 */
export class DataFolder {
  readonly path: string

  private constructor(path: string) {
    this.path = path
    made.add(this)
  }

  static async make(): Promise<DataFolder> {
    return new DataFolder(await mkdtemp(join(tmpdir(), 'tidings-test-')))
  }

  /** Where something in it is, whether it exists or not. */
  at(name: string): string {
    return join(this.path, name)
  }

  async wipe(name: string): Promise<void> {
    await rm(this.at(name), { recursive: true, force: true })
  }

  /** What was at `to` before is gone. */
  async copy(from: string, to: string): Promise<void> {
    await this.wipe(to)
    await cp(this.at(from), this.at(to), { recursive: true })
  }

  async remove(): Promise<void> {
    made.delete(this)
    await rm(this.path, { recursive: true, force: true })
  }
}

/** For the end of a test: removes all folders that are left. */
export async function removeDataFolders(): Promise<void> {
  await Promise.all([...made].map((folder) => folder.remove()))
}

const made = new Set<DataFolder>()
