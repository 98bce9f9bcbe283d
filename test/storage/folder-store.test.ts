import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import * as fc from 'fast-check'
import { open, type Database } from 'lmdb'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { JsonValue } from '../../src/replica/update.ts'
import type { StateRecords } from '../../src/replica/output.ts'
import { CommitLog, isLogFile } from '../../src/storage/commit-log.ts'
import { ownOwner, type FolderOwner } from '../../src/storage/folder-owner.ts'
import { openLmdbFolder } from '../../src/storage/lmdb-folder.ts'
import { FolderStore, openFolderStore } from '../../src/storage/folder-store.ts'
import { MemoryDisk } from '../../src/storage/memory-store.ts'
import { StorageError, type StoreBatch } from '../../src/storage/store.ts'
import {
  appending,
  contentOf,
  cutOf,
  describeStore,
  east,
  itemOf,
  recordOf,
  recordsOf,
  updateOf,
  west,
  type Medium,
} from './store-conformance.ts'

describeStore('the store in a folder', async () => mediumIn(await mkdtemp(join(tmpdir(), 'tidings-'))))

function mediumIn(parent: string): Medium {
  const folder = join(parent, 'data')
  return {
    open: async (server = '1') => openFolderStore({ folder, server }),
    afterCrash: async () => {
      const copy = await mkdtemp(join(tmpdir(), 'tidings-'))
      await mkdir(join(copy, 'data'))
      await copyAtRest(join(folder, 'data.mdb'), join(copy, 'data', 'data.mdb'))
      for (const name of await readdir(folder)) {
        if (isLogFile(name)) await copyFile(join(folder, name), join(copy, 'data', name))
      }
      return mediumIn(copy)
    },
    remove: async () => rm(parent, { recursive: true, force: true }),
  }
}

