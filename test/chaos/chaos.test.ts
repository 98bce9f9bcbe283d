import { readFile, rm } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkHistory } from '../../src/check/check-history.ts'
import type { HistoryLine } from '../../src/check/history-line.ts'
import { removeDataFolders } from '../durability/data-folder.ts'
import { runChaos, type ChaosOptions, type ChaosReport } from './chaos.ts'
import { killServers } from './chaos-server.ts'
import { programFromSources } from '../integration/compiled-program.ts'
import { historyEdits } from './history-edits.ts'
import { verdictOn } from './history-verdict.ts'
import { ProxyNetwork } from './proxy-network.ts'

// More of it: npm run chaos -- --seed 1 --operations 100000
const seed = 7
const servers = ['1', '2', '3']
const operations = 3_000

afterAll(async () => {
  killServers()
  await removeDataFolders()
})

async function run(
  more: Pick<ChaosOptions, 'seed' | 'operations' | 'faults' | 'dropsCuts'>,
): Promise<ChaosReport> {
  return await runChaos({
    ...more,
    seconds: 120,
    servers,
    network: await ProxyNetwork.start(servers),
    roundOperations: 1_000,
    rawSessions: 24,
    program: programFromSources,
  })
}

async function linesOf(path: string): Promise<readonly HistoryLine[]> {
  const text = await readFile(path, 'utf8')
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as HistoryLine)
}

describe('three real servers under kill -9, standstill, broken, mute and slow links, and lost answers', () => {
  let report: ChaosReport
  let lines: readonly HistoryLine[]

  beforeAll(async () => {
    report = await run({
      seed,
      operations,
      faults: ['kill', 'killAlone', 'stop', 'cut', 'hold', 'delay', 'labHold', 'lostAnswer'],
    })
    lines = await linesOf(report.historyPath)
  }, 240_000)

  afterAll(async () => {
    await rm(report.historyPath, { force: true })
  })

  it('lose nothing, do nothing twice, tell watches everything once, and end equal', () => {
    expect(report.violations).toEqual([])
    expect(report.operations).toBe(operations)
    expect(report.faults.size).toBeGreaterThanOrEqual(3)
    expect(report.counts.acknowledged).toBeGreaterThan(operations / 10)
    expect(report.counts.reads).toBeGreaterThan(operations / 10)
    expect(report.pushes).toBeGreaterThan(report.updates)
  })

  it('show no session anything against the order of causes', async () => {
    const { violations, counts } = await verdictOn(report.historyPath)
    expect(violations).toEqual([])
    expect(counts.servers).toBe(3)
    expect(counts.events).toBe(lines.filter(({ op }) => op !== 'final').length)
  })

  for (const { name, patterns, make } of historyEdits) {
    it(`and were it so that ${name}, it would be found out as ${patterns.join(' or ')}`, () => {
      const { ok, violations } = checkHistory(make(lines))
      expect(ok).toBe(false)
      expect(violations.filter(({ pattern }) => patterns.includes(pattern))).not.toEqual([])
    })
  }
})

describe('sessions that forget what they have seen when they go to another server', () => {
  it(
    'are found to miss their own writes, or to see time go backwards (R9)',
    { timeout: 180_000 },
    async () => {
      const report = await run({ seed: 3, operations: 1_000, faults: ['delay'], dropsCuts: true })
      const { ok, violations } = await verdictOn(report.historyPath)
      await rm(report.historyPath, { force: true })
      expect(ok).toBe(false)
      const broken = new Set(violations.flatMap(({ guarantee }) => guarantee ?? []))
      expect([...broken].filter((guarantee) => guarantee !== 'causal snapshot')).not.toEqual([])
      // The servers themselves have done nothing wrong.
      expect(report.violations).toEqual([])
    },
  )
})

describe('servers whose folders are wiped, or replaced by older copies', () => {
  it(
    'lose what nobody else had, are told so, and lose nothing else (R7, R9)',
    { timeout: 180_000 },
    async () => {
      const report = await run({ seed: 4, operations: 1_000, faults: ['wipe', 'restore'] })
      const lines = await linesOf(report.historyPath)
      await rm(report.historyPath, { force: true })
      expect(report.violations).toEqual([])
      expect(checkHistory(lines).violations).toEqual([])
      const lost = new Set(lines.flatMap((line) => (line.op === 'lost' ? [line.version.join('@')] : [])))
      expect([...lost]).not.toEqual([])
      const ends = lines.flatMap((line) => (line.op === 'final' ? [line.version.join('@')] : []))
      expect(ends.filter((version) => lost.has(version))).toEqual([])
    },
  )
})
