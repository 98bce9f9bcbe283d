import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Candidate, Running } from './candidates.ts'
import { endedWithThis } from './support/children.ts'
import { freePorts, temporaryFolder, wipe } from './support/compiled-server.ts'
import { pause } from './support/sockets.ts'

/** A store that somebody might pick instead, as three nodes on this machine. */
export interface Rival {
  readonly name: string
  /** The program, by which it is found out whether it is there. */
  readonly program: string
  /** Where Debian has it. */
  readonly package: string
  readonly candidates: readonly Candidate[]
}

export const rivals: readonly Rival[] = [
  {
    name: 'redis',
    program: 'redis-server',
    package: 'redis-server',
    candidates: [
      {
        name: 'redis always',
        acknowledgement: 'on the disk of the one that is asked (appendfsync always)',
        start: () => startRedis({ appendonly: 'yes', appendfsync: 'always' }),
      },
      {
        name: 'redis memory',
        acknowledgement: 'applied at the one that is asked, and kept nowhere',
        start: () => startRedis({ appendonly: 'no' }),
      },
    ],
  },
  {
    name: 'nats',
    program: 'nats-server',
    package: 'nats-server',
    candidates: [
      {
        name: 'nats R3',
        acknowledgement: 'written by two of three, and not yet synchronised to a disk',
        start: startNats,
      },
    ],
  },
  {
    name: 'etcd',
    program: 'etcd',
    package: 'etcd-server',
    candidates: [{ name: 'etcd', acknowledgement: 'on the disks of two of three', start: startEtcd }],
  },
]

export function isInstalled({ program }: Rival): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** One that is written to, and two that follow it. */
async function startRedis(flags: Flags): Promise<Running> {
  const root = temporaryFolder()
  const ports = await freePorts(3)
  const [first = 0] = ports
  const nodes = ports.map((port, index) => {
    const folder = join(root, `${index}`)
    mkdirSync(folder)
    return start('redis-server', {
      port: `${port}`,
      bind: '127.0.0.1',
      dir: folder,
      save: '',
      ...flags,
      ...(index === 0 ? {} : { replicaof: `127.0.0.1 ${first}` }),
    })
  })
  for (const port of ports) await answering(port, 'PING\r\n', /PONG/)
  await answering(first, 'INFO replication\r\n', /state=online[^]*state=online/)
  return runningOf(root, 'redis', { nodes, ports })
}

/** A Redis that nobody follows. */
export interface LoneRedis {
  readonly pid: number
  /** Ends it as a power cut would end its process. */
  readonly kill: () => Promise<void>
}

/** @returns when it has read what its log in this folder holds, and answers. */
export async function startLoneRedis(
  { folder, port }: { readonly folder: string; readonly port: number },
  flags: Flags,
): Promise<LoneRedis> {
  const node = start('redis-server', { port: `${port}`, bind: '127.0.0.1', dir: folder, save: '', ...flags })
  await answering(port, 'PING\r\n', /PONG/, { finished: /\n/, everyMs: 5 })
  return { pid: node.pid ?? Number.NaN, kill: () => killed(node) }
}

/** A bucket of which each of three has a copy. */
async function startNats(): Promise<Running> {
  const root = temporaryFolder()
  const ports = await freePorts(6)
  const clientPorts = ports.slice(0, 3)
  const routes = ports.slice(3).map((port) => `nats://127.0.0.1:${port}`)
  const nodes = clientPorts.map((port, index) =>
    start('nats-server', {
      a: '127.0.0.1',
      p: `${port}`,
      n: `n${index}`,
      js: '',
      sd: join(root, `${index}`),
      cluster_name: 'bench',
      cluster: routes[index] ?? '',
      routes: routes.join(','),
    }),
  )
  const stream = JSON.stringify({
    name: 'KV_bench',
    subjects: ['$KV.bench.>'],
    storage: 'file',
    num_replicas: 3,
    max_msgs_per_subject: 1,
    discard: 'new',
    allow_direct: true,
  })
  const greeting = 'CONNECT {"verbose":false,"pedantic":false}\r\nSUB made 1\r\n'
  const creation = `PUB $JS.API.STREAM.CREATE.KV_bench made ${stream.length}\r\n${stream}\r\n`
  for (const port of clientPorts) await answering(port, `${greeting}${creation}`, /"cluster":\{[^]*"leader":/)
  return runningOf(root, 'nats', { nodes, ports: clientPorts })
}

async function startEtcd(): Promise<Running> {
  const root = temporaryFolder()
  const ports = await freePorts(6)
  const clientPorts = ports.slice(0, 3)
  const peers = ports.slice(3).map((port) => `http://127.0.0.1:${port}`)
  const cluster = peers.map((peer, index) => `n${index}=${peer}`).join(',')
  const nodes = clientPorts.map((port, index) => {
    const client = `http://127.0.0.1:${port}`
    const peer = peers[index] ?? ''
    return start('etcd', {
      name: `n${index}`,
      'data-dir': join(root, `${index}`),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': cluster,
      'log-level': 'error',
    })
  })
  for (const port of clientPorts) {
    await answering(port, 'GET /health HTTP/1.0\r\n\r\n', /"health":"true"/)
  }
  return runningOf(root, 'etcd', { nodes, ports: clientPorts })
}

/** What a program is told on its command line, by name. */
type Flags = Readonly<Record<string, string>>

function start(program: string, flags: Flags): ChildProcess {
  const words = Object.entries(flags).flatMap(([name, value]) => {
    // An empty one is a flag that takes no value, but for the one of Redis that is emptied so.
    return value === '' && name !== 'save' ? [`--${name}`] : [`--${name}`, value]
  })
  return endedWithThis(spawn(program, words, { stdio: 'ignore' }))
}

function runningOf(
  root: string,
  dialect: Running['dialect'],
  { nodes, ports }: { readonly nodes: readonly ChildProcess[]; readonly ports: readonly number[] },
): Running {
  return {
    dialect,
    addresses: ports.map((port) => ({ host: '127.0.0.1', port })),
    isWritableEverywhere: dialect !== 'redis',
    pids: nodes.map(({ pid }) => pid ?? Number.NaN),
    stop: async () => {
      for (const node of nodes) await killed(node)
      wipe(root)
    },
  }
}

/**
 * Waits until one that is asked this answers that.
 *
 * @param finished is in whatever it answers, and after which no more is to be waited for.
 * @throws Error, as a rejection, where it does not within a minute.
 */
async function answering(
  port: number,
  question: string,
  answer: RegExp,
  { finished = answer, everyMs = 100 }: { readonly finished?: RegExp; readonly everyMs?: number } = {},
): Promise<void> {
  const endMs = performance.now() + 60_000
  let last = ''
  while (performance.now() < endMs) {
    last = await answerTo(port, question, finished)
    if (answer.test(last)) return
    await pause(everyMs)
  }
  throw new Error(`127.0.0.1:${port} did not answer as expected within a minute, but: ${last.slice(-500)}`)
}

async function killed(node: ChildProcess): Promise<void> {
  node.kill('SIGKILL')
  if (node.exitCode === null && node.signalCode === null) await once(node, 'exit')
}

/** What comes within a second, or until it is what is expected; nothing where nobody listens. */
function answerTo(port: number, question: string, answer: RegExp): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect({ host: '127.0.0.1', port })
    const timer = setTimeout(done, 1_000)
    socket.on('connect', () => socket.write(question))
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (answer.test(text)) done()
    })
    socket.on('error', done)

    function done(): void {
      clearTimeout(timer)
      socket.destroy()
      resolve(text)
    }
  })
}
