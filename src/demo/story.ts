/**
 * The story that every part of Tidings has to be able to tell, played on three real servers.
 *
 * Nothing is printed that has not been seen: each line follows a claim that was held against what the servers told
 * or answered. What happens is brought about by holding and releasing links, never by waiting for some time.
 */
import { showVersion, type ReadValue, type ToldMissing, type Version } from '../client/client.ts'
import { storyText } from '../client/story-text.ts'
import { compareVersions } from '../replica/version.ts'
import type { ServerEvent } from '../server/narrator.ts'
import { joined, type Player } from './cast.ts'
import type { Claims } from './claims.ts'
import { poll } from './poll.ts'
import type { Message, Note, Participant, Stage, Tone } from './stage.ts'

const alice: Participant = { name: 'Alice', place: 'at server 1' }
const west: Participant = { name: 'server 1', place: 'west' }
const central: Participant = { name: 'server 2', place: 'central' }
const east: Participant = { name: 'server 3', place: 'east' }
const bob: Participant = { name: 'Bob', place: 'at server 2' }

/** In the order in which they stand on the page. */
export const participants: readonly Participant[] = [alice, west, central, east, bob]

const servers: readonly Participant[] = [west, central, east]

/** What the story is told with. */
export interface Telling {
  readonly stage: Stage
  readonly claims: Claims
  /** Prints lines, and leaves the reader the time that was asked for. */
  readonly say: (lines: readonly string[]) => Promise<void>
}

type Servers = readonly [Player, Player, Player]

/**
 * Plays the whole story.
 *
 * @throws ClaimFailed at the first claim that turns out not to be so.
 */
export async function tellStory(players: Servers, telling: Telling): Promise<void> {
  await telling.say(
    telling.stage.open(
      'Three servers hold the same keys. Alice talks to server 1, Bob to server 2. What follows is happening now, ' +
        'on real servers; each line is checked before it is printed.',
    ),
  )
  await everybodyHasIt(players, telling)
  await anEffectWaits(players, telling)
  await aCutIsNotAHold(players, telling)
  await aConflictIsShown(players, telling)
}

async function everybodyHasIt([one, two, three]: Servers, { stage, claims, say }: Telling): Promise<void> {
  await say(
    stage.scene(
      '1. What one server takes, every server gets',
      'Each server keeps everything and takes writes on its own. A write gets a version that never changes: ' +
        '1@1 is Lamport time 1, at server 1.',
    ),
  )
  const x = (await one.client.write('x', 'lost')).version
  claims.same('the first write is version 1@1', showVersion(x), '1@1')
  await say(stage.message(message(alice, 'write x lost', west, entry('x', 'lost', x))))
  for (const [player, at] of [
    [two, central],
    [three, east],
  ] as const) {
    const { from } = await claims.happens(`server ${player.process.id} applies x`, applied(player, x))
    await say(stage.message(message(serverNamed(from), 'sends x', at, entry('x', 'lost', x))))
  }
  await agree([one, two, three], claims, [found('x', 'lost', x)])
}

