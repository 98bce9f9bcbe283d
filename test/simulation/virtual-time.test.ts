import { describe, expect, it } from 'vitest'
import { VirtualTime } from './virtual-time.ts'

describe('virtual time', () => {
  it('runs what is planned in the order of its moments, and of one moment in the order of its planning', async () => {
    const time = new VirtualTime()
    const ran: string[] = []
    const plan = (atMs: number, name: string): void =>
      time.at(atMs, () => ran.push(`${name} at ${time.nowMs}`))
    for (const [atMs, name] of [
      [5, 'c'],
      [1, 'a'],
      [5, 'd'],
      [3, 'b'],
      [9, 'e'],
    ] as const) {
      plan(atMs, name)
    }
    await time.run(8, () => false)
    expect(ran).toEqual(['a at 1', 'b at 3', 'c at 5', 'd at 5'])
    expect(time.nowMs).toBe(8)
  })

  it('lets whoever awaits a promise go on before the next event', async () => {
    const time = new VirtualTime()
    const ran: string[] = []
    let resolve: () => void = () => {}
    const promise = new Promise<void>((resolved) => {
      resolve = resolved
    })
    void promise.then(() => Promise.resolve()).then(() => ran.push('awaited'))
    time.in(1, () => {
      time.settleSoon()
      resolve()
    })
    time.in(1, () => ran.push('next'))
    await time.run(2, () => false)
    expect(ran).toEqual(['awaited', 'next'])
  })

  it('stops after the event that says so', async () => {
    const time = new VirtualTime()
    let count = 0
    for (let atMs = 1; atMs <= 5; atMs++) time.at(atMs, () => count++)
    await time.run(10, () => count === 2)
    expect(time.nowMs).toBe(2)
  })
})
