import { isUtf8 } from 'node:buffer'
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { open, type Database, type RootDatabase } from 'lmdb'
import type { ServerId } from '../replica/version.ts'
import { DataFile, faultOf, kindOfStranger, missingPart, pageBytes } from './data-file.ts'
import { ownOwner, parseFolderOwner, stateOfOwner, type FolderOwner } from './folder-owner.ts'
import { isLogFile, unfinishedName } from './commit-log.ts'
import { afresh, damaged } from './folder-errors.ts'
import { StorageError } from './store.ts'

/** What the databases of a folder hold: bytes under bytes, or in `meta` under names. */
export type Bytes = Buffer

/**
 * A folder that this process has, with its databases open: it is of a format that this release knows, belongs to this
 * server id, and to no other process.
 */
export interface LmdbFolder {
  /** As it was given: what people call it. */
  readonly path: string
  readonly realPath: string
  readonly isFresh: boolean
  readonly root: RootDatabase<Bytes, string>
  /** `folder`: the format and the server id. `owner`: the process that has it. The rest is the store's. */
  readonly meta: Database<Bytes, string>
  /** Text under names. A name that is no text is read as one that nothing has, {@link unreadableName} after its first letter. */
  readonly state: Database<string, string>
  readonly staged: Database<string, string>
  readonly file: DataFile
  /** What its disk has left for this user, in bytes; Infinity where the system does not say. */
  readonly freeBytes: () => number
  /**
   * Lets another process have it. Not `orderly` where something is wrong with it: then nothing more is written. After
   * a write that failed, not at all: the library may have damaged its memory, and would end the process by a signal.
   */
  readonly release: (how: { readonly orderly: boolean }) => Promise<void>
}

/**
 * Opens or makes a folder, for this process and this server id.
 *
 * Only the owner can read what is in it, whatever the umask says: values are nobody else's business.
 *
 * @throws StorageError where it is in use, belongs to another server, is of a newer format, is damaged, holds
 * something else, or cannot be used by this user.
 */
export async function openLmdbFolder(options: {
  readonly folder: string
  readonly server: ServerId
}): Promise<LmdbFolder> {
  const { folder, server } = options
  const path = prepareFolder(folder)
  if (foldersInUse.has(path)) throw inUse(folder, process.pid)
  let root: RootDatabase<Bytes, string> | undefined
  foldersInUse.add(path)
  try {
    await prepareFiles(folder, path)
    root = open<Bytes, string>({ ...environmentOptions, path })
    return takeFolder({ folder, path, server, root })
  } catch (cause) {
    await root?.close()
    foldersInUse.delete(path)
    if (cause instanceof StorageError) throw cause
    const { message, code } = cause as NodeJS.ErrnoException
    // The system names its errors, the library numbers them.
    const advice =
      typeof code === 'string'
        ? 'its disk may be full or broken, or it belongs to another user'
        : `if its disk is sound and not full, it is damaged: ${afresh}`
    throw new StorageError(`${folder} cannot be opened (${message}); ${advice}`, { cause })
  }
}

function prepareFolder(folder: string): string {
  try {
    // Folders above it that are made on the way get the same mode: they are there for this.
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const names = readdirSync(folder)
    const foreign = names.filter((name) => !isOwnFile(name) && !mayLieAbout.test(name))
    if (!names.includes(dataFile) && foreign.length > 0) {
      throw new StorageError(
        `${folder} holds other files, such as ${foreign[0]}; give the server a folder of its own`,
      )
    }
    const path = realpathSync(folder)
    chmodSync(path, 0o700)
    return path
  } catch (cause) {
    if (cause instanceof StorageError) throw cause
    throw new StorageError(
      `${folder} cannot be used as a folder of this user's own (${(cause as Error).message}); give the server another`,
      { cause },
    )
  }
}

/**
 * Makes sure that opening will succeed: where it fails, the library takes the process down with it.
 *
 * Nobody in this process may have the files open: to close them here would end the locks that it has on them.
 */