async function anEffectWaits([one, two, three]: Servers, { stage, claims, say }: Telling): Promise<void> {
  await say(
    stage.scene(
      '2. An effect waits for its cause',
      'The link from server 1 to server 3 is held: what is sent on it stays in it. Bob reads what Alice wrote ' +
        'and answers it. His answer overtakes her words on the way to server 3. Watch what server 3 does.',
    ),
  )
  const held = await one.client.link('3', { action: 'hold' })
  claims.same('the link from 1 to 3 is held', held.state, 'held')
  await say(stage.message({ ...message(west, 'hold 3', east, '', 'lab'), isStopped: true }))

  const y = (await one.client.write('y', 'found')).version
  claims.same('the write of y is version 2@1', showVersion(y), '2@1')
  await say(stage.message(message(alice, 'write y found', west, entry('y', 'found', y))))
  await claims.happens('server 2 applies y', applied(two, y))
  await say(stage.message(message(west, 'sends y', central, entry('y', 'found', y))))
  await claims.happens(
    'y stays in the held link',
    poll({
      what: 'why y at server 3',
      ask: () => three.client.why('y'),
      view: ({ missing }) => missing.map(heldBack),
      expected: [{ version: '2@1', state: 'held', queued: 1 }],
    }),
  )
  await say(
    stage.message({ ...message(west, 'sends y', east, 'y stays in the link', 'lab'), isStopped: true }),
  )

  claims.same('Bob reads y at server 2', await two.client.read('y'), found('y', 'found', y))
  await say(stage.message(message(bob, 'read y', central, '')))
  await say(stage.message(message(central, entry('y', 'found', y), bob, 'found')))
  const z = (await two.client.write('z', 'glad')).version
  claims.same('the write of z is version 3@2', showVersion(z), '3@2')
  const taken = await claims.happens('server 2 takes z', two.process.saw('it takes z', isTaken(z)))
  claims.same('z is said to depend on y', taken.update.dependencies, { [y.origin]: y.timestamp })
  await say(
    stage.message(message(bob, 'write z glad', central, `${entry('z', 'glad', z)} after ${showVersion(y)}`)),
  )
  await claims.happens('server 1 applies z', applied(one, z))
  await say(stage.message(message(central, 'sends z', west, entry('z', 'glad', z))))

  const waiting = await claims.happens('server 3 lets z wait', three.process.saw('z waits', isWaiting(z)))
  claims.same('z waits for y alone', waiting.waitsFor.map(versionOf), [y])
  const waits = `z WAITS: it needs ${showVersion(y)}`
  await say(stage.message(message(central, 'sends z', east, waits, 'waiting')))
  claims.same('server 3 shows nothing of z', await three.client.read('z'), { key: 'z', found: false })
  await say(stage.note({ at: east, text: 'read z → nothing', tone: 'waiting' }))

  const story = await claims.happens(
    'why z names the version, its key, who holds it, and the held link',
    poll({
      what: 'why z at server 3',
      ask: () => three.client.why('z'),
      view: ({ waiting }) =>
        waiting.flatMap(({ waitsFor }) => waitsFor.map((it) => ({ ...heldBack(it), ...whose(it) }))),
      expected: [{ version: '2@1', keys: ['y'], holders: ['1', '2'], state: 'held', queued: 1 }],
    }),
  )
  await say(stage.note({ at: east, text: 'why z', tone: 'waiting' }))
  await say(stage.aside(sentences(storyText(story, three.process.id)), 'waiting'))

  const before = three.process.events.length
  const released = await one.client.link('3', { action: 'release' })
  claims.same('the link from 1 to 3 is open', released.state, 'open')
  await claims.happens('server 3 applies y', applied(three, y))
  const late = await claims.happens('server 3 applies z', applied(three, z))
  const order = three.process.events
    .slice(before)
    .filter(isApplied)
    .map((event) => versionOf(event.update))
  claims.same('server 3 applies y first, then z', order, [y, z])
  claims.same('z is said to have waited', late.waitedMs !== undefined, true)
  await say(stage.message(message(west, 'release 3', east, entry('y', 'found', y))))
  await say(stage.note({ at: east, text: entry('z', 'glad', z), tone: 'good' }))

  const x: Version = { timestamp: 1, origin: y.origin }
  await agree([one, two, three], claims, [
    found('x', 'lost', x),
    found('y', 'found', y),
    found('z', 'glad', z),
  ])
  await say(
    stage.aside(
      ['At no moment did server 3 show the answer without the words that it answers. Now all hold the same:'],
      'quiet',
    ),
  )
  await say(stage.together(atAllServers(entry('x', 'lost', x))))
  await say(stage.together(atAllServers(entry('y', 'found', y))))
  await say(stage.together(atAllServers(entry('z', 'glad', z))))
}

