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
  /** An address cannot be connected to; it is dialled on and on. */
  | { readonly kind: 'unreached'; readonly address: string; readonly reason: string }
  /** What the folder held at the start. */
  | {
      readonly kind: 'recovered'
      readonly folder: string
      readonly isFresh: boolean
      readonly keys: number
      /** In the log. */
      readonly updates: number
    }
  | { readonly kind: 'stopping'; readonly reason: string }
  | { readonly kind: 'stopped' }

/**
 * Tells what happens, as it happens, one line each; to people or, as newline-delimited JSON, to programs.
 *
 * People get at most {@link linesPerSecondMax} lines about updates in a second, and then a count of the rest:
 * a terminal that scrolls faster tells nobody anything, and writing to it would slow the server.
 */
export class Narrator {
  readonly #write: ((line: string) => void) | undefined
  readonly #paint: ChalkInstance | undefined
  #linesLeft = linesPerSecondMax
  #untold = 0

  constructor(options: {
    /** Takes one line without its end; absent where nobody listens, and then nothing is put into words. */
    readonly write?: ((line: string) => void) | undefined
    /** Colours for people; absent for JSON. */
    readonly paint?: ChalkInstance
  }) {
    this.#write = options.write
    this.#paint = options.paint
  }

  tell(event: ServerEvent): void {
    if (this.#write === undefined) return
    if (this.#paint === undefined) {
      this.#write(JSON.stringify(event))
      return
    }
    if (isRateLimited.has(event.kind) && this.#linesLeft-- <= 0) {
      this.#untold++
      return
    }
    this.#write(sentence(event, this.#paint))
  }

  /**
   * Tells what one step did. People who are told that a page of many updates was pulled are not told of each.
   */
  tellStep(events: readonly ReplicaEvent[]): void {
    if (this.#write === undefined || events.length === 0) return
    let summarised: Set<ServerId> | undefined
    for (const event of events) {
      if (event.kind === 'pulled' && event.count > pulledShownMax && this.#paint !== undefined) {
        summarised ??= new Set()
        summarised.add(event.from)
      }
      const isTold =
        event.kind === 'applied' && event.waitedMs === undefined && summarised?.has(event.from) === true
      if (!isTold) this.tell(event)
    }
  }

  /** A second has passed: says how much was left untold in it. */
  refill(): void {
    if (this.#untold > 0) this.#write?.(`… and ${this.#untold} more, too fast to tell`)
    this.#untold = 0
    this.#linesLeft = linesPerSecondMax
  }
}

const linesPerSecondMax = 200

/** A page of up to this many updates is shown update by update. */
const pulledShownMax = 20

/** What others can cause as often as they like. */
const isRateLimited: ReadonlySet<ServerEvent['kind']> = new Set([
  'taken',
  'applied',
  'waiting',
  'dropped',
  'lost',
  'forged',
  'pulled',
  'conflict',
  'clientJoined',
  'clientLeft',
  'warning',
  'peerJoined',
  'peerLeft',
  'linkLost',
  'unreached',
  'installed',
])

function sentence(event: ServerEvent, paint: ChalkInstance): string {
  switch (event.kind) {
    case 'listening':
      return `server ${paint.bold(event.server)} listening on ${event.address} (origin ${event.origin})`
    case 'notice':
      return paint.dim(event.text)
    case 'warning':
      return paint.yellow(`warning: ${shorten(printable(event.text), textLengthMax)}`)
    case 'peerJoined':
      return paint.cyan(`peer ${event.peer} joined (${event.address})`)
    case 'peerLeft':
      return paint.cyan(`peer ${event.peer} left (${shorten(printable(event.reason), textLengthMax)})`)
    case 'linkLost':
      return paint.cyan(
        `lost the link ${event.direction} peer ${event.peer} (${shorten(printable(event.reason), textLengthMax)})`,
      )
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
    case 'forged':
      return paint.red(
        `forged  ${showUpdate(event.update)} from ${event.from}: this server never issued it; dropped`,
      )
    case 'lost':
      return paint.red(
        `lost    ${showUpdate(event.update)}: nobody connected has ${event.waitsFor.map(showMissing).join(' or ')}`,
      )
    case 'pulled':
      return paint.dim(
        `pulled  ${count(event.count, 'update')} from ${event.from}${event.more ? ', more to come' : ''}`,
      )
    case 'conflict': {
      const [winner, ...others] = event.versions.slice(0, 10).map(showVersion)
      return paint.yellow(
        `conflict on ${printable(shorten(event.key))}: ${winner} wins over ${others.join(', ')}`,
      )
    }
    case 'installed':
      return paint.cyan(
        `installed a snapshot of server ${event.from}: ${count(event.keys, 'key')} new or newer; ` +
          'what this server lacked was more than a log goes back',
      )
    case 'restored':
      return paint.red.bold(restoredSentence(event))
    case 'unreached':
      return paint.yellow(`cannot reach ${event.address} (${printable(event.reason)}); still trying`)
    case 'recovered': {
      if (event.isFresh) return paint.dim(`new folder ${printable(event.folder)}`)
      return paint.dim(
        `recovered ${count(event.keys, 'key')} and ${count(event.updates, 'update')} of the log from ` +
          `${printable(event.folder)}; to start fresh, stop the server and remove that folder`,
      )
    }
    case 'stopping':
      return `stopping: ${shorten(printable(event.reason), textLengthMax)}`
    case 'stopped':
      return 'stopped'
  }
}

/** What has happened, what it means, that nothing is lost, and what to look at (R7). */
function restoredSentence(event: Extract<ServerEvent, { kind: 'restored' }>): string {
  const { peer, origin, here, there, others } = event
  const had = here === 0 ? 'nothing of that run' : `only up to ${showVersion({ origin, timestamp: here })}`
  const more = others === 0 ? '' : `, and so with ${count(others, 'earlier run')} besides`
  return [
    `warning: server ${peer} has more of an earlier run of this server than its folder:`,
    `  ${showVersion({ origin, timestamp: there })} of run ${origin}, and the folder had ${had}${more}.`,
    '  The folder is new, an older copy that was restored, or copied from elsewhere',
    '  (with --durability async, a crash may have lost its last moments).',
    `  Nothing is lost that server ${peer} has: it is being fetched. If you did not expect this,`,
    '  check that --data names the right folder and that no backup was put in its place.',
  ].join('\n')
}

function showUpdate(update: Update): string {
  const shown = update.writes.slice(0, writesShownMax).map(showWrite).join(', ')
  const rest = update.writes.length - writesShownMax
  return `${shown}${rest > 0 ? ` and ${rest} more` : ''} (${showVersion(update)})`
}

function showWrite(write: Write): string {
  const key = printable(shorten(write.key))
  if (write.deleted === true) return `${key} deleted`
  return `${key} = ${shorten(printable(shorten(showValue(write.value))))}`
}

function showValue(value: JsonValue): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** A line on a terminal is for recognising a value, not for reading a megabyte. Cut before it is made printable. */
function shorten(text: string, lengthMax = 60): string {
  return text.length > lengthMax ? `${text.slice(0, lengthMax - 1)}…` : text
}

/** Of a batch: the rest is counted. */
const writesShownMax = 3

/** Texts that may have come from elsewhere, such as another server's reason for refusing this one. */
const textLengthMax = 300

function showMissing(version: Version): string {
  return `${showVersion(version)} of server ${serverOf(version.origin)}`
}

function count(number: number, noun: string): string {
  return `${number.toLocaleString('en-US')} ${noun}${number === 1 ? '' : 's'}`
}
