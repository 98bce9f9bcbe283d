import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ProtocolError } from '../../src/protocol/errors.ts'
import { parseRpcLine } from '../../src/protocol/json-rpc.ts'
import { peerLineBytesMax, unweighedLengthMax, writesBytesMax } from '../../src/protocol/limits.ts'
import { LineDecoder } from '../../src/protocol/line-decoder.ts'
import {
  checkChallengeResult,
  checkPeerHelloResult,
  checkPeerMessage,
  encodeMembers,
  encodePeerMessage,
  encodeUpdate,
  type PeerCall,
} from '../../src/protocol/peer-messages.ts'
import { defaultLimits } from '../../src/replica/configuration.ts'
import type { PeerMessage, SnapshotPage } from '../../src/replica/messages.ts'
import type { Update } from '../../src/replica/update.ts'
import { makeOrigin, type Origin } from '../../src/replica/version.ts'
import { refusalBy, thrownBy } from './refusal.ts'

const one = makeOrigin({ server: '1', incarnation: 'a' })
const two = makeOrigin({ server: '2', incarnation: 'b' })

const update: Update = {
  origin: one,
  timestamp: 5,
  previous: 3,
  dependencies: { [two]: 4 },
  writes: [
    { key: 'x', value: { a: [1, 'ä'] } },
    { key: 'y', deleted: true },
  ],
}

/** What a peer receives of what is sent. */
function received(text: string): PeerCall[] {
  const decoder = new LineDecoder({ lineBytesMax: peerLineBytesMax })
  return [...decoder.push(Buffer.from(text))].map((line) => {
    const parsed = parseRpcLine(line.text, { sender: 'server' })
    if (parsed.isBatch || parsed.message.kind !== 'notification') throw new Error('no notification')
    return checkPeerMessage(parsed.message.method, parsed.message.params)
  })
}

function refusal(method: string, params: unknown): ProtocolError {
  return refusalBy(() => checkPeerMessage(method, params))
}

const messages: readonly PeerMessage[] = [
  { kind: 'updates', updates: [update, { ...update, timestamp: 6, previous: 5 }] },
  { kind: 'page', pull: 4, updates: [update], more: true },
  { kind: 'page', pull: 4, updates: [], more: false },
  { kind: 'pull', pull: 4, applied: new Map([[one, 3]]), except: [two] },
  { kind: 'pull', pull: 4, applied: new Map(), except: [], snapshot: 7 },
  {
    kind: 'snapshot',
    pull: 4,
    snapshot: 7,
    page: 1,
    siblings: [
      { key: '__proto__', version: { timestamp: 3, origin: one }, value: null, first: true },
      { key: '__proto__', version: { timestamp: 4, origin: two }, deleted: true },
      { key: 'y', version: { timestamp: 2, origin: one }, deleted: true, first: true },
    ],
    rows: [
      { origin: one, known: new Map([[two, 4]]) },
      { origin: two, known: new Map() },
    ],
    sessions: [
      {
        session: 's',
        letGo: 4,
        answers: [{ number: 5, version: { timestamp: 3, origin: one }, fingerprint: -7 }],
      },
      { session: 'other', letGo: 0, answers: [] },
    ],
  },
  {
    kind: 'snapshot',
    pull: 5,
    snapshot: 7,
    page: 2,
    siblings: [],
    rows: [],
    sessions: [],
    applied: new Map([
      [one, 3],
      [two, 4],
    ]),
  },
  { kind: 'cut', entries: new Map([[one, 3]]) },
  { kind: 'cut', entries: new Map() },
  { kind: 'link', state: { state: 'delayed', delayMs: 200, queued: 3 } },
  { kind: 'ask', question: 2, versions: [] },
  { kind: 'ask', question: 1, key: '__proto__', versions: [{ timestamp: 3, origin: one }] },
  {
    kind: 'tell',
    question: 1,
    siblings: [{ timestamp: 3, origin: one }],
    keys: [{ version: { timestamp: 3, origin: one }, keys: ['x', 'y'] }],
  },
]