async function aCutIsNotAHold([one, two, three]: Servers, { stage, claims, say }: Telling): Promise<void> {
  await say(
    stage.scene(
      '3. A cut link is gone around',
      'A held link is a slow letter: it will come, so nobody asks elsewhere. A cut link is a broken wire. ' +
        'Server 3 sees from what server 2 tells it that something is missing, and gets it there.',
    ),
  )
  const heardSoFar = three.process.events.length
  const cut = await one.client.link('3', { action: 'cut' })
  claims.same('the link from 1 to 3 is cut', cut.state, 'cut')
  await claims.happens('server 3 notices', three.process.saw('server 1 leaves', isLeaving('1'), heardSoFar))
  await say(stage.message({ ...message(west, 'cut 3', east, 'lost server 1', 'lab'), isStopped: true }))

  const tea = (await one.client.write('tea', 'hot')).version
  claims.same('the write of tea is version 4@1', showVersion(tea), '4@1')
  await say(stage.message(message(alice, 'write tea hot', west, entry('tea', 'hot', tea))))
  await claims.happens('server 2 applies tea', applied(two, tea))
  await say(stage.message(message(west, 'sends tea', central, entry('tea', 'hot', tea))))
  await claims.happens('server 3 gets the write of server 1 from server 2', applied(three, tea, '2'))
  const heard = `${entry('tea', 'hot', tea)} from server 2`
  await say(stage.message(message(central, 'passes it on', east, heard)))
  await agree([one, two, three], claims, [found('tea', 'hot', tea)])

  const countBefore = three.process.events.length
  const healed = await one.client.link('3', { action: 'heal' })
  claims.same('the link from 1 to 3 is open again', healed.state, 'open')
  await claims.happens('server 1 back', three.process.saw('server 1 joins', joined('1'), countBefore))
  await say(stage.message(message(west, 'heal 3', east, 'server 1 back')))
}

async function aConflictIsShown([one, two, three]: Servers, { stage, claims, say }: Telling): Promise<void> {
  await say(
    stage.scene(
      '4. Two writes at once are a conflict, and nobody hides it',
      'Alice and Bob write the same key before either server has heard of the other. Both versions are kept. All ' +
        'servers choose the same one as the value, the higher version, and list the other until somebody who has ' +
        'seen both writes the key again.',
    ),
  )
  claims.same('the link from 1 to 2 is held', (await one.client.link('2', { action: 'hold' })).state, 'held')
  await say(stage.message({ ...message(west, 'hold 2', central, '', 'lab'), isStopped: true }))
  claims.same('the link from 2 to 1 is held', (await two.client.link('1', { action: 'hold' })).state, 'held')
  await say(stage.message({ ...message(central, 'hold 1', west, '', 'lab'), isStopped: true }))

  const noon = (await one.client.write('at', 'noon')).version
  claims.same('what Alice writes is version 5@1', showVersion(noon), '5@1')
  await say(stage.message(message(alice, 'write at noon', west, entry('at', 'noon', noon))))
  const four = (await two.client.write('at', 'four')).version
  claims.same('what Bob writes is version 5@2', showVersion(four), '5@2')
  await say(stage.message(message(bob, 'write at four', central, entry('at', 'four', four))))

  await one.client.link('2', { action: 'release' })
  await two.client.link('1', { action: 'release' })
  const both = [four, noon]
  for (const { client, process } of [one, two, three]) {
    const told = await claims.happens(
      `server ${process.id} tells of it`,
      process.saw('a conflict', isConflict),
    )
    claims.same(`server ${process.id} tells of both`, told.versions.map(versionOf), both)
    claims.same(`server ${process.id} lists both, Bob's first`, await client.conflicts(), [
      {
        key: 'at',
        versions: [
          { version: four, value: 'four' },
          { version: noon, value: 'noon' },
        ],
      },
    ])
  }
  await say(
    stage.aside(
      ['Both links are released. All three say the same: the value, and what conflicts with it:'],
      'quiet',
    ),
  )
  await say(stage.together(atAllServers(entry('at', 'four', four))))
  await say(stage.together(atAllServers(`also noon ${showVersion(noon)}`, 'waiting')))

  const final = (await one.client.write('at', 'five')).version
  claims.same('the write that settles it is version 6@1', showVersion(final), '6@1')
  await say(stage.message(message(alice, 'write at five', west, entry('at', 'five', final))))
  await claims.happens('server 2 applies it', applied(two, final))
  await claims.happens('server 3 applies it', applied(three, final))
  await agree([one, two, three], claims, [found('at', 'five', final)])
  for (const { client, process } of [one, two, three]) {
    claims.same(`server ${process.id} has no conflict left`, await client.conflicts(), [])
  }
  await say(
    stage.aside(['Alice had seen both, so her write takes the place of both. No conflict is left:'], 'quiet'),
  )
  await say(stage.together(atAllServers(entry('at', 'five', final))))
}

