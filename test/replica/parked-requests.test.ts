import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { coversCut, raise, raiseAll, type Cut, type MutableCut } from '../../src/replica/cut.ts'
import { ParkedRequests, type ParkedRequest } from '../../src/replica/parked-requests.ts'
import type { Origin, Timestamp } from '../../src/replica/version.ts'
import { originOf } from './update-builder.ts'

/** By server: `{ '1': 3 }` covers the updates of server 1 up to timestamp 3. */
function cutOf(entries: Readonly<Record<string, number>>): MutableCut {
  return new Map(Object.entries(entries).map(([server, timestamp]) => [originOf(server), timestamp]))
}

let lastId = 0

function requestAfter(
  after: Readonly<Record<string, number>> | Cut,
  options: { readonly client?: number; readonly deadlineMs?: number } = {},
): ParkedRequest {
  const cut = after instanceof Map ? (after as Cut) : cutOf(after as Readonly<Record<string, number>>)
  return {
    client: options.client ?? 1,
    id: ++lastId,
    request: { method: 'read', keys: ['k'], after: cut },
    after: cut,
    deadlineMs: options.deadlineMs ?? 5_000,
    bytes: 10,
  }
}

/** Parked requests with the cut that they wait for, which they are told of as a replica tells them. */
class Bench {
  readonly applied: MutableCut = new Map()
  readonly parked: ParkedRequests

  constructor(max = 100) {
    this.parked = new ParkedRequests({ max })
  }

  park(...requests: readonly ParkedRequest[]): void {
    for (const request of requests) this.parked.park(request, this.applied)
  }

  apply(server: string, timestamp: number): void {
    raise(this.applied, originOf(server), timestamp)
    this.parked.wake(originOf(server), this.applied)
  }

  install(entries: Readonly<Record<string, number>>): void {
    raiseAll(this.applied, cutOf(entries))
    this.parked.recheck(this.applied)
  }

  takeAllReady(): readonly ParkedRequest[] {
    const taken: ParkedRequest[] = []
    for (let next = this.parked.takeReady(); next !== undefined; next = this.parked.takeReady())
      taken.push(next)
    return taken
  }
}

