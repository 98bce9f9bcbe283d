import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { encodeError, parseRpcLine } from '../../src/protocol/json-rpc.ts'
import { parseJsonText } from '../../src/protocol/json-text.ts'
import { nameBytesMax } from '../../src/protocol/limits.ts'
import { checkPeerMessage } from '../../src/protocol/peer-messages.ts'
import type { Origin } from '../../src/replica/version.ts'
import { faultOf, pageBytes } from '../../src/storage/data-file.ts'
import { openFolderStore } from '../../src/storage/folder-store.ts'
import { StorageError } from '../../src/storage/store.ts'
import { refusalBy } from '../protocol/refusal.ts'
import { StoredFolder, type StoredRecord } from './stored-folder.ts'
import { storedState } from './stored-state.ts'

/** What fuzzing has found, each with the rule that it broke. */
describe('fuzzing found that', () => {
  it.each([
    ['is too long to be repeated', JSON.stringify('x'.repeat(nameBytesMax + 1))],
    ['takes more bytes than a name may', JSON.stringify('ü'.repeat(nameBytesMax / 2 + 1))],
    ['has half a surrogate pair', String.raw`"\ud800"`],
    ['is a number that was lost when it was parsed', '9007199254740993'],
  ])('a line whose value cannot be kept was answered under an id that %s; now under null', (_why, id) => {
    const line = `{"jsonrpc":"2.0","id":${id},"method":"write","params":{"key":"x","value":1e999}}`
    const error = refusalBy(() => parseRpcLine(line))
    expect(error.code).toBe(-32602)
    expect(JSON.parse(encodeError(error))).toMatchObject({ id: null })
  })

  it('the bound of an id was counted in UTF-16 units, and not in bytes as it is documented', () => {
    const line = (id: string): string => JSON.stringify({ jsonrpc: '2.0', id, method: 'status' })
    const longest = 'ü'.repeat(nameBytesMax / 2)
    expect(parseRpcLine(line(longest))).toMatchObject({ message: { kind: 'request', id: longest } })
    expect(parseRpcLine(line(`${longest}x`))).toMatchObject({ message: { kind: 'invalid', id: null } })
  })

  it.each([
    ['an unknown method between servers', () => checkPeerMessage('\ude00', {})],
    ['the middle of a pair, cut off', () => checkPeerMessage(`${'x'.repeat(39)}😀`, {})],
    ['what JSON.parse quotes', () => parseRpcLine(`x${'😀'.repeat(20)}`)],
  ])('an error that quotes %s was no Unicode; now it is', (_what, refused) => {
    const line = encodeError(refusalBy(refused))
    expect(() => parseJsonText(line.trimEnd())).not.toThrow()
  })
})

/** A record as it is, with something else in its place; a name that is undefined is left out. */
type Garbling = readonly [why: string, record: string | number, garble: (value: never) => unknown]

describe('a garbled record was taken for sound, and is refused now:', () => {
  let folder: StoredFolder

  beforeAll(async () => {
    folder = await StoredFolder.make()
  })
  afterAll(async () => {
    await folder.remove()
  })

  function refusal(before: StoredRecord, after: StoredRecord): unknown {
    folder.replace([before], [after])
    try {
      folder.start()
      return undefined
    } catch (error) {
      return error
    } finally {
      folder.replace([after], [before])
    }
  }

  it('a sound folder starts', () => {
    expect(() => folder.start()).not.toThrow()
  })

  it.each<Garbling>([
    [
      'a version whose origin is none, which every peer would refuse',
      'ky',
      ([position]: StoredKey) => [position, [3, '=~a', 7]],
    ],
    ['a timestamp of 0', 'ky', ([position]: StoredKey) => [position, [0, '8~a', 7]]],
    ['a position below 0', 'ky', ([, ...siblings]: StoredKey) => [-1, ...siblings]],
    ['a value with half a surrogate pair', 'ky', ([position]: StoredKey) => [position, [3, '8~a', '\ud800']]],
    [
      'siblings out of their order',
      'kx',
      ([position, ...siblings]: StoredKey) => [position, ...siblings.toReversed()],
    ],
    ['a row with one origin twice', 'r8~a', (row: readonly unknown[]) => [...row, ...row]],
    [
      'an answer to request 0',
      'sbob',
      (record: { readonly answers: readonly object[] }) => ({
        ...record,
        answers: [{ ...record.answers[0], number: 0 }],
      }),
    ],
    [
      'an update that writes a key twice',
      5,
      (log: Log1) => withWrites(log, [...log[0].writes, ...log[0].writes]),
    ],
    ['an update that writes nothing', 5, (log: Log1) => withWrites(log, [])],
    [
      'an update that is not above what it follows',
      5,
      (log: Log1) => [{ ...log[0], previous: log[0].timestamp }],
    ],
    ['an update of nobody', 5, (log: Log1) => [{ ...log[0], origin: '8' }]],
    ['a log that begins after its end', 'progress', (progress: object) => ({ ...progress, trim: 1_000 })],
    ['a checkpoint below 0', 'progress', (progress: object) => ({ ...progress, checkpoint: -1 })],
    ['an address with no port', 'addresses', (known: readonly object[]) => [{ ...known[0], port: 0 }]],
  ])('%s', (_why, name, garble) => {
    const record = folder.record(name)
    const value = Buffer.from(JSON.stringify(garble(JSON.parse(record.value.toString()) as never)))
    expect(refusal(record, { ...record, value })).toBeInstanceOf(StorageError)
  })

  it.each<readonly [string, string | number, (record: StoredRecord) => StoredRecord]>([
    [
      'a value that is no UTF-8',
      'kx',
      (record) => ({ ...record, value: spoilt(record.value, 'lost', [0xff]) }),
    ],
    ['a name that is no UTF-8', 'ky', (record) => ({ ...record, key: Buffer.of(0x6b, 0xff) })],
    ['a key without a name', 'ky', (record) => ({ ...record, key: Buffer.from('k') })],
    [
      'a name of no kind, which nobody would look at',
      'ky',
      (record) => ({ ...record, key: Buffer.from('jy') }),
    ],
    ['a part of the log within the one before it', 5, (record) => ({ ...record, key: 3 })],
    ['a part of the log before all positions', 0, (record) => ({ ...record, key: -5 })],
  ])('%s', (_why, name, garble) => {
    const record = folder.record(name)
    expect(refusal(record, garble(record))).toBeInstanceOf(StorageError)
  })

  it('records that are sound each, and of different states', () => {
    const [first, second] = [folder.record(0), folder.record(5)]
    const before = [first, second, folder.record('progress')]
    const progress = JSON.stringify({
      commit: 4,
      checkpoint: 0,
      trim: 0,
      applied: [],
      logFloor: [],
      isInstalled: false,
    })
    const after = [
      { ...first, value: Buffer.from('[]') },
      { ...second, key: 2 },
      { ...folder.record('progress'), value: Buffer.from(progress) },
    ]
    folder.replace(before, after)
    try {
      expect(() => folder.start()).toThrow(StorageError)
    } finally {
      folder.replace(after, before)
    }
  })
})

