import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { Chalk } from 'chalk'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { connect } from '../../src/client/client.ts'
import { JsonPresentation } from '../../src/client/json-presentation.ts'
import { PeoplePresentation, type Output, type Presentation } from '../../src/client/presentation.ts'
import { Repl, type ReplOptions } from '../../src/client/repl.ts'
import { FakeTerminal } from '../terminal/fake-terminal.ts'
import { meshed, ServerProcess, stopServers, freePorts } from '../integration/processes.ts'
import { closing, endAll, FakeServer, greetingOf, Refusal, RunningServer, until } from './running-server.ts'

const stateFolder = mkdtempSync(join(tmpdir(), 'tidings-'))
afterEach(endAll)
afterAll(async () => {
  await stopServers()
  rmSync(stateFolder, { recursive: true })
})

const paint = new Chalk({ level: 0 })

function optionsFor(
  servers: readonly { readonly address: string }[],
): Omit<ReplOptions, 'input' | 'output' | 'errorOutput'> {
  return {
    servers: servers.map(({ address }) => address),
    id: 'alice',
    timeoutMs: 5_000,
    secret: undefined,
    cut: undefined,
    paint,
    presentationFor: (output) => new PeoplePresentation(output, { output: paint, errors: paint }),
    environment: { XDG_STATE_HOME: stateFolder },
  }
}

function inJson(output: Output): Presentation {
  return new JsonPresentation(output)
}

function hasTwoPeers({ events }: RunningServer): boolean {
  return events.filter(({ kind }) => kind === 'peerJoined').length === 2
}

function collected(stream: PassThrough): () => string {
  let text = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  return () => text
}

/** Runs a prompt over piped lines until it ends. */
async function piped(
  server: { readonly address: string },
  lines: readonly string[],
  more: Partial<ReplOptions> = {},
) {
  const [input, output, errorOutput] = [new PassThrough(), new PassThrough(), new PassThrough()]
  const [stdout, stderr] = [collected(output), collected(errorOutput)]
  const repl = new Repl({ ...optionsFor([server]), input, output, errorOutput, ...more })
  input.end(lines.join('\n'))
  const code = await repl.run()
  return { code, stdout: stdout().split('\n').slice(0, -1), stderr: stderr().split('\n').slice(0, -1) }
}

