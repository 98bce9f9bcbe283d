import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runDemo } from './demo-process.ts'

describe('tidings demo', () => {
  /** Where the demo makes its temporary folder, and nobody else does. */
  let place = ''

  beforeEach(() => {
    place = mkdtempSync(join(tmpdir(), 'tidings-test-'))
  })

  afterEach(() => {
    rmSync(place, { recursive: true })
  })

  it('plays the whole story on real servers, checks every claim, and leaves neither process nor folder behind', async () => {
    const { exitCode, output, leftBehind } = await runDemo([], { env: { TMPDIR: place } })
    expect(output).toContain('z WAITS: it needs')
    expect(output).toContain('read z → nothing')
    expect(output).toContain('release 3')
    expect(output).toContain('starts: 6 keys')
    expect(output).toMatch(/Error: this server has not applied 8@1~\w+ \(server 3 has it\)/)
    expect(output).toMatch(/\n[1-9]\d* claims checked, 0 failed, in [\d.]+ s on three servers\n$/)
    // Into a pipe it is plain.
    expect(output).not.toContain('\u001b')
    expect(exitCode).toBe(0)
    expect(leftBehind).toEqual([])
    expect(foldersLeft()).toEqual([])
  })

  it.each([
    { when: 'in the middle', words: ['--slow'], shown: 'Three servers' },
    { when: 'while its servers are starting again', words: [], shown: 'kill -9 ' },
  ])('Ctrl-C $when ends it with 130, and its servers and folders with it', async ({ words, shown }) => {
    const { exitCode, output, leftBehind } = await runDemo(words, {
      env: { TMPDIR: place },
      seen: (output, signal) => {
        // By then servers run, or are about to.
        if (output.includes(shown)) signal('SIGINT')
      },
    })
    expect(exitCode).toBe(130)
    expect(output).not.toContain('claims checked')
    expect(leftBehind).toEqual([])
    expect(foldersLeft()).toEqual([])
  })

  it('an unknown flag is a matter of usage', async () => {
    const { exitCode, output } = await runDemo(['--fast'])
    expect(output).toContain('--fast')
    expect(exitCode).toBe(2)
  })

  function foldersLeft(): readonly string[] {
    return readdirSync(place).filter((name) => name.startsWith('tidings-demo-'))
  }
})
