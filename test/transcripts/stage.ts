import { shortTextFromValue } from '../../src/client/value-text.ts'
import type { LinkAction } from '../../src/protocol/client-messages.ts'
import { defaultLimits, type Limits } from '../../src/replica/configuration.ts'
import type { Sibling, Siblings } from '../../src/replica/key-space.ts'
import type { LinkState, PeerMessage } from '../../src/replica/messages.ts'
import type { Replica } from '../../src/replica/replica.ts'
import type { Update } from '../../src/replica/update.ts'
import { makeOrigin, showVersion, type ServerId } from '../../src/replica/version.ts'
import { LinkGate } from '../../src/server/link-gate.ts'
import { MemoryDisk } from '../../src/storage/memory-store.ts'
import { StageClient } from './stage-client.ts'
import { durationMs, StageServer } from './stage-server.ts'

/**
 * Where the transcripts are played: the replica, the loop, the gates, the narrator and the client's words are the
 * real ones. Only the network and the clock are made here, and both stand still unless a command moves them.
 *
 * A directed link is a gate and behind it a wire. What a gate lets pass is on the wire, and is delivered, in the fixed
 * order of the links' names, once all commands of a block have been given: so the commands of one block happen
 * at the same time, and nobody has heard of the others'. A wire that is jammed keeps what is on it, but for single
 * messages that are made to `pass`: unlike a held gate it says so to nobody.
 *
 * A server that begins with a disk loses nothing when it crashes. Its commits are the real ones, and the disk is
 * done with each before the next thing happens.
 *
 * What is said is collected as lines: `1| …` is what the operator of server 1 reads, `1> …` what the client at
 * server 1 is answered, and `alice@1> …` what Alice is, who takes a session along from server to server.
 */
export class Stage {
  readonly #servers = new Map<ServerId, StageServer>()
  /** All that ever were; a server that crashed has no wires that are up. */
  readonly #links = new Map<string, Link>()
  readonly #runs = new Map<ServerId, number>()
  /** Of servers that have one, also while they are down. */
  readonly #disks = new Map<ServerId, MemoryDisk>()
  readonly #backups = new Map<ServerId, MemoryDisk>()
  readonly #people = new Map<string, StageClient>()
  #hasDisks = false
  #limits: Limits = defaultLimits
  #lines: string[] = []
  /** Connections that are about to open or to close: a server finishes what it is saying first. */
  readonly #soon: (() => void | Promise<void>)[] = []
  #timers: { readonly dueMs: number; readonly run: () => void | Promise<void> }[] = []
  #nowMs = 0

  /**
   * Carries out the commands of one block, delivers what follows from them, and returns what was said meanwhile.
   *
   * @throws where a command makes no sense, or where `agree` finds that the servers do not.
   */
  async perform(commands: readonly string[]): Promise<readonly string[]> {
    this.#lines = []
    for (const command of commands) {
      await this.#obey(command)
      await this.#think()
    }
    await this.#settle()
    return this.#lines
  }

  async #obey(command: string): Promise<void> {
    const [, name, server, order = ''] = /^(?:(\w+)@)?(\w+): (.*)$/.exec(command) ?? []
    if (server !== undefined) {
      const client = this.#clientAt(server, name)
      client.connect(this.#serverOf(server))
      client.obey(order)
      return
    }
    const [word = '', ...rest] = command.split(' ')
    switch (word) {
      case 'servers':
        await this.#begin(rest)
        return
      case 'wait':
        await this.#pass(durationMs(rest))
        return
      case 'crash':
        for (const id of rest) this.#crash(id)
        return
      case 'start':
        for (const id of rest) this.#start(id)
        for (const id of rest) await this.#connectWithAll(id)
        return
      case 'backup':
        for (const id of rest) this.#backups.set(id, this.#diskOf(id).copy())
        return
      case 'restore':
        for (const id of rest) this.#restore(id)
        return
      case 'sever':
        for (const name of rest) this.#personNamed(name).sever()
        return
      case 'jam':
        for (const name of rest) this.#link(name).isJammed = true
        return
      case 'pass':
        for (const name of rest) this.#deliver(this.#link(name), 1)
        return
      case 'unjam':
        for (const name of rest) this.#link(name).isJammed = false
        return
      case 'forge':
        this.#forge(rest)
        return
      case 'agree':
        await this.#agree()
        return
      default:
        throw new Error(`there is no command ${JSON.stringify(command)}`)
    }
  }

