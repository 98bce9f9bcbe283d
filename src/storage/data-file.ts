import {
  closeSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readSync,
  statSync,
  write,
  writeSync,
} from 'node:fs'
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

  /** As {@link reserve}, where nobody else has to be served meanwhile. @throws Error of the system. */
  reserveSync(bytes: number): void {
    const end = this.pages * pageBytes + Math.min(bytes, reservedBytesMax)
    while (this.#bytes < end) {
      const length = Math.min(zeros.length, end - this.#bytes)
      this.#bytes += writeSync(this.#descriptor, zeros, 0, length, this.#bytes)
    }
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
    return header.trees.every((tree) => isRoot(descriptor, tree, header.transaction)) ? undefined : garbled
  } finally {
    closeSync(descriptor)
  }
}

export const missingPart = 'a part of data.mdb is missing'
const garbled = 'the beginning of data.mdb makes no sense'
const notOurs = 'its data.mdb is no database, or not one of its own'

interface Header {
  readonly lastPage: number
  /** The number of the transaction that wrote it. */
  readonly transaction: bigint
  /** Those of free pages and of all others, but for one that is empty. */
  readonly trees: readonly Tree[]
}

interface Tree {
  readonly root: number
  readonly depth: number
  readonly entries: number
}

/**
 * What the first two pages say, each of which describes one of the last two transactions: the later one counts.
 *
 * The library believes whatever stands there, and dies of some of it: of the kind of a tree that is another, of a root
 * that belongs to an earlier transaction and whose page has been used again. So all is looked at that has to agree.
 */
function headerOf(descriptor: number): Header | string {
  const bytes = Buffer.alloc(2 * pageBytes)
  if (readSync(descriptor, bytes, 0, bytes.length, 0) < bytes.length) return notOurs
  const pages = [bytes.subarray(0, pageBytes), bytes.subarray(pageBytes)] as const
  for (const page of pages) {
    const isHeader =
      (page.readUInt16LE(18) & 0x08) !== 0 &&
      page.readUInt32LE(24) === 0xbeefc0de &&
      page.readUInt16LE(28) === 2 &&
      page.readUInt32LE(48) === pageBytes
    if (!isHeader) return notOurs
  }
  const transactions = pages.map((page) => page.readBigUInt64LE(152)) as [bigint, bigint]
  if (!pages.every(isInItsPlace) || !takeTurns(transactions)) return garbled
  const latest = transactions[1] > transactions[0] ? 1 : 0
  const page = pages[latest]
  const lastPage = numberAt(page, 144)
  if (lastPage === undefined || lastPage < 1) return garbled
  const trees: Tree[] = []
  let known = 2
  for (const [offset, kind] of treeKinds) {
    const tree = treeAt(page, offset)
    if (tree === undefined || (page.readUInt16LE(offset + 4) & ~otherProgram) !== kind) return garbled
    known += tree.pages
    if (tree.root === undefined) continue
    if (tree.root < 2 || tree.root > lastPage) return garbled
    trees.push({ root: tree.root, depth: tree.depth, entries: tree.entries })
  }
  return known > lastPage + 1 ? garbled : { lastPage, transaction: transactions[latest], trees }
}

/** A page begins with its number, the transaction that wrote it, and its flags; then comes what it holds. */
function isInItsPlace(page: Buffer, index: number): boolean {
  return numberAt(page, 0) === index && page.readUInt16LE(18) === 0x08
}

/** A transaction writes the page that describes the one before the last, beginning with the second page. */
function takeTurns([even, odd]: readonly [bigint, bigint]): boolean {
  if (even === 0n && odd === 0n) return true
  return even % 2n === 0n && (odd === even + 1n || odd === even - 1n)
}

/** @returns undefined where what stands there is no tree. */
function treeAt(page: Buffer, offset: number) {
  const depth = page.readUInt16LE(offset + 6)
  const [branches, leaves, others, entries] = [8, 16, 24, 32].map((at) => numberAt(page, offset + at))
  const isEmpty = page.readBigUInt64LE(offset + 40) === noPage
  const root = isEmpty ? undefined : numberAt(page, offset + 40)
  if (branches === undefined || leaves === undefined || others === undefined || entries === undefined)
    return undefined
  if (isEmpty !== (depth === 0) || isEmpty !== (root === undefined) || depth > depthMax) return undefined
  // One page alone is the leaf that the tree begins with.
  if (depth === 1 && (branches !== 0 || leaves !== 1)) return undefined
  if (depth > 1 && (branches === 0 || leaves < 2)) return undefined
  return { depth, entries, root, pages: branches + leaves + others }
}

/**
 * Whether a page is one that a tree begins with. Every transaction writes both roots anew: its own number stands there.
 */
function isRoot(descriptor: number, { root, depth, entries }: Tree, transaction: bigint): boolean {
  const bytes = Buffer.alloc(24)
  if (readSync(descriptor, bytes, 0, bytes.length, root * pageBytes) < bytes.length) return false
  const [kind, wanted] = [bytes.readUInt16LE(18) & 0x0f, depth === 1 ? leafPage : branchPage]
  if (numberAt(bytes, 0) !== root || kind !== wanted || bytes.readBigUInt64LE(8) !== transaction) return false
  // Two bytes for each entry of a page tell where in it that is.
  return depth > 1 || bytes.readUInt16LE(20) === 2 * entries
}

function numberAt(bytes: Buffer, offset: number): number | undefined {
  const value = bytes.readBigUInt64LE(offset)
  return value <= BigInt(Number.MAX_SAFE_INTEGER) / BigInt(pageBytes) ? Number(value) : undefined
}

const noPage = 0xffff_ffff_ffff_ffffn

/** Where the two trees are described, and of which kind they are: one by numbers, and one by names. */
const treeKinds = [
  [48, 0x08],
  [96, 0x00],
] as const

/** Another program may have its transactions overlap, which is noted here. Whose the file is shows once it is open. */
const otherProgram = 0x1000

const branchPage = 0x01
const leafPage = 0x02

/** No tree of LMDB's is deeper. */
const depthMax = 32

/** More is not written ahead: a transaction of that size finds most of its pages among those that are free. */
const reservedBytesMax = 16 << 20

const reservedBytesStep = 256 << 10

const zeros = Buffer.alloc(1 << 20)

const writeAt = promisify(write)
