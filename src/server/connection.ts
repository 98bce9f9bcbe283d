import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { ProtocolError, protocolError } from '../protocol/errors.ts'
import {
  finishLineMs,
  lingerMs,
  outboxesBytesMax,
  shortAnswerLengthMax,
  stuckMs,
} from '../protocol/limits.ts'
import { LineDecoder, type Line, type LineParts } from '../protocol/line-decoder.ts'
import type { SharedLines } from './broadcasts.ts'
import { clientTurns, peerTurns, type ReadTurns } from './read-turns.ts'

/** What a connection's owner is told. Nothing is told after `closed`. */
export interface ConnectionEvents {
  /** A complete line. */
  line(line: Line): void
  /** The bytes cannot be cut into lines any more; nothing further is read. */
  unreadable(error: ProtocolError): void
  /** The other side has sent all that it will; it may still take answers. */
  ended(): void
  /** More than `stalledBytes` have not left the process yet. */
  stalled(): void
  /** Everything has left, after a stall or after {@link Connection.awaitDrain}. */
  drained(): void
  closed(reason: string): void
}

export interface ConnectionLimits {
  readonly lineBytesMax: number
  /** What may come in before {@link Connection.welcome} or {@link Connection.trust}; without end where absent. */
  readonly bytesMax?: number
  /** From here on the owner is asked to send no more, and nothing more is read. */
  readonly stalledBytes: number
  /** From here on the connection is closed: its owner could not stop in time. */
  readonly outboxBytesMax: number
}

/** What all connections of a process together hold for others to take. */
export interface Outboxes {
  /** Estimated in UTF-16 units, which is close enough to bytes for a bound. */
  used: number
}

/**
 * A socket that carries lines, in both directions, without ever holding more than it is allowed to.
 *
 * What is sent in one turn of the event loop leaves in one write, at {@link flush}. While more than a bound has
 * not left, nothing is read either: who does not take answers may not ask. Whether anything moves is looked at
 * now and then, by {@link beat}; that alone decides that a connection is dead, never how much there is to move.
 */
export class Connection {
  readonly #socket: Socket
  readonly #events: ConnectionEvents
  readonly #limits: ConnectionLimits
  readonly #outboxes: Outboxes
  readonly #decoder: LineDecoder
  #outbox: (string | Buffer)[] = []
  #outboxLength = 0
  /** Lines that others are told too, of which those from `count` on come after the outbox. */
  #shared: { readonly lines: SharedLines; readonly count: number } | undefined
  /** Of this connection in `#outboxes`: what was sent and is not known to have left. */
  #unsent = 0
  #isStalled = false
  #isPaused = false
  /** Lines are there, and it is not this connection's turn to hand them on. */
  #isWaiting = false
  #awaitsDrain = false
  #isFetching = false
  #hasEnded = false
  /** When a byte last came, and how much has been sent since. */
  #arrivedMs = performance.now()
  #sentSinceArrival = 0
  /** What the system had not taken when it was last looked at, and when that was last seen to be less. */
  #queuedBytes = 0
  #fellMs = performance.now()
  /** Since when the unfinished line, `#timedLine`, has been waited for while reading. */
  #lineSinceMs = 0
  #timedLine = 0
  #isTrusted = false
  /** How much may still come in before the other side has to have shown who it is. */
  #bytesLeft: number
  #state: 'open' | 'ending' | 'closed' = 'open'
  #closeReason = 'connection closed'
  readonly remoteHost: string

