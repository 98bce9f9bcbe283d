import { spawn, spawnSync } from 'node:child_process'
import jayson from 'jayson'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ServerProcess, stopServers, within } from './processes.ts'
import { RawClient } from './raw-client.ts'

let server: ServerProcess

beforeAll(async () => {
  server = await ServerProcess.start({ id: '1' })
})
afterAll(stopServers)

/** One call as jayson makes it: a connection of its own. */
const ask = async (method: string, params: object): Promise<unknown> => {
  const client = jayson.Client.tcp({ port: server.port, host: '127.0.0.1' })
  const answer = new Promise<unknown>((resolve, reject) => {
    client.request(method, params, (error: unknown, response: unknown) => {
      if (error instanceof Error) reject(error)
      else resolve(response)
    })
  })
  return await within(answer, () => `no answer to ${method}`)
}

const status = (id: number): string => `{"jsonrpc":"2.0","id":${id},"method":"read","params":{"key":"k"}}`

describe('an off-the-shelf JSON-RPC client (jayson)', () => {
  it('writes and reads', async () => {
    expect(await ask('write', { key: 'jayson', value: { a: [1, 'zwei', null] } })).toMatchObject({
      result: { key: 'jayson', version: [expect.any(Number), server.origin] },
    })
    expect(await ask('read', { key: 'jayson' })).toMatchObject({
      result: { found: true, value: { a: [1, 'zwei', null] } },
    })
  })

  it('gets errors as errors', async () => {
    expect(await ask('wriet', {})).toMatchObject({ error: { code: -32601, data: { suggestion: 'write' } } })
    expect(await ask('read', { key: 7 })).toMatchObject({
      error: { code: -32602, data: { path: 'params.key' } },
    })
  })

  it('sends batches and notifications', async () => {
    const client = jayson.Client.tcp({ port: server.port, host: '127.0.0.1' })
    const requests = [
      { jsonrpc: '2.0', id: 'a', method: 'write', params: { key: 'b1', value: 1 } },
      { jsonrpc: '2.0', id: 'b', method: 'read', params: { key: 'b1' } },
      { jsonrpc: '2.0', id: 'c', method: 'nothing', params: {} },
      { jsonrpc: '2.0', method: 'write', params: { key: 'b2', value: 2 } },
    ]
    const answers = await within(
      new Promise<unknown>((resolve, reject) => {
        client.request(requests, (error: unknown, responses: unknown) => {
          if (error instanceof Error) reject(error)
          else resolve(responses)
        })
      }),
      () => 'no answer to the batch',
    )
    expect(answers).toHaveLength(3)
    expect(answers).toMatchObject(
      expect.arrayContaining([
        expect.objectContaining({ result: expect.objectContaining({ found: true, value: 1 }) }),
        expect.objectContaining({ error: expect.objectContaining({ code: -32601 }) }),
      ]),
    )
    expect(await ask('read', { key: 'b2' })).toMatchObject({ result: { found: true, value: 2 } })
  })
})

const hasPython = spawnSync('python3', ['-c', 'import socket, json']).status === 0
const withoutPython = hasPython ? '' : ' (skipped: there is no python3 on this machine)'

