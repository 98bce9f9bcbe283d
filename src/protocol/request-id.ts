import type { JsonRpcId } from './json-rpc.ts'
import { isName } from './wire-forms.ts'

/**
 * The id under which a message is answered: what was parsed where it is one, and null where there is none.
 *
 * @returns undefined for what is no id: it could not be sent back as it came. Whole numbers beyond 2^53 have been lost
 *   when they were parsed, a string may be too long to be repeated, and half a surrogate pair has no UTF-8.
 */
export function requestIdOf(id: unknown): JsonRpcId | undefined {
  if (id === undefined || id === null) return null
  if (typeof id === 'number') return Number.isSafeInteger(id) || isFraction(id) ? id : undefined
  return id === '' || isName(id) ? id : undefined
}

function isFraction(id: number): boolean {
  return Number.isFinite(id) && !Number.isInteger(id)
}
