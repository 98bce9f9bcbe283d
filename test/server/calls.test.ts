import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { Calls } from '../../src/server/calls.ts'

const open: { destroy(): void }[] = []

afterEach(() => {
  for (const one of open.splice(0)) one.destroy()
})

/** Two ends of a connection on this machine, the first of which pings. */
async function connected(): Promise<{
  readonly calls: Calls
  readonly near: Socket
  readonly far: Socket
  readonly sent: readonly string[]
}> {
  const server = createServer()
  open.push({ destroy: () => server.close() })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const arrival = once(server, 'connection') as Promise<[Socket]>
  const near = connect({ host: '127.0.0.1', port: (server.address() as { readonly port: number }).port })
  const [far] = await arrival
  open.push(near, far)
  near.on('data', () => {})
  const sent: string[] = []
  const calls = new Calls({ send: (line) => sent.push(line), received: () => near.bytesRead })
  return { calls, near, far, sent }
}

describe('whether the other side is there (R7)', () => {
  it('is known when it answers', async () => {
    const { calls, sent } = await connected()
    const answer = calls.ping(60_000)
    const { id } = JSON.parse(sent[0] as string) as { readonly id: number }
    calls.settle({ kind: 'response', id, outcome: { result: {} } })
    expect(await answer).toBe(true)
  })

  it('is not the case where nothing comes in time', async () => {
    const { calls, near, far } = await connected()
    far.write('what was said before is no answer\n')
    await once(near, 'data')
    expect(await calls.ping(10)).toBe(false)
  })

  it('is the case where anything comes meanwhile, though the ping has not got through', async () => {
    const { calls, near, far } = await connected()
    const answer = calls.ping(200)
    far.write('an update\n')
    await once(near, 'data')
    expect(await answer).toBe(true)
  })

  it('is found out by who has stood still while the answer came', async () => {
    const { calls, far } = await connected()
    const answer = calls.ping(10)
    far.write('an update\n')
    const startMs = performance.now()
    while (performance.now() - startMs < 50);
    expect(await answer).toBe(true)
  })

  it('is not the case once the connection is gone, whatever has come on it', async () => {
    const { calls, near, far } = await connected()
    const answer = calls.ping(200)
    far.write('an update\n')
    await once(near, 'data')
    calls.abandon('connection closed')
    expect(await answer).toBe(false)
  })
})
