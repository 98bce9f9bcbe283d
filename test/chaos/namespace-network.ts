import { execFile, spawn } from 'node:child_process'
import { connect, createServer, type Server as Listener, type AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { linksOf, nameOf, type Direction, type Link, type Network } from './network.ts'

/**
 * Each server in a network namespace of its own, and between them a router, which is the namespace that the trial itself
 * runs in. There packets are lost, as they are on real networks: nobody is told, connections stay half open, and what
 * was under way is sent again by TCP when the loss ends.
 *
 * A rule of the router drops the packets of one link in one direction, known by the port at its receiver.
 */
export class NamespaceNetwork implements Network {
  /** The router would need a queue that not every system has. */
  readonly canDelay = false
  readonly #prefix: string
  readonly #servers: readonly string[]
  readonly #ruleNumbers: ReadonlyMap<string, number>
  readonly #forwarders: ReadonlyMap<string, Listener>

  private constructor(prefix: string, servers: readonly string[], forwarders: ReadonlyMap<string, Listener>) {
    this.#prefix = prefix
    this.#servers = servers
    this.#forwarders = forwarders
    this.#ruleNumbers = new Map(linksOf(servers).map((link, index) => [nameOf(link), firstRule + 2 * index]))
  }

  /** @param prefix of the namespaces' names; this process runs in their router. */
  static async start(prefix: string, servers: readonly string[]): Promise<NamespaceNetwork> {
    const forwarders = new Map<string, Listener>()
    for (const [index, id] of servers.entries()) forwarders.set(id, await forwarderTo(hostOf(index)))
    return new NamespaceNetwork(prefix, servers, forwarders)
  }

  place(server: string): { readonly host: string; readonly port: number } {
    return { host: hostOf(this.#servers.indexOf(server)), port: serverPort }
  }

  clientPort(server: string): number {
    const forwarder = this.#forwarders.get(server)
    if (forwarder === undefined) throw new Error(`there is no server ${server}`)
    return (forwarder.address() as AddressInfo).port
  }

  dialled({ to }: Link): string {
    const { host, port } = this.place(to)
    return `${host}:${port}`
  }

  launcher(server: string): readonly string[] {
    return ['ip', 'netns', 'exec', namespaceOf(this.#prefix, server)]
  }

  /** No packet passes, and who dials is told that the other cannot be reached. */
  async cut(link: Link): Promise<void> {
    await this.#drop(link, 'there', 'unreachable')
    await this.#drop(link, 'back', 'blackhole')
  }

  async flap(link: Link): Promise<void> {
    await this.cut(link)
    await pause(flapMs)
    await this.heal(link)
  }

  async hold(link: Link, direction: Direction): Promise<void> {
    if (direction !== 'back') await this.#drop(link, 'there', 'blackhole')
    if (direction !== 'there') await this.#drop(link, 'back', 'blackhole')
  }

  async delay(): Promise<void> {
    throw new Error('links between namespaces cannot be made slow')
  }

  async heal(link: Link): Promise<void> {
    const first = this.#ruleNumbers.get(nameOf(link)) as number
    for (const number of [first, first + 1]) {
      // There may be none.
      await run('ip', ['rule', 'del', 'pref', `${number}`]).catch(() => {})
    }
  }

  async close(): Promise<void> {
    for (const link of linksOf(this.#servers)) await this.heal(link)
    for (const forwarder of this.#forwarders.values()) forwarder.close()
  }

  async #drop(link: Link, direction: 'there' | 'back', how: 'blackhole' | 'unreachable'): Promise<void> {
    const first = this.#ruleNumbers.get(nameOf(link)) as number
    const [from, to] = [this.place(link.from).host, this.place(link.to).host]
    const packets =
      direction === 'there'
        ? ['from', from, 'to', to, 'ipproto', 'tcp', 'dport', `${serverPort}`]
        : ['from', to, 'to', from, 'ipproto', 'tcp', 'sport', `${serverPort}`]
    const number = direction === 'there' ? first : first + 1
    await run('ip', ['rule', 'add', 'pref', `${number}`, ...packets, how])
  }
}

/**
 * Runs a command of `node` in a router among namespaces made for it, and removes them when it has ended.
 *
 * @param words for `node`, given the prefix of the namespaces' names.
 * @returns its exit code; undefined where this machine has no namespaces, or does not let this user make any.
 */
export async function runAmongNamespaces(
  servers: readonly string[],
  words: (prefix: string) => readonly string[],
): Promise<number | undefined> {
  const prefix = `tidings-${process.pid}`
  const router = namespaceOf(prefix, 'router')
  try {
    try {
      await makeNamespaces(prefix, servers)
    } catch {
      return undefined
    }
    const child = spawn('ip', ['netns', 'exec', router, process.execPath, ...words(prefix)], {
      stdio: 'inherit',
    })
    const pass = (signal: NodeJS.Signals): void => void child.kill(signal)
    process.on('SIGINT', pass).on('SIGTERM', pass)
    return await new Promise<number>((resolve) => {
      child.once('close', (code) => resolve(code ?? 1))
    })
  } finally {
    for (const name of ['router', ...servers]) {
      await run('ip', ['netns', 'del', namespaceOf(prefix, name)]).catch(() => {})
    }
  }
}

async function makeNamespaces(prefix: string, servers: readonly string[]): Promise<void> {
  const router = namespaceOf(prefix, 'router')
  await run('ip', ['netns', 'add', router])
  await run('ip', ['-n', router, 'link', 'set', 'lo', 'up'])
  await run('ip', ['netns', 'exec', router, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward'])
  for (const [index, id] of servers.entries()) {
    const own = namespaceOf(prefix, id)
    const [near, far] = [`to${index}`, 'uplink']
    await run('ip', ['netns', 'add', own])
    await run('ip', ['link', 'add', near, 'netns', router, 'type', 'veth', 'peer', 'name', far, 'netns', own])
    await run('ip', ['-n', router, 'addr', 'add', `${routerHostOf(index)}/24`, 'dev', near])
    await run('ip', ['-n', router, 'link', 'set', near, 'up'])
    await run('ip', ['-n', own, 'addr', 'add', `${hostOf(index)}/24`, 'dev', far])
    await run('ip', ['-n', own, 'link', 'set', far, 'up'])
    await run('ip', ['-n', own, 'link', 'set', 'lo', 'up'])
    await run('ip', ['-n', own, 'route', 'add', 'default', 'via', routerHostOf(index)])
  }
}

/** Clients know no addresses but ports of 127.0.0.1. */
async function forwarderTo(host: string): Promise<Listener> {
  const listener = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ host, port: serverPort, allowHalfOpen: true, noDelay: true })
    near.setNoDelay(true)
    near.pipe(far).pipe(near)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      socket.on('error', () => other.destroy())
      socket.on('close', () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => {
    listener.listen(0, '127.0.0.1', resolve)
  })
  return listener
}

function namespaceOf(prefix: string, name: string): string {
  return `${prefix}-${name}`
}

function hostOf(index: number): string {
  return `10.97.${index + 1}.2`
}

function routerHostOf(index: number): string {
  return `10.97.${index + 1}.1`
}

/** Of every server: each has a network to itself. */
const serverPort = 6_000
const firstRule = 1_000
const flapMs = 100
const run = promisify(execFile)
