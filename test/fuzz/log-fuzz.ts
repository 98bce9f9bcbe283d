import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { CommitLog, isLogFile } from '../../src/storage/commit-log.ts'
import { StorageError } from '../../src/storage/store.ts'
import { Random } from '../durability/random.ts'

/**
 * A log with a tail of more than 64 KiB, in one file, that is spoilt and opened again and again.
 *
 * What has to hold: it is opened with what it held, as far as that is whole; or refused as damaged.
 */
export class SpoiltLog {
  readonly texts: readonly string[]
  /** The file as it was written. */
  readonly sound: Buffer
  readonly #path: string
  /** Of each commit, where its record begins and where it ends. */
  readonly #records: readonly { readonly start: number; readonly end: number }[]

  private constructor(path: string, texts: readonly string[]) {
    this.#path = path
    this.texts = texts
    this.sound = readFileSync(join(path, fileName))
    this.#records = texts.map((text) => {
      const start = this.sound.indexOf(text) - headBytes
      return { start, end: start + headBytes + Buffer.byteLength(text) + 1 }
    })
  }

  static async make(): Promise<SpoiltLog> {
    const path = await mkdtemp(join(existsSync(memoryDisk) ? memoryDisk : tmpdir(), 'tidings-spoilt-'))
    const texts = Array.from({ length: 68 }, (_, index) =>
      JSON.stringify({ number: index, text: `☃ @ ${'value '.repeat((index * 37) % 370)}` }),
    )
    const log = new CommitLog({ folder: 'data', path, fileBytes: 128 << 10 })
    for (const text of texts) await log.append([text], { start: 0, end: 0 })
    await log.close()
    for (const name of readdirSync(path)) if (isLogFile(name) && name !== fileName) rmSync(join(path, name))
    return new SpoiltLog(path, texts)
  }

  /** How many bytes its commits take. */
  get length(): number {
    return (this.#records.at(-1)?.end ?? 0) - (this.#records[0]?.start ?? 0)
  }

  get lastRecord(): { readonly start: number; readonly end: number } {
    return this.#records.at(-1) ?? { start: 0, end: 0 }
  }

  /** @returns what a log finds in these bytes, or why it is refused. */
  async open(bytes: Buffer): Promise<readonly string[] | string> {
    writeFileSync(join(this.#path, fileName), bytes)
    try {
      const log = new CommitLog({ folder: 'data', path: this.#path })
      const lines = Array.from(log.commits(), ({ lines: [line = ''] }) => line)
      await log.close()
      return lines
    } catch (error) {
      if (error instanceof StorageError) return error.message
      throw error
    }
  }

  /**
   * Opens it as a crash leaves it that came when it had been written up to some byte: each, or each so many.
   *
   * @throws Error where anything before is lost, or anything after is found.
   */
  async cut(step: number): Promise<number> {
    let count = 0
    const last = this.lastRecord.end
    for (let cut = this.#records[0]?.start ?? 0; cut <= last; cut += step) {
      const kept = this.#records.filter(({ end }) => end <= cut).length
      const bytes = Buffer.concat([this.sound.subarray(0, cut), Buffer.alloc(this.sound.length - cut)])
      const found = await this.open(bytes)
      if (!isDeepStrictEqual(found, this.texts.slice(0, kept))) {
        throw new Error(`cut at byte ${cut} it has ${shown(found)}, and not the first ${kept} commits`)
      }
      count++
    }
    return count
  }

  /**
   * Opens it with a single bit turned over, so many times.
   *
   * @throws Error where that is not noticed and changes what is found.
   */
  async flip(count: number, seed: number): Promise<{ readonly noticed: number; readonly harmless: number }> {
    const random = new Random(seed)
    let noticed = 0
    for (let left = count; left > 0; left--) {
      const at = random.between(0, this.lastRecord.end + freeBytes)
      const bit = random.between(0, 7)
      const bytes = Buffer.from(this.sound)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit)
      const found = await this.open(bytes)
      if (typeof found === 'string' && found.includes('is damaged')) noticed++
      else if (!isDeepStrictEqual(found, this.texts)) {
        throw new Error(`with bit ${bit} of byte ${at} turned over it has ${shown(found)}`)
      }
    }
    return { noticed, harmless: count - noticed }
  }

  async remove(): Promise<void> {
    await rm(this.#path, { recursive: true, force: true })
  }
}

function shown(found: readonly string[] | string): string {
  return typeof found === 'string' ? `the error ${found}` : `${found.length} commits`
}

const fileName = 'log-000000000001'
const headBytes = 16

/** So many of those behind the last commit are tried, too. */
const freeBytes = 8_192

/** What is tried is what is read, so no disk has to be waited for where there is one in memory. */
const memoryDisk = '/dev/shm'
