import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fingerprintOf } from '../../src/replica/fingerprint.ts'
import type { JsonValue, Write } from '../../src/replica/update.ts'

function ofValue(value: JsonValue): number {
  return fingerprintOf([{ key: 'k', value }])
}

/** Values as they come off the wire. */
const values = fc.json({ maxDepth: 4 }).map((text) => JSON.parse(text) as JsonValue)
const keys = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 })
const writes: fc.Arbitrary<readonly Write[]> = fc.array(
  fc.oneof(
    fc.record({ key: keys, value: values }),
    keys.map((key) => ({ key, deleted: true as const })),
  ),
  { minLength: 1, maxLength: 4 },
)

describe('R10: the fingerprint of the writes of a request', () => {
  it('is the same for the same writes, read from the wire once more', () => {
    fc.assert(
      fc.property(writes, (writes) => {
        expect(fingerprintOf(JSON.parse(JSON.stringify(writes)) as Write[])).toBe(fingerprintOf(writes))
      }),
    )
  })

  it('is a safe integer that is not below 0', () => {
    fc.assert(
      fc.property(writes, (writes) => {
        const fingerprint = fingerprintOf(writes)
        expect(Number.isSafeInteger(fingerprint) && fingerprint >= 0, String(fingerprint)).toBe(true)
      }),
    )
  })

  it('differs where the writes differ on the wire', () => {
    fc.assert(
      fc.property(writes, writes, (some, others) => {
        fc.pre(JSON.stringify(some) !== JSON.stringify(others))
        expect(fingerprintOf(some)).not.toBe(fingerprintOf(others))
      }),
    )
  })

  it('differs where one unit of a string, or one bit of a number, differs', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.nat(), fc.nat({ max: 15 }), (text, place, bit) => {
        const index = place % text.length
        const changed = String.fromCharCode(text.charCodeAt(index) ^ (1 << bit))
        expect(ofValue(text)).not.toBe(ofValue(text.slice(0, index) + changed + text.slice(index + 1)))
      }),
    )
    fc.assert(
      fc.property(fc.double({ noNaN: true }), fc.nat({ max: 63 }), (value, bit) => {
        const bits = new BigUint64Array(new Float64Array([value]).buffer)
        const changed = new Float64Array(bits.map((word) => word ^ (1n << BigInt(bit))).buffer)[0] ?? 0
        fc.pre(Number.isFinite(changed) && Number.isFinite(value) && changed !== value)
        expect(ofValue(value)).not.toBe(ofValue(changed))
      }),
    )
  })

  it('tells apart what only looks alike', () => {
    const lookalikes: readonly (readonly Write[])[] = [
      [{ key: 'k', deleted: true }],
      ...[
        null,
        false,
        true,
        0,
        1,
        -1,
        0.5,
        2 ** 32,
        2 ** 32 + 1,
        1 / 3,
        1e300,
        '',
        '0',
        '1',
        'null',
        'true',
        '\0',
        '\0\0',
        'a',
        'a\0',
        'ab',
        'ba',
        '12',
        12,
        [],
        [[]],
        [null],
        [1, 2],
        [12],
        ['1', '2'],
        ['12'],
        ['1', '', '2'],
        [[1], 2],
        [[1, 2]],
        [1, [2]],
        {},
        { a: null },
        { a: {} },
        { a: { b: 1 } },
        { a: { b: 1 }, c: 2 },
        { a: { b: 1, c: 2 } },
        { a: '{b:1}' },
        { a: 1, b: 2 },
        { b: 2, a: 1 },
        { a: 2, b: 1 },
        { ab: 1 },
        ['a', 1],
        JSON.parse('{"__proto__":1}') as JsonValue,
        JSON.parse('{"__proto__":2}') as JsonValue,
      ].map((value: JsonValue) => [{ key: 'k', value }]),
      [{ key: 'k1', value: '' }],
      [{ key: '1', value: 'k' }],
      [
        { key: 'k', value: 1 },
        { key: 'l', value: 2 },
      ],
      [
        { key: 'l', value: 2 },
        { key: 'k', value: 1 },
      ],
      [
        { key: 'k', value: 1 },
        { key: 'l', deleted: true },
      ],
    ]
    const seen = new Map<number, readonly Write[]>()
    for (const writes of lookalikes) {
      const fingerprint = fingerprintOf(writes)
      expect(seen.get(fingerprint), JSON.stringify(writes)).toBeUndefined()
      seen.set(fingerprint, writes)
    }
  })

  it('takes minus zero for zero, as JSON does', () => {
    expect(ofValue(-0)).toBe(ofValue(0))
  })

  it('tells apart 80,000 values that differ little, and spreads over all of its 53 bits', () => {
    const count = 80_000
    const fingerprints = new Set<number>()
    const ones = Array.from({ length: 53 }, () => 0)
    for (let index = 0; index < count / 4; index++) {
      const high = String.fromCharCode((index & 0xff) << 8, (index >> 8) << 8)
      for (const value of [index, `${index}`, high, [index >> 8, index & 0xff]])
        fingerprints.add(ofValue(value))
    }
    for (const fingerprint of fingerprints) {
      const halves = [fingerprint | 0, Math.floor(fingerprint / 2 ** 32)] as const
      for (let bit = 0; bit < 53; bit++)
        ones[bit] = (ones[bit] ?? 0) + ((halves[bit < 32 ? 0 : 1] >>> (bit & 31)) & 1)
    }
    expect(fingerprints.size).toBe(count)
    // Seven standard deviations of a fair coin.
    for (const [bit, sum] of ones.entries()) {
      expect(Math.abs(sum / count - 0.5), `bit ${bit}`).toBeLessThan(0.0125)
    }
  })

  it('takes values of 64 levels', () => {
    const nest = (levels: number): JsonValue => (levels === 0 ? 1 : { a: [nest(levels - 1)] })
    expect(ofValue(nest(32))).not.toBe(ofValue(nest(31)))
  })

  it('is stored and sent, so it stays what it is', () => {
    expect(fingerprintOf([{ key: 'x', value: 'lost' }])).toBe(170_102_795_088_057)
    expect(fingerprintOf([{ key: 'x', deleted: true }])).toBe(6_102_733_305_843_178)
    expect(
      fingerprintOf([
        { key: 'x', value: { a: [null, true, false, -1, 2 ** 40, 0.1], b: 'wörter 😀' } },
        { key: 'y', value: '' },
      ]),
    ).toBe(2_378_506_188_230_953)
  })
})
