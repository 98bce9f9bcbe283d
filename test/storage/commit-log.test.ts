import {
  appendFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CommitLog, isLogFile } from '../../src/storage/commit-log.ts'
import { StorageError } from '../../src/storage/store.ts'
import { SpoiltLog } from '../fuzz/log-fuzz.ts'

const firstFile = 'log-000000000001'
const secondFile = 'log-000000000002'
const thirdFile = 'log-000000000003'

/** What is tried is what is read and written, so no disk has to be waited for where there is one in memory. */
const memoryDisk = '/dev/shm'

describe('the commit log', () => {
  let path: string

  beforeEach(async () => {
    path = await mkdtemp(join(existsSync(memoryDisk) ? memoryDisk : tmpdir(), 'tidings-log-'))
  })

  afterEach(async () => {
    await rm(path, { recursive: true, force: true })
  })

  /** All that is there, opened as after a crash. */
  async function content(): Promise<readonly string[]> {
    const log = new CommitLog({ folder: 'data', path })
    const commits = [...log.commits()]
    expect(commits.map(({ number }) => number)).toEqual(commits.map((_, index) => log.first + index))
    expect(log.last).toBe(log.first + commits.length - 1)
    await log.close()
    return commits.map(({ lines }) => lines.join('\n'))
  }

  async function write(...commits: readonly string[]): Promise<void> {
    const log = new CommitLog({ folder: 'data', path })
    for (const text of commits) await log.append(text.split('\n'), { start: 0, end: 0 })
    await log.close()
  }

  function refusal(): string {
    try {
      void new CommitLog({ folder: 'data', path }).close()
    } catch (error) {
      expect(error).toBeInstanceOf(StorageError)
      return (error as StorageError).message
    }
    return ''
  }

  const logFiles = (): readonly string[] => readdirSync(path).filter(isLogFile)

  it('is empty, and no file, before the first commit', async () => {
    expect(await content()).toEqual([])
    expect(readdirSync(path)).toEqual([])
  })

  it('R6: has what was appended, in order, whoever opens it, and goes on from there', async () => {
    await write('one', 'two\nwith lines', '')
    expect(await content()).toEqual(['one', 'two\nwith lines', ''])
    await write('four ☃')
    expect(await content()).toEqual(['one', 'two\nwith lines', '', 'four ☃'])
  })

  it('goes on in the next file when one is full, with commits longer than a file, too', async () => {
    const texts = [1, 700_000, 3_000_000, 9_000_000, 5, 2_100_000].map(
      (length, index) => `${index} ${'snow ☃'.repeat(length / 6)}`,
    )
    await write(...texts)
    expect(logFiles().length).toBeGreaterThan(5)
    expect(await content()).toEqual(texts)
    await write('more')
    expect((await content()).at(-1)).toBe('more')
  })

  it('lets go of whole files whose commits and updates are not needed, and of no other', async () => {
    const log = new CommitLog({ folder: 'data', path })
    const text = 'x'.repeat(1_000_000)
    for (let position = 0; position < 20; position++) {
      await log.append([`${position} ${text}`], { start: position, end: position + 1 })
    }
    log.letGo(20, 0)
    log.letGo(0, 20)
    expect(log.first).toBe(1)
    log.letGo(9, 20)
    expect(log.first).toBeGreaterThan(4)
    expect(log.first).toBeLessThanOrEqual(10)
    log.letGo(20, 12)
    const { first } = log
    expect(first).toBeLessThanOrEqual(13)
    await log.close()
    const kept = await content()
    expect(kept.map((line) => line.split(' ')[0])).toEqual(
      Array.from({ length: 21 - first }, (_, index) => String(first - 1 + index)),
    )
  })

  it('begins in a file with the rest of a commit whose beginning has been let go', async () => {
    const log = new CommitLog({ folder: 'data', path })
    for (let position = 0; position < 4; position++) {
      await log.append(['x'.repeat(3_000_000)], { start: position, end: position + 1 })
    }
    log.letGo(4, 4)
    await log.close()
    const again = new CommitLog({ folder: 'data', path })
    expect(again.first).toBeGreaterThan(1)
    expect([...again.commits()].length).toBe(5 - again.first)
    expect([...again.commits(3)].map(({ number }) => number)).toEqual([4])
    await again.close()
  })

  it('removes what a crash has left of a commit that went through several files', async () => {
    await write('one', 'x'.repeat(3_500_000), 'y'.repeat(9_000_000))
    const files = logFiles()
    const last = join(path, files.at(-1) ?? '')
    // The end of the last commit, and what was made ahead.
    const bytes = readFileSync(last)
    const isAhead = bytes.every((byte) => byte === 0)
    const cut = join(path, files.at(isAhead ? -2 : -1) ?? '')
    writeFileSync(cut, readFileSync(cut).fill(0, 300_000))
    expect(await content()).toEqual(['one', 'x'.repeat(3_500_000)])
    await write('three')
    expect(await content()).toEqual(['one', 'x'.repeat(3_500_000), 'three'])
  })

  it('removes that as well where a crash has come while it was removed', async () => {
    await write('one', 'x'.repeat(3_500_000), 'y'.repeat(9_000_000))
    const sound = `${path} sound`
    cpSync(path, sound, { recursive: true })
    const [first = '', second = '', third = '', fourth = '', ...others] = logFiles()
    const kept = ['one', 'x'.repeat(3_500_000)]
    const zeroed = (name: string, from: number, to?: number) => (): void =>
      writeFileSync(join(path, name), readFileSync(join(path, name)).fill(0, from, to))
    // The end of the last commit is missing; then what is done about it, in its order, and broken off anywhere.
    const steps: readonly (() => void)[] = [
      zeroed(fourth, 300_000),
      zeroed(fourth, 0),
      () => others.forEach((name) => rmSync(join(path, name), { force: true })),
      zeroed(third, 2_000_000),
      zeroed(third, 0),
      () => rmSync(join(path, fourth)),
      zeroed(second, 1_000),
      zeroed(second, 0),
      () => rmSync(join(path, third)),
      zeroed(first, 4_000_000),
      zeroed(first, 3_600_000),
    ]
    for (const [index] of steps.entries()) {
      for (const step of steps.slice(0, index + 1)) step()
      expect(await content(), `after step ${index}`).toEqual(kept)
      await write('again')
      expect(await content(), `after step ${index}`).toEqual([...kept, 'again'])
      rmSync(path, { recursive: true })
      cpSync(sound, path, { recursive: true })
    }
    await rm(sound, { recursive: true })
  })

  it('refuses a file that is missing, cut off, of another place or no log', async () => {
    await write(...['a', 'b', 'c', 'd'].map((name) => name.repeat(3_000_000)))
    const sound = join(path, '..', `${path.split('/').at(-1)} sound`)
    cpSync(path, sound, { recursive: true })
    const spoilt: readonly (readonly [string, () => void])[] = [
      [`its ${secondFile} is missing`, () => rmSync(join(path, secondFile))],
      [`a part of its ${firstFile} is missing`, () => truncateSync(join(path, firstFile), 1_000_000)],
      [`its ${firstFile} makes no sense`, () => truncateSync(join(path, firstFile), 0)],
      [`a part of its ${secondFile} is missing`, () => appendFileSync(join(path, secondFile), 'more')],
      [`its ${secondFile} makes no sense`, () => cpSync(join(path, thirdFile), join(path, secondFile))],
      [`its ${firstFile} makes no sense`, () => writeFileSync(join(path, firstFile), 'dear diary')],
      [
        `its ${firstFile} makes no sense from its byte`,
        () =>
          writeFileSync(join(path, firstFile), readFileSync(join(path, firstFile)).fill(0x5a, 4_000, 4_600)),
      ],
    ]
    for (const [what, spoil] of spoilt) {
      spoil()
      expect(refusal()).toContain(`data is damaged: ${what}`)
      rmSync(path, { recursive: true })
      cpSync(sound, path, { recursive: true })
    }
    for (const name of logFiles().slice(1)) rmSync(join(path, name))
    expect(refusal()).toContain(`data is damaged: its ${secondFile} is missing`)
    await rm(sound, { recursive: true })
  })

  describe('R6: a tail of 64 KiB', () => {
    let log: SpoiltLog

    beforeEach(async () => {
      log = await SpoiltLog.make()
      expect(log.length).toBeGreaterThan(64 << 10)
    })

    afterEach(async () => {
      await log.remove()
    })

    it('of which a crash has written any part loses nothing before that part', async () => {
      expect(await log.cut(13)).toBeGreaterThan(5_000)
    })

    it('of which any sectors of the last commit are not written loses that commit and nothing else', async () => {
      const { start, end } = log.lastRecord
      const sectors: number[] = []
      for (let at = start; at < end; at += 512 - (at % 512)) sectors.push(at)
      expect(sectors.length).toBeGreaterThan(3)
      for (let lost = 1; lost < 2 ** Math.min(6, sectors.length); lost++) {
        const bytes = Buffer.from(log.sound)
        for (const [index, at] of sectors.entries()) {
          if ((lost & (1 << index)) !== 0) bytes.fill(0, at, Math.min(end, at + 512 - (at % 512)))
        }
        expect(await log.open(bytes), `sectors ${lost.toString(2)}`).toEqual(log.texts.slice(0, -1))
      }
    })

    it('has no bit that turns over without being seen, or changing nothing', async () => {
      const { noticed, harmless } = await log.flip(10_000, 1)
      expect(noticed).toBeGreaterThan(8_000)
      expect(harmless).toBeGreaterThan(100)
    })
  })
})
