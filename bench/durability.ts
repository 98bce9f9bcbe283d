/**
 * What the disk costs: acknowledged writes per second at one server with `sync` and `async`, next to the same server
 * with `memory`; and the processor's time for each write, the client's not counted.
 *
 *     npx tsx bench/durability.ts [--seconds 5] [--rounds 3] [--json FILE]
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Durability } from '../src/server/options.ts'
import { CompiledServer, freePorts, temporaryFolder, wipe } from './support/compiled-server.ts'
import { pause } from './support/sockets.ts'
import { median, table } from './support/table.ts'
import { WriteLoad } from './support/write-load.ts'

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'string' },
  },
})
const measureMs = Number(flags.seconds) * 1000
const rounds = Number(flags.rounds)

/** Until the code has been compiled by its engine. */
const warmMs = 1_500
const keys = 10_000

const modes: readonly Durability[] = ['memory', 'async', 'sync']
const depths = [
  { connections: 50, inFlight: 1 },
  { connections: 16, inFlight: 16 },
]

interface Measured {
  readonly mode: Durability
  readonly connections: number
  readonly inFlight: number
  readonly writesPerSecond: number
  readonly processorMicrosPerWrite: number
}

async function measure(mode: Durability, depth: (typeof depths)[number]): Promise<Measured> {
  const [port = 0] = await freePorts(1)
  const root = temporaryFolder()
  const server = new CompiledServer({ id: '1', port, peers: [], folder: join(root, '1'), durability: mode })
  await server.listening()
  const load = await WriteLoad.connect(server.address, { ...depth, keyOf: (index) => `key:${index % keys}` })
  const run = load.run()
  await pause(warmMs)
  const before = { ms: performance.now(), count: load.acknowledged, seconds: server.processorSeconds() }
  await pause(measureMs)
  const count = load.acknowledged - before.count
  const seconds = (performance.now() - before.ms) / 1000
  const processorSeconds = server.processorSeconds() - before.seconds
  load.end()
  await run
  await server.stop()
  wipe(root)
  return {
    mode,
    ...depth,
    writesPerSecond: count / seconds,
    processorMicrosPerWrite: (processorSeconds / count) * 1e6,
  }
}

// In turns, so that what else the machine does meets all of them.
const all: Measured[] = []
for (let round = 0; round < rounds; round++) {
  for (const depth of depths) for (const mode of modes) all.push(await measure(mode, depth))
}

const rows = depths.flatMap(({ connections, inFlight }) => {
  const of = (mode: Durability): readonly Measured[] =>
    all.filter((one) => one.mode === mode && one.connections === connections)
  const speed = (mode: Durability): number => median(of(mode).map((one) => one.writesPerSecond))
  return modes.map((mode) => [
    `${connections} × ${inFlight}`,
    mode,
    speed(mode).toFixed(0),
    (speed(mode) / speed('memory')).toFixed(2),
    median(of(mode).map((one) => one.processorMicrosPerWrite)).toFixed(1),
  ])
})
process.stdout.write(
  table(['connections × in flight', 'durability', 'writes/s', 'of memory', 'processor µs/write'], rows),
)
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(all, undefined, 2)}\n`)