  // ── servers ────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * `1 2 3`, where they have disks `disks`, and where they are small, `buffer=2 page=1`: updates that fit into each.
   * They find each other in silence.
   */
  async #begin(words: readonly string[]): Promise<void> {
    for (const word of words.filter((word) => word.includes('='))) {
      const [name = '', number] = word.split('=')
      if (!isLimit(name)) throw new Error(`there is no limit ${name}`)
      this.#limits = { ...this.#limits, [name]: { ...this.#limits[name], updatesMax: Number(number) } }
    }
    this.#hasDisks = words.includes('disks')
    const ids = words.filter((word) => word !== 'disks' && !word.includes('='))
    for (const id of ids) this.#start(id)
    for (const id of ids) await this.#connectWithAll(id)
    await this.#settle()
    this.#lines = []
  }

  #start(id: ServerId): void {
    if (this.#servers.has(id)) throw new Error(`server ${id} is running`)
    const run = (this.#runs.get(id) ?? 0) + 1
    this.#runs.set(id, run)
    if (this.#hasDisks && !this.#disks.has(id)) this.#disks.set(id, new MemoryDisk())
    const server = new StageServer({
      id,
      origin: makeOrigin({ server: id, incarnation: `run${run}` }),
      limits: this.#limits,
      disk: this.#disks.get(id),
      print: (line) => this.#lines.push(line),
      send: (to, message) => this.#links.get(`${id}->${to}`)?.gate.send(message),
      refuse: (peer, reason) => {
        const link = this.#link(`${peer}->${id}`)
        // What was behind the offence is not read.
        link.wire.length = 0
        this.#soon.push(() => this.#breakLink(link, { atSender: 'connection closed', atReceiver: reason }))
      },
      applyToLink: (peer, action) => this.#applyToLink(id, peer, action),
    })
    this.#servers.set(id, server)
    server.loop.push({ kind: 'tick', nowMs: this.#nowMs })
    for (const { id: own, loop } of this.#servers.values()) {
      const others = [...this.#runs.keys()].filter((other) => other !== own)
      loop.push({ kind: 'members', ids: others, unidentified: 0 })
    }
  }

  /** The process ends without a word. What was on its wires is gone, and so is its memory. */
  #crash(id: ServerId): void {
    const server = this.#serverOf(id)
    for (const client of this.#people.values()) client.abandon(server)
    this.#disks.get(id)?.crash()
    this.#servers.delete(id)
    for (const [name, link] of this.#links) {
      if (link.from !== id && link.to !== id) continue
      const survivor = this.#servers.get(link.from === id ? link.to : link.from)
      if (survivor !== undefined) this.#closeAt(survivor, link, 'connection closed')
      link.gate.reset()
      this.#links.delete(name)
    }
  }

  /** The folder of a server that is down is an older one from now on. */
  #restore(id: ServerId): void {
    const backup = this.#backups.get(id)
    if (backup === undefined || this.#servers.has(id)) throw new Error(`server ${id} cannot be restored`)
    this.#disks.set(id, backup.copy())
  }

  async #connectWithAll(id: ServerId): Promise<void> {
    for (const other of [...this.#servers.keys()].toSorted()) {
      if (other === id) continue
      await this.#connect(id, other)
      await this.#connect(other, id)
    }
  }

  // ── clients ────────────────────────────────────────────────────────────────────────────────────────────

  /** Somebody by name, or whoever has none and sits at that server. */
  #clientAt(server: ServerId, name: string | undefined): StageClient {
    const known = this.#people.get(name ?? server)
    if (known !== undefined) return known
    const print = (line: string): void => void this.#lines.push(line)
    const client = new StageClient({ print, ...(name === undefined ? {} : { name }) })
    this.#people.set(name ?? server, client)
    return client
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────

  /** `from` has dialled `to` and may send on the connection. */
  async #connect(from: ServerId, to: ServerId): Promise<void> {
    const [sender, receiver] = [this.#servers.get(from), this.#servers.get(to)]
    if (sender === undefined || receiver === undefined) return
    const name = `${from}->${to}`
    const link = this.#links.get(name) ?? this.#newLink(from, to)
    if (link.isUp) return
    link.isUp = true
    this.#links.set(name, link)
    receiver.loop.push({ kind: 'peerHeard', peer: from, origin: sender.origin })
    const applied = new Map(receiver.replica.applied)
    sender.loop.push({ kind: 'linkUp', peer: to, origin: receiver.origin, applied })
    await this.#think()
    sender.roster.linkUp(to, 'to', addressOf(to))
    receiver.roster.linkUp(from, 'from', addressOf(from))
  }

  #newLink(from: ServerId, to: ServerId): Link {
    const wire: PeerMessage[] = []
    const gate = new LinkGate({
      pass: (message) => wire.push(message),
      startTimer: (run, delayMs) => this.#timers.push({ dueMs: this.#nowMs + delayMs, run }),
    })
    return { from, to, gate, wire, isUp: false, isJammed: false }
  }

  #applyToLink(from: ServerId, to: ServerId, action: LinkAction): LinkState {
    const link = this.#link(`${from}->${to}`)
    const wasCut = link.gate.state.state === 'cut'
    link.gate.apply(action)
    const isCut = link.gate.state.state === 'cut'
    this.#serverOf(from).narrator.tell({
      kind: 'link',
      peer: to,
      state: link.gate.state.state,
      queued: link.gate.state.queued,
    })
    if (isCut && !wasCut) {
      const reasons = { atSender: 'cut by the lab', atReceiver: 'connection closed' }
      this.#soon.push(() => this.#breakLink(link, reasons))
    }
    if (wasCut && !isCut) this.#soon.push(() => this.#connect(from, to))
    return link.gate.state
  }

  /** The connection closes, once what is on the wire has arrived, and is dialled anew unless it is cut. */
  #breakLink(link: Link, reasons: { readonly atSender: string; readonly atReceiver: string }): void {
    if (!link.isUp) return
    this.#deliver(link)
    link.isUp = false
    link.gate.reset()
    this.#closeAt(this.#serverOf(link.from), link, reasons.atSender)
    this.#closeAt(this.#serverOf(link.to), link, reasons.atReceiver)
    if (link.gate.state.state === 'cut') return
    this.#timers.push({ dueMs: this.#nowMs + redialMs, run: () => this.#connect(link.from, link.to) })
  }

  /** One side notices that a link is no longer. */
  #closeAt(server: StageServer, link: Link, reason: string): void {
    const isSender = server.id === link.from
    const peer = isSender ? link.to : link.from
    const origin = makeOrigin({ server: peer, incarnation: `run${this.#runs.get(peer)}` })
    server.loop.push({ kind: isSender ? 'linkDown' : 'peerSilent', peer, origin })
    server.roster.linkDown(peer, isSender ? 'to' : 'from', reason)
  }

  /** @param count how many messages, the oldest first. */
  #deliver(link: Link, count = Infinity): boolean {
    const messages = link.wire.splice(0, count)
    for (const message of messages) {
      this.#serverOf(link.to).loop.push({ kind: 'message', from: link.from, message })
    }
    return messages.length > 0
  }

  /** A server that has gone wrong puts an update on its wire: `1->3 y=never at 900`. It is known to nobody else. */
  #forge(words: readonly string[]): void {
    const [name = '', assignment = '', , timestamp] = words
    const link = this.#link(name)
    const sender = this.#serverOf(link.from)
    const [key = '', value = ''] = assignment.split('=')
    const update: Update = {
      origin: sender.origin,
      timestamp: Number(timestamp),
      previous: sender.replica.applied.get(sender.origin) ?? 0,
      dependencies: {},
      writes: [{ key, value }],
    }
    link.gate.send({ kind: 'updates', updates: [update] })
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Every server ticks as often as a real one does; what follows from a tick is delivered before the next. */
  async #pass(durationMs: number): Promise<void> {
    await this.#settle()
    const untilMs = this.#nowMs + durationMs
    while (this.#nowMs < untilMs) {
      const tickMs = Math.min(this.#nowMs - (this.#nowMs % tickEveryMs) + tickEveryMs, untilMs)
      for (;;) {
        const due = this.#timers.toSorted((a, b) => a.dueMs - b.dueMs)[0]
        if (due === undefined || due.dueMs > tickMs) break
        this.#timers = this.#timers.filter((timer) => timer !== due)
        this.#nowMs = due.dueMs
        await due.run()
        await this.#settle()
      }
      this.#nowMs = tickMs
      for (const server of this.#servers.values()) {
        server.loop.push({ kind: 'tick', nowMs: tickMs })
        if (tickMs % 1_000 === 0) server.narrator.refill()
      }
      await this.#settle()
    }
  }

  /** Delivers what is on the wires and has every server act on it, until nothing is left. */
  async #settle(): Promise<void> {
    for (let turn = 0; turn < turnsMax; turn++) {
      await this.#think()
      let isQuiet = true
      for (const [, link] of [...this.#links].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
        if (link.isUp && !link.isJammed && this.#deliver(link)) isQuiet = false
        await this.#think()
      }
      if (isQuiet) return
    }
    throw new Error(`the servers are still busy after ${turnsMax} turns, although no time passes`)
  }

  /** Every server steps what has reached it, and connections open and close as that demands. */
  async #think(): Promise<void> {
    for (;;) {
      const busy = [...this.#servers.values()].filter((server) => server.think())
      // A disk in memory is done with all that it was given by then.
      if (this.#hasDisks) await new Promise((resolve) => setImmediate(resolve))
      const due = this.#soon.splice(0)
      for (const run of due) await run()
      if (busy.length + due.length === 0) return
    }
  }

  // ── agreement ──────────────────────────────────────────────────────────────────────────────────────────

  /** Says what all servers hold. @throws where they hold, or have applied, different things. */
  async #agree(): Promise<void> {
    await this.#settle()
    const [first, ...others] = [...this.#servers.values()].map(({ id, replica }) => ({
      id,
      holds: holdings(replica),
    }))
    if (first === undefined) throw new Error('there are no servers')
    for (const other of others) {
      if (other.holds.join('\n') === first.holds.join('\n')) continue
      const both = [first, other].map(({ id, holds }) => `server ${id} holds\n  ${holds.join('\n  ')}`)
      throw new Error(`the servers do not agree: ${both.join('\n')}`)
    }
    this.#lines.push(...first.holds.filter((line) => !line.startsWith('applied ')))
  }

  #serverOf(id: ServerId): StageServer {
    const server = this.#servers.get(id)
    if (server === undefined) throw new Error(`there is no server ${id}`)
    return server
  }

  #personNamed(name: string): StageClient {
    const person = this.#people.get(name)
    if (person === undefined) throw new Error(`nobody is called ${name}`)
    return person
  }

  #diskOf(id: ServerId): MemoryDisk {
    const disk = this.#disks.get(id)
    if (disk === undefined) throw new Error(`server ${id} has no disk`)
    return disk
  }

  #link(name: string): Link {
    const link = this.#links.get(name)
    if (link === undefined) throw new Error(`there is no link ${name}`)
    return link
  }
}

