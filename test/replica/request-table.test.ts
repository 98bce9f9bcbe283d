import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RequestLimits } from '../../src/replica/configuration.ts'
import type { KeptAnswer, RequestStamp, SessionRecord } from '../../src/replica/messages.ts'
import { RequestTable, type Recognition } from '../../src/replica/request-table.ts'
import { compareVersions, type Version } from '../../src/replica/version.ts'
import { versionOf } from './update-builder.ts'

const roomy: RequestLimits = { answersPerSessionMax: 1_000, answersMax: 1_000, sessionsMax: 1_000 }

function tableOf(limits: Partial<RequestLimits> = {}): RequestTable {
  return new RequestTable({ ...roomy, ...limits })
}

/** Records requests of one session, each carried out by server 1 at the timestamp of its number. */
function recordAll(table: RequestTable, session: string, ...numbers: readonly number[]): void {
  for (const number of numbers) table.record({ session, number }, versionOf('1', number), number)
}

function numbersOf(table: RequestTable, session: string): readonly number[] | undefined {
  return table.sessionRecord(session)?.answers.map(({ number }) => number)
}

/** How a request is recognised with each kind of `retry`. */
function kindsOf(table: RequestTable, session: string, number: number): readonly Recognition['kind'][] {
  const stamps: readonly RequestStamp[] = [
    { session, number },
    { session, number, retry: true },
    { session, number, retry: 'again' },
  ]
  return stamps.map((stamp) => table.recognise(stamp, number).kind)
}

describe('R10: a request is recognised', () => {
  it('by its session and number, and answered as the first time, whether or not it says that it is a retry', () => {
    const table = tableOf()
    recordAll(table, 'alice', 1, 2)
    expect(table.recognise({ session: 'alice', number: 2, retry: true }, 2)).toEqual({
      kind: 'known',
      version: versionOf('1', 2),
    })
    expect(kindsOf(table, 'alice', 1)).toEqual(['known', 'known', 'known'])
  })

  it('as another if its content differs from what its number was used for', () => {
    const table = tableOf()
    table.record({ session: 'alice', number: 1 }, versionOf('1', 4), 77)
    for (const retry of [undefined, true, 'again'] as const) {
      const stamp = { session: 'alice', number: 1, ...(retry === undefined ? {} : { retry }) }
      expect(table.recognise(stamp, 78)).toEqual({ kind: 'other' })
    }
  })

  it('as new if it is not known, unless it may have been sent before: then its outcome is unknown, or it runs again', () => {
    const table = tableOf()
    recordAll(table, 'alice', 2)
    for (const [session, number] of [
      ['alice', 1],
      ['alice', 3],
      ['bob', 2],
    ] as const) {
      expect(kindsOf(table, session, number)).toEqual(['new', 'unknown', 'new'])
    }
  })

  it('as one of unknown outcome if its answer was let go, and is never carried out again', () => {
    const table = tableOf({ answersPerSessionMax: 2 })
    recordAll(table, 'alice', 3, 5, 6)
    for (const number of [1, 2, 3])
      expect(kindsOf(table, 'alice', number)).toEqual(['unknown', 'unknown', 'unknown'])
    // Between those that are kept there may be gaps, and they are new.
    expect(kindsOf(table, 'alice', 4)).toEqual(['new', 'unknown', 'new'])
    expect(kindsOf(table, 'alice', 5)).toEqual(['known', 'known', 'known'])
  })

  it('by the lower version if a client had it carried out at two servers, in whatever order they come', () => {
    const lower = { version: versionOf('2', 4), fingerprint: 40 }
    const higher = { version: versionOf('1', 5), fingerprint: 50 }
    for (const order of [
      [lower, higher],
      [higher, lower],
    ]) {
      const table = tableOf()
      for (const { version, fingerprint } of order)
        table.record({ session: 'a', number: 1 }, version, fingerprint)
      expect(table.recognise({ session: 'a', number: 1 }, 40)).toEqual({
        kind: 'known',
        version: lower.version,
      })
      expect(table.recognise({ session: 'a', number: 1 }, 50)).toEqual({ kind: 'other' })
      expect(table.answerCount).toBe(1)
    }
  })
})

