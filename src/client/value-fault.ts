import { valueDepthMax } from '../protocol/limits.ts'
import { isWellFormed } from '../protocol/wire-forms.ts'

/**
 * Why a value would not come back from the store as it went in, or undefined for a good one.
 *
 * `JSON.stringify` is silent about what it cannot say: it leaves out `undefined` and functions, makes `null` of NaN,
 * text of a Date and `{}` of a Map. Whoever writes such a value means something else than what would be stored.
 *
 * @param path where the value stands, for the message: `value.items[3]`.
 */
export function valueFault(value: unknown, path: string, levels: number = valueDepthMax): string | undefined {
  switch (typeof value) {
    case 'string':
      return isWellFormed(value)
        ? undefined
        : `${path} holds half of a surrogate pair; write whole characters`
    case 'number':
      return Number.isFinite(value)
        ? undefined
        : `${path} is ${value}, which JSON has no number for; write it as text`
    case 'boolean':
      return undefined
    case 'object':
      return value === null ? undefined : objectFault(value, path, levels)
    case 'undefined':
      return `${path} is undefined, which is no JSON; leave it out, or write null`
    case 'bigint':
      return `${path} is a bigint, which is no JSON; write it as text`
    case 'function':
    case 'symbol':
      return `${path} is a ${typeof value}, which is no JSON`
  }
}

function objectFault(value: object, path: string, levels: number): string | undefined {
  if (levels === 0) return `${path} is nested deeper than ${valueDepthMax} levels; write it as text`
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      const fault = valueFault(item, `${path}[${index}]`, levels - 1)
      if (fault !== undefined) return fault
    }
    return undefined
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null
  if (!isPlain) {
    return `${path} is a ${value.constructor.name}, which JSON would turn into something else; write plain objects, or text`
  }
  for (const [name, member] of Object.entries(value)) {
    if (!isWellFormed(name)) return `${path} has a name with half of a surrogate pair; write whole characters`
    const fault = valueFault(member, `${path}.${name}`, levels - 1)
    if (fault !== undefined) return fault
  }
  return undefined
}
