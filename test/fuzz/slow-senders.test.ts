import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ProtocolError } from '../../src/protocol/errors.ts'
import {
  bytesBeforeAuthenticationMax,
  finishLineMs,
  lineBytesMax,
  silentLinkMs,
  stuckMs,
} from '../../src/protocol/limits.ts'
import { Connection } from '../../src/server/connection.ts'
import { clientTurns, peerTurns, type ReadTurns } from '../../src/server/read-turns.ts'
import { within } from '../integration/processes.ts'

/**
 * Senders and readers that are slow on purpose, on real sockets. Only the clock is the test's: it stands still unless it
 * is told to go on, so nobody waits for limits of many seconds.
 */
let nowMs = 0
let listener: Server
let sender: Socket
/** The server's end of it. */
let accepted: Socket
let connection: Connection
let told: Told

interface Told {
  readonly lines: string[]
  readonly refusals: ProtocolError[]
  readonly closings: string[]
}

beforeEach(async () => {
  nowMs = 1_000
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
  told = { lines: [], refusals: [], closings: [] }
  listener = createServer({ allowHalfOpen: true })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
})
afterEach(async () => {
  sender.destroy()
  connection.destroy('the test is over')
  listener.close()
  await once(listener, 'close')
  vi.restoreAllMocks()
})

async function open(bytesMax?: number): Promise<void> {
  const accepting = once(listener, 'connection') as Promise<[Socket]>
  sender = connect((listener.address() as AddressInfo).port, '127.0.0.1')
  sender.on('error', () => {})
  ;[accepted] = await accepting
  connection = new Connection(accepted, {
    limits: {
      lineBytesMax,
      ...(bytesMax === undefined ? {} : { bytesMax }),
      stalledBytes: 1 << 20,
      outboxBytesMax: 32 << 20,
    },
    events: {
      line: ({ text }) => told.lines.push(text),
      unreadable: (error) => {
        told.refusals.push(error)
        connection.end(undefined, error.message)
      },
      ended: () => {},
      stalled: () => {},
      drained: () => {},
      closed: (reason) => told.closings.push(reason),
    },
  })
}

/** Sends, and waits until the connection has read it. */
async function send(bytes: string): Promise<void> {
  const before = accepted.bytesRead
  sender.write(bytes)
  await until(() => accepted.bytesRead >= before + Buffer.byteLength(bytes))
}

async function until(isSo: () => boolean): Promise<void> {
  const reached = (async () => {
    while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
  })()
  await within(reached, () => 'it has not come about')
}

/** A second passes, at the end of which the server looks at its connections. */
function pass(ms = 1_000): void {
  nowMs += ms
  connection.beat()
}

describe('a sender whose turn has yet to come', () => {
  it('is neither silent nor slow: its lines are there, and it is the server that does not read them', async () => {
    await open()
    connection.trust(lineBytesMax)
    await send('half')
    const occupants = new Occupants(peerTurns)
    sender.write(' of it\n')
    await until(() => connection.isPaused)
    pass(stuckMs)
    pass(finishLineMs)
    expect([connection.isPaused, connection.idleMs()]).toEqual([true, 0])
    await occupants.leave()
    await until(() => told.lines.length > 0)
    expect(connection.idleMs()).toBeLessThan(silentLinkMs)
    expect(told).toEqual({ lines: ['half of it'], refusals: [], closings: [] })
  })

  it('has all that has come meanwhile read in one turn, however small the pieces', async () => {
    await open()
    const count = 300
    const occupants = new Occupants(clientTurns, count)
    for (let number = 0; number < 20; number++) {
      const before = accepted.bytesRead
      sender.write(`${number}\n`)
      await until(() => accepted.bytesRead > before)
    }
    await until(() => told.lines.length === 20)
    const rounds = occupants.served / count
    await occupants.leave()
    expect(rounds).toBeLessThan(4)
  })
})

/** So many who always have more lines, and take long for each. */
class Occupants {
  served = 0
  #waiting = 0
  #areBusy = true

