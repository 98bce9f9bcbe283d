import type { Random } from '../durability/random.ts'
import { oneOf } from './choice.ts'

/** A write whose line takes so many bytes, filled with what is dear to read in one way or another. */
export function lineOfLength(bytes: number, random: Random): Buffer {
  return longLine(oneOf(fillings, random), bytes)
}

/** What a value can be filled with: what it begins and ends with, and what is repeated in between. */
export interface Filling {
  readonly name: string
  readonly open: string
  readonly repeated: string
  readonly close: string
}

/** A write with such a value. Its length is as asked, in bytes; spaces make up for what does not go in. */
export function longLine(filling: Filling, bytes: number): Buffer {
  const head = `{"jsonrpc":"2.0","id":1,"method":"write","params":{"key":"long","value":${filling.open}`
  const tail = `${filling.close}}}`
  const room = bytes - Buffer.byteLength(head) - Buffer.byteLength(tail)
  const count = Math.max(0, Math.floor(room / Buffer.byteLength(filling.repeated)))
  const text = head + filling.repeated.repeat(count) + tail
  return Buffer.from(text + ' '.repeat(Math.max(0, bytes - Buffer.byteLength(text))))
}

export const fillings: readonly Filling[] = [
  { name: 'a string', open: '"', repeated: 'x', close: '"' },
  { name: 'a string that is not ASCII', open: '"', repeated: 'ü語', close: '"' },
  { name: 'escapes', open: '"', repeated: '\\n', close: '"' },
  { name: 'surrogate pairs in escapes', open: '"', repeated: '\\ud83d\\ude00', close: '"' },
  { name: 'small numbers', open: '[', repeated: '0,', close: '1]' },
  { name: 'negative numbers', open: '[', repeated: '-1,', close: '1]' },
  { name: 'numbers with an exponent', open: '[', repeated: '1e5,', close: '1]' },
  { name: 'numbers that grow', open: '[', repeated: '1e20,', close: '1]' },
  { name: 'numbers of 17 digits', open: '[', repeated: '0.12345678901234567,', close: '1]' },
  { name: 'strings', open: '[', repeated: '"",', close: '1]' },
  { name: 'empty objects', open: '[', repeated: '{},', close: '1]' },
  { name: 'empty lists', open: '[', repeated: '[],', close: '1]' },
  { name: 'lists in lists', open: '[', repeated: `${'['.repeat(50)}${']'.repeat(50)},`, close: '1]' },
  { name: 'objects of some names', open: '[', repeated: '{"a":1,"b":2,"c":3},', close: '1]' },
  { name: 'names with escapes', open: '[', repeated: '{"\\u0061":1,"\\u0062":2},', close: '1]' },
  { name: 'the same name again and again', open: '{', repeated: '"a":1,', close: '"b":1}' },
  { name: 'spaces', open: '', repeated: ' ', close: '1' },
]
