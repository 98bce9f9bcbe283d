/**
 * The story that every part of Tidings has to be able to tell, played on three real servers.
 *
 * Nothing is printed that has not been seen: each line follows a claim that was held against what the servers told
 * or answered. What happens is brought about by holding and releasing links, never by waiting for some time.
 */
import { serverOf, showVersion, type JsonValue, type ReadResult, type Story, type Version } from '../client/client.ts'
import type { ServerEvent } from '../server/narrator.ts'
import { joined, type Player } from './cast.ts'
import type { Claims } from './claims.ts'
import { poll } from './poll.ts'
import type { Note, Participant, Stage, Tone } from './stage.ts'

export const alice: Participant = { name: 'Alice', place: 'at server 1' }
export const west: Participant = { name: 'server 1', place: 'west' }
export const central: Participant = { name: 'server 2', place: 'central' }
export const east: Participant = { name: 'server 3', place: 'east' }
export const bob: Participant = { name: 'Bob', place: 'at server 2' }

/** In the order in which they stand on the page. */
export const participants: readonly Participant[] = [alice, west, central, east, bob]

/** What the story is told with. */
export interface Telling {
  readonly stage: Stage
  readonly claims: Claims
  /** Prints lines, and leaves the reader the time that was asked for. */
  readonly say: (lines: readonly string[]) => Promise<void>
}

/**
 * Plays the whole story.
 *
 * @throws ClaimFailed at the first claim that turns out not to be so.
 */
export async function tellStory(servers: readonly [Player, Player, Player], telling: Telling): Promise<void> {
  await telling.say(telling.stage.open())
  await everybodyHasIt(servers, telling)
  await anEffectWaits(servers, telling)
  await aCutIsNotAHold(servers, telling)
  await aConflictIsShown(servers, telling)
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
  for (const [player, place] of [[two, central], [three, east]] as const) {
    await claims.happens(`server ${player.process.id} applies x`, applied(player, x, '1'))
    await say(stage.message(message(west, 'sends x', place, entry('x', 'lost', x))))
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
  const held = await one.client.link('3', 'hold')
  claims.same('the link from 1 to 3 is held', held.state, 'held')
  await say(stage.message({ ...message(west, 'hold 3', east, '', 'lab'), isStopped: true }))

  const y = (await one.client.write('y', 'found')).version
  claims.same('the write of y is version 2@1', showVersion(y), '2@1')
  await say(stage.message(message(alice, 'write y found', west, entry('y', 'found', y))))
  await claims.happens('server 2 applies y', applied(two, y, '1'))
  await say(stage.message(message(west, 'sends y', central, entry('y', 'found', y))))
  const inLink = await claims.happens(
    'server 3 knows that y is in the held link',
    poll('why y at server 3', async () => missingLinks(await three.client.why('y')), [
      { version: showVersion(y), state: 'held', queued: 1 },
    ]),
  )
  const stuck = message(west, 'sends y', east, `${inLink[0]?.queued} update in the link`, 'lab')
  await say(stage.message({ ...stuck, isStopped: true }))

  claims.same('Bob reads y at server 2', await two.client.read('y'), found('y', 'found', y))
  await say(stage.message(message(bob, 'read y', central, entry('y', 'found', y), 'plain')))
  await say(stage.message(message(central, '', bob, 'found')))
  const z = (await two.client.write('z', 'glad')).version
  claims.same('the write of z is version 3@2', showVersion(z), '3@2')
  const taken = await claims.happens('server 2 takes z', two.process.saw('it takes z', isTaken(z)))
  claims.same('z is said to depend on y', taken.update.dependencies, { [y[1]]: y[0] })
  await say(stage.message(message(bob, 'write z glad', central, `${entry('z', 'glad', z)} after ${showVersion(y)}`)))
  await claims.happens('server 1 applies z', applied(one, z, '2'))
  await say(stage.message(message(central, 'sends z', west, entry('z', 'glad', z))))

  const waiting = await claims.happens('server 3 lets z wait', three.process.saw('z waits', isWaiting(z)))
  claims.same('z waits for y alone', waiting.waitsFor.map(versionOf), [y])
  const waits = `z WAITS: it needs ${showVersion(y)}`
  await say(stage.message(message(central, 'sends z', east, waits, 'waiting')))
  claims.same('server 3 shows nothing of z', await three.client.read('z'), { key: 'z', found: false })
  await say(stage.note({ at: east, text: 'read z → nothing', tone: 'waiting' }))

  const story = await claims.happens(
    'why z names the version, its key, its holders and the held link',
    pollStory(three, { version: showVersion(y), keys: ['y'], holders: ['1', '2'], state: 'held', queued: 1 }),
  )
  await say(stage.note({ at: east, text: 'why z', tone: 'waiting' }))
  await say(stage.aside(whyInWords(story, three.process.id), 'waiting'))

  const before = three.process.events.length
  const released = await one.client.link('3', 'release')
  claims.same('the link from 1 to 3 is open', released.state, 'open')
  await claims.happens('server 3 applies y', applied(three, y, '1'))
  const late = await claims.happens('server 3 applies z', applied(three, z, '2'))
  const order = three.process.events.slice(before).filter(isApplied).map((event) => versionOf(event.update))
  claims.same('server 3 applies y first, then z', order, [y, z])
  claims.same('z is said to have waited', late.waitedMs !== undefined, true)
  await say(stage.message(message(west, 'release 3', east, entry('y', 'found', y))))
  await say(stage.note({ at: east, text: `then ${entry('z', 'glad', z)}`, tone: 'good' }))

  const x: Version = [1, y[1]]
  const values = [found('x', 'lost', x), found('y', 'found', y), found('z', 'glad', z)]
  await agree([one, two, three], claims, values)
  await say(stage.aside(['All three hold the same values, under the same versions:'], 'quiet'))
  for (const { key, value, version } of values) {
    await say(stage.together(atAllServers(version === undefined ? key : entry(key, value, version))))
  }
}
