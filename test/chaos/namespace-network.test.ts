import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { runAmongNamespaces } from './namespace-network.ts'

/** The names of the namespaces of this process's trials; none where the system knows no such thing. */
function namespaces(): readonly string[] {
  try {
    const text = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    return text.split('\n').filter((line) => line.startsWith(`tidings-${process.pid}-`))
  } catch {
    return []
  }
}

describe('network namespaces for a trial', () => {
  it('end with it, or are not made where the machine does not allow them', async () => {
    const code = await runAmongNamespaces(['1', '2'], (prefix) => [
      '-e',
      `process.exit(${JSON.stringify(prefix)}.startsWith('tidings-') ? 7 : 8)`,
    ])
    expect([7, undefined]).toContain(code)
    expect(namespaces()).toEqual([])
  })
})