async function prepareFiles(folder: string, path: string): Promise<void> {
  const logFiles = readdirSync(path).filter(isLogFile)
  for (const name of [...databaseFiles, ...logFiles]) {
    const kind = kindOfStranger(join(path, name))
    if (kind !== undefined) throw damaged(folder, `its ${name} is ${kind}, where a file should be`)
  }
  for (const name of databaseFiles) closeSync(openSync(join(path, name), 'a+', 0o600))
  for (const name of [...databaseFiles, ...logFiles]) chmodSync(join(path, name), 0o600)
  const room = join(path, `.room-${process.pid}`)
  try {
    writeFileSync(room, Buffer.alloc(roomBytes))
  } finally {
    rmSync(room, { force: true })
  }
  // What a process that makes the folder just now, or commits to it, leaves to be seen for a moment is no damage.
  for (let left = looksMax; ; left--) {
    const fault = faultOf(join(path, dataFile)) ?? lostData(path)
    if (fault === undefined) return
    if (left === 0) throw damaged(folder, fault)
    await delay(lookMs)
  }
}

/** Locks and a log are made for data: whoever finds them and no data must not take it for a folder that is new. */
function lostData(path: string): string | undefined {
  if (statSync(join(path, dataFile)).size > 0) return undefined
  const isLost = statSync(join(path, lockFile)).size > 0 || readdirSync(path).some(isLogFile)
  return isLost ? `its ${dataFile} is empty, and there has been data in it` : undefined
}

interface Opening {
  readonly folder: string
  readonly path: string
  readonly server: ServerId
  readonly root: RootDatabase<Bytes, string>
}

function takeFolder(opening: Opening): LmdbFolder {
  const { folder, path, server, root } = opening
  const data = statSync(join(path, dataFile), { bigint: true })
  const self = ownOwner(`${data.dev}:${data.ino}`)

  // The first thing that this process reads: so of the slots for readers one is its own, and none is where another
  // process has the environment open, as it is cleared by whoever opens it alone.
  const stats = root.getStats() as EnvironmentStats
  const isAlone = stats.numReaders <= 1
  checkPages(folder, data.size, [stats.root, stats.free])

  // Another process may be making it just now: then what is not there at the first look is there at the second.
  if (!isKnown(opening) && !isEmpty(root) && !isKnown(opening)) {
    throw new StorageError(`${folder} holds data that is not a server's; give the server a folder of its own`)
  }

  const meta = root.openDB<Bytes, string>('meta', { encoding: 'binary' })
  const state = root.openDB<string, string>('state', textOptions)
  const staged = root.openDB<string, string>('staged', textOptions)
  const trees = [meta, state, staged].map((database) => database.getStats() as PageCounts)
  checkPages(folder, statSync(join(path, dataFile), { bigint: true }).size, [
    stats.root,
    stats.free,
    ...trees,
  ])

  // There is one writer among all processes, so between looking and taking nobody else can take it.
  const isFresh = root.transactionSync(() => {
    // Another process may have been faster.
    const isKnownNow = checkIdentity(opening, meta)
    const owner = ownerIn(folder, meta)
    if (owner !== undefined && hasFolder(owner, self, isAlone)) throw inUse(folder, owner.pid)
    if (!isKnownNow) meta.putSync('folder', bytesOf({ format: formatKnown, server }))
    meta.putSync('owner', bytesOf(self))
    return !isKnownNow
  })

  silenceFailedCommits(root)
  const file = new DataFile(join(path, dataFile))
  return {
    path: folder,
    realPath: path,
    isFresh,
    root,
    meta,
    state,
    staged,
    file,
    freeBytes: () => freeBytesOf(path),
    release: async ({ orderly }) => {
      try {
        // Where it is not removed, the owner is seen to be gone all the same, by its process.
        if (orderly) root.transactionSync(() => meta.removeSync('owner'))
      } finally {
        await root.close()
        file.close()
        foldersInUse.delete(path)
      }
    },
  }
}

