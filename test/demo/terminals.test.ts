import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runDemo } from './demo-process.ts'

const hasTmux = spawnSync('tmux', ['-V']).status === 0

describe('tidings demo --terminals', () => {
  let folder = ''

  beforeEach(() => {
    // A place of its own for tmux's sockets: nobody's demo is disturbed.
    folder = mkdtempSync(join(tmpdir(), 'tidings-'))
  })

  afterEach(() => {
    tmux('kill-server')
    rmSync(folder, { recursive: true })
  })

  it('without tmux it says what to type in which terminal', async () => {
    const { exitCode, output } = await runDemo(['--terminals'], { env: { PATH: folder } })
    expect(output).toMatch(
      /Terminal 1 \(server 1, west\):\n {2}npm run server -- --port \d+ --id 1 --peers "\d+ \d+"/,
    )
    expect(output).toMatch(/Terminal 4 \(Alice, at server 1\):\n {2}npm run client -- \d+ \d+ --id Alice/)
    expect(output).toMatch(/Terminal 6 \(you, at server 3\):\n {2}npm run client -- \d+ --id onlooker/)
    expect(output).toContain('3. write y found')
    expect(output).toContain('5. write z glad')
    expect(output).toContain('7. why z')
    expect(exitCode).toBe(0)
  })

  it.skipIf(!hasTmux)(
    'with tmux it opens a pane for each of the six, and ending that tmux ends them',
    async () => {
      let run
      let times = 0
      do {
        tmux('kill-server')
        run = await runDemo(['--terminals'], { env: { TMUX_TMPDIR: folder } })
        // The tests beside this one are given ports as they come, and may be given one that was free a moment ago.
      } while (++times < 5 && paneTexts().some((text) => text.includes(portIsTaken)))
      expect(run.output).toContain('tmux -L tidings-demo attach')
      expect(run.exitCode).toBe(0)
      expect(tmux('list-panes', '-F', '#{pane_title}').split('\n')).toEqual([
        'server 1, west',
        'server 2, central',
        'server 3, east',
        'Alice, at server 1',
        'Bob, at server 2',
        'you, at server 3',
      ])
      const pids = tmux('list-panes', '-F', '#{pane_pid}').split('\n').map(Number)
      expect(pids.filter(isRunning), paneTexts().join('\n')).toEqual(pids)
      tmux('kill-server')
      await expect.poll(() => pids.filter(isRunning), { timeout: 10_000 }).toEqual([])
    },
  )

  function paneTexts(): readonly string[] {
    const panes = tmux('list-panes', '-F', '#{pane_id}').split('\n')
    return panes.map((pane) => tmux('capture-pane', '-p', '-t', pane))
  }

  function tmux(...words: readonly string[]): string {
    const { TMUX: _inside, ...outer } = process.env
    const env = { ...outer, TMUX_TMPDIR: folder }
    return spawnSync('tmux', ['-L', 'tidings-demo', ...words], { env, encoding: 'utf8' }).stdout.trimEnd()
  }
})

/** What a server says that comes too late for its port. */
const portIsTaken = 'is already in use'

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
