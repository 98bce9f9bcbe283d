import type { Input } from '../../src/replica/input.ts'
import type { LinkState, PeerMessage } from '../../src/replica/messages.ts'
import { notificationsOf, type Output } from '../../src/replica/output.ts'
import type { Recovered } from '../../src/replica/recovered.ts'
import { dependenciesOf } from '../../src/replica/update.ts'
import type { ServerId } from '../../src/replica/version.ts'
import type { StoreBatch } from '../../src/storage/store.ts'
import type { SimulatedProcess } from './simulated-process.ts'

/**
 * States that hardly ever come about, and in which bugs live. Each is counted; a long run has to reach all of them, or it
 * has not tried what it is there to try.
 */
export const rareStates = [
  // the causal buffer (R3)
  'an update waited',
  'an update waited for two others at once',
  'an update with two causes waited, and was applied',
  'an update did not fit the buffer',
  'a waiting update was given up as lost',
  'a drain took several steps',
  // conflicts (R5)
  'a key had two siblings',
  'a key had four siblings',
  'a tombstone was a sibling',
  'a batch left siblings on some of its keys',
  // catching up (R8)
  'a page was pulled',
  'a page said that there is more',
  'a page was pulled in vain',
  'a pull left out a held link',
  'a peer had to pull because its pushes did not fit',
  'a snapshot was asked for',
  'a snapshot took several pages',
  'a snapshot was begun anew',
  'a snapshot was taken in',
  'a snapshot was stored',
  'a snapshot left siblings of the own',
  'a snapshot brought answers to requests',
  'something came while a snapshot was taken in',
  'updates came twice',
  // disks (R6)
  'one commit held several updates',
  'a checkpoint was complete',
  'a checkpoint took several slices',
  'a start replayed a log after a checkpoint',
  'a start found what no answer had told of',
  'a power loss took commits along',
  'a server stopped in order',
  'a commit failed, and its process ended',
  'an asynchronous disk lost a suffix',
  // identities (R7)
  'a folder was older than what peers knew of it',
  'id refused',
  'a second server with one id stopped',
  'a half-open connection was replaced',
  // sessions and retries (R9, R10)
  'a request waited for what it was to come after',
  'a request was not caught up in time',
  'a version was told to be lost',
  'an answer was lost',
  'a retry was recognised',
  'a retry was recognised at another server',
  'an outcome was unknown',
  // watching (R11)
  'a client stalled',
  'a watch read from the state',
  'a watch went on at another connection',
  'a watch began anew, as its reading from the state broke off',
  'a watch was told to resync',
  'a watch was told of a conflict',
  // liveness
  'two alone had something to get',
  // the lab
  'a link was held',
  'a link was delayed',
] as const

export type RareState = (typeof rareStates)[number]

/** Counts rare states, over as many runs as it is given to. */
export class Sometimes {
  readonly #counts = new Map<RareState, number>()
  /** The pulls that are being answered by a snapshot. */
  readonly #snapshots = new Set<string>()

  reached(state: RareState, count = 1): void {
    this.#counts.set(state, (this.#counts.get(state) ?? 0) + count)
  }

  get counts(): ReadonlyMap<RareState, number> {
    return this.#counts
  }

