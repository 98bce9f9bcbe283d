import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server as Listener, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { freePorts, within } from '../integration/processes.ts'
import { LinkProxy } from './link-proxy.ts'

let listener: Listener
let proxy: LinkProxy
/** What comes out at the receiver, and its end of the connection. */
let received = ''
let far: Socket | undefined
let arrived: () => void = () => {}
const sockets: Socket[] = []

beforeEach(async () => {
  received = ''
  listener = createServer((socket) => {
    far = socket
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('utf8')
      arrived()
    })
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const [port = 0] = await freePorts(1)
  proxy = await LinkProxy.start({
    from: '1',
    to: '2',
    port,
    target: (listener.address() as AddressInfo).port,
    portOf: (from, to) => (from === to || to === '9' ? undefined : 100 * Number(from) + Number(to)),
  })
})

afterEach(() => {
  proxy.close()
  listener.close()
  for (const socket of sockets.splice(0)) socket.destroy()
})

async function dial(): Promise<Socket> {
  const socket = connect(proxy.port, '127.0.0.1')
  sockets.push(socket)
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

async function receivedText(text: string): Promise<void> {
  const all = new Promise<void>((resolve) => {
    arrived = () => {
      if (received.includes(text)) resolve()
    }
    arrived()
  })
  await within(all, () => `"${text}" has not come through; there is "${received}"`)
}

describe('a proxy on the link from server 1 to server 2', () => {
  it('tells 2 that 1, and every other server, is found where 2 has a proxy to it', async () => {
    const near = await dial()
    const hello = {
      id: 1,
      method: 'peer.hello',
      params: {
        server: '1',
        address: { host: '127.0.0.1', port: 7 },
        members: [
          { id: '2', host: '127.0.0.1', port: 8 },
          { id: '3', host: '127.0.0.1', port: 9 },
          { id: '9', host: '127.0.0.1', port: 9 },
        ],
      },
    }
    near.write(`${JSON.stringify(hello)}\nnext\n`)
    await receivedText('next\n')
    expect(JSON.parse(received.split('\n')[0] ?? '')).toEqual({
      ...hello,
      params: {
        server: '1',
        address: { host: '127.0.0.1', port: 201 },
        members: [{ id: '3', host: '127.0.0.1', port: 203 }],
      },
    })
  })

  it('lets nothing through while it is held, and then all of it in its order', async () => {
    const near = await dial()
    near.write('{}\nfirst\n')
    await receivedText('first\n')
    proxy.hold('there')
    near.write('second\n')
    // What goes back is not held, and comes after what was sent before.
    const back = once(near, 'data')
    far?.write('{}\nback\n')
    await back
    expect(received).toBe('{}\nfirst\n')
    near.write('third\n')
    proxy.heal()
    await receivedText('third\n')
    expect(received).toBe('{}\nfirst\nsecond\nthird\n')
  })

  it('keeps the order of what it delays, also where the delay ends', async () => {
    const near = await dial()
    near.write('{}\n')
    await receivedText('{}\n')
    proxy.delay(50)
    near.write('late\n')
    await receivedText('late\n')
    near.write('later\n')
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
    proxy.heal()
    near.write('last\n')
    await receivedText('last\n')
    expect(received).toBe('{}\nlate\nlater\nlast\n')
  })

  it('breaks what there is when it is cut, and lets nothing come about until it is healed', async () => {
    const near = await dial()
    near.write('{}\n')
    await receivedText('{}\n')
    const gone = [once(near, 'close'), once(far as Socket, 'close')]
    proxy.cut()
    await within(Promise.all(gone), () => 'an end of the link is still open')
    const refused = await dial()
    await within(once(refused, 'close'), () => 'a link has come about')
    proxy.heal()
    const again = await dial()
    received = ''
    again.write('{}\nagain\n')
    await receivedText('again\n')
  })
})
