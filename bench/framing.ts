/**
 * Our line decoder next to `ndjson.parse` with the guards that it needs, on the same chunks: both parse each
 * line, both refuse long lines.
 *
 *     npx tsx bench/framing.ts
 */
import ndjson from 'ndjson'
import { LineDecoder } from '../src/protocol/line-decoder.ts'
import { lineBytesMax } from '../src/protocol/limits.ts'

const message = (id: number): string =>
  `${JSON.stringify({ jsonrpc: '2.0', id, method: 'write', params: { key: `user:${id}`, value: 'x'.repeat(100) } })}\n`
const stream = Buffer.from(Array.from({ length: 50_000 }, (_, id) => message(id)).join(''))

function chunksOf(bytes: number): readonly Buffer[] {
  const chunks: Buffer[] = []
  for (let start = 0; start < stream.length; start += bytes)
    chunks.push(stream.subarray(start, start + bytes))
  return chunks
}

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

/** Messages per second, the best of interleaved rounds. */
for (const chunkBytes of [64 * 1024, 4 * 1024, 172]) {
  const chunks = chunksOf(chunkBytes)
  const best = { decoder: 0, ndjson: 0 }
  for (let round = 0; round < 15; round++) {
    for (const [kind, work] of [
      ['decoder', withDecoder],
      ['ndjson', withNdjson],
    ] as const) {
      const start = process.hrtime.bigint()
      const count = work(chunks)
      const seconds = Number(process.hrtime.bigint() - start) / 1e9
      best[kind] = Math.max(best[kind], count / seconds)
    }
  }
  process.stdout.write(
    `chunks of ${String(chunkBytes).padStart(5)} bytes: ours ${Math.round(best.decoder / 1_000)},000/s, ` +
      `ndjson ${Math.round(best.ndjson / 1_000)},000/s: ndjson reaches ${(best.ndjson / best.decoder).toFixed(2)} of ours\n`,
  )
}

/** One line of 1 MiB in ever smaller chunks: linear, so the time hardly rises until the calls themselves count. */
const long = Buffer.alloc(lineBytesMax, 'x')
for (const chunkBytes of [64 * 1024, 1024, 64, 1]) {
  const decoder = new LineDecoder()
  const start = process.hrtime.bigint()
  for (let at = 0; at < long.length; at += chunkBytes) {
    decoder.push(long.subarray(at, at + chunkBytes))
    decoder.next()
  }
  const ms = Number(process.hrtime.bigint() - start) / 1e6
  process.stdout.write(`a line of 1 MiB in chunks of ${chunkBytes}: ${ms.toFixed(1)} ms\n`)
}
