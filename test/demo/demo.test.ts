import { describe, expect, it } from 'vitest'
import { runDemo } from './demo-process.ts'

describe('tidings demo', () => {
  it('plays the whole story on real servers, checks every claim, and leaves no process behind', async () => {
    const { exitCode, output, leftBehind } = await runDemo([])
    expect(output).toContain('z WAITS: it needs')
    expect(output).toContain('read z → nothing')
    expect(output).toContain('release 3')
    expect(output).toMatch(/\n[1-9]\d* claims checked, 0 failed, in [\d.]+ s on three servers\n$/)
    // Into a pipe it is plain.
    expect(output).not.toContain('\u001b')
    expect(exitCode).toBe(0)
    expect(leftBehind).toEqual([])
  })

  it('Ctrl-C in the middle ends it with 130, and its servers with it', async () => {
    const { exitCode, output, leftBehind } = await runDemo(['--slow'], {
      seen: (output, signal) => {
        // By then the three servers run.
        if (output.includes('Three servers')) signal('SIGINT')
      },
    })
    expect(exitCode).toBe(130)
    expect(output).not.toContain('claims checked')
    expect(leftBehind).toEqual([])
  })

  it('an unknown flag is a matter of usage', async () => {
    const { exitCode, output } = await runDemo(['--fast'])
    expect(output).toContain('--fast')
    expect(exitCode).toBe(2)
  })
})
