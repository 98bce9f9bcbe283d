import { connect as connectSocket, type Socket } from 'node:net'
import { showAddress, type Address } from '../protocol/address.ts'
import { connectionFault } from '../protocol/connection-fault.ts'
import { ProtocolError } from '../protocol/errors.ts'
import { parseRpcLine, type RpcMessage } from '../protocol/json-rpc.ts'
import { replyBytesMax } from '../protocol/limits.ts'
import { LineDecoder, type Line } from '../protocol/line-decoder.ts'
import { errorFromServer, TidingsError } from './tidings-error.ts'

/** What a connection's owner is told. Nothing is told after `closed`. */
export interface ConnectionEvents {
  /** @param bytes the length of the line that it came in. */
  message(message: RpcMessage, bytes: number): void
  closed(error: TidingsError): void
}

/**
 * One TCP connection to one server: lines out, messages in. It is used once; whoever wants another connection
 * makes another one.
 *
 * What is sent in one turn of the event loop leaves in one write.
 */
export class Connection {
  readonly address: Address
  readonly #socket: Socket
  readonly #events: ConnectionEvents
  readonly #decoder = new LineDecoder({ lineBytesMax: replyBytesMax })
  #outbox: string[] = []
  #flushIsDue = false
  #isConnected = false
  #isPaused = false
  #hasEnded = false
  #isClosed = false

  constructor(address: Address, events: ConnectionEvents) {
    this.address = address
    this.#events = events
    this.#socket = connectSocket({ host: address.host, port: address.port })
    this.#socket.setNoDelay(true)
    // A server that vanished without a word is noticed in the end, also by a watch that never asks for anything.
    this.#socket.setKeepAlive(true, keepAliveMs)
    this.#socket.on('connect', () => {
      this.#isConnected = true
    })
    this.#socket.on('data', (chunk: Buffer) => {
      this.#decoder.add(chunk)
      this.#readLines()
    })
    this.#socket.on('end', () => {
      this.#hasEnded = true
      this.#readLines()
    })
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#close(this.#broken(error)))
    this.#socket.on('close', () => this.#close(this.#broken(undefined)))
  }

  /** Queues a line, its `\n` included, until the end of this turn of the event loop. */
  send(line: string): void {
    this.#outbox.push(line)
    if (this.#flushIsDue) return
    this.#flushIsDue = true
    setImmediate(() => {
      this.#flushIsDue = false
      if (!this.#isClosed) this.#socket.write(this.#outbox.join(''))
      this.#outbox = []
    })
  }

  /** Reads no more until {@link resume}: TCP tells the server, and the server stops pushing. */
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

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** Ends the connection; what has been sent still leaves. Nothing is told about it. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    if (!this.#isConnected) {
      this.#socket.destroy()
      return
    }
    if (this.#outbox.length > 0) this.#socket.write(this.#outbox.join(''))
    this.#outbox = []
    // A server that does not close its side is not waited for.
    this.#socket.removeAllListeners('data')
    this.#socket.resume()
    this.#socket.end(() => this.#socket.destroy())
    this.#socket.unref()
  }

  /** Gives the connection up because of what the owner has found wrong with it. */
  fail(error: TidingsError): void {
    this.#close(error)
  }

  #readLines(): void {
    try {
      while (!this.#isPaused && !this.#isClosed) {
        const line = this.#decoder.next() ?? (this.#hasEnded ? this.#decoder.end() : undefined)
        if (line === undefined) break
        this.#readLine(line)
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#close(this.#unintelligible(error))
      return
    }
    if (this.#isPaused || this.#isClosed) return
    if (this.#hasEnded) this.#close(this.#broken(undefined))
    else this.#socket.resume()
  }

  #readLine({ text, bytes }: Line): void {
    const line = parseRpcLine(text, { sender: 'server' })
    for (const message of line.isBatch ? line.messages : [line.message]) {
      if (this.#isClosed) return
      if (message.kind === 'invalid') throw message.error
      // An error about no request in particular is the reason why the server is about to close.
      if (message.kind === 'response' && message.id === null && 'error' in message.outcome) {
        this.#close(errorFromServer(message.outcome.error))
        return
      }
      this.#events.message(message, bytes)
    }
  }

  #broken(error: NodeJS.ErrnoException | undefined): TidingsError {
    const where = showAddress(this.address)
    const cause = error === undefined ? {} : { cause: error }
    if (this.#isConnected) {
      // A server that was killed and one that closed in order look the same from here; one that leaves says so first.
      const isPlain = error === undefined || error.code === 'ECONNRESET' || error.code === 'EPIPE'
      const reason = isPlain ? '' : ` (${connectionFault(error)})`
      return new TidingsError('ERR_CONNECTION_LOST', `the connection to ${where} broke${reason}`, cause)
    }
    const reason = error === undefined ? 'closed at once' : connectionFault(error)
    const message =
      error?.code === 'ECONNREFUSED'
        ? `nothing listens on ${where} (${reason}); is the server started?`
        : `cannot reach ${where} (${reason})`
    return new TidingsError('ERR_CANNOT_CONNECT', message, cause)
  }

  #unintelligible(error: ProtocolError): TidingsError {
    const where = showAddress(this.address)
    return new TidingsError(
      'ERR_NOT_TIDINGS',
      `what listens on ${where} is no Tidings server: ${error.message}`,
      {
        cause: error,
      },
    )
  }

  #close(error: TidingsError): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.destroy()
    this.#events.closed(error)
  }
}

const keepAliveMs = 15_000
