import type { Random } from '../durability/random.ts'
import { entryOf, type Cut } from '../../src/replica/cut.ts'
import { oneOf } from './choice.ts'

/** What a message that makes sense can refer to: the state of the replica that it is sent to. */
export interface Surroundings {
  readonly applied: Cut
  readonly clock: number
  /** The number of the pull that the replica waits for, or of any. */
  readonly pull: number
  /** The number of the last question that it has asked. */
  readonly question: number
}

/** A message that makes sense: what a mutation begins with. */
export interface Sample {
  readonly method: string
  readonly params?: unknown
}

type Sampler = (around: Surroundings, random: Random) => Sample

/** A request of any method of a client. */
export function clientSample(around: Surroundings, random: Random): Sample {
  return oneOf(clientSamplers, random)(around, random)
}

/** A message of any method of a server that has greeted, and now and then its greeting. */
export function peerSample(around: Surroundings, random: Random): Sample {
  return oneOf(peerSamplers, random)(around, random)
}

const keys: readonly string[] = ['x', 'y', 'z', 'user:1', 'user:2', '__proto__', 'ü', '😀', '\0']

/** Origins of servers that there are not. */
export const strangers: readonly string[] = ['8~a', '8~b', '9~a', '9~b', '7~x']

const values: readonly unknown[] = [
  null,
  true,
  'lost',
  '',
  0,
  1.5,
  -7,
  1e20,
  [],
  {},
  [1, [2, [3]]],
  { name: 'Ada', tags: ['a', 'b'], of: { by: null } },
  'ü😀\u2028',
  9_007_199_254_740_991,
]

function cutFor({ applied, clock }: Surroundings, random: Random): object {
  const cut: Record<string, number> = {}
  for (const [origin, timestamp] of applied) if (random.chance(0.4)) cut[origin] = timestamp
  // Now and then something that has not come, or never will.
  if (random.chance(0.2)) cut[oneOf(strangers, random)] = clock + random.between(0, 3)
  return cut
}

/** What a request is to come after, most often nothing. */
function patience(around: Surroundings, random: Random): object {
  if (random.chance(0.7)) return {}
  return { after: cutFor(around, random), ...(random.chance(0.5) ? { timeout: random.between(0, 500) } : {}) }
}

function stamp(random: Random): object {
  if (random.chance(0.6)) return {}
  const retry = oneOf([undefined, undefined, true, 'again'], random)
  return {
    request: {
      session: oneOf(['3f2a9c1e', 'alice', 'bob'], random),
      number: random.between(1, 20),
      ...(retry === undefined ? {} : { retry }),
    },
  }
}

const writeOf = (random: Random, key: string = oneOf(keys, random)): object =>
  random.chance(0.2) ? { key, deleted: true } : { key, value: oneOf(values, random) }

/** Writes to different keys. */
function writesOf(random: Random): readonly object[] {
  return random
    .shuffled(keys)
    .slice(0, random.between(1, 3))
    .map((key) => writeOf(random, key))
}

const clientSamplers: readonly Sampler[] = [
  (around, random) => ({
    method: 'write',
    params: {
      key: oneOf(keys, random),
      value: oneOf(values, random),
      ...patience(around, random),
      ...stamp(random),
    },
  }),
  (around, random) => ({
    method: 'delete',
    params: { key: oneOf(keys, random), ...patience(around, random), ...stamp(random) },
  }),
  (around, random) => ({
    method: 'batch',
    params: { writes: writesOf(random), ...patience(around, random), ...stamp(random) },
  }),
  (around, random) => ({
    method: 'read',
    params: { key: oneOf(keys, random), ...patience(around, random) },
  }),
  (around, random) => ({
    method: 'read',
    params: { keys: random.shuffled(keys).slice(0, 3), ...patience(around, random) },
  }),
  (around, random) => ({
    method: 'keys',
    params: { prefix: oneOf(['', 'user:', 'x'], random), from: 'u', limit: 2, ...patience(around, random) },
  }),
  (around, random) => ({
    method: 'watch',
    params: {
      prefix: oneOf(['', 'user:'], random),
      since: random.chance(0.5) ? oneOf(['now', 'start'], random) : cutFor(around, random),
    },
  }),
  (_around, random) => ({ method: 'unwatch', params: { watch: random.between(1, 5) } }),
  (around, random) => ({ method: 'conflicts', params: { prefix: '', ...patience(around, random) } }),
  () => ({ method: 'status' }),
  () => ({ method: 'waiting', params: {} }),
  (_around, random) => ({ method: 'why', params: { key: oneOf(keys, random) } }),
  () => ({ method: 'hello', params: { session: 'alice', token: 'f'.repeat(64), protocol: 1 } }),
  () => ({ method: 'challenge', params: { nonce: '1c07'.repeat(16) } }),
  (_around, random) => ({
    method: 'link',
    params: oneOf(
      [
        { peer: '9', action: 'hold' },
        { peer: '9', action: 'release' },
        { peer: '9', action: 'release', count: 1 },
        { peer: '9', action: 'delay', ms: 200 },
        { peer: '8', action: 'cut' },
        { peer: '8', action: 'heal' },
      ],
      random,
    ),
  }),
]

