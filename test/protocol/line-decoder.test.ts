import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ProtocolError } from '../../src/protocol/errors.ts'
import { LineDecoder } from '../../src/protocol/line-decoder.ts'
import { processorMs } from '../processor-time.ts'

/** What a decoder makes of a stream in given chunks: the lines, and the code of the error that ended it. */
function decode(chunks: readonly Buffer[], lineBytesMax?: number): { lines: string[]; code?: number } {
  const decoder = new LineDecoder(lineBytesMax === undefined ? {} : { lineBytesMax })
  const lines: string[] = []
  try {
    for (const chunk of chunks) {
      for (const line of decoder.push(chunk)) {
        expect(line.bytes).toBe(Buffer.byteLength(line.text))
        lines.push(line.text)
      }
    }
    const last = decoder.end()
    if (last !== undefined) lines.push(last.text)
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    return { lines, code: error.code }
  }
  return { lines }
}

/** The same, by the simplest means, of the whole stream at once. */
function decodeAtOnce(stream: Buffer, lineBytesMax: number): { lines: string[]; code?: number } {
  const lines: string[] = []
  const parts: Buffer[] = []
  let start = 0
  for (let end = stream.indexOf(10); end !== -1; end = stream.indexOf(10, start)) {
    parts.push(stream.subarray(start, end))
    start = end + 1
  }
  parts.push(stream.subarray(start))
  for (const part of parts) {
    const line = part.at(-1) === 13 ? part.subarray(0, -1) : part
    if (line.length > lineBytesMax) return { lines, code: -32003 }
    const text = line.toString()
    if (!Buffer.from(text).equals(line)) return { lines, code: -32700 }
    if (!/^[ \t\r]*$/.test(text)) lines.push(text)
  }
  return { lines }
}

function cut(stream: Buffer, places: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  let start = 0
  for (const place of places.map((place) => place % (stream.length + 1)).sort((a, b) => a - b)) {
    chunks.push(stream.subarray(start, place))
    start = place
  }
  chunks.push(stream.subarray(start))
  return chunks
}

/** What a line of this length takes that comes in small chunks. */
function msFor(lineBytes: number): number {
  const chunk = Buffer.alloc(16, 'x')
  return processorMs(() => {
    const decoder = new LineDecoder({ lineBytesMax: lineBytes })
    for (let sent = 0; sent < lineBytes; sent += chunk.length) {
      decoder.push(chunk)
      decoder.next()
    }
  }, 3)
}

const bytes = (text: string): Buffer => Buffer.from(text)

