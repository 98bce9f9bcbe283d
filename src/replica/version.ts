/**
 * A Lamport time: a positive safe integer. It counts causally ordered writes, it is no wall-clock time.
 * Source: Lamport 1978, "Time, Clocks, and the Ordering of Events in a Distributed System"; rule R1.
 */
export type Timestamp = number

declare const originBrand: unique symbol

/**
 * The server that took a write, in one run of its process: `<server id>~<incarnation>`, such as `1~m3k9x`.
 * Every start of a process is a new origin (R7), so an origin's timestamps are never issued twice.
 */
export type Origin = string & { readonly [originBrand]: true }

/** What people call a server: 1 to 32 characters of `A–Z a–z 0–9 _ . -`. */
export type ServerId = string

/** The immutable identity of an update. Receivers never re-stamp it (R1). */
export interface Version {
  readonly timestamp: Timestamp
  readonly origin: Origin
}

export function makeOrigin(parts: { readonly server: ServerId; readonly incarnation: string }): Origin {
  return `${parts.server}~${parts.incarnation}` as Origin
}

/** The server id that people are shown: `1~m3k9x` → `1`. */
export function serverOf(origin: Origin): ServerId {
  return origin.slice(0, origin.indexOf('~'))
}

/**
 * The total order that decides who wins: by timestamp, then by origin in code units (R1). It extends
 * happened-before, because an update's timestamp is above those of all its dependencies.
 *
 * @returns below 0 where `a` comes before `b`, 0 where they are the same version, above 0 otherwise.
 */
export function compareVersions(a: Version, b: Version): number {
  if (a.timestamp !== b.timestamp) return a.timestamp - b.timestamp
  return a.origin < b.origin ? -1 : a.origin > b.origin ? 1 : 0
}

/** How messages to people name a version: `3@1`, Lamport time 3 at server 1. */
export function showVersion(version: Version): string {
  return `${version.timestamp}@${serverOf(version.origin)}`
}
