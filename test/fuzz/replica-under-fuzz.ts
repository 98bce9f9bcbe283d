import { encodeNotification, encodeReply, type ShellStatus } from '../../src/protocol/client-answers.ts'
import type { ReplicaCall } from '../../src/protocol/client-messages.ts'
import { checkClientNotification } from '../../src/protocol/client-results.ts'
import { parseRpcLine } from '../../src/protocol/json-rpc.ts'
import { peerLineBytesMax } from '../../src/protocol/limits.ts'
import { checkPeerMessage, encodePeerMessage } from '../../src/protocol/peer-messages.ts'
import { defaultLimits, defaultTiming, type Limits } from '../../src/replica/configuration.ts'
import { coversCut, entryOf, type Cut } from '../../src/replica/cut.ts'
import type { ClientId, Input } from '../../src/replica/input.ts'
import type { PeerMessage } from '../../src/replica/messages.ts'
import { notificationsOf, type Output } from '../../src/replica/output.ts'
import type { Recovered } from '../../src/replica/recovered.ts'
import { Replica } from '../../src/replica/replica.ts'
import { dependenciesOf, type Update } from '../../src/replica/update.ts'
import { makeOrigin, type Origin, type ServerId } from '../../src/replica/version.ts'
import { recoveredReplica } from '../../src/server/server-core.ts'
import { isStoredUpdates } from '../../src/storage/stored-record.ts'
import type { Surroundings } from './message-samples.ts'
import { checkAnswerLine } from './oracles.ts'

/** A line that went to a client, and what it answers. */
export interface AnswerLine {
  readonly method: ReplicaCall['method']
  readonly line: string
}

/**
 * A replica that is fed with whatever passes the gateway, and is looked at after each step. It throws where the
 * replica does, or where an invariant of it no longer holds:
 *
 * - `applied` only rises, and by nothing but what a step says that it has applied or installed;
 * - nothing is applied before its causes, and no timestamp is more than one above all before (R1, R3);
 * - the clock is the highest timestamp applied;
 * - whoever is refused has changed nothing;
 * - every answer and push is a line that a client can read, and every message to a peer is one that a peer takes;
 * - every update that is applied is one that the disk would give back.
 *
 * It works with small bounds, so that all of them are met.
 */
export class ReplicaUnderFuzz {
  readonly #replica: Replica
  /** What `applied` has to be by all that the steps have said. */
  readonly #applied: Map<Origin, number>
  #clock: number
  #nowMs = 0
  #nextRequest = 1
  readonly #calls = new Map<number, { readonly call: ReplicaCall; readonly client: ClientId }>()
  #pull = 1
  #question = 1
  /** What the clients have been told of late, for whoever wants to garble it. */
  readonly answers: AnswerLine[] = []
  #answerCount = 0
  readonly #reached: Map<string, number>

  /**
   * @param options.recovered what a disk has kept.
   * @param options.reached counts what has been met: kinds of events, messages, pushes and refusals.
   */
  constructor(
    options: { readonly recovered?: Recovered | undefined; readonly reached?: Map<string, number> } = {},
  ) {
    this.#reached = options.reached ?? new Map()
    const configuration = {
      server: '1',
      origin: own,
      limits: smallLimits,
      timing: { ...defaultTiming, lostAfterMs: 2_000 },
    }
    const { recovered } = options
    this.#replica =
      recovered === undefined ? new Replica(configuration) : recoveredReplica(configuration, recovered)
    this.#applied = new Map(this.#replica.applied)
    this.#clock = this.#replica.clock
    for (const peer of peers) {
      const origin = makeOrigin({ server: peer, incarnation: 'a' })
      this.#step({ kind: 'peerHeard', peer, origin })
      this.#step({ kind: 'linkUp', peer, origin, applied: new Map() })
    }
    this.#step({ kind: 'members', ids: peers, unidentified: 0 })
  }

