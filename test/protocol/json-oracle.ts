import * as fc from 'fast-check'

/**
 * A reader of JSON that is as plain as can be, and says what the scanner of `json-text.ts` should find: written
 * from the rules, not from the scanner.
 */
export function rulesBroken(text: string, depthMax: number): ReadonlySet<string> {
  const broken = new Set<string>()
  let at = 0

  const space = (): void => {
    while (' \t\r\n'.includes(text[at] ?? '-')) at++
  }
  const string = (): string => {
    let end = at + 1
    while (text[end] !== '"') end += text[end] === '\\' ? 2 : 1
    const decoded = JSON.parse(text.slice(at, end + 1)) as string
    at = end + 1
    for (const character of decoded) {
      const unit = character.codePointAt(0) ?? 0
      if (unit >= 0xd800 && unit <= 0xdfff) broken.add('surrogate')
    }
    return decoded
  }
  const value = (depth: number, objects: number): void => {
    space()
    if (depth > depthMax && (text[at] === '{' || text[at] === '[')) broken.add('depth')
    if (text[at] === '{') {
      at++
      const names: string[] = []
      for (space(); text[at] !== '}'; space()) {
        if (text[at] === ',') at++
        space()
        const name = string()
        if (objects + 1 >= 3 && names.includes(name)) broken.add('name')
        names.push(name)
        space()
        at++
        value(depth + 1, objects + 1)
      }
      at++
    } else if (text[at] === '[') {
      at++
      for (space(); text[at] !== ']'; space()) {
        if (text[at] === ',') at++
        value(depth + 1, objects)
      }
      at++
    } else if (text[at] === '"') {
      string()
    } else {
      const token = /^[-+.\w]+/.exec(text.slice(at))?.[0] ?? ''
      at += token.length
      if (/^-?\d/.test(token) && objects >= 2 && !comesBack(token)) broken.add('number')
    }
    space()
  }

  value(1, 0)
  return broken
}

/** Whether a number's text and the text that JSON writes for it are one decimal, by exact arithmetic. */
export function comesBack(token: string): boolean {
  const written = JSON.stringify(JSON.parse(token))
  if (written === 'null' || token.startsWith('-') !== written.startsWith('-')) return false
  const [a, b] = [fractionOf(token), fractionOf(written)]
  return a.digits * b.scale === b.digits * a.scale
}

function fractionOf(token: string): { digits: bigint; scale: bigint } {
  const [mantissa = '', exponent = '0'] = token.toLowerCase().split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  const power = Number(exponent) - fraction.length
  const digits = BigInt(whole + fraction)
  return power >= 0
    ? { digits: digits * 10n ** BigInt(power), scale: 1n }
    : { digits, scale: 10n ** BigInt(-power) }
}

const digits = fc.stringMatching(/^\d{1,22}$/)

/** Numbers as people and programs write them, and as they should not. */
export const numberTexts: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    '0',
    '-0',
    '-0.0',
    '0.10',
    '1.0',
    '1e300',
    '1E+2',
    '1e999',
    '-1e999',
    '1e-400',
    '0e5',
    '5e-324',
  ),
  fc.constantFrom('9007199254740993', '9007199254740992', '3.14159265358979323846', '1e23', '100e-2', '1e20'),
  fc.double({ noDefaultInfinity: true, noNaN: true }).map((number) => JSON.stringify(number)),
  fc.integer().map(String),
  fc
    .tuple(
      fc.constantFrom('', '-'),
      digits,
      fc.option(digits),
      fc.option(fc.integer({ min: -330, max: 310 })),
    )
    .map(([sign, whole, fraction, exponent]) => {
      const unpadded = whole.replace(/^0+(?=\d)/, '')
      return `${sign}${unpadded}${fraction === null ? '' : `.${fraction}`}${exponent === null ? '' : `e${exponent}`}`
    }),
)

const stringTexts = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom('""', '"a"', '"b"', '"key"', '"value"', '"a b"', '"1e999"', '"{[,:]}"'),
  },
  fc.constantFrom('"\\u0061"', '"\\""', '"\\\\"', '"\\\\\\""', '"\\\\ud83d"', '"__proto__"', '"ä😀"'),
  fc.constantFrom(
    '"\\ud83d\\ude00"',
    '"\\ud83d"',
    '"\\ude00"',
    '"\\ud83dx\\ude00"',
    '"\\ud83d\\ud83d\\ude00"',
  ),
  fc.string().map((text) => JSON.stringify(text)),
)

const spaces = fc.constantFrom('', '', '', ' ', '\t', ' \r ')

/** Texts that are JSON, written in every way, among them such as may not be kept. */
export const jsonTexts: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    fc.oneof(numberTexts, stringTexts, fc.constantFrom('true', 'false', 'null')),
    fc
      .tuple(spaces, fc.array(fc.tuple(tie('value'), spaces), { maxLength: 4 }))
      .map(([before, items]) => `[${before}${items.map(([item, after]) => `${item}${after}`).join(',')}]`),
    fc
      .tuple(spaces, fc.array(fc.tuple(stringTexts, spaces, tie('value'), spaces), { maxLength: 5 }))
      .map(
        ([before, items]) =>
          `{${before}${items.map(([name, colon, item, after]) => `${name}${colon}:${colon}${item}${after}`).join(',')}}`,
      ),
  ),
})).value
