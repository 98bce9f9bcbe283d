import type { DialectName } from './dialects.ts'
import type { Load } from './load.ts'
import type { Address } from './sockets.ts'

/** Writes so often to so many keys, in turn, as fast as it goes; 100 bytes each. */
export async function fill(
  load: Pick<Load<'requests'>, 'run'>,
  what: {
    readonly address: Address
    readonly count: number
    readonly keys: number
    readonly dialect?: DialectName
  },
): Promise<void> {
  const { address, count, keys, dialect = 'tidings' } = what
  const depth = { connections: 16, inFlight: 64 }
  const plan = {
    ...depth,
    dialect,
    addresses: [address],
    count,
    keys,
    valueBytes: 100,
    writesPerThousand: 1_000,
  }
  await load.run({ ...plan, warmMs: 0, measureMs: 0 })
}