/** Where in a page of two that describe a transaction something stands, and what is written there. */
type Spoiling = readonly [why: string, spoil: (page: Buffer, earlier: Buffer) => void]

describe('a garbled beginning of a file killed the process by a signal, and is refused now:', () => {
  let parent: string
  let sound: Buffer

  beforeAll(async () => {
    parent = await mkdtemp(join(tmpdir(), 'tidings-headers-'))
    const store = await openFolderStore({ folder: parent, server: '1' })
    for (const batch of storedState()) await store.commit(batch)
    await store.close()
    sound = await readFile(join(parent, 'data.mdb'))
  })
  afterAll(async () => {
    await rm(parent, { recursive: true, force: true })
  })

  async function faultAfter(spoil: Spoiling[1]): Promise<string | undefined> {
    const bytes = Buffer.from(sound)
    const pages = [bytes.subarray(0, pageBytes), bytes.subarray(pageBytes, 2 * pageBytes)] as const
    const isFirst = pages[0].readBigUInt64LE(152) > pages[1].readBigUInt64LE(152)
    spoil(isFirst ? pages[0] : pages[1], isFirst ? pages[1] : pages[0])
    const path = join(parent, 'garbled')
    await writeFile(path, bytes)
    return faultOf(path)
  }

  it('a sound file has no fault', async () => {
    expect(await faultAfter(() => {})).toBeUndefined()
  })

  it.each<Spoiling>([
    ['a tree of free pages of another kind', (page) => page.writeUInt8(0x50, 53)],
    ['a tree of names in which a name may come twice', (page) => page.writeUInt8(0x04, 100)],
    ['a root that belongs to an earlier transaction', (page, earlier) => earlier.copy(page, 136, 136, 144)],
    [
      'a root of the free pages that belongs to an earlier one',
      (page, earlier) => earlier.copy(page, 88, 88, 96),
    ],
    ['a page that is not where it says', (page) => page.writeUInt8(0x02, 2)],
    ['transactions that do not follow each other', (page) => page.writeBigUInt64LE(1_000_001n, 152)],
    ['one page alone that is two', (page) => page.writeBigUInt64LE(2n, 112)],
    ['entries that the root does not have', (page) => page.writeBigUInt64LE(9n, 128)],
  ])('%s', async (_why, spoil) => {
    expect(await faultAfter(spoil)).toBe('the beginning of data.mdb makes no sense')
  })
})

describe('an error of the library that reads the file', () => {
  it('came out as it was where a long record cannot be found, and is put into words now', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidings-lost-page-'))
    onTestFinished(async () => rm(folder, { recursive: true, force: true }))
    const store = await openFolderStore({ folder, server: '1' })
    const version = { timestamp: 1, origin: '1~a' as Origin }
    const sibling = { version, value: 'x'.repeat(3 * pageBytes) }
    const keys = [{ key: 'long', position: 0, siblings: [sibling] as const }]
    await store.commit({ state: { keys, rows: [], sessions: [] } })
    await store.close()

    const path = join(folder, 'data.mdb')
    const bytes = await readFile(path)
    const pages = Array.from({ length: bytes.length / pageBytes }, (_, number) => number)
    const long = pages.find((number) => bytes.readUInt16LE(number * pageBytes + 18) === 0x04)
    if (long === undefined) throw new Error('there is no record of several pages')
    // Wherever the pages are named, but for where they say themselves which they are.
    for (let at = 2 * pageBytes; at + 8 <= bytes.length; at++) {
      if (at === long * pageBytes || bytes.readBigUInt64LE(at) !== BigInt(long)) continue
      bytes.writeBigUInt64LE(0x2f_ffffn, at)
    }
    await writeFile(path, bytes)
    await expect(openFolderStore({ folder, server: '1' })).rejects.toThrow(StorageError)
  })
})

/** A record of a key: its position, and its siblings. */
type StoredKey = readonly [number, ...unknown[]]

type Log1 = readonly [{ readonly timestamp: number; readonly writes: readonly object[] }]

const withWrites = (log: Log1, writes: readonly object[]): readonly object[] => [{ ...log[0], writes }]

/** Bytes in the place of a text, which is there once. */
function spoilt(value: Buffer, text: string, bytes: readonly number[]): Buffer {
  const at = value.lastIndexOf(text)
  return Buffer.concat([value.subarray(0, at), Buffer.from(bytes), value.subarray(at + text.length)])
}
