import type { ClientMethod } from '../protocol/client-messages.ts'
import type { ClientResults, ReadValue, ToldKeyVersions } from '../protocol/client-results.ts'
import type { Version } from '../replica/version.ts'

/**
 * The versions that a client has seen once it has an answer (R9): those of its writes, and of values, tombstones and
 * conflicting versions. Where a server only says how it is, nothing of the store has been seen.
 */
export function versionsSeenIn<Method extends ClientMethod>(
  method: Method,
  result: ClientResults[Method],
): Iterable<Version> {
  return readers[method](result)
}

const readers: { readonly [Method in ClientMethod]: (result: ClientResults[Method]) => Iterable<Version> } = {
  write: ({ version }) => [version],
  delete: ({ version }) => [version],
  batch: ({ version }) => [version],
  read: (result) => ('values' in result ? result.values.flatMap(ofValue) : ofValue(result)),
  conflicts: ({ keys }) => keys.flatMap(versionsOfKey),
  why: ({ versions }) => versions.map(({ version }) => version),
  hello: none,
  challenge: none,
  keys: none,
  watch: none,
  unwatch: none,
  status: none,
  waiting: none,
  link: none,
}

/** Those of one key with conflicting versions. */
export function versionsOfKey({ versions }: ToldKeyVersions): readonly Version[] {
  return versions.map(({ version }) => version)
}

function ofValue({ version, conflicts = [] }: ReadValue): readonly Version[] {
  const others = conflicts.map((conflict) => conflict.version)
  return version === undefined ? others : [version, ...others]
}

function none(): readonly Version[] {
  return []
}
