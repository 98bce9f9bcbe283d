import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { makeNonce, proofOf } from '../../src/protocol/authentication.ts'
import { errorTable, nameOfCode } from '../../src/protocol/errors.ts'
import { lineBytesMax } from '../../src/protocol/limits.ts'
import { makeOrigin, type Origin } from '../../src/replica/version.ts'
import { Random } from '../durability/random.ts'
import type { WireMessage } from '../integration/raw-client.ts'
import { FrameSource } from './frame-source.ts'
import { chunksOf, joined } from './framing.ts'
import { GuardedServer, secret } from './guarded-server.ts'
import { LineSocket } from './line-socket.ts'
import { fillings, fillingsOfPeers, lineOfLength } from './long-lines.ts'
import { reportVariable, type LoopReport } from './loop-probe.ts'
import { clientSample, peerSample, type Surroundings } from './message-samples.ts'
import { checkAnswerLine } from './oracles.ts'

export interface TcpReport {
  readonly frames: number
  readonly connections: number
  /** Answers and pushes, each of which was looked at. */
  readonly lines: number
  readonly codes: ReadonlyMap<number, number>
  /** Round trips of another connection that asks all the while. */
  readonly pings: {
    readonly count: number
    readonly p50Ms: number
    readonly p99Ms: number
    readonly maxMs: number
  }
  /** What the server's process had in RAM at each tenth of the frames, and at the end. */
  readonly residentBytes: readonly number[]
  /** Of the server's event loop. */
  readonly loop: LoopReport
}

/**
 * Sends lines that nearly make sense to a real server, over many connections at a time, of clients and of servers that
 * there are not, cut into chunks anywhere.
 *
 * What has to hold: the server lives, complains of nothing and never says that it is defective; whoever asks it something
 * sound is answered, on another connection at all times and on the same one unless it was closed with an error that
 * closes; every line that it says can be read by anybody.
 *
 * @throws Error where something does not.
 */