describe('a folder', () => {
  let parent: string
  let folder: string

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'tidings-'))
    folder = join(parent, 'data', '1.west')
  })

  afterEach(async () => {
    await rm(parent, { recursive: true, force: true })
  })

  async function openedWith(...batches: readonly StoreBatch[]): Promise<FolderStore> {
    const store = await openFolderStore({ folder, server: '1' })
    for (const batch of batches) await store.commit(batch)
    return store
  }

  /** Writes what a store keeps about its folder. */
  async function rewrite(name: string, value: object | string): Promise<void> {
    const root = open({ path: folder, noSubdir: false, overlappingSync: false })
    const meta = root.openDB<Buffer, string>('meta', { encoding: 'binary' })
    await meta.put(name, Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)))
    await root.close()
  }

  async function rewriteState(name: string, text: string): Promise<void> {
    const root = open({ path: folder, noSubdir: false, overlappingSync: false })
    const state = root.openDB<Buffer, Buffer>('state', { encoding: 'binary', keyEncoding: 'binary' })
    await state.put(Buffer.from(name), Buffer.from(text))
    await root.close()
  }

  /** Adds a commit to the log that no store would. */
  async function addToLog(...lines: readonly string[]): Promise<void> {
    const log = new CommitLog({ folder, path: folder })
    await log.append(lines, { start: 0, end: 0 })
    await log.close()
  }

  /** This process as the owner of the folder. */
  function ownerOf(path: string): FolderOwner {
    const { dev, ino } = statSync(join(path, 'data.mdb'), { bigint: true })
    return ownOwner(`${dev}:${ino}`)
  }

  /** Why it cannot be opened. */
  async function refusal(server = '1'): Promise<string> {
    const outcome = await openFolderStore({ folder, server }).then(
      async (store) => store.close(),
      (error: unknown) => error,
    )
    expect(outcome).toBeInstanceOf(StorageError)
    return (outcome as StorageError).message
  }

  it.skipIf(process.platform === 'win32')(
    "is its owner's alone, with all above it that was made for it, whatever the umask",
    async () => {
      const before = process.umask(0)
      onTestFinished(() => {
        process.umask(before)
      })
      const store = await openedWith(appending(0))
      const files = ['data.mdb', 'lock.mdb', 'log-000000000001']
      const modes = async (): Promise<readonly string[]> => {
        const paths = [join(parent, 'data'), folder, ...files.map((name) => join(folder, name))]
        const stats = await Promise.all(paths.map(async (path) => stat(path)))
        return stats.map(({ mode }) => (mode & 0o777).toString(8))
      }
      expect(await modes()).toEqual(['700', '700', '600', '600', '600'])
      expect(await readdir(folder)).toEqual(files)
      await store.close()
      chmodSync(folder, 0o755)
      for (const name of files) chmodSync(join(folder, name), 0o644)
      await (await openedWith()).close()
      expect(await modes()).toEqual(['700', '700', '600', '600', '600'])
    },
  )

  it('R7: of another server is refused, and both are named', async () => {
    await (await openedWith()).close()
    expect(await refusal('2')).toBe(
      `${folder} belongs to server "1", and this is server "2"; start it with --id 1, or give it a folder of its own`,
    )
    await (await openedWith()).close()
  })

  it('of a newer format is refused, and both formats are named', async () => {
    await (await openedWith()).close()
    await rewrite('folder', { format: 4, server: { id: '1' } })
    expect(await refusal()).toBe(
      `${folder} has format 4, and this release knows formats up to 3; start the release that wrote it, or a newer one`,
    )
    for (const format of [1, 2]) {
      await rewrite('folder', { format, server: '1' })
      const expected = `${folder} has format ${format}, which only trial versions wrote; move it away`
      expect(await refusal()).toContain(expected)
    }
  })

  it('with other files, or the database of another program, is refused and left as it is', async () => {
    mkdirSync(folder, { recursive: true, mode: 0o755 })
    writeFileSync(join(folder, 'letter.txt'), 'dear')
    const mode = statSync(folder).mode
    expect(await refusal()).toBe(
      `${folder} holds other files, such as letter.txt; give the server a folder of its own`,
    )
    expect(statSync(folder).mode).toBe(mode)
    folder = join(parent, 'other')
    const root = open({ path: folder, noSubdir: false })
    await root.put('their', 'data')
    await root.close()
    expect(await refusal()).toBe(
      `${folder} holds data that is not a server's; give the server a folder of its own`,
    )
  })

  it('that is not one, or whose data is no database, is refused', async () => {
    writeFileSync(join(parent, 'file'), '')
    folder = join(parent, 'file')
    expect(await refusal()).toContain("cannot be used as a folder of this user's own (EEXIST")
    for (const bytes of [1, 100, 4096, 100_000]) {
      folder = join(parent, `garbage ${bytes}`)
      mkdirSync(folder)
      writeFileSync(join(folder, 'data.mdb'), Buffer.alloc(bytes, 'garbage'))
      expect(await refusal()).toContain(
        'is damaged: its data.mdb is no database, or not one of its own; restore the folder from a copy',
      )
    }
  })

  it('R6: whose log is gone is refused, also where a crash came before its first commit was acknowledged', async () => {
    await (await openedWith()).close()
    // As far as the process has come when it ends in the midst of its first commit: nothing notes that there is a log.
    await addToLog('[0]')
    await (await openedWith(appending(1))).close()
    for (const name of await readdir(folder)) if (isLogFile(name)) unlinkSync(join(folder, name))
    expect(await refusal()).toContain('is damaged: its log is missing')
  })

  it('R6: that lacks the room to catch up with its log says so, and starts when there is some', async () => {
    const store = await openedWith(appending(0))
    const keys = [recordOf('x', 1)]
    await store.commit({ state: recordsOf({ keys }) })
    await store.close()
    const root = open({ path: folder, noSubdir: false, overlappingSync: false })
    await root.openDB<Buffer, string>('meta', { encoding: 'binary' }).remove('progress')
    await root.close()
    const opened = await openLmdbFolder({ folder, server: '1' })
    expect(() => new FolderStore({ ...opened, freeBytes: () => 0 })).toThrow(
      /cannot be written \(its disk has 0 MiB left.*\): its disk may be full or broken; make room/,
    )
    await opened.release({ orderly: true })
    const again = await openedWith()
    expect([...again.recover().keys]).toEqual(keys)
    await again.close()
  })

  it('whose data has been cut off is refused before anything in it is read', async () => {
    const keys = Array.from({ length: 50 }, (_, index) => recordOf(`k${index}`, index, 'v'.repeat(9_000)))
    await (await openedWith({ state: recordsOf({ keys }) })).close()
    const file = join(folder, 'data.mdb')
    for (const bytes of [400_000, 100_000, 8192]) {
      truncateSync(file, bytes)
      expect(await refusal()).toBe(
        `${folder} is damaged: a part of data.mdb is missing; ` +
          'restore the folder from a copy, or move it away and start with none, and the other servers send what they have',
      )
    }
  })

  it('whose records make no sense is refused', async () => {
    for (const name of ['folder', 'progress', 'addresses']) {
      folder = join(parent, name)
      await (
        await openedWith({
          addresses: [],
          checkpoint: { position: 0, applied: cutOf(), rows: [] },
        })
      ).close()
      await rewrite(name, '{"form')
      expect(await refusal()).toContain(`${folder} is damaged: a record in it cannot be read`)
      await rewrite(name, '{}')
      if (name !== 'addresses') expect(await refusal()).toContain(`${folder} is damaged: it does not say`)
    }
  })

  it('R7: is refused while another process has it, and free as soon as that has been killed', async () => {
    const process = new CommittingProcess({ folder, length: 10 })
    const { opened: pid } = await process.until('opened')
    expect(await refusal()).toBe(
      `${folder} is in use by process ${String(pid)}; stop that first, or give this server a folder of its own`,
    )
    await process.kill()
    await (await openedWith()).close()
  })

  it('R7: is free where the number of its process has been given to another', async () => {
    await (await openedWith(appending(0))).close()
    await rewrite('owner', { ...ownerOf(folder), pid: process.ppid, started: 'long ago' })
    await (await openedWith(appending(1))).close()
  })

  it('R7: whose process cannot be seen from here is free unless something has it open', async () => {
    const elsewhere = { realm: 'another machine', started: null }
    await (await openedWith()).close()
    await rewrite('owner', { ...ownerOf(folder), ...elsewhere })
    await (await openedWith(appending(0))).close()
    const child = new CommittingProcess({ folder, length: 10 })
    await child.until('opened')
    await rewrite('owner', { ...ownerOf(folder), ...elsewhere })
    expect(await refusal()).toContain('is in use by process')
    await child.kill()
    await (await openedWith()).close()
  })

  it('R7: that was copied while a process had it is not in use, and the original still is', async () => {
    const store = await openedWith(appending(0))
    const original = folder
    folder = join(parent, 'copy')
    mkdirSync(folder)
    for (const name of ['data.mdb', 'log-000000000001']) {
      await copyFile(join(original, name), join(folder, name))
    }
    await (await openedWith(appending(1))).close()
    folder = original
    expect(await refusal()).toContain(`in use by process ${process.pid}`)
    await store.close()
  })

  it('R6: has every commit that was acknowledged before its process was killed, and no hole', async () => {
    for (let round = 0, logEnd = 0; round < 3; round++) {
      const process = new CommittingProcess({ folder, length: 100 * round })
      await process.until('acknowledged', logEnd + 300)
      const acknowledged = await process.kill()
      const store = await openedWith()
      const { log } = contentOf(store)
      await store.close()
      expect(log.map(({ position }) => position)).toEqual(log.map((_, index) => index))
      expect(log.map(({ update }) => update.timestamp)).toEqual(log.map((_, index) => index + 1))
      logEnd = log.length
      expect(logEnd).toBeGreaterThan(Math.max(...acknowledged))
    }
  })

  it.skipIf(process.platform === 'win32')(
    'R6: that is full says so once and for all, in words and nowhere else, and has what was acknowledged',
    async () => {
      // Its first file is there: it is what is in that which cannot be written.
      await (await openedWith(appending(0))).close()
      const process = new CommittingProcess({ folder, length: 20_000, fileKibibytesMax: 2_050 })
      const { failed, message, isStorageError } = await process.until('failed')
      await process.until('refused')
      await process.until('closed')
      expect(await process.end()).toEqual({ code: 5, signal: null })
      const acknowledged = await process.kill()
      expect(isStorageError).toBe(true)
      expect(message).toMatch(
        /cannot be written \(.+\): its disk may be full or broken; make room on it or replace it, and start the server again$/,
      )
      expect(process.stderr).toBe('')
      const store = await openedWith()
      const { log } = contentOf(store)
      expect(acknowledged.length).toBeGreaterThan(50)
      expect(log.map(({ position }) => position)).toEqual([0, ...acknowledged])
      expect(Math.max(...acknowledged)).toBeLessThan(failed as number)
      // There is room now.
      await store.commit(appending(log.length))
      await store.close()
    },
  )

  it.skipIf(process.platform === 'win32')(
    'R6: that is full while large values are written ends its process in order, however often, never by a signal',
    async () => {
      for (let round = 0; round < 2; round++) {
        folder = join(parent, `full ${round}`)
        await (await openedWith(appending(0))).close()
        const length = 20_000 + 4_096 * round
        const process = new CommittingProcess({ folder, length, fileKibibytesMax: 2_048 + 4 * round })
        await process.until('failed')
        expect(await process.end()).toEqual({ code: 5, signal: null })
        expect(process.stderr).toBe('')
      }
    },
  )

  it('needs room for what it writes, and not for many times that: 50,000 records of a snapshot fit into 64 MiB', async () => {
    const opened = await openLmdbFolder({ folder, server: '1' })
    const store = new FolderStore({ ...opened, freeBytes: () => 64 << 20 })
    const keys = Array.from({ length: 50_000 }, (_, index) => recordOf(`k${index}`, index, 'v'.repeat(50)))
    await store.commit({ staged: recordsOf({ keys }) })
    await store.commit({ install: { position: 9, applied: cutOf([west, 9]), logFloor: cutOf([west, 9]) } })
    // The next snapshot begins at once: what was installed is moved out of its way first, in many transactions.
    await store.commit({ unstage: true, staged: recordsOf({ keys: [recordOf('k1', 99)] }) })
    const newer = keys.map(({ key, siblings }) => ({ key, position: 7, siblings }))
    await store.commit({ state: recordsOf({ keys: newer }) })
    await store.close()
    const again = await openedWith()
    const positions = new Set(Array.from(again.recover().keys, ({ position }) => position))
    await again.close()
    expect(positions).toEqual(new Set([7]))
  })

  it('R8: moves what was installed while nothing else is to do, and gets out of the way of what is', async () => {
    const opened = await openLmdbFolder({ folder, server: '1' })
    const store = new FolderStore(opened)
    const keys = Array.from({ length: 20_000 }, (_, index) => recordOf(`k${index}`, index))
    await store.commit({ staged: recordsOf({ keys }) })
    await store.commit({ install: { position: 0, applied: cutOf(), logFloor: cutOf() } })
    await until(() => opened.staged.getKeysCount() === 20_000)
    await store.commit(appending(0))
    await until(() => opened.staged.getKeysCount() === 0)
    expect(opened.state.getKeysCount()).toBe(20_000)
    await store.close()
  })

  it.each([
    [
      'name',
      (staged: Tampered) => void staged.put(Buffer.from('6b78ff', 'hex'), Buffer.from('[1,[1,"1~a",1]]')),
    ],
    [
      'value',
      (staged: Tampered) => void staged.put(Buffer.from('kx'), Buffer.from('[1,[1,"1~a","\xff"]]', 'latin1')),
    ],
  ])(
    'R8: refuses what was installed with a %s that is no text, and does not move it',
    async (_what, tamper) => {
      const keys = Array.from({ length: 10 }, (_, index) => recordOf(`k${index}`, index))
      const install = { position: 0, applied: cutOf(), logFloor: cutOf() }
      const store = await openedWith({ staged: recordsOf({ keys }) })
      // Closed at once, so that nothing of it has found its place.
      void store.commit({ install })
      await store.close()
      const root = open({ path: folder, noSubdir: false, overlappingSync: false })
      const binary = { encoding: 'binary', keyEncoding: 'binary' } as const
      const staged = root.openDB<Buffer, Buffer>('staged', binary)
      expect(staged.getKeysCount()).toBeGreaterThan(0)
      await root.batch(() => tamper(staged))
      await root.close()
      // To do this commit is to move what was installed, too.
      await addToLog('{"addresses":[]}')
      expect(await refusal()).toMatch(/is damaged: a record in it (has no name that could be|cannot be read)/)
    },
  )

  it('keeps the event loop free while it puts a large commit into bytes, and keeps the order of commits', async () => {
    const store = await openedWith()
    const keys = Array.from({ length: 30_000 }, (_, index) => recordOf(`k${index}`, index, 'v'.repeat(500)))
    let turns = 0
    let isDone = false
    const count = (): void => {
      turns++
      if (!isDone) setImmediate(count)
    }
    count()
    const large = store.commit({ state: recordsOf({ keys }) })
    const small = store.commit({ state: recordsOf({ keys: [recordOf('k0', 40_000, 'later')] }) })
    keys.length = 0
    await Promise.all([large, small])
    isDone = true
    expect(turns).toBeGreaterThan(5)
    await store.close()
    const again = await openedWith()
    const kept = [...again.recover().keys]
    await again.close()
    expect(kept).toHaveLength(30_000)
    expect(kept.find(({ key }) => key === 'k0')).toEqual(recordOf('k0', 40_000, 'later'))
  })

  it.skipIf(process.platform === 'win32')(
    'R6: that is removed, replaced or cut off under its server acknowledges nothing more, and says what happened',
    async () => {
      const spoilt = {
        'has been removed': (path: string) => rmSync(path, { recursive: true }),
        'has been replaced by another': (path: string) => {
          renameSync(path, `${path} away`)
          cpSync(`${path} away`, path, { recursive: true })
        },
        'has been cut off': (path: string) => {
          for (const name of ['data.mdb', 'log-000000000001']) {
            const file = join(path, name)
            truncateSync(file, statSync(file).size - 4096)
          }
        },
      }
      for (const [what, spoil] of Object.entries(spoilt)) {
        folder = join(parent, what)
        const store = await openedWith(appending(0))
        spoil(folder)
        const failure = await store.commit(appending(1)).catch((error: unknown) => error)
        expect(failure).toBeInstanceOf(StorageError)
        expect((failure as StorageError).message).toContain(
          `the log-000000000001 of ${folder} ${what} while the server was using it`,
        )
        await expect(store.commit(appending(2))).rejects.toBe(failure)
        await store.close()
      }
    },
  )

  it('that takes no commit because another process holds its data fails in bounded time, and says so', async () => {
    const store = await openFolderStore({ folder, server: '1', settleMsMax: 300 })
    await store.commit(appending(0))
    const holder = new HoldingProcess(folder)
    await holder.holds
    // In the log it is durable; what it says of the state gets no further.
    await store.commit({ state: recordsOf({ keys: [recordOf('x', 0)] }) })
    let failure: unknown
    for (let position = 1; failure === undefined; position++) {
      failure = await store.commit(appending(position)).then(
        () => undefined,
        (error: unknown) => error,
      )
    }
    expect((failure as Error).message).toContain(
      `${folder} has not taken a commit in 0.3 s: its disk may be broken or far too slow, or another process holds`,
    )
    await expect(store.commit({ addresses: [] })).rejects.toBe(failure)
    await store.close()
    await holder.kill()
  })

  it('whose data is short by its last pages, or says nonsense at its beginning, is refused', async () => {
    await (await openedWith(...Array.from({ length: 200 }, (_, index) => appending(index)))).close()
    const sound = readFileSync(join(folder, 'data.mdb'))
    const [first, second] = [sound.readBigUInt64LE(152), sound.readBigUInt64LE(4096 + 152)]
    const newest = second > first ? 4096 : 0
    const end = (Number(sound.readBigUInt64LE(newest + 144)) + 1) * 4096
    const refusedWith = async (bytes: Buffer): Promise<string> => {
      writeFileSync(join(folder, 'data.mdb'), bytes)
      return refusal()
    }
    expect(sound.length).toBeGreaterThanOrEqual(end)
    expect(await refusedWith(sound.subarray(0, end - 4096))).toContain('a part of data.mdb is missing')
    for (const [offset, value] of [
      [136, 1n << 40n],
      [136, 1n],
      [88, 0x5a5a5a5a5a5a5a5an],
      [144, 0n],
      [112, 1n << 50n],
    ] as const) {
      const garbled = Buffer.from(sound)
      garbled.writeBigUInt64LE(value, newest + offset)
      expect(await refusedWith(garbled)).toContain('is damaged: the beginning of data.mdb makes no sense')
    }
    writeFileSync(join(folder, 'data.mdb'), sound)
    await (await openedWith(appending(200))).close()
  })

  it('whose data is gone while its locks are there is refused, and not taken for a new one', async () => {
    await (await openedWith(appending(0))).close()
    truncateSync(join(folder, 'data.mdb'), 0)
    expect(await refusal()).toContain('is damaged: its data.mdb is empty, and there has been data in it')
    unlinkSync(join(folder, 'data.mdb'))
    expect(await refusal()).toContain('is damaged: its data.mdb is empty, and there has been data in it')
  })

  it.skipIf(process.platform === 'win32')(
    'in which something else has the name of a file is refused, and not waited for',
    async () => {
      const kinds: readonly (readonly [string, (path: string) => void])[] = [
        ['a folder', (path) => mkdirSync(path)],
        ['a link', (path) => symlinkSync('/dev/null', path)],
        ['no ordinary file', (path) => execFileSync('mkfifo', [path])],
      ]
      for (const name of ['data.mdb', 'lock.mdb']) {
        for (const [kind, make] of kinds) {
          folder = join(parent, `${name} is ${kind}`)
          await (await openedWith(appending(0))).close()
          unlinkSync(join(folder, name))
          make(join(folder, name))
          expect(await refusal()).toContain(`is damaged: its ${name} is ${kind}, where a file should be`)
        }
      }
    },
  )

  it('whose records have another shape than they should is refused where they are read', async () => {
    const wrong: readonly (readonly [string, unknown])[] = [
      ['log', [0, { timestamp: 'one' }]],
      ['log', [0, null]],
      ['log', [null]],
      ['log', [-1, updateOf(2)]],
      ['log', { unheard: true }],
      ['log', { state: null }],
      ['log', 'a text'],
      ['kx', [0]],
      ['kx', [0, [null, west, 1]]],
      ['r1~a', [['1~a', 'one']]],
      ['salice', { letGo: 0, answers: [7] }],
      ['salice', null],
    ]
    for (const [index, [name, value]] of wrong.entries()) {
      folder = join(parent, `wrong ${index}`)
      await (await openedWith(appending(0))).close()
      if (name === 'log') await addToLog(JSON.stringify(value))
      else await rewriteState(name, JSON.stringify(value))
      const outcome = await openFolderStore({ folder, server: '1' })
        .then(async (store) => {
          try {
            contentOf(store)
          } finally {
            await store.close()
          }
        })
        .catch((error: unknown) => error)
      expect(outcome).toBeInstanceOf(StorageError)
      expect((outcome as StorageError).message).toMatch(
        /is damaged: (a record in it makes no sense|a part of its log is at|a record in it cannot be read).*; restore/,
      )
    }
  })

  it('R7: that two processes make at the same moment is had by one, and the other says that it is in use', async () => {
    for (let round = 0; round < 3; round++) {
      folder = join(parent, `new ${round}`)
      const both = [0, 1].map(() => new CommittingProcess({ folder, length: 10 }))
      const outcomes = await Promise.all(
        both.map((process) =>
          process.until('opened').then(
            () => 'opened',
            (error: unknown) => String(error),
          ),
        ),
      )
      const refused = outcomes.filter((outcome) => outcome !== 'opened')
      expect(refused).toHaveLength(1)
      expect(refused[0]).toMatch(/is in use by process \d+/)
      await Promise.all(both.map((process) => process.kill()))
    }
  })

  it('stops growing when the same keys are overwritten and the log is trimmed', async () => {
    const store = await openedWith()
    const sizes: number[] = []
    for (let round = 0; round < 600; round++) {
      const first = round * 20
      const end = first + 20
      const positions = Array.from({ length: 20 }, (_, index) => first + index)
      await store.commit({
        log: positions.map((position) => itemOf(position, updateOf(position + 1, 'v'.repeat(500)))),
        state: recordsOf({
          keys: positions.map((position) =>
            recordOf(`k${position % 200}`, end, 'v'.repeat(position % 3_000)),
          ),
        }),
        checkpoint: { position: end, applied: cutOf([west, end]), rows: [] },
        trim: { position: Math.max(0, end - 500), logFloor: cutOf([west, Math.max(0, end - 500)]) },
      })
      sizes.push(statSync(join(folder, 'data.mdb')).size)
    }
    await store.close()
    // Without an end it would be four times as much: as many records come from round to round.
    expect(Math.max(...sizes)).toBeLessThan(12 << 20)
    // Twelve megabytes of updates have been there, and as much of records.
    expect((await readdir(folder)).filter(isLogFile).length).toBeLessThanOrEqual(3)
  })

  it('does to any batches what the store in memory does, with ends and starts in between', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof({ weight: 6, arbitrary: step }, fc.constant('reopen' as const))),
        async (steps) => {
          const disk = new MemoryDisk()
          const path = await mkdtemp(join(parent, 'run-'))
          let inMemory = disk.open('1')
          let inFolder = await openFolderStore({ folder: path, server: '1' })
          const positions = { logEnd: 0, checkpoint: 0, trim: 0 }
          const under: Promise<void>[] = []
          for (const one of [...steps, 'reopen' as const]) {
            if (one !== 'reopen') {
              const batch = batchOf(one, positions)
              under.push(inMemory.commit(batch), inFolder.commit(batch))
              continue
            }
            await Promise.all(under)
            await Promise.all([inMemory.close(), inFolder.close()])
            inMemory = disk.open('1')
            inFolder = await openFolderStore({ folder: path, server: '1' })
            expect(contentOf(inFolder)).toEqual(contentOf(inMemory))
            expect(inFolder.isFresh).toBe(inMemory.isFresh)
          }
          await Promise.all([inMemory.close(), inFolder.close()])
          await rm(path, { recursive: true })
        },
      ),
      { numRuns: 100 },
    )
  })
})

