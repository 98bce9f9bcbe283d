import { ProtocolError } from '../../src/protocol/errors.ts'

/** The ProtocolError that something throws, or undefined where it throws nothing; another error goes on. */
export function thrownBy(run: () => unknown): ProtocolError | undefined {
  try {
    run()
  } catch (error) {
    if (error instanceof ProtocolError) return error
    throw error
  }
  return undefined
}

/** The ProtocolError that something must throw. */
export function refusalBy(run: () => unknown): ProtocolError {
  const error = thrownBy(run)
  if (error === undefined) throw new Error('it was not refused')
  return error
}
