import type { Writable } from 'node:stream'

/**
 * Where the narration goes. A reader that stops reading costs a bounded amount of memory and no time: what does
 * not fit is left out and counted. A reader that goes away (`| head`) is no reason for a server to stop.
 */
export class OperatorOutput {
  readonly #stream: Writable
  readonly #leftOutLine: (count: number) => string
  #leftOut = 0
  #isGone = false

  /** @param leftOutLine what stands in the place of lines that were left out, in the form of the others. */
  constructor(stream: Writable, leftOutLine: (count: number) => string) {
    this.#stream = stream
    this.#leftOutLine = leftOutLine
    // Node writes to a terminal synchronously: one that is stopped (Ctrl-S) would stop the whole server. Undocumented,
    // and where it is missing nothing is lost but this.
    const { _handle: handle } = stream as {
      readonly _handle?: { setBlocking?: (isBlocking: boolean) => number }
    }
    if ((stream as { readonly isTTY?: boolean }).isTTY === true) handle?.setBlocking?.(false)
    stream.on('error', () => {
      this.#isGone = true
    })
  }

  write(line: string): void {
    if (this.#isGone) return
    if (this.#stream.writableLength > waitingBytesMax) {
      this.#leftOut++
      return
    }
    if (this.#leftOut > 0) {
      this.#stream.write(`${this.#leftOutLine(this.#leftOut)}\n`)
      this.#leftOut = 0
    }
    this.#stream.write(`${line}\n`)
  }
}

const waitingBytesMax = 1 << 20
