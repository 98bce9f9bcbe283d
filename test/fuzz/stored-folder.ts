import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Database } from 'lmdb'
import { checkClientRequest, isReplicaCall } from '../../src/protocol/client-messages.ts'
import type { Recovered } from '../../src/replica/recovered.ts'
import { openLmdbFolder, type LmdbFolder } from '../../src/storage/lmdb-folder.ts'
import { LmdbStore } from '../../src/storage/lmdb-store.ts'
import { peers, ReplicaUnderFuzz } from './replica-under-fuzz.ts'
import { storedState } from './stored-state.ts'

/** One record of one of the databases of a folder. */
export interface StoredRecord {
  readonly database: Database<Buffer, Buffer | number | string>
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

  private constructor(parent: string, folder: LmdbFolder) {
    this.#parent = parent
    this.#folder = folder
    this.records = recordsOf(folder)
  }

  /** Makes one, which {@link remove} removes. */
  static async make(): Promise<StoredFolder> {
    const parent = await mkdtemp(join(existsSync(memoryDisk) ? memoryDisk : tmpdir(), 'tidings-records-'))
    const folder = await openLmdbFolder({ folder: join(parent, 'data'), server: '1' })
    const store = new LmdbStore(folder)
    for (const batch of storedState()) await store.commit(batch)
    return new StoredFolder(parent, folder)
  }

  /** The record of a name, as people read it: `kx`, `progress`, or the position of a part of the log. */
  record(name: string | number): StoredRecord {
    const found = this.records.find(({ key }) => (Buffer.isBuffer(key) ? key.toString() : key) === name)
    if (found === undefined) throw new Error(`there is no record ${name}`)
    return found
  }

  /** As they are now. */
  recordsNow(): readonly StoredRecord[] {
    return recordsOf(this.#folder)
  }

  replace(before: readonly StoredRecord[], after: readonly StoredRecord[]): void {
    this.#folder.root.transactionSync(() => {
      for (const { database, key } of before) database.removeSync(key)
      for (const { database, key, value } of after) database.putSync(key, value)
    })
  }

  /**
   * Starts a server's replica from what is there now, has it serve clients and a peer, and looks at its invariants.
   *
   * @throws StorageError where the folder is refused; another Error where something is wrong that the folder got past.
   */
  start(): void {
    const store = new LmdbStore(this.#folder)
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

function recordsOf({ meta, log, state }: LmdbFolder): readonly StoredRecord[] {
  const records: StoredRecord[] = []
  for (const database of [meta, log, state] as unknown as StoredRecord['database'][]) {
    for (const { key, value } of database.getRange()) {
      if (key !== 'folder' && key !== 'owner') records.push({ database, key, value: Buffer.from(value) })
    }
  }
  return records
}

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
