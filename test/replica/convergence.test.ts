import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Limits } from '../../src/replica/configuration.ts'
import type { Output } from '../../src/replica/output.ts'
import type { Replica } from '../../src/replica/replica.ts'
import type { Update, Write } from '../../src/replica/update.ts'
import { Mesh, stateOf } from './mesh.ts'
import { Model } from './model.ts'
import { freshReplica, hand } from './update-builder.ts'

/**
 * A failure prints its seed and path; to repeat it, put them into `fc.assert(…, { seed, path })` and run
 * `npx vitest run test/replica/convergence.test.ts -t "<title>"`.
 */

const keys = fc.constantFrom('x', 'y', 'z', '__proto__')

const writes: fc.Arbitrary<readonly Write[]> = fc.uniqueArray(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ key: keys, value: fc.integer({ min: 0, max: 99 }) }) },
    { weight: 1, arbitrary: fc.record({ key: keys, deleted: fc.constant(true as const) }) },
  ),
  { minLength: 1, maxLength: 2, selector: (write) => write.key },
)

/** What happens to servers that get one another's updates in any order, without links. */
type SoupCommand =
  | { readonly kind: 'write'; readonly server: number; readonly writes: readonly Write[] }
  | { readonly kind: 'hand'; readonly server: number; readonly update: number }

const soupCommands: fc.Arbitrary<readonly SoupCommand[]> = fc.array(
  fc.oneof(
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('write' as const), server: fc.nat(4), writes }) },
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constant('hand' as const), server: fc.nat(4), update: fc.nat(60) }),
    },
  ),
  { maxLength: 90, size: 'max' },
)

/** Runs a history; the model looks on at every step. */
function simmer(serverCount: number, commands: readonly SoupCommand[]): Soup {
  const model = new Model()
  const servers = Array.from({ length: serverCount }, (_, index) => freshReplica({ server: `${index + 1}` }))
  const observe = (server: number, output: Output): void => {
    model.observe(`${server + 1}`, output)
    expect(output.refuse).toEqual([])
  }
  for (const command of commands) {
    const server = command.server % serverCount
    const replica = servers[server] as Replica
    if (command.kind === 'write') {
      const request = { method: 'write', writes: command.writes } as const
      observe(server, replica.step({ kind: 'request', client: 1, id: 1, request }))
    } else {
      const updates = model.updates
      const update = updates[command.update % Math.max(1, updates.length)]
      if (update !== undefined) observe(server, hand(replica, '9', update))
    }
    expect([...replica.entries()]).toEqual(model.entriesAt(`${server + 1}`))
  }
  return { model, servers, observe }
}

interface Soup {
  readonly model: Model
  readonly servers: readonly Replica[]
  readonly observe: (server: number, output: Output) => void
}

describe('replicas that get the same updates in any order', () => {
  it('show at every step exactly the siblings that no other version has causally overwritten (R4, R5)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 5 }), soupCommands, (serverCount, commands) => {
        const { model, servers, observe } = simmer(serverCount, commands)
        for (const [index, replica] of servers.entries()) {
          observe(index, hand(replica, '9', ...model.updates.toReversed()))
          expect(stateOf(replica)).toEqual(stateOf(servers[0] as Replica))
          expect([...replica.entries()]).toEqual(model.entriesAt('1'))
        }
      }),
      { numRuns: 150 },
    )
  })

  it('reach the same state by any permutation, duplication, and loss with resending (R3, R4)', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 5 }),
        soupCommands,
        fc.infiniteStream(fc.nat(1_000_000)),
        (serverCount, commands, choices) => {
          const { model } = simmer(serverCount, commands)
          const inOrder = freshReplica({ server: 'order' })
          for (const update of model.updates) model.observe('order', hand(inOrder, '9', update))
          const shuffled = freshReplica({ server: 'shuffled' })
          const choose = (count: number): number => (choices.next().value as number) % count
          const unsent = [...model.updates]
          const lost: Update[] = []
          while (unsent.length > 0) {
            const [update] = unsent.splice(choose(unsent.length), 1) as [Update]
            const fate = choose(4)
            if (fate === 0) lost.push(update)
            else model.observe('shuffled', hand(shuffled, '9', update))
            // Sent again later, and by a sender that does not know whether it arrived.
            if (fate === 1) lost.push(update)
          }
          for (const update of lost) model.observe('shuffled', hand(shuffled, '9', update))
          expect(stateOf(shuffled)).toEqual(stateOf(inOrder))
          expect([...shuffled.entries()]).toEqual(model.entriesAt('shuffled'))
        },
      ),
      { numRuns: 100 },
    )
  })

  it('keep at most one sibling of a key for each origin (R5)', () => {
    fc.assert(
      fc.property(soupCommands, (commands) => {
        for (const replica of simmer(4, commands).servers) {
          for (const [, siblings] of replica.entries()) {
            expect(new Set(siblings.map(({ version }) => version.origin)).size).toBe(siblings.length)
          }
        }
      }),
      { numRuns: 50 },
    )
  })
})

