import { isUtf8 } from 'node:buffer'
import { HistoryFault, type HistoryLine } from './history-line.ts'
import { parseLine } from './line-parser.ts'

/**
 * Longer than any line of a history needs to be: a read of a thousand keys, or a batch of ten thousand writes. A file
 * without line ends is refused before it fills the memory.
 */
const lineBytesMax = 16 << 20

/**
 * Cuts bytes into lines and reads each. Blank lines count, and say nothing. The last line need not be ended.
 *
 * `ndjson` is not used here. It would leave out what this command is there to say: a line that is no JSON comes as an error
 * without its number, blank lines are skipped uncounted, a line `null` ends its parser without a word, so that the rest of a
 * history would pass unseen, and its limit is no limit for a long line that comes in one piece.
 */
export class HistoryReader {
  readonly #take: (line: HistoryLine, number: number) => void
  /** The beginning of a line whose end has not come. */
  #pending: Uint8Array[] = []
  #pendingBytes = 0
  #lines = 0
  #taken = 0

  /** @param take is given each line, and its number from 1. */
  constructor(take: (line: HistoryLine, number: number) => void) {
    this.#take = take
  }

  /** @throws HistoryFault for the first line that is none of a history. */
  write(chunk: Uint8Array): void {
    let start = 0
    for (let end = chunk.indexOf(lineFeed); end !== -1; end = chunk.indexOf(lineFeed, start)) {
      this.#endLine(chunk.subarray(start, end))
      start = end + 1
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start))
  }

  /** @throws HistoryFault as `write` does, and where there was no line at all. */
  end(): void {
    if (this.#pendingBytes > 0) this.#endLine(new Uint8Array())
    if (this.#taken === 0)
      throw new HistoryFault(Math.max(1, this.#lines), 'there is nothing here: not one line')
  }

  #keep(part: Uint8Array): void {
    this.#pendingBytes += part.length
    if (this.#pendingBytes > lineBytesMax) throw this.#tooLong()
    this.#pending.push(part)
  }

  #endLine(rest: Uint8Array): void {
    if (this.#pendingBytes + rest.length > lineBytesMax) throw this.#tooLong()
    const bytes =
      this.#pendingBytes === 0
        ? Buffer.from(rest.buffer, rest.byteOffset, rest.length)
        : Buffer.concat([...this.#pending, rest])
    this.#pending = []
    this.#pendingBytes = 0
    const number = ++this.#lines
    const text = bytes.toString('utf8')
    // A character that stands for what is no UTF-8 may also stand for itself.
    if (text.includes('\ufffd') && !isUtf8(bytes)) throw new HistoryFault(number, 'is no UTF-8')
    if (text.trim() === '') return
    this.#taken++
    this.#take(parseLine(text, number), number)
  }

  #tooLong(): HistoryFault {
    return new HistoryFault(
      this.#lines + 1,
      `is longer than ${lineBytesMax} bytes; a history is one event a line`,
    )
  }
}

const lineFeed = 0x0a
