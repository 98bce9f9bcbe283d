import { showRunVersion } from './run-version.ts'
import { isAboutLost, TidingsError } from './tidings-error.ts'

/** What was given on the command line that an error may be about. */
export interface GivenWords {
  readonly hasSecret: boolean
  /** One command, whose `--after` nobody but its caller keeps. */
  readonly isOneShot: boolean
}

/** The same error in the words of the command line: which flag to give, or to give otherwise. */
export function commandLineError(error: TidingsError, { hasSecret, isOneShot }: GivenWords): TidingsError {
  if (error.code === 'ERR_NOT_AUTHORISED' && !hasSecret)
    return saying(error, 'this server needs --secret-file FILE')
  if (!isOneShot || !isAboutLost(error)) return error
  const lost = error.missing.filter((entry) => entry.lost)
  const [is, it] = lost.length === 1 ? ['is', 'it'] : ['are', 'them']
  const versions = lost.map(({ version }) => showRunVersion(version)).join(', ')
  const message = `${versions} ${is} lost: every server is connected, and none has ${it}; leave ${it} out of --after`
  return saying(error, message)
}

function saying(error: TidingsError, message: string): TidingsError {
  const { code, definite, wireCode, data, missing, request } = error
  return new TidingsError(code, message, {
    definite,
    data,
    missing,
    cause: error,
    ...(wireCode === undefined ? {} : { wireCode }),
    ...(request === undefined ? {} : { request }),
  })
}
