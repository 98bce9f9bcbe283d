import { isUtf8 } from 'node:buffer'
import { protocolError, type ProtocolError } from './errors.ts'
import { lineBytesMax } from './limits.ts'

/** One line of a stream, without its end. */
export interface Line {
  readonly text: string
  /** The length of the text in bytes of UTF-8. */
  readonly bytes: number
}

/**
 * Bytes in, lines out: UTF-8, each line ended by `\n`; a `\r` before it belongs to the end. Lines of nothing but
 * spaces, tabs and `\r` are skipped.
 *
 * Bounded and linear: it holds no more than the unfinished line and the chunk in hand, refuses a line as soon as
 * it is longer than `lineBytesMax`, and looks at each byte once however the stream is cut into chunks.
 *
 * A last line without `\n` counts as a line when the stream ends ({@link end}): `printf '…' | nc` sends one.
 *
 * Lines are taken out one by one, so the owner may stop in the middle of a chunk and go on later. After an error
 * the rest of the stream is worthless, and the decoder yields nothing more.
 */
export class LineDecoder {
  /** May be changed between lines: a connection is allowed more once it is known who it is. */
  lineBytesMax: number
  /** What is being read, from `#position` on; all before it has been taken or copied. */
  #chunk: Buffer = nothing
  #position = 0
  /** The unfinished line that earlier chunks began: the first `#tailBytes` of a buffer that grows by doubling. */
  #tail: Buffer = nothing
  #tailBytes = 0
  #lineNumber = 1
  #failed = false

  constructor(options: { readonly lineBytesMax?: number } = {}) {
    this.lineBytesMax = options.lineBytesMax ?? lineBytesMax
  }

  /** Whether a line has begun and not ended. Exact once {@link next} has returned undefined. */
  get unfinished(): boolean {
    return this.#tailBytes > 0 || this.#position < this.#chunk.length
  }

  /**
   * The number of the line that is unfinished or comes next, from 1, blank ones counted. Whoever bounds the time
   * that a line may take starts again when this has changed.
   */
  get lineNumber(): number {
    return this.#lineNumber
  }

  /**
   * Takes the next bytes of the stream, and offers the lines that are complete now. The loop may be left and
   * taken up again with {@link next}; nothing is lost.
   *
   * @throws ProtocolError from the loop, after the lines before: see {@link next}.
   */
  push(chunk: Buffer): Iterable<Line> {
    if (this.#failed) return noLines
    this.#chunk =
      this.#position < this.#chunk.length
        ? Buffer.concat([this.#chunk.subarray(this.#position), chunk])
        : chunk
    this.#position = 0
    return this.#lines()
  }

  /**
   * The next complete line, or undefined until more bytes come.
   *
   * @throws ProtocolError −32003 for a line longer than `lineBytesMax`, −32700 for one that is not UTF-8.
   */
  next(): Line | undefined {
    while (this.#position < this.#chunk.length) {
      const end = this.#chunk.indexOf(newline, this.#position)
      if (end === -1) {
        this.#keepTail()
        return undefined
      }
      const part = this.#chunk.subarray(this.#position, end)
      this.#position = end + 1
      const line = this.#finish(part)
      if (line !== undefined) return line
    }
    return undefined
  }

  /**
   * The stream has ended: the last line, where it had no `\n`.
   *
   * @throws ProtocolError as {@link next}.
   */
  end(): Line | undefined {
    const line = this.next()
    if (line !== undefined || this.#tailBytes === 0) return line
    return this.#finish(nothing)
  }

  *#lines(): Generator<Line, void, undefined> {
    for (let line = this.next(); line !== undefined; line = this.next()) yield line
  }

  /** Copies the unfinished rest of the chunk, so that the chunk's memory can go. */
  #keepTail(): void {
    const rest = this.#chunk.subarray(this.#position)
    this.#chunk = nothing
    this.#position = 0
    const bytes = this.#tailBytes + rest.length
    // The `\r` of a line end may be here already.
    if (bytes > this.lineBytesMax + 1) throw this.#fail(this.#tooLong())
    if (bytes > this.#tail.length) {
      const larger = Buffer.allocUnsafe(Math.min(Math.max(2 * bytes, 256), this.lineBytesMax + 1))
      this.#tail.copy(larger, 0, 0, this.#tailBytes)
      this.#tail = larger
    }
    rest.copy(this.#tail, this.#tailBytes)
    this.#tailBytes = bytes
  }

  /** @returns undefined for a blank line. */
  #finish(part: Buffer): Line | undefined {
    let whole = part
    if (this.#tailBytes > 0) {
      whole = Buffer.concat([this.#tail.subarray(0, this.#tailBytes), part])
      this.#tailBytes = 0
      if (this.#tail.length > keptTailBytesMax) this.#tail = nothing
    }
    const bytes =
      whole.length > 0 && whole[whole.length - 1] === carriageReturn ? whole.length - 1 : whole.length
    if (bytes > this.lineBytesMax) throw this.#fail(this.#tooLong())
    if (isBlank(whole)) {
      this.#lineNumber++
      return undefined
    }
    if (!isUtf8(whole)) {
      const message = `line ${this.#lineNumber} is not UTF-8, so it is no JSON; send UTF-8`
      throw this.#fail(protocolError('parse', message, { id: null }))
    }
    this.#lineNumber++
    return { text: whole.toString('utf8', 0, bytes), bytes }
  }

  #tooLong(): ProtocolError {
    const message =
      `line ${this.#lineNumber} is longer than ${this.lineBytesMax} bytes; ` +
      'send smaller values, or fewer writes in one batch'
    return protocolError('lineTooLong', message, { data: { lineBytesMax: this.lineBytesMax }, id: null })
  }

  #fail(error: ProtocolError): ProtocolError {
    this.#failed = true
    this.#chunk = nothing
    this.#position = 0
    this.#tail = nothing
    this.#tailBytes = 0
    return error
  }
}

const newline = 0x0a
const carriageReturn = 0x0d
const nothing: Buffer = Buffer.alloc(0)
const noLines: readonly Line[] = []

/** A tail buffer larger than this is not kept for the next line: few lines are long, and connections are many. */
const keptTailBytesMax = 16 << 10

function isBlank(line: Buffer): boolean {
  for (const byte of line) {
    if (byte !== 0x20 && byte !== 0x09 && byte !== carriageReturn) return false
  }
  return true
}
