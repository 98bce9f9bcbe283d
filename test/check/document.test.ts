import { readFileSync } from 'node:fs'
import { Chalk } from 'chalk'
import { describe, expect, it } from 'vitest'
import { checkHistory } from '../../src/check/check-history.ts'
import { parseLine } from '../../src/check/line-parser.ts'
import { reportOf } from '../../src/check/report.ts'
import { Recording } from './recording.ts'

const document = readFileSync(new URL('../../docs/histories.md', import.meta.url), 'utf8')

describe('docs/histories.md', () => {
  it('shows lines that are what the format says', () => {
    const [, block = ''] = /```json\n(.*?)```/s.exec(document) ?? []
    const texts = block.trimEnd().split('\n')
    const lines = texts.map((text, index) => parseLine(text, index + 1))
    expect(new Set(lines.map(({ op }) => op))).toEqual(
      new Set(['write', 'delete', 'read', 'push', 'txn', 'final', 'lost']),
    )
    expect(checkHistory(lines)).toMatchObject({ ok: true, counts: { servers: 1, ignored: 0 } })
  })

  it('shows a failure as it is printed', () => {
    const { lines } = new Recording()
      .write('alice', 'x', 'alice-1', '1@1~a')
      .batch('alice', { x: 'alice-2', y: 'alice-3' }, '2@1~a')
      .read('bob', 'y', 'alice-3', '2@1~a')
      .read('bob', 'x', 'alice-1', '1@1~a')
    const report = reportOf(checkHistory(lines), 'history.ndjson', new Chalk({ level: 0 }))
    expect(document).toContain(`\`\`\`\n${report.join('\n')}\n\`\`\``)
  })
})
