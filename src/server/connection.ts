import type { Socket } from 'node:net'
import { ProtocolError, protocolError } from '../protocol/errors.ts'
import { finishLineMs, lingerMs } from '../protocol/limits.ts'
import { LineDecoder, type Line } from '../protocol/line-decoder.ts'

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
  /** From here on the owner is asked to send no more, and nothing more is read. */
  readonly stalledBytes: number
  /** From here on the connection is closed: its owner could not stop in time. */
  readonly outboxBytesMax: number
}

/**
 * A socket that carries lines, in both directions, without ever holding more than it is allowed to.
 *
 * What is sent in one turn of the event loop leaves in one write, at {@link flush}. While more than a bound has
 * not left, nothing is read either: who does not take answers may not ask.
 */
export class Connection {
  readonly #socket: Socket
  readonly #events: ConnectionEvents
  readonly #limits: ConnectionLimits
  readonly #decoder: LineDecoder
  #outbox: string[] = []
  /** Of what is in `#outbox`; UTF-16 units, which is close enough to bytes for a bound. */
  #outboxLength = 0
  #isStalled = false
  #isPaused = false
  #awaitsDrain = false
  #hasEnded = false
  #lineTimer: NodeJS.Timeout | undefined
  /** The line that `#lineTimer` is for. */
  #timedLine = 0
  #state: 'open' | 'ending' | 'closed' = 'open'
  #closeReason = 'connection closed'
  readonly remoteHost: string

  constructor(
    socket: Socket,
    options: { readonly events: ConnectionEvents; readonly limits: ConnectionLimits },
  ) {
    this.#socket = socket
    this.#events = options.events
    this.#limits = options.limits
    this.#decoder = new LineDecoder({ lineBytesMax: options.limits.lineBytesMax })
    this.remoteHost = socket.remoteAddress ?? ''
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => {
      this.#decoder.push(chunk)
      this.#readLines()
    })
    socket.on('end', () => {
      this.#hasEnded = true
      this.#readLines()
    })
    socket.on('drain', () => this.#checkDrained())
    socket.on('error', (error) => this.#close(error.message))
    socket.on('close', () => this.#close(this.#closeReason))
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  get isStalled(): boolean {
    return this.#isStalled
  }

  set lineBytesMax(bytes: number) {
    this.#decoder.lineBytesMax = bytes
  }

  /** Queues a line, its `\n` included, until {@link flush}. Does nothing once the connection is closing. */
  send(line: string): void {
    if (this.#state !== 'open') return
    this.#outbox.push(line)
    this.#outboxLength += line.length
    const unsent = this.#unsentBytes()
    if (unsent > this.#limits.outboxBytesMax) {
      this.destroy('it takes too little of what is sent to it')
    } else if (unsent > this.#limits.stalledBytes && !this.#isStalled) {
      this.#isStalled = true
      this.#awaitsDrain = true
      this.#socket.pause()
      this.#events.stalled()
    }
  }

  /** Writes what was queued. */
  flush(): void {
    if (this.#state === 'closed') return
    if (this.#outbox.length > 0) {
      const text = this.#outbox.length === 1 ? (this.#outbox[0] as string) : this.#outbox.join('')
      this.#outbox = []
      this.#outboxLength = 0
      this.#socket.write(text)
    }
    // What the system took at once leaves no `drain` event to wait for.
    if (this.#awaitsDrain) setImmediate(() => this.#checkDrained())
  }

  /** Asks for `drained` when all that was sent so far has left. */
  awaitDrain(): void {
    this.#awaitsDrain = true
  }

  /** Hands on no more lines until {@link resume}; what has been read waits, and TCP tells the sender. */
  pause(): void {
    this.#isPaused = true
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    // Not at once: the owner may be in the middle of something.
    setImmediate(() => this.#readLines())
  }

  /** Sends the last line, then closes in an orderly way: stops reading, lets the line leave, lingers briefly. */
  end(lastLine: string | undefined, reason: string): void {
    if (this.#state !== 'open') return
    if (lastLine !== undefined) this.#outbox.push(lastLine)
    this.flush()
    this.#state = 'ending'
    this.#closeReason = reason
    clearTimeout(this.#lineTimer)
    // Reading on, and throwing away, keeps the system from resetting the connection under the last line.
    this.#socket.removeAllListeners('data')
    this.#socket.resume()
    this.#socket.end()
    const linger = setTimeout(() => this.#socket.destroy(), lingerMs)
    this.#socket.once('close', () => clearTimeout(linger))
  }

  destroy(reason: string): void {
    this.#socket.destroy()
    this.#close(reason)
  }

  #unsentBytes(): number {
    return this.#outboxLength + this.#socket.writableLength
  }

  /** Hands on the lines that are there, until the connection stalls, is paused or closes. */
  #readLines(): void {
    try {
      while (this.#state === 'open') {
        if (this.#isStalled || this.#isPaused) return
        const line = this.#decoder.next() ?? (this.#hasEnded ? this.#decoder.end() : undefined)
        if (line === undefined) break
        this.#events.line(line)
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      if (this.#state === 'open') this.#events.unreadable(error)
      return
    }
    if (this.#state !== 'open') return
    if (this.#hasEnded) this.#events.ended()
    else this.#socket.resume()
    this.#watchLine()
  }

  /** A line that has begun must end in time: otherwise a silent sender would keep a buffer for nothing. */
  #watchLine(): void {
    const line = this.#decoder.lineNumber
    if (this.#lineTimer !== undefined && line === this.#timedLine && this.#decoder.unfinished) return
    clearTimeout(this.#lineTimer)
    this.#lineTimer = undefined
    if (!this.#decoder.unfinished || this.#state !== 'open') return
    this.#timedLine = line
    this.#lineTimer = setTimeout(() => {
      const message = `line ${line} did not end within ${finishLineMs / 1_000} s; end each message with a newline`
      if (this.#state === 'open') this.#events.unreadable(protocolError('parse', message, { id: null }))
    }, finishLineMs)
  }

  #checkDrained(): void {
    if (!this.#awaitsDrain || this.#state !== 'open' || this.#unsentBytes() > 0) return
    this.#awaitsDrain = false
    const wasStalled = this.#isStalled
    this.#isStalled = false
    this.#events.drained()
    if (wasStalled) this.#readLines()
  }

  #close(reason: string): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    clearTimeout(this.#lineTimer)
    this.#events.closed(reason)
  }
}
