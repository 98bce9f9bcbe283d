import ndjson from 'ndjson'
import { performance } from 'node:perf_hooks'
import type * as limitsModule from '../../src/protocol/limits.ts'
import type * as decoderModule from '../../src/protocol/line-decoder.ts'
import { runErrand } from './run-errand.ts'

/** How long the pieces are in which the lines come. */
export interface FramingPlan {
  readonly chunkBytes: number
}

export interface FramingReport {
  /** Messages a second. */
  readonly ours: number
  readonly ndjson: number
  /** For a line of 1 MiB in such pieces. */
  readonly longLineMs: number
}

runErrand(async ({ chunkBytes }: FramingPlan, modules): Promise<FramingReport> => {
  const { LineDecoder } = await modules<typeof decoderModule>('protocol/line-decoder')
  const { lineBytesMax } = await modules<typeof limitsModule>('protocol/limits')

  function withDecoder(chunks: readonly Buffer[]): number {
    const decoder = new LineDecoder()
    let count = 0
    for (const chunk of chunks) {
      for (const line of decoder.push(chunk)) if (JSON.parse(line.text) !== null) count++
    }
    return count
  }

  /** The guards: `maxLength` bounds the unfinished tail only, and a line `null` would end the parser. */
  function withNdjson(chunks: readonly Buffer[]): number {
    // The option is split2's, to which ndjson hands all of them; its types do not know it.
    const options = { strict: true, maxLength: lineBytesMax }
    const parser = ndjson.parse(options)
    let count = 0
    parser.on('data', (parsed: unknown) => {
      if (parsed !== null) count++
    })
    parser.on('error', (error: Error) => {
      throw error
    })
    for (const chunk of chunks) parser.write(chunk)
    return count
  }

  const chunks = chunksOf(messages(), chunkBytes)
  const best = { ours: 0, ndjson: 0 }
  for (let turn = 0; turn < turns; turn++) {
    for (const [kind, work] of [
      ['ours', withDecoder],
      ['ndjson', withNdjson],
    ] as const) {
      const beganMs = performance.now()
      const count = work(chunks)
      best[kind] = Math.max(best[kind], (1e3 * count) / (performance.now() - beganMs))
    }
  }
  let longLineMs = Infinity
  for (let turn = 0; turn < turns; turn++) {
    const decoder = new LineDecoder()
    const beganMs = performance.now()
    for (const chunk of chunksOf(Buffer.alloc(lineBytesMax, 'x'), chunkBytes)) {
      decoder.push(chunk)
      decoder.next()
    }
    longLineMs = Math.min(longLineMs, performance.now() - beganMs)
  }
  return { ...best, longLineMs }
})

/** Of all the best is told: what disturbs one only ever adds. */
const turns = 15

function messages(): Buffer {
  const lines = Array.from({ length: 50_000 }, (_, id) =>
    JSON.stringify({ jsonrpc: '2.0', id, method: 'write', params: { key: `user:${id}`, value } }),
  )
  return Buffer.from(`${lines.join('\n')}\n`)
}

const value = 'x'.repeat(100)

function chunksOf(stream: Buffer, bytes: number): readonly Buffer[] {
  const chunks: Buffer[] = []
  for (let start = 0; start < stream.length; start += bytes)
    chunks.push(stream.subarray(start, start + bytes))
  return chunks
}