describe('R9: a request that is to come after a cut', () => {
  it('is ready with the update that covers the last of it, and not before', () => {
    const bench = new Bench()
    const request = requestAfter({ '1': 3, '2': 5 })
    bench.park(request)
    bench.apply('1', 2)
    bench.apply('2', 5)
    expect(bench.takeAllReady()).toEqual([])
    bench.apply('1', 3)
    expect(bench.parked.readyCount).toBe(1)
    expect(bench.takeAllReady()).toEqual([request])
    expect(bench.parked.size).toBe(0)
  })

  it('is ready with an update beyond what it needs, as timestamps have gaps', () => {
    const bench = new Bench()
    const request = requestAfter({ '1': 3 })
    bench.park(request)
    bench.apply('1', 9)
    expect(bench.takeAllReady()).toEqual([request])
  })

  it('is ready at once if its cut is covered, behind those that are ready already', () => {
    const bench = new Bench()
    const first = requestAfter({ '1': 1 })
    bench.park(first)
    bench.apply('1', 1)
    const second = requestAfter({ '1': 1 })
    const third = requestAfter({})
    bench.park(second, third)
    expect(bench.takeAllReady()).toEqual([first, second, third])
  })

  it('is carried out after those of its client that came before it with the same cut or a lower one', () => {
    const bench = new Bench()
    const sent = [
      requestAfter({ '2': 4 }),
      requestAfter({ '1': 3, '2': 4 }),
      requestAfter({ '2': 4, '1': 3 }),
      requestAfter({ '1': 3, '2': 4, '3': 1 }),
      requestAfter({ '3': 1, '2': 4, '1': 3 }),
    ]
    bench.park(...sent)
    for (const server of ['3', '1', '2']) bench.apply(server, 4)
    expect(bench.takeAllReady()).toEqual(sent)
  })

  it('is ready in the order of arrival with others that one snapshot made ready, whatever they waited for', () => {
    const bench = new Bench()
    const sent = [
      requestAfter({ '2': 9 }),
      requestAfter({ '1': 1 }),
      requestAfter({ '2': 3 }),
      requestAfter({ '1': 5 }),
    ]
    const patient = requestAfter({ '1': 5, '3': 1 })
    bench.park(patient, ...sent)
    bench.install({ '1': 5, '2': 9 })
    expect(bench.takeAllReady()).toEqual(sent)
    expect([...bench.parked]).toEqual([patient])
    bench.apply('3', 1)
    expect(bench.takeAllReady()).toEqual([patient])
  })

  it('expires when its time is up, and those first whose time was up first', () => {
    const bench = new Bench()
    const late = requestAfter({ '1': 1 }, { deadlineMs: 900 })
    const early = requestAfter({ '2': 1 }, { deadlineMs: 300 })
    const alsoEarly = requestAfter({ '1': 7 }, { deadlineMs: 300 })
    const last = requestAfter({ '1': 1 }, { deadlineMs: 901 })
    bench.park(late, early, alsoEarly, last)
    expect(bench.parked.takeExpired(299)).toEqual([])
    expect(bench.parked.takeExpired(900)).toEqual([early, alsoEarly, late])
    expect([...bench.parked]).toEqual([last])
    bench.apply('1', 7)
    expect(bench.takeAllReady()).toEqual([last])
  })

  it('does not expire once it is ready', () => {
    const bench = new Bench()
    const request = requestAfter({ '1': 1 }, { deadlineMs: 300 })
    bench.park(request)
    bench.apply('1', 1)
    expect(bench.parked.takeExpired(1_000)).toEqual([])
    expect(bench.takeAllReady()).toEqual([request])
  })

  it('is forgotten with its client, waiting or ready', () => {
    const bench = new Bench()
    const gone = [requestAfter({ '1': 1 }, { client: 7 }), requestAfter({ '2': 1 }, { client: 7 })]
    const stays = [requestAfter({ '1': 1 }, { client: 8 }), requestAfter({ '2': 1 }, { client: 8 })]
    bench.park(...gone, ...stays)
    bench.apply('1', 1)
    bench.parked.forgetClient(7)
    expect(bench.parked.size).toBe(2)
    expect(bench.parked.readyCount).toBe(1)
    bench.apply('2', 1)
    expect(bench.takeAllReady()).toEqual(stays)
    expect(bench.parked.takeExpired(10_000)).toEqual([])
  })

  it('can be taken out while it waits, and not when it is ready or gone', () => {
    const bench = new Bench()
    const [waiting, ready, never] = [
      requestAfter({ '2': 1 }),
      requestAfter({ '1': 1 }),
      requestAfter({ '2': 1 }),
    ]
    bench.park(waiting, ready)
    bench.apply('1', 1)
    expect([waiting, ready, never, waiting].map((request) => bench.parked.remove(request))).toEqual([
      true,
      false,
      false,
      false,
    ])
    expect(bench.takeAllReady()).toEqual([ready])
    expect(bench.parked.size).toBe(0)
  })

  it('counts against the bound until it is carried out', () => {
    const bench = new Bench(2)
    bench.park(requestAfter({ '1': 1 }))
    expect(bench.parked.isFull).toBe(false)
    bench.park(requestAfter({ '1': 2 }))
    expect(bench.parked.isFull).toBe(true)
    bench.apply('1', 1)
    expect(bench.parked.isFull).toBe(true)
    bench.takeAllReady()
    expect(bench.parked.isFull).toBe(false)
  })

  it('is where a list that is searched from end to end at every change says it is, whatever happens', () => {
    const servers = ['1', '2', '3']
    const max = 24
    const afters = fc.dictionary(fc.constantFrom(...servers), fc.integer({ min: 1, max: 30 }), {
      noNullPrototype: true,
    })
    const commands = fc.oneof(
      {
        weight: 12,
        arbitrary: fc.record({
          kind: fc.constant('park' as const),
          after: afters,
          client: fc.nat({ max: 2 }),
          deadlineMs: fc.nat({ max: 40 }),
        }),
      },
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant('apply' as const),
          server: fc.constantFrom(...servers),
          by: fc.integer({ min: 1, max: 3 }),
        }),
      },
      fc.record({ kind: fc.constant('install' as const), entries: afters }),
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('takeReady' as const) }) },
      fc.record({ kind: fc.constant('expire' as const), byMs: fc.nat({ max: 12 }) }),
      fc.record({ kind: fc.constant('forget' as const), client: fc.nat({ max: 2 }) }),
      fc.record({ kind: fc.constant('remove' as const), place: fc.nat({ max: max - 1 }) }),
    )
    fc.assert(
      fc.property(fc.array(commands, { maxLength: 150, size: 'max' }), (commands) => {
        const bench = new Bench(max)
        let waiting: ParkedRequest[] = []
        let ready: ParkedRequest[] = []
        let nowMs = 0
        const settle = (): void => {
          ready.push(...waiting.filter(({ after }) => coversCut(bench.applied, after)))
          waiting = waiting.filter(({ after }) => !coversCut(bench.applied, after))
        }
        for (const command of commands) {
          switch (command.kind) {
            case 'park': {
              if (bench.parked.isFull) break
              const request = requestAfter(command.after, command)
              bench.park(request)
              waiting.push(request)
              settle()
              break
            }
            case 'apply': {
              const before = bench.applied.get(originOf(command.server)) ?? 0
              bench.apply(command.server, before + command.by)
              settle()
              break
            }
            case 'install':
              bench.install(command.entries)
              settle()
              break
            case 'takeReady':
              expect(bench.parked.takeReady()).toBe(ready.shift())
              break
            case 'expire': {
              nowMs += command.byMs
              const expired = waiting.filter(({ deadlineMs }) => deadlineMs <= nowMs)
              waiting = waiting.filter(({ deadlineMs }) => deadlineMs > nowMs)
              // Sorting leaves those of one moment in the order of their arrival.
              expect(bench.parked.takeExpired(nowMs)).toEqual(
                expired.toSorted((a, b) => a.deadlineMs - b.deadlineMs),
              )
              break
            }
            case 'forget':
              bench.parked.forgetClient(command.client)
              waiting = waiting.filter(({ client }) => client !== command.client)
              ready = ready.filter(({ client }) => client !== command.client)
              break
            case 'remove': {
              const request = [...waiting, ...ready][command.place]
              if (request === undefined) break
              expect(bench.parked.remove(request)).toBe(waiting.includes(request))
              waiting = waiting.filter((other) => other !== request)
              break
            }
          }
          expect([...bench.parked]).toEqual(waiting)
          expect(bench.parked.readyCount).toBe(ready.length)
          expect(bench.parked.size).toBe(waiting.length + ready.length)
          expect(bench.parked.bytes).toBe(10 * (waiting.length + ready.length))
          expect(bench.parked.isFull).toBe(waiting.length + ready.length === max)
        }
        expect(bench.takeAllReady()).toEqual(ready)
      }),
      { numRuns: 150 },
    )
  })
})

