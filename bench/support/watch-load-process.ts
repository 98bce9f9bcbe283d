import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { LoadReport, WatchPlan } from './load.ts'
import { measuredPart, serve } from './measured-part.ts'
import { open } from './sockets.ts'
import { Times } from './times.ts'

/** See `Load`: pushes are counted, each at each watcher. */
serve(carryOut)

async function carryOut(plan: WatchPlan): Promise<LoadReport> {
  const words = dialects[plan.dialect]
  const times = new Times()
  let isEnding = false
  /** When each write was sent whose pushes have not all come, by its number. */
  const sentMs = new Map<number, number>()
  const seen = new Map<number, number>()
  let next = 1
  const writer = await open(plan.writer)
  writer.on('data', () => {})

  function write(): void {
    const number = next++
    sentMs.set(number, performance.now())
    writer.write(words.write(number, plan.valueBytes))
  }

  function sawAll(number: number): void {
    seen.delete(number)
    sentMs.delete(number)
    if (!isEnding) write()
  }

  function saw(number: number, nowMs: number): void {
    times.add(nowMs - (sentMs.get(number) ?? nowMs))
    const count = (seen.get(number) ?? 0) + 1
    if (count === plan.watchers) sawAll(number)
    else seen.set(number, count)
  }

  const watchers = await Promise.all(
    Array.from({ length: plan.watchers }, async () => {
      const socket = await open(plan.watched)
      socket.on('error', () => {})
      await begin(socket, words.watch)
      let rest = ''
      socket.on('data', (chunk: Buffer) => {
        const nowMs = performance.now()
        const text = rest + chunk.toString('latin1')
        // The number of a write stands between these two; nothing else is looked at.
        let at = text.indexOf(numberHead)
        let end = 0
        for (; at !== -1; at = text.indexOf(numberHead, end)) {
          const tail = text.indexOf(numberTail, at)
          if (tail === -1) break
          saw(Number(text.slice(at + numberHead.length, tail)), nowMs)
          end = tail
        }
        rest = text.slice(at === -1 ? Math.max(end, text.length - numberHead.length) : at)
      })
      return socket
    }),
  )
  for (let count = 0; count < plan.inFlight; count++) write()
  const report = await measuredPart(plan, times)
  isEnding = true
  for (const socket of [writer, ...watchers]) socket.destroy()
  return report
}

const numberHead = 'n<'
const numberTail = '>'

function valueOf(number: number, bytes: number): string {
  return `${numberHead}${number}${numberTail}`.padEnd(bytes, 'x')
}

/** How a store is written to so that others are told, and how one asks to be told. */
const dialects: {
  readonly [name in WatchPlan['dialect']]: {
    readonly write: (number: number, bytes: number) => string
    readonly watch: string
  }
} = {
  tidings: {
    write: (number, bytes) =>
      `{"jsonrpc":"2.0","id":1,"method":"write","params":{"key":"key-${number % 1_000}","value":"${valueOf(number, bytes)}"}}\n`,
    watch: '{"jsonrpc":"2.0","id":1,"method":"watch","params":{"prefix":"key-"}}\n',
  },
  redis: {
    write: (number, bytes) =>
      `*3\r\n$7\r\nPUBLISH\r\n$4\r\ntold\r\n$${bytes}\r\n${valueOf(number, bytes)}\r\n`,
    watch: '*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\ntold\r\n',
  },
}

/** Asks to be told. @returns when that has been answered, and nothing has come for a moment. */
function begin(socket: Socket, words: string): Promise<void> {
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined
    const answered = (): void => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        socket.off('data', answered)
        resolve()
      }, quietMs)
    }
    socket.on('data', answered)
    socket.write(words)
  })
}

const quietMs = 100
