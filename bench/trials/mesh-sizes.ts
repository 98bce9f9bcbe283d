import type { Durability } from '../../src/server/options.ts'
import { startMesh, type RunningMesh } from '../candidates.ts'
import { ControlClient } from '../support/control-client.ts'
import { processorSecondsOf } from '../support/process-figures.ts'
import { subject, type Figures, type Trial, type TrialOptions } from '../trial.ts'

const depths = { wide: { connections: 50, inFlight: 1 }, deep: { connections: 16, inFlight: 16 } } as const

/** What each further server costs: one is written to, and all others apply it. */
const sizes: Trial = {
  name: 'mesh sizes, 16×16',
  figures: [
    { name: 'writes a second', digits: 0 },
    { name: 'µs at the writer', digits: 1, isCompared: true },
    { name: 'µs at each other', digits: 1, isCompared: true },
    { name: 'µs at all', digits: 1 },
    { name: 'per further peer: µs at the writer', digits: 2 },
    { name: 'per further peer: µs at all', digits: 2 },
    { name: 'bytes sent a write', digits: 0 },
    { name: 'per further peer: bytes sent', digits: 0 },
  ],
  subjects: (options) =>
    (options.isQuick ? [3, 5] : [3, 5, 9, 15]).map((count) =>
      subject(`${count} servers`, async (first) => {
        const cost = await costOf({ durability: 'memory', servers: count, depth: depths.deep }, options)
        if (first === undefined) return cost
        const slope = (figure: string): number =>
          ((cost[figure] ?? Number.NaN) - (first[figure] ?? Number.NaN)) / (count - 3)
        return {
          ...cost,
          'per further peer: µs at the writer': slope('µs at the writer'),
          'per further peer: µs at all': slope('µs at all'),
          'per further peer: bytes sent': slope('bytes sent a write'),
        }
      }),
    ),
}

/** What the disk costs where nobody else takes part. */
function alone({ connections, inFlight }: Depth): Trial {
  return {
    name: `one server alone, ${connections}×${inFlight}`,
    figures: [
      { name: 'writes a second', digits: 0, isCompared: true },
      { name: 'µs at the writer', digits: 1, isCompared: true },
    ],
    subjects: (options) =>
      (['memory', 'async', 'sync'] as const).map((durability) =>
        subject(durability, () =>
          costOf({ durability, servers: 1, depth: { connections, inFlight } }, options),
        ),
      ),
  }
}

export const meshSizes: readonly Trial[] = [sizes, alone(depths.wide), alone(depths.deep)]

interface Depth {
  readonly connections: number
  readonly inFlight: number
}

/** Of 100-byte writes to 10,000 keys at the first server. */
async function costOf(
  what: { readonly durability: Durability; readonly servers: number; readonly depth: Depth },
  { load, durations }: TrialOptions,
): Promise<Figures> {
  const mesh = await startMesh(what.durability, what.servers, { isProbed: true })
  const before = await sentAndWritten(mesh)
  let spent = mesh.pids.map(() => 0)
  const taken = (): readonly number[] => mesh.pids.map(processorSecondsOf)
  const addresses = mesh.addresses.slice(0, 1)
  const kind = { dialect: mesh.dialect, writesPerThousand: 1_000, keys: 10_000, valueBytes: 100 } as const
  const report = await load.run(
    { ...kind, ...what.depth, ...durations, addresses },
    {
      begins: () => {
        spent = taken().map((seconds) => -seconds)
      },
      ends: () => {
        spent = taken().map((seconds, index) => seconds + (spent[index] ?? 0))
      },
    },
  )
  const after = await sentAndWritten(mesh)
  await mesh.stop()
  const micros = (seconds: number): number => (1e6 * seconds) / report.count
  const [first = 0, ...others] = spent.map(micros)
  const atOthers = others.reduce((sum, one) => sum + one, 0)
  return {
    'writes a second': report.count / report.seconds,
    'µs at the writer': first,
    'µs at each other': atOthers / others.length,
    'µs at all': first + atOthers,
    'bytes sent a write': (after.sentBytes - before.sentBytes) / (after.written - before.written),
  }
}

/** What all servers have sent, answers included, and how many writes the first has taken: each raises its clock by one. */
async function sentAndWritten({
  servers,
}: RunningMesh): Promise<{ readonly sentBytes: number; readonly written: number }> {
  const written = []
  for (const { address } of servers) {
    const client = await ControlClient.connect(address)
    written.push(Math.max(0, ...Object.values((await client.status()).applied)))
    client.close()
  }
  const probed = await Promise.all(servers.map((server) => server.probe('at once')))
  return { sentBytes: probed.reduce((sum, one) => sum + one.sentBytes, 0), written: written[0] ?? 0 }
}
