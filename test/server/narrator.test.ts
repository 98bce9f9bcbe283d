import { Chalk } from 'chalk'
import { describe, expect, it } from 'vitest'
import type { ReplicaEvent } from '../../src/replica/output.ts'
import { Narrator } from '../../src/server/narrator.ts'
import { buildUpdate, originOf } from '../replica/update-builder.ts'

/** What people read. */
function forPeople(): { readonly narrator: Narrator; readonly lines: readonly string[] } {
  const lines: string[] = []
  const narrator = new Narrator({ write: (line) => lines.push(line), paint: new Chalk({ level: 0 }) })
  return { narrator, lines }
}

describe('R7: an older, copied or new folder', () => {
  it('is told with who knows more, what that means, that nothing is lost, and what to check', () => {
    const { narrator, lines } = forPeople()
    narrator.tell({ kind: 'restored', peer: '2', origin: originOf('1'), here: 4, there: 9, others: 0 })
    const [line = ''] = lines
    expect(line.split('\n')).toEqual([
      'warning: server 2 has more of an earlier run of this server than its folder:',
      '  9@1 of run 1~a, and the folder had only up to 4@1.',
      '  The folder is new, an older copy that was restored, or copied from elsewhere',
      '  (with --durability async, a crash may have lost its last moments).',
      '  Nothing is lost that server 2 has: it is being fetched. If you did not expect this,',
      '  check that --data names the right folder and that no backup was put in its place.',
    ])
  })

  it('is never left out, however much else there is to tell', () => {
    const { narrator, lines } = forPeople()
    for (let count = 0; count < 1_000; count++) narrator.tell({ kind: 'warning', text: 'x' })
    narrator.tell({ kind: 'restored', peer: '2', origin: originOf('1'), here: 0, there: 9, others: 2 })
    expect(lines.at(-1)).toContain('the folder had nothing of that run, and so with 2 earlier runs besides.')
  })
})

describe('a faulty peer', () => {
  it('that has snapshots installed and pages pulled all the time cannot flood the terminal', () => {
    const { narrator, lines } = forPeople()
    for (let count = 0; count < 1_000; count++) {
      narrator.tellStep([{ kind: 'installed', from: '2', keys: 1 }])
      narrator.tellStep([{ kind: 'pulled', from: '2', count: 1_000, more: true }])
    }
    expect(lines).toHaveLength(200)
    narrator.refill()
    expect(lines.at(-1)).toBe('… and 1800 more, too fast to tell')
  })
})

describe('a page that was pulled', () => {
  const page = (count: number): readonly ReplicaEvent[] => [
    { kind: 'pulled', from: '2', count, more: false },
    ...Array.from({ length: count }, (_, index): ReplicaEvent => {
      return { kind: 'applied', update: buildUpdate({ server: '2', timestamp: index + 1 }), from: '2' }
    }),
  ]

  it('of many updates is one line', () => {
    const { narrator, lines } = forPeople()
    narrator.tellStep(page(1_000))
    expect(lines).toEqual(['pulled  1,000 updates from 2'])
  })

  it('of a few updates is told with each of them', () => {
    const { narrator, lines } = forPeople()
    narrator.tellStep(page(2))
    expect(lines).toHaveLength(3)
  })

  it('is told to programs update by update', () => {
    const lines: string[] = []
    new Narrator({ write: (line) => lines.push(line) }).tellStep(page(1_000))
    expect(lines).toHaveLength(1_001)
  })
})
