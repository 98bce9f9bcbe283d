import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Database } from 'lmdb'
import { checkClientRequest, isReplicaCall } from '../../src/protocol/client-messages.ts'
import type { Recovered } from '../../src/replica/recovered.ts'
import { openLmdbFolder, type LmdbFolder } from '../../src/storage/lmdb-folder.ts'
import { CommitLog } from '../../src/storage/commit-log.ts'
import { FolderStore, openFolderStore } from '../../src/storage/folder-store.ts'
import { putRecord, recordAt, type WholeRecord } from '../../src/storage/log-record.ts'
import { isUpdateLine } from '../../src/storage/stored-batch.ts'
import { peers, ReplicaUnderFuzz } from './replica-under-fuzz.ts'
import { storedState } from './stored-state.ts'

/** One record of the tables of a folder, or of its log. */
export interface StoredRecord {
  /** Absent of a part of the log. */
  readonly database?: Database<Buffer, Buffer | number | string>
  /** Of a part of the log, which it is; its `key` is the position of its first update. */
  readonly part?: number
  readonly key: Buffer | number | string
  readonly value: Buffer
}

/**
 * The folder of a server of some history, in which records can be put that no store has written.
 *
 * It is opened once; a server starts from it as often as one likes, and writes nothing.
 */
export class StoredFolder {
  /** As the store has written them, but for those that say whose folder it is. */
  readonly records: readonly StoredRecord[]
  readonly #parent: string
  readonly #folder: LmdbFolder
  /** The lines of each commit, and in the place of a part of the log its number. */
  readonly #commits: readonly (readonly (string | number)[])[]
  readonly #parts = new Map<number, StoredRecord>()

  private constructor(parent: string, folder: LmdbFolder) {
    this.#parent = parent
    this.#folder = folder
    let part = 0
    this.#commits = linesIn(folder).map((lines) =>
      lines.map((line) => {
        if (!isUpdateLine(line)) return line
        this.#parts.set(part, recordOfPart(line, part))
        return part++
      }),
    )
    this.records = [...recordsOf(folder), ...this.#parts.values()]
  }

  /** Makes one, which {@link remove} removes. */
  static async make(): Promise<StoredFolder> {
    const parent = await mkdtemp(join(existsSync(memoryDisk) ? memoryDisk : tmpdir(), 'tidings-records-'))
    const options = { folder: join(parent, 'data'), server: '1' }
    const store = await openFolderStore({ ...options, logFileBytes: 64 << 10 })
    for (const batch of storedState()) await store.commit(batch)
    await store.close()
    return new StoredFolder(parent, await openLmdbFolder(options))
  }

  /** The record of a name, as people read it: `kx`, `progress`, or the position of a part of the log. */
  record(name: string | number): StoredRecord {
    const found = this.records.find(({ key }) => (Buffer.isBuffer(key) ? key.toString() : key) === name)
    if (found === undefined) throw new Error(`there is no record ${name}`)
    return found
  }

