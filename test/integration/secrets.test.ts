import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { makeNonce, proofMatches, proofOf } from '../../src/protocol/authentication.ts'
import { clientConnectionsMax, lineBytesBeforeAuthenticationMax } from '../../src/protocol/limits.ts'
import { meshed, ServerProcess, stopServers } from './processes.ts'
import { RawClient } from './raw-client.ts'

const secret = 'correct horse battery staple'
let folder = ''
let secretFile = ''
let one: ServerProcess
let two: ServerProcess
/** Says nothing; it shall be closed when its time is up. */
let silent: RawClient

function fileWith(name: string, text: string, mode = 0o600): string {
  const path = join(folder, name)
  writeFileSync(path, text, { mode })
  return path
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidings-secrets-'))
  secretFile = fileWith('secret', `${secret}\n`)
  const more = ['--secret-file', secretFile]
  one = await ServerProcess.start({ id: '1', more })
  two = await ServerProcess.start({ id: '2', peers: [one.port], more })
  await meshed([one, two])
  silent = await RawClient.connect(one.port)
})
afterAll(async () => {
  await stopServers()
  rmSync(folder, { recursive: true, force: true })
})

interface Challenge {
  readonly nonce: string
  readonly proof: string
}

/** Greets with the proof of a secret. */
async function greet(client: RawClient, known: string, role: 'client' | 'peer' = 'client') {
  const caller = makeNonce()
  const { nonce, proof } = await client.call<Challenge>('challenge', { nonce: caller })
  const nonces = { caller, responder: nonce }
  const isServer = proofMatches(proof, { secret: known, role: 'server', nonces })
  const answer = await client.ask('hello', { token: proofOf({ secret: known, role, nonces }) })
  return { isServer, answer }
}

describe('a mesh with a secret', () => {
  it('serves who proves to know it, at every server, and proves that it knows it too', async () => {
    const [client, other] = [await RawClient.connect(one.port), await RawClient.connect(two.port)]
    expect(await greet(client, secret)).toMatchObject({
      isServer: true,
      answer: { result: { server: '1', origin: one.origin } },
    })
    await client.call('write', { key: 'told', value: 'in confidence' })
    await two.applied('told')
    await greet(other, secret)
    expect(await other.call('read', { key: 'told' })).toMatchObject({ value: 'in confidence' })
    // A long line is fine now.
    await other.call('write', { key: 'long', value: 'x'.repeat(2 * lineBytesBeforeAuthenticationMax) })
    client.close()
    other.close()
  })

  it.each([
    [
      'a wrong secret',
      async (client: RawClient) => (await greet(client, 'another secret altogether')).answer,
    ],
    ['the proof of a peer', async (client: RawClient) => (await greet(client, secret, 'peer')).answer],
    ['a request without a greeting', (client: RawClient) => client.ask('read', { key: 'told' })],
    ['a greeting without a proof', (client: RawClient) => client.ask('hello', {})],
    ['a proof that nobody challenged', (client: RawClient) => client.ask('hello', { token: 'f'.repeat(64) })],
    [
      'a proof that is none',
      async (client: RawClient) => {
        await client.call('challenge', { nonce: makeNonce() })
        return await client.ask('hello', { token: 'open sesame' })
      },
    ],
    ['a ping of a peer', (client: RawClient) => client.ask('peer.ping', {})],
    [
      'the greeting of a peer',
      (client: RawClient) =>
        client.ask('peer.hello', { server: '9', origin: '9~a', protocol: 1, members: [] }),
    ],
  ])('refuses %s with −32008 and closes', async (_title, attempt) => {
    const client = await RawClient.connect(one.port)
    expect(await attempt(client)).toMatchObject({ error: { code: -32008, data: { definite: true } } })
    expect(await client.closed()).toEqual([])
  })

  it('does not take a proof twice', async () => {
    const [first, second] = [await RawClient.connect(one.port), await RawClient.connect(one.port)]
    const caller = makeNonce()
    const { nonce } = await first.call<Challenge>('challenge', { nonce: caller })
    const token = proofOf({ secret, role: 'client', nonces: { caller, responder: nonce } })
    await first.call('hello', { token })
    await second.call('challenge', { nonce: caller })
    expect(await second.ask('hello', { token })).toMatchObject({ error: { code: -32008 } })
    first.close()
    await second.closed()
  })

  it('refuses a batch request by request, so that each error arrives before the connection closes', async () => {
    const client = await RawClient.connect(one.port)
    client.send(
      '[{"jsonrpc":"2.0","id":1,"method":"read","params":{"key":"told"}},{"jsonrpc":"2.0","id":2,"method":"keys"}]\n',
    )
    expect(await client.message()).toMatchObject([
      { id: 1, error: { code: -32008 } },
      { id: 2, error: { code: -32008 } },
    ])
    expect(await client.closed()).toEqual([])
  })

  it('holds no more than a short line of who has not proved anything', async () => {
    const client = await RawClient.connect(one.port)
    client.send('x'.repeat(lineBytesBeforeAuthenticationMax + 2))
    expect(await client.message()).toMatchObject({ error: { code: -32003 } })
    await client.closed()
  })

  it('does not let in a server with another secret, or with none, and stays whole', async () => {
    const otherFile = fileWith('other', 'some other secret of the right length\n')
    const mark = one.events.length
    const stranger = await ServerProcess.start({
      id: '3',
      peers: [one.port],
      more: ['--secret-file', otherFile],
    })
    await stranger.event('warning', ({ text }) => text.includes('does not know this mesh'))
    const naive = await ServerProcess.start({ id: '4', peers: [one.port] })
    await naive.event('warning', ({ text }) => text.includes('refused this server'))
    expect(one.events.slice(mark).filter(({ kind }) => kind === 'peerJoined')).toEqual([])
    for (const server of [stranger, naive]) {
      const client = await RawClient.connect(server.port)
      if (server === stranger) await greet(client, 'some other secret of the right length')
      expect(await client.call('read', { key: 'told' })).toMatchObject({ found: false })
      client.close()
      await server.stop()
    }
  })

  it('lets servers in however many clients there are', async () => {
    const clients: RawClient[] = []
    while (clients.length < clientConnectionsMax + 1) {
      const client = await RawClient.connect(two.port)
      clients.push(client)
      await client.call('challenge', { nonce: makeNonce() })
    }
    const third = await ServerProcess.start({
      id: '3',
      peers: [two.port],
      more: ['--secret-file', secretFile],
    })
    await third.joined([one, two])
    expect((await third.stop()).code).toBe(0)
    for (const client of clients) client.close()
  })

  it('closes who says nothing, when its time is up', async () => {
    expect(await silent.message()).toMatchObject({ id: null, error: { code: -32008 } })
    expect(await silent.closed()).toEqual([])
  })
})

