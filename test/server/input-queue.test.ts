import { describe, expect, it } from 'vitest'
import type { Input } from '../../src/replica/input.ts'
import type { PeerMessage } from '../../src/replica/messages.ts'
import { InputQueue, type InputSource } from '../../src/server/input-queue.ts'
import { originOf } from '../replica/update-builder.ts'

describe('R8: whoever sends much waits for itself', () => {
  it('sources take turns, and each keeps its own order', () => {
    const queue = newQueue()
    for (const id of [1, 2, 3]) queue.push(ask('2', id), 0)
    queue.push(request(7, 1), 0)
    queue.push(request(8, 1), 0)
    queue.push(request(7, 2), 0)
    expect(takeAll(queue)).toEqual(['ask 1 of 2', '7: 1', '8: 1', 'ask 2 of 2', '7: 2', 'ask 3 of 2'])
  })

  it('who comes while others wait is next after each of them has had a turn', () => {
    const queue = newQueue()
    for (const id of [1, 2, 3, 4]) queue.push(request(1, id), 0)
    expect(nameOf(queue.take())).toBe('1: 1')
    queue.push(request(2, 1), 0)
    expect(takeAll(queue)).toEqual(['1: 2', '2: 1', '1: 3', '1: 4'])
  })

  it('an act keeps its place among what its own source asked', () => {
    const queue = newQueue()
    queue.push(request(1, 1), 0)
    queue.pushAct(1, () => {})
    queue.push(request(1, 2), 0)
    queue.push(request(2, 1), 0)
    expect(takeAll(queue)).toEqual(['1: 1', '2: 1', 'act', '1: 2'])
  })

  it('what the replica has put off takes turns too, and waits once', () => {
    const queue = newQueue()
    queue.push(request(1, 1), 0)
    queue.push(request(1, 2), 0)
    queue.push({ kind: 'continue' }, 0)
    queue.push({ kind: 'continue' }, 0)
    expect(takeAll(queue)).toEqual(['1: 1', 'continue', '1: 2'])
  })
})

describe('all about one server is in order', () => {
  it('its links going up and down, and what it says, over however many connections', () => {
    const queue = newQueue()
    const link = { peer: '2', origin: originOf('2') }
    queue.push({ kind: 'peerHeard', ...link }, 0)
    queue.push(cut('2'), 0)
    queue.push({ kind: 'peerSilent', ...link }, 0)
    queue.push({ kind: 'linkDown', ...link }, 0)
    queue.push({ kind: 'peerHeard', ...link }, 0)
    queue.push({ kind: 'linkUp', ...link, applied: new Map() }, 0)
    queue.push(cut('2'), 0)
    expect(takeAll(queue)).toEqual([
      'peerHeard',
      'cut',
      'peerSilent',
      'linkDown',
      'peerHeard',
      'linkUp',
      'cut',
    ])
  })

  it('R9: a server is a member before anybody is linked to it, whatever else waits', () => {
    const queue = newQueue()
    queue.push({ kind: 'linkUp', peer: '3', origin: originOf('3'), applied: new Map() }, 0)
    queue.push({ kind: 'members', ids: ['2'], unidentified: 0 }, 0)
    queue.push({ kind: 'linkUp', peer: '2', origin: originOf('2'), applied: new Map() }, 0)
    expect(takeAll(queue)).toEqual(['members', 'linkUp', 'linkUp'])
  })

  it('time passes before what waits, and several ticks in a row are the last', () => {
    const queue = newQueue()
    queue.push(request(1, 1), 0)
    queue.push({ kind: 'tick', nowMs: 50 }, 0)
    queue.push(request(1, 2), 0)
    queue.push({ kind: 'tick', nowMs: 100 }, 0)
    expect(takeAll(queue)).toEqual(['tick 100', '1: 1', '1: 2'])
  })
})

