import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AddressRewriter } from './address-rewriter.ts'

const members = '{"jsonrpc":"2.0","method":"peer.members","params":{"members":[]}}'
const updates = '{"jsonrpc":"2.0","method":"peer.updates","params":{"updates":["peer.members, ä, 漢"]}}'

/** What comes through where a stream arrives in pieces of some lengths. */
function passed(text: string, lengths: readonly number[]): string {
  const rewriter = new AddressRewriter((line) => `<${line}>`)
  const bytes = Buffer.from(text)
  const pieces: Buffer[] = []
  let start = 0
  for (const length of [...lengths, bytes.length]) {
    pieces.push(rewriter.push(bytes.subarray(start, start + length)))
    start += length
  }
  return Buffer.concat(pieces).toString('utf8')
}

describe('what passes a proxy between servers', () => {
  it('is the same, but for the greeting and for what tells addresses, in whatever pieces it comes', () => {
    const lines = fc.array(fc.constantFrom(members, updates, '', '{}', `{"id":1,"result":{}}`), {
      minLength: 1,
      maxLength: 8,
    })
    const lengths = fc.array(fc.nat({ max: 80 }), { maxLength: 30 })
    fc.assert(
      fc.property(lines, lengths, (sent, cuts) => {
        const got = sent.map((line, index) => (index === 0 || line === members ? `<${line}>` : line))
        expect(passed(`${sent.join('\n')}\n`, cuts)).toBe(`${got.join('\n')}\n`)
      }),
    )
  })

  it('is not held up where a line is long', () => {
    const rewriter = new AddressRewriter((line) => line)
    rewriter.push(Buffer.from('{}\n'))
    const start = updates.slice(0, 70)
    expect(rewriter.push(Buffer.from(start)).toString('utf8')).toBe(start)
  })
})
