import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SessionRecord, SnapshotRow } from '../../src/replica/messages.ts'
import type { KeyRecord, StateRecords } from '../../src/replica/output.ts'
import { sizeOf, type JsonValue, type Update } from '../../src/replica/update.ts'
import type { Origin, ServerId, Timestamp } from '../../src/replica/version.ts'
import { StorageError, type Store, type StoreBatch } from '../../src/storage/store.ts'

/** Something that keeps what a store has made durable: a folder, or a disk in memory. */
export interface Medium {
  /** Rejects with StorageError where it cannot be opened. */
  readonly open: (server?: ServerId) => Promise<Store>
  /** Opened again, it holds what is durable now, and nobody has it open: what a crash at this moment leaves. */
  readonly afterCrash: () => Promise<Medium>
  readonly remove: () => Promise<void>
}

/** All that a store recovers, in a form that can be compared: what has no order is sorted. */
export interface Content {
  readonly keys: readonly KeyRecord[]
  readonly rows: readonly { readonly origin: Origin; readonly known: Entries }[]
  readonly sessions: readonly SessionRecord[]
  readonly applied: Entries
  readonly checkpoint: number
  readonly log: readonly { readonly position: number; readonly update: Update; readonly bytes: number }[]
  readonly logEnd: number
  readonly logFloor: Entries
  readonly addresses: Store['addresses']
}

type Entries = readonly (readonly [Origin, Timestamp])[]

export function contentOf(store: Store): Content {
  const { keys, rows, sessions, applied, checkpoint, log, logEnd, logFloor } = store.recover()
  return {
    keys: sorted([...keys], ({ key }) => key),
    rows: sorted(
      Array.from(rows, ({ origin, known }) => ({ origin, known: entriesOf(known) })),
      ({ origin }) => origin,
    ),
    sessions: sorted([...sessions], ({ session }) => session),
    applied: entriesOf(applied),
    checkpoint,
    log: Array.from(log, ({ position, entry }) => ({ position, ...entry })),
    logEnd,
    logFloor: entriesOf(logFloor),
    addresses: store.addresses,
  }
}

/** An update of server 1 that writes one key. Its timestamp is `timestamp`. */
export function updateOf(timestamp: number, value: JsonValue = `value ${timestamp}`, key = 'x'): Update {
  return { origin: west, timestamp, previous: timestamp - 1, dependencies: {}, writes: [{ key, value }] }
}

/** A batch that appends one update at each of the given positions. */
export function appending(...positions: readonly number[]): StoreBatch {
  return { log: positions.map((position) => itemOf(position, updateOf(position + 1))) }
}

export function itemOf(position: number, update: Update): NonNullable<StoreBatch['log']>[number] {
  return { position, entry: { update, bytes: sizeOf(update) } }
}

export function recordOf(key: string, position: number, value: JsonValue = position): KeyRecord {
  return { key, position, siblings: [{ version: { timestamp: position + 1, origin: west }, value }] }
}

/** Records of a state; what is not given is empty. */
export function recordsOf(records: Partial<StateRecords>): StateRecords {
  return { keys: [], rows: [], sessions: [], ...records }
}

export function cutOf(...entries: readonly (readonly [Origin, Timestamp])[]): Map<Origin, Timestamp> {
  return new Map(entries)
}

export const west = '1~a' as Origin
export const east = '3~c' as Origin

