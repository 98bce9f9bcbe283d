import type { EventLine, HistoryLine, SeenVersion, TransactionPart } from '../../src/check/history-line.ts'
import { Random } from '../durability/random.ts'
import { readPart, seen, updatePart } from './parts.ts'

export interface ModelOptions {
  readonly seed: number
  readonly servers: number
  readonly sessions: number
  readonly keys: number
  /** How many things happen; about as many lines come of it. */
  readonly steps: number
  /** How likely a step is the loss of a server with all that only it had. */
  readonly lossChance: number
  /** How likely an update of another server arrives before a step. */
  readonly replicationChance: number
  /** How many updates a watcher is told at a time. Few, and it falls ever further behind. */
  readonly pushesMax: number
}

/**
 * A causal store with its clients, in a hundred lines: it yields histories that are fine.
 *
 * It shares nothing with the store that this project is about, but the rules: servers apply causes before effects, a write
 * takes the highest timestamp applied and one more, the highest version of a key wins, and a session shows every server the
 * cut of what it has seen. Some requests fail, of some the client does not learn whether they were carried out, and of those
 * some are carried out much later.
 */
export class ModelStore {
  readonly #options: ModelOptions
  readonly #random: Random
  readonly #emit: (line: HistoryLine) => void
  /** By origin. */
  readonly #updates: Update[][] = []
  readonly #origins: string[] = []
  readonly #servers: Server[]
  readonly #sessions: Session[]
  readonly #late: (() => void)[] = []

  /** @param emit is given the lines of the history, in the order in which somebody would have written them down. */
  constructor(options: ModelOptions, emit: (line: HistoryLine) => void) {
    this.#options = options
    this.#random = new Random(options.seed)
    this.#emit = emit
    this.#servers = Array.from({ length: options.servers }, (_, index) => this.#newServer(`${index + 1}`))
    this.#sessions = Array.from({ length: options.sessions }, (_, index) =>
      newSession(`s${index + 1}`, this.#anyServer()),
    )
  }

