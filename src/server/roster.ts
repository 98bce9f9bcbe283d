import type { ServerId } from '../replica/version.ts'
import type { ServerEvent } from './narrator.ts'

/** A link seen from this server: `to` a peer, or `from` it. */
export type LinkDirection = 'to' | 'from'

/**
 * Who is there, as the operator is told: a peer has joined when links are up in both directions, and has left when
 * both are down; in between, one of them is lost.
 */
export class Roster {
  readonly #tell: (event: ServerEvent) => void
  readonly #up = new Map<ServerId, Set<LinkDirection>>()
  /** Peers whose joining has been told, and whose leaving has not. */
  readonly #joined = new Set<ServerId>()

  constructor(tell: (event: ServerEvent) => void) {
    this.#tell = tell
  }

  linkUp(peer: ServerId, direction: LinkDirection, address: string): void {
    const directions = this.#up.get(peer) ?? new Set()
    // A link that replaces another is no news: the peer was there all the time.
    if (directions.has(direction)) return
    this.#up.set(peer, directions.add(direction))
    if (directions.size < 2) return
    this.#joined.add(peer)
    this.#tell({ kind: 'peerJoined', peer, address })
  }

  linkDown(peer: ServerId, direction: LinkDirection, reason: string): void {
    const directions = this.#up.get(peer)
    if (directions?.delete(direction) !== true) return
    if (directions.size === 0) this.#up.delete(peer)
    if (!this.#joined.has(peer)) return
    if (directions.size > 0) {
      this.#tell({ kind: 'linkLost', peer, direction, reason })
      return
    }
    this.#joined.delete(peer)
    this.#tell({ kind: 'peerLeft', peer, reason })
  }
}