  get surroundings(): Surroundings {
    return { applied: this.#applied, clock: this.#clock, pull: this.#pull, question: this.#question }
  }

  get replica(): Replica {
    return this.#replica
  }

  /** A client's request. Its answer, at once or later, is looked at. */
  request(call: ReplicaCall, client: ClientId): Output {
    const id = this.#nextRequest++
    this.#calls.set(id, { call, client })
    return this.#step({ kind: 'request', client, id, request: call.request })
  }

  message(from: ServerId, message: PeerMessage): Output {
    return this.#step({ kind: 'message', from, message })
  }

  pass(ms: number): void {
    this.#nowMs += ms
    this.#step({ kind: 'tick', nowMs: this.#nowMs })
  }

  /** A client is stalled, has drained, or leaves. */
  tell(kind: 'clientStalled' | 'clientDrained' | 'clientGone', client: ClientId): void {
    this.#step({ kind, client })
    if (kind !== 'clientGone') return
    for (const [id, asked] of this.#calls) if (asked.client === client) this.#calls.delete(id)
  }

  /** The link of a peer breaks and comes up again. */
  relink(peer: ServerId): void {
    const origin = makeOrigin({ server: peer, incarnation: 'a' })
    this.#step({ kind: 'linkDown', peer, origin })
    this.#step({ kind: 'peerSilent', peer, origin })
    this.#step({ kind: 'peerHeard', peer, origin })
    this.#step({ kind: 'linkUp', peer, origin, applied: new Map() })
  }

  /** Compares all that is otherwise only followed by what the steps say. */
  checkWhole(): void {
    const { applied, clock } = this.#replica
    demand(
      applied.size === this.#applied.size &&
        coversCut(applied, this.#applied) &&
        coversCut(this.#applied, applied),
      () => 'applied is not what the steps have said',
    )
    let highest = 0
    for (const timestamp of applied.values()) highest = Math.max(highest, timestamp)
    demand(clock === highest, () => `the clock is ${clock}, and the highest timestamp is ${highest}`)
  }

  #step(input: Input): Output {
    const output = this.#check(input, this.#replica.step(input))
    let { more } = output
    for (let turns = 0; more; turns++) {
      if (turns > turnsMax) throw new Error('the replica never comes to the end of its work')
      more = this.#check(undefined, this.#replica.step({ kind: 'continue' })).more
    }
    return output
  }

  #check(input: Input | undefined, output: Output): Output {
    for (const { update } of output.persist) this.#checkApplied(update)
    for (const item of output.stage) if (item.kind === 'install') this.#installed(item.applied)
    for (const { kind } of output.events) this.#reach(`event ${kind}`)
    for (const { kind } of notificationsOf(output)) this.#reach(`push ${kind}`)
    for (const { message } of output.send) this.#reach(`sent ${message.kind}`)
    if (output.refuse.length > 0) this.#reach('refused a peer')
    const { applied, clock } = this.#replica
    demand(applied.size === this.#applied.size, () => 'applied has entries that no step has told of')
    demand(clock === this.#clock, () => `the clock is ${clock}, and should be ${this.#clock}`)
    for (const { to, message } of output.send) this.#checkSent(to, message)
    for (const notification of notificationsOf(output)) {
      const line = encodeNotification(notification).join('')
      checkAnswerLine(line)
      const message = messageIn(line)
      demand(
        message.kind === 'notification' &&
          checkClientNotification(message.method, message.params) !== undefined,
        () => `a push that is none: ${line}`,
      )
    }
    for (const { id, result } of output.reply) {
      const asked = this.#calls.get(id)
      if (asked === undefined) continue
      this.#calls.delete(id)
      this.#reach(`reply ${result.method === 'refused' ? result.reason : result.method}`)
      const isRefused = result.method === 'refused' || result.method === 'notCaughtUp'
      // While others are answered in the same step, something may be applied for those.
      if (isRefused && input?.kind === 'request' && output.reply.length === 1) {
        demand(
          output.persist.length === 0,
          () => `a request was refused and applied: ${JSON.stringify(input)}`,
        )
      }
      const line = encodeReply(id, asked.call, result, { status: () => shellStatus })
      checkAnswerLine(line, asked.call.method)
      this.answers[this.#answerCount++ % answersKept] = { method: asked.call.method, line }
    }
    return output
  }

  #reach(what: string): void {
    this.#reached.set(what, (this.#reached.get(what) ?? 0) + 1)
  }

  #checkApplied(update: Update): void {
    const { origin, timestamp, previous } = update
    const what = (): string => `${JSON.stringify(update).slice(0, 500)} was applied`
    demand(entryOf(this.#applied, origin) === previous, () => `${what()} before what it follows`)
    demand(
      timestamp > previous && timestamp <= this.#clock + 1,
      () => `${what()} with a clock of ${this.#clock}`,
    )
    for (const [other, theirs] of dependenciesOf(update)) {
      demand(
        entryOf(this.#applied, other) >= theirs,
        () => `${what()} before its cause ${theirs} of ${other}`,
      )
      demand(theirs < timestamp, () => `${what()} and depends on what is not below it`)
    }
    this.#applied.set(origin, timestamp)
    this.#clock = Math.max(this.#clock, timestamp)
    demand(
      entryOf(this.#replica.applied, origin) >= timestamp,
      () => `${what()}, which applied does not show`,
    )
    demand(isStoredUpdates([JSON.parse(JSON.stringify(update))]), () => `${what()}, which no disk gives back`)
  }

  #installed(applied: Cut): void {
    demand(coversCut(applied, this.#applied), () => 'a snapshot was installed, and applied fell')
    for (const [origin, timestamp] of applied) {
      this.#applied.set(origin, timestamp)
      this.#clock = Math.max(this.#clock, timestamp)
    }
  }

  #checkSent(to: ServerId, message: PeerMessage): void {
    if (message.kind === 'pull') this.#pull = message.pull
    if (message.kind === 'ask') this.#question = message.question
    for (const line of encodePeerMessage(message).split('\n')) {
      if (line === '') continue
      demand(Buffer.byteLength(line) <= peerLineBytesMax, () => `a frame of ${line.length} to ${to}`)
      const sent = messageIn(line)
      if (sent.kind !== 'notification') throw new Error(`a frame to ${to} that is none: ${line}`)
      checkPeerMessage(sent.method, sent.params)
    }
  }
}

function messageIn(line: string) {
  const parsed = parseRpcLine(line, { sender: 'server' })
  if (parsed.isBatch) throw new Error(`not one message but a batch: ${line}`)
  return parsed.message
}

function demand(isSo: boolean, complaint: () => string): void {
  if (!isSo) throw new Error(complaint())
}

/** The servers that are connected to it. */
export const peers: readonly ServerId[] = ['8', '9']

const own = makeOrigin({ server: '1', incarnation: 'fuzz' })

const smallLimits: Limits = {
  ...defaultLimits,
  buffer: { updatesMax: 200, bytesMax: 256 << 10 },
  page: { updatesMax: 20, bytesMax: 32 << 10 },
  snapshotPage: { updatesMax: 10, bytesMax: 32 << 10 },
  pushedBytesMax: 16 << 10,
  appliedPerStepMax: 20,
  originsPerPeerMax: 500,
  watchesPerClientMax: 3,
  watchEntriesMax: 100,
  log: { updatesMax: 100, bytesMax: 1 << 20 },
  requests: { answersPerSessionMax: 6, answersMax: 16, sessionsMax: 4 },
  parkedMax: 20,
  parkedBytesMax: 64 << 10,
  missingNamedMax: 2,
}

const shellStatus: ShellStatus = {
  peers: [{ id: '9', address: '127.0.0.1:60009', state: 'connected', link: 'open' }],
  members: [{ id: '9', host: '127.0.0.1', port: 60_009 }],
  durability: 'memory',
  uptimeMs: 1,
  insecure: false,
  lab: true,
}

const turnsMax = 10_000
const answersKept = 256