describe('R10: what is kept to recognise requests is bounded', () => {
  it('per session: past the bound the lowest number is let go, also if it has come last', () => {
    const table = tableOf({ answersPerSessionMax: 3 })
    recordAll(table, 'alice', 5, 9, 7)
    expect(table.sessionRecord('alice')?.letGo).toBe(0)
    recordAll(table, 'alice', 8)
    expect(table.sessionRecord('alice')).toEqual({
      session: 'alice',
      letGo: 5,
      answers: [7, 8, 9].map((number) => ({ number, version: versionOf('1', number), fingerprint: number })),
    })
    recordAll(table, 'alice', 6)
    expect(table.sessionRecord('alice')?.letGo).toBe(6)
    recordAll(table, 'alice', 4)
    expect(numbersOf(table, 'alice')).toEqual([7, 8, 9])
  })

  it('over all sessions: past the bound the answer that was recorded first goes, and takes lower numbers with it', () => {
    const table = tableOf({ answersMax: 4 })
    recordAll(table, 'alice', 5, 6, 2)
    recordAll(table, 'bob', 1)
    expect(table.answerCount).toBe(4)
    recordAll(table, 'bob', 2)
    expect(table.sessionRecord('alice')?.letGo).toBe(5)
    expect(numbersOf(table, 'alice')).toEqual([6])
    expect(table.answerCount).toBe(3)
    // A session all of whose answers went is still known for what it has let go.
    recordAll(table, 'bob', 3, 4)
    expect(table.sessionRecord('alice')).toEqual({ session: 'alice', letGo: 6, answers: [] })
    expect(kindsOf(table, 'alice', 6)).toEqual(['unknown', 'unknown', 'unknown'])
  })

  it('in sessions: past the bound the one that wrote least recently is forgotten whole', () => {
    const table = tableOf({ sessionsMax: 2, answersPerSessionMax: 2 })
    recordAll(table, 'alice', 1, 2, 3)
    recordAll(table, 'bob', 1)
    recordAll(table, 'alice', 4)
    recordAll(table, 'carol', 1)
    expect(table.sessionRecord('bob')).toBeUndefined()
    expect([table.sessionCount, table.answerCount]).toEqual([2, 3])
    expect([...table.sessions()].map(({ session }) => session)).toEqual(['alice', 'carol'])
    expect(kindsOf(table, 'bob', 1)).toEqual(['new', 'unknown', 'new'])
  })

  it('and neither a request that was let go nor one that is known makes a session recent', () => {
    const table = tableOf({ sessionsMax: 2, answersPerSessionMax: 1 })
    recordAll(table, 'alice', 1, 2)
    recordAll(table, 'bob', 1)
    recordAll(table, 'alice', 1, 2)
    recordAll(table, 'carol', 1)
    expect(table.sessionRecord('alice')).toBeUndefined()
  })
})

describe('R10: what two replicas keep of a session is merged', () => {
  it('into all answers that neither has let go', () => {
    const table = tableOf()
    recordAll(table, 'alice', 1, 2, 5)
    const answers: readonly KeptAnswer[] = [
      { number: 3, version: versionOf('2', 3), fingerprint: 30 },
      { number: 5, version: versionOf('2', 4), fingerprint: 50 },
    ]
    table.merge({ session: 'alice', letGo: 1, answers })
    expect(table.sessionRecord('alice')).toEqual({
      session: 'alice',
      letGo: 1,
      answers: [{ number: 2, version: versionOf('1', 2), fingerprint: 2 }, ...answers],
    })
    table.merge({ session: 'bob', letGo: 9, answers: [] })
    expect(kindsOf(table, 'bob', 9)).toEqual(['unknown', 'unknown', 'unknown'])
  })

  it('and one of which nothing is kept is none', () => {
    const table = tableOf()
    table.merge({ session: 'alice', letGo: 0, answers: [] })
    expect(table.sessionCount).toBe(0)
  })

  it('to the same in any order and any number of times, where there is room', () => {
    fc.assert(
      fc.property(fc.array(records, { maxLength: 8 }), fc.infiniteStream(fc.nat()), (told, picks) => {
        const inOrder = tableOf()
        for (const record of told) inOrder.merge(record)
        const shuffled = tableOf()
        const left = [...told, ...told]
        while (left.length > 0) {
          const [record] = left.splice((picks.next().value ?? 0) % left.length, 1)
          if (record !== undefined) shuffled.merge(record)
        }
        for (const session of sessionNames) {
          expect(shuffled.sessionRecord(session)).toEqual(inOrder.sessionRecord(session))
        }
      }),
    )
  })

  it('without effect if it was merged just before, also where there is no room', () => {
    fc.assert(
      fc.property(limits, fc.array(records, { maxLength: 8 }), records, (limits, told, last) => {
        const table = new RequestTable(limits)
        for (const record of told) table.merge(record)
        table.merge(last)
        const before = [...table.sessions()]
        table.merge(last)
        for (const record of before.toReversed()) table.merge(record)
        expect([...table.sessions()]).toEqual(before)
      }),
    )
  })
})

