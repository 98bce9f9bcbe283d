/**
 * What only a server's own process can know, and is not asked by the protocol: what its JavaScript heap holds without
 * garbage, and what it has written to sockets. What a process has in RAM says little about the first: it swings by
 * hundreds of megabytes with the moments at which its engine collects.
 */
export interface Probed {
  readonly heapBytes: number
  /** Since its start, to clients and servers. */
  readonly sentBytes: number
}

export type ProbeOrder = 'collected' | 'at once'

const program = `
  import { subscribe } from 'node:diagnostics_channel'
  const sockets = new Set()
  let closedBytes = 0
  const note = ({ socket }) => {
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      closedBytes += socket.bytesWritten
    })
  }
  subscribe('net.client.socket', note)
  subscribe('net.server.socket', note)
  process.on('message', (order) => {
    if (order === 'collected') gc()
    let sentBytes = closedBytes
    for (const { bytesWritten } of sockets) sentBytes += bytesWritten
    process.send({ heapBytes: process.memoryUsage().heapUsed, sentBytes })
  })
  process.channel.unref()`

/** Words for the Node of a server, which then answers each {@link ProbeOrder} that it is sent with {@link Probed}. */
export const probeWords: readonly string[] = [
  '--expose-gc',
  '--import',
  `data:text/javascript,${encodeURIComponent(program)}`,
]