describe('a client in another language', () => {
  it.skipIf(!hasPython)(`needs a dozen lines of Python's standard library${withoutPython}`, async () => {
    const program = `
import json, socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as connection:
    stream = connection.makefile("rw", encoding="utf-8", newline="\\n")
    def call(number, method, **params):
        stream.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\\n")
        stream.flush()
        answer = json.loads(stream.readline())
        assert answer["id"] == number, answer
        return answer
    written = call(1, "write", key="schlüssel", value={"größe": 1.5, "emoji": "\\U0001F600", "list": [True, None]})
    read = call(2, "read", key="schlüssel")
    assert read["result"]["version"] == written["result"]["version"], read
    print(json.dumps(read["result"]["value"]))
    print(call(3, "reda", key="x")["error"]["code"])
`
    const child = spawn('python3', ['-c', program, `${server.port}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    const code = await within(
      new Promise((resolve) => {
        child.once('close', resolve)
      }),
      () => `python has not ended; it said ${output}`,
    ).finally(() => child.kill('SIGKILL'))
    expect(code).toBe(0)
    const [value = '', error] = output.split('\n')
    expect(JSON.parse(value)).toEqual({ größe: 1.5, emoji: '😀', list: [true, null] })
    expect(error).toBe('-32601')
  })
})

describe('plain text, as with nc', () => {
  it('says nothing before it is asked, ignores blank lines, and takes CRLF', async () => {
    const client = await RawClient.connect(server.port)
    client.send(`\n\r\n  \t \n\n${status(1)}\r\n\r\n`)
    expect(await client.message()).toMatchObject({ id: 1, result: { key: 'k', found: false } })
    client.close()
  })

  it('answers several requests of one packet, in their order', async () => {
    const client = await RawClient.connect(server.port)
    client.send([1, 2, 3, 4, 5].map((id) => `${status(id)}\n`).join(''))
    for (const id of [1, 2, 3, 4, 5]) expect(await client.message()).toMatchObject({ id })
    client.close()
  })

  it('answers one request that comes byte by byte, cut within its characters too', async () => {
    const client = await RawClient.connect(server.port)
    const text = '{"jsonrpc":"2.0","id":"ü€😀","method":"write","params":{"key":"ü€😀","value":"ü€😀"}}\n'
    for (const byte of Buffer.from(text)) {
      client.send(Uint8Array.of(byte))
      await client.flushed()
    }
    expect(await client.message()).toMatchObject({ id: 'ü€😀', result: { key: 'ü€😀' } })
    expect(await client.call('read', { key: 'ü€😀' })).toMatchObject({ value: 'ü€😀' })
    client.close()
  })

  it('answers a last line without an end once the sender has finished, and closes', async () => {
    const client = await RawClient.connect(server.port)
    client.send(`${status(1)}\n${status(2)}`)
    client.halfClose()
    expect((await client.closed()).map((line) => (JSON.parse(line) as { id: unknown }).id)).toEqual([1, 2])
  })

  it('closes without a word where nothing was asked', async () => {
    const client = await RawClient.connect(server.port)
    client.halfClose()
    expect(await client.closed()).toEqual([])
  })

  it('answers a `why` before it closes, though others have to be asked', async () => {
    const client = await RawClient.connect(server.port)
    client.send('{"jsonrpc":"2.0","id":1,"method":"why","params":{"key":"k"}}')
    client.halfClose()
    expect((await client.closed()).map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { id: 1, result: { key: 'k' } },
    ])
  })
})

/** The answers of a batch may come in any order. */
function inOrder(answer: unknown): unknown {
  if (!Array.isArray(answer)) return answer
  return answer.toSorted((a, b) => idOf(a).localeCompare(idOf(b)))
}

function idOf(answer: unknown): string {
  return JSON.stringify((answer as { id: unknown }).id)
}

/** What goes in, and the one line that comes out; undefined where nothing may come. */
interface Exchange {
  readonly title: string
  readonly sent: string
  readonly answer: unknown
  readonly closes?: boolean
}

const refusal = (code: number, id: unknown = null): unknown => ({
  jsonrpc: '2.0',
  id,
  error: { code, message: expect.any(String), data: expect.objectContaining({ definite: true }) },
})
const found = (id: unknown): unknown => ({ jsonrpc: '2.0', id, result: { key: 'k', found: false } })
const read = (id: string): string => `{"jsonrpc":"2.0","id":${id},"method":"read","params":{"key":"k"}}`

describe('JSON-RPC 2.0, by the examples of its specification', () => {
  const exchanges: readonly Exchange[] = [
    { title: 'a call with named parameters', sent: read('3'), answer: found(3) },
    { title: 'an id that is a string', sent: read('"1"'), answer: found('1') },
    { title: 'an id that is a fraction', sent: read('1.5'), answer: found(1.5) },
    { title: 'an id that is negative', sent: read('-7'), answer: found(-7) },
    { title: 'an empty id', sent: read('""'), answer: found('') },
    { title: 'an id that is null is a request, and is answered', sent: read('null'), answer: found(null) },
    { title: 'an id that is an object', sent: read('{}'), answer: refusal(-32600) },
    { title: 'an id that is a list', sent: read('[1]'), answer: refusal(-32600) },
    { title: 'an id that is true', sent: read('true'), answer: refusal(-32600) },
    {
      title: 'a notification',
      sent: '{"jsonrpc":"2.0","method":"write","params":{"key":"noted","value":1}}',
      answer: undefined,
    },
    {
      title: 'a notification of a method that there is not',
      sent: '{"jsonrpc":"2.0","method":"foobar"}',
      answer: undefined,
    },
    {
      title: 'a notification with wrong parameters',
      sent: '{"jsonrpc":"2.0","method":"read","params":{"key":1}}',
      answer: undefined,
    },
    {
      title: 'a method that there is not',
      sent: '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
      answer: refusal(-32601, '1'),
    },
    {
      title: 'no JSON',
      sent: '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
      answer: refusal(-32700),
      closes: true,
    },
    {
      title: 'a request that is none',
      sent: '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
      answer: refusal(-32600),
    },
    {
      title: 'parameters that are no structure',
      sent: '{"jsonrpc":"2.0","id":4,"method":"read","params":"bar"}',
      answer: refusal(-32600, 4),
    },
    {
      title: 'parameters by position',
      sent: '{"jsonrpc":"2.0","id":4,"method":"read","params":["k"]}',
      answer: refusal(-32602, 4),
    },
    {
      title: 'another version of JSON-RPC',
      sent: '{"jsonrpc":"1.0","id":4,"method":"read","params":{"key":"k"}}',
      answer: refusal(-32600, 4),
    },
    {
      title: 'no version',
      sent: '{"id":4,"method":"read","params":{"key":"k"}}',
      answer: refusal(-32600, 4),
    },
    {
      title: 'a batch that is no JSON',
      sent: '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"]',
      answer: refusal(-32700),
      closes: true,
    },
    { title: 'an empty batch', sent: '[]', answer: refusal(-32600) },
    { title: 'a batch of nothing valid', sent: '[1]', answer: [refusal(-32600)] },
    {
      title: 'a batch of several invalid ones',
      sent: '[1,2,3]',
      answer: [refusal(-32600), refusal(-32600), refusal(-32600)],
    },
    {
      title: 'a mixed batch',
      sent: `[${read('"1"')},{"jsonrpc":"2.0","method":"read","params":{"key":"k"}},{"foo":"boo"},{"jsonrpc":"2.0","method":"foo.get","params":{"name":"myself"},"id":"5"},${read('"9"')}]`,
      answer: [found('1'), refusal(-32600), refusal(-32601, '5'), found('9')],
    },
    {
      title: 'a batch of notifications',
      sent: '[{"jsonrpc":"2.0","method":"read","params":{"key":"k"}},{"jsonrpc":"2.0","method":"foobar"}]',
      answer: undefined,
    },
    { title: 'a batch in a batch', sent: `[[${read('1')}]]`, answer: [refusal(-32600)] },
    { title: 'a number', sent: '1', answer: refusal(-32600) },
    { title: 'a string', sent: '"status"', answer: refusal(-32600) },
    { title: 'null', sent: 'null', answer: refusal(-32600) },
    { title: 'an empty object', sent: '{}', answer: refusal(-32600) },
    {
      title: 'a response that nobody asked for',
      sent: '{"jsonrpc":"2.0","id":1,"result":{}}',
      answer: undefined,
    },
    {
      title: 'a reserved method',
      sent: '{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}',
      answer: refusal(-32601, 1),
    },
    {
      title: 'a method named as a member of every object',
      sent: '{"jsonrpc":"2.0","id":1,"method":"constructor"}',
      answer: refusal(-32601, 1),
    },
    {
      title: 'a method named __proto__',
      sent: '{"jsonrpc":"2.0","id":1,"method":"__proto__"}',
      answer: refusal(-32601, 1),
    },
    {
      title: 'a member __proto__ beside the others',
      sent: '{"jsonrpc":"2.0","id":1,"__proto__":{"method":"status"},"params":{}}',
      answer: refusal(-32600, 1),
    },
    {
      title: 'a misspelt member',
      sent: '{"jsonrpc":"2.0","id":1,"method":"write","params":{"key":"k","vlaue":1}}',
      answer: refusal(-32602, 1),
    },
  ]

  it.each(exchanges)('$title', async ({ sent, answer, closes }) => {
    const client = await RawClient.connect(server.port)
    client.send(`${sent}\n`)
    // What is asked after it shows that nothing else came, and whether the connection lives.
    client.send(`${read('"after"')}\n`)
    client.halfClose()
    const lines = (await client.closed()).map((line) => inOrder(JSON.parse(line)))
    const before = answer === undefined ? [] : [inOrder(answer)]
    expect(lines).toEqual(closes === true ? before : [...before, found('after')])
  })

  it('a notification is carried out', async () => {
    const client = await RawClient.connect(server.port)
    client.send('{"jsonrpc":"2.0","method":"write","params":{"key":"quiet","value":"done"}}\n')
    expect(await client.call('read', { key: 'quiet' })).toMatchObject({ found: true, value: 'done' })
    client.close()
  })
})
