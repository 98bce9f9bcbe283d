import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { HistoryLine } from '../../src/check/history-line.ts'
import { modelHistory } from './model-store.ts'
import { Recording } from './recording.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidings-check-'))
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

interface Run {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `tidings check …` from the sources until it ends. */
function check(words: readonly string[], input = ''): Promise<Run> {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(?:FORCE_COLOR|NO_COLOR|NODE_OPTIONS|VITEST)/.test(name),
    ),
  )
  const nodeWords = ['--import', 'tsx', 'src/tidings.ts', 'check', ...words]
  const child = spawn(process.execPath, nodeWords, { env, timeout: 50_000 })
  const texts = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (texts.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (texts.stderr += text))
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, ...texts }))
  })
}

function file(text: string): string {
  const path = join(folder, 'history.ndjson')
  writeFileSync(path, text)
  return path
}

function textOf(lines: readonly HistoryLine[]): string {
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('')
}

const fine = new Recording().write('alice', 'x', 'lost', '1@a').read('bob', 'x', 'lost', '1@a')

const stale = new Recording()
  .write('alice', 'x', 'lost', '1@a')
  .write('alice', 'x', 'found', '2@a')
  .read('bob', 'x', 'found', '2@a')
  .read('bob', 'x', 'lost', '1@a')

describe('tidings check', () => {
  it('says of a file that it is fine, and exits with 0', async () => {
    const path = file(textOf(fine.lines))
    expect(await check([path])).toEqual({
      code: 0,
      stdout: `${path}: 2 events of 2 sessions; 1 write, 1 read, 0 pushes; no end state\nno violation\n`,
      stderr: '',
    })
  })

  it('names what is wrong, shows it, and exits with 1', async () => {
    const path = file(`\n${textOf(stale.lines)}`)
    expect(await check([path])).toEqual({
      code: 1,
      stdout: [
        'WriteCORead (monotonic reads): line 5 sees what line 2 wrote, though line 3 overwrote it and comes before line 5',
        '  line 2  alice  i 1  write x lost [1,"a"]',
        '  line 3  alice  i 2  write x found [2,"a"]  ← session order: after line 2',
        '  line 4  bob    i 1  read x found [2,"a"]   ← reads what line 3 wrote',
        '  line 5  bob    i 2  read x lost [1,"a"]    ← session order: after line 4, and reads what line 2 wrote',
        '',
        `${path}: 4 events of 2 sessions; 2 writes, 2 reads, 0 pushes; no end state`,
        '1 violation',
        '',
      ].join('\n'),
      stderr: '',
    })
  })

  it('reads what is piped in, with - or without', async () => {
    const summary =
      'standard input: 2 events of 2 sessions; 1 write, 1 read, 0 pushes; no end state\nno violation\n'
    expect(await check(['-'], textOf(fine.lines))).toEqual({ code: 0, stdout: summary, stderr: '' })
    expect(await check([], textOf(fine.lines))).toEqual({ code: 0, stdout: summary, stderr: '' })
  })

  it('tells programs each violation on a line, and last the summary', async () => {
    const { code, stdout } = await check(['--json'], textOf(stale.lines))
    const told = stdout.trimEnd().split('\n')
    expect(code).toBe(1)
    expect(told.map((line) => JSON.parse(line) as unknown)).toEqual([
      {
        pattern: 'WriteCORead',
        guarantee: 'monotonic reads',
        message: 'line 4 sees what line 1 wrote, though line 2 overwrote it and comes before line 4',
        steps: [
          { line: 1, event: stale.lines[0], because: '' },
          { line: 2, event: stale.lines[1], because: 'session order: after line 1' },
          { line: 3, event: stale.lines[2], because: 'reads what line 2 wrote' },
          {
            line: 4,
            event: stale.lines[3],
            because: 'session order: after line 3, and reads what line 1 wrote',
          },
        ],
      },
      {
        file: 'standard input',
        ok: false,
        counts: { events: 4, sessions: 2, writes: 2, reads: 2, pushes: 0, ignored: 0, servers: 0 },
        found: 1,
      },
    ])
  })

  it('judges a long history that comes in pieces', async () => {
    const lines = modelHistory({
      seed: 4,
      servers: 3,
      sessions: 8,
      keys: 50,
      steps: 20_000,
      lossChance: 0.001,
      replicationChance: 0.8,
      pushesMax: 8,
    })
    const { code, stdout } = await check(['--json'], textOf(lines))
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, found: 0, counts: { servers: 3 } })
  })

  it('shows control characters of a history as escapes', async () => {
    const recording = new Recording().read('bob\u001b[2J', 'x\n', '\u202ey', '1@\u0007')
    const { stdout } = await check([], textOf(recording.lines))
    expect(stdout).toContain(String.raw`"bob\u001b[2J"  i 1  read "x\n" "\u202ey" [1,"\u0007"]`)
  })

  it.each([
    ['a file that is not there', ['nowhere.ndjson'], /^error: cannot read nowhere\.ndjson: ENOENT: .+\n$/],
    ['a folder', ['.'], /^error: cannot read \.: EISDIR: .+\n$/],
    ['two files', ['a', 'b'], /^error: too many arguments/],
    [
      'a flag that does not exist',
      ['--jsno'],
      /^error: unknown option '--jsno'\n\(Did you mean --json\?\)\n$/,
    ],
    [
      'nothing at all',
      [],
      /^error: standard input is no history: line 1: there is nothing here: not one line\n$/,
    ],
  ])('exits with 2 for %s', async (_, words, message) => {
    const { code, stdout, stderr } = await check(words)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
  })

  it('exits with 2 for a line that is none, and says which', async () => {
    const path = file(`${textOf(fine.lines)}{"session":"bob"}\n`)
    expect(await check([path])).toEqual({
      code: 2,
      stdout: '',
      stderr: `error: ${path} is no history: line 3: op is missing; it is one of write, delete, read, push, txn, final, lost\n`,
    })
  })

  it('explains itself', async () => {
    const { code, stdout } = await check(['--help'])
    expect(code).toBe(0)
    expect(stdout).toContain('Exit codes: 0 no violation, 1 violations, 2 usage, or this is no history.')
  })
})