/** One commit, with its positions as steps from where the store stands. */
type Step = ReturnType<typeof stepsOf> extends fc.Arbitrary<infer Value> ? Value : never

const step = stepsOf()

function stepsOf(): fc.Arbitrary<{
  readonly log: readonly { readonly gap: number; readonly value: unknown }[]
  readonly state: StateRecords | undefined
  readonly checkpoint: number | undefined
  readonly trim: number | undefined
  readonly unstage: boolean
  readonly staged: StateRecords | undefined
  readonly install: number | undefined
  readonly addresses: number | undefined
}> {
  const name = fc.oneof(
    fc.constantFrom('a', 'b', 'c', '__proto__', 'a\u0000'),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
  )
  const cut = fc
    .array(fc.tuple(fc.constantFrom(west, east), fc.integer({ min: 1, max: 99 })))
    .map((entries) => new Map(entries))
  const records = fc.record({
    keys: fc.array(
      fc
        .tuple(name, fc.nat(99), fc.jsonValue())
        .map(([key, at, value]) => recordOf(key, at, value as JsonValue)),
      {
        maxLength: 5,
      },
    ),
    rows: fc.array(fc.record({ origin: fc.constantFrom(west, east), known: cut }), { maxLength: 2 }),
    sessions: fc.array(fc.record({ session: name, letGo: fc.nat(9), answers: fc.constant([]) }), {
      maxLength: 2,
    }),
  })
  const seldom = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
    fc.option(value, { nil: undefined, freq: 1 })
  return fc.record({
    log: fc.array(
      fc.record({
        gap: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat(3)),
        value: fc.jsonValue(),
      }),
      { maxLength: 4 },
    ),
    state: seldom(records),
    checkpoint: seldom(fc.nat(6)),
    trim: seldom(fc.nat(6)),
    unstage: fc.boolean(),
    staged: seldom(records),
    install: seldom(fc.nat(3)),
    addresses: seldom(fc.integer({ min: 1, max: 65_535 })),
  })
}