describe('a peer message', () => {
  it.each(messages.map((message) => [message.kind, message] as const))(
    '%s arrives as it was sent',
    (_, message) => {
      const text = encodePeerMessage(message)
      const bytes = 'bytes' in message ? { bytes: Buffer.byteLength(text) - 1 } : {}
      expect(received(text)).toEqual([{ ...message, ...bytes }])
    },
  )

  it('of members arrives as it was sent', () => {
    const members = [
      { id: '2', host: '127.0.0.1', port: 60_002 },
      { id: 'east', host: '::1', port: 1 },
    ]
    expect(received(encodeMembers(members))).toEqual([{ kind: 'members', members }])
  })

  it('that is not known is refused with −32601', () => {
    expect(refusal('peer.sing', {}).code).toBe(-32601)
    expect(refusal('write', { key: 'x', value: 1 }).code).toBe(-32601)
  })

  it('may say more than this release knows', () => {
    expect(checkPeerMessage('peer.cut', { entries: {}, since: 5 })).toEqual({
      kind: 'cut',
      entries: new Map(),
    })
  })
})

describe('an update', () => {
  it('is passed on as it came, with members that are not known here', () => {
    const sent = JSON.parse(JSON.stringify({ ...update, request: { session: 's', number: 1 } })) as Update
    const checked = checkPeerMessage('peer.updates', { updates: [sent] })
    expect(checked.kind === 'updates' && checked.updates[0]).toBe(sent)
    expect(encodeUpdate(sent)).toBe(JSON.stringify(sent))
  })

  it('is put into words once for all peers', () => {
    const sent: Update = { ...update, timestamp: 77 }
    const text = encodePeerMessage({ kind: 'updates', updates: [sent] })
    const spied = { ...sent }
    expect(encodeUpdate(sent)).toBe(JSON.stringify(spied))
    expect(encodePeerMessage({ kind: 'updates', updates: [sent] })).toBe(text)
  })

  const broken: readonly (readonly [string, object, string])[] = [
    ['has no origin', { origin: undefined }, 'origin'],
    ['has an origin that is none', { origin: '1' }, 'origin'],
    ['has an incarnation that is none', { origin: '1~A' }, 'origin'],
    ['has a server id that is too long', { origin: `${'1'.repeat(33)}~a` }, 'origin'],
    ['has no timestamp', { timestamp: undefined }, 'timestamp'],
    ['has the timestamp 0', { timestamp: 0 }, 'timestamp'],
    ['has a timestamp that is no whole number', { timestamp: 1.5 }, 'timestamp'],
    ['has a timestamp beyond 2^53', { timestamp: 2 ** 53 }, 'timestamp'],
    ['has a previous below 0', { previous: -1 }, 'previous'],
    ['has no dependencies', { dependencies: undefined }, 'dependencies'],
    ['has a list for dependencies', { dependencies: [] }, 'dependencies'],
    ['depends on what is no origin', { dependencies: { x: 3 } }, 'dependencies'],
    ['depends on the timestamp 0', { dependencies: { '3~c': 0 } }, 'dependencies["3~c"]'],
    ['writes nothing', { writes: [] }, 'writes'],
    ['has no list of writes', { writes: { key: 'x', value: 1 } }, 'writes'],
    [
      'writes a key twice',
      {
        writes: [
          { key: 'x', value: 1 },
          { key: 'x', value: 1 },
        ],
      },
      'writes',
    ],
    ['writes an empty key', { writes: [{ key: '', value: 1 }] }, 'writes[0].key'],
    ['writes half a character as a key', { writes: [{ key: '\ud800', value: 1 }] }, 'writes[0].key'],
    ['has a write without a value', { writes: [{ key: 'x' }] }, 'writes[0].value'],
    ['both deletes and writes', { writes: [{ key: 'x', value: 1, deleted: true }] }, 'writes[0].value'],
    ['deletes by halves', { writes: [{ key: 'x', deleted: 'yes' }] }, 'writes[0].deleted'],
    ['writes half a character', { writes: [{ key: 'x', value: ['\ud800'] }] }, 'writes[0].value'],
    ['writes a number that JSON has not', { writes: [{ key: 'x', value: [Infinity] }] }, 'writes[0].value'],
    [
      'writes what is too deep',
      { writes: [{ key: 'x', value: JSON.parse('['.repeat(65) + ']'.repeat(65)) as unknown }] },
      'writes[0].value',
    ],
    ['names a request by its number', { request: 5 }, 'request'],
    ['names a request of no session', { request: { number: 5 } }, 'request.session'],
    ['names a request of an empty session', { request: { session: '', number: 5 } }, 'request.session'],
    ['names a request 0', { request: { session: 's', number: 0 } }, 'request.number'],
    ['names a request with more that cannot be passed on', { request: { more: -0 } }, '["request"]'],
    ['has an unknown member that cannot be passed on', { more: [Infinity] }, '["more"]'],
  ]

  it.each(broken)('that %s is refused with −32602, naming the place', (_, fault, place) => {
    const path = `params.updates[1]${place.startsWith('[') ? '' : '.'}${place}`
    expect(refusal('peer.updates', { updates: [update, { ...update, ...fault }] })).toMatchObject({
      code: -32602,
      path,
    })
  })

  it('with a key that is too long is refused with −32010', () => {
    const writes = [{ key: 'x'.repeat(1_025), value: 1 }]
    expect(refusal('peer.updates', { updates: [{ ...update, writes }] }).code).toBe(-32010)
  })

  it('that is as long as any may be fits one frame, with dependencies on 40,000 origins', () => {
    const dependencies = Object.fromEntries(
      Array.from({ length: 40_000 }, (_, index) => [
        `${String(index).padStart(32, 's')}~${'i'.repeat(16)}`,
        2 ** 53 - 2,
      ]),
    )
    const key = 'x'.repeat(1_024)
    const value = 'y'.repeat(writesBytesMax - key.length - '[{"key":"","value":""}]'.length)
    const request = { session: '\u0001'.repeat(1_024), number: 2 ** 53 - 1 }
    const long: Update = {
      ...update,
      timestamp: 2 ** 53 - 1,
      dependencies,
      writes: [{ key, value }],
      request,
    }
    expect(Buffer.byteLength(JSON.stringify(long.writes))).toBe(writesBytesMax)
    for (const kind of ['updates', 'page'] as const) {
      const text = encodePeerMessage({ kind, updates: [long], pull: 2 ** 53 - 1, more: false })
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(peerLineBytesMax)
      expect(received(text)).toMatchObject([{ kind, updates: [{ timestamp: 2 ** 53 - 1 }] }])
    }
  })

  it('shares a frame with others until the frame is long; the last frame of a page says that it is the page', () => {
    const updates = Array.from({ length: 30 }, (_, index) => ({
      ...update,
      timestamp: index + 10,
      previous: index + 9,
      writes: [{ key: `k${index}`, value: 'ä'.repeat(12_000) }],
    }))
    const text = encodePeerMessage({ kind: 'page', pull: 9, updates, more: true })
    const frames = received(text)
    expect(frames.map(({ kind }) => kind)).toEqual([
      'updates',
      'updates',
      'updates',
      'updates',
      'updates',
      'page',
    ])
    expect(
      frames.flatMap((frame) => (frame.kind === 'updates' || frame.kind === 'page' ? frame.updates : [])),
    ).toEqual(updates)
    expect(frames.at(-1)).toMatchObject({ pull: 9, more: true })
  })
})

