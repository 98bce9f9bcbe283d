/** Where a server listens. */
export interface Address {
  /** A host name or IP address; IPv6 without brackets. */
  readonly host: string
  /** 1 to 65535; 0 only for "any free port" where a server is told to listen. */
  readonly port: number
}

const defaultHost = '127.0.0.1'

/**
 * Reads a server's address as people write it: `60001`, `host:60001` or `[::1]:60001`. A port alone is a port of
 * this machine.
 *
 * @returns the address, or a sentence that says what is wrong with the text.
 */
export function parseAddress(text: string): Address | string {
  const match = /^(?:(?<host>\[[^\]]+\]|[^:[\]]+):)?(?<port>\d{1,5})$/.exec(text)
  const port = Number(match?.groups?.port)
  if (match === null) return `"${text}" is not a server; write a port (60001) or host:port (127.0.0.1:60001)`
  if (port < 1 || port > 65_535) return `"${text}" is not a server: ports go from 1 to 65535`
  const host = match.groups?.host ?? defaultHost
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port }
}

/**
 * Reads a list of addresses separated by spaces, commas or both; an empty text is an empty list.
 *
 * @returns the addresses, each once, or a sentence that says what is wrong with the first bad one.
 */
export function parseAddresses(text: string): readonly Address[] | string {
  const addresses = new Map<string, Address>()
  for (const item of text.split(/[\s,]+/).filter((part) => part !== '')) {
    const address = parseAddress(item)
    if (typeof address === 'string') return address
    addresses.set(showAddress(address), address)
  }
  return [...addresses.values()]
}

/** `host:port`, with brackets around IPv6; the form in which addresses are compared and shown. */
export function showAddress(address: Address): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/** Whether a host means this machine alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)
}
