import type { Random } from '../durability/random.ts'
import { oneOf } from './choice.ts'

/**
 * Bytes with something changed that no printer of JSON would: bits flipped, a part cut out, told twice or taken from
 * elsewhere, bytes in between that are no UTF-8, or a byte order mark, a NUL, a line end.
 */
export function garbled(bytes: Buffer, random: Random): Buffer {
  const at = random.between(0, bytes.length)
  const end = Math.min(bytes.length, at + random.between(1, 16))
  const [head, part, tail] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)]
  switch (random.between(0, 6)) {
    case 0: {
      const flipped = Buffer.from(bytes)
      const place = Math.min(at, bytes.length - 1)
      if (place >= 0) flipped[place] = (bytes[place] as number) ^ (1 << random.between(0, 7))
      return flipped
    }
    case 1:
      return head
    case 2:
      return Buffer.concat([head, tail])
    case 3:
      return Buffer.concat([head, part, part, tail])
    case 4: {
      const from = random.between(0, bytes.length)
      return Buffer.concat([head, bytes.subarray(from, from + random.between(1, 40)), tail])
    }
    case 5: {
      const overwritten = Buffer.from(bytes)
      overwritten.fill(random.between(0, 255), at, end)
      return overwritten
    }
    default:
      return Buffer.concat([head, oneOf(insertions, random), bytes.subarray(at)])
  }
}

const insertions: readonly Buffer[] = [
  [0x00],
  [0x0a],
  [0x0d],
  [0x0d, 0x0a],
  [0x20],
  [0x09],
  [0x22],
  [0x5c],
  [0x5c, 0x22],
  [0x5b],
  [0x7d],
  [0x2c],
  [0x80],
  [0xc0, 0xaf],
  [0xe2, 0x82],
  [0xed, 0xa0, 0x80],
  [0xef, 0xbb, 0xbf],
  [0xef, 0xbf, 0xbf],
  [0xf0, 0x9f, 0x98, 0x80],
  [0xf5, 0x80, 0x80, 0x80],
  [0xff],
  [0x1b, 0x5b, 0x32, 0x4a],
].map((bytes) => Buffer.from(bytes))