describe('R8: what a server asks', () => {
  it('of several pulls that wait only the last is answered', () => {
    const queue = newQueue()
    queue.push(pull('2', 1), 0)
    queue.push(cut('2'), 0)
    queue.push(pull('2', 2), 0)
    queue.push(pull('3', 1), 0)
    queue.push(pull('2', 3), 0)
    expect(takeAll(queue)).toEqual(['cut', 'pull 1 of 3', 'pull 3 of 2'])
    queue.push(pull('2', 4), 0)
    expect(takeAll(queue)).toEqual(['pull 4 of 2'])
  })

  it('of its questions sixteen may wait, and further ones are dropped', () => {
    const queue = newQueue()
    for (let id = 1; id <= 20; id++) queue.push(ask('2', id), 0)
    expect(nameOf(queue.take())).toBe('ask 1 of 2')
    queue.push(ask('2', 21), 0)
    queue.push(ask('2', 22), 0)
    const taken = takeAll(queue)
    expect(taken).toHaveLength(16)
    expect(taken.at(-1)).toBe('ask 21 of 2')
  })
})

describe('R8: a source of which too much waits', () => {
  it('is full by bytes, and relieved when less than half is left', () => {
    const relieved: InputSource[] = []
    const queue = newQueue(relieved)
    for (let count = 0; count < 8; count++) queue.push(cut('2'), 1 << 20)
    expect(queue.isFull('2')).toBe(false)
    queue.push(cut('2'), 1 << 20)
    expect(queue.isFull('2')).toBe(true)
    expect(queue.isFull(2)).toBe(false)
    for (let left = 8; left >= 4; left--) {
      queue.take()
      expect(relieved).toEqual([])
    }
    queue.take()
    expect(relieved).toEqual(['2'])
    expect(queue.isFull('2')).toBe(false)
  })

  it('is full by count, pulls that were dropped included, so that nobody sends them for nothing', () => {
    const relieved: InputSource[] = []
    const queue = newQueue(relieved)
    for (let number = 1; number <= 16_385; number++) queue.push(pull('2', number), 100)
    expect(queue.isFull('2')).toBe(true)
    expect(takeAll(queue)).toEqual(['pull 16385 of 2'])
    expect(relieved).toEqual(['2'])
  })

  it('is taken in order however much of it there is, and comes while it is taken', () => {
    const queue = newQueue()
    const taken: string[] = []
    for (let id = 0; id < 30_000; id++) {
      queue.push(request(1, 2 * id), 0)
      queue.push(request(1, 2 * id + 1), 0)
      taken.push(nameOf(queue.take()))
    }
    taken.push(...takeAll(queue))
    expect(taken).toEqual(Array.from({ length: 60_000 }, (_, id) => `1: ${id}`))
  })
})

function newQueue(relieved: InputSource[] = []): InputQueue {
  return new InputQueue({ relieved: (source) => relieved.push(source) })
}

function takeAll(queue: InputQueue): readonly string[] {
  const names: string[] = []
  while (!queue.isEmpty) names.push(nameOf(queue.take()))
  return names
}

function nameOf(item: ReturnType<InputQueue['take']>): string {
  if (item === undefined) return 'nothing'
  if (typeof item === 'function') return 'act'
  switch (item.kind) {
    case 'request':
      return `${item.client}: ${item.id}`
    case 'tick':
      return `tick ${item.nowMs}`
    case 'message':
      if (item.message.kind === 'ask') return `ask ${item.message.question} of ${item.from}`
      if (item.message.kind === 'pull') return `pull ${item.message.pull} of ${item.from}`
      return item.message.kind
    default:
      return item.kind
  }
}

function request(client: number, id: number): Input {
  return { kind: 'request', client, id, request: { method: 'status' } }
}

function from(peer: string, message: PeerMessage): Input {
  return { kind: 'message', from: peer, message }
}

function ask(peer: string, question: number): Input {
  return from(peer, { kind: 'ask', question, versions: [] })
}

function pull(peer: string, number: number): Input {
  return from(peer, { kind: 'pull', pull: number, applied: new Map(), except: [] })
}

function cut(peer: string): Input {
  return from(peer, { kind: 'cut', entries: new Map() })
}