describe('R8: the sessions of a snapshot', () => {
  it('are told in the order in which they last changed', () => {
    const table = tableOf()
    for (const session of ['alice', 'bob', 'carol', 'alice']) {
      recordAll(table, session, table.answerCount + 1)
    }
    expect([...table.sessions()].map(({ session }) => session)).toEqual(['bob', 'carol', 'alice'])
  })

  it('are told as they are when their turn comes, and what has been told does not change', () => {
    const table = tableOf()
    recordAll(table, 'alice', 1)
    recordAll(table, 'bob', 1)
    const walk = table.sessions()
    const told = walk.next().value
    recordAll(table, 'alice', 2)
    recordAll(table, 'bob', 2)
    expect(told).toMatchObject({ session: 'alice', answers: [{ number: 1 }] })
    expect([...walk].map(({ session, answers }) => [session, answers.length])).toEqual([
      ['alice', 2],
      ['bob', 2],
    ])
  })

  it('come as from the iterator of a map to whose end each goes that changes, whatever happens meanwhile', () => {
    const commands = fc.oneof(
      fc.record({ kind: fc.constant('record' as const), session: fc.constantFrom(...sessionNames) }),
      fc.record({ kind: fc.constant('next' as const), walk: fc.nat({ max: 1 }) }),
    )
    fc.assert(
      fc.property(fc.array(commands, { maxLength: 60 }), (commands) => {
        const sessionsMax = 3
        const table = tableOf({ sessionsMax })
        const map = new Map<string, number>()
        const walks = [0, 1].map(() => ({ told: table.sessions(), expected: map.keys() }))
        let number = 0
        for (const command of commands) {
          if (command.kind === 'record') {
            recordAll(table, command.session, ++number)
            map.delete(command.session)
            map.set(command.session, number)
            const [oldest] = map.keys()
            if (oldest !== undefined && map.size > sessionsMax) map.delete(oldest)
          } else {
            const { told, expected } = walks[command.walk] as (typeof walks)[number]
            expect(told.next().value?.session).toBe(expected.next().value)
          }
        }
        for (const { told, expected } of walks) {
          expect([...told].map(({ session }) => session)).toEqual([...expected])
        }
      }),
      { numRuns: 1_000 },
    )
  })
})

const sessionNames = ['alice', 'bob', 'carol', 'dave', '__proto__']

const sessions = fc.constantFrom(...sessionNames)
const numbers = fc.integer({ min: 1, max: 9 })
const versions = fc
  .tuple(fc.constantFrom('1', '2'), fc.integer({ min: 1, max: 5 }))
  .map(([server, timestamp]) => versionOf(server, timestamp))

/** Two updates are never one, so a version has its fingerprint. */
function fingerprintOf(number: number, { timestamp, origin }: Version): number {
  return number * 1_000 + timestamp * 10 + (origin === versionOf('1', 1).origin ? 1 : 2)
}

