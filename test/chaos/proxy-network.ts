import { freePorts } from '../integration/processes.ts'
import { LinkProxy } from './link-proxy.ts'
import { linksOf, nameOf, type Direction, type Link, type Network } from './network.ts'

/** All on 127.0.0.1, and on each link a {@link LinkProxy}: no server knows where another really listens. */
export class ProxyNetwork implements Network {
  readonly canDelay = true
  readonly #ports: ReadonlyMap<string, number>
  readonly #proxies: ReadonlyMap<string, LinkProxy>

  private constructor(ports: ReadonlyMap<string, number>, proxies: ReadonlyMap<string, LinkProxy>) {
    this.#ports = ports
    this.#proxies = proxies
  }

  static async start(servers: readonly string[]): Promise<ProxyNetwork> {
    const links = linksOf(servers)
    const free = await freePorts(servers.length + links.length)
    const nextPort = (): number => free.pop() as number
    const ports = new Map(servers.map((id) => [id, nextPort()]))
    const proxyPorts = new Map(links.map((link) => [nameOf(link), nextPort()]))
    const portOf = (from: string, to: string): number | undefined => proxyPorts.get(nameOf({ from, to }))
    const proxies = await Promise.all(
      links.map(async ({ from, to }) => {
        const [port, target] = [portOf(from, to) as number, ports.get(to) as number]
        const proxy = await LinkProxy.start({ from, to, port, target, portOf })
        return [nameOf({ from, to }), proxy] as const
      }),
    )
    return new ProxyNetwork(ports, new Map(proxies))
  }

  place(server: string): { readonly host: string; readonly port: number } {
    return { host: '127.0.0.1', port: this.clientPort(server) }
  }

  clientPort(server: string): number {
    const port = this.#ports.get(server)
    if (port === undefined) throw new Error(`there is no server ${server}`)
    return port
  }

  dialled(link: Link): string {
    return `127.0.0.1:${this.#proxy(link).port}`
  }

  launcher(): readonly string[] {
    return []
  }

  async cut(link: Link): Promise<void> {
    this.#proxy(link).cut()
  }

  async flap(link: Link): Promise<void> {
    this.#proxy(link).breakNow()
  }

  async hold(link: Link, direction: Direction): Promise<void> {
    this.#proxy(link).hold(direction)
  }

  async delay(link: Link, delayMs: number): Promise<void> {
    this.#proxy(link).delay(delayMs)
  }

  async heal(link: Link): Promise<void> {
    this.#proxy(link).heal()
  }

  async close(): Promise<void> {
    for (const proxy of this.#proxies.values()) proxy.close()
  }

  #proxy(link: Link): LinkProxy {
    const proxy = this.#proxies.get(nameOf(link))
    if (proxy === undefined) throw new Error(`there is no link ${nameOf(link)}`)
    return proxy
  }
}
