import type { Writable } from 'node:stream'

/**
 * Where the narration goes. A reader that stops reading costs a bounded amount of memory and no time: what does
 * not fit is left out and counted. A reader that goes away (`| head`) is no reason for a server to stop.
 */
export class OperatorOutput {
  readonly #stream: Writable
  #leftOut = 0
  #isGone = false

  constructor(stream: Writable) {
    this.#stream = stream
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
      this.#stream.write(`… ${this.#leftOut} lines left out: the output was not read in time\n`)
      this.#leftOut = 0
    }
    this.#stream.write(`${line}\n`)
  }
}

const waitingBytesMax = 1 << 20