  constructor(turns: ReadTurns, count = 1) {
    for (let number = 0; number < count; number++) {
      const reader = (): void => {
        this.served++
        this.#waiting--
        nowMs += 10
        if (this.#areBusy) wait()
      }
      const wait = (): void => {
        this.#waiting++
        turns.wait(reader)
      }
      wait()
    }
  }

  /** They have nothing more, and the turns, which all tests share, are as if they had never been. */
  async leave(): Promise<void> {
    this.#areBusy = false
    await until(() => this.#waiting === 0)
    for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('a sender that is slow', () => {
  it('is cut off when a line has not ended in time, though a byte of it has come every second', async () => {
    await open()
    let seconds = 0
    for (; told.refusals.length === 0 && seconds < 100; seconds++) {
      await send('x')
      pass()
    }
    // The first look finds the line, and the clock begins there.
    expect(seconds * 1_000).toBe(finishLineMs + 2_000)
    expect(told.refusals[0]).toMatchObject({ code: -32700, id: null })
    expect(told.refusals[0]?.message).toContain(`did not end within ${finishLineMs / 1_000} s`)
    expect(told.lines).toEqual([])
  })

  it('is cut off though it has ended other lines before, quickly', async () => {
    await open()
    for (let number = 0; number < 20; number++) {
      await send(`${number}\n`)
      pass()
    }
    expect(told.lines).toHaveLength(20)
    await send('half')
    for (let seconds = 0; seconds <= finishLineMs / 1_000 + 1; seconds++) pass()
    expect(told.refusals).toHaveLength(1)
  })

  it('may take as long as it likes for many lines, each of which ends in time', async () => {
    await open()
    for (let number = 0; number < 30; number++) {
      await send('{')
      pass(finishLineMs / 2)
      await send('}\n')
      pass()
    }
    expect(told.lines).toHaveLength(30)
    expect(told.refusals).toEqual([])
  })

  it('may say nothing at all between lines, for as long as it likes', async () => {
    await open()
    await send('{}\n')
    for (let hours = 0; hours < 24; hours++) pass(3_600_000)
    await send('{}\n')
    expect(told).toMatchObject({ lines: ['{}', '{}'], refusals: [], closings: [] })
  })

  it('is cut off at so many bytes where it has not shown who it is, one by one and in no line', async () => {
    await open(bytesBeforeAuthenticationMax)
    for (let sent = 0; sent < bytesBeforeAuthenticationMax; sent += 4_096) await send(' \n'.repeat(2_048))
    expect(told.refusals).toEqual([])
    await send('\n')
    expect(told.refusals[0]).toMatchObject({ code: -32008, id: null })
  })

  it('may send without end once it has', async () => {
    await open(bytesBeforeAuthenticationMax)
    connection.welcome(lineBytesMax)
    for (let round = 0; round < 40; round++) await send(' \n'.repeat(2_048))
    expect(told).toMatchObject({ refusals: [], closings: [] })
  })

  it('may be a server: its line may take as long as it goes on, and silence is seen', async () => {
    await open()
    connection.trust(lineBytesMax)
    for (let seconds = 0; seconds < 60; seconds++) {
      await send('x')
      expect(connection.idleMs()).toBe(0)
      pass()
    }
    expect(told.refusals).toEqual([])
    nowMs += silentLinkMs
    expect(connection.idleMs()).toBeGreaterThan(silentLinkMs)
  })
})

describe('a reader that takes nothing', () => {
  it('is cut off when nothing of what it is owed has moved for long, and not before', async () => {
    await open()
    sender.pause()
    const line = `${'x'.repeat(1 << 20)}\n`
    // More than the system keeps for it, so that some of it stays here.
    for (let count = 0; count < 24; count++) connection.send(line)
    connection.flush()
    await until(() => connection.hasUnsent)
    pass()
    pass(stuckMs - 1_000)
    expect(told.closings).toEqual([])
    pass(2_000)
    expect(told.closings).toEqual([`it has taken nothing of what was sent to it for ${stuckMs / 1_000} s`])
  })

  it('is kept as long as it takes something now and then', async () => {
    await open()
    const line = `${'x'.repeat(1 << 20)}\n`
    for (let count = 0; count < 24; count++) connection.send(line)
    connection.flush()
    for (let round = 0; round < 4; round++) {
      const before = queuedBytes()
      sender.resume()
      await until(() => queuedBytes() < before)
      sender.pause()
      pass(stuckMs - 1_000)
    }
    expect(told.closings).toEqual([])
  })
})

/** What the system has not taken of what was sent: all that a server sees of how a reader takes it. */
function queuedBytes(): number {
  const { _handle: handle } = accepted as unknown as { readonly _handle: { readonly writeQueueSize: number } }
  return handle.writeQueueSize + accepted.writableLength
}
