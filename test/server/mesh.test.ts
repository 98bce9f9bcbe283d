import { afterEach, describe, expect, it } from 'vitest'
import { membersMax, protocolVersion } from '../../src/protocol/limits.ts'
import { invalidParams } from '../../src/protocol/errors.ts'
import type { Input } from '../../src/replica/input.ts'
import { Mesh, type IncomingLink } from '../../src/server/mesh.ts'
import { Narrator, type ServerEvent } from '../../src/server/narrator.ts'
import { OutgoingLink, type OutgoingLinkOptions } from '../../src/server/outgoing-link.ts'
import { Server } from '../../src/server/server.ts'
import { socketSurroundings } from '../../src/server/socket-wire.ts'
import type { Address } from '../../src/protocol/address.ts'
import type { Member } from '../../src/protocol/wire-forms.ts'
import type { KnownServer } from '../../src/storage/store.ts'
import { serverOf, type Origin } from '../../src/replica/version.ts'
import { originOf } from '../replica/update-builder.ts'
import { freePorts, within } from '../integration/processes.ts'

const ending: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const end of ending.splice(0).toReversed()) await end()
})

describe('R9: which servers there are', () => {
  it('is told before anybody is linked to, and again whenever it changes', async () => {
    const [silent = 0, later = 0] = await freePorts(2)
    const stage = new MeshStage()
    stage.start({ peers: [local(silent), local(later)] })
    expect(stage.members).toEqual([{ ids: [], unidentified: 2 }])
    stage.mesh.learn([{ id: '3', ...local(1) }])
    expect(stage.members.at(-1)).toEqual({ ids: ['3'], unidentified: 2 })
    // The same again is no news.
    stage.mesh.learn([{ id: '3', ...local(1) }])
    expect(stage.members).toHaveLength(2)
    await startServer('2', later)
    await stage.until(() => stage.inputs.some(({ kind }) => kind === 'linkUp'))
    const kinds = stage.inputs.map(({ kind }) => kind)
    const told = stage.inputs.findIndex((input) => input.kind === 'members' && input.ids.includes('2'))
    expect(told).toBeGreaterThan(-1)
    expect(told).toBeLessThan(kinds.indexOf('linkUp'))
    expect(stage.members.at(-1)).toEqual({ ids: ['2', '3'], unidentified: 1 })
  })

  it('is told to whoever is linked to, though they joined while it was being greeted', async () => {
    const stage = new MeshStage()
    stage.start({ peers: [local(2), local(3)] })
    const [two, three] = stage.links
    // Both have been sent a hello, which names nobody.
    three?.greetedBy('3~a')
    two?.greetedBy('2~a')
    const told = (link: ToldLink | undefined): readonly string[] => (link?.told ?? []).map(({ id }) => id)
    await stage.until(() => stage.inputs.filter(({ kind }) => kind === 'linkUp').length === 2)
    expect(told(two)).toContain('3')
    expect(told(three)).toContain('2')
  })

  it('is told though there is none: then nobody else can have what is missing', () => {
    const stage = new MeshStage()
    stage.start({ peers: [] })
    expect(stage.members).toEqual([{ ids: [], unidentified: 0 }])
  })

  it('still counts one that has left, as it may come back', async () => {
    const [port = 0] = await freePorts(1)
    const two = await startServer('2', port)
    const stage = new MeshStage()
    stage.start({ peers: [local(port)] })
    await stage.until(() => stage.inputs.some(({ kind }) => kind === 'linkUp'))
    await two.stop('end of the test')
    await stage.until(() => stage.inputs.some(({ kind }) => kind === 'linkDown'))
    expect(stage.members.at(-1)).toEqual({ ids: ['2'], unidentified: 0 })
  })
})

