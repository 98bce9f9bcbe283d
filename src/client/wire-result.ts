import type {
  ReadValue,
  ToldKeyVersions,
  ToldMissingEntry,
  ToldSibling,
  ToldStatus,
  ToldStory,
  ToldWaiting,
} from '../protocol/client-results.ts'
import { cutToWire, versionToWire } from '../protocol/wire-forms.ts'
import type { TidingsError } from './tidings-error.ts'
import type { WatchEvent } from './watch.ts'

/**
 * Results in the form that they have on the wire, for `--json`: so that what a script learns from `tidings client` and
 * from a bare socket is the same.
 */
export const wireResult = {
  written: ({
    key,
    version,
  }: {
    readonly key: string
    readonly version: ReadValue['version'] & object
  }): object => ({
    key,
    version: versionToWire(version),
  }),

  value: ({ version, conflicts, ...rest }: ReadValue): object => ({
    ...rest,
    ...(version === undefined ? {} : { version: versionToWire(version) }),
    ...(conflicts === undefined ? {} : { conflicts: conflicts.map(sibling) }),
  }),

  keyVersions,

  status: ({ applied, peers, ...rest }: ToldStatus): object => ({
    ...rest,
    applied: cutToWire(applied),
    peers: peers.map((peer) =>
      peer.applied === undefined ? peer : { ...peer, applied: cutToWire(peer.applied) },
    ),
  }),

  waiting: ({ version, waitsFor, ...rest }: ToldWaiting): object => ({
    ...rest,
    version: versionToWire(version),
    waitsFor: waitsFor.map(versionToWire),
  }),

  story: ({ versions, waiting, missing, ...rest }: ToldStory): object => ({
    ...rest,
    versions: versions.map(sibling),
    waiting: waiting.map(({ version, waitsFor, ...rest }) => ({
      ...rest,
      version: versionToWire(version),
      waitsFor: waitsFor.map(missingVersion),
    })),
    missing: missing.map(missingVersion),
  }),

  missingEntry: ({ version, ...rest }: ToldMissingEntry): object => ({
    version: versionToWire(version),
    ...rest,
  }),

  /** What a program needs of an error: `request` is what retries a write that may have happened. */
  error: ({ code, definite, data, request }: TidingsError): object => ({
    code,
    definite,
    data,
    ...(request === undefined ? {} : { request }),
  }),

  event: (event: WatchEvent): object => {
    if (event.kind === 'resync') return event
    if (event.kind === 'caughtUp') return { kind: event.kind, applied: cutToWire(event.applied) }
    const { kind, version, writes, conflict } = event
    const told = conflict === undefined ? {} : { conflict: conflict.map(keyVersions) }
    return { kind, version: versionToWire(version), writes, ...told }
  },
}

function keyVersions({ key, versions }: ToldKeyVersions): object {
  return { key, versions: versions.map(sibling) }
}

function sibling({ version, ...rest }: ToldSibling): object {
  return { version: versionToWire(version), ...rest }
}

function missingVersion({ version, ...rest }: ToldStory['missing'][number]): object {
  return { version: versionToWire(version), ...rest }
}
