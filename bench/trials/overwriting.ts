import { startMesh } from '../candidates.ts'
import type { CompiledServer } from '../support/compiled-server.ts'
import { pause } from '../support/sockets.ts'
import { median } from '../support/table.ts'
import { subject, type Figures, type Trial, type TrialOptions } from '../trial.ts'

/**
 * The same keys overwritten at full speed, at all three servers of a mesh that keep them on disks (`sync`): disk and memory
 * must level off, because the log is trimmed and the state has no more keys than before. So what they are in the last third
 * of the time is compared with what they are in the third before; something that grows all the time is then 1.67 times as large.
 */
export const overwriting: Trial = {
  name: 'overwriting the same keys for a while',
  figures: [
    { name: 'writes a second', digits: 0 },
    ...(['resident', 'own', 'heap', 'disk'] as const).flatMap((what) => [
      { name: `${what} MiB`, digits: 0 },
      { name: growthOf(what), digits: 2 },
    ]),
  ],
  subjects: (options) => [subject('1,000 keys', () => overwrite(options))],
}

/** So many times as long as others are measured; a sample of each server at each of them. */
const samples = 30

interface Sample {
  readonly resident: number
  /** Of it, what is not a file that is mapped. */
  readonly own: number
  /** Of that, the heap without garbage. */
  readonly heap: number
  readonly disk: number
}

function growthOf(what: keyof Sample): string {
  return `its last third to its middle (${what})`
}

async function overwrite({ load, durations: { measureMs } }: TrialOptions): Promise<Figures> {
  const mesh = await startMesh('sync', 3, { isProbed: true })
  const { dialect, addresses, servers } = mesh
  // Each connection begins somewhere else, so that they meet at the same keys by chance, as people would.
  const running = load.run({
    dialect,
    addresses,
    connections: 12,
    inFlight: 64,
    writesPerThousand: 1_000,
    keys: 1_000,
    valueBytes: 100,
    warmMs: 0,
    measureMs: samples * measureMs,
  })
  const taken: (readonly Sample[])[] = []
  const sampling = (async () => {
    for (let count = 0; count < samples; count++) {
      await pause(measureMs)
      taken.push(await Promise.all(servers.map(sampleOf)))
    }
  })()
  const [report] = await Promise.all([running, sampling])
  await mesh.stop()
  const middle = taken.slice(samples / 3, (2 * samples) / 3)
  const last = taken.slice((2 * samples) / 3)
  const figures: Record<string, number> = { 'writes a second': report.count / report.seconds }
  for (const what of ['resident', 'own', 'heap', 'disk'] as const) {
    // Medians, so that a single sample decides nothing; and of the servers the one that is worst.
    const [before, after] = [middle, last].map((part) =>
      servers.map((_, index) => median(part.map((sample) => sample[index]?.[what] ?? Number.NaN))),
    ) as [number[], number[]]
    figures[`${what} MiB`] = Math.max(...after) / 2 ** 20
    figures[growthOf(what)] = Math.max(...after.map((bytes, index) => bytes / (before[index] ?? Number.NaN)))
  }
  return figures
}

async function sampleOf(server: CompiledServer): Promise<Sample> {
  const { heapBytes: heap } = await server.probe('collected')
  const { residentBytes: resident, ownBytes: own } = server.memory()
  return { resident, own, heap, disk: server.diskBytes() }
}
