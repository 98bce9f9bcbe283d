import type { Random } from '../durability/random.ts'
import { nameOf, type Link } from './network.ts'

/** What is done to servers, links and clients, and how often one kind is drawn beside the others. */
export const faultKinds = {
  /** kill -9 of one server, and a new start. */
  kill: { weight: 5, isByDefault: true },
  /** kill -9 of all servers, or of all but one, at the same moment. */
  killAll: { weight: 1.5, isByDefault: true },
  /** kill -9 of a server that was cut off, so that nobody else has what it took last; and a new start. */
  killAlone: { weight: 3, isByDefault: true },
  /** SIGSTOP for less than the time after which others take a server for gone. */
  stop: { weight: 3, isByDefault: true },
  /** SIGSTOP for longer than that. */
  freeze: { weight: 0.3, isByDefault: true },
  /** A disk that is full: no file of the server may grow any more. */
  full: { weight: 0.7, isByDefault: true },
  /** One directed link is broken, in the middle of whatever frame, and cannot be made again. */
  cut: { weight: 3, isByDefault: true },
  /** One server is cut off from all others, in both directions. */
  partition: { weight: 2, isByDefault: true },
  /** A link breaks again and again. */
  flap: { weight: 1, isByDefault: true },
  /** Nothing passes a link, in one direction or both, and nobody is told. */
  hold: { weight: 2, isByDefault: true },
  /** A link is slow, and others are not: so effects overtake their causes. */
  delay: { weight: 5, isByDefault: true },
  /** A lab holds a server's updates in a link. */
  labHold: { weight: 2, isByDefault: true },
  /** A lab delays a server's updates in a link. */
  labDelay: { weight: 2, isByDefault: true },
  /** A lab cuts a link. */
  labCut: { weight: 1, isByDefault: true },
  /** A watcher takes nothing more for a while, while much is written. */
  stall: { weight: 1, isByDefault: true },
  /** Connections of clients break between requests and their answers. */
  lostAnswer: { weight: 4, isByDefault: true },
  /** A server that the others could not hear loses its folder. */
  wipe: { weight: 1, isByDefault: false },
  /** A server that the others could not hear gets an older copy of its folder back. */
  restore: { weight: 1, isByDefault: false },
} as const

export type FaultKind = keyof typeof faultKinds

export const allFaultKinds = Object.keys(faultKinds) as readonly FaultKind[]

/** One fault of a round. */
export interface Fault {
  readonly kind: FaultKind
  /** When it begins, from the beginning of the round. */
  readonly atMs: number
  /** How long it lasts; infinite for one that goes on until the round's work is done. */
  readonly lastsMs: number
  /** Of servers, those that it is about. */
  readonly servers: readonly string[]
  /** Of links, those that it is about. */
  readonly links: readonly Link[]
  /** Of delays, how long. */
  readonly delayMs: number
}

/** @returns the faults of one round, in the order in which they begin. */
export function faultsOfRound(options: {
  readonly random: Random
  readonly kinds: readonly FaultKind[]
  readonly ids: readonly string[]
  readonly links: readonly Link[]
}): readonly Fault[] {
  const { random, kinds, ids, links } = options
  const isAboutDisks = kinds.some(isDiskLoss) && (kinds.every(isDiskLoss) || random.chance(diskLossChance))
  const drawn = kinds.filter((kind) => isDiskLoss(kind) === isAboutDisks)
  if (drawn.length === 0) return []
  // What is lost with a disk can be told only if nothing else happens to those who may have copies.
  const count = isAboutDisks ? 1 : random.between(1, 4)
  return Array.from({ length: count }, () =>
    drawnFault(oneByWeight(drawn, random), { random, ids, links }),
  ).toSorted((a, b) => a.atMs - b.atMs)
}

/** A fault in words. */
export function showFault({ kind, atMs, lastsMs, servers, links, delayMs }: Fault): string {
  const whom = servers.length > 0 ? ` of ${servers.join(' and ')}` : ''
  const where = links.length > 0 ? ` on ${links.map(nameOf).join(', ')}` : ''
  const slow = delayMs > 0 ? ` by ${delayMs} ms` : ''
  const until = lastsMs === Infinity ? 'to the end' : `for ${lastsMs} ms`
  return `${kind}${whom}${where}${slow} at ${atMs} ms ${until}`
}

function drawnFault(
  kind: FaultKind,
  given: { readonly random: Random; readonly ids: readonly string[]; readonly links: readonly Link[] },
): Fault {
  const { random, ids, links } = given
  const server = random.oneOf(ids)
  const link = random.oneOf(links)
  const round = (leastMs: number, mostMs: number): number => random.between(leastMs, mostMs)
  const untilTheEnd = random.chance(0.3)
  const base = { kind, atMs: round(0, 600), lastsMs: round(200, 1_500), servers: [], links: [], delayMs: 0 }
  const lasting = untilTheEnd ? { lastsMs: Infinity } : {}
  switch (kind) {
    case 'kill':
      return { ...base, lastsMs: round(0, 800), ...lasting, servers: [server] }
    case 'killAll':
      return {
        ...base,
        lastsMs: round(0, 400),
        servers: random.shuffled(ids).slice(0, ids.length - random.between(0, 1)),
      }
    case 'killAlone':
      return {
        ...base,
        lastsMs: round(50, 600),
        servers: [server],
        links: links.filter((one) => isAt(one, server)),
      }
    case 'stop':
      return { ...base, lastsMs: round(50, 3_000), servers: [server] }
    case 'freeze':
      return { ...base, lastsMs: round(6_000, 12_000), servers: [server] }
    case 'full':
      return { ...base, lastsMs: round(1_500, 4_000), servers: [server] }
    case 'hold':
      // Now and then for longer than the time after which others take a server for gone.
      return {
        ...base,
        ...(random.chance(0.1) ? { lastsMs: round(6_000, 12_000) } : lasting),
        links: [link],
      }
    case 'cut':
    case 'labHold':
    case 'labCut':
      return { ...base, ...lasting, links: [link] }
    case 'flap':
      return { ...base, links: [link] }
    case 'partition':
      return { ...base, ...lasting, servers: [server], links: links.filter((one) => isAt(one, server)) }
    case 'delay':
      // Rarely the link back, so that one way is much longer than the other.
      return {
        ...base,
        ...lasting,
        links: random.shuffled(links).slice(0, random.between(1, 2)),
        delayMs: round(5, 250),
      }
    case 'labDelay':
      return { ...base, ...lasting, links: [link], delayMs: round(5, 250) }
    case 'stall':
      return { ...base, lastsMs: round(1_000, 3_000) }
    case 'lostAnswer':
      return { ...base, lastsMs: 0, servers: [server] }
    case 'wipe':
    case 'restore':
      return {
        ...base,
        lastsMs: round(200, 800),
        servers: [server],
        links: links.filter(({ from }) => from === server),
      }
  }
}

function isAt({ from, to }: Link, server: string): boolean {
  return from === server || to === server
}

function isDiskLoss(kind: FaultKind): boolean {
  return kind === 'wipe' || kind === 'restore'
}

const diskLossChance = 0.3

function oneByWeight(kinds: readonly FaultKind[], random: Random): FaultKind {
  let rest = random.within(
    0,
    kinds.reduce((sum, kind) => sum + faultKinds[kind].weight, 0),
  )
  for (const kind of kinds) {
    rest -= faultKinds[kind].weight
    if (rest <= 0) return kind
  }
  return random.oneOf(kinds)
}
