import type { Random } from '../durability/random.ts'
import { oneOf } from './choice.ts'

/** A write whose line takes so many bytes, filled with what is dear to read in one way or another. */
export function lineOfLength(bytes: number, random: Random, among: readonly Filling[] = fillings): Buffer {
  return longLine(oneOf(among, random), bytes)
}

/** What a value can be filled with: what it begins and ends with, and what is in between, items of one length. */
export interface Filling {
  readonly name: string
  readonly open: string
  /** The same again and again, or one that depends on how many there were before. */
  readonly item: string | ((index: number) => string)
  readonly close: string
}

/** A write with such a value. Its length is as asked, in bytes; spaces make up for what does not go in. */
export function longLine(filling: Filling, bytes: number): Buffer {
  const head = `{"jsonrpc":"2.0","id":1,"method":"write","params":{"key":"long","value":${filling.open}`
  const tail = `${filling.close}}}`
  const room = bytes - Buffer.byteLength(head) - Buffer.byteLength(tail)
  const { item } = filling
  const itemAt = typeof item === 'string' ? (): string => item : item
  const count = Math.max(0, Math.floor(room / Buffer.byteLength(itemAt(0))))
  const text = head + Array.from({ length: count }, (_, index) => itemAt(index)).join('') + tail
  return Buffer.from(text + ' '.repeat(Math.max(0, bytes - Buffer.byteLength(text))))
}

export const fillings: readonly Filling[] = [
  { name: 'a string', open: '"', item: 'x', close: '"' },
  { name: 'a string that is not ASCII', open: '"', item: 'ü語', close: '"' },
  { name: 'escapes', open: '"', item: '\\n', close: '"' },
  { name: 'surrogate pairs in escapes', open: '"', item: '\\ud83d\\ude00', close: '"' },
  { name: 'small numbers', open: '[', item: '0,', close: '1]' },
  { name: 'negative numbers', open: '[', item: '-1,', close: '1]' },
  { name: 'numbers with an exponent', open: '[', item: '1e5,', close: '1]' },
  { name: 'numbers that grow', open: '[', item: '1e20,', close: '1]' },
  { name: 'numbers of 17 digits', open: '[', item: '0.12345678901234567,', close: '1]' },
  { name: 'strings', open: '[', item: '"",', close: '1]' },
  { name: 'empty objects', open: '[', item: '{},', close: '1]' },
  { name: 'empty lists', open: '[', item: '[],', close: '1]' },
  { name: 'lists in lists', open: '[', item: `${'['.repeat(50)}${']'.repeat(50)},`, close: '1]' },
  { name: 'objects of some names', open: '[', item: '{"a":1,"b":2,"c":3},', close: '1]' },
  { name: 'names with escapes', open: '[', item: '{"\\u0061":1,"\\u0062":2},', close: '1]' },
  { name: 'the same name again and again', open: '{', item: '"a":1,', close: '"b":1}' },
  { name: 'names that all differ', open: '{', item: differing, close: '"b":1}' },
  { name: 'spaces', open: '', item: ' ', close: '1' },
]

/** A server may send any number of names: those of the origins of a cut. Who sends these to do harm is not stopped. */
export const fillingsOfPeers = fillings.filter(({ item }) => item !== differing)

function differing(index: number): string {
  return `"${index.toString(36).padStart(4, '0')}":1,`
}
