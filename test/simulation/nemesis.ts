import type { LinkAction } from '../../src/protocol/client-messages.ts'
import type { ServerSlot } from './server-slot.ts'
import type { SimulatedClient } from './simulated-client.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import type { Passage } from './simulated-network.ts'
import type { World } from './world.ts'

/**
 * Whatever goes wrong in a run: strikes now and then, as often as its {@link Faults} say, and mends again later.
 */
export class Nemesis {
  readonly #world: World
  readonly #slots: () => readonly ServerSlot[]
  readonly #clients: () => readonly SimulatedClient[]
  readonly #join: () => void
  #isOver = false
  #nextTwinPort = 50_000

  constructor(options: {
    readonly world: World
    readonly slots: () => readonly ServerSlot[]
    readonly clients: () => readonly SimulatedClient[]
    /** Has a server join that nobody has heard of. */
    readonly join: () => void
  }) {
    this.#world = options.world
    this.#slots = options.slots
    this.#clients = options.clients
    this.#join = options.join
    this.#world.time.in(strikeMs, () => this.#strike())
  }

  /** Nothing goes wrong any more, and all that can be mended is: processes run, disks have room, links pass. */
  end(): void {
    this.#isOver = true
    this.#world.network.heal()
    for (const slot of this.#slots()) {
      slot.stopTwin()
      if (slot.disk !== undefined) {
        slot.disk.isFull = false
        slot.disk.slowness = 1
      }
      slot.process?.resume()
      slot.start()
      this.#openLinksOf(slot.process)
    }
    for (const client of this.#clients()) client.readOn()
  }

  #openLinksOf(process: SimulatedProcess | undefined): void {
    if (process === undefined) return
    for (const { id } of this.#slots()) {
      if (id === process.id) continue
      for (const action of ['heal', 'release'] as const) this.#applyToLink(process, id, { action })
    }
  }

