import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Random } from '../durability/random.ts'
import type { Applied, ChaosMesh } from './chaos-mesh.ts'
import type { Clients } from './clients.ts'
import type { Fault, FaultKind } from './faults.ts'
import type { Direction, Link, Network } from './network.ts'

/** A disk that was lost: what is gone with it, and what is not. */
export interface DiskLoss {
  readonly server: string
  /** Of each origin, up to where others, or the copy that was put back, had everything at that moment. */
  readonly survived: ReadonlyMap<string, number>
}

/**
 * Does to a mesh what a round's faults say, and takes it back when their time is over.
 *
 * Two faults at one place would take back each other's doing, so the second does not happen, and is not counted.
 */
export class FaultRunner {
  readonly #options: FaultRunnerOptions
  readonly #counts = new Map<FaultKind, number>()
  readonly #taken = new Set<string>()
  #loss: DiskLoss | undefined

  constructor(options: FaultRunnerOptions) {
    this.#options = options
  }

  /** How many faults of each kind have happened. */
  get counts(): ReadonlyMap<FaultKind, number> {
    return this.#counts
  }

  /** What the last round's lost disk took with it. @returns undefined where there was none since it was asked last. */
  takeLoss(): DiskLoss | undefined {
    const loss = this.#loss
    this.#loss = undefined
    return loss
  }

  /** @param over resolves when the round's work is done, and with it the time of faults without an end. */
  async run(fault: Fault, over: Promise<void>): Promise<void> {
    await pause(fault.atMs)
    const places = placesOf(fault)
    if (places.some((place) => this.#taken.has(place))) return
    for (const place of places) this.#taken.add(place)
    const past = fault.lastsMs === Infinity ? over : pause(fault.lastsMs)
    try {
      const hasHappened = await this.#inflict(fault, past)
      if (hasHappened) this.#counts.set(fault.kind, (this.#counts.get(fault.kind) ?? 0) + 1)
    } finally {
      for (const place of places) this.#taken.delete(place)
    }
  }

  /** @returns whether it has happened. */
  async #inflict(fault: Fault, past: Promise<void>): Promise<boolean> {
    const { mesh, random } = this.#options
    const servers = fault.servers.map((id) => mesh.server(id))
    const { network } = mesh
    switch (fault.kind) {
      case 'kill':
      case 'killAll':
        await Promise.all(servers.map((server) => server.kill()))
        await past
        await Promise.all(servers.map((server) => server.start()))
        return true
      case 'killAlone':
        for (const link of fault.links) await network.cut(link)
        await past
        await Promise.all(servers.map((server) => server.kill()))
        await Promise.all(servers.map((server) => server.start()))
        for (const link of fault.links) await network.heal(link)
        return true
      case 'stop':
      case 'freeze':
        for (const server of servers) server.pause()
        await past
        for (const server of servers) server.resume()
        return true
      case 'full':
        await this.#fill(fault, past)
        return true
      case 'cut':
      case 'partition':
        await treat(network, fault.links, (link) => network.cut(link), past)
        return true
      case 'flap':
        for (const endsMs = performance.now() + fault.lastsMs; performance.now() < endsMs;) {
          for (const link of fault.links) await network.flap(link)
          await pause(random.between(30, 300))
        }
        return true
      case 'hold': {
        const direction = random.oneOf<Direction>(['there', 'back', 'both'])
        await treat(network, fault.links, (link) => network.hold(link, direction), past)
        return true
      }
      case 'delay':
        await treat(network, fault.links, (link) => network.delay(link, fault.delayMs), past)
        return true
      case 'labHold':
        return await this.#labour(fault.links, { action: 'hold' }, { action: 'release' }, past)
      case 'labDelay':
        return await this.#labour(
          fault.links,
          { action: 'delay', ms: fault.delayMs },
          { action: 'delay', ms: 0 },
          past,
        )
      case 'labCut':
        return await this.#labour(fault.links, { action: 'cut' }, { action: 'heal' }, past)
      case 'stall': {
        const watcher = random.oneOf(this.#options.watchers)
        watcher.stall()
        await past
        watcher.readOn()
        return true
      }
      case 'lostAnswer':
        for (const { id } of servers) {
          this.#options.libraryProxies.get(id)?.cutAnswerTo(isWrite)
          await this.#options.switchboard.loseAnswers(id)
        }
        return true
      case 'wipe':
      case 'restore':
        await this.#loseDisk(fault, past)
        return true
    }
  }

  /** A server whose files cannot grow ends by itself, unless it can do without. */
  async #fill({ servers }: Fault, past: Promise<void>): Promise<void> {
    const { mesh, complain } = this.#options
    for (const id of servers) {
      const server = mesh.server(id)
      await server.kill()
      const { size } = await stat(join(server.folder, 'data.mdb'))
      const ended = server
        .start({ fileKibibytesMax: Math.ceil(size / 1024) + roomKibibytes })
        // It may have too little even for its start.
        .catch(() => {})
        .then(() => server.ended())
      const end = await Promise.race([ended, past])
      if (end !== undefined && end.code !== fullDiskCode) {
        complain(
          `server ${id} ended with ${end.code ?? end.signal} on a full disk; it said ${server.lastWords}`,
        )
      }
      await past
      await server.kill()
      await server.start()
    }
  }

