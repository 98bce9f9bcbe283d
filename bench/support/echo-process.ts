import { createServer } from 'node:net'

/**
 * What nobody who uses Node's sockets can be faster than: a process that sends back whatever it is sent, and does not
 * look at it.
 */
const server = createServer({ noDelay: true }, (socket) => {
  socket.on('data', (chunk: Buffer) => socket.write(chunk))
  socket.on('error', () => {})
})
server.listen(0, '127.0.0.1', () => process.send?.(server.address()))
// Whoever started it has ended.
process.once('disconnect', () => process.exit(0))