// ── what is checked ──────────────────────────────────────────────────────────────────────────────────────

/** Claims of each server that it holds these values under these versions, at one moment, and nothing beside them. */
async function agree(players: Servers, claims: Claims, values: readonly ReadValue[]): Promise<void> {
  const keys = values.map(({ key }) => key)
  for (const { client, process } of players) {
    claims.same(`server ${process.id} holds ${keys.join(', ')}`, await client.readMany(keys), values)
  }
}

function found(key: string, value: string, version: Version): ReadValue {
  return { key, found: true, value, version }
}

/**
 * Waits until a server applies a version.
 *
 * @param from the server that it has to come from; any where it is absent, for a push that is late is pulled.
 */
function applied({ process }: Player, version: Version, from?: string): Promise<Applied> {
  return process.saw(
    `it applies ${showVersion(version)}${from === undefined ? '' : ` from server ${from}`}`,
    (event): event is Applied =>
      isApplied(event) && isSame(event.update, version) && (from ?? event.from) === event.from,
  )
}

type Applied = Extract<ServerEvent, { kind: 'applied' }>

function isApplied(event: ServerEvent): event is Applied {
  return event.kind === 'applied'
}

function isTaken(version: Version) {
  return (event: ServerEvent): event is Extract<ServerEvent, { kind: 'taken' }> =>
    event.kind === 'taken' && isSame(event.update, version)
}

function isWaiting(version: Version) {
  return (event: ServerEvent): event is Extract<ServerEvent, { kind: 'waiting' }> =>
    event.kind === 'waiting' && isSame(event.update, version)
}

function isConflict(event: ServerEvent): event is Extract<ServerEvent, { kind: 'conflict' }> {
  return event.kind === 'conflict'
}

function isLeaving(id: string) {
  return (event: ServerEvent): event is Extract<ServerEvent, { kind: 'linkLost' }> =>
    event.kind === 'linkLost' && event.peer === id
}

/** An update is a version too, with more to it. */
function versionOf({ timestamp, origin }: Version): Version {
  return { timestamp, origin }
}

function isSame(one: Version, other: Version): boolean {
  return compareVersions(one, other) === 0
}

function heldBack({ version, link }: ToldMissing) {
  const { state, queued } = link === 'absent' ? { state: link, queued: 0 } : link
  return { version: showVersion(version), state, queued }
}

function whose({ keys, holders }: ToldMissing) {
  return { keys, holders: [...holders].sort(byName) }
}

function byName(one: string, other: string): number {
  return one.localeCompare(other)
}

// ── what is shown ────────────────────────────────────────────────────────────────────────────────────────

/** Something said at one place and heard at another; what is heard is good news unless said otherwise. */
function message(
  from: Participant,
  said: string,
  to: Participant,
  heard: string,
  tone: Tone = 'good',
): Message {
  return {
    from: { at: from, text: said, tone: tone === 'lab' ? tone : 'plain' },
    to: { at: to, text: heard, tone },
  }
}

function serverNamed(id: string): Participant {
  return servers.find(({ name }) => name === `server ${id}`) ?? { name: id }
}

/** Paragraphs as lines of one sentence each. */
function sentences(paragraphs: readonly string[]): readonly string[] {
  return paragraphs.flatMap((paragraph) => paragraph.split(/(?<=\.) (?=\p{Lu})/u))
}

function atAllServers(text: string, tone: Tone = 'good'): readonly Note[] {
  return servers.map((at) => ({ at, text, tone }))
}

/** Such as `x = lost 1@1`. */
function entry(key: string, value: string, version: Version): string {
  return `${key} = ${value} ${showVersion(version)}`
}