describe('R9: who has been known stays a member', () => {
  it('in a later run too, however long it is unreachable, and is looked for where it answered', async () => {
    const [up = 0, down = 0, rumoured = 0] = await freePorts(3)
    await startServer('2', up)
    const stage = new MeshStage()
    const proven: KnownServer = { ...local(down), id: '3', isProven: true }
    stage.start({
      peers: [local(up)],
      remembered: [proven, { ...local(rumoured), id: '4' }, { id: '5' }],
    })
    expect(stage.members).toEqual([{ ids: ['3', '4', '5'], unidentified: 1 }])
    await stage.until(() => stage.inputs.some(({ kind }) => kind === 'linkUp'))
    // Where nobody has ever answered is given up, but who is said to be there is not.
    stage.giveUpAll()
    expect(stage.members.at(-1)).toEqual({ ids: ['2', '3', '4', '5'], unidentified: 0 })
    expect(stage.kept.at(-1)).toEqual([
      { ...local(up), id: '2', isProven: true },
      proven,
      { id: '4' },
      { id: '5' },
    ])
  })

  it('under the address where it shows up, and no longer under the one before', async () => {
    const [port = 0, former = 0] = await freePorts(2)
    await startServer('3', port)
    const stage = new MeshStage()
    stage.start({ peers: [], remembered: [{ ...local(former), id: '3', isProven: true }] })
    stage.mesh.learn([{ id: '3', ...local(port) }])
    await stage.until(() => stage.inputs.some(({ kind }) => kind === 'linkUp'))
    expect(stage.kept.at(-1)).toEqual([{ ...local(port), id: '3', isProven: true }])
  })

  it('and of one server no more than two addresses are kept that only others have told', () => {
    const stage = new MeshStage()
    const proven: KnownServer = { ...local(1), id: '3', isProven: true }
    stage.start({ peers: [], remembered: [proven] })
    for (const port of [2, 3, 4]) stage.mesh.learn([{ id: '3', ...local(port) }])
    expect(stage.kept.at(-1)).toEqual([proven, { ...local(4), id: '3' }])
  })

  it('and more than can be counted are more than are known', () => {
    const stage = new MeshStage()
    stage.start({ peers: [] })
    stage.mesh.learn(Array.from({ length: membersMax + 1 }, (_, index) => ({ id: `m${index}`, ...local(1) })))
    expect(stage.members.at(-1)?.ids).toHaveLength(membersMax)
    expect(stage.members.at(-1)?.unidentified).toBe(1)
  })
})

describe('R8: addresses', () => {
  it('that change are told to whoever keeps them; those that were kept are no news', () => {
    const stage = new MeshStage()
    stage.start({ peers: [], remembered: [local(1), local(2)] })
    expect(stage.kept).toEqual([])
    stage.mesh.learn([{ id: '3', ...local(3) }])
    expect(stage.kept).toEqual([[local(1), local(2), { ...local(3), id: '3' }]])
  })

  it('where nobody listens are told of once, not at every attempt', async () => {
    const [port = 0] = await freePorts(1)
    const stage = new MeshStage()
    stage.start({ peers: [local(port)] })
    const unreached = (): readonly ServerEvent[] => stage.events.filter(({ kind }) => kind === 'unreached')
    await stage.until(() => unreached().length > 0)
    const dialled = stage.links.length
    await startServer('2', port)
    await stage.until(() => stage.inputs.some(({ kind }) => kind === 'linkUp'))
    expect(dialled).toBe(1)
    expect(unreached()).toEqual([
      { kind: 'unreached', address: `127.0.0.1:${port}`, reason: 'connection refused' },
    ])
  })
})

describe('R7: hellos that come in the same moment', () => {
  it('of two servers with one id: the second is refused, as the first answers', async () => {
    const stage = new MeshStage()
    stage.start({ peers: [] })
    const [first, second] = [new FakeLink('2~a'), new FakeLink('2~b')]
    const accepted = stage.accept(first)
    const refused = stage.accept(second)
    await accepted
    await expect(refused).rejects.toThrow('server id 2 is in use')
    expect(stage.heard).toEqual(['peerHeard 2~a'])
  })

  it('of two servers with one id, the one before them silent: one takes its place, the other is refused', async () => {
    const stage = new MeshStage()
    stage.start({ peers: [] })
    const gone = new FakeLink('2~a')
    await stage.accept(gone)
    gone.fallSilent()
    const accepted = stage.accept(new FakeLink('2~b'))
    const refused = stage.accept(new FakeLink('2~c'))
    gone.endTimeOfPings()
    await accepted
    await expect(refused).rejects.toThrow('server id 2 is in use')
    expect(stage.heard).toEqual(['peerHeard 2~a', 'peerSilent 2~a', 'peerHeard 2~b'])
  })

  it('of one server: it is heard once, and the second connection closes with the first', async () => {
    const stage = new MeshStage()
    stage.start({ peers: [] })
    const [first, second] = [new FakeLink('2~a'), new FakeLink('2~a')]
    await Promise.all([stage.accept(first), stage.accept(second)])
    expect(stage.heard).toEqual(['peerHeard 2~a'])
    stage.mesh.incomingClosed(first, 'connection closed')
    expect(stage.heard).toEqual(['peerHeard 2~a', 'peerSilent 2~a'])
    expect([first.isClosed, second.isClosed]).toEqual([false, true])
  })
})

describe('a lab', () => {
  it('cannot hold, release or delay a link that is cut, and is told so', async () => {
    const [port = 0] = await freePorts(1)
    await startServer('2', port)
    const stage = new MeshStage()
    stage.start({ peers: [local(port)] })
    await stage.until(() => stage.inputs.some(({ kind }) => kind === 'linkUp'))
    expect(stage.mesh.applyToLink('2', { action: 'cut' })?.state).toBe('cut')
    for (const action of [{ action: 'hold' }, { action: 'release' }, { action: 'delay', ms: 10 }] as const) {
      expect(() => stage.mesh.applyToLink('2', action)).toThrow(
        invalidParams('params.action', `is ${action.action}, but the link to 2 is cut; heal it first`),
      )
    }
    expect(stage.mesh.applyToLink('2', { action: 'heal' })?.state).toBe('open')
  })
})

