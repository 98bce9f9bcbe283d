import { Replica } from '../../src/replica/replica.ts'
import { defaultLimits, defaultTiming, type Limits, type Timing } from '../../src/replica/configuration.ts'
import type { Output } from '../../src/replica/output.ts'
import type { Dependencies, Update, Write } from '../../src/replica/update.ts'
import { makeOrigin, type Origin, type Version } from '../../src/replica/version.ts'

/** The origin of a server's first run: `1` → `1~a`. */
export function originOf(server: string): Origin {
  return makeOrigin({ server, incarnation: 'a' })
}

export function versionOf(server: string, timestamp: number): Version {
  return { timestamp, origin: originOf(server) }
}

/** An update as a peer would send it, with everything but its version at its least. */
export function buildUpdate(parts: {
  readonly server: string
  readonly timestamp: number
  readonly previous?: number
  /** By server. */
  readonly needs?: Readonly<Record<string, number>>
  readonly key?: string
  readonly writes?: readonly Write[]
}): Update {
  const { server, timestamp, previous = 0, needs = {}, key = 'k', writes } = parts
  const dependencies: Dependencies = Object.fromEntries(
    Object.entries(needs).map(([other, theirs]) => [originOf(other), theirs]),
  )
  return {
    origin: originOf(server),
    timestamp,
    previous,
    dependencies,
    writes: writes ?? [{ key, value: `${timestamp}@${server}` }],
  }
}

/** A replica that nobody is connected to. */
export function freshReplica(options?: {
  readonly server?: string
  readonly limits?: Partial<Limits>
  readonly timing?: Partial<Timing>
}): Replica {
  const server = options?.server ?? 'fresh'
  return new Replica({
    server,
    origin: originOf(server),
    limits: { ...defaultLimits, ...options?.limits },
    timing: { ...defaultTiming, ...options?.timing },
  })
}

/** Hands updates to a replica as if a server had pushed them in one frame. */
export function hand(replica: Replica, from: string, ...updates: readonly Update[]): Output {
  return replica.step({
    kind: 'message',
    from,
    message: { kind: 'updates', updates },
  })
}