function freeBytesOf(path: string): number {
  try {
    const { bavail, bsize } = statfsSync(path)
    return bavail * bsize
  } catch {
    return Infinity
  }
}

/** @returns false where the folder says nothing about what it is. @throws StorageError where it is not for us. */
function checkIdentity(
  { folder, server }: { readonly folder: string; readonly server: ServerId },
  meta: Database<Bytes, string>,
): boolean {
  const bytes = meta.get('folder')
  if (bytes === undefined) return false
  const { format, server: owner } = (parsed(folder, bytes) ?? {}) as { readonly [name: string]: unknown }
  // First: of a newer format, nothing else is known.
  if (typeof format === 'number' && format > formatKnown) {
    throw new StorageError(
      `${folder} has format ${format}, and this release knows formats up to ${formatKnown}; ` +
        'start the release that wrote it, or a newer one',
    )
  }
  if (format === 1 || format === 2) {
    throw new StorageError(
      `${folder} has format ${format}, which only trial versions wrote; ` +
        'move it away and start with none, and the other servers send what they have',
    )
  }
  if (format !== formatKnown || typeof owner !== 'string') {
    throw damaged(folder, 'it does not say whose it is')
  }
  if (owner !== server) {
    throw new StorageError(
      `${folder} belongs to server "${owner}", and this is server "${server}"; ` +
        `start it with --id ${owner}, or give it a folder of its own`,
    )
  }
  return true
}

function isOwnFile(name: string): boolean {
  return databaseFiles.includes(name) || isLogFile(name) || name === unfinishedName
}

/** Whether it says, as of now, what it is. @throws StorageError where it is not for us. */
function isKnown(opening: Opening): boolean {
  opening.root.resetReadTxn()
  const meta = opening.root.openDB<Bytes, string>('meta', { encoding: 'binary', create: false } as object)
  return meta !== undefined && checkIdentity(opening, meta)
}

/** A process that ended while it made the folder may have left our databases, empty. Anything else is not ours. */
function isEmpty(root: RootDatabase<Bytes, string>): boolean {
  for (const name of root.getKeys()) {
    const isOurs = typeof name === 'string' && databases.has(name)
    const database = isOurs ? root.openDB<Bytes, string>(name, { encoding: 'binary' }) : undefined
    if (database === undefined || (database.getStats() as PageCounts).entryCount > 0) return false
  }
  return true
}

/**
 * A file that has been cut off, as by a copy that was broken off: whoever reads a page of a mapped file that is not
 * there dies by a signal, so it has to be seen before.
 */
function checkPages(folder: string, fileBytes: bigint, trees: readonly PageCounts[]): void {
  let pages = 2
  for (const tree of trees) {
    pages += tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages
  }
  if (fileBytes < BigInt(pages) * BigInt(pageBytes)) {
    throw damaged(folder, missingPart)
  }
}

function hasFolder(owner: FolderOwner, self: FolderOwner, isAlone: boolean): boolean {
  // This process, and it is not among those that it has open: it could not give it back after a failure.
  if (owner.pid === self.pid && owner.realm === self.realm) return false
  const state = stateOfOwner(owner, self.file)
  return state === 'alive' || (state === 'unknown' && !isAlone)
}

function ownerIn(folder: string, meta: Database<Bytes, string>): FolderOwner | undefined {
  const bytes = meta.get('owner')
  return bytes === undefined ? undefined : parseFolderOwner(parsed(folder, bytes))
}

function inUse(folder: string, pid: number): StorageError {
  return new StorageError(
    `${folder} is in use by process ${pid}; stop that first, or give this server a folder of its own`,
  )
}

/** @throws StorageError where it is not JSON. */
export function parsed(folder: string, bytes: Bytes): unknown {
  // Decoding would put another character in the place of what is none.
  if (!isUtf8(bytes)) throw damaged(folder, 'a record in it cannot be read')
  return parsedText(folder, bytes.toString())
}