/** A mesh as server 1 has it, with real links, and what it tells. */
class MeshStage {
  readonly mesh: Mesh
  readonly inputs: Input[] = []
  readonly events: ServerEvent[] = []
  readonly kept: (readonly KnownServer[])[] = []
  readonly links: ToldLink[] = []
  readonly #givingUp: (() => void)[] = []
  readonly #looks = new Set<() => void>()

  constructor() {
    this.mesh = new Mesh({
      server: '1',
      origin: originOf('1'),
      step: (input) => this.#note(this.inputs, input),
      tell: (event) => this.#note(this.events, event),
      dial: (options) => {
        const { entry, unreachable } = options
        this.#givingUp.push(() => {
          if (!entry.isProven) unreachable()
        })
        const link = new ToldLink(options)
        this.links.push(link)
        return link
      },
      idRefused: () => {},
      knownChanged: (known) => this.kept.push(known),
    })
    ending.push(() => this.mesh.stop())
  }

  get members(): readonly { readonly ids: readonly string[]; readonly unidentified: number }[] {
    return this.inputs.flatMap((input) =>
      input.kind === 'members' ? [{ ids: input.ids.toSorted(), unidentified: input.unidentified }] : [],
    )
  }

  /** What was told of links that others have dialled. */
  get heard(): readonly string[] {
    return this.inputs.flatMap((input) =>
      input.kind === 'peerHeard' || input.kind === 'peerSilent' ? [`${input.kind} ${input.origin}`] : [],
    )
  }

  /** A server has dialled, and said who it is. */
  accept(link: FakeLink): Promise<void> {
    const { peer: server, origin } = link
    return this.mesh.accept({ server, origin, protocol: protocolVersion, members: [] }, link)
  }

  start(from: { readonly peers: readonly Address[]; readonly remembered?: readonly KnownServer[] }): void {
    this.mesh.start(local(9), { remembered: [], ...from })
  }

  /** As if each address where nobody has ever answered had been dialled in vain for long enough. */
  giveUpAll(): void {
    for (const giveUp of this.#givingUp) giveUp()
  }

  /** Waits until something is so, which can only become so by an input or an event. */
  async until(isTrue: () => boolean): Promise<void> {
    const become = new Promise<void>((resolve) => {
      const look = (): void => {
        if (isTrue()) resolve()
      }
      this.#looks.add(look)
      look()
    })
    await within(become, () => `it told ${JSON.stringify([this.inputs, this.events])}`)
  }

  #note<Item>(list: Item[], item: Item): void {
    list.push(item)
    for (const look of this.#looks) look()
  }
}

/** A link that notes what it tells of other servers, and can be answered by a server that is not there. */
class ToldLink extends OutgoingLink {
  readonly told: Member[] = []
  readonly #options: OutgoingLinkOptions

  constructor(options: OutgoingLinkOptions) {
    super(options, socketSurroundings(undefined))
    this.#options = options
  }

  override sendMembers(members: readonly Member[]): void {
    this.told.push(...members)
    super.sendMembers(members)
  }

  greetedBy(name: string): void {
    const origin = name as Origin
    const greeting = {
      server: serverOf(origin),
      origin,
      protocol: protocolVersion,
      applied: new Map(),
      members: [],
    }
    void this.#options.greeted(greeting, () => true)
  }
}

/** A connection that server 2 has dialled. It answers pings until it falls silent. */
class FakeLink implements IncomingLink {
  readonly peer = '2'
  readonly origin: Origin
  readonly remoteHost = '127.0.0.1'
  isClosed = false
  /** Pings that wait for their time to be up; undefined while each is answered. */
  #unanswered: (() => void)[] | undefined

  constructor(origin: string) {
    this.origin = origin as Origin
  }

  ping(): Promise<boolean> {
    const unanswered = this.#unanswered
    if (unanswered === undefined) return Promise.resolve(true)
    return new Promise((resolve) => {
      unanswered.push(() => resolve(false))
    })
  }

  fallSilent(): void {
    this.#unanswered = []
  }

  endTimeOfPings(): void {
    for (const end of this.#unanswered ?? []) end()
  }

  close(): void {
    this.isClosed = true
  }
}

async function startServer(id: string, port: number): Promise<Server> {
  const server = new Server({
    server: id,
    host: '127.0.0.1',
    port,
    peers: [],
    isInsecure: false,
    isLab: false,
    narrator: new Narrator({}),
  })
  await server.start()
  ending.push(() => server.stop('end of the test'))
  return server
}

function local(port: number): Address {
  return { host: '127.0.0.1', port }
}