/** The rules of the port, for any store that claims to keep them. */
export function describeStore(name: string, makeMedium: () => Promise<Medium>): void {
  describe(`${name} keeps the rules of the port`, () => {
    let medium: Medium
    let used: Medium[]

    beforeEach(async () => {
      medium = await makeMedium()
      used = [medium]
    })

    afterEach(async () => {
      await Promise.all(used.map(({ remove }) => remove()))
    })

    /** What a process that starts after a crash at this moment finds. */
    async function survivors(): Promise<Content> {
      const crashed = await medium.afterCrash()
      used.push(crashed)
      const store = await crashed.open()
      const content = contentOf(store)
      await store.close()
      return content
    }

    /** Makes the batches durable one after the other, and returns what is found after a crash. */
    async function surviving(...batches: readonly StoreBatch[]): Promise<Content> {
      const store = await medium.open()
      for (const batch of batches) await store.commit(batch)
      const content = await survivors()
      await store.close()
      return content
    }

    it('is fresh the first time, empty, and at position 0', async () => {
      const store = await medium.open()
      expect(store.isFresh).toBe(true)
      expect(contentOf(store)).toEqual({
        keys: [],
        rows: [],
        sessions: [],
        applied: [],
        checkpoint: 0,
        log: [],
        logEnd: 0,
        logFloor: [],
        addresses: [],
      })
      await store.close()
      const again = await medium.open()
      expect(again.isFresh).toBe(false)
      await again.close()
    })

    it('R6: an update whose commit has resolved is there after a crash', async () => {
      const { log, logEnd } = await surviving(appending(0, 1), appending(2))
      expect(log.map(({ position, update }) => [position, update])).toEqual([
        [0, updateOf(1)],
        [1, updateOf(2)],
        [2, updateOf(3)],
      ])
      expect(logEnd).toBe(3)
    })

    it('measures recovered updates as they were measured before', async () => {
      const { log } = await surviving(appending(0))
      expect(log[0]?.bytes).toBe(sizeOf(updateOf(1)))
    })

    it('takes commits while others are under way, in the order in which they were made', async () => {
      const store = await medium.open()
      const order: number[] = []
      const positions = Array.from({ length: 50 }, (_, position) => position)
      await Promise.all(
        positions.map(async (position) => {
          await store.commit(appending(position))
          order.push(position)
        }),
      )
      expect(order).toEqual(positions)
      expect((await survivors()).log.map(({ position }) => position)).toEqual(positions)
      await store.close()
    })

    it('lets commits that are under way end before it closes, and takes none afterwards', async () => {
      const store = await medium.open()
      const commits = [store.commit(appending(0)), store.commit(appending(1))]
      await store.close()
      await Promise.all(commits)
      await expect(store.commit(appending(2))).rejects.toThrow(StorageError)
      const again = await medium.open()
      expect(contentOf(again).log).toHaveLength(2)
      await again.close()
    })

    it('takes a batch as it was when it was committed, though its cuts rise at once', async () => {
      const store = await medium.open()
      const applied = cutOf([west, 1])
      const known = cutOf([west, 1])
      const rows: SnapshotRow[] = [{ origin: west, known }]
      const committed = store.commit({ checkpoint: { position: 0, applied, rows } })
      applied.set(west, 9)
      known.set(west, 9)
      rows.pop()
      await committed
      const content = await survivors()
      expect(content.applied).toEqual([[west, 1]])
      expect(content.rows).toEqual([{ origin: west, known: [[west, 1]] }])
      await store.close()
    })

    it('goes on after a gap in the positions, also within a commit', async () => {
      const { log, logEnd } = await surviving(appending(0, 1, 5, 6), appending(9))
      expect(log.map(({ position }) => position)).toEqual([0, 1, 5, 6, 9])
      expect(logEnd).toBe(10)
    })

    it('refuses a position that does not rise, and stays as it was', async () => {
      const store = await medium.open()
      await store.commit(appending(4))
      await expect(store.commit(appending(4))).rejects.toThrow('position 4 is not at or after 5')
      await store.commit(appending(5))
      expect((await survivors()).log.map(({ position }) => position)).toEqual([4, 5])
      await store.close()
    })

    it('keeps members of updates that this release does not know, and numbers to the last digit', async () => {
      const update = { ...updateOf(1, { n: 0.1, big: 9007199254740991 }), colour: 'blue' }
      const { log } = await surviving({ log: [itemOf(0, update)] })
      expect(log[0]?.update).toEqual(update)
    })

    it('keeps an update with a value of 1 MiB and one with ten thousand writes', async () => {
      const long = updateOf(1, 'é'.repeat(512 << 10))
      const wide: Update = {
        ...updateOf(2),
        writes: Array.from({ length: 10_000 }, (_, index) => ({ key: `k${index}`, value: index })),
      }
      const content = await surviving({
        log: [itemOf(0, long), itemOf(1, wide)],
        state: recordsOf({ keys: [recordOf('long', 2, 'é'.repeat(512 << 10))] }),
      })
      expect(content.log.map(({ update }) => update)).toEqual([long, wide])
      expect(content.keys).toEqual([recordOf('long', 2, 'é'.repeat(512 << 10))])
    })

    describe('the state', () => {
      it('replaces a key, a row and a session as a whole', async () => {
        const content = await surviving(
          {
            state: recordsOf({
              keys: [recordOf('x', 1), recordOf('y', 1)],
              rows: [{ origin: west, known: cutOf([west, 1], [east, 2]) }],
              sessions: [sessionOf('alice', 1), sessionOf('bob', 1)],
            }),
          },
          {
            state: recordsOf({
              keys: [recordOf('x', 2)],
              rows: [{ origin: west, known: cutOf([west, 3]) }],
              sessions: [sessionOf('alice', 2)],
            }),
          },
        )
        expect(content.keys).toEqual([recordOf('x', 2), recordOf('y', 1)])
        expect(content.rows).toEqual([{ origin: west, known: [[west, 3]] }])
        expect(content.sessions).toEqual([sessionOf('alice', 2), sessionOf('bob', 1)])
      })

      it('removes a session of which nothing is kept, also where that came with a snapshot', async () => {
        const kept = { state: recordsOf({ sessions: ['a', 'b', 'c'].map((name) => sessionOf(name, 1)) }) }
        const emptied = (session: string) => recordsOf({ sessions: [{ session, letGo: 0, answers: [] }] })
        const install = { position: 1, applied: new Map(), logFloor: new Map() }
        const content = await surviving(kept, { state: emptied('a') }, { staged: emptied('b') }, { install })
        expect(content.sessions).toEqual([sessionOf('c', 1)])
      })

      it('R12: keeps tombstones, and thousands of siblings of one key', async () => {
        const siblings = Array.from({ length: 3_000 }, (_, index) => ({
          version: { timestamp: 4_000 - index, origin: `${index}~a` as Origin },
          ...(index % 2 === 0 ? { deleted: true as const } : { value: { index } }),
        })) as unknown as KeyRecord['siblings']
        const record = { key: 'x', position: 7, siblings }
        const { keys } = await surviving({ state: recordsOf({ keys: [record] }) })
        expect(keys).toEqual([record])
      })

      it('takes every key that a user may give, and keeps keys, rows and sessions of one name apart', async () => {
        const names = [
          '__proto__',
          'constructor',
          '\u0000',
          'a\u0000',
          'a',
          'k',
          'kk',
          ' ',
          '\n',
          '\uffff',
          '💡'.repeat(256),
          'é'.repeat(512),
          '\u0001'.repeat(1024),
        ]
        const keys = names.map((key, index) => recordOf(key, index))
        const sessions = names.map((session, index) => sessionOf(session, index + 1))
        const content = await surviving({ state: recordsOf({ keys, sessions }) })
        expect(content.keys).toEqual(sorted(keys, ({ key }) => key))
        expect(content.sessions).toEqual(sorted(sessions, ({ session }) => session))
      })

      it('takes as many of the longest keys as there may be, in a checkpoint and in a snapshot', async () => {
        // Of each length from 641 bytes to the longest, so that wherever they fall, some fall badly.
        const keys = Array.from({ length: 384 }, (_, index) => `${index} `.padEnd(641 + index, 'k'))
        const records = keys.map((key, index) => recordOf(key, index))
        const kept = await surviving({ state: recordsOf({ keys: records }) })
        expect(kept.keys).toEqual(sorted(records, ({ key }) => key))
        const install = { position: 1_000, applied: cutOf(), logFloor: cutOf() }
        const taken = await surviving({ staged: recordsOf({ keys: records }) }, { install })
        expect(taken.keys).toEqual(sorted(records, ({ key }) => key))
      })

      it('keeps a value whose members are called as those of every object are', async () => {
        const value = JSON.parse('{"__proto__":{"a":1},"constructor":2}') as JsonValue
        const { keys } = await surviving({ state: recordsOf({ keys: [recordOf('x', 0, value)] }) })
        expect(JSON.stringify(keys[0]?.siblings[0].value)).toBe('{"__proto__":{"a":1},"constructor":2}')
      })
    })

    describe('a checkpoint', () => {
      it('has its position, its cut and its rows; its keys may be newer, and rows that it leaves out stay', async () => {
        const content = await surviving(
          appending(0, 1, 2),
          {
            state: recordsOf({
              keys: [recordOf('x', 3)],
              rows: [{ origin: east, known: cutOf([east, 1]) }],
            }),
          },
          {
            ...appending(3),
            state: recordsOf({ keys: [recordOf('y', 4)] }),
            checkpoint: {
              position: 3,
              applied: cutOf([west, 3]),
              rows: [{ origin: west, known: cutOf([west, 3]) }],
            },
          },
        )
        expect(content).toMatchObject({ checkpoint: 3, applied: [[west, 3]], logEnd: 4 })
        expect(content.keys).toEqual([recordOf('x', 3), recordOf('y', 4)])
        expect(content.rows).toEqual([
          { origin: west, known: [[west, 3]] },
          { origin: east, known: [[east, 1]] },
        ])
        expect(content.log.map(({ position }) => position)).toEqual([0, 1, 2, 3])
      })

      it('never falls', async () => {
        const store = await medium.open()
        const at = (position: number): StoreBatch => ({
          checkpoint: { position, applied: cutOf(), rows: [] },
        })
        await store.commit(at(5))
        await expect(store.commit(at(4))).rejects.toThrow('the checkpoint would fall from 5 to 4')
        await store.close()
      })
    })

    describe('a trim', () => {
      const trimTo = (position: number): StoreBatch => ({
        trim: { position, logFloor: cutOf([west, position]) },
      })
      const checkpointAt = (position: number): StoreBatch => ({
        checkpoint: { position, applied: cutOf([west, position]), rows: [] },
      })

      it('R8: lets go of what is before it, and keeps the floor that covers that', async () => {
        const content = await surviving(
          appending(0),
          appending(1, 2, 3),
          appending(4),
          checkpointAt(5),
          trimTo(3),
        )
        expect(content.log.map(({ position }) => position)).toEqual([3, 4])
        expect(content).toMatchObject({ logFloor: [[west, 3]], logEnd: 5, checkpoint: 5 })
      })

      it('never lets go of what the checkpoint needs, and does it when the checkpoint has moved on', async () => {
        const store = await medium.open()
        for (const position of [0, 1, 2, 3]) await store.commit(appending(position))
        await store.commit(checkpointAt(1))
        await store.commit(trimTo(3))
        expect((await survivors()).log.map(({ position }) => position)).toEqual([1, 2, 3])
        await store.commit(checkpointAt(4))
        expect((await survivors()).log.map(({ position }) => position)).toEqual([3])
        await store.close()
      })

      it('of the whole log leaves the position where it goes on', async () => {
        const store = await medium.open()
        await store.commit(appending(0, 1, 2))
        await store.commit({ ...checkpointAt(3), ...trimTo(3) })
        await store.close()
        const again = await medium.open()
        expect(contentOf(again)).toMatchObject({ log: [], logEnd: 3, checkpoint: 3 })
        await again.commit(appending(3))
        expect((await survivors()).log.map(({ position }) => position)).toEqual([3])
        await again.close()
      })

      it('of a long log comes to its end over the commits that follow', async () => {
        const store = await medium.open()
        for (let position = 0; position < 5_000; position++) void store.commit(appending(2 * position))
        await store.commit(checkpointAt(10_000))
        await store.commit(trimTo(10_000))
        for (let commits = 0; commits < 5; commits++) await store.commit({ addresses: [] })
        await store.commit(appending(10_000))
        expect(await survivors()).toMatchObject({ logEnd: 10_001, log: [{ position: 10_000 }] })
        await store.close()
      })
    })

    describe('R8: a snapshot that is taken in', () => {
      const before: StoreBatch = {
        ...appending(0, 1),
        state: recordsOf({
          keys: [recordOf('mine', 1), recordOf('both', 1)],
          rows: [{ origin: west, known: cutOf([west, 1]) }],
          sessions: [sessionOf('alice', 1)],
        }),
        checkpoint: { position: 2, applied: cutOf([west, 2]), rows: [] },
      }
      const staged: StoreBatch = {
        staged: recordsOf({
          keys: [recordOf('both', 9, 'theirs'), recordOf('theirs', 9)],
          rows: [{ origin: east, known: cutOf([east, 4]) }],
          sessions: [sessionOf('bob', 3)],
        }),
      }
      const install: StoreBatch = {
        install: { position: 10, applied: cutOf([west, 2], [east, 4]), logFloor: cutOf([east, 4]) },
      }
      const installed = {
        keys: [recordOf('both', 9, 'theirs'), recordOf('mine', 1), recordOf('theirs', 9)],
        rows: [
          { origin: west, known: [[west, 1]] },
          { origin: east, known: [[east, 4]] },
        ],
        sessions: [sessionOf('alice', 1), sessionOf('bob', 3)],
        applied: [
          [west, 2],
          [east, 4],
        ],
        checkpoint: 10,
        logEnd: 10,
        logFloor: [[east, 4]],
      }

      it('changes nothing before it is installed, and a crash forgets it', async () => {
        const plain = await surviving(before)
        const store = await medium.open()
        await store.commit({ unstage: true, ...staged })
        const crashed = await medium.afterCrash()
        used.push(crashed)
        await store.close()
        const next = await crashed.open()
        expect(contentOf(next)).toEqual(plain)
        await next.commit({ install: { position: 10, applied: cutOf([west, 2]), logFloor: cutOf() } })
        await next.close()
        const last = await crashed.open()
        expect(contentOf(last).keys).toEqual(plain.keys)
        await last.close()
      })

      it('takes the place of the same records at once, and leaves all others and the log', async () => {
        const content = await surviving(before, { unstage: true, ...staged }, install)
        expect(content).toMatchObject(installed)
        expect(content.log.map(({ position }) => position)).toEqual([0, 1])
      })

      it('may come in one commit, or in several that are under way together', async () => {
        const store = await medium.open()
        await Promise.all([
          store.commit(before),
          store.commit({ unstage: true, staged: recordsOf({ keys: [recordOf('stale', 3)] }) }),
          store.commit({ unstage: true, ...staged, ...install }),
        ])
        expect(await survivors()).toMatchObject(installed)
        await store.close()
      })

      it('is overwritten by what comes after it, also by a second one', async () => {
        const store = await medium.open()
        await Promise.all([
          store.commit(before),
          store.commit({ unstage: true, ...staged, ...install }),
          store.commit({ ...appending(10), state: recordsOf({ keys: [recordOf('theirs', 11)] }) }),
          store.commit({ unstage: true, staged: recordsOf({ keys: [recordOf('both', 12)] }) }),
        ])
        expect((await survivors()).keys).toEqual([
          recordOf('both', 9, 'theirs'),
          recordOf('mine', 1),
          recordOf('theirs', 11),
        ])
        await store.commit({ install: { position: 12, applied: cutOf(), logFloor: cutOf() } })
        expect((await survivors()).keys).toEqual([
          recordOf('both', 12),
          recordOf('mine', 1),
          recordOf('theirs', 11),
        ])
        await store.close()
      })

      it('of many records is the same however far it has found its place', async () => {
        const many = Array.from({ length: 3_000 }, (_, index) =>
          recordOf(`k${String(index).padStart(5, '0')}`, 9, 'v'.repeat(1_000)),
        )
        const store = await medium.open()
        await store.commit({ state: recordsOf({ keys: many.map(({ key }) => recordOf(key, 1)) }) })
        await store.commit({ staged: recordsOf({ keys: many }), ...install })
        const expected = [...many]
        for (let commits = 0; commits < 6; commits++) {
          const index = 2_999 - commits
          const record = recordOf(many[index]?.key ?? '', 11 + commits)
          expected[index] = record
          await store.commit({ ...appending(10 + commits), state: recordsOf({ keys: [record] }) })
          expect((await survivors()).keys).toEqual(expected)
        }
        await store.close()
      })
    })

    it('keeps the addresses that it was given last', async () => {
      const store = await medium.open()
      await store.commit({ addresses: [{ host: '127.0.0.1', port: 1 }] })
      await store.commit({
        addresses: [
          { host: '::1', port: 60001 },
          { host: 'east.example', port: 60003 },
        ],
      })
      await store.commit(appending(0))
      expect((await survivors()).addresses).toEqual([
        { host: '::1', port: 60001 },
        { host: 'east.example', port: 60003 },
      ])
      await store.close()
    })

    it('takes an empty batch, which is durable when all before it is', async () => {
      const store = await medium.open()
      void store.commit(appending(0))
      await store.commit({})
      expect((await survivors()).logEnd).toBe(1)
      await store.close()
    })

    it('R7: is open once at a time, and for one server id', async () => {
      const store = await medium.open('1')
      await expect(medium.open('1')).rejects.toThrow(StorageError)
      await store.commit(appending(0))
      await store.close()
      await expect(medium.open('2')).rejects.toThrow(/"1".*"2"/)
      const again = await medium.open('1')
      expect(contentOf(again).logEnd).toBe(1)
      await again.close()
    })
  })
}

function sessionOf(session: string, number: number): SessionRecord {
  return {
    session,
    letGo: number - 1,
    answers: [{ number, version: { timestamp: number + 1, origin: west }, fingerprint: 77 }],
  }
}

function entriesOf(cut: Iterable<readonly [Origin, Timestamp]>): Entries {
  return sorted([...cut], ([origin]) => origin)
}

function sorted<Item>(items: readonly Item[], nameOf: (item: Item) => string): readonly Item[] {
  return items.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0))
}
