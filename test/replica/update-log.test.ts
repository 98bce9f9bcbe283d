import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { raise, type Cut } from '../../src/replica/cut.ts'
import { UpdateLog, type LogEntry } from '../../src/replica/update-log.ts'
import type { Origin } from '../../src/replica/version.ts'
import { buildUpdate, originOf, versionOf } from './update-builder.ts'

/** A log in which server i of `servers` wrote the i-th update, each having applied nothing of the others. */
function logOf(servers: readonly string[], bytes = 100): UpdateLog {
  const log = new UpdateLog({ updatesMax: 1_000_000, bytesMax: 1 << 30 })
  const last = new Map<string, number>()
  for (const [index, server] of servers.entries()) {
    const update = buildUpdate({ server, timestamp: index + 1, previous: last.get(server) ?? 0 })
    last.set(server, index + 1)
    log.append({ update, bytes })
  }
  return log
}

function timestampsOf(entries: readonly LogEntry[]): readonly number[] {
  return entries.map(({ update }) => update.timestamp)
}

const roomy = { updatesMax: 1_000, bytesMax: 1_000_000 }

describe('a page of the log (R8)', () => {
  it('is what a dumb filter of the whole log gives, cut off at the limits', () => {
    const server = fc.constantFrom('1', '2', '3')
    const origins = fc.uniqueArray(server.map(originOf))
    fc.assert(
      fc.property(
        fc.array(fc.tuple(server, fc.integer({ min: 1, max: 50 })), { maxLength: 40 }),
        fc.uniqueArray(fc.tuple(server.map(originOf), fc.nat(40)), { selector: ([origin]) => origin }),
        fc.option(origins, { nil: undefined }),
        fc.option(origins, { nil: undefined }),
        fc.record({ updatesMax: fc.integer({ min: 1, max: 8 }), bytesMax: fc.integer({ min: 1, max: 200 }) }),
        (history, cutEntries, only, except, limits) => {
          const log = new UpdateLog({ updatesMax: 1_000_000, bytesMax: 1 << 30 })
          const all: LogEntry[] = []
          const last = new Map<string, number>()
          for (const [index, [server, bytes]] of history.entries()) {
            const timestamp = index + 1
            const entry = {
              update: buildUpdate({ server, timestamp, previous: last.get(server) ?? 0 }),
              bytes,
            }
            last.set(server, timestamp)
            all.push(entry)
            log.append(entry)
          }
          // A cut that is a cut of this history: its entries are timestamps of its origins.
          const cut: Map<Origin, number> = new Map()
          for (const [origin, upTo] of cutEntries) {
            for (const { update } of all) {
              if (update.origin === origin && update.timestamp <= upTo) raise(cut, origin, update.timestamp)
            }
          }
          const page = log.page({
            cut,
            limits,
            ...(only === undefined ? {} : { only: new Set(only) }),
            ...(except === undefined ? {} : { except: new Set(except) }),
          })
          const wanted = all.filter(
            ({ update }) =>
              update.timestamp > (cut.get(update.origin) ?? 0) &&
              (only === undefined || only.includes(update.origin)) &&
              except?.includes(update.origin) !== true,
          )
          let count = 0
          let bytes = 0
          for (const entry of wanted) {
            bytes += entry.bytes
            if (count > 0 && (count === limits.updatesMax || bytes > limits.bytesMax)) break
            count++
          }
          expect(page.entries).toEqual(wanted.slice(0, count))
          expect(page.more).toBe(count < wanted.length)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('is in the order of application however many origins are behind, each with several updates', () => {
    const servers = Array.from({ length: 600 }, (_, index) => `${(index * 7) % 200}`)
    const log = logOf(servers)
    const page = log.page({ cut: new Map(), limits: roomy })
    expect(timestampsOf(page.entries)).toEqual(servers.map((_, index) => index + 1))
    expect(page.more).toBe(false)
  })

  it('holds at least one update, however large', () => {
    const log = logOf(['1', '1'], 5_000)
    const page = log.page({ cut: new Map(), limits: { updatesMax: 10, bytesMax: 100 } })
    expect([timestampsOf(page.entries), page.more]).toEqual([[1], true])
  })

  it('leaves out what could only wait for an excepted origin, and all that follows from that', () => {
    const log = new UpdateLog({ updatesMax: 1_000_000, bytesMax: 1 << 30 })
    const updates = [
      buildUpdate({ server: '1', timestamp: 1 }),
      buildUpdate({ server: '2', timestamp: 2, needs: { '1': 1 } }),
      buildUpdate({ server: '3', timestamp: 1 }),
      buildUpdate({ server: '2', timestamp: 3, previous: 2, needs: { '3': 1 } }),
      buildUpdate({ server: '3', timestamp: 4, previous: 1, needs: { '2': 3 } }),
    ]
    for (const update of updates) log.append({ update, bytes: 100 })
    const pageFor = (cut: Cut): readonly LogEntry[] =>
      log.page({ cut, except: new Set([originOf('1')]), limits: roomy }).entries
    expect(pageFor(new Map()).map(({ update }) => update)).toEqual([updates[2]])
    // Whoever has the excepted update already may have the rest.
    expect(pageFor(new Map([[originOf('1'), 1]])).map(({ update }) => update)).toEqual(updates.slice(1))
  })
})

describe('the log', () => {
  it('finds an update by its version, and nothing for a version between two', () => {
    const log = logOf(['1', '2', '1', '2'])
    expect(log.find(versionOf('1', 3))?.timestamp).toBe(3)
    expect(log.find(versionOf('1', 2))).toBeUndefined()
    expect(log.find(versionOf('1', 9))).toBeUndefined()
    expect(log.find(versionOf('9', 1))).toBeUndefined()
    expect(log.end).toBe(4)
    expect(log.at(1)?.update.timestamp).toBe(2)
    expect(log.at(4)).toBeUndefined()
  })
})
