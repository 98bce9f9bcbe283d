import { describe, expect, it } from 'vitest'
import { CausalBuffer, type WaitingUpdate } from '../../src/replica/causal-buffer.ts'
import { buildUpdate, versionOf } from './update-builder.ts'

const limits = { updatesMax: 3, bytesMax: 1_000 }

function waitingUpdate(server: string, timestamp: number, bytes = 100, sinceMs = 0): WaitingUpdate {
  return {
    update: buildUpdate({ server, timestamp }),
    from: server,
    bytes,
    sinceMs,
    waitsFor: undefined,
    dependenciesMet: 0,
  }
}

function takeAll(buffer: CausalBuffer): readonly WaitingUpdate[] {
  const taken: WaitingUpdate[] = []
  for (let next = buffer.takeWoken(); next !== undefined; next = buffer.takeWoken()) taken.push(next)
  return taken
}

describe('the causal buffer (R3)', () => {
  it('wakes exactly those that waited for a version, in the order in which they came', () => {
    const buffer = new CausalBuffer(limits)
    const [first, other, second] = [waitingUpdate('2', 5), waitingUpdate('3', 5), waitingUpdate('1', 5)]
    buffer.add(first, versionOf('1', 1))
    buffer.add(other, versionOf('1', 2))
    buffer.add(second, versionOf('1', 1))
    buffer.wake(versionOf('1', 1))
    expect(buffer.wokenCount).toBe(2)
    expect(takeAll(buffer)).toEqual([first, second])
    expect([...buffer]).toEqual([other])
    buffer.wake(versionOf('2', 2))
    expect(takeAll(buffer)).toEqual([])
  })

  it('still holds the woken until they are taken, so that a drain can be done in slices', () => {
    const buffer = new CausalBuffer(limits)
    const [first, second] = [waitingUpdate('2', 5), waitingUpdate('3', 5)]
    for (const waiting of [first, second]) buffer.add(waiting, versionOf('1', 1))
    buffer.wake(versionOf('1', 1))
    expect(buffer.takeWoken()).toBe(first)
    expect(buffer.find(versionOf('2', 5))).toBeUndefined()
    expect(buffer.find(versionOf('3', 5))).toBe(second)
    expect([buffer.size, buffer.wokenCount]).toEqual([1, 1])
  })

  it('may be given a woken update again, to wait for something else', () => {
    const buffer = new CausalBuffer(limits)
    const waiting = waitingUpdate('2', 5)
    buffer.add(waiting, versionOf('1', 1))
    buffer.wake(versionOf('1', 1))
    expect(buffer.takeWoken()).toBe(waiting)
    buffer.add(waiting, versionOf('1', 2))
    expect(waiting.waitsFor).toEqual(versionOf('1', 2))
    buffer.wake(versionOf('1', 2))
    expect(takeAll(buffer)).toEqual([waiting])
    expect(buffer.size).toBe(0)
  })

  it('has room by number and by bytes, and frees both', () => {
    const buffer = new CausalBuffer(limits)
    buffer.add(waitingUpdate('2', 5, 600), versionOf('1', 1))
    expect([400, 401].map((bytes) => buffer.hasRoomFor(bytes))).toEqual([true, false])
    buffer.add(waitingUpdate('2', 6), versionOf('1', 1))
    buffer.add(waitingUpdate('2', 7), versionOf('1', 2))
    expect(buffer.hasRoomFor(1)).toBe(false)
    buffer.wake(versionOf('1', 1))
    takeAll(buffer)
    expect([buffer.size, buffer.bytes]).toEqual([1, 100])
    expect(buffer.hasRoomFor(900)).toBe(true)
  })

  it('lists the oldest first, and no more than asked for', () => {
    const buffer = new CausalBuffer({ updatesMax: 100, bytesMax: 10_000 })
    const all = [5, 3, 9, 1, 7, 2, 8, 6, 4, 0].map((sinceMs) => waitingUpdate(`${sinceMs}`, 5, 100, sinceMs))
    for (const waiting of all) buffer.add(waiting, versionOf('1', 1))
    expect(buffer.oldest(3).map(({ sinceMs }) => sinceMs)).toEqual([0, 1, 2])
    expect(buffer.oldest(20)).toHaveLength(10)
  })

  it('gives up those that still wait, without disturbing the others that wait for the same', () => {
    const buffer = new CausalBuffer(limits)
    const [lost, kept, other] = [waitingUpdate('2', 5), waitingUpdate('3', 5), waitingUpdate('4', 5)]
    for (const waiting of [lost, kept]) buffer.add(waiting, versionOf('1', 1))
    buffer.add(other, versionOf('1', 2))
    buffer.removeAll(new Set([lost, other]))
    expect(buffer.find(versionOf('2', 5))).toBeUndefined()
    expect([buffer.size, buffer.bytes]).toEqual([1, 100])
    buffer.wake(versionOf('1', 1))
    expect(takeAll(buffer)).toEqual([kept])
  })
})
