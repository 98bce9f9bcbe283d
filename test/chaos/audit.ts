import { History, type ToldUpdate } from '../durability/history.ts'
import type { WireVersion } from '../durability/dump.ts'
import { within } from '../integration/processes.ts'
import type { Applied, ChaosMesh } from './chaos-mesh.ts'
import { SharedConnection } from './shared-connection.ts'
import { recordedValue, type Outcome, type Question, type SessionObserver } from './session.ts'
import type { Watcher } from './watcher.ts'

/**
 * What a history cannot say: that no version names two updates (R7), that what was asked once happened once (R10), that
 * all servers have had the same updates, and that watches missed none of them (R11).
 *
 * It looks at the servers' logs after each round, in which they are quiet and agree.
 */
export class Audit implements SessionObserver {
  readonly #complain: (complaint: string) => void
  readonly #history = new History()
  #writes: { readonly values: readonly string[]; readonly outcome: Outcome }[] = []
  readonly #counts = { acknowledged: 0, refused: 0, unknown: 0, reads: 0 }
  /** What all servers had applied when it looked last. */
  #since: Applied | 'start' = 'start'

  constructor(complain: (complaint: string) => void) {
    this.#complain = complain
  }

  /** Questions of sessions: writes by what became of them, and reads that were answered. */
  get counts(): Readonly<Record<'acknowledged' | 'refused' | 'unknown' | 'reads', number>> {
    return this.#counts
  }

  /** Updates that were applied, whether whoever asked for them knows it or not. */
  get updates(): number {
    return this.#history.size
  }

  came(question: Question, outcome: Outcome, values: readonly string[]): void {
    if (outcome.kind === 'found') this.#counts.reads++
    else if (outcome.kind === 'written') this.#counts.acknowledged++
    else this.#counts[outcome.kind]++
    if (question.kind === 'write') this.#writes.push({ values, outcome })
  }

  /**
   * Judges the round that is over.
   *
   * @param round.applied what all have applied.
   * @param round.isLost whether a version is gone with a disk, as it may be.
   */
  async judge(
    mesh: Pick<ChaosMesh, 'ports'>,
    round: {
      readonly applied: Applied
      readonly isLost: (version: WireVersion) => boolean
      readonly watchers: readonly Watcher[]
    },
  ): Promise<void> {
    const told = await Promise.all(
      [...mesh.ports].map(async ([id, port]) => ({ id, updates: await updatesSince(port, this.#since) })),
    )
    const whole = told.filter(({ updates }) => updates.every(({ coalesced }) => coalesced !== true))
    for (const { updates } of whole) for (const update of updates) this.#history.add(update)
    const [first, ...others] = whole.map(({ id, updates }) => ({ id, versions: namesOf(updates) }))
    for (const other of others) {
      const differing = [...(first?.versions ?? [])].filter((name) => !other.versions.has(name))
      if (differing.length > 0 || other.versions.size !== first?.versions.size) {
        this.#complain(
          `server ${first?.id} had ${first?.versions.size} updates and server ${other.id} ${other.versions.size}; ` +
            `the second lacks ${differing.slice(0, 5).join(', ') || 'none of the first'}`,
        )
      }
    }
    for (const violation of this.#history.violations.splice(0)) this.#complain(violation)
    for (const write of this.#writes) this.#judgeWrite(write, round.isLost)
    this.#writes = []
    if (whole.length === told.length) this.#judgeWatches(round.watchers, told[0]?.updates ?? [])
    this.#since = round.applied
  }

  #judgeWrite(
    { values, outcome }: { readonly values: readonly string[]; readonly outcome: Outcome },
    isLost: (version: WireVersion) => boolean,
  ): void {
    const version = outcome.kind === 'written' ? outcome.version : undefined
    const expected = version === undefined || isLost(version) ? undefined : version.join('@')
    if (version !== undefined && expected !== undefined && this.#history.textsOf(version) === undefined) {
      this.#complain(`${expected} was acknowledged, and no server has it`)
    }
    for (const value of values) {
      const versions = this.#history.versionsOf(value)
      if (versions.length > 1) this.#complain(`${value} was applied as ${versions.join(' and ')}`)
      if (outcome.kind === 'refused' && versions.length > 0) {
        this.#complain(`${value} certainly did not happen, and was applied as ${versions.join(' and ')}`)
      }
      if (expected !== undefined && versions[0] !== expected) {
        this.#complain(`${value} was acknowledged as ${expected}, and applied as ${versions[0] ?? 'nothing'}`)
      }
    }
  }

  #judgeWatches(watchers: readonly Watcher[], updates: readonly ToldUpdate[]): void {
    for (const { record } of watchers) {
      const { whole, prefix, name } = record
      if (whole === undefined) continue
      const wanted = updates.filter(({ writes }) => writes.some(({ key }) => key.startsWith(prefix)))
      const missed = [...namesOf(wanted)].filter((version) => !whole.has(version))
      if (missed.length > 0) {
        this.#complain(`watch ${name} of "${prefix}" was never told of ${missed.slice(0, 5).join(', ')}`)
      }
      if (whole.size > wanted.length) {
        this.#complain(`watch ${name} was told of ${whole.size} updates, and there are ${wanted.length}`)
      }
    }
  }
}

/** What a server has applied and a cut does not cover, in its order, told by a watch. */
async function updatesSince(port: number, since: Applied | 'start'): Promise<readonly ToldUpdate[]> {
  const updates: ToldUpdate[] = []
  let finish: () => void = () => {}
  const caughtUp = new Promise<void>((resolve) => {
    finish = resolve
  })
  const client = await SharedConnection.connectPatiently(port, {
    notified: ({ method, params }) => {
      if (method === 'update') updates.push(asRecorded(params as ToldUpdate))
      else if (method === 'caughtUp') finish()
    },
  })
  await client.call('watch', { since })
  await within(caughtUp, () => `a watch at port ${port} does not catch up`, caughtUpMsMax)
  client.close()
  return updates
}

/** For the hung. */
const caughtUpMsMax = 300_000

function namesOf(updates: readonly ToldUpdate[]): ReadonlySet<string> {
  return new Set(updates.map(({ version }) => version.join('@')))
}

/** Without the tails of values, which are long. */
function asRecorded({ version, writes, ...more }: ToldUpdate): ToldUpdate {
  return {
    version,
    ...more,
    writes: writes.map((write) =>
      write.deleted === true ? write : { ...write, value: recordedValue(write.value) },
    ),
  }
}
