import type { JsonValue, Write } from './update.ts'

/**
 * A number that stands for the writes of a request, to tell a retry from another request under the same number (R10).
 *
 * The writes are walked as a sequence of words that could be decoded again: everything begins with its tag, and what
 * may have any length with that. So different writes make different sequences, and only the mixing can make them
 * meet: about once in 2⁵³ pairs by accident, and at will for who wants it, as this is no cryptographic hash. All that
 * comes of a collision is that a client's own mistake, a number used twice for different writes, goes unnoticed: the
 * second is answered as the first. It depends on nothing but the writes as they are on the wire, so it is the same on
 * every replica; it is stored and sent, so a change to it is a change of the protocol.
 *
 * The members of an object count in their order: a retry sends what was sent before.
 *
 * @returns a safe integer, at least 0.
 */
export function fingerprintOf(writes: readonly Write[]): number {
  const digest = new Digest()
  digest.addWord(writes.length)
  for (const write of writes) {
    digest.addText(write.key)
    if (write.deleted === true) digest.addWord(tags.tombstone)
    else addValue(digest, write.value)
  }
  return digest.result()
}

/** Recursion goes as deep as the value, which the protocol bounds. */
function addValue(digest: Digest, value: JsonValue): void {
  switch (typeof value) {
    case 'string':
      digest.addWord(tags.string)
      digest.addText(value)
      return
    case 'number':
      addNumber(digest, value)
      return
    case 'boolean':
      digest.addWord(value ? tags.true : tags.false)
      return
    default:
  }
  if (value === null) {
    digest.addWord(tags.null)
  } else if (isList(value)) {
    digest.addWord(tags.list)
    digest.addWord(value.length)
    for (const item of value) addValue(digest, item)
  } else {
    const names = Object.keys(value)
    digest.addWord(tags.object)
    digest.addWord(names.length)
    for (const name of names) {
      digest.addText(name)
      addValue(digest, value[name] as JsonValue)
    }
  }
}

function addNumber(digest: Digest, value: number): void {
  if (Number.isSafeInteger(value)) {
    // Minus zero counts as zero, which is what becomes of it in JSON.
    digest.addWord(tags.integer)
    digest.addWord(value | 0)
    digest.addWord(Math.floor(value / 2 ** 32))
  } else {
    digest.addWord(tags.fraction)
    bits.setFloat64(0, value)
    digest.addWord(bits.getInt32(0))
    digest.addWord(bits.getInt32(4))
  }
}

/** To look at the bits of a number; a view, as its order of bytes is the same on every machine. */
const bits = new DataView(new ArrayBuffer(8))

/** `Array.isArray` alone does not narrow a readonly array. */
function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value)
}

/** What a sequence of words goes on with. */
const tags = {
  tombstone: 1,
  null: 2,
  false: 3,
  true: 4,
  integer: 5,
  fraction: 6,
  string: 7,
  list: 8,
  object: 9,
} as const

/**
 * Two lanes of 32 bits, each mixed as MurmurHash3 (Appleby 2011) does, with multipliers and rotations of their own.
 * Each step is a bijection of its lane, so nothing that was told apart is lost but by the cut to 53 bits at the end.
 */
class Digest {
  #low = 0x2f6a_91c3
  #high = 0x5bd1_e995

  /** @param word its lower 32 bits count. */
  addWord(word: number): void {
    this.#low = mixLow(this.#low, word)
    this.#high = mixHigh(this.#high, word)
  }

  /** The length, and then two UTF-16 units to the word. */
  addText(text: string): void {
    const { length } = text
    let low = mixLow(this.#low, length)
    let high = mixHigh(this.#high, length)
    const paired = length - (length % 2)
    for (let index = 0; index < paired; index += 2) {
      const word = text.charCodeAt(index) | (text.charCodeAt(index + 1) << 16)
      low = mixLow(low, word)
      high = mixHigh(high, word)
    }
    if (paired < length) {
      const word = text.charCodeAt(paired)
      low = mixLow(low, word)
      high = mixHigh(high, word)
    }
    this.#low = low
    this.#high = high
  }

  result(): number {
    const low = finish(this.#low)
    const high = finish(this.#high ^ low)
    return (high >>> 11) * 2 ** 32 + (finish(low ^ high) >>> 0)
  }
}

function mixLow(lane: number, word: number): number {
  const scrambled = Math.imul(word, 0xcc9e_2d51)
  const mixed = lane ^ Math.imul((scrambled << 15) | (scrambled >>> 17), 0x1b87_3593)
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe654_6b64) | 0
}

function mixHigh(lane: number, word: number): number {
  const scrambled = Math.imul(word, 0x85eb_ca77)
  const mixed = lane ^ Math.imul((scrambled << 18) | (scrambled >>> 14), 0xc2b2_ae3d)
  return (Math.imul((mixed << 11) | (mixed >>> 21), 9) + 0x38b3_4ae5) | 0
}

/** Makes every bit depend on every other. */
function finish(lane: number): number {
  let mixed = Math.imul(lane ^ (lane >>> 16), 0x85eb_ca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35)
  return mixed ^ (mixed >>> 16)
}