describe('the densest that is sent', () => {
  const dense = (characters: number): readonly object[] =>
    Array.from({ length: Math.floor(characters / 3) }, () => [])

  it.each([
    ['of one update of a line that was not weighed', 1, unweighedLengthMax],
    ['of updates that fill a frame each', 3, 99_000],
    ['of many small updates', 400, 800],
  ])('is read by a peer: a frame %s', (_, count, characters) => {
    const updates = Array.from({ length: count }, (__, index) => ({
      ...update,
      timestamp: index + 10,
      previous: index + 9,
      writes: [{ key: 'k', value: dense(characters) as never }],
    }))
    const lines = encodePeerMessage({ kind: 'page', pull: 9, updates, more: true }).trimEnd().split('\n')
    for (const line of lines) expect(() => parseRpcLine(line, { sender: 'peer' })).not.toThrow()
  })

  it('is read by a peer: a page of a snapshot that is filled to its bytes', () => {
    const { bytesMax } = defaultLimits.snapshotPage
    const sibling = { key: 'x', version: { timestamp: 3, origin: one }, value: dense(bytesMax) as never }
    const line = encodePeerMessage({
      kind: 'snapshot',
      pull: 1,
      snapshot: 1,
      page: 1,
      siblings: [sibling],
      rows: [],
      sessions: [],
    })
    expect(() => parseRpcLine(line.trimEnd(), { sender: 'peer' })).not.toThrow()
  })
})

