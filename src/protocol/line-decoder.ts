import { isAscii, isUtf8 } from 'node:buffer'
import { protocolError, type ProtocolError } from './errors.ts'
import { lineBytesMax } from './limits.ts'

/** One line of a stream, without its end. */
export interface Line {
  readonly text: string
  /** The length of the text in bytes of UTF-8. */
  readonly bytes: number
}

/** A line that is to be sent, in parts, of which some are bytes that are part of other lines, too. */
export type LineParts = readonly (string | Buffer)[]

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
  /** Chunks that wait until the lines before them have been taken. */
  readonly #chunks: Buffer[] = []
  /** Complete lines, each with its `\n`, from `#position` on: decoded at once, which costs a third of one by one. */
  #text = ''
  #position = 0
  /** Whether a unit of `#text` is a byte. */
  #isAscii = false
  /** Complete lines that are not all UTF-8, to be taken one by one up to the bad one. Follows `#text`. */
  #suspect: Buffer = nothing
  /** What the chunk in hand has after its last `\n`. Follows `#suspect`. */
  #rest: Buffer = nothing
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
    return this.#tailBytes > 0 || this.#rest.length > 0
  }

  /** Whether a line has ended that {@link next} has not come to; it may be blank. */
  get hasLine(): boolean {
    if (this.#position < this.#text.length || this.#suspect.length > 0) return true
    return this.#chunks.some((chunk) => chunk.includes(newline))
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
   * taken up again with {@link next}; nothing is lost. The chunk must not be written to afterwards.
   *
   * @throws ProtocolError from the loop, after the lines before: see {@link next}.
   */
  push(chunk: Buffer): Iterable<Line> {
    this.add(chunk)
    return this.#failed ? noLines : this.#lines()
  }

  /** As {@link push}, for whoever takes the lines with {@link next} alone. */
  add(chunk: Buffer): void {
    if (!this.#failed) this.#chunks.push(chunk)
  }

  /**
   * The next complete line, or undefined until more bytes come.
   *
   * @throws ProtocolError −32003 for a line longer than `lineBytesMax`, −32700 for one that is not UTF-8.
   */
  next(): Line | undefined {
    for (;;) {
      while (this.#position < this.#text.length) {
        const line = this.#takeFromText()
        if (line !== undefined) return line
      }
      while (this.#suspect.length > 0) {
        const end = this.#suspect.indexOf(newline)
        const part = this.#suspect.subarray(0, end)
        this.#suspect = this.#suspect.subarray(end + 1)
        const line = this.#decode(part)
        if (line !== undefined) return line
      }
      this.#keepTail()
      const chunk = this.#chunks.shift()
      if (chunk === undefined) return undefined
      const line = this.#open(chunk)
      if (line !== undefined) return line
    }
  }

  /**
   * The stream has ended: the last line, where it had no `\n`.
   *
   * @throws ProtocolError as {@link next}.
   */
  end(): Line | undefined {
    const line = this.next()
    if (line !== undefined || this.#tailBytes === 0) return line
    return this.#finishTail(nothing)
  }

  *#lines(): Generator<Line, void, undefined> {
    for (let line = this.next(); line !== undefined; line = this.next()) yield line
  }

  /** Cuts a chunk into the end of the unfinished line, complete lines, and a rest. @returns the first of these. */
  #open(chunk: Buffer): Line | undefined {
    const last = chunk.lastIndexOf(newline)
    this.#rest = partOf(chunk, last + 1, chunk.length)
    if (last === -1) return undefined
    const first = this.#tailBytes > 0 ? chunk.indexOf(newline) : -1
    const whole = partOf(chunk, first + 1, last + 1)
    this.#isAscii = isAscii(whole)
    this.#position = 0
    if (this.#isAscii) this.#text = whole.toString('latin1')
    else if (isUtf8(whole)) this.#text = whole.toString('utf8')
    else [this.#text, this.#suspect] = ['', whole]
    return first === -1 ? undefined : this.#finishTail(chunk.subarray(0, first))
  }

  /** @returns undefined for a blank line. */
  #takeFromText(): Line | undefined {
    const start = this.#position
    const end = this.#text.indexOf('\n', start)
    this.#position = end + 1
    const hasReturn = end > start && this.#text.charCodeAt(end - 1) === carriageReturn
    const text = this.#text.slice(start, hasReturn ? end - 1 : end)
    if (this.#position === this.#text.length) this.#text = ''
    return this.#line(text, this.#isAscii ? text.length : Buffer.byteLength(text))
  }

  /** Copies the unfinished rest of the chunk, so that the chunk's memory can go. */
  #keepTail(): void {
    const rest = this.#rest
    if (rest.length === 0) return
    this.#rest = nothing
    const bytes = this.#tailBytes + rest.length
    // The `\r` of a line end may be here already.
    if (bytes > this.lineBytesMax + 1) throw this.#fail(this.#tooLong())
    if (bytes > this.#tail.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(Math.max(2 * bytes, 256), this.lineBytesMax + 1))
      this.#tail.copy(larger, 0, 0, this.#tailBytes)
      this.#tail = larger
    }
    rest.copy(this.#tail, this.#tailBytes)
    this.#tailBytes = bytes
  }

  /** The line that earlier chunks began and this part ends. */
  #finishTail(part: Buffer): Line | undefined {
    const bytes = this.#tailBytes + part.length
    if (bytes > this.lineBytesMax + 1) throw this.#fail(this.#tooLong())
    const whole = Buffer.concat([this.#tail.subarray(0, this.#tailBytes), part], bytes)
    this.#tailBytes = 0
    if (this.#tail.length > keptTailBytesMax) this.#tail = nothing
    return this.#decode(whole)
  }

  #decode(line: Buffer): Line | undefined {
    const bytes = line.length > 0 && line[line.length - 1] === carriageReturn ? line.length - 1 : line.length
    if (bytes <= this.lineBytesMax && !isUtf8(line)) {
      const message = `line ${this.#lineNumber} is not UTF-8, so it is no JSON; send UTF-8`
      throw this.#fail(protocolError('parse', message, { id: null }))
    }
    return this.#line(line.toString('utf8', 0, bytes), bytes)
  }

  /** @returns undefined for a blank line. */
  #line(text: string, bytes: number): Line | undefined {
    if (bytes > this.lineBytesMax) throw this.#fail(this.#tooLong())
    this.#lineNumber++
    // Almost every line begins with a bracket.
    return text.charCodeAt(0) > 0x20 || !isBlank(text) ? { text, bytes } : undefined
  }

  #tooLong(): ProtocolError {
    const message =
      `line ${this.#lineNumber} is longer than ${this.lineBytesMax} bytes; ` +
      'send smaller values, or fewer writes in one batch'
    return protocolError('lineTooLong', message, { data: { lineBytesMax: this.lineBytesMax }, id: null })
  }

  #fail(error: ProtocolError): ProtocolError {
    this.#failed = true
    this.#chunks.length = 0
    this.#text = ''
    this.#position = 0
    this.#suspect = nothing
    this.#rest = nothing
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

/** As `subarray`; but most chunks are whole lines, and to make a view of nothing or of everything costs as much as of a part. */
function partOf(chunk: Buffer, start: number, end: number): Buffer {
  if (start === end) return nothing
  return start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end)
}

function isBlank(text: string): boolean {
  return /^[ \t\r]*$/.test(text)
}
