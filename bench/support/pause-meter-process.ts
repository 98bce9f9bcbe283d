import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { MeterAnswer, MeterOrder, PauseReport } from './pause-meter.ts'
import { ProcessorWaits, waitedBetween } from './processor-waits.ts'

/**
 * The process that measures pauses: a read to each of its servers every 2 ms, whether the one before is answered or
 * not, so that a pause is not hidden by the reads that nobody sent in it. A process of its own, so that nothing else
 * that a measurement does delays it.
 *
 * A machine with fewer processors than processes that want one makes pauses of its own. So it is noted, too, how long
 * the threads of the server and this process waited for a processor while a read was out, where the system (Linux) says
 * so; what is left of the pause is the server's.
 */
interface Target {
  readonly name: string
  readonly socket: Socket
  readonly waits: ProcessorWaits
  /** The reads that are not answered, in order. */
  readonly out: Out[]
  samples: Sample[]
}

interface Out {
  readonly sentMs: number
  readonly waitedMs: Waited
}

/** How long its threads had waited for a processor at some moment, since they began. */
interface Waited {
  readonly here: readonly number[]
  readonly there: readonly number[]
}

interface Sample {
  readonly atMs: number
  readonly tookMs: number
  readonly waitedMs: number
}

const targets = new Map<string, Target>()
const everyMs = 2
let beganMs = performance.now()

const read = `${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'read', params: { key: 'pause' } })}\n`

const waitsHere = new ProcessorWaits(process.pid)

function tick(): void {
  const nowMs = performance.now()
  const here = waitsHere.read()
  for (const { socket, out, waits } of targets.values()) {
    out.push({ sentMs: nowMs, waitedMs: { here, there: waits.read() } })
    socket.write(read)
  }
}

function open({ name, host, port, pid }: Extract<MeterOrder, { kind: 'open' }>): void {
  const socket = connect({ host, port, noDelay: true })
  const target: Target = { name, socket, waits: new ProcessorWaits(pid), out: [], samples: [] }
  socket.once('connect', () => {
    targets.set(name, target)
    answer({ kind: 'opened' })
  })
  socket.on('data', (chunk: Buffer) => {
    const nowMs = performance.now()
    const waitedMs = { here: waitsHere.read(), there: target.waits.read() }
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) {
      const out = target.out.shift()
      if (out !== undefined) target.samples.push(sampleOf(out, { nowMs, waitedMs }))
    }
  })
  // A server that is ended in the course of a measurement ends its part of it.
  socket.on('error', () => {})
  socket.on('close', () => {
    targets.delete(name)
    target.waits.close()
  })
}

function sampleOf(out: Out, now: { readonly nowMs: number; readonly waitedMs: Waited }): Sample {
  const { here, there } = out.waitedMs
  return {
    atMs: out.sentMs - beganMs,
    tookMs: now.nowMs - out.sentMs,
    waitedMs: waitedBetween(here, now.waitedMs.here) + waitedBetween(there, now.waitedMs.there),
  }
}

function begin(): void {
  beganMs = performance.now()
  for (const target of targets.values()) target.samples = []
}

/** A read that is still out counts with what it has taken so far. */
function report(): readonly PauseReport[] {
  const nowMs = performance.now()
  return [...targets.values()].map(({ name, samples, out, waits }) => {
    const waitedMs = { here: waitsHere.read(), there: waits.read() }
    const all = [...samples, ...out.map((one) => sampleOf(one, { nowMs, waitedMs }))].filter(
      ({ atMs }) => atMs >= 0,
    )
    const sorted = all.toSorted((a, b) => a.tookMs - b.tookMs)
    const at = (share: number): number =>
      sorted[Math.floor((sorted.length - 1) * share)]?.tookMs ?? Number.NaN
    const longest = all.toSorted((a, b) => serverMs(b) - serverMs(a))[0]
    return {
      name,
      reads: all.length,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      maxMs: at(1),
      serverMaxMs: longest === undefined ? Number.NaN : serverMs(longest),
      atMs: longest?.atMs ?? Number.NaN,
    }
  })
}

/** What of a pause was not for want of a processor. */
function serverMs({ tookMs, waitedMs }: Sample): number {
  return Math.max(0, tookMs - waitedMs)
}

function answer(message: MeterAnswer): void {
  process.send?.(message)
}

process.on('message', (order: MeterOrder) => {
  switch (order.kind) {
    case 'open':
      open(order)
      return
    case 'begin':
      begin()
      answer({ kind: 'began' })
      return
    case 'report':
      answer({ kind: 'report', pauses: report() })
      return
    case 'close':
      targets.get(order.name)?.socket.destroy()
      targets.delete(order.name)
      answer({ kind: 'closed' })
  }
})
// Whoever started it has ended.
process.once('disconnect', () => process.exit(0))
setInterval(tick, everyMs)