  #applyToLink(process: SimulatedProcess, peer: string, action: LinkAction): void {
    const { loop, mesh } = process.core
    // In its turn, as a client's request is.
    loop.inTurn(0, () => {
      // A link that is cut can be healed, and nothing else.
      const state = mesh.status().find(({ id }) => id === peer)?.link
      if (!process.isAlive || state === undefined || (state === 'cut') !== (action.action === 'heal')) return
      this.#world.trace(() => `lab: ${action.action} ${process.id} → ${peer}`)
      mesh.applyToLink(peer, action)
    })
  }

  #strike(): void {
    if (this.#isOver) return
    this.#strikeMesh()
    for (const slot of this.#slots()) this.#strikeServer(slot)
    const ids = this.#slots().map(({ id }) => id)
    for (const from of ids) for (const to of ids) if (from !== to) this.#strikeLink(from, to)
    for (const client of this.#clients()) {
      if (!this.#comes(this.#world.faults.stalledReaderRate)) continue
      client.stopReading()
      this.#later(100, 2_000, () => client.readOn())
    }
    this.#world.time.in(strikeMs, () => this.#strike())
  }

  #comes(rate: number): boolean {
    return rate > 0 && this.#world.random.chance((rate * strikeMs) / 1_000)
  }

  /** Mends something, unless all has been mended by then. */
  #later(leastMs: number, mostMs: number, mend: () => void): void {
    this.#world.time.in(this.#world.random.within(leastMs, mostMs), () => {
      if (!this.#isOver) mend()
    })
  }

  #strikeMesh(): void {
    const { faults, network, random } = this.#world
    if (this.#comes(faults.joinRate) && this.#slots().length < serversMax) this.#join()
    if (!this.#comes(faults.partitionRate)) return
    const ids = this.#slots().map(({ id }) => id)
    const half = new Set(ids.filter(() => random.chance(0.5)))
    const passage: Passage = random.chance(0.2) ? 'swallowing' : 'cut'
    this.#world.trace(() => `partition (${passage}): ${[...half].join(' ')} | the others`)
    const pairs = ids.flatMap((from) => ids.map((to) => [from, to] as const))
    const crossing = pairs.filter(([from, to]) => half.has(from) !== half.has(to))
    for (const [from, to] of crossing) network.setPassage(from, to, passage)
    this.#later(100, 3_000, () => {
      for (const [from, to] of crossing) network.setPassage(from, to, 'open')
    })
  }

  #strikeServer(slot: ServerSlot): void {
    const { faults, random } = this.#world
    const { process, disk } = slot
    if (process === undefined) return
    if (this.#comes(faults.twinRate)) this.#startTwin(slot)
    if (disk !== undefined && random.chance(0.02)) slot.backUp()
    if (disk !== undefined && this.#comes(faults.slowDiskRate)) {
      disk.slowness = random.within(5, 100)
      this.#later(100, 1_500, () => {
        disk.slowness = 1
      })
    }
    if (disk !== undefined && this.#comes(faults.fullDiskRate)) {
      disk.isFull = true
      this.#later(200, 1_500, () => {
        disk.isFull = false
        slot.start()
      })
    }
    if (this.#comes(faults.pauseRate)) {
      process.pause()
      this.#later(100, random.chance(0.3) ? 12_000 : 1_500, () => process.resume())
    }
    const pending = disk?.pending ?? 0
    const isMachineGone = random.chance(0.2)
    if (this.#comes(faults.stopRate)) this.#stop(slot)
    else if (this.#comes(faults.crashRate))
      this.#crash(slot, () => slot.crash({ keptCommits: pending, isMachineGone }))
    else if (this.#comes(faults.powerLossRate)) {
      const keptCommits = random.between(0, pending)
      this.#crash(slot, () => slot.crash({ keptCommits, isMachineGone }))
    } else if (this.#comes(faults.wipeRate)) this.#crash(slot, () => slot.wipe())
    else if (this.#comes(faults.restoreRate)) this.#crash(slot, () => slot.restore())
  }

  #stop(slot: ServerSlot): void {
    slot.stop(() => {
      if (this.#isOver) slot.start()
      else this.#later(10, 1_500, () => slot.start())
    })
  }

  /** Ends a process, and starts it again some time later. */
  #crash(slot: ServerSlot, end: () => void): void {
    end()
    this.#later(10, 1_500, () => slot.start())
  }

  #startTwin(slot: ServerSlot): void {
    slot.startTwin(this.#nextTwinPort++)
    // Now and then the original is gone when its copy comes.
    if (this.#world.random.chance(0.3))
      this.#crash(slot, () => slot.crash({ keptCommits: 0, isMachineGone: false }))
    this.#later(200, 2_000, () => slot.stopTwin())
  }

  #strikeLink(from: string, to: string): void {
    const { faults, network, random } = this.#world
    if (this.#comes(faults.delayRate)) {
      network.delay(from, to, random.within(10, 800))
      this.#later(100, 2_000, () => network.delay(from, to, 0))
    }
    if (this.#comes(faults.disconnectRate)) this.#breakOff(from, to)
    if (this.#comes(faults.oneWayCutRate)) this.#obstruct(from, to, 'cut', 3_000)
    if (this.#comes(faults.blackHoleRate)) this.#obstruct(from, to, 'swallowing', 8_000)
    if (this.#comes(faults.flapRate)) this.#flap(from, to, random.between(3, 12))
    if (this.#comes(faults.labRate)) this.#playWith(from, to)
  }

  #breakOff(from: string, to: string): void {
    for (const connection of this.#world.network.connections) {
      if (connection.from.id === from && connection.to.id === to) connection.breakOff('the connection broke')
    }
  }

  #obstruct(from: string, to: string, passage: Passage, mostMs: number): void {
    this.#world.trace(() => `${from} → ${to} is ${passage}`)
    this.#world.network.setPassage(from, to, passage)
    this.#later(100, mostMs, () => this.#world.network.setPassage(from, to, 'open'))
  }

  #flap(from: string, to: string, times: number): void {
    if (times === 0 || this.#isOver) return
    this.#world.network.setPassage(from, to, 'cut')
    this.#later(10, 200, () => {
      this.#world.network.setPassage(from, to, 'open')
      this.#later(50, 400, () => this.#flap(from, to, times - 1))
    })
  }

  #playWith(from: string, to: string): void {
    const { random } = this.#world
    const process = this.#slots().find(({ id }) => id === from)?.process
    if (process === undefined || process.isPaused) return
    const action = random.oneOf<LinkAction>([
      { action: 'hold' },
      { action: 'hold' },
      { action: 'delay', ms: random.between(20, 800) },
      { action: 'cut' },
    ])
    this.#applyToLink(process, to, action)
    const mend = (): void => {
      if (!process.isAlive) return
      this.#applyToLink(process, to, action.action === 'cut' ? { action: 'heal' } : { action: 'release' })
    }
    if (action.action === 'hold' && random.chance(0.4)) {
      this.#later(50, 500, () => {
        if (process.isAlive)
          this.#applyToLink(process, to, { action: 'release', count: random.between(1, 3) })
      })
    }
    this.#later(100, 2_500, mend)
  }
}

const strikeMs = 50
const serversMax = 8