describe('a server beyond this machine', () => {
  const started: ServerProcess[] = []
  afterEach(async () => {
    for (const server of started.splice(0)) await server.stop()
  })
  const start = (more: readonly string[]): ServerProcess => {
    const server = new ServerProcess({ id: '9', more })
    started.push(server)
    return server
  }

  it.each(['0.0.0.0', '::', '192.0.2.1', 'example.com'])(
    'does not listen on %s without a secret: exit code 2, and what to do',
    async (host) => {
      const server = start(['--host', host])
      expect(await server.exit()).toEqual({ code: 2, signal: null })
      expect(server.stderr).toContain(`error: listening on ${host} would let anybody`)
      expect(server.stderr).toContain('--secret-file FILE, or say --insecure')
      expect(server.events).toEqual([])
    },
  )

  it('says in its status, and to its operator, that it is insecure', async () => {
    const server = start(['--insecure'])
    await server.event('warning', ({ text }) => text.includes('--insecure'))
    const client = await RawClient.connect(server.port)
    expect(await client.call('status')).toMatchObject({ insecure: true, lab: true, durability: 'memory' })
    client.close()
    const safe = await RawClient.connect(two.port)
    await greet(safe, secret)
    expect(await safe.call('status')).toMatchObject({ insecure: false })
    safe.close()
  })

  it('refuses a secret that is too short, or a file that is not there; warns of one that others may read', async () => {
    const short = start(['--secret-file', fileWith('short', 'short\n')])
    expect(await short.exit()).toEqual({ code: 2, signal: null })
    expect(short.stderr).toContain('holds a secret of 5 bytes')
    const missing = start(['--secret-file', join(folder, 'missing')])
    expect(await missing.exit()).toEqual({ code: 2, signal: null })
    expect(missing.stderr).toContain('cannot be read')
    const open = start(['--secret-file', fileWith('open', `${secret}\n`, 0o644)])
    await open.listening()
    expect(open.stderr).toContain('warning: other users of this machine may read the secret file')
    for (const server of [short, missing, open]) expect(server.stdout + server.stderr).not.toContain(secret)
  })
})