/** An update that comes next of its origin, or one that has to wait, or one that never can be. */
function updateOf(around: Surroundings, random: Random, origin: string = oneOf(strangers, random)): object {
  const { applied, clock } = around
  const previous = entryOf(applied, origin as never)
  const isAhead = random.chance(0.2)
  const dependencies: Record<string, number> = {}
  for (const [other, timestamp] of applied) {
    if (other !== origin && random.chance(0.3)) dependencies[other] = timestamp
  }
  if (isAhead) dependencies[oneOf(strangers, random)] = clock + 1
  return {
    origin,
    timestamp: clock + (isAhead ? 2 : 1),
    previous,
    dependencies,
    writes: writesOf(random),
    ...stamp(random),
    ...(random.chance(0.1) ? { newer: { told: [1] } } : {}),
  }
}

/** Updates of one origin that follow each other, told in order or not. */
function chainOf(around: Surroundings, random: Random): readonly object[] {
  const origin = oneOf(strangers, random)
  const updates: object[] = []
  let previous = entryOf(around.applied, origin as never)
  for (let timestamp = around.clock + 1; timestamp <= around.clock + random.between(1, 5); timestamp++) {
    updates.push({ origin, timestamp, previous, dependencies: {}, writes: writesOf(random) })
    previous = timestamp
  }
  return random.chance(0.5) ? updates : random.shuffled(updates)
}

const updatesOf = (around: Surroundings, random: Random): readonly object[] =>
  random.chance(0.5) ? [updateOf(around, random)] : chainOf(around, random)

function siblingOf({ clock }: Surroundings, random: Random): object {
  const version = [random.between(1, clock + 3), oneOf(strangers, random)]
  return {
    ...writeOf(random),
    version,
    ...(random.chance(0.7) ? { first: true } : {}),
  }
}

function snapshotOf(around: Surroundings, random: Random): object {
  const siblings = Array.from({ length: random.between(0, 3) }, () => siblingOf(around, random))
  const isLast = random.chance(0.6)
  const top = around.clock + 3
  return {
    pull: around.pull,
    snapshot: random.between(1, 2),
    page: random.between(1, 2),
    siblings,
    rows: [{ origin: oneOf(strangers, random), known: cutFor(around, random) }],
    sessions: [
      {
        session: oneOf(['alice', 'bob'], random),
        letGo: random.between(0, 3),
        answers: [
          [random.between(1, 20), random.between(1, top), oneOf(strangers, random), 4_503_599_627_370_497],
        ],
      },
    ],
    ...(isLast
      ? {
          applied: {
            ...Object.fromEntries(around.applied),
            ...Object.fromEntries(strangers.map((origin) => [origin, top])),
          },
        }
      : {}),
  }
}

const versionsOf = ({ clock }: Surroundings, random: Random): readonly unknown[] =>
  Array.from({ length: random.between(0, 3) }, () => [random.between(1, clock + 2), oneOf(strangers, random)])

/** Where nobody listens, should anybody go there. */
const member = { id: '3', host: '127.0.0.1', port: 1 }

const peerSamplers: readonly Sampler[] = [
  (around, random) => ({ method: 'peer.updates', params: { updates: updatesOf(around, random) } }),
  (around, random) => ({ method: 'peer.updates', params: { updates: updatesOf(around, random) } }),
  (around, random) => ({
    method: 'peer.page',
    params: { pull: around.pull, updates: updatesOf(around, random), more: random.chance(0.3) },
  }),
  (around, random) => ({
    method: 'peer.pull',
    params: {
      pull: random.between(1, 9),
      applied: random.chance(0.5) ? {} : cutFor(around, random),
      except: random.chance(0.8) ? [] : [oneOf(strangers, random)],
      ...(random.chance(0.3) ? { snapshot: random.between(1, 30) } : {}),
    },
  }),
  (around, random) => ({ method: 'peer.snapshot', params: snapshotOf(around, random) }),
  (around, random) => ({ method: 'peer.snapshot', params: snapshotOf(around, random) }),
  (around, random) => ({ method: 'peer.cut', params: { entries: cutFor(around, random) } }),
  (_around, random) => ({
    method: 'peer.link',
    params: { state: oneOf(['open', 'held', 'delayed', 'cut'], random), delayMs: 20, queued: 1 },
  }),
  (around, random) => ({
    method: 'peer.ask',
    params: {
      question: random.between(1, 9),
      ...(random.chance(0.7) ? { key: oneOf(keys, random) } : {}),
      versions: versionsOf(around, random),
    },
  }),
  (around, random) => ({
    method: 'peer.tell',
    params: {
      question: around.question,
      siblings: versionsOf(around, random),
      keys: versionsOf(around, random).map((version) => ({ version, keys: ['x', 'y'] })),
    },
  }),
  () => ({ method: 'peer.members', params: { members: [member] } }),
  (_around, random) => ({
    method: 'peer.hello',
    params: {
      server: '9',
      origin: '9~a',
      protocol: 1,
      members: [member],
      token: 'f'.repeat(64),
      ...(random.chance(0.7) ? { address: { host: 'localhost', port: 1 } } : {}),
    },
  }),
  () => ({ method: 'peer.ping', params: {} }),
]
