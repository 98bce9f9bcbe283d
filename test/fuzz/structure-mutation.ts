import type { Random } from '../durability/random.ts'
import { oneOf } from './choice.ts'
import { countOf, replaceAt, textTree, type JsonTree, type Member } from './json-tree.ts'

/**
 * A message with something changed in its structure: a member dropped, added, told twice or misspelt, a value of
 * another type or at the edge of what is allowed, a level too many.
 *
 * @param others trees from which parts are taken.
 */
export function withMutation(tree: JsonTree, random: Random, others: readonly JsonTree[]): JsonTree {
  const index = random.between(0, countOf(tree) - 1)
  return replaceAt(tree, index, (inner) => changed(inner, random, others))
}

function changed(tree: JsonTree, random: Random, others: readonly JsonTree[]): JsonTree {
  if (tree.kind === 'text' || random.chance(0.3)) return replacement(tree, random, others)
  if (tree.kind === 'list') return { kind: 'list', items: changedItems(tree.items, random, others) }
  return { kind: 'object', members: changedMembers(tree.members, random, others) }
}

/** Something in the place of something. */
function replacement(tree: JsonTree, random: Random, others: readonly JsonTree[]): JsonTree {
  switch (random.between(0, 9)) {
    case 0:
      return { kind: 'list', items: [tree] }
    case 1:
      return { kind: 'object', members: [{ name: oneOf(hostileNames, random), value: tree }] }
    case 2:
      return textTree(nested(oneOf(['[', '{"a":'], random), oneOf(depths, random)))
    case 3:
      return partOf(oneOf(others, random), random)
    case 4:
      return textTree(stringOfBytes(oneOf(lengths, random), oneOf(letters, random)))
    case 5:
    case 6:
      return textTree(oneOf(hostileNumbers, random))
    case 7:
      return tree.kind === 'text' ? textTree(neighbourOf(tree.text, random)) : textTree('{}')
    default:
      return textTree(oneOf(hostileTexts, random))
  }
}

function changedItems(
  items: readonly JsonTree[],
  random: Random,
  others: readonly JsonTree[],
): readonly JsonTree[] {
  const place = random.between(0, items.length)
  switch (random.between(0, 4)) {
    case 0:
      return items.toSpliced(place, 1)
    case 1:
      return items.toSpliced(place, 0, items[random.between(0, items.length - 1)] ?? textTree('null'))
    case 2:
      return items.toSpliced(place, 0, partOf(oneOf(others, random), random))
    case 3:
      return random.shuffled(items)
    default:
      return items.slice(0, place)
  }
}

function changedMembers(
  members: readonly Member[],
  random: Random,
  others: readonly JsonTree[],
): readonly Member[] {
  const place = random.between(0, members.length - 1)
  const member = members[place]
  const added = (name: string, value: JsonTree): readonly Member[] =>
    members.toSpliced(random.between(0, members.length), 0, { name, value })
  if (member === undefined) return added(oneOf(hostileNames, random), textTree(oneOf(hostileTexts, random)))
  switch (random.between(0, 7)) {
    case 0:
    case 1:
      return members.toSpliced(place, 1)
    case 2:
      return added(oneOf(hostileNames, random), textTree(oneOf(hostileTexts, random)))
    case 3:
      return added(member.name, textTree(oneOf(hostileTexts, random)))
    case 4:
      return added(oneOf(knownNames, random), partOf(oneOf(others, random), random))
    case 5:
      return members.with(place, { name: respelt(member.name, random), value: member.value })
    case 6: {
      const other = members[random.between(0, members.length - 1)] ?? member
      return members.with(place, { name: member.name, value: other.value })
    }
    default:
      return random.shuffled(members)
  }
}

function partOf(tree: JsonTree, random: Random): JsonTree {
  let part = tree
  replaceAt(tree, random.between(0, countOf(tree) - 1), (inner) => (part = inner))
  return part
}

/** A name with an escape in it, which is the same name, or with a slip, which is another. */
function respelt(name: string, random: Random): string {
  if (name.length < 3) return '"x"'
  const at = random.between(1, name.length - 2)
  if (name.includes('\\')) return '"x"'
  switch (random.between(0, 2)) {
    case 0:
      return `${name.slice(0, at)}${escaped(name.charCodeAt(at))}${name.slice(at + 1)}`
    case 1:
      return `${name.slice(0, at)}${name.slice(at + 1)}`
    default:
      return `${name.slice(0, -1)}s"`
  }
}

