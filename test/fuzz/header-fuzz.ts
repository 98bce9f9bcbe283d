import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pageBytes } from '../../src/storage/data-file.ts'
import { isLogFile } from '../../src/storage/commit-log.ts'
import { openFolderStore } from '../../src/storage/folder-store.ts'
import { StorageError } from '../../src/storage/store.ts'
import { Random } from '../durability/random.ts'
import { recoveredReplica } from '../../src/server/server-core.ts'
import { defaultLimits, defaultTiming } from '../../src/replica/configuration.ts'
import { makeOrigin } from '../../src/replica/version.ts'
import { storedState } from './stored-state.ts'

/** What has become of the garbled files. */
export interface HeaderReport {
  readonly files: number
  readonly refused: number
  /** A server could start from them, and write to them. */
  readonly taken: number
}

/**
 * Garbles the beginning of a store's file, where it says what is where, and opens each file as a server does. To be done
 * in a process of its own, for the library that reads the file would take its process down with it.
 *
 * @param options.told is told the numbers of the files that are opened next.
 * @throws what is no StorageError.
 */
export async function openGarbledFiles(options: {
  readonly seed: number
  readonly files: number
  readonly told: (numbers: readonly number[]) => void
}): Promise<HeaderReport> {
  const { seed, files, told } = options
  const parent = await mkdtemp(join(existsSync(memoryDisk) ? memoryDisk : tmpdir(), 'tidings-headers-'))
  let refused = 0
  try {
    const sound = await soundFile(join(parent, 'sound'))
    for (let first = 0; first < files; first += together) {
      const numbers = Array.from({ length: Math.min(together, files - first) }, (_, index) => first + index)
      told(numbers)
      await Promise.all(
        numbers.map(async (number) => {
          const bytes = withGarbledHeader(sound, new Random(seed * 1_000_003 + number))
          if (await isRefused(join(parent, `${number}`), join(parent, 'sound'), bytes)) refused++
        }),
      )
    }
    return { files, refused, taken: files - refused }
  } finally {
    await rm(parent, { recursive: true, force: true })
  }
}

/** The file whose beginning is garbled, of a folder with its log beside it. */
async function soundFile(folder: string): Promise<Buffer> {
  const store = await openFolderStore({ folder, server: '1', logFileBytes: 64 << 10 })
  for (const batch of storedState()) await store.commit(batch)
  await store.close()
  return await readFile(join(folder, 'data.mdb'))
}

function withGarbledHeader(sound: Buffer, random: Random): Buffer {
  const bytes = Buffer.from(sound)
  for (let left = random.between(1, 4); left > 0; left--) {
    const at = random.between(0, 1) * pageBytes + random.between(0, headerBytes - 1)
    bytes[at] = random.chance(0.5) ? (bytes[at] ?? 0) ^ (1 << random.between(0, 7)) : random.between(0, 255)
  }
  return bytes
}

/** Whether a folder with such a file is refused. If it is not, a server starts from it and writes to it. */
async function isRefused(folder: string, sound: string, bytes: Buffer): Promise<boolean> {
  await mkdir(folder)
  for (const name of await readdir(sound)) {
    if (isLogFile(name)) await copyFile(join(sound, name), join(folder, name))
  }
  await writeFile(join(folder, 'data.mdb'), bytes)
  try {
    const store = await openFolderStore({ folder, server: '1' })
    try {
      recoveredReplica(configuration, store.recover())
      await store.commit({ addresses: [] })
    } finally {
      await store.close()
    }
    return false
  } catch (error) {
    if (error instanceof StorageError) return true
    throw error
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** What a page says of itself and of the trees, and a little after that. */
const headerBytes = 168

/** Opening a damaged file takes half a second, in which nothing but waiting is done. */
const together = 40

const memoryDisk = '/dev/shm'

const configuration = {
  server: '1',
  origin: makeOrigin({ server: '1', incarnation: 'now' }),
  limits: defaultLimits,
  timing: defaultTiming,
}