/** @throws StorageError where it is not JSON. */
export function parsedText(folder: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw damaged(folder, 'a record in it cannot be read', cause)
  }
}

/**
 * What a record of a database holds.
 *
 * @throws StorageError where that or its name is no text.
 */
export function textIn(
  folder: LmdbFolder,
  database: Database<string, string>,
  { key, value }: { readonly key: string; readonly value: string },
): string {
  if (key.endsWith(unreadableName)) throw damaged(folder.path, 'a record in it has no name that could be')
  // Either it is there, or it stands in the place of what is none.
  if (value.includes(replacementCharacter) && !isUtf8(database.getBinary(key) ?? nothing)) {
    throw damaged(folder.path, 'a record in it cannot be read')
  }
  return value
}

/** Names as they are in UTF-8. The library's own strings are something else. */
const keyEncoder = {
  writeKey(name: string | Uint8Array, target: Buffer, start: number): number {
    // The library has a first name of its own, where a range has no start.
    if (typeof name !== 'string') {
      target.set(name, start)
      return start + name.length
    }
    // There is room for the longest name that may be; what has none must not be cut off.
    const mayFit = start + utf8BytesMax * name.length <= target.length
    if (!mayFit && start + Buffer.byteLength(name) > target.length) throw new RangeError('a name has no room')
    return start + target.write(name, start)
  },
  readKey(source: Buffer, start: number, end: number): string {
    const name = source.toString('utf8', start, end)
    const isText = !name.includes(replacementCharacter) || isUtf8(source.subarray(start, end))
    return isText ? name : name.slice(0, 1) + unreadableName
  },
}

/** Its types do not know that one may bring the encoding of names. */
const textOptions = { encoding: 'string', keyEncoder } as object

/** No text has it: it is half a character. */
const unreadableName = '\ud800'
const replacementCharacter = '\ufffd'

/** Of a UTF-16 unit. */
const utf8BytesMax = 3

const nothing = Buffer.alloc(0)

export function bytesOf(value: unknown): Bytes {
  return Buffer.from(JSON.stringify(value))
}

/**
 * The library writes the error of a failed transaction to the console, with its stack, besides handing it over. It
 * calls its listeners just before, without the number of a transaction; what it does until its turn ends is quiet.
 */
function silenceFailedCommits(root: RootDatabase<Bytes, string>): void {
  root.on('aftercommit', ({ txnId }: { readonly txnId?: number }) => {
    if (txnId !== undefined) return
    const { error } = console
    console.error = () => undefined
    queueMicrotask(() => {
      console.error = error
    })
  })
}

/** What this release writes. A change that an older release would misread raises it. */
const formatKnown = 3

const dataFile = 'data.mdb'
const lockFile = 'lock.mdb'
const databaseFiles: readonly string[] = [dataFile, lockFile]
const databases: ReadonlySet<string> = new Set(['meta', 'state', 'staged'])

/** What systems put into the root of a disk, or a folder, by themselves. */
const mayLieAbout = /^(\.|lost\+found$)/

/** Resolved paths of the folders that this process has. */
const foldersInUse = new Set<string>()

/** How often, and after how long, what seems damaged is looked at again. */
const looksMax = 20
const lookMs = 25

/** What must be left on a disk for a folder to be opened; a few pages are written on the way. */
const roomBytes = 256 << 10

const environmentOptions = {
  encoding: 'binary',
  maxDbs: 8,
  // A commit is on the disk when its promise resolves.
  overlappingSync: false,
  // What is written in one turn does not have to become one transaction: the store groups by itself.
  eventTurnBatching: false,
  // Otherwise a folder with a dot in its name is taken for a file.
  noSubdir: false,
  pageSize: pageBytes,
} as const

interface PageCounts {
  readonly entryCount: number
  readonly treeBranchPageCount: number
  readonly treeLeafPageCount: number
  readonly overflowPages: number
}

interface EnvironmentStats extends PageCounts {
  readonly numReaders: number
  readonly root: PageCounts
  readonly free: PageCounts
}