describe('a page of a snapshot', () => {
  const sibling = { key: 'x', version: [3, one], value: 1, first: true }
  const session = { session: 's', letGo: 4, answers: [[5, 3, one, 99]] }
  const page = { pull: 4, snapshot: 7, page: 1, siblings: [sibling], rows: [], sessions: [session] }

  /** The text of a page that is filled as the replica fills one: to its limit, or with one item alone. */
  function frameOf(part: Partial<SnapshotPage>): string {
    return encodePeerMessage({
      kind: 'snapshot',
      pull: 2 ** 53 - 1,
      snapshot: 2 ** 53 - 1,
      page: 2 ** 53 - 1,
      siblings: [],
      rows: [],
      sessions: [],
      ...part,
    })
  }

  function longCut(length: number): Map<Origin, number> {
    return new Map(
      Array.from({ length }, (_, index) => [
        makeOrigin({ server: String(index).padStart(32, 's'), incarnation: 'i'.repeat(16) }),
        2 ** 53 - 1,
      ]),
    )
  }

  it('R8: with the longest sibling fits one frame, next to the cut of 40,000 origins', () => {
    const key = 'x'.repeat(1_024)
    const value = 'y'.repeat(writesBytesMax - key.length - '[{"key":"","value":""}]'.length)
    const siblings = [{ key, version: { timestamp: 3, origin: one }, value, first: true as const }]
    const text = frameOf({ siblings, applied: longCut(40_000) })
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(peerLineBytesMax)
    expect(received(text)).toMatchObject([{ kind: 'snapshot', siblings }])
  })

  it('R8: that is full of what takes most room on the wire fits one frame', () => {
    const { updatesMax, bytesMax } = defaultLimits.snapshotPage
    const siblings = [{ key: 'x', version: { timestamp: 3, origin: one }, value: '\u0001'.repeat(bytesMax) }]
    expect(Buffer.byteLength(frameOf({ siblings, applied: longCut(30_000) }))).toBeLessThan(peerLineBytesMax)
    const rows = Array.from({ length: updatesMax }, () => ({ origin: one, known: longCut(8) }))
    expect(Buffer.byteLength(frameOf({ rows, applied: longCut(30_000) }))).toBeLessThan(peerLineBytesMax)
    const answers = Array.from({ length: defaultLimits.requests.answersPerSessionMax }, () => ({
      number: 2 ** 53 - 1,
      version: { timestamp: 2 ** 53 - 1, origin: [...longCut(1).keys()][0] ?? one },
      fingerprint: 2 ** 53 - 1,
    }))
    const sessions = [{ session: '\u0001'.repeat(1_024), letGo: 0, answers }]
    const text = frameOf({ sessions, applied: longCut(40_000) })
    expect(Buffer.byteLength(text)).toBeLessThan(peerLineBytesMax)
    expect(received(text)).toMatchObject([{ sessions }])
  })

  it('may say more than this release knows', () => {
    const told = { ...page, siblings: [{ ...sibling, mood: 'good' }], mood: 'good' }
    expect(checkPeerMessage('peer.snapshot', told)).toEqual(checkPeerMessage('peer.snapshot', page))
  })

  it.each([
    [{ pull: 0 }, 'pull'],
    [{ snapshot: undefined }, 'snapshot'],
    [{ page: 0 }, 'page'],
    [{ siblings: {} }, 'siblings'],
    [{ siblings: [sibling, 5] }, 'siblings[1]'],
    [{ siblings: [{ ...sibling, key: '' }] }, 'siblings[0].key'],
    [{ siblings: [{ ...sibling, version: [3] }] }, 'siblings[0].version'],
    [{ siblings: [{ ...sibling, value: undefined }] }, 'siblings[0].value'],
    [{ siblings: [{ ...sibling, value: [Infinity] }] }, 'siblings[0].value'],
    [{ siblings: [{ ...sibling, deleted: true }] }, 'siblings[0].value'],
    [{ siblings: [{ ...sibling, value: undefined, deleted: 'yes' }] }, 'siblings[0].deleted'],
    [{ siblings: [{ ...sibling, first: false }] }, 'siblings[0].first'],
    [{ siblings: Array.from({ length: 10_001 }, () => sibling) }, 'siblings'],
    [{ rows: [{ origin: one }] }, 'rows[0].known'],
    [{ rows: [{ origin: '1', known: {} }] }, 'rows[0].origin'],
    [{ sessions: [{ ...session, session: '' }] }, 'sessions[0].session'],
    [{ sessions: [{ ...session, letGo: -1 }] }, 'sessions[0].letGo'],
    [{ sessions: [{ ...session, answers: [[5, 3, one]] }] }, 'sessions[0].answers[0]'],
    [{ sessions: [{ ...session, answers: [[0, 3, one, 99]] }] }, 'sessions[0].answers[0][0]'],
    [{ sessions: [{ ...session, answers: [[5, 0, one, 99]] }] }, 'sessions[0].answers[0][1]'],
    [{ sessions: [{ ...session, answers: [[5, 3, '1', 99]] }] }, 'sessions[0].answers[0][2]'],
    [{ sessions: [{ ...session, answers: [[5, 3, one, 1.5]] }] }, 'sessions[0].answers[0][3]'],
    [{ applied: [] }, 'applied'],
  ])('with %j is refused with −32602, naming %s', (fault, path) => {
    expect(refusal('peer.snapshot', { ...page, ...fault })).toMatchObject({
      code: -32602,
      path: `params.${path}`,
    })
  })

  it('is asked for by the number of its snapshot', () => {
    expect(refusal('peer.pull', { pull: 1, applied: {}, except: [], snapshot: 0 })).toMatchObject({
      code: -32602,
      path: 'params.snapshot',
    })
  })
})

