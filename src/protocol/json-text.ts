import { protocolError, type ProtocolError } from './errors.ts'
import type { JsonRpcId } from './json-rpc.ts'
import {
  envelopeDepthMax,
  itemsMax,
  namesMax,
  peerItemsMax,
  unweighedLengthMax,
  valueDepthMax,
} from './limits.ts'
import { requestIdOf } from './request-id.ts'
import { isWellFormed, type ParsedObject } from './wire-forms.ts'

/**
 * What JSON text may hold beyond being JSON, so that a value comes back as it went in.
 *
 * `JSON.parse` is silent where it cannot keep what is written: 9007199254740993 becomes …992, 1e999 becomes
 * null when it is written again, and of two members with one name the last remains. And it lets half a surrogate
 * pair pass, which no UTF-8 can carry. Each is refused here, with its place, rather than changed. What remains of
 * the parsed value needs no further look: neither at its numbers, nor at its strings, nor at its depth. And what would
 * take too long to parse is refused before it is.
 *
 * Most lines are a message with a key and a string. They are told by a few searches that cost a tenth of the
 * parsing; all others are read once by an exact scanner that skips over strings.
 *
 * A member called `__proto__` is a member like any other: `JSON.parse` makes it an own property. Nobody may copy
 * such an object by assignment (`copy[name] = …`), which would lose it.
 */

/** What is wrong in a text, and where. */
export interface TextFinding {
  readonly rule: 'depth' | 'surrogate' | 'number' | 'name'
  /** What is wrong, and what to try. */
  readonly message: string
  /** Names and indices from the outermost value to the place: `['params', 'value', 3, 'x']`. */
  readonly path: readonly (string | number)[]
}

/**
 * Parses one line.
 *
 * @throws ProtocolError −32700 where it is no JSON, −32602 with a path where it holds what cannot be kept, −32010 where
 *   it holds too much to be parsed. The latter two name the request's id where the text is a request.
 */
export function parseJsonText(text: string): unknown {
  const isTame = mayBeFlat(text)
  const parsed = isTame ? parseJsonUnchecked(text) : undefined
  if (isTame && isFlat(parsed)) return parsed
  if (isDear(text, clientBulk)) throw tooDear(text, clientBulk)
  const finding = findInText(text, valueDepthMax + envelopeDepthMax)
  if (finding !== undefined) throw refusal(text, finding)
  return isTame ? parsed : parseJsonUnchecked(text)
}

/** The error for a finding in the value of a message whose `path` begins at the message. */
export function findingError(finding: TextFinding): ProtocolError {
  const path = showPath(finding.path)
  return protocolError('invalidParams', `${path === '' ? 'the line' : path} ${finding.message}`, { path })
}

/** `['params', 'value', 3, 'x']` → `params.value[3].x`. */
export function showPath(path: readonly (string | number)[]): string {
  let shown = ''
  for (const step of path) {
    if (typeof step === 'number') shown += `[${step}]`
    else if (/^[A-Za-z_$][\w$]*$/.test(step)) shown += shown === '' ? step : `.${step}`
    else shown += `[${JSON.stringify(step)}]`
  }
  return shown
}

/**
 * Parses one line whose values need no check of their text.
 *
 * @throws ProtocolError −32700 where it is no JSON.
 */
export function parseJsonUnchecked(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const message = `this line is no JSON (${reason}); send one JSON-RPC 2.0 message per line`
    throw protocolError('parse', message, { id: null, cause: error })
  }
}

/**
 * Parses a line of another server. What is in its values was checked when a client sent it, and its names are those of
 * origins, of which there may be many; only what it comes to is looked at.
 *
 * @throws ProtocolError −32700 where it is no JSON, −32010 where it holds too much to be parsed.
 */
export function parsePeerText(text: string): unknown {
  if (isDear(text, peerBulk)) throw tooDear(text, peerBulk)
  return parseJsonUnchecked(text)
}

function refusal(text: string, finding: TextFinding): ProtocolError {
  // What is no JSON at all is better told so.
  const parsed = parseJsonUnchecked(text)
  const isMessage = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
  const id = isMessage && 'id' in parsed ? (requestIdOf(parsed.id) ?? null) : null
  return protocolError('invalidParams', findingError(finding).message, { path: showPath(finding.path), id })
}

