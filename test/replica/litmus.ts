import type { Replica } from '../../src/replica/replica.ts'
import type { Update } from '../../src/replica/update.ts'
import { freshReplica, hand } from './update-builder.ts'

/** One process's program, each at a server of its own: `w x 1` writes 1 to x, `r x` reads x. */
export type Program = readonly string[]

/**
 * All outcomes that a small concurrent program can have: every interleaving of its operations with every order of
 * every delivery is tried. An outcome is what each process read, `-` where it found nothing, such as `1 2 | - 1`.
 *
 * States that agree in everything are explored once; so what is not in the answer cannot happen.
 */
export function outcomesOf(programs: readonly Program[]): ReadonlySet<string> {
  const outcomes = new Set<string>()
  const seen = new Set<string>()
  const paths: (readonly Move[])[] = [[]]
  for (let path = paths.pop(); path !== undefined; path = paths.pop()) {
    const run = replay(programs, path)
    const name = JSON.stringify([
      run.next,
      run.reads,
      run.handed.map((handed) => [...handed].toSorted((a, b) => a - b)),
      run.log,
    ])
    if (seen.has(name)) continue
    seen.add(name)
    const moves = movesFrom(programs, run)
    if (moves.every((move) => move.kind === 'hand')) {
      outcomes.add(
        run.reads
          .map((reads) => reads.join(' '))
          .filter((reads) => reads !== '')
          .join(' | '),
      )
    }
    for (const move of moves) paths.push([...path, move])
  }
  return outcomes
}

type Move =
  /** A process takes its next step. */
  | { readonly kind: 'run'; readonly process: number }
  /** An update reaches a server, whether or not its turn has come. */
  | { readonly kind: 'hand'; readonly to: number; readonly update: number }

interface Run {
  readonly next: number[]
  readonly reads: string[][]
  /** For each server the updates that have reached it. */
  readonly handed: readonly Set<number>[]
  /** What the updates are, in the order in which they were taken: their names tell states apart. */
  readonly log: string[]
}

function movesFrom(programs: readonly Program[], run: Run): readonly Move[] {
  const moves: Move[] = []
  for (const [process, program] of programs.entries()) {
    if ((run.next[process] as number) < program.length) moves.push({ kind: 'run', process })
    for (const update of run.log.keys()) {
      if (run.handed[process]?.has(update) === false) moves.push({ kind: 'hand', to: process, update })
    }
  }
  return moves
}

function replay(programs: readonly Program[], path: readonly Move[]): Run {
  const servers = programs.map((_, index) => freshReplica({ server: `${index + 1}` }))
  const updates: Update[] = []
  const run: Run = {
    next: programs.map(() => 0),
    reads: programs.map(() => []),
    handed: programs.map(() => new Set<number>()),
    log: [],
  }
  for (const move of path) {
    if (move.kind === 'hand') {
      run.handed[move.to]?.add(move.update)
      hand(servers[move.to] as Replica, '9', updates[move.update] as Update)
      continue
    }
    const { process } = move
    const server = servers[process] as Replica
    const step = run.next[process] ?? 0
    run.next[process] = step + 1
    const [kind, key, value] = (programs[process]?.[step] ?? '').split(' ')
    if (kind === 'r') run.reads[process]?.push(read(server, key as string))
    else {
      const update = write(server, key as string, value as string)
      run.handed[process]?.add(updates.length)
      run.log.push(JSON.stringify(update))
      updates.push(update)
    }
  }
  return run
}

function read(server: Replica, key: string): string {
  const { reply } = server.step({
    kind: 'request',
    client: 1,
    id: 1,
    request: { method: 'read', keys: [key] },
  })
  const result = reply[0]?.result
  const value = result?.method === 'read' ? result.values[0]?.winner?.value : undefined
  return typeof value === 'string' ? value : '-'
}

function write(server: Replica, key: string, value: string): Update {
  const request = { method: 'write', writes: [{ key, value }] } as const
  const { persist } = server.step({ kind: 'request', client: 1, id: 1, request })
  return persist[0]?.update as Update
}