export async function tcpFuzz(options: {
  readonly seed: number
  readonly frames: number
  /** How many connections are open at a time. */
  readonly width?: number
  /** Is told how many frames have been sent, at every tenth. */
  readonly told?: (frames: number) => void
}): Promise<TcpReport> {
  const folder = await mkdtemp(join(tmpdir(), 'tidings-tcp-fuzz-'))
  const path = join(folder, 'loop.json')
  const probe = new URL('loop-probe.ts', import.meta.url).href
  const guarded = await GuardedServer.start({
    env: { NODE_OPTIONS: `--import ${import.meta.resolve('tsx')} --import ${probe}`, [reportVariable]: path },
  })
  const server = guarded.process
  try {
    const run = new TcpFuzz(guarded, options)
    const report = await run.all()
    const { code } = await server.stop()
    if (code !== 0) throw new Error(`the server ended with ${code}: ${server.stderr}`)
    if (server.stderr !== '') throw new Error(`the server complained: ${server.stderr.slice(0, 2_000)}`)
    return { ...report, loop: JSON.parse(await readFile(path, 'utf8')) as LoopReport }
  } finally {
    await guarded.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

class TcpFuzz {
  readonly #server: GuardedServer
  readonly #seed: number
  readonly #framesMax: number
  readonly #width: number
  readonly #told: (frames: number) => void
  #frames = 0
  #connections = 0
  #lines = 0
  readonly #codes = new Map<number, number>()
  readonly #pingMs: number[] = []
  #isDone = false
  readonly #residentBytes: number[] = []
  /** What a message can refer to: as the server has told it of late. */
  #around: Surroundings = { applied: new Map(), clock: 0, pull: 1, question: 1 }

  constructor(
    server: GuardedServer,
    options: { seed: number; frames: number; width?: number; told?: (frames: number) => void },
  ) {
    this.#server = server
    this.#seed = options.seed
    this.#framesMax = options.frames
    this.#width = options.width ?? 32
    this.#told = options.told ?? (() => {})
  }

  async all(): Promise<Omit<TcpReport, 'loop'>> {
    const pinging = this.#ping()
    const talks = Array.from({ length: this.#width }, async (_, slot) => this.#talk(slot))
    try {
      await Promise.all(talks)
    } finally {
      this.#isDone = true
    }
    await pinging
    const sorted = this.#pingMs.toSorted((a, b) => a - b)
    const at = (part: number): number =>
      sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0
    return {
      frames: this.#frames,
      connections: this.#connections,
      lines: this.#lines,
      codes: this.#codes,
      pings: { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) },
      residentBytes: [...this.#residentBytes, await this.#server.process.residentBytes()],
    }
  }

  #nextTenth = 1

  async #sent(count: number): Promise<void> {
    this.#frames += count
    if (this.#frames < (this.#nextTenth * this.#framesMax) / 10) return
    this.#nextTenth++
    this.#told(this.#frames)
    this.#residentBytes.push(await this.#server.process.residentBytes())
  }

  /** Whoever asks something sound is answered all the while; and what it hears is what messages can refer to. */
  async #ping(): Promise<void> {
    const client = await this.#server.client()
    while (!this.#isDone) {
      const beganMs = performance.now()
      const { applied, clock } = await client.call<{ applied: object; clock: number }>('status')
      this.#pingMs.push(performance.now() - beganMs)
      const cut = new Map(Object.entries(applied)) as Map<Origin, number>
      const highest = Math.max(0, ...cut.values())
      if (highest !== clock) throw new Error(`the clock is ${clock}, and the highest timestamp ${highest}`)
      for (const [origin, timestamp] of this.#around.applied) {
        if ((cut.get(origin) ?? 0) < timestamp) throw new Error(`applied fell at ${origin}`)
      }
      this.#around = { ...this.#around, applied: cut, clock }
    }
    client.close()
  }

  /** One connection after the other, each until it is closed, or for some bursts of lines. */
  async #talk(slot: number): Promise<void> {
    const random = new Random(this.#seed * 1_009 + slot)
    const source = new FrameSource(random)
    const role = roles[slot % roles.length] ?? 'client'
    for (let run = 0; this.#frames < this.#framesMax; run++) {
      const socket = await LineSocket.connect(this.#server.process.port)
      this.#connections++
      if (role !== 'stranger') await this.#greet(socket, role, { server: `p${slot}`, incarnation: `r${run}` })
      let isOpen = true
      for (
        let bursts = random.between(1, 20);
        isOpen && bursts > 0 && this.#frames < this.#framesMax;
        bursts--
      ) {
        isOpen = await this.#burst(socket, { random, source, role })
      }
      socket.close()
    }
  }

  async #greet(
    socket: LineSocket,
    role: 'client' | 'peer',
    name: { readonly server: string; readonly incarnation: string },
  ): Promise<void> {
    const caller = makeNonce()
    const { nonce: responder } = await ask<{ nonce: string }>(socket, 'challenge', { nonce: caller })
    const token = proofOf({ secret, role, nonces: { caller, responder } })
    if (role === 'client') await ask(socket, 'hello', { token })
    else {
      const { server } = name
      await ask(socket, 'peer.hello', { server, origin: makeOrigin(name), protocol: 1, members: [], token })
    }
  }

  /** @returns whether the connection is still open. */
  async #burst(
    socket: LineSocket,
    from: { readonly random: Random; readonly source: FrameSource; readonly role: Role },
  ): Promise<boolean> {
    const { random, source, role } = from
    const sample = role === 'peer' ? peerSample : clientSample
    const lines = Array.from({ length: random.between(1, 12) }, () =>
      random.chance(longLineChance)
        ? lineOfLength(
            lineBytesMax + random.between(-1, 1),
            random,
            role === 'peer' ? fillingsOfPeers : fillings,
          )
        : source.request(() => sample(this.#around, random)),
    )
    for (const chunk of chunksOf(joined(lines, random), random)) socket.send(chunk)
    await this.#sent(lines.length)
    const sentinel = `after ${this.#frames} ${random.between(0, 1_000_000)}`
    // What came before it may not have ended.
    const question = { jsonrpc: '2.0', id: sentinel, method: role === 'peer' ? 'peer.ping' : 'status' }
    socket.send(`\n${JSON.stringify(question)}\n`)
    let lastWord: WireMessage | undefined
    for (;;) {
      const line = await socket.line()
      if (line === undefined) break
      this.#lines++
      checkAnswerLine(`${line}\n`)
      const said = JSON.parse(line) as WireMessage | readonly WireMessage[]
      const messages = Array.isArray(said) ? (said as readonly WireMessage[]) : [said as WireMessage]
      for (const { error } of messages) if (error !== undefined) this.#count(error.code)
      lastWord = messages.find(({ error }) => error !== undefined) ?? lastWord
      // A stranger is told that it may not ask, and is closed.
      if (messages.length === 1 && messages[0]?.id === sentinel) return role !== 'stranger'
    }
    if (lastWord === undefined) throw new Error(`a ${role} was closed without a word, after ${shown(lines)}`)
    return false
  }

  #count(code: number): void {
    this.#codes.set(code, (this.#codes.get(code) ?? 0) + 1)
    if (code === errorTable.internal.code) throw new Error('the server says that it is defective')
    if (nameOfCode(code) === undefined) throw new Error(`${code} is no documented code`)
  }
}

/** Whom a connection is of: one that has shown to know the secret, or one that has not. */
type Role = 'client' | 'peer' | 'stranger'

const roles: readonly Role[] = ['client', 'peer', 'client', 'stranger']

/** Of lines at the limit; each is a mebibyte. */
const longLineChance = 0.000_5

async function ask<Result>(socket: LineSocket, method: string, params: object): Promise<Result> {
  socket.send(`${JSON.stringify({ jsonrpc: '2.0', id: 0, method, params })}\n`)
  const line = await socket.line()
  const { result, error } = JSON.parse(line ?? '{}') as WireMessage
  if (result === undefined) throw new Error(`${method} was answered with ${JSON.stringify(error ?? line)}`)
  return result as Result
}

function shown(lines: readonly Buffer[]): string {
  return lines.map((line) => JSON.stringify(line.toString().slice(0, 300))).join(', ')
}
