import { connect, createServer } from 'node:net'

/**
 * Finds ports of this machine that nobody listens on, the ones that lessons and examples use if possible. Somebody
 * may take one before it is used; then the server that is to have it says so.
 *
 * @param count how many.
 */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports: number[] = []
  for (let port = portMin; ports.length < count && port <= portMax; port++) {
    if (await isFree(port)) ports.push(port)
  }
  if (ports.length < count)
    throw new Error(`of the ports ${portMin} to ${portMax} too few are free; stop something`)
  return ports
}

/**
 * Waits until somebody listens on a port of this machine, at most {@link listeningMsMax} milliseconds.
 *
 * @returns whether somebody does.
 */
export async function isListeningSoon(port: number): Promise<boolean> {
  const deadlineMs = performance.now() + listeningMsMax
  while (!(await accepts(port))) {
    if (performance.now() > deadlineMs) return false
    await new Promise((resolve) => setTimeout(resolve, retryMs))
  }
  return true
}

const listeningMsMax = 5_000
const retryMs = 50
const portMin = 60_001
const portMax = 60_999

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const listener = createServer()
    listener.once('error', () => resolve(false))
    listener.listen({ port, host: '127.0.0.1' }, () => listener.close(() => resolve(true)))
  })
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
