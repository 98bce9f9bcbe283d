/** Two different servers, in an order: the link on which the first sends to the second. */
export interface Link {
  readonly from: string
  readonly to: string
}

/** Which way what is held goes: what the dialling server sends, its answers, or both. */
export type Direction = 'there' | 'back' | 'both'

/**
 * What is between servers, and what can be done to it. A directed link is a connection of its own, which its sender
 * dials, and each can be treated by itself.
 */
export interface Network {
  /** Whether links can be made slow. */
  readonly canDelay: boolean
  /** Where a server listens. */
  place(server: string): { readonly host: string; readonly port: number }
  /** Where clients find it, a port of 127.0.0.1. */
  clientPort(server: string): number
  /** Where the sender of a link finds its receiver, `host:port`. */
  dialled(link: Link): string
  /** The words before a server's own in its command line. */
  launcher(server: string): readonly string[]
  /** Breaks a link, and lets none come about. */
  cut(link: Link): Promise<void>
  /** Breaks a link for a moment. */
  flap(link: Link): Promise<void>
  /** Nothing passes, and nobody is told. */
  hold(link: Link, direction: Direction): Promise<void>
  delay(link: Link, delayMs: number): Promise<void>
  /** The link is as it was before anything was done to it. */
  heal(link: Link): Promise<void>
  close(): Promise<void>
}

/** All links between some servers. */
export function linksOf(servers: readonly string[]): readonly Link[] {
  return servers.flatMap((from) => servers.filter((to) => to !== from).map((to) => ({ from, to })))
}

/** A link as a text, to be found by. */
export function nameOf({ from, to }: Link): string {
  return `${from}→${to}`
}