type MeshCommand =
  | { readonly kind: 'write'; readonly at: number; readonly writes: readonly Write[] }
  | {
      readonly kind: 'deliver' | 'drop' | 'duplicate' | 'break' | 'heal' | 'hold' | 'release'
      readonly from: number
      readonly to: number
      readonly index: number
    }
  | { readonly kind: 'tick'; readonly ms: number }

const moved = (kind: 'deliver' | 'drop' | 'duplicate' | 'break' | 'heal' | 'hold' | 'release') =>
  fc.record({ kind: fc.constant(kind), from: fc.nat(4), to: fc.nat(4), index: fc.nat(5) })

const meshCommands: fc.Arbitrary<readonly MeshCommand[]> = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ kind: fc.constant('write' as const), at: fc.nat(4), writes }) },
    { weight: 20, arbitrary: moved('deliver') },
    { weight: 2, arbitrary: moved('drop') },
    { weight: 2, arbitrary: moved('duplicate') },
    { weight: 1, arbitrary: moved('break') },
    { weight: 1, arbitrary: moved('heal') },
    { weight: 1, arbitrary: moved('hold') },
    { weight: 1, arbitrary: moved('release') },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('tick' as const), ms: fc.integer({ min: 1, max: 400 }) }),
    },
  ),
  { maxLength: 160, size: 'max' },
)

function carryOut(mesh: Mesh, command: MeshCommand): void {
  const idOf = (index: number): string => mesh.ids[index % mesh.ids.length] as string
  if (command.kind === 'write') {
    mesh.writeAll(idOf(command.at), command.writes)
    return
  }
  if (command.kind === 'tick') {
    mesh.tick(command.ms)
    return
  }
  const [from, to] = [idOf(command.from), idOf(command.to)]
  if (from === to) return
  if (command.kind === 'heal') mesh.up(from, to)
  if (!mesh.isUp(from, to)) return
  const index = Math.min(command.index, mesh.queued(from, to).length - 1)
  if (command.kind === 'break') mesh.down(from, to)
  else if (command.kind === 'hold') mesh.hold(from, to)
  else if (command.kind === 'release') mesh.release(from, to)
  else if (index >= 0 && command.kind === 'deliver') mesh.deliver(from, to, index)
  else if (index >= 0 && command.kind === 'drop') mesh.drop(from, to, index)
  else if (index >= 0 && command.kind === 'duplicate') mesh.duplicate(from, to, index)
}

describe('a mesh whose links reorder, duplicate, lose, hold and break', () => {
  const tiny: Partial<Limits> = {
    buffer: { updatesMax: 5, bytesMax: 5_000 },
    page: { updatesMax: 3, bytesMax: 1_000 },
    snapshotPage: { updatesMax: 3, bytesMax: 1_000 },
    pushedBytesMax: 600,
    appliedPerStepMax: 2,
  }

  it('never shows an effect before its cause, and agrees once it is whole again (R3, R4, R5, R8)', () => {
    agreeInTheEnd(tiny)
  })

  it('does so by snapshots too, where the logs keep next to nothing (R8, R12)', () => {
    agreeInTheEnd({ ...tiny, log: { updatesMax: 4, bytesMax: 2_000 } })
  })

  function agreeInTheEnd(limits: Partial<Limits>): void {
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 5 }), meshCommands, (serverCount, commands) => {
        const model = new Model()
        const mesh = new Mesh({
          servers: Array.from({ length: serverCount }, (_, index) => `${index + 1}`),
          limits,
          observe: (id, output) => model.observe(id, output),
        })
        mesh.connectAll()
        for (const command of commands) carryOut(mesh, command)
        for (const from of mesh.ids) {
          for (const to of mesh.ids) {
            if (from === to || !mesh.isUp(from, to)) continue
            mesh.release(from, to)
            // A connection loses nothing without breaking; this one has lost something, so it breaks now.
            if (mesh.hasLost(from, to)) mesh.down(from, to)
          }
        }
        mesh.connectAll()
        mesh.run(30_000, 250)
        for (const id of mesh.ids) {
          expect(mesh.state(id)).toEqual(mesh.state('1'))
          expect([...mesh.replica(id).entries()]).toEqual(model.entriesAt(id))
          expect(model.appliedAt(id).size).toBe(model.updates.length)
          expect(mesh.refusals(id)).toEqual([])
        }
      }),
      { numRuns: 100 },
    )
  }
})