/** The batch of a step, and `positions` moved on past it. */
function batchOf(one: Step, positions: { logEnd: number; checkpoint: number; trim: number }): StoreBatch {
  const log = one.log.map(({ gap, value }) => {
    const position = positions.logEnd + gap
    positions.logEnd = position + 1
    // A plain copy: the generator's objects have no prototype where one from JSON has.
    return itemOf(position, updateOf(position + 1, JSON.parse(JSON.stringify(value)) as JsonValue))
  })
  const batch: { -readonly [Part in keyof StoreBatch]: StoreBatch[Part] } = { log }
  if (one.state !== undefined) batch.state = plain(one.state)
  if (one.checkpoint !== undefined) {
    positions.checkpoint = Math.max(
      positions.checkpoint,
      Math.min(positions.logEnd, positions.checkpoint + one.checkpoint),
    )
    batch.checkpoint = {
      position: positions.checkpoint,
      applied: cutOf([west, positions.checkpoint + 1]),
      rows: [],
    }
  }
  if (one.trim !== undefined) {
    positions.trim = Math.min(positions.logEnd, positions.trim + one.trim)
    batch.trim = { position: positions.trim, logFloor: cutOf([west, positions.trim + 1]) }
  }
  if (one.unstage) batch.unstage = true
  if (one.staged !== undefined) batch.staged = plain(one.staged)
  if (one.install !== undefined) {
    positions.logEnd += one.install
    positions.checkpoint = positions.logEnd
    batch.install = { position: positions.logEnd, applied: cutOf([east, 5]), logFloor: cutOf([east, 4]) }
  }
  if (one.addresses !== undefined) batch.addresses = [{ host: '::1', port: one.addresses }]
  return batch
}