  /** A server that is down, or comes down meanwhile, has no lab. @returns whether it had one. */
  async #labour(
    links: readonly Link[],
    doing: object,
    undoing: object,
    past: Promise<void>,
  ): Promise<boolean> {
    const { mesh } = this.#options
    const done = await Promise.all(links.map((link) => mesh.link(link, doing)))
    await past
    // Where that fails, whoever heals the mesh at the end of the round looks after it.
    await Promise.all(links.map((link) => mesh.link(link, undoing)))
    return done.includes(true)
  }

  async #loseDisk({ kind, servers, links }: Fault, past: Promise<void>): Promise<void> {
    const { mesh } = this.#options
    const [id] = servers as readonly [string]
    const server = mesh.server(id)
    const survived = new Map<string, number>()
    const keep = (applied: Applied, isWanted: (origin: string) => boolean = () => true): void => {
      for (const [origin, timestamp] of Object.entries(applied)) {
        if (isWanted(origin)) survived.set(origin, Math.max(timestamp, survived.get(origin) ?? 0))
      }
    }
    if (kind === 'restore') {
      await server.kill()
      await mesh.folder.copy(id, `${id}.copy`)
      await server.start()
      // What it had when it was copied, and what it has heard since; not what it has taken since.
      const { origin, applied } = await mesh.status(id)
      keep(applied, (of) => of !== origin)
    }
    // The others hear nothing of it any more: what it takes now, nobody else has.
    for (const link of links) await mesh.network.cut(link)
    await past
    await server.kill()
    const others = mesh.ids.filter((other) => other !== id)
    for (const { applied } of await Promise.all(others.map((other) => mesh.status(other)))) keep(applied)
    if (kind === 'restore') await mesh.folder.copy(`${id}.copy`, id)
    else await mesh.folder.wipe(id)
    this.#loss = { server: id, survived }
    await server.start()
    for (const link of links) await mesh.network.heal(link)
  }
}

/** Does something to links for a while. */
async function treat(
  network: Network,
  links: readonly Link[],
  doing: (link: Link) => Promise<void>,
  past: Promise<void>,
): Promise<void> {
  for (const link of links) await doing(link)
  await past
  for (const link of links) await network.heal(link)
}

export interface FaultRunnerOptions extends Pick<Clients, 'switchboard' | 'libraryProxies' | 'watchers'> {
  readonly mesh: ChaosMesh
  readonly random: Random
  readonly complain: (complaint: string) => void
}

function placesOf({ kind, servers, links }: Fault): readonly string[] {
  switch (kind) {
    case 'lostAnswer':
      return []
    case 'stall':
      return ['watchers']
    case 'labHold':
    case 'labDelay':
    case 'labCut':
      return links.map(({ from, to }) => `lab ${from} ${to}`)
    case 'cut':
    case 'partition':
    case 'flap':
    case 'hold':
    case 'delay':
      return links.map(({ from, to }) => `link ${from} ${to}`)
    case 'kill':
    case 'killAll':
    case 'stop':
    case 'freeze':
    case 'full':
      return servers
    case 'killAlone':
    case 'wipe':
    case 'restore':
      return [...servers, ...links.map(({ from, to }) => `link ${from} ${to}`)]
  }
}

/** Of a server whose disk has failed. */
const fullDiskCode = 5
/** For what it writes at its start. */
const roomKibibytes = 64

function isWrite(line: string): boolean {
  return /"method":"(?:write|delete|batch)"/.test(line)
}