describe('a prompt with piped input', () => {
  it('carries out line by line, each finished before the next, and ends with the input', async () => {
    const lines = [
      'write x lost and found',
      'read x',
      '  WRITE x {"a": 1}',
      'read x y',
      'delete x',
      'read x',
      'keys',
      '',
    ]
    const { code, stdout, stderr } = await piped(await RunningServer.start(), lines)
    expect(stdout).toEqual([
      'wrote x = lost and found (1@1)',
      'x = lost and found (1@1)',
      'wrote x = {"a":1} (2@1)',
      'x = {"a":1} (2@1)',
      'y: not found',
      'deleted x (3@1)',
      'x: deleted (3@1)',
    ])
    expect(stderr).toEqual(['no keys'])
    expect(code).toBe(1)
  })

  it('ends with exit code 0 where all went well, and carries out nothing after `exit`', async () => {
    const server = await RunningServer.start()
    expect(await piped(server, ['write x 1', 'exit', 'write x 2'])).toMatchObject({
      code: 0,
      stdout: ['wrote x = 1 (1@1)'],
    })
    expect(await piped(server, ['read x'])).toMatchObject({ stdout: ['x = 1 (1@1)'] })
  })

  it.each<[line: string, said: string, code?: number]>([
    ['staus', 'error: there is no command "staus"; did you mean "status"?'],
    ['put x 1', 'error: there is no command "put"; did you mean "write"?'],
    ['frobnicate', 'error: there is no command "frobnicate"; help lists the commands'],
    ['write', 'error: write needs a key: write <key> <value…>'],
    ['write x', 'error: write needs a value for x: write <key> <value…> ("" is an empty text)'],
    [
      'write x 9007199254740993',
      'error: value is the number 9007199254740993, which would come back as 9007199254740992; put it in quotes: write x "9007199254740993"',
    ],
    ['status all', 'error: "all" is one word too many: status'],
    ['delay 2 soon', 'error: ms must be a whole number from 0 to 3600000, not "soon"'],
    ['unwatch', 'what others write is no longer shown; watch shows it', 0],
    ['hold 2', 'error: hold 2: links can be held and cut only at a server that was started with --lab'],
    [`read ${'k'.repeat(1_025)}`, 'error: this is not a key: it has 1025 bytes, and a key has 1 to 1,024'],
  ])('answers %j with what is wrong and what to try, and its exit code', async (line, said, code = 2) => {
    expect(await piped(await RunningServer.start(), [line])).toEqual({ code, stdout: [], stderr: [said] })
  })

  it('shows nothing that a terminal would obey, whoever wrote it', async () => {
    const server = await RunningServer.start()
    const client = closing(await connect(server.address))
    await client.write('bad\u001b[2J', 'two\nlines\u202e')
    const { stdout } = await piped(server, [
      'keys',
      String.raw`read "bad\u001b[2J"`,
      String.raw`why "bad\u001b[2J"`,
    ])
    expect(stdout).toEqual([
      String.raw`bad\x1b[2J`,
      String.raw`bad\x1b[2J = two\nlines\u202e (1@1)`,
      String.raw`bad\x1b[2J = two\nlines\u202e (1@1), and no other version conflicts with it.`,
    ])
  })

  it('writes each result as one line of JSON, in the form of the wire, where that is wanted', async () => {
    const server = await RunningServer.start()
    const { code, stdout, stderr } = await piped(server, ['write x 1', 'read x y', 'keys', 'why x', 'red'], {
      presentationFor: inJson,
    })
    const { origin } = await closing(await connect(server.address)).status()
    const version = [1, origin]
    expect(stdout.map((line) => JSON.parse(line) as unknown)).toEqual([
      { key: 'x', version },
      { key: 'x', found: true, value: 1, version },
      { key: 'y', found: false },
      { key: 'x' },
      { key: 'x', versions: [{ version, value: 1 }], waiting: [], missing: [], silent: [] },
    ])
    expect(stderr.map((line) => JSON.parse(line) as unknown)).toEqual([
      { error: { message: 'there is no command "red"; did you mean "read"?' } },
    ])
    expect(code).toBe(2)
  })

  it('says in a few lines how the server is, and what it keeps', async () => {
    const server = await RunningServer.start()
    const { stdout } = await piped(server, ['write x 1', 'delete y', 'status'])
    const [, , server1, counts, kept] = stdout
    expect(server1).toMatch(/^server 1 \(origin 1~\w+\), up \d+ m?s, clock 2, in memory$/)
    expect(counts).toMatch(
      /^1 key, 1 deleted, 0 conflicts, 0 updates waiting, 2 updates in the log \(\d+ bytes\)$/,
    )
    expect(kept).toBe('1 origin, 1 session (2 answers kept), 0 requests waiting for what they come after')
  })

  it('stops where its server is gone, says how many lines were not run, and ends with exit code 3', async () => {
    const server = await FakeServer.start(({ method }) => {
      if (method === 'hello') return greetingOf('1')
      if (method === 'watch') return { watch: 1, applied: {} }
      void server.close()
      return undefined
    })
    const { code, stderr } = await piped(server, ['read x', 'read y', '', 'write z 1'], { timeoutMs: 500 })
    expect(code).toBe(3)
    expect(stderr).toEqual([
      `lost server 1 at ${server.address} (the connection broke); trying again until it is back`,
      expect.stringMatching(/^error: read x: no server could be reached within 500 ms/),
      'stopped there: 2 lines were not run',
    ])
  })

  it('does not begin where no server answers', async () => {
    const gone = await RunningServer.start()
    await gone.stop()
    await expect(piped(gone, ['read x'])).rejects.toMatchObject({ code: 'ERR_CANNOT_CONNECT' })
  })

  it('tells why a key is not here: what is missing, whose it is, where it is held, and what to do', async () => {
    const west = await RunningServer.start({ id: '1', isLab: true })
    const central = await RunningServer.start({ id: '2', isLab: true, peers: [west] })
    const east = await RunningServer.start({ id: '3', isLab: true, peers: [west, central] })
    const all = [west, central, east]
    await until(() => all.every(hasTwoPeers), 'all have met')
    await piped(west, ['hold 3', 'write y found'])
    const read = async () => (await piped(central, ['read y'])).code
    while ((await read()) !== 0);
    await piped(central, ['write z glad'])
    const client = closing(await connect(east.address))
    const bothHaveIt = async () => {
      const { peers } = await client.status()
      return peers.every(({ applied }) => [...(applied ?? [])].some(([origin]) => origin.startsWith('1~')))
    }
    while (!(await bothHaveIt()));
    await until(() => east.events.some(({ kind }) => kind === 'waiting'), 'z waits at 3')
    const { stdout } = await piped(east, ['read z', 'why z', 'waiting'])
    expect(stdout.map((line) => line.replace(/\d+ m?s\b/, '1 s'))).toEqual([
      'z: not found',
      'z has arrived, and is not shown before its causes.',
      'Update 2@2 (from server 2, waiting 1 s) needs version 1@1 (key y) of server 1. The link from 1 to 3 is held by ' +
        'its lab (1 update in it). Servers 1 and 2 have it. To cure: at server 1: release 3',
      'waiting z (2@2, from server 2, for 1 s): needs 1@1 of server 1',
    ])
    await piped(west, ['release 3'])
    await until(() => east.events.filter(({ kind }) => kind === 'applied').length === 2, 'both have come')
    expect((await piped(east, ['read y z'])).stdout).toEqual(['y = found (1@1)', 'z = glad (2@2)'])
  })
})

