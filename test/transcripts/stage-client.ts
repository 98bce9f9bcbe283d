import { Chalk } from 'chalk'
import { comesAfter } from '../../src/client/call.ts'
import { PeoplePresentation } from '../../src/client/presentation.ts'
import { versionsOfKey, versionsSeenIn } from '../../src/client/seen-versions.ts'
import { SessionCut } from '../../src/client/session-cut.ts'
import { errorFromServer } from '../../src/client/tidings-error.ts'
import { valueFromText } from '../../src/client/value-text.ts'
import { encodeNotification, encodeResult } from '../../src/protocol/client-answers.ts'
import {
  checkClientRequest,
  isReplicaCall,
  type LinkAction,
  type ReplicaCall,
} from '../../src/protocol/client-messages.ts'
import {
  checkClientNotification,
  checkClientResult,
  type ClientResults,
} from '../../src/protocol/client-results.ts'
import { ProtocolError } from '../../src/protocol/errors.ts'
import { cutToWire } from '../../src/protocol/wire-forms.ts'
import { raise, raiseAll, type Cut, type MutableCut } from '../../src/replica/cut.ts'
import type { ClientId } from '../../src/replica/input.ts'
import type { ClientResult, RequestStamp } from '../../src/replica/messages.ts'
import type { Notification } from '../../src/replica/output.ts'
import type { JsonValue, Write } from '../../src/replica/update.ts'
import { showVersion } from '../../src/replica/version.ts'
import { durationMs, type StageServer } from './stage-server.ts'

/**
 * Somebody who types at a server, and reads what it says.
 *
 * Whoever sits at a server for good has no name and no session: `1> …`. Whoever has a name takes a session from server to
 * server: `alice@1> …`. Then every request shows what was seen (R9), and every write has a number (R10), as the client
 * library does it.
 */
export class StageClient {
  readonly #name: string | undefined
  readonly #print: (line: string) => void
  readonly #presentation: PeoplePresentation
  readonly #calls = new Map<number, Asked>()
  #place: { readonly server: StageServer; readonly number: ClientId } | undefined
  readonly #cut = new SessionCut()
  #writes = 0
  /** What was written last, and under which number. */
  #lastWrite: { readonly method: Writing; readonly params: object; readonly stamp: RequestStamp } | undefined
  /** How far the watch has come; undefined before there was one. */
  #watched: MutableCut | undefined
  #isSevered = false