describe('the line decoder', () => {
  it('yields each line without its end', () => {
    expect(decode([bytes('{"a":1}\n[2]\n')])).toEqual({ lines: ['{"a":1}', '[2]'] })
  })

  it('joins a line that comes in pieces, even within a character', () => {
    const stream = bytes('"Grüße"\n')
    for (let place = 0; place <= stream.length; place++) {
      expect(decode([stream.subarray(0, place), stream.subarray(place)])).toEqual({ lines: ['"Grüße"'] })
    }
  })

  it('tolerates a carriage return before the newline', () => {
    expect(decode([bytes('1\r\n2\r'), bytes('\n3\n')])).toEqual({ lines: ['1', '2', '3'] })
  })

  it('ignores blank lines', () => {
    expect(decode([bytes('\n\r\n  \t\n1\n\n \n2\n')])).toEqual({ lines: ['1', '2'] })
  })

  it('counts an unterminated last line as a line when the stream ends', () => {
    expect(decode([bytes('1\n{"jsonrpc":'), bytes('"2.0"}')])).toEqual({ lines: ['1', '{"jsonrpc":"2.0"}'] })
  })

  it('refuses a line that is too long with −32003, after the lines before it', () => {
    expect(decode([bytes('12345\n123456\n1\n')], 5)).toEqual({ lines: ['12345'], code: -32003 })
  })

  it('refuses a line as soon as it is too long, without waiting for its end', () => {
    const decoder = new LineDecoder({ lineBytesMax: 5 })
    decoder.push(bytes('12345'))
    expect(decoder.next()).toBeUndefined()
    decoder.push(bytes('67'))
    expect(() => decoder.next()).toThrow(ProtocolError)
  })

  it('does not count the line end, which may be two bytes', () => {
    expect(decode([bytes('12345\r'), bytes('\n1\n')], 5)).toEqual({ lines: ['12345', '1'] })
    expect(decode([bytes('123456'), bytes('\n1\n')], 5)).toEqual({ lines: [], code: -32003 })
  })

  it('counts bytes, not characters', () => {
    expect(decode([bytes('äöü\n')], 5)).toEqual({ lines: [], code: -32003 })
    expect(decode([bytes('äöü\n')], 6)).toEqual({ lines: ['äöü'] })
  })

  it('refuses what is not UTF-8 with −32700, after the lines before it', () => {
    const notUtf8 = Buffer.concat([bytes('"ä"\n"'), Buffer.from([0xc3]), bytes('"\n1\n')])
    expect(decode([notUtf8])).toEqual({ lines: ['"ä"'], code: -32700 })
  })

  it('refuses half a surrogate pair as bytes, for no UTF-8 has it', () => {
    expect(decode([Buffer.from([0x22, 0xed, 0xa0, 0xbd, 0x22, 0x0a])])).toEqual({ lines: [], code: -32700 })
  })

  it('yields nothing more after an error', () => {
    const decoder = new LineDecoder({ lineBytesMax: 2 })
    decoder.push(bytes('123\n1\n'))
    expect(() => decoder.next()).toThrow(ProtocolError)
    expect([...decoder.push(bytes('1\n'))]).toEqual([])
    expect(decoder.next()).toBeUndefined()
    expect(decoder.end()).toBeUndefined()
    expect(decoder.unfinished).toBe(false)
  })

  it('may be left in the middle of a chunk and taken up again', () => {
    const decoder = new LineDecoder()
    decoder.push(bytes('1\n2\n3'))
    expect(decoder.next()?.text).toBe('1')
    decoder.push(bytes('\n4\n'))
    expect(decoder.next()?.text).toBe('2')
    expect([...decoder.push(bytes('5\n'))].map(({ text }) => text)).toEqual(['3', '4', '5'])
  })

  it('says whether a line is unfinished, and which', () => {
    const decoder = new LineDecoder()
    decoder.push(bytes('1\n2'))
    expect([decoder.next()?.text, decoder.next(), decoder.unfinished, decoder.lineNumber]).toEqual([
      '1',
      undefined,
      true,
      2,
    ])
    decoder.push(bytes('\n'))
    expect([decoder.next()?.text, decoder.next(), decoder.unfinished, decoder.lineNumber]).toEqual([
      '2',
      undefined,
      false,
      3,
    ])
  })

  it('allows longer lines from when it is told to', () => {
    const decoder = new LineDecoder({ lineBytesMax: 4 })
    decoder.push(bytes('1234\n12345678\n'))
    expect(decoder.next()?.text).toBe('1234')
    decoder.lineBytesMax = 8
    expect(decoder.next()?.text).toBe('12345678')
  })

  it('costs time in proportion to the bytes, however small the chunks of a long line', () => {
    msFor(1 << 20)
    // 16 times the bytes: 16 times the time if linear, 256 if quadratic.
    expect(msFor(4 << 20)).toBeLessThan(64 * Math.max(0.5, msFor(256 << 10)))
  })

  it('makes the same of any bytes, however they are cut into chunks', () => {
    const piece = fc.oneof(
      fc.constantFrom('\n', '\r\n', '\r', ' ', '{}', 'ä', '€', '😀', 'xxxxxxxxxx').map(bytes),
      fc.uint8Array({ maxLength: 3 }).map((array) => Buffer.from(array)),
    )
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 40 }),
        fc.array(fc.nat(200), { maxLength: 20 }),
        fc.integer({ min: 1, max: 12 }),
        (pieces, places, lineBytesMax) => {
          const stream = Buffer.concat(pieces)
          expect(decode(cut(stream, places), lineBytesMax)).toEqual(decodeAtOnce(stream, lineBytesMax))
        },
      ),
      { numRuns: 2_000 },
    )
  })
})