/** What can be made so small that a story shows what happens at its end. */
const shownLimits = ['buffer', 'page', 'snapshotPage', 'log'] as const

function isLimit(name: string): name is (typeof shownLimits)[number] {
  return shownLimits.some((limit) => limit === name)
}

/** The way from one server to another. */
interface Link {
  readonly from: ServerId
  readonly to: ServerId
  readonly gate: LinkGate
  /** What the gate has let pass, in order, and the receiver has not got yet. */
  readonly wire: PeerMessage[]
  isUp: boolean
  isJammed: boolean
}

/** As often as a real server ticks. */
const tickEveryMs = 50
/** How soon a real server dials again when a good link breaks. */
const redialMs = 100
/** Far above what any story needs. */
const turnsMax = 1_000

/** What replicas agree on: every key with all its versions, the value first, and what has been applied. */
function holdings(replica: Replica): readonly string[] {
  const keys = [...replica.entries()].map(([key, siblings]) => `all hold ${key}${siblingsText(siblings)}`)
  const applied = [...replica.applied].map(([origin, timestamp]) => `applied ${timestamp} of ${origin}`)
  return [...keys, ...applied.toSorted()]
}

function siblingsText([winner, ...others]: Siblings): string {
  const conflicts = others.map(
    (other) => `, in conflict with ${contentOf(other)} (${showVersion(other.version)})`,
  )
  const equals = winner.deleted === true ? '' : '= '
  return ` ${equals}${contentOf(winner)} (${showVersion(winner.version)})${conflicts.join('')}`
}

function contentOf({ value }: Sibling): string {
  return value === undefined ? 'deleted' : shortTextFromValue(value)
}

function addressOf(id: ServerId): string {
  return `127.0.0.1:6000${id}`
}
