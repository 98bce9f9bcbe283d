import { ProtocolError } from '../protocol/errors.ts'
import { cutAt, type WireCut } from '../protocol/wire-forms.ts'
import type { Cut, MutableCut } from '../replica/cut.ts'
import { TidingsError } from './tidings-error.ts'

/** A cut as a program keeps it: a Map, or, after a trip through JSON, an object. */
export type GivenCut = Cut | WireCut

/**
 * A copy of a cut that a program gave.
 *
 * @param name what the program calls it, for the message.
 * @throws TidingsError ERR_INVALID_ARGUMENT for what is no cut.
 */
export function copyOfCut(given: GivenCut, name: string): MutableCut {
  try {
    return new Map(cutAt(given instanceof Map ? Object.fromEntries(given) : given, name))
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    throw new TidingsError('ERR_INVALID_ARGUMENT', error.message, { cause: error })
  }
}
