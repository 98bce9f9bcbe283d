import type { ChalkInstance } from 'chalk'
import type { ReplicaEvent } from '../replica/output.ts'
import type { JsonValue, Update, Write } from '../replica/update.ts'
import { serverOf, showVersion, type ServerId, type Version } from '../replica/version.ts'
import { printable } from '../terminal/printable.ts'

/** What a server tells its operator: what the replica did, and what happened around it. */
export type ServerEvent =
  | ReplicaEvent
  | {
      readonly kind: 'listening'
      readonly address: string
      readonly server: ServerId
      readonly origin: string
    }
  /** Something that the operator should know at every start. */
  | { readonly kind: 'notice'; readonly text: string }
  | { readonly kind: 'warning'; readonly text: string }
  | { readonly kind: 'peerJoined'; readonly peer: ServerId; readonly address: string }
  | { readonly kind: 'peerLeft'; readonly peer: ServerId; readonly reason: string }
  /** Its link to this server, or this server's to it, is down; the other direction is up. */
  | {
      readonly kind: 'linkLost'
      readonly peer: ServerId
      readonly direction: 'to' | 'from'
      readonly reason: string
    }
  | { readonly kind: 'clientJoined'; readonly client: string }
  | { readonly kind: 'clientLeft'; readonly client: string }
  | { readonly kind: 'link'; readonly peer: ServerId; readonly state: string; readonly queued: number }
  | { readonly kind: 'stopping'; readonly reason: string }
  | { readonly kind: 'stopped' }

/**
 * Tells what happens, as it happens, one line each; to people or, as newline-delimited JSON, to programs.
 *
 * People get at most {@link linesPerSecondMax} lines about updates in a second, and then a count of the rest:
 * a terminal that scrolls faster tells nobody anything, and writing to it would slow the server.
 */
export class Narrator {
  readonly #write: (line: string) => void
  readonly #paint: ChalkInstance | undefined
  #linesLeft = linesPerSecondMax
  #untold = 0

  constructor(options: {
    /** Takes one line without its end. */
    readonly write: (line: string) => void
    /** Colours for people; absent for JSON. */
    readonly paint?: ChalkInstance
  }) {
    this.#write = options.write
    this.#paint = options.paint
  }

  tell(event: ServerEvent): void {
    if (this.#paint === undefined) {
      this.#write(JSON.stringify(event))
      return
    }
    if (aboutUpdates.has(event.kind) && this.#linesLeft-- <= 0) {
      this.#untold++
      return
    }
    this.#write(sentence(event, this.#paint))
  }

  /** A second has passed: says how much was left untold in it. */
  refill(): void {
    if (this.#untold > 0) this.#write(`… and ${this.#untold} more, too fast to tell`)
    this.#untold = 0
    this.#linesLeft = linesPerSecondMax
  }
}

const linesPerSecondMax = 200

const aboutUpdates: ReadonlySet<ServerEvent['kind']> = new Set([
  'taken',
  'applied',
  'waiting',
  'dropped',
  'lost',
  'pulled',
  'conflict',
  'clientJoined',
  'clientLeft',
])

function sentence(event: ServerEvent, paint: ChalkInstance): string {
  switch (event.kind) {
    case 'listening':
      return `server ${paint.bold(event.server)} listening on ${event.address} (origin ${event.origin})`
    case 'notice':
      return paint.dim(event.text)
    case 'warning':
      return paint.yellow(`warning: ${event.text}`)
    case 'peerJoined':
      return paint.cyan(`peer ${event.peer} joined (${event.address})`)
    case 'peerLeft':
      return paint.cyan(`peer ${event.peer} left (${event.reason})`)
    case 'linkLost':
      return paint.cyan(`lost the link ${event.direction} peer ${event.peer} (${event.reason})`)
    case 'clientJoined':
      return paint.dim(`client ${printable(event.client)} connected`)
    case 'clientLeft':
      return paint.dim(`client ${printable(event.client)} disconnected`)
    case 'link': {
      const queued = event.queued > 0 ? `, ${count(event.queued, 'update')} in it` : ''
      return paint.magenta(`lab: link to ${event.peer} is ${event.state}${queued}`)
    }
    case 'taken':
      return `${paint.green('took')}    ${showUpdate(event.update)}`
    case 'applied': {
      if (event.waitedMs === undefined) {
        return `${paint.green('applied')} ${showUpdate(event.update)} from ${event.from}`
      }
      return `${paint.green('released')} ${showUpdate(event.update)} from ${event.from}: its causes are here`
    }
    case 'waiting':
      return (
        `${paint.yellow('waiting')} ${showUpdate(event.update)} from ${event.from}: ` +
        `needs ${event.waitsFor.map(showMissing).join(' and ')}`
      )
    case 'dropped':
      return paint.yellow(`dropped ${showUpdate(event.update)}: the buffer is full; it will be pulled again`)
    case 'lost':
      return paint.red(
        `lost    ${showUpdate(event.update)}: nobody connected has ${event.waitsFor.map(showMissing).join(' or ')}`,
      )
    case 'pulled':
      return paint.dim(
        `pulled  ${count(event.count, 'update')} from ${event.from}${event.more ? ', more to come' : ''}`,
      )
    case 'conflict': {
      const [winner, ...others] = event.versions.map(showVersion)
      return paint.yellow(`conflict on ${printable(event.key)}: ${winner} wins over ${others.join(', ')}`)
    }
    case 'stopping':
      return `stopping: ${event.reason}`
    case 'stopped':
      return 'stopped'
  }
}

function showUpdate(update: Update): string {
  return `${update.writes.map(showWrite).join(', ')} (${showVersion(update)})`
}

function showWrite(write: Write): string {
  if (write.deleted === true) return `${printable(write.key)} deleted`
  return `${printable(write.key)} = ${shorten(printable(showValue(write.value)))}`
}

function showValue(value: JsonValue): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** A line on a terminal is for recognising a value, not for reading a megabyte. */
function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 59)}…` : text
}

function showMissing(version: Version): string {
  return `${showVersion(version)} of server ${serverOf(version.origin)}`
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