/** −32010. To parse the text is just what would take too long: its id is looked for by itself. */
function tooDear(text: string, bulkMax: Bulk): ProtocolError {
  const names = 'namesMax' in bulkMax ? `, or more than ${bulkMax.namesMax} different names` : ''
  const message = `the line holds more than ${bulkMax.itemsMax} values${names}; send less at once, or some of it as a string`
  return protocolError('tooLarge', message, { data: { ...bulkMax }, id: idOf(text) ?? null })
}

/** What a long line may come to. */
interface Bulk {
  readonly itemsMax: number
  readonly namesMax?: number
}

const clientBulk: Bulk = { itemsMax, namesMax }
const peerBulk: Bulk = { itemsMax: peerItemsMax }

/**
 * Whether it is worth parsing a text before it has been checked: it has no escapes, so no lone surrogates, and it is
 * short, so that even the worst of it is parsed at once. In a long one with a long string there is little to scan.
 */
function mayBeFlat(text: string): boolean {
  return text.length <= shortLength && !text.includes('\\') && isWellFormed(text)
}

const shortLength = 4_096

/**
 * Whether what was parsed from a text that {@link mayBeFlat} is a message whose params hold nothing but strings,
 * booleans and nulls: then nothing that matters can have been lost.
 */
function isFlat(parsed: unknown): boolean {
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return false
  const { params } = parsed as ParsedObject
  if (params === undefined) return true
  if (typeof params !== 'object' || params === null || Array.isArray(params)) return false
  for (const name in params) {
    const value = (params as ParsedObject)[name]
    if (typeof value === 'number' || (typeof value === 'object' && value !== null)) return false
  }
  return true
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

/**
 * The exact scanner: what {@link parseJsonText} would refuse in a text, or undefined. It is right about every
 * text that is JSON, and of one that is not it may say anything.
 *
 * Only what is in values can be lost. So numbers are looked at in `params` and deeper, and names in the objects
 * within `params`. Of the members of a message itself, and of its params, the last of a name counts, as in any
 * reader of JSON.
 */
export function findInText(text: string, depthMax: number): TextFinding | undefined {
  if (!isWellFormed(text)) return { rule: 'surrogate', message: loneSurrogate, path: [] }
  let level: Level = levels.outermost
  let depth = 0
  /** Whether a string here is a member's name. */
  let beforeName = false
  levels.nextBackslash = text.indexOf('\\')
  levels.nextUnicode = levels.nextBackslash === -1 ? -1 : text.indexOf('\\u', levels.nextBackslash)
  for (let position = 0; position < text.length; position++) {
    const code = text.charCodeAt(position)
    if (code === quote) {
      const start = position
      position = text.indexOf('"', start + 1)
      if (position === -1) return undefined
      const nextBackslash = levels.nextBackslash
      if (nextBackslash !== -1 && nextBackslash < position) {
        position = endOfString(text, start)
        if (position === -1) return undefined
        if (hasLoneSurrogate(text, nextBackslash, position)) {
          return { rule: 'surrogate', message: loneSurrogate, path: pathTo(text, start) }
        }
        levels.nextBackslash = text.indexOf('\\', position)
      }
      if (!beforeName) continue
      beforeName = false
      if (level.objects < objectsAroundValues || !level.hasName(text, start + 1, position)) continue
      const name = JSON.stringify(unescape(text, start, position + 1))
      const message = `holds the name ${name} twice, so that one of the two would be lost; send it once`
      return { rule: 'name', message, path: pathTo(text, start) }
    } else if (code === comma) {
      beforeName = level.isObject
    } else if (code === openBrace || code === openBracket) {
      if (++depth > depthMax) return tooDeep(text, position, depthMax)
      beforeName = code === openBrace
      level = levels.enter(depth, level, beforeName)
    } else if (code === closeBrace || code === closeBracket) {
      depth = Math.max(0, depth - 1)
      level = levels.at(depth)
      beforeName = false
    } else if (code === minus || isDigit(code)) {
      const start = position
      position = endOfNumber(text, start) - 1
      if (level.objects < objectsAroundNumbers || comesBack(text, start, position + 1)) continue
      const token = text.slice(start, position + 1)
      const shown = token.length > 40 ? `${token.slice(0, 40)}…` : token
      const message = `is the number ${shown}, which would come back as ${Number(token)}; send it as a string`
      return { rule: 'number', message, path: pathTo(text, start) }
    }
  }
  return undefined
}

/** Within the message, its params, and an object in those. */
const objectsAroundValues = 3

/** Within the message and its params. */
const objectsAroundNumbers = 2

const loneSurrogate =
  'holds half of a surrogate pair, which is no Unicode and has no UTF-8; send whole characters'

function tooDeep(text: string, position: number, depthMax: number): TextFinding {
  const message = `is nested deeper than ${depthMax} levels; a value may have ${valueDepthMax}`
  return { rule: 'depth', message, path: pathTo(text, position).slice(0, 8) }
}

/**
 * Whether a text would take so long to parse that everybody else noticed: it has more values than may be, or more
 * names of members that differ, for whose objects nothing that was made before can be used again.
 */
function isDear(text: string, bulkMax: Bulk): boolean {
  if (text.length <= unweighedLengthMax) return false
  const { itemsMax: most, namesMax: mostNames = Infinity } = bulkMax
  // Each takes a character at least.
  if (text.length <= most && text.length <= mostNames) return false
  let items = 0
  let names = 0
  for (let position = 0; position < text.length; position++) {
    const code = text.charCodeAt(position)
    if (code === quote) {
      position = endOfString(text, position)
      if (position === -1) break
    } else if (code === comma || code === openBrace || code === openBracket) {
      if (++items > most) return true
    } else if (code === colon) names++
  }
  return names > mostNames && hasMoreNames(text, mostNames)
}

function hasMoreNames(text: string, most: number): boolean {
  const names = new Set<string>()
  let start = 0
  let end = 0
  for (let position = 0; position < text.length; position++) {
    const code = text.charCodeAt(position)
    if (code === quote) {
      start = position
      end = position = endOfString(text, position)
      if (end === -1) break
    } else if (code === colon) {
      names.add(text.slice(start, end))
      if (names.size > most) return true
    }
  }
  return false
}

/** The id of a message that is not parsed: of the members of its outermost object the last that is called `id`. */
function idOf(text: string): JsonRpcId | undefined {
  let depth = 0
  let isList = false
  let name = ''
  let start = 0
  let id: unknown
  for (let position = 0; position < text.length; position++) {
    const code = text.charCodeAt(position)
    if (code === quote) {
      const end = endOfString(text, position)
      if (end === -1) break
      if (depth === 1 && name === '') name = unescape(text, position, end + 1)
      position = end
    } else if (code === openBrace || code === openBracket) {
      if (depth++ === 0) isList = code === openBracket
    } else if (code === colon && depth === 1) {
      start = position + 1
    } else if (code === comma || code === closeBrace || code === closeBracket) {
      if (depth === 1 && name === 'id' && !isList) id = parsedOrNothing(text.slice(start, position))
      if (code !== comma) depth--
      else if (depth === 1) name = ''
    }
  }
  return requestIdOf(id)
}

function parsedOrNothing(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The index of the quote that ends the string that begins at `start`, or −1. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  while (end !== -1 && isEscaped(text, end)) end = text.indexOf('"', end + 1)
  return end
}

/** Where the run of characters that a number may consist of ends. */
function endOfNumber(text: string, start: number): number {
  let end = start + 1
  for (;;) {
    const code = text.charCodeAt(end)
    if (!isDigit(code) && code !== dot && (code | 0x20) !== 0x65 && code !== plus && code !== minus)
      return end
    end++
  }
}

/**
 * Whether a number in a text is the number that `JSON.stringify(JSON.parse(text))` writes, whatever the way of
 * writing it: 1.0 and 1 are one number. Most are told at a glance; the others are compared digit by digit.
 */
function comesBack(text: string, start: number, end: number): boolean {
  const significant = significantDigits(text, start, end)
  // Zero, however it is written; but there are two, and JSON has one.
  if (significant === 0) return text.charCodeAt(start) !== minus
  const isFewDigits = significant <= digitsOfDouble
  if (isFewDigits && hasOrdinarySize(text, start, end)) return true
  const token = text.slice(start, end)
  const number = Number(token)
  const size = Math.abs(number)
  if (isFewDigits && size > smallSize && size < largeSize) return true
  // As most programs write them, and told in a fraction of the time.
  if (String(number) === token) return true
  if (Number.isNaN(number)) return true // No JSON: the parser says so.
  if (!Number.isFinite(number) || number === 0) return false
  return canonical(token) === canonical(String(number))
}

/** Digits of a number without the zeros before and behind all others. A line may have tens of thousands of numbers. */
function significantDigits(text: string, start: number, end: number): number {
  let digits = 0
  let significant = 0
  for (let position = start; position < end; position++) {
    const code = text.charCodeAt(position)
    if ((code | 0x20) === 0x65) break
    if (!isDigit(code) || (code === 0x30 && digits === 0)) continue
    digits++
    if (code !== 0x30) significant = digits
  }
  return significant
}

/** Whether a number is neither very large nor very small, as is told at a glance: by its few characters. */
function hasOrdinarySize(text: string, start: number, end: number): boolean {
  if (end - start > ordinaryLength) return false
  // An exponent of two digits is the longest.
  for (let position = start; position < end - 2; position++) {
    if ((text.charCodeAt(position) | 0x20) !== 0x65) continue
    const sign = text.charCodeAt(position + 1)
    return end - position <= (sign === minus || sign === plus ? 4 : 3)
  }
  return true
}

const ordinaryLength = 30

/** Between these, doubles are as dense as they are anywhere. */
const smallSize = 1e-290
const largeSize = 1e300

/** So many decimal digits are kept by every double of an ordinary size. */
const digitsOfDouble = 15

/** A non-zero decimal as its digits without zeros around them, and the power of ten of the last one. */
function canonical(token: string): string {
  const [mantissa = '', exponent = '0'] = token.toLowerCase().split('e')
  const unsigned = mantissa.startsWith('-') ? mantissa.slice(1) : mantissa
  const [whole = '', fraction = ''] = unsigned.split('.')
  const digits = `${whole}${fraction}`.replace(/^0+/, '')
  const significant = trimZeros(digits)
  const power = Number(exponent) - fraction.length + (digits.length - significant.length)
  return `${mantissa.startsWith('-') ? '-' : ''}${significant}e${power}`
}

/** Without zeros at the end. A regular expression would take quadratic time on `1000…0001`. */
function trimZeros(digits: string): string {
  let end = digits.length
  while (end > 0 && digits.charCodeAt(end - 1) === 0x30) end--
  return digits.slice(0, end)
}

/** Whether a string in a well-formed text has an escape `\uD8xx` … `\uDFxx` that is no half of a pair. */
function hasLoneSurrogate(text: string, start: number, end: number): boolean {
  if (levels.nextUnicode !== -1 && levels.nextUnicode < start) levels.nextUnicode = text.indexOf('\\u', start)
  let position = levels.nextUnicode
  while (position !== -1 && position < end) {
    const kind = isEscaped(text, position) ? undefined : surrogateAt(text, position)
    if (kind === 'low') return true
    if (kind === 'high') {
      if (surrogateAt(text, position + 6) !== 'low') return true
      position += 6
    }
    position = text.indexOf('\\u', position + (kind === undefined ? 2 : 6))
  }
  return false
}

/** Whether what stands at a position in a string has an odd number of backslashes before it, of which the last is for it. */
function isEscaped(text: string, position: number): boolean {
  let backslashes = 0
  while (text.charCodeAt(position - 1 - backslashes) === backslash) backslashes++
  return backslashes % 2 === 1
}

function surrogateAt(text: string, position: number): 'high' | 'low' | undefined {
  if (text.charCodeAt(position) !== backslash || text.charCodeAt(position + 1) !== 0x75) return undefined
  // No string is made for most.
  if ((text.charCodeAt(position + 2) | 0x20) !== 0x64) return undefined
  const unit = Number.parseInt(text.slice(position + 2, position + 6), 16)
  if (unit >= 0xd800 && unit <= 0xdbff) return 'high'
  if (unit >= 0xdc00 && unit <= 0xdfff) return 'low'
  return undefined
}

/**
 * One open array or object, and the names that have occurred in it. Most objects have a few names that differ in
 * length, first or last letter, which a mask of 32 bits shows without making a string.
 */
class Level {
  isObject = false
  /** How many objects are around it, itself counted. */
  objects = 0
  #mask = 0
  #count = 0
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  /** Instead of the list, for an object of many names or of names with escapes. */
  #set: Set<string> | undefined

  reset(isObject: boolean, objects: number): void {
    this.isObject = isObject
    this.objects = objects
    this.#mask = 0
    this.#count = 0
    this.#set = undefined
  }

  /** Whether the name between two positions has occurred; from now on it has. */
  hasName(text: string, start: number, end: number): boolean {
    if (this.#set !== undefined) return hasOrAdd(this.#set, unescape(text, start - 1, end + 1))
    if (this.#count === namesInListMax || hasBackslash(text, start, end)) {
      this.#set = new Set()
      for (let index = 0; index < this.#count; index++) {
        this.#set.add(text.slice(this.#starts[index], this.#ends[index]))
      }
      return hasOrAdd(this.#set, unescape(text, start - 1, end + 1))
    }
    const hash = (end - start) * 5 + text.charCodeAt(start) * 3 + text.charCodeAt(end - 1)
    const bit = 1 << (hash & 31)
    if ((this.#mask & bit) !== 0 && this.#isListed(text, start, end)) return true
    this.#mask |= bit
    this.#starts[this.#count] = start
    this.#ends[this.#count] = end
    this.#count++
    return false
  }

  #isListed(text: string, start: number, end: number): boolean {
    const name = text.slice(start, end)
    for (let index = 0; index < this.#count; index++) {
      const other = this.#starts[index] ?? 0
      if ((this.#ends[index] ?? 0) - other === name.length && text.startsWith(name, other)) return true
    }
    return false
  }
}

/** The open arrays and objects, by depth. A level is used again for the next object of its depth. */
class Levels {
  /**
   * The first backslash that the scanner has not passed, or −1: strings before it have no escapes. It is a field
   * because V8 moves a search whose result is a local variable into the loop that uses it, which makes reading a
   * line quadratic; it leaves alone what is stored.
   */
  nextBackslash = -1
  /** The same of the first `\\u`, which most texts with escapes do not have. */
  nextUnicode = -1
  readonly outermost = new Level()
  readonly #levels: Level[] = [this.outermost]

  enter(depth: number, around: Level, isObject: boolean): Level {
    let level = this.#levels[depth]
    if (level === undefined) {
      level = new Level()
      this.#levels[depth] = level
    }
    level.reset(isObject, around.objects + (isObject ? 1 : 0))
    return level
  }

  at(depth: number): Level {
    return this.#levels[depth] ?? this.outermost
  }
}

/** Used again for every text: the scanner never runs within itself. */
const levels = new Levels()

/** Above this many names, searching a list of them costs more than a set. */
const namesInListMax = 16

function hasBackslash(text: string, start: number, end: number): boolean {
  for (let position = start; position < end; position++) {
    if (text.charCodeAt(position) === backslash) return true
  }
  return false
}

function hasOrAdd(set: Set<string>, item: string): boolean {
  if (set.has(item)) return true
  set.add(item)
  return false
}

/** The string literal between two positions, quotes included; as it is written where it is no JSON. */
function unescape(text: string, start: number, end: number): string {
  const literal = text.slice(start, end)
  if (!literal.includes('\\')) return literal.slice(1, -1)
  try {
    return String(JSON.parse(literal))
  } catch {
    return literal
  }
}

/** The path to the value or name at a position. Slow: only for texts that are refused. */
function pathTo(text: string, target: number): (string | number)[] {
  const path: (string | number)[] = []
  let position = 0
  let beforeName = false
  while (position < target) {
    switch (text.charCodeAt(position)) {
      case quote: {
        const end = endOfString(text, position)
        if (end === -1) return path
        if (beforeName) path[path.length - 1] = unescape(text, position, end + 1)
        beforeName = false
        position = end
        break
      }
      case openBrace:
        path.push('')
        beforeName = true
        break
      case openBracket:
        path.push(0)
        break
      case closeBrace:
      case closeBracket:
        path.pop()
        beforeName = false
        break
      case comma: {
        const step = path.at(-1)
        if (typeof step === 'number') path[path.length - 1] = step + 1
        else beforeName = step !== undefined
        break
      }
      default:
    }
    position++
  }
  // At a name, the fault is the object's.
  if (beforeName) path.pop()
  return path
}

const quote = 0x22
const plus = 0x2b
const comma = 0x2c
const minus = 0x2d
const dot = 0x2e
const colon = 0x3a
const openBracket = 0x5b
const backslash = 0x5c
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