/** Counts how often its numbers are compared: they are objects, which a comparison asks for their values. */
class ComparisonCount {
  count = 0

  number(value: number): number {
    const counted = {
      valueOf: () => {
        this.count++
        return value
      },
    }
    return counted as unknown as number
  }
}

/** A cut that counts how often it is looked into. */
class CountedCut extends Map<Origin, Timestamp> {
  lookUps = 0

  override get(origin: Origin): Timestamp | undefined {
    this.lookUps++
    return super.get(origin)
  }
}

describe('R9: the cost of 65,536 parked requests', () => {
  const count = 65_536
  /** Twice the depth of their heap, each way, for two heaps. */
  const comparisonsMax = 2 * 2 * 16 * 2 * count
  const hub = originOf('hub')

  /** All wait for one server, for its 1st, 2nd, … update, and end at different times, in scattered orders. */
  function parkAll(comparisons: ComparisonCount, parked: ParkedRequests): readonly ParkedRequest[] {
    const requests = Array.from({ length: count }, (_, index) => {
      const need = comparisons.number(((index * 7_919) % count) + 1)
      const deadlineMs = comparisons.number(((index * 104_729) % count) + 1)
      return requestAfter(new Map([[hub, need]]), { client: index % 2, deadlineMs })
    })
    for (const request of requests) parked.park(request, new Map())
    return requests
  }

  it('is a few comparisons each, parked and woken one by one', () => {
    const comparisons = new ComparisonCount()
    const parked = new ParkedRequests({ max: count })
    parkAll(comparisons, parked)
    const applied: MutableCut = new Map()
    for (let timestamp = 1; timestamp <= count; timestamp++) {
      applied.set(hub, timestamp)
      parked.wake(hub, applied)
      if (parked.takeReady() === undefined) throw new Error(`nobody was woken by ${timestamp}`)
    }
    expect(parked.size).toBe(0)
    expect(comparisons.count).toBeLessThan(comparisonsMax)
  })

  it('is a few comparisons each, woken all at once, and none to take them', () => {
    const comparisons = new ComparisonCount()
    const parked = new ParkedRequests({ max: count })
    const requests = parkAll(comparisons, parked)
    parked.wake(hub, new Map([[hub, count]]))
    expect(comparisons.count).toBeLessThan(comparisonsMax)
    comparisons.count = 0
    for (const request of requests) if (parked.takeReady() !== request) throw new Error('out of order')
    expect(comparisons.count).toBe(0)
  })

  it('is a few comparisons each, expired or forgotten with their client', () => {
    const comparisons = new ComparisonCount()
    const parked = new ParkedRequests({ max: count })
    parkAll(comparisons, parked)
    parked.forgetClient(0)
    expect(parked.size).toBe(count / 2)
    expect(parked.takeExpired(count)).toHaveLength(count / 2)
    expect(comparisons.count).toBeLessThan(comparisonsMax)
  })

  it('is one comparison for a tick at which none expires', () => {
    const comparisons = new ComparisonCount()
    const parked = new ParkedRequests({ max: count })
    parkAll(comparisons, parked)
    comparisons.count = 0
    expect(parked.takeExpired(0)).toEqual([])
    expect(comparisons.count).toBe(1)
  })

  it('is one look at what is applied for an update that wakes none, and no look if nobody waits for its server', () => {
    const parked = new ParkedRequests({ max: count })
    for (let index = 0; index < count; index++) parked.park(requestAfter({ hub: index + 2 }), new Map())
    const applied = new CountedCut([[hub, 1]])
    parked.wake(originOf('other'), applied)
    expect(applied.lookUps).toBe(0)
    parked.wake(hub, applied)
    expect(applied.lookUps).toBe(1)
    expect(parked.readyCount).toBe(0)
  })

  it('is no look for an update of a server that is no longer waited for, however that came to its end', () => {
    const endings: readonly ((bench: Bench, request: ParkedRequest) => unknown)[] = [
      (bench) => bench.apply('1', 1),
      (bench) => bench.install({ '1': 1 }),
      (bench, request) => bench.parked.remove(request),
      (bench) => bench.parked.takeExpired(5_000),
      (bench) => bench.parked.forgetClient(1),
    ]
    for (const end of endings) {
      const bench = new Bench()
      const request = requestAfter({ '1': 1 })
      bench.park(request)
      end(bench, request)
      const applied = new CountedCut([[originOf('1'), 2]])
      bench.parked.wake(originOf('1'), applied)
      expect(applied.lookUps, String(end)).toBe(0)
    }
  })

  it('is a few looks at each entry of a wide cut, in whatever order the entries are applied', () => {
    const width = 1_000
    const after = Object.fromEntries(Array.from({ length: width }, (_, index) => [`s${index}`, 1]))
    for (const servers of [Object.keys(after), Object.keys(after).toReversed()]) {
      const parked = new ParkedRequests({ max: 1 })
      const applied = new CountedCut()
      parked.park(requestAfter(after), applied)
      for (const server of servers) {
        applied.set(originOf(server), 1)
        parked.wake(originOf(server), applied)
      }
      expect(parked.readyCount).toBe(1)
      expect(applied.lookUps).toBeLessThanOrEqual(3 * width)
    }
  })
})