function plain(records: StateRecords): StateRecords {
  const { keys, sessions } = JSON.parse(JSON.stringify(records)) as StateRecords
  return { keys, rows: records.rows, sessions }
}

type Tampered = Database<Buffer, Buffer>

/** Waits over as many turns of the event loop as it takes. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await nextTurn()
}

/** A process that begins a transaction on a folder's data and never ends it. */
class HoldingProcess {
  /** Once it does. */
  readonly holds: Promise<void>
  readonly #child
  readonly #ended: Promise<void>

  constructor(folder: string) {
    const script = `
      import { writeSync } from 'node:fs'
      import { open } from 'lmdb'
      const root = open({ path: process.argv[1], noSubdir: false, overlappingSync: false })
      root.transactionSync(() => {
        writeSync(1, 'holds')
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
      })`
    this.#child = spawn(process.execPath, ['--input-type=module', '--eval', script, folder])
    this.holds = new Promise((resolve, reject) => {
      this.#child.stdout.once('data', () => resolve())
      this.#child.once('close', () => reject(new Error('it ended before it held anything')))
    })
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', () => resolve())
    })
    onTestFinished(async () => {
      await this.kill()
    })
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }
}

/** What a committing process tells; see `committing-process.ts`. */
type Told = {
  readonly [
    name in 'opened' | 'acknowledged' | 'failed' | 'refused' | 'closed' | 'message' | 'isStorageError'
  ]?: unknown
}

