import { Chalk } from 'chalk'
import { describe, expect, it } from 'vitest'
import { Columns, columnsWidthMin } from '../../src/demo/columns.ts'
import type { Participant } from '../../src/demo/stage.ts'

const alice: Participant = { name: 'Alice' }
const one: Participant = { name: 'server 1', place: 'west' }
const two: Participant = { name: 'server 2', place: 'central' }
const three: Participant = { name: 'server 3', place: 'east' }
const bob: Participant = { name: 'Bob' }
const participants = [alice, one, two, three, bob]

function columns({ width = columnsWidthMin, hasColours = false } = {}): Columns {
  return new Columns({ participants, width, paint: new Chalk({ level: hasColours ? 1 : 0 }) })
}

describe('columns', () => {
  it('every scene begins with the names over their columns', () => {
    expect(columns().scene('1. A title', 'What to look for.')).toEqual([
      '',
      '1. A title',
      'What to look for.',
      '',
      'Alice         │ server 1       │ server 2       │ server 3       │ Bob',
      '              │ west           │ central        │ east           │',
      '──────────────┼────────────────┼────────────────┼────────────────┼──────────────',
    ])
  })

  it('what goes to the next column is an arrow from the words to it', () => {
    expect(
      columns().message({ from: { at: one, text: 'sends x' }, to: { at: two, text: 'x = lost' } }),
    ).toEqual(['              │ sends x ───────▶ x = lost       │                │'])
  })

  it('an arrow crosses the columns that it does not concern', () => {
    expect(
      columns().message({ from: { at: one, text: 'sends x' }, to: { at: three, text: 'x = lost' } }),
    ).toEqual(['              │ sends x ───────┼────────────────▶ x = lost       │'])
  })

  it('an arrow to the left ends at the column on the left', () => {
    expect(
      columns().message({ from: { at: bob, text: 'read y' }, to: { at: two, text: 'y = found' } }),
    ).toEqual(['              │                │ y = found      ◀────────────────┼─── read y'])
  })

  it('what stops on its way is an arrow that ends at a wall', () => {
    expect(
      columns().message({ from: { at: one, text: 'sends y' }, to: { at: three, text: '' }, isStopped: true }),
    ).toEqual(['              │ sends y ╌╌╌╌╌╌╌┼╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┃                │'])
  })

  it('words that fill their column keep a space to the arrow, in both directions', () => {
    expect(
      columns().message({ from: { at: alice, text: 'write y found' }, to: { at: one, text: 'y' } }),
    ).toEqual(['write y found ▶ y              │                │                │'])
    expect(
      columns().message({ from: { at: bob, text: 'write at four' }, to: { at: three, text: 'y' } }),
    ).toEqual(['              │                │                │ y              ◀ write at four'])
  })

  it('words that are too long for their column go on below it, at both ends of an arrow', () => {
    expect(
      columns().message({
        from: { at: two, text: 'sends z on its way' },
        to: { at: three, text: 'z WAITS: it needs 2@1' },
      }),
    ).toEqual([
      '              │                │ sends z on its ▶ z WAITS: it    │',
      '              │                │ way            │ needs 2@1      │',
    ])
  })

  it('a word that is longer than its column is broken', () => {
    expect(columns().note({ at: bob, text: 'incomprehensibilities' })).toEqual([
      '              │                │                │                │ incomprehensi',
      '              │                │                │                │ bilities',
    ])
  })

  it('what several see at once stands on one line', () => {
    const notes = [one, two, three].map((at) => ({ at, text: 'x = lost' }))
    expect(columns().together(notes)).toEqual([
      '              │ x = lost       │ x = lost       │ x = lost       │',
    ])
  })

  it('an aside is indented and has air around it', () => {
    expect(columns().aside(['z is not here yet.'])).toEqual(['', '    z is not here yet.', ''])
  })

  it.each([80, 81, 100, 137, 160, 200])(
    'no line is wider than a terminal of %i, and the names use all of it',
    (width) => {
      const page = columns({ width })
      const lines = [
        ...page.open('word '.repeat(100)),
        ...page.scene('A title', 'word '.repeat(100)),
        ...page.note({ at: two, text: 'word '.repeat(40) }),
        ...page.message({
          from: { at: bob, text: 'word '.repeat(9) },
          to: { at: alice, text: 'word '.repeat(9) },
        }),
        ...page.aside(['word '.repeat(100)]),
      ]
      expect(Math.max(...lines.map((line) => line.length))).toBe(width)
    },
  )

  it('without colours there are no escapes, and with them the text is the same', () => {
    const plain = show(columns())
    const coloured = show(columns({ hasColours: true }))
    expect(plain).not.toContain('\u001b')
    expect(coloured).toContain('\u001b')
    // oxlint-disable-next-line no-control-regex -- escapes are what is taken out.
    const bare = coloured.replaceAll(/\u001b\[\d+m/g, '')
    expect(bare.split('\n').map((line) => line.trimEnd())).toEqual(plain.split('\n'))
  })
})

/** A bit of everything. */
function show(page: Columns): string {
  return [
    ...page.scene('A title', 'What to look for.'),
    ...page.message({
      from: { at: one, text: 'sends y', tone: 'lab' },
      to: { at: three, text: 'nothing', tone: 'waiting' },
      isStopped: true,
    }),
    ...page.aside(['why'], 'waiting'),
  ].join('\n')
}
