import type { Random } from '../durability/random.ts'
import type { Outcome, Session } from './session.ts'

/**
 * The keys of one round: few enough that sessions meet at them, and others in the next round, so that no key's story
 * gets long.
 *
 * Watches are by the first part of a key, its shelf.
 */
export interface RoundKeys {
  /** On which everything happens at once. */
  readonly hot: readonly string[]
  /** Each key of a chain is written by whoever has just read the one before it. */
  readonly chains: readonly (readonly string[])[]
  /** For values that fill disks and buffers. */
  readonly ballast: readonly string[]
  /** One on each shelf, all written by the last update of the round. */
  readonly ends: readonly string[]
}

export function keysOfRound(round: number, random: Random): RoundKeys {
  const some = (shelf: string, count: number): readonly string[] =>
    Array.from({ length: count }, (_, index) => `${shelf}/${round}/${index + 1}`)
  return {
    hot: some('hot', random.between(3, 12)),
    chains: Array.from({ length: random.between(1, 3) }, (_, chain) =>
      some(`chain/${chain + 1}`, random.between(3, 6)),
    ),
    ballast: some('ballast', 8),
    ends: shelves.map((shelf) => `${shelf}/${round}/end`),
  }
}

/** What all keys begin with. */
export const shelves = ['hot', 'chain', 'ballast'] as const

export function allKeys({ hot, chains, ballast, ends }: RoundKeys): readonly string[] {
  return [...hot, ...chains.flat(), ...ballast, ...ends]
}

/** One question of a session. */
export type Act = (session: Session) => Promise<Outcome>

/** What a session does next: some questions, each decided on by what came of the one before. */
export type Pattern = Generator<Act, void, Outcome>

/** A pattern that chance chooses, by the weights of the round. */
export function nextPattern(keys: RoundKeys, random: Random, weights: Weights): Pattern {
  let rest = random.within(
    0,
    Object.values(weights).reduce((sum, weight) => sum + weight, 0),
  )
  for (const name of patternNames) {
    rest -= weights[name]
    if (rest <= 0) return patterns[name](keys, random)
  }
  return patterns.touch(keys, random)
}

export type Weights = Readonly<Record<keyof typeof patterns, number>>

/** How much of what a round has; some rounds have nothing at all of something. */
export function weightsOfRound(random: Random): Weights {
  const drawn = (): number => (random.chance(0.15) ? 0 : random.within(0.2, 1))
  return {
    touch: drawn(),
    look: drawn(),
    erase: drawn() / 2,
    batch: drawn() / 2,
    survey: drawn() / 2,
    relay: drawn() * 2,
    inspect: drawn(),
    wander: 0.2 + drawn(),
  }
}

const patterns = {
  *touch({ hot }: RoundKeys, random: Random): Pattern {
    const key = random.oneOf(hot)
    yield (session) => session.write(key)
  },

  *look({ hot }: RoundKeys, random: Random): Pattern {
    const key = random.oneOf(hot)
    yield (session) => session.read(key)
  },

  /** Deletes, and writes again what was deleted; deleted keys that come back are an old disease of such stores. */
  *erase({ hot }: RoundKeys, random: Random): Pattern {
    const key = random.oneOf(hot)
    yield (session) => session.delete(key)
    if (random.chance(0.5)) yield (session) => session.read(key)
    if (random.chance(0.5)) yield (session) => session.write(key)
  },

  /** Sets that overlap with those of other batches. */
  *batch({ hot, chains }: RoundKeys, random: Random): Pattern {
    const keys = random.shuffled([...hot, ...chains.flat()]).slice(0, random.between(2, 4))
    const changes = keys.map((key) => ({ key, deleted: random.chance(0.2) }))
    yield (session) => session.batch(changes)
  },

  *survey({ hot, chains }: RoundKeys, random: Random): Pattern {
    const all = [...hot, ...chains.flat()]
    const keys = random.chance(0.5) ? all : random.shuffled(all).slice(0, random.between(2, 5))
    yield (session) => session.readMany(keys)
  },

  /** Reads a key of a chain, and hands on what it found; sometimes at another server. */
  *relay({ chains }: RoundKeys, random: Random): Pattern {
    const chain = random.oneOf(chains)
    const at = random.between(0, chain.length - 2)
    const [cause, effect] = [chain[at] as string, chain[at + 1] as string]
    if (at === 0) yield (session) => session.write(cause)
    const outcome = yield (session) => session.read(cause)
    if (outcome.kind !== 'found' || outcome.found[0]?.value === undefined) return
    yield random.chance(0.3)
      ? afterHop((session) => session.write(effect))
      : (session) => session.write(effect)
  },

  /** Looks at an effect, and then at its causes; sometimes at another server. */
  *inspect({ chains }: RoundKeys, random: Random): Pattern {
    const chain = random.oneOf(chains)
    const at = random.between(1, chain.length - 1)
    const backwards = chain.slice(0, at + 1).toReversed()
    if (random.chance(0.5)) {
      yield (session) => session.readMany(backwards)
      return
    }
    for (const key of backwards) {
      const look: Act = (session) => session.read(key)
      yield random.chance(0.2) ? afterHop(look) : look
    }
  },

  /** Goes somewhere else, and wants to find there what it has written. */
  *wander({ hot }: RoundKeys, random: Random): Pattern {
    const key = random.oneOf(hot)
    if (random.chance(0.5)) yield (session) => session.write(key)
    yield afterHop((session) => session.read(key))
  },
}

const patternNames = Object.keys(patterns) as readonly (keyof typeof patterns)[]

function afterHop(act: Act): Act {
  return async (session) => {
    await session.hop()
    return await act(session)
  }
}