  constructor(options: { readonly name?: string; readonly print: (line: string) => void }) {
    this.#name = options.name
    this.#print = options.print
    const paint = new Chalk({ level: 0 })
    const say = (text: string): void => this.#say(text)
    this.#presentation = new PeoplePresentation(
      { print: say, note: say, complain: say, drained: () => Promise.resolve() },
      { output: paint, errors: paint },
    )
  }

  /** Goes to a server, unless that is where this client is. */
  connect(server: StageServer): void {
    if (this.#place?.server === server) return
    this.#place?.server.disconnect(this.#place.number)
    this.#place = { server, number: server.connect(this) }
    this.#cut.connected(server.origin, new Map(server.replica.applied))
  }

  /** Its server is gone; what it was asked is never answered. */
  abandon(server: StageServer): void {
    if (this.#place?.server !== server) return
    this.#place = undefined
    this.#calls.clear()
  }

  /** The connection breaks while the next answer is on its way. */
  sever(): void {
    this.#isSevered = true
  }

  /** What is typed. */
  obey(order: string): void {
    const [word = '', ...rest] = order.split(' ')
    const [first = ''] = rest
    switch (word) {
      case 'write':
        this.#write('write', { key: first, value: valueOf(rest.slice(1).join(' ')) })
        return
      case 'delete':
        this.#write('delete', { key: first })
        return
      case 'batch':
        this.#write('batch', { writes: rest.map(writeOf) })
        return
      case 'retry':
        this.#writeAgain(first === 'again' ? 'again' : true)
        return
      case 'why':
        this.#call('why', { key: first })
        return
      case 'read':
        this.#call('read', { keys: rest })
        return
      case 'conflicts':
      case 'waiting':
      case 'keys':
        this.#call(word, {})
        return
      case 'watch':
        this.#call('watch', { since: this.#since(first) })
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

  /** The answer takes the way of a real one: into the form of the wire, out of it, and into words. */
  answered(id: number, result: ClientResult): void {
    const asked = this.#calls.get(id)
    if (asked === undefined) return
    this.#calls.delete(id)
    if (this.#isSevered) {
      this.#isSevered = false
      this.#say('no answer: the connection broke')
      this.#place?.server.disconnect(this.#place.number)
      this.#place = undefined
      return
    }
    try {
      const told: unknown = JSON.parse(JSON.stringify(encodeResult(asked.call, result, noHost)))
      if (asked.after !== undefined) this.#cut.accepted(asked.after)
      this.#show(asked, told)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#refused(error)
    }
  }

  /** A push takes that way too. */
  notified(notification: Notification): void {
    const { method, params } = JSON.parse(encodeNotification(notification).join('')) as {
      readonly method: string
      readonly params: unknown
    }
    const told = checkClientNotification(method, params)
    this.#watched ??= new Map()
    switch (told?.kind) {
      case 'update': {
        const { version, writes, conflict } = told
        raise(this.#watched, version.origin, version.timestamp)
        this.#cut.learn(version, this.#place?.server.origin)
        for (const seen of conflict.flatMap(versionsOfKey)) this.#cut.learn(seen, this.#place?.server.origin)
        const conflicts = conflict.length === 0 ? {} : { conflict }
        this.#presentation.event({ kind: 'update', version, writes, ...conflicts })
        return
      }
      case 'caughtUp':
        raiseAll(this.#watched, told.applied)
        // The library keeps it for programs; here it is a part of the story.
        this.#say('caught up')
        return
      case 'resync':
        this.#watched = new Map()
        this.#presentation.event({ kind: 'resync' })
        return
      case undefined:
        throw new Error(`nobody on this stage understands ${method}`)
    }
  }

  /** `watch`: from now on; `watch start`: from the beginning; `watch on`: from where the last watch has come to. */
  #since(word: string): 'now' | 'start' | object {
    if (word === '') return 'now'
    if (word === 'start') return 'start'
    if (word !== 'on' || this.#watched === undefined)
      throw new Error(`nobody can watch from ${JSON.stringify(word)}`)
    return cutToWire(this.#watched)
  }

  #write(method: Writing, params: object): void {
    if (this.#name === undefined) {
      this.#call(method, params)
      return
    }
    const stamp = { session: this.#name, number: ++this.#writes }
    this.#lastWrite = { method, params, stamp }
    this.#call(method, { ...params, request: stamp })
  }

  #writeAgain(retry: true | 'again'): void {
    if (this.#lastWrite === undefined) throw new Error('nothing was written that could be written again')
    const { method, params, stamp } = this.#lastWrite
    this.#call(method, { ...params, request: { ...stamp, retry } })
  }

  #call(method: Asked['method'], params: object): void {
    if (this.#place === undefined) throw new Error('nobody can ask without a server')
    const after = this.#name !== undefined && comesAfter(method) ? this.#cut.after() : undefined
    const shown = after === undefined ? {} : { after: cutToWire(after) }
    const call = checkClientRequest(method, { ...params, ...shown })
    if (!isReplicaCall(call)) throw new Error(`${method} does not concern the replica`)
    const id = this.#place.server.request(this.#place.number, call.request)
    this.#calls.set(id, { method, params, call, after })
  }

  #link(peer: string, action: LinkAction): void {
    if (this.#place === undefined) throw new Error('nobody can ask without a server')
    this.#presentation.link({ peer, ...this.#place.server.applyToLink(peer, action) })
  }

  #show({ method, params }: Asked, told: unknown): void {
    switch (method) {
      case 'write': {
        const { value } = params as { readonly value: JsonValue }
        this.#presentation.written(this.#seen('write', told), value)
        return
      }
      case 'delete':
        this.#presentation.deleted(this.#seen('delete', told))
        return
      case 'batch':
        this.#say(`wrote all together (${showVersion(this.#seen('batch', told).version)})`)
        return
      case 'read': {
        const read = this.#seen('read', told)
        this.#presentation.values('values' in read ? read.values : [read])
        return
      }
      case 'keys':
        this.#presentation.keys(this.#seen('keys', told).keys)
        return
      case 'conflicts':
        this.#presentation.conflicts(this.#seen('conflicts', told).keys)
        return
      case 'waiting':
        this.#presentation.waiting(this.#seen('waiting', told))
        return
      case 'why':
        this.#presentation.story(this.#seen('why', told), this.#place?.server.id ?? '')
        return
      case 'watch':
        // What it sees says that it watches.
        return
    }
  }

  /** Reads an answer, and remembers what was seen in it. */
  #seen<Method extends Asked['method']>(method: Method, told: unknown): ClientResults[Method] {
    const result = checkClientResult(method, told)
    for (const version of versionsSeenIn(method, result)) {
      this.#cut.learn(version, this.#place?.server.origin)
    }
    return result
  }

  #refused(answer: ProtocolError): void {
    const error = errorFromServer(answer)
    this.#presentation.failed(error)
    const lost = error.missing.filter((entry) => entry.lost)
    if (lost.length === 0) return
    this.#cut.drop(lost.map(({ version }) => version))
    this.#presentation.lost(lost)
  }

  #say(text: string): void {
    const at = this.#place?.server.id ?? ''
    const who = this.#name === undefined ? at : `${this.#name}@${at}`
    for (const line of text.split('\n')) this.#print(`${who}> ${line}`)
  }
}

type Writing = 'write' | 'delete' | 'batch'

/** What has been asked and not been answered. */
interface Asked {
  readonly method: Writing | 'read' | 'keys' | 'conflicts' | 'waiting' | 'why' | 'watch'
  readonly params: object
  readonly call: ReplicaCall
  readonly after: Cut | undefined
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
