/**
 * Fuzzing at length. The suite has the same in small.
 *
 *     npm run fuzz -- --frames 10000000 --seed 1     the gateway, and a replica behind it, in this process
 *     npm run fuzz -- --tcp 100000                   a real server, over many connections
 *     npm run fuzz -- --folders 100000               records of a store
 *     npm run fuzz -- --log 100000                   a store's log
 *     npm run fuzz -- --files 5000                   the beginning of a store's file, in a process of its own
 *
 * Each prints what it measured, and ends with exit code 1 where anything is not as it has to be: with the seed, and the
 * command that meets it again.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { runCommand, UsageError, wholeNumber } from '../command-words.ts'
import { GatewayFuzz } from './gateway-fuzz.ts'
import { RecordFuzz } from './record-fuzz.ts'
import { SpoiltLog } from './log-fuzz.ts'
import { StoredFolder } from './stored-folder.ts'
import { tcpFuzz } from './tcp-fuzz.ts'

/** @throws Error for whatever is found wrong. */
type Run = (count: number, seed: number) => Promise<void>

const runs: Readonly<Record<'frames' | 'tcp' | 'folders' | 'log' | 'files', Run>> = {
  /** In rounds, each with the next seed, so that what is found in one is met again in seconds. */
  frames: async (count, seed) => {
    const totals = { frames: 0, accepted: 0, applied: 0, refused: new Map<number, number>() }
    const heap: number[] = []
    const began = performance.now()
    for (let round = 0; totals.frames < count; round++) {
      const frames = Math.min(framesPerRound, count - totals.frames)
      const fuzz = new GatewayFuzz({ seed: seed + round })
      naming(`--frames ${frames} --seed ${seed + round}`, () => fuzz.run(frames))
      const { report } = fuzz
      totals.frames += report.frames
      totals.applied += report.applied
      for (const number of report.accepted.values()) totals.accepted += number
      for (const [code, number] of report.refused) {
        totals.refused.set(code, (totals.refused.get(code) ?? 0) + number)
      }
      if (totals.frames < ((heap.length + 1) * count) / 10) continue
      heap.push(liveHeapBytes())
      const seconds = Math.round((performance.now() - began) / 1_000)
      console.log(`${totals.frames} frames in ${seconds} s, ${mebi(heap.at(-1) ?? 0)} of live heap`)
    }
    console.log(
      `${totals.frames} frames (seeds from ${seed}): ${totals.accepted} messages let in, ${shownCodes(totals.refused)} refused, ` +
        `${totals.applied} updates applied; live heap ${mebi(heap[0] ?? 0)} at a tenth, ${mebi(heap.at(-1) ?? 0)} at the end`,
    )
    const growth = (heap.at(-1) ?? 0) - (heap[0] ?? 0)
    if (growth > heapGrowthMax) throw new Error(`the live heap has grown by ${mebi(growth)}`)
  },

  tcp: async (count, seed) => {
    const report = await tcpFuzz({
      seed,
      frames: count,
      told: (frames) => console.log(`${frames} frames sent`),
    })
    const { pings, residentBytes, loop } = report
    console.log(
      `${report.frames} frames (seed ${seed}) over ${report.connections} connections, ${report.lines} lines back, of them ` +
        `${shownCodes(report.codes)} errors; in RAM, at each tenth: ${residentBytes.map(mebi).join(', ')}`,
    )
    console.log(
      `${pings.count} round trips of another client: ${ms(pings.p50Ms)} (median), ${ms(pings.p99Ms)} (99 of 100), at most ${ms(pings.maxMs)}`,
    )
    console.log(
      'the longest turns of the event loop, their own part first; the rest was waiting for a processor:',
    )
    for (const stall of loop.stalls.slice(0, 10)) {
      console.log(
        `  ${ms(stall.ownMs)} of ${ms(stall.wallMs)}, ${Math.round(stall.atMs / 1_000)} s after the start`,
      )
    }
  },

  folders: async (count, seed) => {
    const folder = await StoredFolder.make()
    try {
      const fuzz = new RecordFuzz({ seed, folder })
      naming(`--folders ${count} --seed ${seed}`, () => fuzz.run(count))
      const { folders, refused, taken } = fuzz.report
      console.log(`${folders} folders (seed ${seed}): ${refused} refused, ${taken} taken`)
    } finally {
      await folder.remove()
    }
  },

  log: async (count, seed) => {
    const log = await SpoiltLog.make()
    try {
      const cuts = await log.cut(1)
      const { noticed, harmless } = await log.flip(count, seed)
      console.log(`a log cut off at ${cuts} places: nothing before the cut lost`)
      console.log(`${count} bits turned over (seed ${seed}): ${noticed} noticed, ${harmless} without effect`)
    } finally {
      await log.remove()
    }
  },

  files: async (count, seed) => {
    const path = fileURLToPath(new URL('header-process.ts', import.meta.url))
    const words = ['--import', import.meta.resolve('tsx'), path, `${seed}`, `${count}`]
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    const lastWord = said.trimEnd().split('\n').at(-1) ?? ''
    if (code !== 0) throw new Error(`the process ended with ${signal ?? code}: ${lastWord}`)
    console.log(`files (seed ${seed}): ${lastWord}`)
  },
}

function naming(words: string, run: () => void): void {
  try {
    run()
  } catch (error) {
    console.log(`again: npm run fuzz -- ${words}`)
    throw error
  }
}

/** What is left after the garbage has been collected. */
function liveHeapBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed
}

const framesPerRound = 20_000

/** Compiled code and caches come to this; what a run keeps would be far more. */
const heapGrowthMax = 8 << 20

function shownCodes(codes: ReadonlyMap<number, number>): string {
  return [...codes].map(([code, count]) => `${count} × ${code}`).join(', ')
}

function mebi(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}

function ms(time: number): string {
  return `${time.toFixed(1)} ms`
}

const help = `fuzz: spoiled messages and records, for whoever has to refuse them

  --frames N    the gateway, and a replica behind it, in this process (200000, where nothing else is asked for)
  --tcp N       so many to a real server, over many connections
  --folders N   so many folders with spoiled records
  --files N     so many files with a spoiled beginning, in a process of its own
  --log N       a commit log cut off at each byte of its tail, and so many single bits of it turned over
  --seed N      decides what is spoiled, and how (1)
`

const flags = {
  frames: { type: 'string' },
  tcp: { type: 'string' },
  folders: { type: 'string' },
  log: { type: 'string' },
  files: { type: 'string' },
  seed: { type: 'string' },
} as const

process.exitCode = await runCommand(process.argv.slice(2), {
  help,
  flags,
  run: async (values) => {
    const seed = wholeNumber('seed', values.seed ?? '1')
    const names = Object.keys(runs) as (keyof typeof runs)[]
    const isAny = names.some((name) => values[name] !== undefined)
    const counts = isAny ? values : { frames: '200000' }
    try {
      for (const name of names) {
        const count = counts[name]
        if (count !== undefined) await runs[name](wholeNumber(name, count), seed)
      }
    } catch (error) {
      if (error instanceof UsageError) throw error
      console.log('VIOLATION:', error)
      return 1
    }
    console.log('ok')
    return 0
  },
})