/** A number that is one more or less, or a string with something at one of its ends. */
function neighbourOf(text: string, random: Random): string {
  if (text.startsWith('"')) {
    const inner = text.slice(1, -1)
    return oneOf(
      [`"${inner}x"`, `"x${inner}"`, `"${inner}\\u0000"`, `"${inner.toUpperCase()}"`, '""'],
      random,
    )
  }
  const number = Number(text)
  if (!Number.isFinite(number)) return '0'
  return oneOf([`${number + 1}`, `${number - 1}`, `-${text}`, `${text}.0`, `${text}e0`, `0${text}`], random)
}

/** So many arrays or objects, one in the other. */
export function nested(open: string, levels: number): string {
  const [close, inmost] = open === '[' ? [']', ''] : ['}', '1']
  return `${open.repeat(levels)}${inmost}${close.repeat(levels)}`
}

/** A string that takes so many bytes of UTF-8, as near as its letter allows. */
function stringOfBytes(bytes: number, letter: string): string {
  return `"${letter.repeat(Math.floor(bytes / Buffer.byteLength(letter)))}"`
}

function escaped(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`
}

const depths: readonly number[] = [1, 2, 59, 60, 61, 62, 63, 64, 65, 66, 69, 70, 100, 2_000]

/** Around the limits of keys and names. */
const lengths: readonly number[] = [0, 1, 255, 256, 1_023, 1_024, 1_025, 1_026, 4_096, 10_000]

const letters: readonly string[] = ['x', 'ü', '語', '😀']

export const hostileNumbers: readonly string[] = [
  '0',
  '-0',
  '-0.0',
  '1',
  '-1',
  '2',
  '3',
  '1.0',
  '1.5',
  '1e0',
  '1e2',
  '1E+2',
  '1e20',
  '1e21',
  '1e308',
  '1e309',
  '1e999',
  '-1e999',
  '1e-400',
  '5e-324',
  '0e5',
  '0.10',
  '255',
  '256',
  '1000',
  '1001',
  '10000',
  '10001',
  '60000',
  '60001',
  '65535',
  '65536',
  '3600000',
  '3600001',
  '2147483647',
  '2147483648',
  '4294967296',
  '4503599627370496',
  '4503599627370497',
  '9007199254740990',
  '9007199254740991',
  '9007199254740992',
  '9007199254740993',
  '-9007199254740991',
  '-9007199254740993',
  '18446744073709551616',
  '3.14159265358979323846',
  '0.1234567890123456789',
  '01',
  '.5',
  '5.',
  '+1',
  '1e',
  '--1',
  'NaN',
  'Infinity',
  '0x10',
]

export const hostileTexts: readonly string[] = [
  'null',
  'true',
  'false',
  '[]',
  '{}',
  '[[]]',
  '[null]',
  '{"a":1,"a":2}',
  '{"a":1,"\\u0061":2}',
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":1}}',
  '{"length":1}',
  '{"toJSON":1}',
  '{"then":1}',
  '""',
  '" "',
  '"\\u0000"',
  '"\\n"',
  '"\\ud800"',
  '"\\udc00"',
  '"\\ud83d\\ude00"',
  '"\\ude00\\ud83d"',
  '"\\ud83d\\\\ude00"',
  '{"\\ud800":1}',
  '"__proto__"',
  '"constructor"',
  '"1"',
  '"1~a"',
  '"9~a"',
  '"9~"',
  '"~a"',
  '"9~A"',
  '"now"',
  '"start"',
  '"again"',
  '"hold"',
  '"2.0"',
  '"\ufeff"',
  '"\u2028"',
  '"\u007f"',
  '"../../etc/passwd"',
  'undefined',
  "'a'",
  '"a',
  '',
  '[1,]',
  '{"a"}',
  '{,}',
  '/* */1',
]

const hostileNames: readonly string[] = [
  '"__proto__"',
  '"constructor"',
  '"toString"',
  '"hasOwnProperty"',
  '"length"',
  '"toJSON"',
  '"then"',
  '""',
  '"0"',
  '"\\ud800"',
  '"\\u0000"',
  '"x"',
  '"9~a"',
  '"9~new"',
  '" "',
  'x',
]

/** Names that mean something somewhere. */
const knownNames: readonly string[] = [
  'jsonrpc',
  'id',
  'method',
  'params',
  'result',
  'error',
  'key',
  'keys',
  'value',
  'deleted',
  'writes',
  'after',
  'timeout',
  'request',
  'session',
  'number',
  'retry',
  'token',
  'protocol',
  'nonce',
  'prefix',
  'from',
  'limit',
  'since',
  'watch',
  'peer',
  'action',
  'ms',
  'count',
  'origin',
  'timestamp',
  'previous',
  'dependencies',
  'updates',
  'snapshot',
  'page',
  'applied',
  'first',
  'entries',
  'address',
  'host',
  'port',
  'members',
].map((name) => JSON.stringify(name))
