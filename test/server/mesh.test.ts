import { afterEach, describe, expect, it } from 'vitest'
import { invalidParams } from '../../src/protocol/errors.ts'
import type { Input } from '../../src/replica/input.ts'
import { Mesh } from '../../src/server/mesh.ts'
import { Narrator, type ServerEvent } from '../../src/server/narrator.ts'
import { OutgoingLink } from '../../src/server/outgoing-link.ts'
import { Server } from '../../src/server/server.ts'
import type { Address } from '../../src/protocol/address.ts'
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

describe('R8: addresses', () => {
  it('that change are told to whoever keeps them; those that were kept are no news', () => {
    const stage = new MeshStage()
    stage.start({ peers: [], remembered: [local(1), local(2)] })
    expect(stage.kept).toEqual([])
    stage.mesh.learn([{ id: '3', ...local(3) }])
    expect(stage.kept).toEqual([[local(1), local(2), local(3)]])
  })

  it('where nobody listens are told of once, not at every attempt', async () => {
    const [port = 0] = await freePorts(1)
    const stage = new MeshStage()
    stage.start({ peers: [local(port)] })
    const unreached = (): readonly ServerEvent[] => stage.events.filter(({ kind }) => kind === 'unreached')
    await stage.until(() => unreached().length > 0)
    const dialled = stage.dialled
    await startServer('2', port)
    await stage.until(() => stage.inputs.some(({ kind }) => kind === 'linkUp'))
    expect(dialled).toBe(1)
    expect(unreached()).toEqual([
      { kind: 'unreached', address: `127.0.0.1:${port}`, reason: 'connection refused' },
    ])
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
  readonly kept: (readonly Address[])[] = []
  dialled = 0
  readonly #looks = new Set<() => void>()

  constructor() {
    this.mesh = new Mesh({
      server: '1',
      origin: originOf('1'),
      step: (input) => this.#note(this.inputs, input),
      tell: (event) => this.#note(this.events, event),
      dial: (options) => {
        this.dialled++
        return new OutgoingLink(options)
      },
      idRefused: () => {},
      addressesChanged: (addresses) => this.kept.push(addresses),
    })
    ending.push(() => this.mesh.stop())
  }

  get members(): readonly { readonly ids: readonly string[]; readonly unidentified: number }[] {
    return this.inputs.flatMap((input) =>
      input.kind === 'members' ? [{ ids: input.ids.toSorted(), unidentified: input.unidentified }] : [],
    )
  }

  start(from: { readonly peers: readonly Address[]; readonly remembered?: readonly Address[] }): void {
    this.mesh.start(local(9), { remembered: [], ...from })
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