  constructor(
    socket: Socket,
    options: {
      readonly events: ConnectionEvents
      readonly limits: ConnectionLimits
      readonly outboxes?: Outboxes
    },
  ) {
    this.#socket = socket
    this.#events = options.events
    this.#limits = options.limits
    this.#outboxes = options.outboxes ?? { used: 0 }
    this.#decoder = new LineDecoder({ lineBytesMax: options.limits.lineBytesMax })
    this.#bytesLeft = options.limits.bytesMax ?? Infinity
    this.remoteHost = socket.remoteAddress ?? ''
    socket.setNoDelay(true)
    socket.setKeepAlive(true, keepAliveMs)
    socket.on('data', (chunk: Buffer) => {
      this.#arrivedMs = performance.now()
      this.#sentSinceArrival = 0
      // Of a peer's line it is only asked that it goes on; a client's must end.
      if (this.#isTrusted) this.#lineSinceMs = this.#arrivedMs
      this.#bytesLeft -= chunk.length
      this.#decoder.add(chunk)
      if (!this.#isFetching) this.#readLines()
    })
    socket.on('end', () => {
      this.#hasEnded = true
      this.#readLines()
    })
    socket.on('error', (error) => this.#close(error.message))
    socket.on('close', () => this.#close(this.#closeReason))
  }

  get bytesReceived(): number {
    return this.#socket.bytesRead
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Whether nothing is read: its owner has asked for no more lines, or its turn has yet to come. */
  get isPaused(): boolean {
    return this.#isPaused || this.#isWaiting
  }

  get isStalled(): boolean {
    return this.#isStalled
  }

  /** Whether anything that was sent has not left yet. */
  get hasUnsent(): boolean {
    return this.#unsent > 0
  }

  /** The other side has shown that it may speak: without end, and in lines of this length. */
  welcome(lineBytesMax: number): void {
    this.#bytesLeft = Infinity
    this.#decoder.lineBytesMax = lineBytesMax
  }

  /** The other side has shown to be a server: its lines may be as slow as its network. */
  trust(lineBytesMax: number): void {
    this.welcome(lineBytesMax)
    this.#isTrusted = true
  }

  /**
   * For how long nothing has come, in milliseconds, less the time that what was sent since may take on a slow
   * network: an answer queues up behind it. What is on its way is the system's secret, so a least rate stands in.
   * Who does not read cannot tell, so a pause is no idleness.
   */
  idleMs(): number {
    if (this.isPaused) return 0
    const excusedMs = (this.#sentSinceArrival / leastBytesPerSecond) * 1_000
    return Math.max(0, performance.now() - this.#arrivedMs - excusedMs)
  }

  /** To be called about once a second: ends what is stuck, and lines that do not end. */
  beat(): void {
    if (this.#state === 'closed') return
    if (this.#isStuck()) {
      this.destroy(`it has taken nothing of what was sent to it for ${stuckMs / 1_000} s`)
      return
    }
    const isReading = this.#state === 'open' && !this.#isStalled && !this.isPaused
    if (!isReading || !this.#decoder.unfinished) {
      this.#timedLine = 0
      return
    }
    const nowMs = performance.now()
    if (this.#timedLine !== this.#decoder.lineNumber) {
      this.#timedLine = this.#decoder.lineNumber
      this.#lineSinceMs = nowMs
    } else if (nowMs - this.#lineSinceMs > finishLineMs) {
      const message = `line ${this.#timedLine} did not end within ${finishLineMs / 1_000} s; end each message with a newline`
      this.#events.unreadable(protocolError('parse', message, { id: null }))
    }
  }

  /**
   * Queues a line, its `\n` included, until {@link flush}. Does nothing once the connection is closing.
   *
   * @param parts that together are the line; those that are bytes are never copied.
   */
  send(...parts: LineParts): void {
    if (this.#state !== 'open') return
    this.#takeShared()
    for (const part of parts) this.#queue(part)
    this.#checkOutbox()
  }

  /** Sends these lines, as they come from now on and until they are over or {@link unshare}, in their order among what else is sent. */
  share(lines: SharedLines): void {
    this.#shared = { lines, count: lines.count }
  }

  /** Sends no more of what is shared. @returns what that was, where more was to come. */
  unshare(): SharedLines | undefined {
    this.#takeShared()
    const { lines } = this.#shared ?? {}
    this.#shared = undefined
    return lines
  }

  /** What has come of the lines that are shared is behind all that was sent before. */
  #takeShared(): void {
    if (this.#shared === undefined) return
    const { lines, count } = this.#shared
    this.#shared = lines.isOver ? undefined : { lines, count: lines.count }
    if (this.#state !== 'open') return
    for (const part of lines.since(count)) this.#queue(part)
  }

  #checkOutbox(): void {
    if (this.#unsent > this.#limits.outboxBytesMax) {
      this.destroy('it takes too little of what is sent to it')
    } else if (this.#unsent > this.#stalledBytes() && !this.#isStalled) {
      this.#isStalled = true
      this.#awaitsDrain = true
      this.#socket.pause()
      this.#events.stalled()
    }
  }

  /** Writes what was queued. */
  flush(): void {
    if (this.#state === 'closed') return
    if (this.#shared !== undefined) {
      this.#takeShared()
      this.#checkOutbox()
    }
    if (this.#outbox.length > 0) {
      const length = this.#outboxLength
      this.#sentSinceArrival += length
      this.#write((error) => {
        // What failed has not left: the connection is about to close, and nobody is to be told to say more on it.
        if (error === null || error === undefined) this.#left(length)
      })
    } else if (this.#awaitsDrain && this.#unsent === 0) {
      setImmediate(() => this.#checkDrained())
    }
  }

  /** Asks for `drained` when all that was sent so far has left. */
  awaitDrain(): void {
    this.#awaitsDrain = true
  }

  /** Hands on no more lines until {@link resume}; what has been read waits, and TCP tells the sender. */
  pause(): void {
    // What ends is read on, or its other side's end would never be seen.
    if (this.#state !== 'open') return
    this.#isPaused = true
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#arrivedMs = performance.now()
    // Not at once: the owner may be in the middle of something.
    this.#waitForTurn()
  }

  /** Sends the last line, then closes in an orderly way: stops reading, lets all leave, lingers briefly. */
  end(lastLine: string | undefined, reason: string): void {
    if (this.#state !== 'open') return
    this.unshare()
    if (lastLine !== undefined) this.#queue(lastLine)
    this.flush()
    this.#state = 'ending'
    this.#closeReason = reason
    // Reading on, and throwing away, keeps the system from resetting the connection under the last line.
    this.#socket.removeAllListeners('data')
    this.#socket.resume()
    this.#socket.end(() => {
      const linger = setTimeout(() => this.#socket.destroy(), lingerMs)
      this.#socket.once('close', () => clearTimeout(linger))
    })
  }

  destroy(reason: string): void {
    this.#socket.destroy()
    this.#close(reason)
  }

  #queue(part: string | Buffer): void {
    this.#outbox.push(part)
    this.#outboxLength += part.length
    this.#unsent += part.length
    this.#outboxes.used += part.length
  }

  /** Hands the outbox to the system, in one write. @param done is told when all of it has left, or failed. */
  #write(done: (error?: Error | null) => void): void {
    const chunks = joinedTexts(this.#outbox)
    this.#outbox = []
    this.#outboxLength = 0
    const last = chunks.pop() as string | Buffer
    if (chunks.length > 0) this.#socket.cork()
    for (const chunk of chunks) this.#socket.write(chunk)
    this.#socket.write(last, done)
    if (chunks.length > 0) this.#socket.uncork()
  }

  #left(length: number): void {
    if (this.#state === 'closed') return
    this.#unsent -= length
    this.#outboxes.used -= length
    this.#checkDrained()
  }

  /**
   * Past half of what all may owe, whoever has more than a little to take is stalled at once. So pushes to any number
   * of watchers that do not read leave the other half to those who ask and do (R11).
   */
  #stalledBytes(): number {
    return this.#outboxes.used > outboxesBytesMax / 2 ? shortAnswerLengthMax : this.#limits.stalledBytes
  }

  /**
   * Whether nothing of what was sent has left for long. A write is reported when all of it has been taken, which may
   * be long after its first byte; Node keeps the exact figure where otherwise only its own idle timer sees it.
   */
  #isStuck(): boolean {
    const { _handle: handle } = this.#socket as {
      readonly _handle?: { readonly writeQueueSize?: number } | null
    }
    const queuedBytes = (handle?.writeQueueSize ?? 0) + this.#socket.writableLength
    const nowMs = performance.now()
    if (this.#unsent === 0 || queuedBytes < this.#queuedBytes) this.#fellMs = nowMs
    this.#queuedBytes = queuedBytes
    return nowMs - this.#fellMs > stuckMs
  }

  /** However many clients there are, and whatever they ask: links live on answers that come in time. */
  get #turns(): ReadTurns {
    return this.#isTrusted ? peerTurns : clientTurns
  }

  #waitForTurn(): void {
    this.#isWaiting = true
    this.#socket.pause()
    this.#turns.wait(this.#reader)
  }

  readonly #reader = (): void => {
    if (this.#isWaiting) this.#arrivedMs = performance.now()
    this.#isWaiting = false
    this.#readLines()
  }

  /** Hands on the lines that are there, until the connection stalls, is paused or closes, or its turn is over. */
  #readLines(): void {
    this.#handOnLines()
    // What was answered on the spot leaves together.
    this.flush()
  }

  #handOnLines(): void {
    try {
      while (this.#state === 'open') {
        if (this.#isStalled || this.#isPaused) return
        if (this.#decoder.hasLine && !this.#turns.mayRead(this.#reader)) {
          // The others have their turn; what is left of this chunk keeps.
          this.#waitForTurn()
          return
        }
        const line = this.#decoder.next() ?? (this.#hasEnded ? this.#decoder.end() : undefined)
        if (line !== undefined) this.#handOn(line)
        else if (!this.#fetch()) break
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      if (this.#state === 'open') this.#events.unreadable(error)
      return
    }
    if (this.#state !== 'open') return
    if (this.#hasEnded) this.#events.ended()
    // Not sooner: what is in the lines that have come may be what it takes.
    else if (this.#bytesLeft < 0) this.#events.unreadable(tooMuchSaid(this.#limits.bytesMax ?? 0))
    else this.#socket.resume()
  }

  #handOn(line: Line): void {
    if (line.bytes < longLineBytes) {
      this.#events.line(line)
      return
    }
    const startMs = performance.now()
    // It may be the line that makes this a server's connection.
    const turns = this.#turns
    this.#events.line(line)
    if (performance.now() - startMs > longLineMs) turns.tookLong()
  }

  /**
   * Takes what the socket has read while it was paused; it comes as a `data` event like any other. Left there it would
   * come a chunk at a time, and as small as the other side has written it, each behind all who wait for their turn.
   *
   * @returns whether there was any.
   */
  #fetch(): boolean {
    if (this.#socket.readableLength === 0) return false
    this.#isFetching = true
    try {
      return this.#socket.read() !== null
    } finally {
      this.#isFetching = false
    }
  }

  #checkDrained(): void {
    if (!this.#awaitsDrain || this.#state !== 'open' || this.#unsent > 0) return
    this.#awaitsDrain = false
    const wasStalled = this.#isStalled
    this.#isStalled = false
    this.#events.drained()
    if (wasStalled) this.#readLines()
  }

  #close(reason: string): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#outboxes.used -= this.#unsent
    this.#unsent = 0
    this.#events.closed(reason)
  }
}

/** The same line in as few parts: texts are joined at less cost than they are written one by one. */
function joinedTexts(parts: (string | Buffer)[]): (string | Buffer)[] {
  if (parts.length === 1) return parts
  const joined: (string | Buffer)[] = []
  let texts: string[] = []
  for (const part of parts) {
    if (typeof part === 'string') {
      texts.push(part)
      continue
    }
    if (texts.length > 0) joined.push(texts.join(''))
    texts = []
    joined.push(part)
  }
  if (texts.length > 0) joined.push(texts.join(''))
  return joined
}

function tooMuchSaid(bytesMax: number): ProtocolError {
  const message = `nobody has shown to know the secret within ${bytesMax} bytes`
  return protocolError('notAuthorised', message, { id: null })
}

/** A shorter line takes a few milliseconds whatever is in it; and one long string leaves time for others, too. */
const longLineBytes = 64 << 10
const longLineMs = 5

/** Finds clients whose machine is gone; those that are only silent may stay. */
const keepAliveMs = 60_000

/** A network between servers that is slower than this cannot be told from one that is dead. */
const leastBytesPerSecond = 32 << 10