describe('a question about a key', () => {
  it('asks for no more versions than a frame carries', () => {
    const versions = Array.from({ length: 5_000 }, (_, index) => ({ timestamp: index + 1, origin: one }))
    expect(received(encodePeerMessage({ kind: 'ask', question: 1, key: 'x', versions }))).toMatchObject([
      { versions: versions.slice(0, 1_000) },
    ])
  })

  it('is answered with no more keys than a frame carries', () => {
    const keys = Array.from({ length: 900 }, (_, index) => ({
      version: { timestamp: index + 1, origin: one },
      keys: Array.from({ length: 100 }, (__, key) => `${key}${'\u0001'.repeat(1_000)}`),
    }))
    const text = encodePeerMessage({ kind: 'tell', question: 1, siblings: [], keys })
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(peerLineBytesMax)
    expect(received(text)).toMatchObject([{ kind: 'tell', siblings: [] }])
  })
})

describe('a greeting between servers', () => {
  const hello = { server: '1', origin: one, protocol: 1, members: [] }

  it('says who dials, where it listens and whom it knows', () => {
    const members = [{ id: '3', host: 'db3.example.org', port: 60_003 }]
    const params = { ...hello, address: { port: 60_001 }, token: 'ab', members, mood: 'good' }
    const { mood: _, ...known } = params
    expect(checkPeerMessage('peer.hello', params)).toEqual({ kind: 'hello', hello: known })
  })

  it('in another protocol is refused with −32005, whatever else it says', () => {
    expect(refusal('peer.hello', { protocol: 2, name: 'x' })).toMatchObject({
      code: -32005,
      data: { protocol: 1 },
    })
    expect(() => checkPeerHelloResult({ protocol: 2 })).toThrow(
      expect.objectContaining({ code: -32005 }) as Error,
    )
  })

  it.each([
    [{ ...hello, server: 'a b' }, 'params.server'],
    [{ ...hello, origin: two }, 'params.origin'],
    [{ ...hello, protocol: '1' }, 'params.protocol'],
    [{ ...hello, address: { port: 0 } }, 'params.address.port'],
    [{ ...hello, address: { host: 'a\nb', port: 1 } }, 'params.address.host'],
    [{ ...hello, members: [{ id: '3', host: 'x', port: 65_536 }] }, 'params.members[0].port'],
  ])('%j is refused, naming %s', (params, path) => {
    expect(refusal('peer.hello', params)).toMatchObject({ code: -32602, path })
  })

  it('is answered with what the other has applied', () => {
    const result = { ...hello, server: '2', origin: two, applied: { [one]: 3 } }
    expect(checkPeerHelloResult(result)).toEqual({ ...result, applied: new Map([[one, 3]]) })
  })

  it('begins, where there is a secret, with a challenge, which is answered with a nonce and a proof', () => {
    const answer = { nonce: '0a'.repeat(32), proof: 'f0'.repeat(32) }
    expect(checkChallengeResult(answer)).toEqual(answer)
    expect(() => checkChallengeResult({ nonce: answer.nonce })).toThrow(ProtocolError)
  })
})

