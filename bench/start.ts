/**
 * What a server needs for its keys: the time of a start, memory and disk, by how many keys its folder holds.
 *
 *     npx tsx bench/start.ts [--keys 100000,1000000] [--rounds 3] [--json FILE]
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CompiledServer, freePorts, temporaryFolder, wipe } from './support/compiled-server.ts'
import { pause } from './support/sockets.ts'
import { mebibytes, median, table } from './support/table.ts'
import { WriteLoad } from './support/write-load.ts'

const { values: flags } = parseArgs({
  options: {
    keys: { type: 'string', default: '100000,1000000' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'string' },
  },
})
const counts = flags.keys.split(',').map(Number)
const rounds = Number(flags.rounds)

/** A checkpoint that is under way when the last write is acknowledged is complete by then. */
const settleMs = 3_000

interface Measured {
  readonly keys: number
  readonly how: 'after SIGTERM' | 'after SIGKILL'
  readonly listensMs: number
  /** Of the processor, until it listened. */
  readonly processorMs: number
  readonly residentBytes: number
  readonly ownBytes: number
  readonly diskBytes: number
}

async function measure(keys: number): Promise<readonly Measured[]> {
  const [port = 0] = await freePorts(1)
  const root = temporaryFolder()
  const start = (): CompiledServer =>
    new CompiledServer({ id: '1', port, peers: [], folder: join(root, '1') })
  let server = start()
  await server.listening()
  const plan = { connections: 16, inFlight: 64, count: keys, keyOf: (index: number) => `key:${index}` }
  const load = await WriteLoad.connect(server.address, plan)
  await load.run()
  await pause(settleMs)
  const measured: Measured[] = []
  for (let round = 0; round < rounds; round++) {
    for (const how of ['after SIGTERM', 'after SIGKILL'] as const) {
      await (how === 'after SIGTERM' ? server.stop() : server.kill())
      const beganMs = performance.now()
      server = start()
      await server.listening()
      const listensMs = performance.now() - beganMs
      const processorMs = 1000 * server.processorSeconds()
      const { residentBytes, mappedBytes } = server.memory()
      const ownBytes = residentBytes - mappedBytes
      measured.push({
        keys,
        how,
        listensMs,
        processorMs,
        residentBytes,
        ownBytes,
        diskBytes: server.diskBytes(),
      })
    }
  }
  await server.stop()
  wipe(root)
  return measured
}

const all: Measured[] = []
// Without keys: what a start takes by itself.
for (const keys of [1, ...counts]) all.push(...(await measure(keys)))

const rows = [1, ...counts].map((keys) => {
  const of = all.filter((one) => one.keys === keys)
  const middle = (number: (one: Measured) => number, how?: Measured['how']): number =>
    median(of.filter((one) => how === undefined || one.how === how).map(number))
  const disk = middle(({ diskBytes }) => diskBytes)
  return [
    `${keys}`,
    middle(({ listensMs }) => listensMs, 'after SIGTERM').toFixed(0),
    middle(({ listensMs }) => listensMs, 'after SIGKILL').toFixed(0),
    middle(({ processorMs }) => processorMs).toFixed(0),
    mebibytes(middle(({ residentBytes }) => residentBytes)),
    mebibytes(middle(({ ownBytes }) => ownBytes)),
    mebibytes(disk),
    keys === 1 ? '' : (disk / keys).toFixed(0),
  ]
})
process.stdout.write(
  table(
    [
      'keys of 100 bytes',
      'listens after ms, stopped',
      'killed',
      'processor ms',
      'memory',
      'not mapped',
      'disk',
      'bytes a key',
    ],
    rows,
  ),
)
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(all, undefined, 2)}\n`)
