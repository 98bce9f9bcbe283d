/**
 * The story that every part of Tidings has to be able to tell, played on three real servers.
 *
 * Nothing is printed that has not been seen: each line follows a claim that was held against what the servers told
 * or answered. What happens is brought about by holding and releasing links and by ending processes, never by waiting
 * for some time.
 */
import { showVersion, TidingsError, type Version } from '../client/client.ts'
import { storyText } from '../client/story-text.ts'
import { joined, type Cast, type Servers } from './cast.ts'
import type { Claims } from './claims.ts'
import {
  alice,
  atAllServers,
  bob,
  central,
  east,
  entry,
  message,
  sentences,
  serverNamed,
  west,
} from './phrases.ts'
import { poll } from './poll.ts'
import {
  agree,
  applied,
  found,
  heldBack,
  isApplied,
  isConflict,
  isLeaving,
  isRecovered,
  isTaken,
  isWaiting,
  versionOf,
  whose,
} from './sightings.ts'
import type { Stage } from './stage.ts'

/** What the story is told with. */
export interface Telling {
  readonly stage: Stage
  readonly claims: Claims
  /** Prints lines, and leaves the reader the time that was asked for. */
  readonly say: (lines: readonly string[]) => Promise<void>
  /** Ends servers and starts them again. */
  readonly cast: Cast
}

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
  await aSessionMoves(await nothingIsLost(players, telling), telling)
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

/** @returns the servers as they are after it: other processes, on the same folders. */
async function nothingIsLost(players: Servers, { stage, claims, say, cast }: Telling): Promise<Servers> {
  const [one, two, three] = players
  await say(
    stage.scene(
      '5. Nothing acknowledged is lost',
      'What a server acknowledges is on its disk by then. Both links from server 1 are held, so what Alice writes ' +
        'is nowhere else, and as soon as it is acknowledged all three servers are ended at once, by kill -9.',
    ),
  )
  for (const [peer, at] of [
    ['2', central],
    ['3', east],
  ] as const) {
    const { state } = await one.client.link(peer, { action: 'hold' })
    claims.same(`the link from 1 to ${peer} is held`, state, 'held')
    await say(stage.message({ ...message(west, `hold ${peer}`, at, '', 'lab'), isStopped: true }))
  }
  const before = await one.client.readMany(['x', 'y', 'z', 'tea', 'at'])
  const be = (await one.client.write('be', 'safe')).version
  claims.same('the write of be is version 7@1', showVersion(be), '7@1')
  for (const { client, process } of [two, three]) {
    const nothing = { key: 'be', found: false }
    claims.same(`server ${process.id} knows nothing of it`, await client.read('be'), nothing)
  }
  await cast.kill(players)
  await say(stage.message(message(alice, 'write be safe', west, entry('be', 'safe', be))))
  await say(stage.together(atAllServers('kill -9', 'lab')))

  const after = await claims.happens('all three start again, and find each other', cast.startAgain(players))
  const keysFound: number[] = []
  for (const { process } of after) {
    const told = await claims.happens('what its folder held', process.saw('its folder', isRecovered))
    keysFound.push(told.keys)
  }
  claims.same('server 1 alone had the last write, and has it still', keysFound, [6, 5, 5])
  await say(
    stage.together([
      { at: west, text: 'starts: 6 keys', tone: 'good' },
      { at: central, text: 'starts: 5 keys', tone: 'good' },
      { at: east, text: 'starts: 5 keys', tone: 'good' },
    ]),
  )
  for (const player of after.slice(1)) {
    await claims.happens(`server ${player.process.id} gets the last write`, applied(player, be))
  }
  await agree(after, claims, [...before, found('be', 'safe', be)])
  for (const [index, { origin, process }] of after.entries()) {
    claims.same(`server ${process.id} has a new origin`, origin === players[index]?.origin, false)
    claims.same(
      `nobody misses writes of server ${process.id}`,
      process.events.some(({ kind }) => kind === 'restored'),
      false,
    )
  }
  await say(
    stage.aside(
      [
        'All keys are there, with the versions that they had. Every start of a process is a new origin, so that no ' +
          `version is given twice: server 1 was ${one.origin}, and is ${after[0].origin} now.`,
      ],
      'quiet',
    ),
  )
  await say(stage.together(atAllServers(entry('be', 'safe', be))))
  return after
}

