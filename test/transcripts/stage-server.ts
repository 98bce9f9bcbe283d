import { Chalk } from 'chalk'
import { PeoplePresentation } from '../../src/client/presentation.ts'
import { valueFromText } from '../../src/client/value-text.ts'
import { encodeResult } from '../../src/protocol/client-answers.ts'
import {
  checkClientRequest,
  isReplicaCall,
  type LinkAction,
  type ReplicaCall,
} from '../../src/protocol/client-messages.ts'
import { checkClientResult } from '../../src/protocol/client-results.ts'
import { defaultTiming, type Limits } from '../../src/replica/configuration.ts'
import type { ClientResult, LinkState, PeerMessage } from '../../src/replica/messages.ts'
import type { Output } from '../../src/replica/output.ts'
import { Replica } from '../../src/replica/replica.ts'
import type { JsonValue, Write } from '../../src/replica/update.ts'
import { showVersion, type Origin, type ServerId } from '../../src/replica/version.ts'
import { Narrator } from '../../src/server/narrator.ts'
import { Roster } from '../../src/server/roster.ts'
import { ReplicaLoop } from '../../src/server/replica-loop.ts'

/** One server without its sockets, and one client that is connected to it. */
export class StageServer {
  readonly id: ServerId
  readonly origin: Origin
  readonly replica: Replica
  readonly loop: ReplicaLoop
  readonly narrator: Narrator
  readonly roster: Roster
  readonly #options: StageServerOptions
  readonly #presentation: PeoplePresentation
  readonly #calls = new Map<number, { readonly call: ReplicaCall; readonly value: JsonValue }>()
  #scheduled: (() => void)[] = []

  constructor(options: StageServerOptions) {
    const { id, origin, limits, print } = options
    this.#options = options
    this.id = id
    this.origin = origin
    this.replica = new Replica({ server: id, origin, limits, timing: defaultTiming })
    const paint = new Chalk({ level: 0 })
    this.narrator = new Narrator({ write: (line) => print(`${id}| ${line}`), paint })
    this.roster = new Roster((event) => this.narrator.tell(event))
    const answer = (text: string): void => {
      for (const line of text.split('\n')) print(`${id}> ${line}`)
    }
    this.#presentation = new PeoplePresentation(
      { print: answer, note: answer, complain: answer, drained: () => Promise.resolve() },
      { output: paint, errors: paint },
    )
    this.loop = new ReplicaLoop({
      now: () => 0,
      replica: this.replica,
      release: (output) => this.#release(output),
      settle: () => {},
      schedule: (run) => this.#scheduled.push(run),
    })
  }

  /** Steps what has arrived. @returns whether there was anything. */
  think(): boolean {
    const scheduled = this.#scheduled
    this.#scheduled = []
    for (const run of scheduled) run()
    return scheduled.length > 0
  }

  /** What the client at this server types. */
  client(order: string): void {
    const [word = '', ...rest] = order.split(' ')
    const [first = ''] = rest
    switch (word) {
      case 'write': {
        const value = valueOf(rest.slice(1).join(' '))
        this.#call('write', { key: first, value }, value)
        return
      }
      case 'delete':
      case 'why':
        this.#call(word, { key: first })
        return
      case 'batch':
        this.#call('batch', { writes: rest.map(writeOf) })
        return
      case 'read':
        this.#call('read', { keys: rest })
        return
      case 'conflicts':
      case 'waiting':
      case 'keys':
        this.#call(word, {})
        return
      case 'hold':
      case 'cut':
      case 'heal':
        this.#link(first, { action: word })
        return
      case 'release':
        this.#link(first, { action: word, ...(rest[1] === undefined ? {} : { count: Number(rest[1]) }) })
        return
      case 'delay':
        this.#link(first, { action: word, ms: durationMs(rest.slice(1)) })
        return
      default:
        throw new Error(`a client has no command ${JSON.stringify(order)}`)
    }
  }

  #call(method: string, params: object, value: JsonValue = null): void {
    const call = checkClientRequest(method, params)
    if (!isReplicaCall(call)) throw new Error(`${method} does not concern the replica`)
    const id = this.#calls.size + 1
    this.#calls.set(id, { call, value })
    this.loop.push({ kind: 'request', client: 1, id, request: call.request })
  }

  #link(peer: ServerId, action: LinkAction): void {
    this.#presentation.link({ peer, ...this.#options.applyToLink(peer, action) })
  }

  #release(output: Output): void {
    for (const { to, message } of output.send) this.#options.send(to, message)
    for (const event of output.events) this.narrator.tell(event)
    for (const { peer, reason } of output.refuse) {
      this.narrator.tell({ kind: 'warning', text: `refused what server ${peer} sent: ${reason}` })
      this.#options.refuse(peer, reason)
    }
    for (const { id, result } of output.reply) this.#answer(id, result)
  }

  /** The answer takes the way of a real one: into the form of the wire, out of it, and into words. */
  #answer(id: number, result: ClientResult): void {
    const asked = this.#calls.get(id)
    if (asked === undefined) throw new Error('an answer to nothing')
    const told: unknown = JSON.parse(JSON.stringify(encodeResult(asked.call, result, noHost)))
    switch (asked.call.method) {
      case 'write':
        this.#presentation.written(checkClientResult('write', told), asked.value)
        return
      case 'delete':
        this.#presentation.deleted(checkClientResult('delete', told))
        return
      case 'batch':
        this.#options.print(
          `${this.id}> wrote all together (${showVersion(checkClientResult('batch', told).version)})`,
        )
        return
      case 'read': {
        const read = checkClientResult('read', told)
        this.#presentation.values('values' in read ? read.values : [read])
        return
      }
      case 'keys':
        this.#presentation.keys(checkClientResult('keys', told).keys)
        return
      case 'conflicts':
        this.#presentation.conflicts(checkClientResult('conflicts', told).keys)
        return
      case 'waiting':
        this.#presentation.waiting(checkClientResult('waiting', told))
        return
      case 'why':
        this.#presentation.story(checkClientResult('why', told), this.id)
        return
      default:
        throw new Error(`nobody on this stage asks for ${asked.call.method}`)
    }
  }
}

interface StageServerOptions {
  readonly id: ServerId
  readonly origin: Origin
  readonly limits: Limits
  readonly print: (line: string) => void
  readonly send: (to: ServerId, message: PeerMessage) => void
  /** Closes the connection on which a peer sends. */
  readonly refuse: (peer: ServerId, reason: string) => void
  readonly applyToLink: (peer: ServerId, action: LinkAction) => LinkState
}

const noHost = {
  status: (): never => {
    throw new Error('nobody on this stage asks for status')
  },
}

/** `x=5`, or `x=` for a deletion. */
function writeOf(word: string): Write {
  const [key = '', value = ''] = word.split('=')
  return value === '' ? { key, deleted: true } : { key, value: valueOf(value) }
}

function valueOf(text: string): JsonValue {
  const read = valueFromText(text)
  if ('fault' in read) throw new Error(read.fault)
  return read.value
}

/** `200 ms`, `61 s`. */
export function durationMs([number, unit]: readonly string[]): number {
  const unitMs = unit === 'ms' ? 1 : unit === 's' ? 1_000 : Number.NaN
  const durationMs = Number(number) * unitMs
  if (!(durationMs > 0)) throw new Error(`${number} ${unit} is no duration: try "200 ms" or "61 s"`)
  return durationMs
}
