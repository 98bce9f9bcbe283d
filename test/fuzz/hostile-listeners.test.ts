import { afterEach, describe, expect, it } from 'vitest'
import { errorTable } from '../../src/protocol/errors.ts'
import { peerLineBytesMax } from '../../src/protocol/limits.ts'
import { GuardedServer } from './guarded-server.ts'
import { HostileListener } from './hostile-listener.ts'

let server: GuardedServer
let listener: HostileListener

afterEach(async () => {
  await server.stop()
  await listener.stop()
})

const answer = (more: object): string => `${JSON.stringify({ jsonrpc: '2.0', id: 1, ...more })}\n`
const refusal = (code: number, data: object = { definite: true }): string =>
  answer({ error: { code, message: 'no', data } })
const hex32 = '9e'.repeat(32)

/** A server that dials is at the mercy of whoever listens there, until that has shown to know the secret. */
describe('whoever listens where a server is expected, and does not know its secret, changes nothing by saying', () => {
  it.each<readonly [string, string | Uint8Array | undefined]>([
    ['nothing, and hangs up', undefined],
    ['what is no JSON', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['what is no UTF-8', Buffer.from('ff0a', 'hex')],
    ['a line without end', 'x'.repeat(peerLineBytesMax + 2)],
    ['what is no message', '[]\n{}\n7\nnull\n'],
    ['an answer that is null', answer({ result: null })],
    ['a nonce without a proof', answer({ result: { nonce: hex32 } })],
    ['a proof of another secret', answer({ result: { nonce: hex32, proof: hex32 } })],
    [
      'the answer to a greeting that has not come',
      answer({ result: { server: '2', origin: '2~a', protocol: 1, applied: {}, members: [] } }),
    ],
    ['an error of no kind', refusal(7, {})],
    [
      'an error that answers nothing',
      `${JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32004, message: 'bye' } })}\n`,
    ],
    ['that the id is taken', refusal(errorTable.serverIdInUse.code)],
    [
      'that the id is taken, before it is asked',
      `${JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32006, message: 'no' } })}\n`,
    ],
    ['that protocols differ', refusal(errorTable.protocolVersion.code)],
    [
      'requests of its own',
      `${answer({ method: 'peer.hello', params: {} })}${answer({ method: 'write', params: {} })}`,
    ],
  ])('%s', async (_what, said) => {
    listener = await HostileListener.start(said)
    server = await GuardedServer.start({ peers: [listener.port] })
    await listener.told
    const client = await server.client()
    expect(await client.call('write', { key: 'kept', value: 1 })).toMatchObject({ key: 'kept' })
    expect(await client.call('status')).toMatchObject({
      clock: 1,
      members: [{ id: '1' }],
      peers: [{ id: '?', state: expect.stringMatching(/^(waiting to retry|refused|connecting)/) }],
    })
    client.close()
    const { code } = await server.process.stop()
    expect({ code, stderr: server.process.stderr }).toEqual({ code: 0, stderr: '' })
  })
})
