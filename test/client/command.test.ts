import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { endAll, RunningServer } from './running-server.ts'

afterEach(endAll)

interface Run {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `tidings …` from the sources until it ends. */
function tidings(
  words: readonly string[],
  more: { input?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Run> {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(?:TIDINGS_|FORCE_COLOR|NO_COLOR|NODE_OPTIONS|VITEST)/.test(name),
    ),
  )
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/tidings.ts', ...words], {
    env: { ...env, ...more.env },
  })
  const texts = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (texts.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (texts.stderr += text))
  child.stdin.on('error', () => {})
  child.stdin.end(more.input ?? '')
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, ...texts }))
  })
}

describe('tidings client', () => {
  it('carries out one command, whatever the shell has made of its words', async () => {
    const server = await RunningServer.start()
    const { port } = server
    expect(await tidings(['client', String(port), 'write', 'a key', 'lost', 'and', 'found'])).toEqual({
      code: 0,
      stdout: 'wrote a key = lost and found (1@1)\n',
      stderr: '',
    })
    // The first that is there is taken; flags may come last; after -- everything is a word.
    const reading = tidings(['client', `1,${server.address}`, 'read', 'a key', 'missing', '--json'])
    const writing = tidings(['client', server.address, 'write', 'n', '--', '--json'])
    expect(await reading).toMatchObject({ code: 1 })
    const found = (await reading).stdout
      .split('\n')
      .slice(0, 2)
      .map((line) => JSON.parse(line) as unknown)
    expect(found).toMatchObject([
      { key: 'a key', value: 'lost and found' },
      { key: 'missing', found: false },
    ])
    expect(await writing).toMatchObject({ code: 0, stdout: 'wrote n = --json (2@1)\n' })
  })

  it('asks for the port and the id, in this order and wording, and takes the rest of the input as commands', async () => {
    const { port } = await RunningServer.start()
    const run = await tidings(['client'], { input: `${port}\nalice\nwrite x lost\nread x` })
    expect(run).toEqual({
      code: 0,
      stdout: 'Server port: \nClient ID: \nwrote x = lost (1@1)\nx = lost (1@1)\n',
      stderr: '',
    })
  })

  it('takes piped input as commands where the server is named, and gives the client no name', async () => {
    const server = await RunningServer.start()
    const run = await tidings(['client', `${server.port}`], { input: 'write x lost\nread x\n' })
    expect(run).toEqual({ code: 0, stdout: 'wrote x = lost (1@1)\nx = lost (1@1)\n', stderr: '' })
    expect(server.events.some(({ kind }) => kind === 'clientJoined')).toBe(false)
  })

  it('writes the empty text that a shell has made of ""', async () => {
    const { port } = await RunningServer.start()
    const run = await tidings(['client', `${port}`, 'write', 'x', '', '--json'])
    expect(run).toMatchObject({ code: 0, stderr: '' })
    const read = await tidings(['client', `${port}`, 'read', 'x'])
    expect(read).toMatchObject({ code: 0, stdout: 'x = "" (1@1)\n' })
  })

  it('R9: waits for what a session elsewhere has seen, and ends with exit code 4 where it does not come in time', async () => {
    const { port } = await RunningServer.start()
    const written = await tidings(['client', `${port}`, 'write', 'x', 'lost', '--json'])
    const { version } = JSON.parse(written.stdout) as { version: [number, string] }
    const seen = JSON.stringify({ [version[1]]: version[0] })
    const [read, late] = await Promise.all([
      tidings(['client', `${port}`, 'read', 'x', '--after', seen]),
      tidings(['client', `${port}`, 'read', 'x', '--after', '{"9~a":7}', '--timeout', '1500']),
    ])
    expect(read).toMatchObject({ code: 0, stdout: 'x = lost (1@1)\n' })
    expect(late).toMatchObject({ code: 4, stdout: '' })
    expect(late.stderr).toContain('7@9')
  })

  it('takes from the environment what no flag gives, and asks for nothing', async () => {
    const server = await RunningServer.start()
    const env = { TIDINGS_SERVERS: `${server.port}`, TIDINGS_CLIENT_ID: 'alice', TIDINGS_TIMEOUT: '4000' }
    expect(await tidings(['client'], { env, input: 'read x' })).toMatchObject({
      code: 1,
      stdout: 'x: not found\n',
    })
    expect(server.events).toContainEqual({ kind: 'clientJoined', client: 'alice' })
  })

  it('comes in with the secret in a file, and stays out without', async () => {
    const secret = 'correct horse battery staple'
    const { port } = await RunningServer.start({ secret })
    const folder = mkdtempSync(join(tmpdir(), 'tidings-'))
    const file = join(folder, 'secret')
    writeFileSync(file, `${secret}\n`)
    chmodSync(file, 0o600)
    const wrongFile = join(folder, 'wrong')
    writeFileSync(wrongFile, 'some other long secret\n')
    chmodSync(wrongFile, 0o600)
    const [inside, outside, wrong] = await Promise.all([
      tidings(['client', `${port}`, 'write', 'x', '1', '--secret-file', file]),
      tidings(['client', `${port}`, 'write', 'x', '2']),
      tidings(['client', `${port}`, 'write', 'x', '3', '--secret-file', wrongFile]),
    ])
    rmSync(folder, { recursive: true })
    expect(inside).toMatchObject({ code: 0, stderr: '' })
    expect(outside.code).toBe(3)
    expect(outside.stderr).toContain('secret')
    expect(wrong.code).toBe(3)
    expect(wrong.stderr).toContain('secret')
  })

  it.each<[title: string, words: readonly string[], code: number, said: string]>([
    [
      'a port where nothing listens',
      ['1', 'status'],
      3,
      'error: nothing listens on 127.0.0.1:1 (connection refused); is the server started?',
    ],
    [
      'a command that there is not',
      ['1', 'staus'],
      2,
      'error: there is no command "staus"; did you mean "status"?',
    ],
    [
      'a flag that there is not',
      ['1', 'read', 'x', '--jsn'],
      2,
      'error: there is no flag --jsn; did you mean --json?',
    ],
    ['a server that is none', ['6000l', 'status'], 2, 'error: "6000l" is not a server'],
    [
      'a port that is none',
      ['70000', 'status'],
      2,
      'error: "70000" is not a server: ports go from 1 to 65535',
    ],
    [
      'a timeout that is none',
      ['1', 'status', '--timeout', '5s'],
      2,
      'error: --timeout is in milliseconds, from 1 to 60000, and not "5s"',
    ],
    [
      'a name that is none',
      ['1', 'status', '--id', 'read x'],
      2,
      'error: --id is 1 to 32 of A–Z a–z 0–9 _ . -, such as alice, and not "read x"',
    ],
    ['a cut that is none', ['1', 'status', '--after', '{"x":1}'], 2, 'error: --after needs a cut'],
    [
      'a secret file that is not there',
      ['1', '--secret-file', '/nowhere', 'status'],
      2,
      'error: the secret file /nowhere cannot be read',
    ],
    ['an empty input', [], 2, 'error: the input ended before the question "Server port:" was answered'],
  ])('ends on %s with its exit code, and says what is wrong', async (_title, words, code, said) => {
    const run = await tidings(['client', ...words])
    expect(run.code).toBe(code)
    expect(run.stderr).toContain(said)
    expect(run.stderr).not.toContain('    at ')
  })
})

describe('tidings', () => {
  it('names the sub-command that was meant', async () => {
    expect(await tidings(['clinet'])).toMatchObject({
      code: 2,
      stderr: 'tidings: there is no sub-command "clinet"; did you mean "client"?\n',
    })
  })

  it('explains itself, its sub-commands and its version', async () => {
    const [help, client, version] = await Promise.all([
      tidings(['--help']),
      tidings(['help', 'client']),
      tidings(['--version']),
    ])
    expect(help).toMatchObject({ code: 0, stderr: '' })
    expect(help.stdout).toContain('talk to a server')
    expect(client).toMatchObject({ code: 0, stderr: '' })
    expect(client.stdout).toContain('write <key> <value…>')
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})
