import {
  closeSync,
  constants,
  fdatasync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  rmSync,
  statSync,
  write,
  writeSync,
} from 'node:fs'
import { open, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { damaged, lost } from './folder-errors.ts'
import {
  isZeros,
  lowBits,
  markerBytes,
  partBytesMax,
  placesFrom,
  putRecord,
  recordAt,
  recordBytes,
  type WholeRecord,
} from './log-record.ts'

/** One commit, as it is read again. */
export interface LoggedCommit {
  readonly number: number
  readonly lines: readonly string[]
}

/**
 * The log of a store: commits by number, each some lines of text, in files of one length in the store's folder.
 *
 *     log-000000000007   head · commit 4,211 · commit 4,212 · … · marker: it goes on in the next
 *     log-000000000008   head · commit 5,020 · … · zeros
 *     log-000000000009   zeros: made ahead
 *
 * Rules:
 * - A file is all zeros, and on the disk, before anything is written to it. So a commit is one write, which changes
 *   nothing that the file system has to note, and how far a crash let it come can be seen: see `log-record.ts`.
 * - A commit is written when the one before it is durable. So what a crash leaves in part is the last commit; whatever
 *   else is wrong has been damaged.
 * - The next file is there before a marker says that the log goes on in it; so the end is never missing unseen.
 * - Only whole files are let go, the oldest first.
 *
 * Durable: on Linux a file is open with `O_DSYNC`, with which a write returns when it is on the disk. Elsewhere each
 * write is followed by `fdatasync`, because on some systems only that passes the disk's own cache.
 */
export class CommitLog {
  /** As people call it. */
  readonly #folder: string
  readonly #path: string
  readonly #fileBytes: number
  /** The oldest first; the last is the one that is written to. None where nothing was ever written. */
  readonly #files: LogFile[] = []
  /** Of the last file, once something has been written to it. */
  #descriptor: number | undefined
  /** Where in the last file the next record begins. */
  #end = 0
  #last = 0
  /** The file that is made ahead. */
  #next: Promise<MadeFile> | undefined
  /** Settles when all files that were let go are gone, or one cannot be removed. */
  #removals: Promise<unknown> = Promise.resolve()

  /**
   * Opens the log that there is. What a crash has left of a commit is removed.
   *
   * @param options.folder is this process's, and is to be found under `path`.
   * @param options.fileBytes the length of the files that are made; 4 MiB where absent. Those that are there may have another.
   * @throws StorageError where it is damaged.
   */
  constructor(options: { readonly folder: string; readonly path: string; readonly fileBytes?: number }) {
    this.#folder = options.folder
    this.#path = options.path
    this.#fileBytes = options.fileBytes ?? fileBytesDefault
    rmSync(join(this.#path, unfinishedName), { force: true })
    const indices = readdirSync(this.#path)
      .filter(isLogFile)
      .map((name) => Number(name.slice(namePrefix.length)))
    for (const index of indices.toSorted((one, other) => one - other)) this.#find(index)
    const end = this.#scan()
    if (end !== undefined) this.#goOnAt(end)
  }

  /** Whether nothing was ever written to it. */
  get isEmpty(): boolean {
    return this.#files.length === 0
  }

  /** The number of the last commit that is there; 0 for none. */
  get last(): number {
    return this.#last
  }

  /** The number of the first commit that is there, or would be. */
  get first(): number {
    return this.#files[0]?.commit ?? 1
  }

  /** A position at or before that of the first update that is there. */
  get firstPosition(): number {
    return this.#files[0]?.position ?? 0
  }

  /** Of the last file, the first commit that begins in it, and the position of the next update then. */
  get newest(): { readonly commit: number; readonly position: number } {
    return this.isEmpty ? { commit: 1, position: 0 } : this.#current
  }

  /**
   * The commits after one, in order. To be read before the next is added.
   *
   * @throws StorageError where it has been damaged since it was opened.
   */
  *commits(after = 0): Generator<LoggedCommit, void, undefined> {
    if (this.isEmpty) return
    // From the last file on in which the next one may begin.
    const files = this.#files.slice(
      Math.max(
        0,
        this.#files.findLastIndex(({ commit }) => commit <= after + 1),
      ),
    )
    let number = this.#files.at(-files.length)?.commit ?? 1
    let parts: Buffer[] = []
    for (const { record } of this.#records(files)) {
      // The rest of a commit that began in a file before.
      if (!record.isFirst && parts.length === 0) continue
      parts.push(record.text)
      if (!record.isLast) continue
      if (number > after) yield { number, lines: Buffer.concat(parts).toString().split('\n') }
      number++
      parts = []
    }
  }

  /**
   * Adds a commit. One at a time; after one that has failed, none.
   *
   * @param lines without line feeds.
   * @param positions of the log of updates, before and after it.
   * @returns its number, when it is durable.
   * @throws Error of the system, as a rejection, where it cannot be written; StorageError where what was written is lost.
   */
  async append(
    lines: Iterable<string>,
    positions: { readonly start: number; readonly end: number },
  ): Promise<number> {
    const commit = this.#last + 1
    let isFirst = true
    for (const { text, isLast } of partsOf(lines)) {
      const bytes = recordBytes(text.length)
      if (this.isEmpty || this.#end + bytes + markerBytes > this.#current.bytes) {
        const first = isFirst
          ? { commit, position: positions.start }
          : { commit: commit + 1, position: positions.end }
        await this.#goOnInNext(first)
      }
      const record = Buffer.alloc(bytes)
      putRecord(record, 0, text, { commit, isFirst, isLast })
      await this.#write(record)
      isFirst = false
    }
    this.#requireFile()
    this.#last = commit
    if (this.#end > this.#current.bytes / 2) this.#makeAhead()
    return commit
  }

  /** Lets go of files that hold nothing but commits up to this one, and updates before this position. */
  letGo(commit: number, position: number): void {
    for (;;) {
      const [first, second] = this.#files
      if (first === undefined || second === undefined) return
      if (second.commit - 1 > commit || second.position > position) return
      this.#files.shift()
      // Where one cannot be removed, those after it stay too: a file that is missing among others would be missed.
      this.#removals = this.#removals.then(async () => unlink(first.path))
      this.#removals.catch(() => undefined)
    }
  }

  /** Lets go of what it has open. Not while a commit is under way. */
  async close(): Promise<void> {
    await this.#next?.catch(() => undefined)
    await this.#removals.catch(() => undefined)
    this.#closeFile()
  }

  #closeFile(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
    this.#descriptor = undefined
  }

  get #current(): LogFile {
    return this.#files.at(-1) as LogFile
  }

  get #nextIndex(): number {
    return (this.#files.at(-1)?.index ?? 0) + 1
  }

  /** Goes on in the next file, of which this is the first commit that begins in it. */
  async #goOnInNext(first: Pick<LogFile, 'commit' | 'position'>): Promise<void> {
    this.#makeAhead()
    // What could not be made ahead, on a disk that was full, may be made now.
    const made = await (this.#next as Promise<MadeFile>).catch(async () => this.#make(this.#nextIndex))
    this.#next = undefined
    if (!this.isEmpty && this.#end + markerBytes <= this.#current.bytes) {
      await this.#write(markerOf(first.commit))
    }
    this.#closeFile()
    this.#files.push({ ...made, ...first })
    this.#end = 0
    await this.#write(fileHead(this.#current))
  }

  async #write(record: Buffer): Promise<void> {
    this.#descriptor ??= openSync(this.#current.path, openFlags)
    const descriptor = this.#descriptor
    for (let done = 0; done < record.length;) {
      const { bytesWritten } = await writeAt(descriptor, record, done, record.length - done, this.#end + done)
      done += bytesWritten
    }
    if (!isWriteDurable) await syncData(descriptor)
    this.#end += record.length
  }

  /** @throws StorageError where somebody has laid hands on the file, so that what is written to it may be lost. */
  #requireFile(): void {
    const { index, path, bytes, inode } = this.#current
    const found = statSync(path, { throwIfNoEntry: false })
    if (found === undefined) throw lost(this.#folder, nameOf(index), 'has been removed')
    if (found.ino !== inode) throw lost(this.#folder, nameOf(index), 'has been replaced by another')
    if (found.size < bytes) throw lost(this.#folder, nameOf(index), 'has been cut off')
  }

  #makeAhead(): void {
    if (this.#next !== undefined) return
    this.#next = this.#make(this.#nextIndex)
    // Whoever needs it is told.
    this.#next.catch(() => undefined)
  }

  /** Makes a file of zeros, which is on the disk under its name. */
  async #make(index: number): Promise<MadeFile> {
    const unfinished = join(this.#path, unfinishedName)
    const path = join(this.#path, nameOf(index))
    const file = await open(unfinished, 'w', 0o600)
    try {
      for (let at = 0; at < this.#fileBytes;) {
        const { bytesWritten } = await file.write(zeros, 0, Math.min(zeros.length, this.#fileBytes - at), at)
        at += bytesWritten
      }
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(unfinished, path)
    syncFolder(this.#path)
    const { size, ino } = statSync(path)
    return { index, path, bytes: size, inode: ino }
  }

  /** Takes a file that is there into account; the files before it have been. */
  #find(index: number): void {
    const isAhead = this.#next !== undefined
    if (!this.isEmpty && !isAhead && index !== this.#nextIndex) {
      throw this.#damaged(`its ${nameOf(this.#nextIndex)} is missing`)
    }
    const path = join(this.#path, nameOf(index))
    const { size, ino } = statSync(path)
    const made = { index, path, bytes: size, inode: ino }
    const head = recordAt(beginningOf(path), 0)
    if (head.kind === 'whole' && !isAhead) {
      const read = headIn(head.text)
      if (read === undefined || read.file !== index)
        throw this.#damaged(`its ${nameOf(index)} makes no sense`)
      if (read.bytes !== size) throw this.#damaged(`a part of its ${nameOf(index)} is missing`)
      this.#files.push({ ...made, commit: read.commit, position: read.position })
      return
    }
    // It was made ahead, and a crash may have left a part of its head.
    const isUnused =
      size > fileHeadBytesMax &&
      head.kind !== 'damaged' &&
      isZeros(readFileSync(path), fileHeadBytesMax, size)
    if (!isUnused) throw this.#damaged(`its ${nameOf(index)} makes no sense`)
    // One is enough; another is left where a crash came while a commit of several files was removed.
    if (isAhead) {
      rmSync(path)
      return
    }
    writeZeros(path, 0, fileHeadBytesMax)
    this.#next = Promise.resolve(made)
  }

  /**
   * Reads all of it once.
   *
   * @returns where the next commit is to begin; undefined where there is no file.
   * @throws StorageError where anything is wrong but that a crash has left the last commit in part.
   */
  #scan(): Place | undefined {
    const [first] = this.#files
    if (first === undefined) return undefined
    let number = first.commit
    /** Where the commit begins whose end has not been seen; undefined between two commits. */
    let begin: Place | undefined
    let file = first
    let hasBegun = false
    const records = this.#records(this.#files)
    let next = records.next()
    for (; next.done !== true; next = records.next()) {
      const { record, place } = next.value
      // The rest of a commit that began in a file that has been let go.
      if (!hasBegun && !record.isFirst && record.commit === lowBits(number - 1)) continue
      hasBegun = true
      if (place.file !== file) {
        file = place.file
        if (file.commit !== (begin === undefined ? number : number + 1)) throw this.#damaged(commitsMissing)
      }
      if (record.commit !== lowBits(number) || record.isFirst !== (begin === undefined)) {
        throw this.#damaged(commitsMissing)
      }
      begin ??= place
      if (!record.isLast) continue
      number++
      begin = undefined
    }
    this.#requireNothingBehind(next.value, lowBits(number))
    this.#last = number - 1
    return begin ?? next.value
  }

  /** The records of some files that follow each other, to the end of the log. @returns where that is. */
  *#records(
    files: readonly LogFile[],
  ): Generator<{ readonly record: WholeRecord; readonly place: Place }, Place, undefined> {
    for (const [index, file] of files.entries()) {
      const content = readFileSync(file.path)
      const head = recordAt(content, 0)
      let at = head.kind === 'whole' ? head.end : 0
      let found = recordAt(content, at)
      while (found.kind === 'whole' && !isMarker(found)) {
        yield { record: found, place: { file, at, content } }
        at = found.end
        found = recordAt(content, at)
      }
      if (at === 0 || found.kind === 'damaged') {
        throw this.#damaged(`its ${nameOf(file.index)} makes no sense from its byte ${at} on`)
      }
      const isContinued = found.kind === 'whole'
      const isFollowed = index + 1 < files.length
      if (!isContinued && !isFollowed) return { file, at, content }
      if (!isContinued) throw this.#damaged(commitsMissing)
      if (isFollowed) continue
      if (this.#next === undefined) throw this.#damaged(`its ${nameOf(file.index + 1)} is missing`)
      return { file, at: file.bytes, content }
    }
    throw new Error('a log without files has no records')
  }

  /**
   * A crash leaves parts of one commit. Where there is a part of another behind them, they have been there whole.
   *
   * @throws StorageError then.
   */
  #requireNothingBehind({ file, at, content }: Place, commit: number): void {
    if (isZeros(content, at, content.length)) return
    for (const place of placesFrom(at, content.length)) {
      const found = recordAt(content, place)
      if (found.kind === 'whole' && found.commit !== commit && !isMarker(found)) {
        throw this.#damaged(`its ${nameOf(file.index)} makes no sense from its byte ${at} on`)
      }
    }
  }

  /**
   * Removes what a crash has left of a commit, from a place on, and goes on there. A crash meanwhile leaves less of the
   * same: a file is there, if only as zeros, as long as a marker leads to it.
   */
  #goOnAt({ file, at }: Place): void {
    const behind = this.#files.splice(this.#files.indexOf(file) + 1)
    for (const made of behind.toReversed()) {
      writeZeros(made.path, 0, made.bytes)
      if (this.#next !== undefined) rmSync(join(this.#path, nameOf(made.index + 1)))
      this.#next = Promise.resolve(made)
    }
    if (behind.length > 0) syncFolder(this.#path)
    writeZeros(file.path, at, file.bytes)
    this.#end = at
  }

  #damaged(how: string): Error {
    return damaged(this.#folder, how)
  }
}

/** Whether a file of a store's folder is of its log. */
export function isLogFile(name: string): boolean {
  return /^log-\d{12}$/.test(name)
}

/** What there may be of a file that is being made. */
export const unfinishedName = 'log-next'

interface MadeFile {
  readonly index: number
  readonly path: string
  readonly bytes: number
  readonly inode: number
}

interface LogFile extends MadeFile {
  /** The first commit that begins in it. */
  readonly commit: number
  /** That of the first update of that commit, or before. */
  readonly position: number
}

interface Place {
  readonly file: LogFile
  readonly at: number
  readonly content: Buffer
}

const commitsMissing = 'commits of its log are missing'
const namePrefix = 'log-'

function nameOf(index: number): string {
  return `${namePrefix}${String(index).padStart(12, '0')}`
}

function isMarker({ text, isFirst, isLast }: WholeRecord): boolean {
  return text.length === 0 && !isFirst && !isLast
}

function markerOf(commit: number): Buffer {
  const marker = Buffer.alloc(markerBytes)
  putRecord(marker, 0, nothing, { commit, isFirst: false, isLast: false })
  return marker
}

/** A file says first which it is and what it holds, in a record of its own. */
interface FileHead {
  readonly format: number
  readonly file: number
  readonly bytes: number
  readonly commit: number
  readonly position: number
}

function fileHead({ index, bytes, commit, position }: LogFile): Buffer {
  const head: FileHead = { format: 1, file: index, bytes, commit, position }
  const text = Buffer.from(JSON.stringify(head))
  const record = Buffer.alloc(recordBytes(text.length))
  putRecord(record, 0, text, { commit, isFirst: false, isLast: false })
  return record
}

function headIn(text: Buffer): FileHead | undefined {
  try {
    const head = JSON.parse(text.toString()) as FileHead
    const { format, file, bytes, commit, position } = head
    const isHead = format === 1 && [file, bytes, commit, position].every(Number.isSafeInteger)
    return isHead ? head : undefined
  } catch {
    return undefined
  }
}

/** The text of a commit, in parts that fit a record each. */
function* partsOf(lines: Iterable<string>): Generator<{ readonly text: Buffer; readonly isLast: boolean }> {
  let before: Buffer | undefined
  let isFirst = true
  for (const line of lines) {
    const text = Buffer.from(isFirst ? line : `\n${line}`)
    isFirst = false
    for (let at = 0; at < text.length; at += partBytesMax) {
      if (before !== undefined) yield { text: before, isLast: false }
      before = text.subarray(at, at + partBytesMax)
    }
  }
  yield { text: before ?? nothing, isLast: true }
}

/** As much of a file as its head can take. */
function beginningOf(path: string): Buffer {
  const beginning = Buffer.alloc(fileHeadBytesMax)
  const descriptor = openSync(path, 'r')
  try {
    return beginning.subarray(0, readSync(descriptor, beginning, 0, fileHeadBytesMax, 0))
  } finally {
    closeSync(descriptor)
  }
}

/** From the end to the start, so that as long as anything is there, its beginning is. */
function writeZeros(path: string, start: number, end: number): void {
  if (isZeros(readFileSync(path), start, end)) return
  const descriptor = openSync(path, 'r+')
  try {
    for (let to = end; to > start; to -= zeros.length) {
      const from = Math.max(start, to - zeros.length)
      // All that is behind it is on the disk before the beginning is.
      if (from === start && to < end) fsyncSync(descriptor)
      writeSync(descriptor, zeros, 0, to - from, from)
    }
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Has the names in a folder on the disk, where the system can. */
function syncFolder(path: string): void {
  if (process.platform === 'win32') return
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/**
 * The length of a file. It is made in some milliseconds, and rarely; and no more than this is kept of what could
 * be let go.
 */
const fileBytesDefault = 4 << 20

/** More than a head can take. */
const fileHeadBytesMax = 512

const isWriteDurable = process.platform === 'linux'
const openFlags = constants.O_RDWR | (isWriteDurable ? constants.O_DSYNC : 0)

const nothing = Buffer.alloc(0)
const zeros = Buffer.alloc(256 << 10)
const writeAt = promisify(write)
const syncData = promisify(fdatasync)
