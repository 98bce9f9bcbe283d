/** What the servers of the story are seen to do, and to hold. */
import { showVersion, type ReadValue, type ToldMissing, type Version } from '../client/client.ts'
import { compareVersions } from '../replica/version.ts'
import type { ServerEvent } from '../server/narrator.ts'
import type { Player } from './cast.ts'
import type { Claims } from './claims.ts'

/** Claims of each server that it holds these values under these versions, at one moment, and nothing beside them. */
export async function agree(
  players: readonly Player[],
  claims: Claims,
  values: readonly ReadValue[],
): Promise<void> {
  const keys = values.map(({ key }) => key)
  for (const { client, process } of players) {
    claims.same(`server ${process.id} holds ${keys.join(', ')}`, await client.readMany(keys), values)
  }
}

export function found(key: string, value: string, version: Version): ReadValue {
  return { key, found: true, value, version }
}

/**
 * Waits until a server applies a version.
 *
 * @param from the server that it has to come from; any where it is absent, for a push that is late is pulled.
 */
export function applied({ process }: Player, version: Version, from?: string): Promise<Applied> {
  return process.saw(
    `it applies ${showVersion(version)}${from === undefined ? '' : ` from server ${from}`}`,
    (event): event is Applied =>
      isApplied(event) && isSame(event.update, version) && (from ?? event.from) === event.from,
  )
}

type Applied = Extract<ServerEvent, { kind: 'applied' }>

export function isApplied(event: ServerEvent): event is Applied {
  return event.kind === 'applied'
}

export function isTaken(version: Version) {
  return (event: ServerEvent): event is Extract<ServerEvent, { kind: 'taken' }> =>
    event.kind === 'taken' && isSame(event.update, version)
}

export function isWaiting(version: Version) {
  return (event: ServerEvent): event is Extract<ServerEvent, { kind: 'waiting' }> =>
    event.kind === 'waiting' && isSame(event.update, version)
}

export function isConflict(event: ServerEvent): event is Extract<ServerEvent, { kind: 'conflict' }> {
  return event.kind === 'conflict'
}

export function isLeaving(id: string) {
  return (event: ServerEvent): event is Extract<ServerEvent, { kind: 'linkLost' }> =>
    event.kind === 'linkLost' && event.peer === id
}

export function isRecovered(event: ServerEvent): event is Extract<ServerEvent, { kind: 'recovered' }> {
  return event.kind === 'recovered'
}

/** An update is a version too, with more to it. */
export function versionOf({ timestamp, origin }: Version): Version {
  return { timestamp, origin }
}

function isSame(one: Version, other: Version): boolean {
  return compareVersions(one, other) === 0
}

export function heldBack({ version, link }: ToldMissing) {
  const { state, queued } = link === 'absent' ? { state: link, queued: 0 } : link
  return { version: showVersion(version), state, queued }
}

export function whose({ keys, holders }: ToldMissing) {
  return { keys, holders: [...holders].sort(byName) }
}

function byName(one: string, other: string): number {
  return one.localeCompare(other)
}
