import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'

/**
 * Mutual challenge and response with a shared secret, without ever sending it.
 *
 * The caller (a client, or the server that dials) sends a nonce; the responder answers with a nonce of its own
 * and its proof; the caller, once that proof matches, sends its own with `hello` or `peer.hello`. A proof is the
 * HMAC-SHA-256 of a label and both nonces (RFC 2104). The label names the role of whoever proves, so a proof
 * cannot be sent back to its maker as an answer; the nonces are new each time, so none can be used again.
 *
 * Not promised: secrecy, or protection from somebody who can alter what is on its way. The proof is not bound to
 * the connection, so whoever sits in the middle may pass it through and then speak in its stead. Where the
 * network is not trusted, put TLS or a tunnel around it.
 */
export type Role = 'client' | 'peer' | 'server'

/** 32 random bytes each, in hexadecimal. */
export interface Nonces {
  /** Of the side that dialled. */
  readonly caller: string
  readonly responder: string
}

export interface Proving {
  readonly secret: string
  /** Of the side that proves: `server` is the responder; a caller is a `client` or a `peer`. */
  readonly role: Role
  readonly nonces: Nonces
}

/** 32 random bytes as 64 hexadecimal digits. Each is used for one challenge. */
export function makeNonce(): string {
  return randomBytes(nonceBytes).toString('hex')
}

/** The proof of knowing the secret, as 64 hexadecimal digits. */
export function proofOf(proving: Proving): string {
  return digest(proving).toString('hex')
}

/** Whether a proof is the right one; takes the same time for every wrong one of the right form. */
export function proofMatches(proof: string, proving: Proving): boolean {
  if (!isHex32(proof)) return false
  return timingSafeEqual(Buffer.from(proof, 'hex'), digest(proving))
}

/** Whether a text is 32 bytes in lower-case hexadecimal, as nonces and proofs are. */
export function isHex32(text: string): boolean {
  return hex32.test(text)
}

/**
 * Reads the secret from a file; line ends after it do not belong to it.
 *
 * @returns the secret, and a warning where others may read the file.
 * @throws Error in words for the operator where the file cannot be read or its secret is too short.
 */
export function readSecretFile(path: string): { readonly secret: string; readonly warning?: string } {
  let text: string
  let mode: number
  try {
    text = readFileSync(path, 'utf8')
    mode = statSync(path).mode
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`the secret file ${path} cannot be read (${reason})`, { cause: error })
  }
  const secret = text.replace(/[\r\n]+$/, '')
  const objection = checkSecret(secret)
  if (objection !== undefined) throw new Error(`the secret file ${path} ${objection}`)
  const othersMayRead = process.platform !== 'win32' && (mode & 0o077) !== 0
  if (!othersMayRead) return { secret }
  return {
    secret,
    warning: `other users of this machine may read the secret file ${path}; chmod 600 ${path}`,
  }
}

/** @returns what is wrong with a secret, to be said after the name of its file; undefined for a good one. */
export function checkSecret(secret: string): string | undefined {
  const bytes = Buffer.byteLength(secret)
  if (bytes >= secretBytesMin) return undefined
  return (
    `holds a secret of ${bytes} bytes, and whoever overhears one greeting can try short ones in peace; ` +
    `use at least ${secretBytesMin}, such as those of \`openssl rand -hex 32\``
  )
}

/** Shorter secrets can be guessed from one recorded greeting. */
export const secretBytesMin = 16

const nonceBytes = 32
const hex32 = /^[0-9a-f]{64}$/

function digest({ secret, role, nonces }: Proving): Buffer {
  return createHmac('sha256', secret)
    .update(`tidings 1 ${role}\n${nonces.caller}\n${nonces.responder}`)
    .digest()
}
