import { crc32 } from 'node:zlib'

/**
 * How one record of the commit log lies on a disk, and what can be said of one that is not whole.
 *
 *     0   length of what follows the head, its last byte included; the two highest bits: the last, the first of its commit
 *     4   number of its commit, the lowest 32 bits
 *     8   CRC-32 of what follows the head
 *     12  CRC-32 of the 12 bytes before
 *     16  a part of a commit's text, and a line feed
 *
 * Records begin at multiples of 16 in a file that was zeros before. So a head lies in one sector, which a disk writes
 * wholly or not at all, and a record of which a crash has left a part shows it: one of its sectors is still zeros, or
 * its end is. No text has a zero byte and the last byte is always the same, so no bit that has turned over makes a whole
 * record look like that. What is neither whole nor begun nor untouched has been damaged.
 */

/** Where records may begin, in bytes. */
const alignment = 16

export const headBytes = 16

/** The most of a commit's text that one record takes: read and checked in a moment. */
export const partBytesMax = 1 << 20

/** What a record of so much text takes of a file. */
export function recordBytes(textBytes: number): number {
  return alignedUp(headBytes + textBytes + 1)
}

/** What says that the log goes on in the next file. */
export const markerBytes = recordBytes(0)

/** Where a record stands in its commit. */
export interface RecordPlace {
  /** The number of its commit. */
  readonly commit: number
  readonly isFirst: boolean
  readonly isLast: boolean
}

/**
 * Writes a record into bytes that are zeros, with a text of at most {@link partBytesMax}.
 *
 * @returns where the next may begin.
 */
export function putRecord(into: Buffer, start: number, text: Buffer, place: RecordPlace): number {
  const length = text.length + 1
  const body = start + headBytes
  text.copy(into, body)
  into[body + text.length] = lineFeed
  const flags = (place.isLast ? lastFlag : 0) + (place.isFirst ? firstFlag : 0)
  into.writeUInt32LE(flags + length, start)
  into.writeUInt32LE(lowBits(place.commit), start + 4)
  into.writeUInt32LE(crc32(into.subarray(body, body + length)), start + 8)
  into.writeUInt32LE(crc32(into.subarray(start, start + 12)), start + 12)
  return start + recordBytes(text.length)
}

/** What a record says of the number of its commit. */
export function lowBits(commit: number): number {
  return commit % 2 ** 32
}

export interface WholeRecord {
  readonly kind: 'whole'
  /** The {@link lowBits} of its commit's number. */
  readonly commit: number
  readonly isFirst: boolean
  readonly isLast: boolean
  readonly text: Buffer
  /** Where the next may begin. */
  readonly end: number
}

/**
 * What stands at a place where a record may begin: one that is whole; nothing, for want of room perhaps; one that a
 * crash has interrupted; or something that no crash leaves.
 */
export type RecordFound = WholeRecord | { readonly kind: 'none' | 'begun' | 'damaged' }

export function recordAt(bytes: Buffer, start: number): RecordFound {
  const body = start + headBytes
  if (body > bytes.length || isZeros(bytes, start, body)) return none
  if (!isHeadWhole(bytes, start)) {
    return isZeros(bytes, body, Math.min(body + alignment, bytes.length)) ? begun : damaged
  }
  const lengthAndFlags = bytes.readUInt32LE(start)
  const length = lengthAndFlags % firstFlag
  const end = body + length
  if (length < 1 || end > bytes.length) return damaged
  if (crc32(bytes.subarray(body, end)) !== bytes.readUInt32LE(start + 8)) {
    return isInPart(bytes, body, end) ? begun : damaged
  }
  return {
    kind: 'whole',
    commit: bytes.readUInt32LE(start + 4),
    isFirst: lengthAndFlags % lastFlag >= firstFlag,
    isLast: lengthAndFlags >= lastFlag,
    text: bytes.subarray(body, end - 1),
    end: alignedUp(end),
  }
}

/** The places from `start` on at which a record may begin. */
export function* placesFrom(start: number, end: number): Generator<number, void, undefined> {
  for (let place = alignedUp(start); place + headBytes < end; place += alignment) yield place
}

function isHeadWhole(bytes: Buffer, start: number): boolean {
  return crc32(bytes.subarray(start, start + 12)) === bytes.readUInt32LE(start + 12)
}

/** Whether all bytes from `start` up to `end` are zeros. */
export function isZeros(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at += zeros.length) {
    const upTo = Math.min(end, at + zeros.length)
    if (bytes.compare(zeros, 0, upTo - at, at, upTo) !== 0) return false
  }
  return true
}

function isInPart(bytes: Buffer, start: number, end: number): boolean {
  if (bytes[end - 1] === 0) return true
  for (let from = start; from < end;) {
    const to = Math.min(end, from - (from % sectorBytes) + sectorBytes)
    if (isZeros(bytes, from, to)) return true
    from = to
  }
  return false
}

function alignedUp(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment
}

const none = { kind: 'none' } as const
const begun = { kind: 'begun' } as const
const damaged = { kind: 'damaged' } as const

const lastFlag = 2 ** 31
const firstFlag = 2 ** 30
const lineFeed = 0x0a

/** What a disk writes wholly or not at all, at least. */
const sectorBytes = 512

const zeros = Buffer.alloc(4096)
