import { describe, expect, it } from 'vitest'
import { HistoryFault } from '../../src/check/history-line.ts'
import { HistoryReader } from '../../src/check/history-reader.ts'

/** The numbers and keys of the lines that were read, and the fault that ended it. */
function read(chunks: readonly (string | Uint8Array)[]): readonly string[] {
  const told: string[] = []
  const reader = new HistoryReader((line, number) =>
    told.push(`${number} ${'key' in line ? line.key : line.op}`),
  )
  try {
    for (const chunk of chunks) reader.write(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
    reader.end()
  } catch (error) {
    if (!(error instanceof HistoryFault)) throw error
    told.push(error.message)
  }
  return told
}

function line(key: string): string {
  return JSON.stringify({ session: 's1', i: 1, op: 'read', key, ok: true })
}

describe('a history as bytes', () => {
  it('is read line by line', () => {
    expect(read([`${line('x')}\n${line('y')}\n`])).toEqual(['1 x', '2 y'])
  })

  it('may come in any pieces', () => {
    const bytes = Buffer.from(`${line('x')}\n${line('schön 🎈')}\n\n${line('z')}\n`)
    for (let size = 1; size < bytes.length; size++) {
      const chunks: Uint8Array[] = []
      for (let start = 0; start < bytes.length; start += size)
        chunks.push(bytes.subarray(start, start + size))
      expect(read(chunks)).toEqual(['1 x', '2 schön 🎈', '4 z'])
    }
  })

  it('need not end its last line', () => {
    expect(read([`${line('x')}\n${line('y')}`])).toEqual(['1 x', '2 y'])
  })

  it('may have lines of Windows, and blank ones, which count', () => {
    expect(read([`${line('x')}\r\n\r\n  \n${line('y')}\r\n`])).toEqual(['1 x', '4 y'])
  })

  it('keeps separators that are no line ends', () => {
    expect(read([`${line('a\u2028b\u0085c')}\n`])).toEqual(['1 a\u2028b\u0085c'])
  })

  it('is refused at a line null, which is not taken for the end', () => {
    expect(read([`${line('x')}\nnull\n${line('y')}\n`])).toEqual([
      '1 x',
      'line 2: the line is null; it is an object such as {"session":"s1","i":0,"op":"read",…}',
    ])
  })

  it('is no history where there is not one line', () => {
    expect(read([])).toEqual(['line 1: there is nothing here: not one line'])
    expect(read(['\n \n'])).toEqual(['line 2: there is nothing here: not one line'])
  })

  it('is no history where it is no UTF-8, even within a character that spans pieces', () => {
    const bad = Buffer.concat([Buffer.from(`${line('x')}\n`), Buffer.from(line('y')).fill(0xff, 40, 41)])
    expect(read([bad.subarray(0, bad.length - 3), bad.subarray(bad.length - 3)])).toEqual([
      '1 x',
      'line 2: is no UTF-8',
    ])
  })

  it('may hold the character that stands for what is no UTF-8', () => {
    expect(read([`${line('\ufffd')}\n`])).toEqual(['1 \ufffd'])
  })

  it('is refused at a line of more than 16 MiB, before all of it is there', () => {
    const long = Buffer.alloc(1 << 20, 0x61)
    const chunks = [`${line('x')}\n`, ...Array.from({ length: 40 }, () => long)]
    expect(read(chunks)).toEqual([
      '1 x',
      'line 2: is longer than 16777216 bytes; a history is one event a line',
    ])
  })

  it('is refused at such a line that comes in one piece', () => {
    const text = `${line('x')}\n"${'a'.repeat(16 << 20)}"\n`
    expect(read([text])).toEqual([
      '1 x',
      'line 2: is longer than 16777216 bytes; a history is one event a line',
    ])
  })

  it('may have a line of 16 MiB', () => {
    const rest = (16 << 20) - line('').length
    const [told] = read([`${line('k'.repeat(rest))}\n`])
    expect(told?.length).toBe(2 + rest)
  })
})