async function aSessionMoves(
  [one, two, three]: Servers,
  { stage, claims, say, cast }: Telling,
): Promise<void> {
  await say(
    stage.scene(
      '6. A session moves, and takes along what it has seen',
      'Alice has given her client two servers: 1, and 2 for when that fails. The links to server 2 are held, so her ' +
        'write gets to server 3 alone. Then server 1 is ended. Watch what server 2 answers her.',
    ),
  )
  const client = await cast.connect([one.address, two.address], { id: 'Alice', timeoutMs: patienceMs })
  claims.same('the link from 1 to 2 is held', (await one.client.link('2', { action: 'hold' })).state, 'held')
  await say(stage.message({ ...message(west, 'hold 2', central, '', 'lab'), isStopped: true }))
  claims.same(
    'the link from 3 to 2 is held',
    (await three.client.link('2', { action: 'hold' })).state,
    'held',
  )
  await say(stage.message({ ...message(east, 'hold 2', central, '', 'lab'), isStopped: true }))

  const request = { session: 'Alice', number: 1 }
  const we = (await client.write('we', 'left', { request })).version
  claims.same('the write of we is version 8@1', showVersion(we), '8@1')
  await say(stage.message(message(alice, 'write we left', west, entry('we', 'left', we))))
  await claims.happens('server 3 applies we', applied(three, we))
  await say(stage.message(message(west, 'sends we', east, entry('we', 'left', we))))
  await cast.kill([one])
  await say(stage.note({ at: west, text: 'kill -9', tone: 'lab' }))

  await claims.happens(
    "Alice's client goes on at server 2",
    poll({
      what: "Alice's client",
      ask: async () => client.state,
      view: (state) => (state.status === 'connected' ? state.server : state.status),
      expected: '2',
    }),
  )
  const refusal = await claims.happens(
    'server 2 names the version that it lacks, and who has it',
    poll({
      what: 'Alice, reading we at server 2',
      ask: () => refusalOf(client.read('we')),
      view: (error) => ({
        code: error?.code,
        missing: error?.missing.map(({ version, holders }) => ({ version: showVersion(version), holders })),
      }),
      expected: { code: 'ERR_NOT_CAUGHT_UP', missing: [{ version: '8@1', holders: ['3'] }] },
    }),
  )
  await say(stage.message(message(alice, 'read we', central, 'lacks 8@1', 'waiting')))
  await say(stage.message(message(central, 'not caught up', alice, 'is told why', 'waiting')))
  await say(stage.aside([`Error: ${refusal?.message}.`], 'waiting'))

  claims.same(
    'the link from 3 to 2 is open',
    (await three.client.link('2', { action: 'release' })).state,
    'open',
  )
  await claims.happens('server 2 gets the write of server 1 from server 3', applied(two, we, '3'))
  await say(stage.message(message(east, 'release 2', central, entry('we', 'left', we))))
  claims.same('Alice reads her own write', await client.read('we'), found('we', 'left', we))
  await say(stage.message(message(alice, 'read we', central, '')))
  await say(stage.message(message(central, entry('we', 'left', we), alice, 'left')))

  const again = await client.write('we', 'left', { request: { ...request, retry: true } })
  claims.same('the same request has the same answer', again.version, we)
  claims.same(
    'server 2 took no write',
    two.process.events.some(({ kind }) => kind === 'taken'),
    false,
  )
  await say(stage.message(message(alice, 'same request', central, 'known: 8@1')))
  await agree([two, three], claims, [found('we', 'left', we)])
  await say(
    stage.aside(
      [
        'Alice never sees less than she has seen, wherever she asks. Had the answer to her write been lost, her client ' +
          'would have sent it again with the number it had; it is written once.',
      ],
      'quiet',
    ),
  )
  await say(
    stage.together([
      { at: central, text: entry('we', 'left', we), tone: 'good' },
      { at: east, text: entry('we', 'left', we), tone: 'good' },
    ]),
  )
}

/** What a request is refused with; undefined where it is not. */
async function refusalOf(request: Promise<unknown>): Promise<TidingsError | undefined> {
  try {
    await request
    return undefined
  } catch (error) {
    if (error instanceof TidingsError) return error
    throw error
  }
}

/** How long Alice lets her client wait for an answer. */
const patienceMs = 1_000