/** A prompt with somebody sitting at it. */
function seated(servers: readonly { readonly address: string }[], more: Partial<ReplOptions> = {}) {
  const terminal = new FakeTerminal({ columns: 100, rows: 20 })
  const { input, output } = terminal
  const repl = new Repl({ ...optionsFor(servers), ...more, input, output, errorOutput: output })
  const ended = repl.run()
  const shows = async (line: string | RegExp) => {
    const matches = (row: string) => (typeof line === 'string' ? row === line : line.test(row))
    await until(() => terminal.rows().some(matches), `${line} is shown, below ${terminal.rows().join('\n')}`)
  }
  const leave = async () => {
    terminal.type('\u0015\u0004')
    const code = await ended
    terminal.dispose()
    return code
  }
  return { terminal, ended, shows, leave }
}

describe('a prompt on a terminal', () => {
  it('shows what others write above the line being typed, and its own writes once', async () => {
    const server = await RunningServer.start()
    const other = closing(await connect(server.address))
    const { terminal, shows, leave } = seated([server])
    await shows('alice@1>')
    terminal.type('write x lo')
    await other.write('y', 'found')
    await shows('applied y = found (1@1)')
    await shows('alice@1> write x lo')
    terminal.type('st\r')
    await shows('wrote x = lost (2@1)')
    await other.delete('y')
    await shows('applied y deleted (3@1)')
    expect(terminal.rows().slice(1)).toEqual([
      'applied y = found (1@1)',
      'alice@1> write x lost',
      'wrote x = lost (2@1)',
      'applied y deleted (3@1)',
      'alice@1>',
    ])
    expect(await leave()).toBe(0)
  })

  it('shows only what was asked for after `watch` and `unwatch`', async () => {
    const server = await RunningServer.start()
    const other = closing(await connect(server.address))
    const { terminal, shows, leave } = seated([server])
    await shows('alice@1>')
    terminal.type('watch a/\r')
    await shows('watching keys that begin with a/')
    await other.write('b', 1)
    await other.write('a/1', 2)
    await shows('applied a/1 = 2 (2@1)')
    terminal.type('unwatch\rwatch\r')
    await shows('watching all keys')
    await other.write('b', 3)
    await shows('applied b = 3 (3@1)')
    expect(terminal.rows().filter((row) => row.startsWith('applied'))).toHaveLength(2)
    await leave()
  })

  it('completes commands and keys, and shows the arguments that are to come', async () => {
    const server = await RunningServer.start()
    const other = closing(await connect(server.address))
    await other.batch([
      { key: 'order-1', value: 1 },
      { key: 'order-2', value: 2 },
      { key: 'two words', value: 3 },
    ])
    const { terminal, shows, leave } = seated([server])
    await shows('alice@1>')
    terminal.type('wr\t')
    await shows('alice@1> write <key> <value…>')
    terminal.type('o\t')
    await shows(/^alice@1> write order- <value…>$/)
    terminal.type('\t')
    await shows('order-1  order-2')
    terminal.type('2 done\r')
    await shows('wrote order-2 = done (2@1)')
    expect(await leave()).toBe(0)
  })

  it('stays when its server goes, says so in the prompt, and goes on at the next', async () => {
    const [first, second] = [await RunningServer.start({ id: '1' }), await RunningServer.start({ id: '2' })]
    const { terminal, shows, leave } = seated([first, second])
    await shows('alice@1>')
    await second.stop()
    await first.stop()
    await shows(/^alice \(reconnecting to 127\.0\.0\.1:\d+\)>$/)
    await shows(/^lost server 1 at 127\.0\.0\.1:\d+ \(.*none of the 2 servers can be used/)
    terminal.type('read x')
    await RunningServer.start({ id: '2', port: second.port })
    await shows('alice@2> read x')
    terminal.type('\r')
    await shows('x: not found')
    expect(await leave()).toBe(1)
  })

  it('R9, R10: survives the kill of its server: it moves, says so in one line, and line and watch go on', async () => {
    const ports = await freePorts(2)
    const [first, second] = ports.map(
      (port, place) =>
        new ServerProcess({ id: `${place + 1}`, port, peers: ports.filter((other) => other !== port) }),
    )
    if (first === undefined || second === undefined) throw new Error('two servers were to be started')
    await meshed([first, second])
    const other = closing(await connect(second.address))
    const { terminal, shows, leave } = seated([first, second])
    await shows('alice@1>')
    terminal.type('write x lost\r')
    await shows('wrote x = lost (1@1)')
    await until(async () => (await other.read('x')).found, 'it has come to the other server')
    terminal.type('read ')
    await shows(/^alice@1> read/)
    await first.kill()
    await shows(/^alice@2> read/)
    await other.write('y', 'found')
    await shows('applied y = found (2@2)')
    terminal.type('x\r')
    await shows('x = lost (1@1)')
    const [, ...rows] = terminal.rows()
    const moved = `lost server 1 at ${first.address} (the connection broke); moved to server 2 at ${second.address}`
    const said = rows.join('')
    expect(said).toContain(moved)
    expect(said).not.toContain('error')
    expect(said.match(/moved to/g)).toHaveLength(1)
    expect(await leave()).toBe(0)
  })

  it('R10: sends a write under way again to where it moves, and says in plain words what is not known', async () => {
    const first = await FakeServer.start(({ method }) => {
      if (method === 'hello') return greetingOf('1')
      if (method === 'watch') return { watch: 1, applied: {} }
      void first.close()
      return undefined
    })
    const second = await FakeServer.start(({ method, params }) => {
      if (method === 'hello') return greetingOf('2')
      if (method === 'watch') return { watch: 1, applied: {} }
      return params.key === 'x'
        ? new Refusal(-32007, { definite: false })
        : { key: 'y', version: [2, '2~fake'] }
    })
    const { terminal, shows, leave } = seated([first, second])
    await shows('alice@1>')
    terminal.type('write x lost\r')
    await shows(/^error: write x lost: it is not known whether this write was carried out/)
    terminal.type('write y found\r')
    await shows('wrote y = found (2@2)')
    expect(second.askedFor('write')).toMatchObject([
      { key: 'x', request: { retry: true } },
      { key: 'y', request: { number: 2 } },
    ])
    expect(await leave()).toBe(5)
  })

  it('R9: says in one line what is lost, names its run, and reads again without it by itself', async () => {
    const missing = [{ version: [1, '1~a'], server: '1', holders: [], lost: true }]
    const server = await FakeServer.start(({ method, params }) => {
      if (method === 'hello') return greetingOf('2')
      if (method === 'watch') return { watch: 1, applied: {} }
      return 'after' in params ? new Refusal(-32001, { definite: true, missing }) : { key: 'x', found: false }
    })
    const { terminal, shows, leave } = seated([server], { cut: { '1~a': 1 } })
    await shows('alice@2>')
    terminal.type('read x\r')
    await shows('x: not found')
    expect(terminal.rows().slice(1)).toEqual([
      'alice@2> read x',
      '1@1~a is lost: you had seen it, and no server has it any more; what you do next goes on without it',
      'x: not found',
      'alice@2>',
    ])
    await leave()
  })

  it('leaves at once at `exit` where its server is away, whatever is pending', async () => {
    const server = await RunningServer.start()
    const { terminal, shows, ended } = seated([server], { timeoutMs: 60_000 })
    await shows('alice@1>')
    await server.stop()
    await shows(/^lost server 1 at 127\.0\.0\.1:\d+ \(.*\); trying again until it is back/)
    terminal.type('write x 1\rexit\r')
    expect(await ended).toBe(0)
    expect(terminal.written).not.toContain('error')
    expect(terminal.written).toContain('left before all was answered')
  })

  it('leaves with exit code 130 at Ctrl-C on an empty line, and only abandons a line that is not empty', async () => {
    const { terminal, shows, ended } = seated([await RunningServer.start()])
    await shows('alice@1>')
    terminal.type('write x 1\u0003')
    await shows('alice@1> write x 1^C')
    terminal.type('\u0003')
    expect(await ended).toBe(130)
    expect(terminal.written).not.toContain('wrote')
  })
})
