import { afterAll, describe, expect, it } from 'vitest'
import { freePorts, ServerProcess, stopServers } from './processes.ts'
import { RawClient } from './raw-client.ts'

afterAll(stopServers)

const portQuestion = 'Server port: '
const idQuestion = 'Server ID: '
const peersQuestion = "Enter other servers' ports: "

/** A server without a word on its command line, its answers piped. */
function asked(input: string, more: { words?: readonly string[]; keepsInputOpen?: boolean } = {}) {
  return new ServerProcess({ words: [], isJson: false, input, ...more })
}

describe('what a server asks', () => {
  it('asks for the port, the id and the others, in this order and wording, and takes piped answers', async () => {
    const server = asked('0\n1\n\n')
    await server.printed('listening on 127.0.0.1:')
    expect(server.stdout.replaceAll('\n', '')).toMatch(
      /^Server port: Server ID: Enter other servers' ports: server 1 listening on 127\.0\.0\.1:\d+/,
    )
    const end = await server.stop()
    expect(end).toEqual({ code: 0, signal: null })
    expect(server.stderr).toBe('')
  })

  it('listens while the pipe that answered stays open, and when it has ended in the middle of a line', async () => {
    const [first = 0, second = 0] = await freePorts(2)
    const open = asked('0\n1\n\n', { keepsInputOpen: true })
    const unterminated = asked(`0\r\n2\r\n${first}, 127.0.0.1:${second}`)
    await open.printed('server 1 listening')
    await unterminated.printed('server 2 listening')
    expect(await open.stop()).toEqual({ code: 0, signal: null })
    expect(await unterminated.stop()).toEqual({ code: 0, signal: null })
  })

  it('asks only for what no flag and no variable of the environment gives', async () => {
    const byFlags = new ServerProcess({
      words: ['--port', '0', '--peers', ''],
      isJson: false,
      input: 'x\n',
    })
    await byFlags.printed('server x listening')
    expect(byFlags.stdout).toContain(idQuestion)
    expect(byFlags.stdout).not.toContain(portQuestion)
    expect(byFlags.stdout).not.toContain(peersQuestion)
    const byEnvironment = new ServerProcess({
      words: [],
      isJson: false,
      input: '',
      env: { TIDINGS_PORT: '0', TIDINGS_ID: 'e', TIDINGS_PEERS: '' },
    })
    await byEnvironment.printed('server e listening')
    expect(byEnvironment.stdout).not.toContain(portQuestion)
    expect(byEnvironment.stdout).not.toContain(idQuestion)
    expect(byEnvironment.stdout).not.toContain(peersQuestion)
    await Promise.all([byFlags.stop(), byEnvironment.stop()])
  })

  it('lets a flag win over a variable of the environment', async () => {
    const server = new ServerProcess({
      words: ['--port', '0', '--id', 'flag', '--peers', '', '--lab'],
      isJson: false,
      env: { TIDINGS_PORT: 'nonsense', TIDINGS_ID: 'environment', TIDINGS_PEERS: 'nonsense' },
    })
    await server.printed('server flag listening')
    expect(await server.stop()).toEqual({ code: 0, signal: null })
    expect(server.stderr).toBe('')
  })
})

describe('what a server refuses to start with', () => {
  const refusals: readonly (readonly [title: string, server: () => ServerProcess, text: string])[] = [
    [
      'a piped port that is none',
      () => asked('seventy\n1\n\n'),
      'error: "seventy" is not a port; ports go from 1 to 65535 (0 for any free one), for example 60001',
    ],
    ['a piped port that is too high', () => asked('65536\n1\n\n'), 'error: "65536" is not a port'],
    [
      'a piped id that is none',
      () => asked('0\nserver one\n\n'),
      'error: "server one" is not a server id; use 1 to 32 of A–Z a–z 0–9 _ . -, for example 1',
    ],
    ['an empty id', () => asked('0\n\n\n'), 'error: "" is not a server id'],
    [
      'a piped list of others with a wrong one',
      () => asked('0\n1\n60002 x:y\n'),
      'error: "x:y" is not a server; write a port (60001) or host:port (127.0.0.1:60001)',
    ],
    [
      'another server on port 0',
      () => asked('0\n1\n0\n'),
      'error: "0" is not a server: ports go from 1 to 65535',
    ],
    [
      'no input at all',
      () => asked(''),
      'error: the input ended before the question "Server port:" was answered',
    ],
    [
      'an input that ends before the id',
      () => asked('0\n'),
      'error: the input ended before the question "Server ID:" was answered',
    ],
    [
      'an input that ends before the others',
      () => asked('0\n1\n'),
      'error: the input ended before the question "Enter other servers\' ports:" was answered',
    ],
    [
      'a wrong flag',
      () => new ServerProcess({ words: ['--port', '-1', '--id', '1', '--peers', ''], isJson: false }),
      'is not a port',
    ],
    [
      'a flag that there is not',
      () => new ServerProcess({ words: ['--prot', '0'], isJson: false }),
      "unknown option '--prot'",
    ],
    [
      'a durability that there is not',
      () => new ServerProcess({ words: ['--durability', 'hope'], isJson: false }),
      'Allowed choices are',
    ],
    ['a word too many', () => new ServerProcess({ words: ['60001'], isJson: false }), 'too many arguments'],
    [
      'a wrong variable of the environment',
      () =>
        new ServerProcess({
          words: ['--port', '0', '--peers', ''],
          isJson: false,
          env: { TIDINGS_ID: 'a b' },
        }),
      'error: "a b" is not a server id',
    ],
  ]

  it.each(refusals)('%s ends it with exit code 2 and says what is wrong', async (_title, start, text) => {
    const server = start()
    const end = await server.exit()
    expect(server.stderr).toContain(text)
    expect(end).toEqual({ code: 2, signal: null })
    expect(server.stdout + server.stderr).not.toContain('    at ')
  })

  it('a port that is in use ends it with exit code 5, and harms nobody', async () => {
    const first = await ServerProcess.start({ id: '1' })
    const second = new ServerProcess({ id: '2', port: first.port })
    const end = await second.exit()
    expect(end).toEqual({ code: 5, signal: null })
    expect(second.stderr).toContain(
      `error: 127.0.0.1:${first.port} is already in use; choose another --port, or stop what listens there`,
    )
    const client = await RawClient.connect(first.port)
    await client.call('status')
    client.close()
    await first.stop()
  })
})
