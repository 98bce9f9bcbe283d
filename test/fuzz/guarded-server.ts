import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeNonce, proofOf } from '../../src/protocol/authentication.ts'
import { ServerProcess, type ServerStart } from '../integration/processes.ts'
import { RawClient, type WireMessage } from '../integration/raw-client.ts'

/** A real server that asks for a secret, and the ways to get past that. */
export class GuardedServer {
  readonly process: ServerProcess
  readonly #folder: string

  private constructor(process: ServerProcess, folder: string) {
    this.process = process
    this.#folder = folder
  }

  static async start(start: Omit<ServerStart, 'more'> = {}): Promise<GuardedServer> {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-guarded-'))
    const path = join(folder, 'secret')
    writeFileSync(path, secret, { mode: 0o600 })
    const process = await ServerProcess.start({ ...start, more: ['--secret-file', path] })
    return new GuardedServer(process, folder)
  }

  async stop(): Promise<void> {
    await this.process.stop()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** A connection that has said nothing yet. */
  async connect(): Promise<RawClient> {
    return await RawClient.connect(this.process.port)
  }

  /** A client that has shown that it knows the secret. */
  async client(): Promise<RawClient> {
    const client = await this.connect()
    await client.call('hello', { token: await tokenFor(client, 'client') })
    return client
  }

  /** A server that there is not, which has greeted and been let in. */
  async peer(id: string, incarnation = 'a'): Promise<RawClient> {
    const client = await this.connect()
    const answer = await greetAsPeer(client, id, incarnation)
    if (answer.error !== undefined) throw new Error(`a peer was refused: ${answer.error.message}`)
    return client
  }
}

/** The proof that answers a challenge of this connection. */
export async function tokenFor(client: RawClient, role: 'client' | 'peer'): Promise<string> {
  const caller = makeNonce()
  const { nonce } = await client.call<{ nonce: string }>('challenge', { nonce: caller })
  return proofOf({ secret, role, nonces: { caller, responder: nonce } })
}

async function greetAsPeer(client: RawClient, server: string, incarnation: string): Promise<WireMessage> {
  const token = await tokenFor(client, 'peer')
  return await client.ask('peer.hello', {
    server,
    origin: `${server}~${incarnation}`,
    protocol: 1,
    members: [],
    token,
  })
}

export const secret = 'correct horse battery staple'
