/**
 * The same keys overwritten at full speed, at all three servers of a mesh that keep them on disks (`sync`): disk and
 * memory must level off, because the log is trimmed and the state has no more keys than before.
 *
 * Says every 5 seconds how things stand. At the end it compares the last third of the time with the third before. Exit
 * code 1 where something has grown: something that grows all the time is then 1.67 times as large.
 *
 *     npx tsx bench/overwrite.ts [--minutes 10] [--keys 1000] [--json FILE]
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CompiledServer, freePorts, temporaryFolder } from './support/compiled-server.ts'
import { pause } from './support/sockets.ts'
import { ControlClient } from './support/control-client.ts'
import { liveHeapBytes, notingLiveHeap } from './support/live-heap.ts'
import { mebibytes, median, table } from './support/table.ts'
import { WriteLoad } from './support/write-load.ts'

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    keys: { type: 'string', default: '1000' },
    json: { type: 'string' },
  },
})
const totalMs = Number(flags.minutes) * 60_000
const keys = Number(flags.keys)

const everyMs = 5_000

/** What memory looks like depends on when garbage was collected; and a file keeps the size that it had at its worst moment. */
const growthMax = 1.25
/** Without garbage there is not much left that varies. */
const liveGrowthMax = 1.1

const say = (text: string): void => void process.stdout.write(text)

interface Sample {
  readonly atMs: number
  /** Acknowledged at all three since the sample before. */
  readonly writesPerSecond: number
  readonly servers: readonly ServerSample[]
}

interface ServerSample {
  readonly residentBytes: number
  /** Of them, what is of its own and not a file that is mapped. */
  readonly ownBytes: number
  /** Of its heap, what was left when garbage was last collected. */
  readonly liveBytes: number
  readonly diskBytes: number
  readonly log: number
  readonly waiting: number
}

const ports = await freePorts(3)
const folder = temporaryFolder()
const servers = ports.map(
  (port, index) =>
    new CompiledServer({
      id: `${index + 1}`,
      port,
      peers: ports.filter((other) => other !== port),
      folder: join(folder, `${index + 1}`),
      nodeWords: notingLiveHeap(liveHeapFile(`${index + 1}`)),
    }),
)
await Promise.all(servers.map((server) => server.listening()))
const clients = await Promise.all(servers.map(({ address }) => ControlClient.connect(address)))
while (!(await isMeshed())) await pause(20)

// Each in an order of its own, so that they meet at the same keys by chance, as people would.
const strides = [1, 7, 13]
const loads = await Promise.all(
  servers.map(({ address }, server) =>
    WriteLoad.connect(address, {
      connections: 4,
      inFlight: 64,
      keyOf: (index) => `key:${(index * (strides[server] ?? 1)) % keys}`,
    }),
  ),
)
const runs = Promise.all(loads.map((load) => load.run()))
let broken: unknown
runs.catch((error: unknown) => {
  broken = error
})

const samples: Sample[] = []
const began = performance.now()
say('   s   writes/s   server: memory, of it not mapped, of that live heap / folder / log, for each\n')
for (let before = { atMs: 0, count: 0 }; before.atMs < totalMs;) {
  await pause(Math.min(everyMs, totalMs - before.atMs))
  if (broken !== undefined) throw broken
  const atMs = performance.now() - began
  const count = loads.reduce((sum, load) => sum + load.acknowledged, 0)
  const writesPerSecond = ((count - before.count) / (atMs - before.atMs)) * 1000
  const sample = { atMs, writesPerSecond, servers: await Promise.all(servers.map(sampleOf)) }
  samples.push(sample)
  before = { atMs, count }
  const words = sample.servers.map(
    ({ residentBytes, ownBytes, liveBytes, diskBytes, log }, index) =>
      `${index + 1}: ${mebibytes(residentBytes)}, ${mebibytes(ownBytes)}, ${mebibytes(liveBytes)} / ${mebibytes(diskBytes)} / ${log}`,
  )
  say(
    `${(atMs / 1000).toFixed(0).padStart(4)} ${writesPerSecond.toFixed(0).padStart(10)}   ${words.join('   ')}\n`,
  )
}
for (const load of loads) load.end()
await runs
const hasLevelled = judge()
for (const client of clients) client.close()
await Promise.all(servers.map((server) => server.stop()))
if (flags.json !== undefined)
  writeFileSync(flags.json, `${JSON.stringify({ keys, samples }, undefined, 2)}\n`)
process.exitCode = hasLevelled ? 0 : 1

async function isMeshed(): Promise<boolean> {
  const all = await Promise.all(clients.map((client) => client.status()))
  return all.every(({ peers }) => peers.filter(({ state }) => state === 'connected').length === 2)
}

async function sampleOf(server: CompiledServer, index: number): Promise<ServerSample> {
  const client = clients[index]
  if (client === undefined) throw new Error('a server without a client')
  const { log, waiting } = await client.status()
  const { residentBytes, mappedBytes } = server.memory()
  return {
    residentBytes,
    ownBytes: residentBytes - mappedBytes,
    liveBytes: liveHeapBytes(liveHeapFile(server.id)),
    diskBytes: server.diskBytes(),
    log,
    waiting,
  }
}

function liveHeapFile(id: string): string {
  return join(folder, `live-heap-${id}`)
}

/** Medians of thirds, so that a single sample, taken just before memory was collected, decides nothing. */
function judge(): boolean {
  const third = Math.floor(samples.length / 3)
  const [middle, last] = [samples.slice(third, 2 * third), samples.slice(2 * third)]
  let isLevel = true
  const rows: string[][] = []
  for (const [index, { id }] of servers.entries()) {
    for (const [what, most, of] of [
      ['memory', growthMax, (sample: ServerSample) => sample.residentBytes],
      ['memory, not mapped', growthMax, (sample: ServerSample) => sample.ownBytes],
      ['live heap', liveGrowthMax, (sample: ServerSample) => sample.liveBytes],
      ['disk', growthMax, (sample: ServerSample) => sample.diskBytes],
    ] as const) {
      const [before, after] = [middle, last].map((part) =>
        median(part.map((sample) => of(sample.servers[index] as ServerSample))),
      ) as [number, number]
      const growth = after / before
      const isLevelHere = growth <= most
      isLevel &&= isLevelHere
      const verdict = isLevelHere ? 'level' : 'GROWS'
      rows.push([`${id}: ${what}`, mebibytes(before), mebibytes(after), growth.toFixed(2), verdict])
    }
  }
  say(`\n${table(['server', 'middle third', 'last third', 'ratio', ''], rows)}`)
  const speeds = samples.map(({ writesPerSecond }) => writesPerSecond)
  say(
    `in the middle ${median(speeds).toFixed(0)} writes/s of all three; ` +
      `disk and memory ${isLevel ? 'have levelled off' : 'have NOT levelled off'}\n`,
  )
  return isLevel
}