  /** Those that have not come about. */
  get missing(): readonly RareState[] {
    return rareStates.filter((state) => !this.#counts.has(state))
  }

  add(counts: Iterable<readonly [RareState, number]>): void {
    for (const [state, count] of counts) this.reached(state, count)
  }

  /** What a step did, told by its input and its output. */
  observe(process: SimulatedProcess, input: Input, output: Output): void {
    if (output.persist.length > 0 && output.more && input.kind === 'continue')
      this.reached('a drain took several steps')
    for (const event of output.events) {
      switch (event.kind) {
        case 'waiting':
          this.reached('an update waited')
          if (event.waitsFor.length > 1) this.reached('an update waited for two others at once')
          break
        case 'applied':
          if (event.waitedMs !== undefined && dependenciesOf(event.update).length > 1) {
            this.reached('an update with two causes waited, and was applied')
          }
          break
        case 'dropped':
          this.reached('an update did not fit the buffer')
          break
        case 'lost':
          this.reached('a waiting update was given up as lost')
          break
        case 'pulled':
          this.reached('a page was pulled')
          if (event.more) this.reached('a page said that there is more')
          break
        case 'installed':
          this.reached('a snapshot was taken in')
          break
        case 'restored':
          this.reached('a folder was older than what peers knew of it')
          break
        case 'conflict': {
          this.reached('a key had two siblings')
          if (event.versions.length > 3) this.reached('a key had four siblings')
          const siblings = process.core.replica.siblingsOf(event.key) ?? []
          if (siblings.some(({ deleted }) => deleted === true)) this.reached('a tombstone was a sibling')
          break
        }
        default:
      }
    }
    for (const notification of notificationsOf(output)) {
      if (notification.kind === 'update' && notification.conflict.length > 0) {
        this.reached('a watch was told of a conflict')
      }
    }
    this.#observeApplied(process, output)
    this.#observeInput(process, input, output)
    if (
      input.kind === 'request' &&
      input.request.method === 'write' &&
      input.request.request?.retry === true
    ) {
      const answer = output.reply.find(({ id, client }) => id === input.id && client === input.client)
      if (answer?.result.method === 'write' && output.persist.length === 0) {
        this.reached('a retry was recognised')
        if (answer.result.version.origin !== process.origin)
          this.reached('a retry was recognised at another server')
      }
    }
    if (input.kind === 'request' && 'after' in input.request && input.request.after !== undefined) {
      const isAnswered = output.reply.some(({ id, client }) => id === input.id && client === input.client)
      if (!isAnswered) this.reached('a request waited for what it was to come after')
    }
  }

  /** Something is sent to a peer. */
  sent(process: SimulatedProcess, to: ServerId, message: PeerMessage): void {
    if (message.kind === 'pull' && message.except.length > 0) this.reached('a pull left out a held link')
    if (message.kind !== 'snapshot') return
    if (message.page === 1) this.reached('a snapshot was asked for')
    else this.reached('a snapshot took several pages')
    if (message.sessions.length > 0) this.reached('a snapshot brought answers to requests')
    const pull = `${process.origin} ${to} ${message.pull}`
    if (message.page === 1 && this.#snapshots.has(pull)) this.reached('a snapshot was begun anew')
    this.#snapshots.add(pull)
    if (message.applied !== undefined) this.#snapshots.delete(pull)
  }

  /** What a lab's gate tells the other side of itself. */
  gateTold(state: LinkState['state']): void {
    if (state === 'held') this.reached('a link was held')
    else if (state === 'delayed') this.reached('a link was delayed')
  }

  /** A commit has become durable. */
  stored({ log = [], state, checkpoint, install }: StoreBatch): void {
    if (log.length > 1) this.reached('one commit held several updates')
    if (checkpoint !== undefined) this.reached('a checkpoint was complete')
    else if (state !== undefined) this.reached('a checkpoint took several slices')
    if (install !== undefined) this.reached('a snapshot was stored')
  }

  /** A process starts with what its disk holds. */
  recovered({ checkpoint, logEnd }: Recovered): void {
    if (checkpoint > 0 && logEnd > checkpoint) this.reached('a start replayed a log after a checkpoint')
  }

  #observeApplied(process: SimulatedProcess, output: Output): void {
    for (const { update } of output.persist) {
      if (update.writes.length < 2) continue
      const siblings = update.writes.map(({ key }) => process.core.replica.siblingsOf(key)?.length ?? 0)
      if (Math.min(...siblings) === 1 && Math.max(...siblings) > 1) {
        this.reached('a batch left siblings on some of its keys')
      }
    }
  }

  #observeInput(process: SimulatedProcess, input: Input, output: Output): void {
    const [stage] = output.stage
    if (stage?.kind === 'records') {
      if (input.kind !== 'continue' && input.kind !== 'tick')
        this.reached('something came while a snapshot was taken in')
      if (stage.records.keys.some(({ siblings }) => siblings.length > 1)) {
        this.reached('a snapshot left siblings of the own')
      }
    }
    if (input.kind === 'request' && input.request.method === 'write' && output.persist.length > 0) {
      const pushes = output.send.filter(({ message }) => message.kind === 'updates').length
      if (pushes < process.linksUp.size) this.reached('a peer had to pull because its pushes did not fit')
    }
    if (input.kind !== 'message') return
    const { message } = input
    const isNothingNew = output.persist.length === 0 && output.events.length === 0
    if (message.kind === 'page' && message.updates.length > 0 && isNothingNew)
      this.reached('a page was pulled in vain')
    if (message.kind === 'updates' && isNothingNew) this.reached('updates came twice')
  }
}
