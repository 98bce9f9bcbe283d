import { describe, expect, it } from 'vitest'
import { encodeError, parseRpcLine } from '../../src/protocol/json-rpc.ts'
import { nameBytesMax } from '../../src/protocol/limits.ts'
import { refusalBy } from '../protocol/refusal.ts'

/** What fuzzing has found, each with the rule that it broke. */
describe('fuzzing found that', () => {
  it.each([
    ['is too long to be repeated', JSON.stringify('x'.repeat(nameBytesMax + 1))],
    ['takes more bytes than a name may', JSON.stringify('ü'.repeat(nameBytesMax / 2 + 1))],
    ['has half a surrogate pair', String.raw`"\ud800"`],
    ['is a number that was lost when it was parsed', '9007199254740993'],
  ])('a line whose value cannot be kept was answered under an id that %s; now under null', (_why, id) => {
    const line = `{"jsonrpc":"2.0","id":${id},"method":"write","params":{"key":"x","value":1e999}}`
    const error = refusalBy(() => parseRpcLine(line))
    expect(error.code).toBe(-32602)
    expect(JSON.parse(encodeError(error))).toMatchObject({ id: null })
  })

  it('the bound of an id was counted in UTF-16 units, and not in bytes as it is documented', () => {
    const line = (id: string): string => JSON.stringify({ jsonrpc: '2.0', id, method: 'status' })
    const longest = 'ü'.repeat(nameBytesMax / 2)
    expect(parseRpcLine(line(longest))).toMatchObject({ message: { kind: 'request', id: longest } })
    expect(parseRpcLine(line(`${longest}x`))).toMatchObject({ message: { kind: 'invalid', id: null } })
  })
})
