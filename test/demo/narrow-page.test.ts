import { Chalk } from 'chalk'
import { describe, expect, it } from 'vitest'
import { NarrowPage } from '../../src/demo/narrow-page.ts'

const alice = { name: 'Alice' }
const one = { name: 'server 1', place: 'west' }
const three = { name: 'server 3', place: 'east' }

function page(width = 40): NarrowPage {
  return new NarrowPage({ width, paint: new Chalk({ level: 0 }) })
}

describe('a narrow page', () => {
  it('a message is two lines: who says what to whom, and what becomes of it there', () => {
    expect(
      page().message({ from: { at: alice, text: 'write x lost' }, to: { at: one, text: 'x = lost 1@1' } }),
    ).toEqual(['Alice ─▶ server 1: write x lost', 'server 1: x = lost 1@1'])
  })

  it('what stops on its way has an arrow that ends at a wall', () => {
    expect(
      page().message({ from: { at: one, text: 'hold 3' }, to: { at: three, text: '' }, isStopped: true }),
    ).toEqual(['server 1 ╌┃ server 3: hold 3'])
  })

  it('those who see the same are named together', () => {
    const notes = [one, three].map((at) => ({ at, text: 'x = lost' }))
    expect(page().together(notes)).toEqual(['server 1, server 3: x = lost'])
  })

  it('long lines go on below, indented', () => {
    expect(page(24).note({ at: three, text: 'z WAITS: it needs 2@1' })).toEqual([
      'server 3: z WAITS: it',
      '  needs 2@1',
    ])
  })
})