const answers: fc.Arbitrary<KeptAnswer> = fc
  .record({ number: numbers, version: versions })
  .map(({ number, version }) => ({ number, version, fingerprint: fingerprintOf(number, version) }))

/** As a peer may send one: in any order, and one number twice. */
const records: fc.Arbitrary<SessionRecord> = fc.record({
  session: sessions,
  letGo: fc.nat({ max: 4 }),
  answers: fc.array(answers, { maxLength: 6 }),
})

const limits: fc.Arbitrary<RequestLimits> = fc.record({
  answersPerSessionMax: fc.integer({ min: 1, max: 5 }),
  answersMax: fc.integer({ min: 1, max: 12 }),
  sessionsMax: fc.integer({ min: 1, max: 4 }),
})

/** The rules, by searching everything every time. */
class SlowTable {
  #sessions: SlowSession[] = []
  #recorded = 0
  readonly #limits: RequestLimits

  constructor(limits: RequestLimits) {
    this.#limits = limits
  }

  get records(): readonly SessionRecord[] {
    return this.#sessions.map(({ name, letGo, answers }) => ({
      session: name,
      letGo,
      answers: answers
        .toSorted((a, b) => a.number - b.number)
        .map(({ number, version, fingerprint }) => ({ number, version, fingerprint })),
    }))
  }

  recognise({ session, number, retry }: RequestStamp, fingerprint: number): Recognition {
    const known = this.#sessions.find(({ name }) => name === session)
    const answer = known?.answers.find((answer) => answer.number === number)
    if (answer?.fingerprint === fingerprint) return { kind: 'known', version: answer.version }
    if (answer !== undefined) return { kind: 'other' }
    return { kind: number <= (known?.letGo ?? 0) || retry === true ? 'unknown' : 'new' }
  }

  take(record: SessionRecord): void {
    if (record.letGo === 0 && record.answers.length === 0) return
    let session = this.#sessions.find(({ name }) => name === record.session)
    if (session === undefined) {
      session = { name: record.session, letGo: 0, answers: [] }
      this.#sessions.push(session)
      if (this.#sessions.length > this.#limits.sessionsMax) this.#sessions.shift()
    }
    let isChanged = record.letGo > session.letGo
    letGo(session, record.letGo)
    for (const answer of record.answers) isChanged = this.#keep(session, answer) || isChanged
    if (isChanged) this.#sessions = [...this.#sessions.filter((other) => other !== session), session]
  }

  #keep(session: SlowSession, answer: KeptAnswer): boolean {
    if (answer.number <= session.letGo) return false
    const known = session.answers.find(({ number }) => number === answer.number)
    if (known !== undefined) {
      if (compareVersions(answer.version, known.version) >= 0) return false
      session.answers = session.answers.map((other) =>
        other === known ? { ...answer, recorded: known.recorded } : other,
      )
      return true
    }
    session.answers.push({ ...answer, recorded: this.#recorded++ })
    if (session.answers.length > this.#limits.answersPerSessionMax) {
      letGo(session, Math.min(...session.answers.map(({ number }) => number)))
    }
    const all = this.#sessions.flatMap((session) => session.answers.map((answer) => ({ session, ...answer })))
    const oldest = all.toSorted((a, b) => a.recorded - b.recorded)[0]
    if (oldest !== undefined && all.length > this.#limits.answersMax) letGo(oldest.session, oldest.number)
    return true
  }
}

interface SlowSession {
  readonly name: string
  letGo: number
  answers: (KeptAnswer & { readonly recorded: number })[]
}

function letGo(session: SlowSession, number: number): void {
  session.letGo = Math.max(session.letGo, number)
  session.answers = session.answers.filter((answer) => answer.number > session.letGo)
}

describe('R10: the table of requests', () => {
  it('is as one that searches everything every time, whatever is recorded and merged', () => {
    const commands = fc.oneof(
      { weight: 3, arbitrary: fc.record({ session: sessions, answer: answers }) },
      { weight: 1, arbitrary: records },
    )
    const stamps: fc.Arbitrary<RequestStamp> = fc.record(
      { session: sessions, number: numbers, retry: fc.constantFrom(true as const, 'again' as const) },
      { requiredKeys: ['session', 'number'] },
    )
    fc.assert(
      fc.property(
        limits,
        fc.array(commands, { maxLength: 60 }),
        stamps,
        answers,
        (limits, commands, stamp, asked) => {
          const table = new RequestTable(limits)
          const slow = new SlowTable(limits)
          for (const command of commands) {
            if ('answers' in command) {
              table.merge(command)
              slow.take(command)
            } else {
              const { session, answer } = command
              table.record({ session, number: answer.number }, answer.version, answer.fingerprint)
              slow.take({ session, letGo: 0, answers: [answer] })
            }
            const expected = slow.records
            expect([...table.sessions()]).toEqual(expected)
            expect(table.sessionCount).toBe(expected.length)
            expect(table.answerCount).toBe(expected.flatMap(({ answers }) => answers).length)
            expect(table.recognise(stamp, asked.fingerprint)).toEqual(
              slow.recognise(stamp, asked.fingerprint),
            )
          }
          for (const record of slow.records) expect(table.sessionRecord(record.session)).toEqual(record)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('never takes a request that was carried out for a new one while it knows the session, whatever it let go', () => {
    const carriedOut = fc.array(fc.record({ session: sessions, answer: answers }), { maxLength: 60 })
    fc.assert(
      fc.property(limits, carriedOut, (limits, requests) => {
        const table = new RequestTable({ ...limits, sessionsMax: sessionNames.length })
        for (const { session, answer } of requests) {
          table.record({ session, number: answer.number }, answer.version, answer.fingerprint)
        }
        for (const { session, answer } of requests) {
          for (const kind of kindsOf(table, session, answer.number)) expect(kind).not.toBe('new')
        }
      }),
    )
  })
})

describe('R10: the cost of recording a request', () => {
  /** Records requests whose numbers count how often they are compared. @returns comparisons per request. */
  function comparisonsPerRequest(
    limits: RequestLimits,
    requests: readonly [session: string, number: number][],
  ): number {
    let comparisons = 0
    const table = new RequestTable(limits)
    const version = versionOf('1', 1)
    for (const [session, value] of requests) {
      const number = {
        valueOf: () => {
          comparisons++
          return value
        },
      }
      table.record({ session, number: number as unknown as number }, version, 0)
    }
    expect(table.answerCount).toBeLessThanOrEqual(limits.answersMax)
    return comparisons / requests.length
  }

  const count = 50_000

  it('is a few comparisons where numbers rise, in one session or many, however many answers are let go', () => {
    for (const sessionCount of [1, 100, count]) {
      const requests = Array.from({ length: count }, (_, index): [string, number] => [
        `s${index % sessionCount}`,
        index + 1,
      ])
      const limits = { answersPerSessionMax: 1_024, answersMax: 20_000, sessionsMax: 10_000 }
      expect(comparisonsPerRequest(limits, requests)).toBeLessThanOrEqual(10)
    }
  })

  it('is as many as a search by halves takes where they are scattered', () => {
    const requests = Array.from({ length: count }, (_, index): [string, number] => [
      `s${index % 7}`,
      ((index * 7_919) % count) + 1,
    ])
    const limits = { answersPerSessionMax: 1_024, answersMax: 20_000, sessionsMax: 10 }
    expect(comparisonsPerRequest(limits, requests)).toBeLessThanOrEqual(10 + 2 * Math.log2(1_024))
  })
})

describe('sessions that are forgotten', () => {
  it('are named once, so that copies of their records can go too (R10)', () => {
    const table = tableOf({ sessionsMax: 2 })
    for (const session of ['a', 'b', 'c', 'd']) recordAll(table, session, 1)
    expect(table.takeForgotten()).toEqual(['a', 'b'])
    expect(table.takeForgotten()).toEqual([])
  })

  it('are listed no more of than may be kept, where nobody asks (R10)', () => {
    const table = tableOf({ sessionsMax: 2 })
    for (let count = 0; count < 10; count++) recordAll(table, `s${count}`, 1)
    expect(table.takeForgotten()).toHaveLength(2)
  })
})