  run(): void {
    for (let step = 0; step < this.#options.steps; step++) {
      while (this.#random.chance(this.#options.replicationChance)) this.#replicate()
      if (this.#random.chance(this.#options.lossChance)) this.#lose(this.#anyServer())
      else if (this.#late.length > 0 && this.#random.chance(0.1)) this.#late.shift()?.()
      else this.#act(this.#random.oneOf(this.#sessions))
    }
    for (const happen of this.#late) happen()
    for (const server of this.#servers)
      this.#catchUp(
        server,
        this.#updates.map((updates) => updates.length),
      )
    for (const server of this.#servers) {
      for (const [key, { version, value }] of server.values) {
        this.#emit({ op: 'final', server: server.id, key, ...seen(value, version) })
      }
    }
  }

  #act(session: Session): void {
    if (this.#random.chance(0.1)) session.server = this.#anyServer()
    if (this.#random.chance(0.2)) {
      this.#watch(session, this.#random.between(1, this.#options.pushesMax))
      return
    }
    const i = session.next++
    const line = this.#request(session, i)
    // Pushes that come while the request is under way.
    if (this.#random.chance(0.1)) this.#watch(session, 2)
    if (line.ok === null && this.#random.chance(0.5)) this.#late.push(() => this.#emit(line))
    else this.#emit(line)
    this.#learn(session)
  }

  #request(session: Session, i: number): EventLine {
    const { server } = session
    const place = { session: session.name, i }
    if (this.#random.chance(0.03))
      return { ...place, op: 'read', key: this.#anyKey(), ok: this.#random.oneOf([false, null]) }
    if (this.#random.chance(0.45)) {
      this.#catchUp(server, session.cut)
      const keys = this.#random.chance(0.2) ? this.#someKeys() : [this.#anyKey()]
      const parts = keys.map((key) => this.#readPart(session, key))
      const [part] = parts
      if (keys.length > 1 || part === undefined) return { ...place, op: 'txn', ops: parts, ok: true }
      return { ...place, ...part, ok: true } as EventLine
    }
    return this.#write(session, i)
  }

  #readPart(session: Session, key: string): TransactionPart {
    const held = session.server.values.get(key)
    if (held === undefined) return readPart(key, undefined, undefined)
    session.seen.push(held.update)
    return readPart(key, held.value, held.version)
  }

  #write(session: Session, i: number): EventLine {
    const keys = this.#random.chance(0.25) ? this.#someKeys() : [this.#anyKey()]
    const writes = keys.map((key): Write => {
      return this.#random.chance(0.2)
        ? { key, value: undefined }
        : { key, value: `${session.name}-${++session.values}` }
    })
    const ok = this.#random.chance(0.9) ? true : this.#random.oneOf([false, null])
    const { server } = session
    const after = session.cut.slice()
    let version: SeenVersion | undefined
    if (ok === true) {
      const update = this.#take(server, after, writes)
      session.seen.push(update)
      version = update.version
    } else if (ok === null && this.#random.chance(0.7)) {
      const happen = (): void => {
        if (this.#exists(after)) this.#take(server, after, writes)
      }
      if (this.#random.chance(0.5)) happen()
      else this.#late.push(happen)
    }
    const parts = writes.map(({ key, value }) => updatePart(key, value, version))
    const place = { session: session.name, i }
    if (parts.length > 1) return { ...place, op: 'txn', ops: parts, ok }
    return { ...place, ...(parts[0] as TransactionPart), ok } as EventLine
  }

  /** Carries out a write at a server that has applied a cut. */
  #take(server: Server, after: Cut, writes: readonly Write[]): Update {
    this.#catchUp(server, after)
    const updates = this.#updates[server.origin] as Update[]
    const version: SeenVersion = [server.clock + 1, this.#origins[server.origin] as string]
    const update = {
      origin: server.origin,
      sequence: updates.length + 1,
      version,
      before: server.applied.slice(),
      writes,
    }
    updates.push(update)
    this.#apply(server, update)
    return update
  }

  /** The session's watch is told some updates more, from wherever it is. */
  #watch(session: Session, count: number): void {
    const { watch } = session
    if (watch.server === undefined || this.#random.chance(0.05)) {
      watch.server = this.#anyServer()
      watch.position = 0
    }
    for (let told = 0; told < count && watch.position < watch.server.order.length;) {
      const update = watch.server.order[watch.position++] as Update
      if ((watch.told[update.origin] ?? 0) >= update.sequence) continue
      told++
      watch.told[update.origin] = update.sequence
      session.seen.push(update)
      for (const { key, value } of update.writes) {
        const place = { session: session.name, i: session.next++ }
        this.#emit({ ...place, op: 'push', key, ...seen(value, update.version), ok: true })
      }
    }
    this.#learn(session)
  }

  #learn(session: Session): void {
    for (const { origin, sequence } of session.seen.splice(0)) {
      session.cut[origin] = Math.max(session.cut[origin] ?? 0, sequence)
    }
  }

  #replicate(): void {
    const server = this.#anyServer()
    const origin = this.#random.between(0, this.#origins.length - 1)
    const update = this.#updates[origin]?.[server.applied[origin] ?? 0]
    if (update !== undefined && covers(server.applied, update.before)) this.#apply(server, update)
  }

  #catchUp(server: Server, cut: Cut): void {
    for (const [origin, count] of cut.entries()) {
      while ((server.applied[origin] ?? 0) < (count ?? 0)) {
        const update = this.#updates[origin]?.[server.applied[origin] ?? 0] as Update
        this.#catchUp(server, update.before)
        this.#apply(server, update)
      }
    }
  }

  #apply(server: Server, update: Update): void {
    server.applied[update.origin] = update.sequence
    server.order.push(update)
    const { version } = update
    server.clock = Math.max(server.clock, version[0])
    for (const { key, value } of update.writes) {
      const held = server.values.get(key)
      if (held === undefined || isAbove(version, held.version))
        server.values.set(key, { version, value, update })
    }
  }

  /** A server loses its disk. What only it had is gone, and whoever has seen that begins anew. */
  #lose(server: Server): void {
    const others = this.#servers.filter((other) => other !== server)
    for (const [origin, updates] of this.#updates.entries()) {
      const kept = Math.max(0, ...others.map(({ applied }) => applied[origin] ?? 0))
      for (const { version } of updates.splice(kept)) this.#emit({ op: 'lost', version })
    }
    Object.assign(server, this.#newServer(server.id))
    for (const session of this.#sessions) {
      if (session.watch.server === server) session.watch.server = undefined
      if (this.#exists(session.cut) && this.#exists(session.watch.told)) continue
      Object.assign(session, newSession(`${session.name}’`, session.server))
    }
  }

  #exists(cut: Cut): boolean {
    return cut.every((count, origin) => (this.#updates[origin]?.length ?? 0) >= count)
  }

  #newServer(id: string): Server {
    const origin = this.#origins.length
    this.#origins.push(`${id}~${origin}`)
    this.#updates.push([])
    return { id, origin, applied: [], clock: 0, values: new Map(), order: [] }
  }

  #anyServer(): Server {
    return this.#random.oneOf(this.#servers)
  }

  #anyKey(): string {
    return `k${this.#random.between(1, this.#options.keys)}`
  }

  #someKeys(): readonly string[] {
    const count = this.#random.between(2, 3)
    return [...new Set(Array.from({ length: count }, () => this.#anyKey()))]
  }
}

/** All lines of a run. */
export function modelHistory(options: ModelOptions): HistoryLine[] {
  const lines: HistoryLine[] = []
  new ModelStore(options, (line) => lines.push(line)).run()
  return lines
}

/** By origin: how many of its updates. */
type Cut = number[]

interface Write {
  readonly key: string
  readonly value: string | undefined
}

interface Update {
  readonly origin: number
  readonly sequence: number
  readonly version: SeenVersion
  readonly before: Cut
  readonly writes: readonly Write[]
}

interface Server {
  readonly id: string
  readonly origin: number
  readonly applied: Cut
  clock: number
  readonly values: Map<
    string,
    { readonly version: SeenVersion; readonly value: string | undefined; readonly update: Update }
  >
  readonly order: Update[]
}

interface Session {
  readonly name: string
  server: Server
  next: number
  values: number
  readonly cut: Cut
  /** Of the request or pushes under way. */
  readonly seen: Update[]
  readonly watch: { server: Server | undefined; position: number; readonly told: Cut }
}

function newSession(name: string, server: Server): Session {
  return {
    name,
    server,
    next: 0,
    values: 0,
    cut: [],
    seen: [],
    watch: { server: undefined, position: 0, told: [] },
  }
}

function covers(cut: Cut, other: Cut): boolean {
  return other.every((count, origin) => (cut[origin] ?? 0) >= count)
}

function isAbove(a: SeenVersion, b: SeenVersion): boolean {
  return a[0] === b[0] ? a[1] > b[1] : a[0] > b[0]
}
