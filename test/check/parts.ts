import type { SeenVersion, TransactionPart } from '../../src/check/history-line.ts'

/** A write of a key; without a value its deletion. Without a version nobody was told one. */
export function updatePart(
  key: string,
  value: string | undefined,
  version: SeenVersion | undefined,
): TransactionPart {
  const told = version === undefined ? {} : { version }
  return value === undefined ? { op: 'delete', key, ...told } : { op: 'write', key, value, ...told }
}

/** A key as it was read: with a value, as a tombstone, or, without a version, never written. */
export function readPart(
  key: string,
  value: string | undefined,
  version: SeenVersion | undefined,
): TransactionPart {
  return version === undefined ? { op: 'read', key } : { op: 'read', key, ...seen(value, version) }
}

/** What was seen, where there was something. */
export function seen(
  value: string | undefined,
  version: SeenVersion,
): { readonly value?: string; readonly version: SeenVersion } {
  return value === undefined ? { version } : { value, version }
}