describe('whatever a peer sends', () => {
  it('is understood or refused with a ProtocolError', () => {
    const methods = [
      'updates',
      'page',
      'pull',
      'snapshot',
      'cut',
      'link',
      'ask',
      'tell',
      'members',
      'hello',
      'ping',
      'x',
    ]
    const fields = [
      'snapshot',
      'page',
      'siblings',
      'rows',
      'sessions',
      'updates',
      'pull',
      'more',
      'applied',
      'except',
      'entries',
      'state',
      'question',
      'key',
      'versions',
    ]
    const part = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom<unknown>(
        1,
        'x',
        true,
        { [one]: 3 },
        [[3, one]],
        [one],
        [update],
        [{ ...update, origin: 1 }],
        [{ key: 'x', version: [3, one], value: 1 }],
        [{ origin: one, known: { [two]: 3 } }],
        [{ session: 's', letGo: 0, answers: [[5, 3, one, 99]] }],
      ),
    )
    fc.assert(
      fc.property(
        fc.constantFrom(...methods),
        fc.dictionary(fc.constantFrom(...fields), part),
        (method, params) => {
          const error = thrownBy(() => checkPeerMessage(`peer.${method}`, params))
          expect([undefined, -32601, -32602, -32005, -32010]).toContain(error?.code)
        },
      ),
      { numRuns: 3_000 },
    )
  })
})
