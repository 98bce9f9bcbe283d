import type { Random } from '../durability/random.ts'
import { oneOf } from './choice.ts'

/** Lines as one stream; most of them end as lines should, and the last may not end at all. */
export function joined(lines: readonly Buffer[], random: Random): Buffer {
  const parts: Buffer[] = []
  for (const line of lines) parts.push(line, random.chance(0.8) ? newline : oneOf(lineEnds, random))
  return Buffer.concat(parts)
}

/** A stream in chunks that are cut anywhere: in the middle of a line, of a character, of nothing at all. */
export function chunksOf(stream: Buffer, random: Random): readonly Buffer[] {
  if (random.chance(0.5)) return [stream]
  const chunks: Buffer[] = []
  // Byte by byte, a long stream would take the whole run.
  const chunkBytesMax = stream.length > 4_096 ? stream.length : oneOf([1, 3, 20, 300], random)
  for (let at = 0; at < stream.length;) {
    const end = Math.min(stream.length, at + random.between(1, chunkBytesMax))
    chunks.push(stream.subarray(at, end))
    at = end
  }
  return chunks
}

const newline = Buffer.from('\n')

const lineEnds: readonly Buffer[] = ['\n', '\r\n', '\n\n', '\r\r\n', ' \t\n \r\n', '', '\r'].map((end) =>
  Buffer.from(end),
)
