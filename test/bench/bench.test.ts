import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { tableOfTrial } from '../../bench/report.ts'
import { dialects, type Asked } from '../../bench/support/dialects.ts'
import { carryOut, type Subject, type Trial, type TrialOptions } from '../../bench/trial.ts'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

/** The command with these words, on real processes. */
async function bench(...words: readonly string[]): Promise<string> {
  const program = ['node_modules/tsx/dist/cli.mjs', 'bench/command.ts', ...words]
  const { stdout } = await run(process.execPath, program, { cwd: repository })
  return stdout
}

describe('npm run bench', () => {
  it('measures every candidate in turn, and tells how each stands to the echo', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidings-test-'))
    const file = join(folder, 'bench.json')
    const words = ['--rounds', '1', '--seconds', '0.1', '--json', file]
    const told = await bench('--quick', '--only', '1×1', ...words)
    for (const name of ['echo', 'memory', 'async', 'sync'])
      expect(told).toMatch(new RegExp(`^${name} .*\\d`, 'm'))
    const { measured } = JSON.parse(await readFile(file, 'utf8')) as {
      readonly measured: readonly {
        readonly workload: string
        readonly candidate: string
        readonly perSecond: number
      }[]
    }
    await rm(folder, { recursive: true })
    expect(measured.map(({ workload, candidate }) => `${workload}: ${candidate}`)).toEqual(
      ['writes 1×1', 'reads 1×1'].flatMap((workload) =>
        ['echo', 'memory', 'async', 'sync'].map((candidate) => `${workload}: ${candidate}`),
      ),
    )
    for (const { perSecond } of measured) expect(perSecond).toBeGreaterThan(0)
  })

  it('measures what watchers are told', async () => {
    const words = ['--rounds', '1', '--seconds', '0.1']
    const told = await bench('--quick', '--only', 'visibility', ...words)
    for (const name of ['echo', 'memory', 'async', 'sync'])
      expect(told).toMatch(new RegExp(`^${name} .*\\d`, 'm'))
  })

  it('measures, of what is not asked of all, each subject in turn', async () => {
    const told = await bench('--quick', '--only', 'causal buffer', '--only', 'start', '--rounds', '1')
    expect(told).toMatch(/^10,000 updates .*1\.00.*\d/m)
    expect(told).toMatch(/^1,000 updates .*\d/m)
    expect(told).toMatch(/^5,000 keys( +[\d.]+){11}$/m)
    expect(told).toMatch(/^no keys( +[\d.]+){7}$/m)
    // Two measurements in one run, so that the sources are compiled once: twice the bound for the hung.
  }, 120_000)

  it('says what it takes where it is asked for something else', async () => {
    const refusal = await bench('--vs', 'sqlite').catch(
      (error: { readonly code: number; readonly stderr: string }) => error,
    )
    expect(refusal).toMatchObject({ code: 2, stderr: expect.stringContaining('redis, nats, etcd') })
  })
})

describe('a trial', () => {
  /** Whose figure rises by ten with each round, and whose speed is a tenth of it. */
  function counting(name: string, said: string[]): Subject {
    let count = 0
    return {
      name,
      start: async () => {
        said.push(`${name} starts`)
        return {
          measure: async (first) => {
            count += 10
            said.push(`${name} beside ${first?.['ms'] ?? 'nobody'}`)
            return { ms: name === 'b' ? 2 * count : count, speed: count / 10 }
          },
          stop: async () => void said.push(`${name} stops`),
        }
      },
    }
  }

  const options: TrialOptions = {
    isQuick: true,
    durations: { warmMs: 0, measureMs: 0 },
    load: { run: () => Promise.reject(new Error('nothing is to be asked')) },
    beside: [],
  }

  it('has its subjects measured in turns, each beside the first in the same round', async () => {
    const said: string[] = []
    const trial: Trial = {
      name: 'counting',
      figures: [
        { name: 'ms', digits: 0, isCompared: true },
        { name: 'speed', digits: 1 },
      ],
      subjects: () => [counting('a', said), counting('b', said)],
    }
    const tried = await carryOut(trial, options, 3)
    const round = (ms: number): readonly string[] => ['a beside nobody', `b beside ${ms}`]
    const rounds = [10, 20, 30].flatMap(round)
    expect(said).toEqual(['a starts', 'b starts', ...rounds, 'a stops', 'b stops'])
    expect(tableOfTrial(trial, tried)).toBe(
      [
        '           ms              of a          speed',
        'a  20 (10–30)  1.00 (1.00–1.00)  2.0 (1.0–3.0)',
        'b  40 (20–60)  2.00 (2.00–2.00)  2.0 (1.0–3.0)',
        '',
      ].join('\n'),
    )
  })
})

describe('a load counts the answers of', () => {
  const asked: readonly Asked[] = [
    { kind: 'write', key: 'a', value: 'x' },
    { kind: 'read', key: 'a', value: 'x' },
  ]

  /** Takes what a store says, cut into pieces of so many bytes. @returns how many answers it has counted after each. */
  function counted(name: keyof typeof dialects, said: string, bytes: number): number {
    const conversation = dialects[name](asked)()
    conversation.ask([0, 1])
    const all = Buffer.from(said, 'latin1')
    let count = 0
    for (let at = 0; at < all.length; at += bytes) count += conversation.take(all.subarray(at, at + bytes))
    return count
  }

  it.each([
    ['tidings', '{"result":{}}\n{"result":{"value":"x"}}\n'],
    ['redis', '+OK\r\n$1\r\nx\r\n'],
    [
      'nats',
      'INFO {}\r\nMSG answers.1 1 3\r\n{a}\r\nPING\r\nHMSG answers.1 1 9 10\r\nNATS/1.0\r\nNats-Stream: s\r\n' +
        'Nats-Subject: t\r\nNats-Sequence: 1\r\nNats-Time-Stamp: 2\r\n\r\nx\r\n',
    ],
    // HEADERS, DATA, and the HEADERS that end the stream; a PING and SETTINGS among them.
    [
      'etcd',
      [
        '\0\0\0\x04\0\0\0\0\0',
        '\0\0\x01\x01\x04\0\0\0\x01h\0\0\x02\0\0\0\0\0\x01dd\0\0\x01\x01\x05\0\0\0\x01t',
        '\0\0\x08\x06\0\0\0\0\0pingpong',
        '\0\0\x01\x01\x04\0\0\0\x03h\0\0\x01\x01\x05\0\0\0\x03t',
      ].join(''),
    ],
  ] as const)('%s, however they are cut into pieces', (name, said) => {
    for (const bytes of [1, 2, 3, 7, 1_000]) expect(counted(name, said, bytes)).toBe(2)
  })

  it.each([
    ['tidings', '{"jsonrpc":"2.0","id":1,"error":{"code":-32010}}\n'],
    ['redis', '-ERR unknown command\r\n'],
    ['nats', "-ERR 'Permissions Violation'\r\n"],
    ['etcd', '\0\0\x04\x03\0\0\0\0\x01\0\0\0\x02'],
  ] as const)('%s, and none that is an error', (name, said) => {
    expect(() => counted(name, said, 1_000)).toThrow(/answered|ended/)
  })
})
