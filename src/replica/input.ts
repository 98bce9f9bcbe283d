import type { Cut } from './cut.ts'
import type { ClientRequest, PeerMessage } from './messages.ts'
import type { Origin, ServerId } from './version.ts'

/** A connected client, by a number that the shell never uses again. */
export type ClientId = number

/** All that can happen to a replica. Nothing else reaches it: no clock, no randomness, no I/O. */
export type Input =
  /** Time passes. Comes often enough for {@link Timing}; `nowMs` never falls and means nothing absolute. */
  | { readonly kind: 'tick'; readonly nowMs: number }
  /** The last step left work undone (`Output.more`): go on with it. */
  | { readonly kind: 'continue' }
  | {
      readonly kind: 'request'
      readonly client: ClientId
      readonly id: number
      readonly request: ClientRequest
    }
  /** All that was sent to this client has left the process; it can take more. */
  | { readonly kind: 'clientDrained'; readonly client: ClientId }
  /** Too much of what was sent to this client has not left yet; it is to be sent no more until it has. */
  | { readonly kind: 'clientStalled'; readonly client: ClientId }
  | { readonly kind: 'clientGone'; readonly client: ClientId }
  /** This server may now send to `peer`, whose cut is `applied`. */
  | { readonly kind: 'linkUp'; readonly peer: ServerId; readonly origin: Origin; readonly applied: Cut }
  | { readonly kind: 'linkDown'; readonly peer: ServerId; readonly origin: Origin }
  /** `peer` may now send to this server. */
  | { readonly kind: 'peerHeard'; readonly peer: ServerId; readonly origin: Origin }
  | { readonly kind: 'peerSilent'; readonly peer: ServerId; readonly origin: Origin }
  /**
   * The other servers that this one knows of, by all it has been told; comes again when it changes. `unidentified`
   * counts the addresses of which nobody knows whose they are.
   */
  | { readonly kind: 'members'; readonly ids: readonly ServerId[]; readonly unidentified: number }
  | { readonly kind: 'message'; readonly from: ServerId; readonly message: PeerMessage }
