import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { StorageError } from '../../src/storage/store.ts'
import type { RawClient, WireMessage } from '../integration/raw-client.ts'
import { GuardedServer, tokenFor } from './guarded-server.ts'
import { hostileInputs, type ExpectedError, type HostileInput } from './hostile-inputs.ts'
import { hostileRecords } from './hostile-records.ts'
import { StoredFolder } from './stored-folder.ts'

/** One server for all of them; each comes on a connection of its own. */
let server: GuardedServer
/** Connected all the while, and served all the while. */
let healthy: RawClient
let before: unknown
let count = 0

beforeAll(async () => {
  server = await GuardedServer.start()
  healthy = await server.client()
  await healthy.call('write', { key: 'kept', value: 1, request: { session: 'used', number: 1 } })
  await healthy.call('delete', { key: 'gone' })
  before = await stateOf(healthy)
})
afterAll(async () => {
  const { stderr } = server.process
  const { code } = await server.process.stop()
  await server.stop()
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
})

/** All that the server holds, as far as anybody can ask for it. */
async function stateOf(client: RawClient): Promise<unknown> {
  const {
    peers: _,
    members: __,
    uptimeMs: ___,
    watches: ____,
    ...status
  } = await client.call<Readonly<Record<string, unknown>>>('status')
  const { keys } = await client.call<{ keys: readonly string[] }>('keys')
  return { status, keys, values: await client.call('read', { keys: [...keys, 'gone', 'k', 'forged'] }) }
}

async function connectionOf({ from }: HostileInput): Promise<RawClient> {
  switch (from) {
    case 'client':
      return await server.client()
    case 'peer':
      return await server.peer(`h${count++}`)
    case 'greeting peer':
    case 'stranger':
      return await server.connect()
  }
}

const served = { result: expect.anything() as unknown }

function wireForm({ code, id, path = 'no path', definite, data }: ExpectedError): object {
  const wanted = expect.objectContaining({ definite, path, ...data }) as unknown
  return { id, error: expect.objectContaining({ code, data: wanted }) as unknown }
}

/** So that a path where none is expected is seen. */
function withPath({ error, ...message }: WireMessage): object {
  return error === undefined
    ? message
    : { ...message, error: { ...error, data: { path: 'no path', ...error.data } } }
}

/** Whether the server still answers on this connection, whatever is the least that it may ask. */
async function isServed(client: RawClient, { from }: HostileInput): Promise<boolean> {
  if (from === 'client') return (await client.ask('status')).error === undefined
  return (await tokenFor(client, 'client')) !== ''
}

describe('what is hostile is answered with its error, changes nothing, and costs nobody else anything:', () => {
  it.each(hostileInputs.map((input) => [input.from, input.name, input] as const))(
    '%s: %s',
    async (_from, _name, input) => {
      const client = await connectionOf(input)
      client.send(input.bytes)
      const answer = await client.message()
      const messages = (input.isBatch ? answer : [answer]) as readonly WireMessage[]
      const wanted = input.errors.map((error) => (error === undefined ? served : wireForm(error)))
      // The answers to a batch may come in any order.
      expect(messages.map(withPath)).toEqual(
        expect.arrayContaining(wanted.map((one) => expect.objectContaining(one) as unknown)),
      )
      expect(messages).toHaveLength(wanted.length)
      if (input.closes) expect(await client.closed()).toEqual([])
      else expect(await isServed(client, input)).toBe(true)
      client.close()
      expect(await stateOf(healthy)).toEqual(before)
    },
  )
})

describe('what a disk gives back that no server has written is refused, and left as it is:', () => {
  let folder: StoredFolder

  beforeAll(async () => {
    folder = await StoredFolder.make()
  })
  afterAll(async () => {
    await folder.remove()
  })

  it.each(hostileRecords.map((record) => [record.name, record] as const))(
    'disk: %s',
    async (_name, { record, bytes, fault }) => {
      const sound = folder.record(record)
      const hostile = { ...sound, value: Buffer.from(bytes) }
      folder.replace([sound], [hostile])
      let refusal: unknown
      try {
        folder.start()
      } catch (error) {
        refusal = error
      }
      const left = folder.recordsNow()
      folder.replace([hostile], [sound])
      expect(refusal).toBeInstanceOf(StorageError)
      expect((refusal as StorageError).message).toContain(
        `is damaged: ${fault}; restore the folder from a copy`,
      )
      // Nothing has been written to it.
      expect(left).toHaveLength(folder.records.length)
      for (const { key, value } of folder.records) {
        const now = left.find((one) => String(one.key) === String(key))
        expect(now?.value).toEqual(key === sound.key ? hostile.value : value)
      }
      expect(await stateOf(healthy)).toEqual(before)
    },
  )
})

describe('the table of hostile inputs', () => {
  it('has more than two hundred, each with a name of its own, from whoever can send anything', () => {
    const names = [...hostileInputs, ...hostileRecords].map(({ name }) => name)
    expect(names.length).toBeGreaterThanOrEqual(200)
    expect(new Set(names).size).toBe(names.length)
    expect(new Set(hostileInputs.map(({ from }) => from)).size).toBe(4)
  })
})
