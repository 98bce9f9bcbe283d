/**
 * Passes a stream of lines on as it comes, and puts other text into the few that tell addresses: the first line, which is
 * a greeting or its answer, and every `peer.members`.
 *
 * All other lines go through without being held up or looked at beyond their first bytes.
 */
export class AddressRewriter {
  readonly #rewrite: (line: string) => string
  #isFirst = true
  #mode: 'deciding' | 'collecting' | 'passing' = 'deciding'
  /** The line that is being decided on or collected, as far as it has come. */
  #parts: Buffer[] = []

  /** @param rewrite is given a line without its end. */
  constructor(rewrite: (line: string) => string) {
    this.#rewrite = rewrite
  }

  /** @returns what may be passed on now. */
  push(chunk: Buffer): Buffer {
    const passed: Buffer[] = []
    let rest = chunk
    while (rest.length > 0) {
      const end = rest.indexOf(lineFeed) + 1
      const part = end === 0 ? rest : rest.subarray(0, end)
      rest = rest.subarray(part.length)
      if (this.#mode === 'passing') passed.push(part)
      else this.#keep(part, end > 0, passed)
      if (end > 0) this.#mode = 'deciding'
    }
    return passed.length === 1 ? (passed[0] as Buffer) : Buffer.concat(passed)
  }

  #keep(part: Buffer, isEnd: boolean, passed: Buffer[]): void {
    this.#parts.push(part)
    const line = Buffer.concat(this.#parts)
    if (this.#mode === 'deciding' && !this.#isFirst) {
      if (line.length < decidedBy && !isEnd) return
      if (!line.subarray(0, decidedBy).includes(membersMethod)) {
        this.#parts = []
        this.#mode = 'passing'
        passed.push(line)
        return
      }
    }
    this.#mode = 'collecting'
    if (!isEnd) return
    this.#parts = []
    this.#isFirst = false
    passed.push(Buffer.from(`${this.#rewrite(line.toString('utf8').trimEnd())}\n`))
  }
}

const lineFeed = 10
const membersMethod = '"peer.members"'
/** The method stands within so many bytes. */
const decidedBy = 64