  /** As they are now. */
  recordsNow(): readonly StoredRecord[] {
    const lines = linesIn(this.#folder).flat().filter(isUpdateLine)
    return [...recordsOf(this.#folder), ...lines.map(recordOfPart)]
  }

  replace(before: readonly StoredRecord[], after: readonly StoredRecord[]): void {
    this.#folder.root.transactionSync(() => {
      for (const { database, key } of before) database?.removeSync(key)
      for (const { database, key, value } of after) database?.putSync(key, value)
    })
    const parts = after.filter(({ part }) => part !== undefined)
    for (const record of parts) this.#parts.set(record.part as number, record)
    if (parts.length > 0) this.#writeLog()
  }

  #writeLog(): void {
    const path = join(this.#folder.realPath, 'log-000000000001')
    const file = Buffer.alloc(statSync(path).size)
    const sound = readFileSync(path)
    let at = (recordAt(sound, 0) as WholeRecord).end
    sound.copy(file, 0, 0, at)
    for (const [index, lines] of this.#commits.entries()) {
      const bytes = lines.map((line) =>
        typeof line === 'string' ? Buffer.from(line) : lineOf(this.#parts.get(line)),
      )
      const text = Buffer.concat(bytes.flatMap((line, number) => (number === 0 ? [line] : [lineFeed, line])))
      at = putRecord(file, at, text, { commit: index + 1, isFirst: true, isLast: true })
    }
    writeFileSync(path, file)
  }

  /**
   * Starts a server's replica from what is there now, has it serve clients and a peer, and looks at its invariants.
   *
   * @throws StorageError where the folder is refused; another Error where something is wrong that the folder got past.
   */
  start(): void {
    const store = new FolderStore(this.#folder)
    const recovered = inMemory(store.recover())
    const server = new ReplicaUnderFuzz({ recovered })
    server.checkWhole()
    for (const [method, params] of requests) {
      const call = checkClientRequest(method, params)
      if (isReplicaCall(call)) server.request(call, 1)
    }
    const [peer = ''] = peers
    server.message(peer, { kind: 'pull', pull: 1, applied: new Map(), except: [] })
    server.message(peer, { kind: 'pull', pull: 2, applied: recovered.applied, except: [] })
    server.pass(1_000)
    server.checkWhole()
  }

  async remove(): Promise<void> {
    await this.#folder.release({ orderly: true })
    await rm(this.#parent, { recursive: true, force: true })
  }
}

/** Read to its end before anything else happens, as the port demands. */
function inMemory({ keys, rows, sessions, log, ...rest }: Recovered): Recovered {
  return { ...rest, keys: [...keys], rows: [...rows], sessions: [...sessions], log: [...log] }
}

function recordsOf({ meta, state }: LmdbFolder): readonly StoredRecord[] {
  const records: StoredRecord[] = []
  for (const database of [meta, state] as unknown as NonNullable<StoredRecord['database']>[]) {
    for (const key of database.getKeys()) {
      if (notOfTheState.has(key)) continue
      // As it is, though it may be no text.
      records.push({ database, key, value: Buffer.from(database.getBinary(key) ?? '') })
    }
  }
  return records
}

/** Records that say whose folder it is. */
const notOfTheState: ReadonlySet<unknown> = new Set(['folder', 'owner', 'log'])

/** The lines of each commit that is in the log. */
function linesIn({ path, realPath }: LmdbFolder): readonly (readonly string[])[] {
  return Array.from(new CommitLog({ folder: path, path: realPath }).commits(), ({ lines }) => lines)
}

/** A part of the log as it is in the log: `[0,…]`; as a record, its position is its key. */
function recordOfPart(line: string, part: number): StoredRecord {
  const [, position = '', rest = ''] = /^\[(-?\d+),?(.*)$/.exec(line) ?? []
  return { part, key: Number(position), value: Buffer.from(`[${rest}`) }
}

function lineOf(record: StoredRecord | undefined): Buffer {
  if (record === undefined) throw new Error('there is no such part')
  const { key, value } = record
  const isList = value.subarray(0, 1).toString() === '['
  const rest = isList ? value.subarray(1) : Buffer.concat([value, Buffer.from(']')])
  return Buffer.concat([Buffer.from(`[${String(key)}${rest.toString() === ']' ? '' : ','}`), rest])
}

const lineFeed = Buffer.from('\n')

/** What is tried is how records are read, so no disk has to be waited for where there is one in memory. */
const memoryDisk = '/dev/shm'

const requests: readonly (readonly [string, object])[] = [
  ['status', {}],
  ['read', { keys: ['x', 'y', 'user:1'] }],
  ['conflicts', {}],
  ['keys', {}],
  ['watch', { since: 'start' }],
  ['write', { key: 'x', value: 1 }],
  ['why', { key: 'x' }],
]
