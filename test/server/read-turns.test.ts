import { describe, expect, it } from 'vitest'
import { LoopShare, ReadTurns } from '../../src/server/read-turns.ts'

describe('turns at reading', () => {
  it('end with a slice of time, and go on in the next turn of the loop', () => {
    const stage = new Stage()
    const reader = stage.reader('a', 5)
    reader()
    // Each line takes 3 ms.
    expect(stage.read).toEqual(['a', 'a'])
    stage.turn()
    expect(stage.read).toEqual(['a', 'a', 'a', 'a'])
    stage.turn()
    expect(stage.read).toHaveLength(5)
    stage.turn()
    expect(stage.isIdle).toBe(true)
  })

  it('are shared: all readers together have one slice in a turn', () => {
    const stage = new Stage()
    const readers = ['a', 'b', 'c'].map((name) => stage.reader(name, 1))
    for (const reader of readers) reader()
    expect(stage.read).toEqual(['a', 'b'])
    stage.turn()
    expect(stage.read).toEqual(['a', 'b', 'c'])
  })

  it('serve those that wait before whoever comes, and whoever is not done behind the others', () => {
    const stage = new Stage()
    const [much, little] = [stage.reader('much', 5), stage.reader('little', 1)]
    much()
    little()
    expect(stage.read).toEqual(['much', 'much'])
    stage.turn()
    expect(stage.read.slice(2)).toEqual(['much', 'little'])
    stage.turn()
    expect(stage.read.slice(4)).toEqual(['much', 'much'])
  })

  it('give each of those that wait a part, in which it reads what is quickly read', () => {
    const stage = new Stage(0.4)
    const readers = ['a', 'b'].map((name) => stage.reader(name, 20))
    for (const reader of readers) stage.turns.wait(reader)
    stage.turn()
    // Three lines in a millisecond, until five are over.
    expect(stage.read.join('')).toBe('aaabbbaaabbbaaa')
  })

  it('let nobody in before those that wait, though there is time', () => {
    const stage = new Stage()
    const [first, second] = [stage.reader('first', 1), stage.reader('second', 1)]
    stage.turns.wait(first)
    second()
    expect(stage.read).toEqual([])
    stage.turn()
    expect(stage.read).toEqual(['first', 'second'])
  })
})

describe('a line that takes long', () => {
  it('has a turn of the loop to itself: neither queue hands on another, and then the other goes first', () => {
    const stage = new Stage(30, true)
    const clients = ['c1', 'c2'].map((name) => stage.reader(name, 3))
    const peer = stage.reader('p', 3, stage.peers)
    for (const reader of [...clients, peer]) reader()
    expect(stage.read).toEqual(['c1'])
    const turns: string[] = []
    for (let turn = 0; turn < 40; turn++) {
      const before = stage.read.length
      stage.turn()
      // Whatever comes from the network in this turn finds no room either.
      for (const reader of [...clients, peer]) reader()
      turns.push(stage.read.slice(before).join(' '))
    }
    expect(turns.every((read) => !read.includes(' '))).toBe(true)
    expect(stage.read).toHaveLength(9)
    // The servers' lines are not kept for the end, however many clients have more.
    expect(stage.read.join(' ')).toBe('c1 p c1 p c2 p c1 c2 c2')
    expect(stage.isIdle).toBe(true)
  })
})

/** An event loop whose time goes on with each line that is read, and readers with lines, of clients where not said. */
class Stage {
  readonly read: string[] = []
  readonly turns: ReadTurns
  readonly peers: ReadTurns
  readonly #lineMs: number
  readonly #areLong: boolean
  #nowMs = 0
  #due: (() => void)[] = []

  /** @param lineMs what each line takes. @param areLong whether that is told to have been long. */
  constructor(lineMs = 3, areLong = false) {
    this.#lineMs = lineMs
    this.#areLong = areLong
    const surroundings = { now: () => this.#nowMs, schedule: (run: () => void) => void this.#due.push(run) }
    const share = new LoopShare(surroundings.schedule)
    this.turns = new ReadTurns({ ...surroundings, share })
    this.peers = new ReadTurns({ ...surroundings, share })
  }

  get isIdle(): boolean {
    return this.#due.length === 0
  }

  turn(): void {
    const due = this.#due
    this.#due = []
    for (const run of due) run()
  }

  reader(name: string, lines: number, turns = this.turns): () => void {
    let left = lines
    const reader = (): void => {
      while (left > 0) {
        if (!turns.mayRead(reader)) {
          turns.wait(reader)
          return
        }
        left--
        this.read.push(name)
        this.#nowMs += this.#lineMs
        if (this.#areLong) turns.tookLong()
      }
    }
    return reader
  }
}
