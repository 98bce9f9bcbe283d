import { isLoopback, parseAddresses, type Address } from '../protocol/address.ts'
import { readSecretFile } from '../protocol/authentication.ts'
import type { ServerId } from '../replica/version.ts'

/** What a server needs to know before it starts. */
export interface ServerOptions {
  readonly server: ServerId
  readonly port: number
  readonly host: string
  readonly peers: readonly Address[]
  /** Shared by all servers and clients of a mesh; absent where none is asked for. */
  readonly secret?: string
  /** Listening beyond this machine without a secret was asked for in so many words. */
  readonly isInsecure: boolean
  /** Whether `link` may hold, delay and cut links. */
  readonly isLab: boolean
}

/** What a write survives: see R6. */
export type Durability = 'sync' | 'async' | 'memory'

/** Where a server keeps its data where nobody says otherwise; below the directory in which it was started. */
export function defaultFolder(server: ServerId): string {
  return `./tidings-data/${server}`
}

/** The operator asked for something that cannot be; the message says what, why, and what to try. Exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** @returns what is wrong with a port as text, or undefined. Port 0 means any free one. */
export function portObjection(text: string): string | undefined {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return undefined
  return `"${text}" is not a port; ports go from 1 to 65535 (0 for any free one), for example 60001`
}

/** @returns what is wrong with a server id, or undefined. */
export function serverIdObjection(text: string): string | undefined {
  if (/^[A-Za-z0-9_.-]{1,32}$/.test(text)) return undefined
  return `"${text}" is not a server id; use 1 to 32 of A–Z a–z 0–9 _ . -, for example 1`
}

/** @returns what is wrong with a list of other servers, or undefined. */
export function peersObjection(text: string): string | undefined {
  const addresses = parseAddresses(text)
  return typeof addresses === 'string' ? addresses : undefined
}

/**
 * Nobody is let in from other machines by accident.
 *
 * @throws UsageError for a host beyond this machine with neither a secret nor `--insecure`.
 */
export function requireSafeHost(
  host: string,
  safety: { readonly hasSecret: boolean; readonly isInsecure: boolean },
): void {
  if (isLoopback(host) || safety.hasSecret || safety.isInsecure) return
  throw new UsageError(
    `listening on ${host} would let anybody who reaches this machine read and write everything; ` +
      'give all servers and clients the same --secret-file FILE, or say --insecure',
  )
}

/**
 * @returns the secret, and a warning where others may read its file.
 * @throws UsageError where the file cannot be read or holds no good secret.
 */
export function readSecret(file: string): { readonly secret: string; readonly warning?: string } {
  try {
    return readSecretFile(file)
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error })
  }
}
