import { closeSync, fstatSync, ftruncateSync, lstatSync, openSync, readSync, statSync, write } from 'node:fs'
import { promisify } from 'node:util'

/** The same everywhere, so that a folder can be moved to another machine, and keys of 1,025 bytes fit. */
export const pageBytes = 4096

/**
 * The file in which LMDB keeps a store, looked at from outside: whoever reads a page of a mapped file that is not there
 * dies by a signal, and whoever has LMDB write where nothing can be written may too, so both have to be seen before.
 *
 * Rules:
 * - Before each transaction the file has the pages that the transaction may add, as zeros, so that it is we who meet
 *   a full disk, a quota or a limit, and not LMDB, which damages its own memory while it puts that error into words.
 * - After each transaction the file is still the one that was opened, under its name, and holds every page up to the
 *   last one: on a file that has been removed everything seems to work, and all of it is lost.
 * - Only the process that has the folder makes the file longer: others would write over its pages.
 */
export class DataFile {
  /** Which file it is, whatever its name. */
  readonly identity: string
  readonly #path: string
  readonly #descriptor: number
  /** What it has held; it never becomes shorter. */
  #bytes: number

  /** @param path of an environment that has been opened. */
  constructor(path: string) {
    this.#path = path
    this.#descriptor = openSync(path, 'r+')
    const { dev, ino, size } = fstatSync(this.#descriptor, { bigint: true })
    this.identity = `${dev}:${ino}`
    this.#bytes = Number(size)
  }

  /** The pages that belong to something or once did. The rest of the file is there for the next ones. */
  get pages(): number {
    const header = headerOf(this.#descriptor)
    if (typeof header === 'string') throw new Error(header)
    return header.lastPage + 1
  }

  /**
   * Makes sure that LMDB can add so many bytes of pages, or `reservedBytesMax` if that is less.
   *
   * @throws Error of the system, as a rejection, where there is no room.
   */
  async reserve(bytes: number): Promise<void> {
    const end = this.pages * pageBytes + Math.min(bytes, reservedBytesMax)
    if (this.#bytes >= end) return
    // A step of some size is rarely taken; where there is no room for it, there may be for what is needed.
    await this.#extend(Math.max(end, this.#bytes + reservedBytesStep)).catch(async () => this.#extend(end))
  }

  async #extend(end: number): Promise<void> {
    while (this.#bytes < end) {
      const length = Math.min(zeros.length, end - this.#bytes)
      const { bytesWritten } = await writeAt(this.#descriptor, zeros, 0, length, this.#bytes)
      this.#bytes += bytesWritten
    }
  }

  /** @returns what has happened to the file while it was in use; undefined where nothing has. */
  loss(): string | undefined {
    const found = statSync(this.#path, { bigint: true, throwIfNoEntry: false })
    if (found === undefined) return 'has been removed'
    if (`${found.dev}:${found.ino}` !== this.identity) return 'has been replaced by another'
    if (found.size < BigInt(this.#bytes)) return 'has been cut off'
    this.#bytes = Number(found.size)
    // Of pages that came and went within one transaction, LMDB may not have written the last.
    const end = this.pages * pageBytes
    if (this.#bytes < end) {
      ftruncateSync(this.#descriptor, end)
      this.#bytes = end
    }
    return undefined
  }

  close(): void {
    closeSync(this.#descriptor)
  }
}

/** What a path is, where it is neither a file nor nothing: LMDB would wait for ever at some, and die at others. */
export function kindOfStranger(path: string): string | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined || found.isFile()) return undefined
  if (found.isDirectory()) return 'a folder'
  return found.isSymbolicLink() ? 'a link' : 'no ordinary file'
}

/**
 * What keeps LMDB from opening a file; another process may be writing to it just now, so whoever finds something looks
 * again.
 *
 * @returns undefined where the file is empty, or begins with two pages that say where the rest is, which is there.
 */
export function faultOf(path: string): string | undefined {
  const descriptor = openSync(path, 'r')
  try {
    if (fstatSync(descriptor).size === 0) return undefined
    const header = headerOf(descriptor)
    if (typeof header === 'string') return header
    if (fstatSync(descriptor).size < (header.lastPage + 1) * pageBytes) return missingPart
    const isTree = header.roots.every((root) => root === undefined || isTreePage(descriptor, root))
    return isTree ? undefined : garbled
  } finally {
    closeSync(descriptor)
  }
}

export const missingPart = 'a part of data.mdb is missing'
const garbled = 'the beginning of data.mdb makes no sense'
const notOurs = 'its data.mdb is no database, or not one of its own'

interface Header {
  readonly lastPage: number
  /** Of the tree of free pages and the tree of all others; undefined for one that is empty. */
  readonly roots: readonly (number | undefined)[]
}

/** What the first two pages say, each of which describes one of the last two transactions: the later one counts. */
function headerOf(descriptor: number): Header | string {
  const bytes = Buffer.alloc(2 * pageBytes)
  if (readSync(descriptor, bytes, 0, bytes.length, 0) < bytes.length) return notOurs
  const pages = [bytes.subarray(0, pageBytes), bytes.subarray(pageBytes)]
  for (const page of pages) {
    // A page begins with its number, the transaction that wrote it, and its flags; then comes what it holds.
    const isHeader =
      (page.readUInt16LE(18) & 0x08) !== 0 &&
      page.readUInt32LE(24) === 0xbeefc0de &&
      page.readUInt16LE(28) === 2 &&
      page.readUInt32LE(48) === pageBytes
    if (!isHeader) return notOurs
  }
  const [first, second] = pages.map((page) => page.readBigUInt64LE(152)) as [bigint, bigint]
  const page = pages[second > first ? 1 : 0] as Buffer
  const lastPage = numberAt(page, 144)
  if (lastPage === undefined || lastPage < 1) return garbled
  const roots: (number | undefined)[] = []
  let known = 2
  for (const tree of [48, 96]) {
    const depth = page.readUInt16LE(tree + 6)
    const counts = [8, 16, 24].map((offset) => numberAt(page, tree + offset))
    if (counts.includes(undefined)) return garbled
    for (const count of counts) known += count as number
    const isEmpty = page.readBigUInt64LE(tree + 40) === noPage
    const root = isEmpty ? undefined : numberAt(page, tree + 40)
    const isWhole = isEmpty ? depth === 0 : root !== undefined && root > 1 && root <= lastPage && depth > 0
    if (!isWhole || depth > depthMax) return garbled
    roots.push(root)
  }
  return known > lastPage + 1 ? garbled : { lastPage, roots }
}

/** Whether a page has its own number and is of a kind that a tree begins with. */
function isTreePage(descriptor: number, number: number): boolean {
  const bytes = Buffer.alloc(20)
  const length = readSync(descriptor, bytes, 0, bytes.length, number * pageBytes)
  return (
    length === bytes.length && numberAt(bytes, 0) === number && (bytes.readUInt16LE(18) & 0x0f & ~0x03) === 0
  )
}

function numberAt(bytes: Buffer, offset: number): number | undefined {
  const value = bytes.readBigUInt64LE(offset)
  return value <= BigInt(Number.MAX_SAFE_INTEGER) / BigInt(pageBytes) ? Number(value) : undefined
}

const noPage = 0xffff_ffff_ffff_ffffn

/** No tree of LMDB's is deeper. */
const depthMax = 32

/** More is not written ahead: a transaction of that size finds most of its pages among those that are free. */
const reservedBytesMax = 16 << 20

const reservedBytesStep = 256 << 10

const zeros = Buffer.alloc(1 << 20)

const writeAt = promisify(write)
