import { createWriteStream, type WriteStream } from 'node:fs'
import type { HistoryLine, SeenVersion } from '../../src/check/history-line.ts'

/**
 * Writes a history, one JSON object a line, while it happens. What clients record has not been looked at: whatever an
 * answer says is what is written.
 */
export class Recorder {
  readonly path: string
  readonly #stream: WriteStream
  #text = ''
  #lines = 0
  #versions = new Map<string, SeenVersion>()
  #drained: Promise<void> | undefined

  constructor(path: string) {
    this.path = path
    this.#stream = createWriteStream(path, { highWaterMark: 1 << 20 })
  }

  get lines(): number {
    return this.#lines
  }

  record(line: HistoryLine): void {
    this.#lines++
    if (line.op === 'txn') for (const { version } of line.ops) this.#note(version)
    else this.#note(line.version)
    this.#text += `${JSON.stringify(line)}\n`
    if (this.#text.length > chunkLength) this.#flush()
  }

  /** The versions that were recorded since it was asked last, each once. */
  takeVersions(): readonly SeenVersion[] {
    const versions = [...this.#versions.values()]
    this.#versions.clear()
    return versions
  }

  /** Resolves when there is room for more; whoever records much waits for it. */
  async room(): Promise<void> {
    await this.#drained
  }

  async close(): Promise<void> {
    this.#flush()
    await new Promise<void>((resolve, reject) => {
      this.#stream.once('error', reject)
      this.#stream.end(resolve)
    })
  }

  #note(version: SeenVersion | null | undefined): void {
    if (version !== undefined && version !== null) this.#versions.set(version.join('@'), version)
  }

  #flush(): void {
    const text = this.#text
    this.#text = ''
    if (this.#stream.write(text) || this.#drained !== undefined) return
    this.#drained = new Promise((resolve) => {
      this.#stream.once('drain', () => {
        this.#drained = undefined
        resolve()
      })
    })
  }
}

const chunkLength = 65_536
