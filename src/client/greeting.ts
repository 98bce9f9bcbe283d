import { showAddress, type Address } from '../protocol/address.ts'
import { makeNonce, proofMatches, proofOf } from '../protocol/authentication.ts'
import type { ClientMethod } from '../protocol/client-messages.ts'
import type { ClientResults } from '../protocol/client-results.ts'
import { protocolVersion } from '../protocol/limits.ts'
import { TidingsError } from './tidings-error.ts'

/** Asks something on the connection that is being made. */
export type Converse = <Method extends ClientMethod>(
  method: Method,
  params: object,
) => Promise<ClientResults[Method]>

/**
 * Makes sure that both sides know the secret, where there is one, and that both speak the same protocol.
 *
 * @param options.id what the client is called; a client without a name is not told about.
 * @throws TidingsError ERR_NOT_AUTHORISED, ERR_PROTOCOL_VERSION, or what the server answered.
 */
export async function greet(
  converse: Converse,
  options: {
    readonly address: Address
    readonly id: string | undefined
    readonly secret: string | undefined
  },
): Promise<ClientResults['hello']> {
  const { address, id, secret } = options
  const token = secret === undefined ? undefined : await prove(converse, secret, address)
  const params = { ...(id === undefined ? {} : { session: id }), ...(token === undefined ? {} : { token }) }
  const greeting = await converse('hello', params)
  if (greeting.protocol === protocolVersion) return greeting
  const message =
    `${showAddress(address)} speaks protocol ${greeting.protocol}, and this client ` +
    `${protocolVersion}; run the same release on both`
  throw new TidingsError('ERR_PROTOCOL_VERSION', message)
}

/** @returns this side's proof, once the server has given its own. */
async function prove(converse: Converse, secret: string, address: Address): Promise<string> {
  const caller = makeNonce()
  const answer = await converse('challenge', { nonce: caller })
  const nonces = { caller, responder: answer.nonce }
  if (proofMatches(answer.proof, { secret, role: 'server', nonces })) {
    return proofOf({ secret, role: 'client', nonces })
  }
  const message = `${showAddress(address)} does not know the secret that this client was given; use the mesh's own`
  throw new TidingsError('ERR_NOT_AUTHORISED', message)
}
