import type { ClientCall } from '../../src/protocol/client-messages.ts'
import { encodeNotice, encodeRequest } from '../../src/protocol/json-rpc.ts'
import { encodeMembers, encodePeerMessage, type PeerCall } from '../../src/protocol/peer-messages.ts'
import { cutToWire } from '../../src/protocol/wire-forms.ts'
import type { ClientRequest } from '../../src/replica/messages.ts'

/** What a client would have sent for a call that the gateway let in: one line. */
export function clientCallText(call: ClientCall): string {
  return encodeRequest({ id: 1, method: call.method, params: paramsOf(call) })
}

function paramsOf(call: ClientCall): object {
  switch (call.method) {
    case 'hello':
      return { session: call.session, token: call.token }
    case 'challenge':
      return { nonce: call.nonce }
    case 'link':
      return { peer: call.peer, ...call.action }
    case 'write':
    case 'delete':
      return { ...call.request.writes[0], deleted: undefined, ...moreOf(call.request) }
    case 'batch':
      return { writes: call.request.writes, ...moreOf(call.request) }
    case 'read': {
      const { keys } = call.request
      return { ...(call.form === 'key' ? { key: keys[0] } : { keys }), ...moreOf(call.request) }
    }
    case 'keys': {
      const { prefix, from, limit } = call.request
      return { prefix, from, limit, ...moreOf(call.request) }
    }
    case 'watch': {
      const { prefix, since } = call.request
      return { prefix, since: typeof since === 'string' ? since : cutToWire(since) }
    }
    case 'unwatch':
      return { watch: call.request.watch }
    case 'conflicts':
      return { prefix: call.request.prefix, ...moreOf(call.request) }
    case 'why':
      return { key: call.request.key }
    case 'status':
    case 'waiting':
      return {}
  }
}

/** What a request is to come after, and what makes it happen once. */
function moreOf(request: ClientRequest): object {
  const { after, timeoutMs } = request as { after?: ReadonlyMap<string, number>; timeoutMs?: number }
  const stamp = request.method === 'write' ? request.request : undefined
  return {
    after: after === undefined ? undefined : Object.fromEntries(after),
    timeout: timeoutMs,
    request: stamp,
  }
}

/** What a server would have sent for a call that the gateway let in: one line, or several where one would be too long. */
export function peerCallText(call: PeerCall): string {
  switch (call.kind) {
    case 'hello':
      return encodeRequest({ id: 1, method: 'peer.hello', params: call.hello })
    case 'ping':
      return encodeNotice({ method: 'peer.ping', params: {} })
    case 'members':
      return encodeMembers(call.members)
    default:
      return encodePeerMessage(call)
  }
}