/** A `committing-process.ts` in a process of its own. */
class CommittingProcess {
  stderr = ''
  readonly #child
  readonly #told: Told[] = []
  readonly #ended: Promise<void>
  #look: () => void = () => undefined

  constructor(options: {
    readonly folder: string
    readonly length: number
    readonly fileKibibytesMax?: number
  }) {
    const script = fileURLToPath(new URL('committing-process.ts', import.meta.url))
    const words = [process.execPath, '--import', 'tsx', script, options.folder, String(options.length)]
    this.#child =
      options.fileKibibytesMax === undefined
        ? spawn(process.execPath, words.slice(1))
        : spawn('bash', ['-c', `ulimit -f ${options.fileKibibytesMax}; exec "$@"`, 'bash', ...words])
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#told.push(JSON.parse(line) as Told)
      this.#look()
    })
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        this.#look()
        resolve()
      })
    })
    onTestFinished(async () => {
      await this.kill()
    })
  }

  /** The first, or the nth, thing that it tells about. Fails where the process ends before. */
  async until(name: keyof Told, value?: number): Promise<Told> {
    for (;;) {
      const told = this.#told.find(
        (one) => one[name] !== undefined && (value === undefined || one[name] === value),
      )
      if (told !== undefined) return told
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`it ended without a word on ${name}: ${this.stderr}`)
      await new Promise<void>((resolve) => {
        this.#look = resolve
      })
    }
  }

  /** How it ended, once it has. */
  async end(): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }> {
    await this.#ended
    return { code: this.#child.exitCode, signal: this.#child.signalCode }
  }

  /** Ends it by SIGKILL where it has not ended. @returns the positions that it has acknowledged, in order. */
  async kill(): Promise<readonly number[]> {
    this.#child.kill('SIGKILL')
    await this.#ended
    return this.#told.flatMap(({ acknowledged }) => (typeof acknowledged === 'number' ? [acknowledged] : []))
  }
}

/**
 * Copies a data file of which the store may still be moving parts: what is read while it is written can be a mixture that
 * was never there, so it is read until nothing has changed meanwhile.
 */
async function copyAtRest(from: string, to: string): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++) {
    const bytes = await readFile(from)
    if (!bytes.equals(await readFile(from))) continue
    await writeFile(to, bytes)
    return
  }
  throw new Error(`${from} is never at rest`)
}
