import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ProtocolError } from '../../src/protocol/errors.ts'
import { itemsMax, namesMax, unweighedLengthMax } from '../../src/protocol/limits.ts'
import { findInText, parseJsonText, showPath } from '../../src/protocol/json-text.ts'
import { processorMs } from '../processor-time.ts'
import { comesBack, jsonTexts, numberTexts, rulesBroken } from './json-oracle.ts'
import { refusalBy, thrownBy } from './refusal.ts'

const depthMax = 69

/** A request that writes a value, given as text. */
const writing = (value: string): string =>
  `{"jsonrpc":"2.0","id":7,"method":"write","params":{"key":"k","value":${value}}}`

const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)

function refusal(text: string): ProtocolError {
  return refusalBy(() => parseJsonText(text))
}

describe('the check of JSON text', () => {
  it.each([
    ['9007199254740993', 'beyond 2^53 it would come back as …992'],
    ['1e999', 'it would come back as null'],
    ['-0', 'it would come back as 0'],
    ['1e-400', 'it would come back as 0'],
    ['3.14159265358979323846', 'a double has fewer digits'],
    ['123456789012345678', 'a double has fewer digits'],
  ])('refuses the number %s: %s', (token) => {
    for (const value of [token, `[${token}]`, `{"a":{"b":${token}}}`, ` ${token} `]) {
      expect(refusal(writing(value))).toMatchObject({ code: -32602, id: 7 })
    }
    expect(refusal(writing(token))).toMatchObject({ path: 'params.value' })
    expect(refusal(writing(token)).message).toContain('send it as a string')
  })

  it.each([
    '0',
    '-1',
    '0.10',
    '1.0',
    '1e300',
    '1E5',
    '100e-2',
    '9007199254740992',
    '0.1',
    '1e20',
    '5e-324',
    '0e7',
  ])('accepts the number %s, which comes back as the same number', (token) => {
    expect(parseJsonText(writing(token))).toMatchObject({ params: { value: Number(token) } })
  })

  it('accepts what looks like such a number within a string', () => {
    for (const value of ['"1e999"', '"-0"', '"a: 9007199254740993"', '{"1e999":"x"}']) {
      expect(parseJsonText(writing(value))).toMatchObject({ params: { value: JSON.parse(value) as unknown } })
    }
  })

  it('refuses half a surrogate pair, in values and in names', () => {
    for (const value of [
      '"\\ud83d"',
      '"\\ude00"',
      '"\\ude00\\ud83d"',
      '["x\\uD83Dx"]',
      '{"\\udfff":1}',
      '"\ud83d"',
    ]) {
      expect(refusal(writing(value))).toMatchObject({ code: -32602 })
    }
    expect(refusal(writing('{"a":["\\ud83d"]}')).path).toBe('params.value.a[0]')
  })

  it('accepts whole pairs, and what only looks like half of one', () => {
    for (const value of ['"\\ud83d\\ude00"', '"😀"', '"\\\\ud83d"', '{"\\ud83d\\ude00":1}']) {
      expect(parseJsonText(writing(value))).toMatchObject({ params: { value: JSON.parse(value) as unknown } })
    }
  })

  it('refuses a name that an object in a value has twice, however it is written', () => {
    for (const value of [
      '{"a":1,"a":2}',
      '{"a":1,"\\u0061":2}',
      '[{"":1,"b":{},"":2}]',
      '{"__proto__":1,"__proto__":2}',
    ]) {
      expect(refusal(writing(value)).code).toBe(-32602)
    }
    expect(refusal(writing('{"x":{"a":1,"b":2,"a":3}}'))).toMatchObject({
      path: 'params.value.x',
      message: expect.stringContaining('"a" twice') as string,
    })
  })

  it('finds the name that occurs twice among many', () => {
    const members = Array.from({ length: 1_000 }, (_, index) => `"n${index}":${index}`)
    expect(() => parseJsonText(writing(`{${members.join(',')}}`))).not.toThrow()
    expect(refusal(writing(`{${members.join(',')},"n517":0}`)).path).toBe('params.value')
  })

  it('accepts one name in several objects', () => {
    const value = '[{"a":1},{"a":2,"b":{"a":3}}]'
    expect(parseJsonText(writing(value))).toMatchObject({ params: { value: JSON.parse(value) as unknown } })
  })

  it('lets the last count of the members of a message and of its params, as readers of JSON do', () => {
    expect(parseJsonText('{"id":1,"id":2,"params":{"key":"a","key":"b"}}')).toEqual({
      id: 2,
      params: { key: 'b' },
    })
  })

  it('keeps a member called __proto__ as an ordinary member', () => {
    const { params } = parseJsonText(writing('{"__proto__":{"a":1}}')) as { params: { value: object } }
    expect(Object.keys(params.value)).toEqual(['__proto__'])
    expect(JSON.stringify(params.value)).toBe('{"__proto__":{"a":1}}')
    expect('a' in params.value).toBe(false)
  })

  it('refuses a line that is nested too deep, before it is parsed into a value', () => {
    expect(findInText(nested(depthMax), depthMax)).toBeUndefined()
    expect(findInText(nested(depthMax + 1), depthMax)?.rule).toBe('depth')
    expect(refusal(writing(nested(200))).code).toBe(-32602)
    expect(refusal(writing(nested(20_000))).code).toBe(-32602)
  })

  it('refuses a line of more values, or more different names, than are parsed in a moment', () => {
    const items = (count: number): string => writing(`[${'"some",'.repeat(count)}0]`)
    const names = (count: number): string =>
      writing(`{${Array.from({ length: count }, (_, index) => `"${index}":"long"`).join(',')}}`)
    // The message has seven more: itself, its params, their five other commas and the list.
    expect(() => parseJsonText(items(itemsMax - 7))).not.toThrow()
    expect(refusal(items(itemsMax - 6))).toMatchObject({ code: -32010, id: 7 })
    // And six names.
    expect(() => parseJsonText(names(namesMax - 6))).not.toThrow()
    expect(refusal(names(namesMax - 5))).toMatchObject({ code: -32010, id: 7 })
    const alike = writing(`[${'{"a":1,"b":2,"c":"long"},'.repeat(8_000)}0]`)
    expect(3 * 8_000).toBeGreaterThan(namesMax)
    expect(() => parseJsonText(alike)).not.toThrow()
  })

  it('need not count what is in a line that has no room for too much', () => {
    const densest = `[${'[],'.repeat(unweighedLengthMax / 3 - 1)}[]]`
    expect(densest.length).toBe(unweighedLengthMax + 1)
    expect(() => parseJsonText(densest)).not.toThrow()
    expect(densest.replaceAll(/[^,[{]/g, '')).toHaveLength(itemsMax)
  })

  it('says −32700 of what is no JSON', () => {
    for (const text of [
      'hello',
      '{"a":}',
      '{"a":1',
      '',
      '[1,]',
      '{"a":1e999',
      '"\\ud83d',
      '{"a":01}',
      'nul',
    ]) {
      expect(refusal(text).code).toBe(-32700)
    }
  })

  it('finds what a plain reader finds, in any text that is JSON', () => {
    fc.assert(
      fc.property(jsonTexts, fc.constantFrom(2, 4, 69), (text, levels) => {
        const broken = rulesBroken(text, levels)
        const found = findInText(text, levels)
        expect(found === undefined ? broken.size === 0 : broken.has(found.rule)).toBe(true)
      }),
      { numRuns: 3_000 },
    )
  })

  it('accepts by its fast path just what it accepts by its exact one', () => {
    const values = fc.oneof(
      jsonTexts,
      fc.string().map((text) => JSON.stringify(text)),
    )
    fc.assert(
      fc.property(values, fc.constantFrom('"key":"k",', '', ' '), (value, before) => {
        const text = `{"jsonrpc":"2.0","id":7,"method":"write","params":{${before}"value":${value}}}`
        const isRefused = findInText(text, depthMax) !== undefined
        let parsed: unknown
        const error = thrownBy(() => (parsed = parseJsonText(text)))
        expect(error?.code).toBe(isRefused ? -32602 : undefined)
        expect(parsed).toEqual(isRefused ? undefined : JSON.parse(text))
      }),
      { numRuns: 3_000 },
    )
  })

  it('accepts a number just where exact arithmetic says that it comes back', () => {
    fc.assert(
      fc.property(numberTexts, (token) => {
        expect(findInText(writing(token), depthMax) === undefined).toBe(comesBack(token))
      }),
      { numRuns: 5_000 },
    )
  })

  it('says of any text either that it is no JSON or what cannot be kept, and nothing else', () => {
    const texts = fc.oneof(
      fc.string({
        unit: fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', '1', '-', 'e', '.', 'u', 'd8', ' '),
      }),
      fc
        .tuple(jsonTexts, fc.nat(), fc.nat())
        .map(([text, a, b]) => text.slice(0, a % 50) + text.slice(b % 50)),
    )
    fc.assert(
      fc.property(texts, (text) => {
        let parsed: unknown
        const error = thrownBy(() => (parsed = parseJsonText(text)))
        expect([undefined, -32700, -32602]).toContain(error?.code)
        expect(parsed).toEqual(error === undefined ? JSON.parse(text) : undefined)
      }),
      { numRuns: 3_000 },
    )
  })

  it('costs time in proportion to the text, whatever is in it', () => {
    const hostile: ((size: number) => string)[] = [
      (size) => writing(`[${'"a",'.repeat(size)}1]`),
      (size) => writing(`["\\\\",${'"a\\n",'.repeat(size)}1]`),
      (size) => writing(`"${'\\"'.repeat(size)}"`),
      (size) => writing(`{${Array.from({ length: size }, (_, index) => `"${index}":1`).join(',')}}`),
      (size) => writing(`{${Array.from({ length: size }, (_, index) => `"\\u0061${index}":1`).join(',')}}`),
      (size) => writing(`1${'0'.repeat(size)}1e-${size}`),
      (size) => writing(`0.${'0'.repeat(size)}1`),
      (size) => writing('1'.repeat(size)),
      (size) => '-'.repeat(size),
      (size) => `"${'\\'.repeat(size)}`,
    ]
    for (const make of hostile) {
      const bestOf = (size: number): number => {
        const text = make(size)
        return processorMs(() => findInText(text, depthMax))
      }
      for (let warm = 0; warm < 30; warm++) bestOf(1_000)
      // 32 times the text: 32 times the time if linear, 1,000 if quadratic.
      expect(bestOf(128_000)).toBeLessThan(600 * Math.max(0.2, bestOf(4_000)))
    }
  })

  it('shows a path as it would be written in a program', () => {
    expect(showPath(['params', 'value', 3, 'x', 'a b', ''])).toBe('params.value[3].x["a b"][""]')
  })
})
