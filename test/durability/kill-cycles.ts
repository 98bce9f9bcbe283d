import { connect } from '../../src/client/client.ts'
import type { Program } from '../integration/compiled-program.ts'
import { waitMsMax, within } from '../integration/processes.ts'
import { DataFolder } from './data-folder.ts'
import { History, updatesSince } from './history.ts'
import { Ledger } from './ledger.ts'
import { Random } from './random.ts'
import { ids, Trio } from './trio.ts'
import { LibrarySender, RawSender, Writer, type Sender } from './writers.ts'

/** What came of some cycles. */
export interface KillReport {
  readonly cycles: number
  readonly kills: number
  readonly acknowledged: number
  readonly refused: number
  readonly unknown: number
  /** Updates that were applied, whether their writers know it or not. */
  readonly updates: number
  /** Of each cycle: from the moment when the last server listened again until all were equal. In milliseconds. */
  readonly settleMs: readonly number[]
  readonly violations: readonly string[]
}

/**
 * Kills one, two or all of three servers in the middle of their work, starts them again, and looks whether anything that
 * was acknowledged is lost, anything happened twice, any version names two updates, or the servers differ (R4, R6,
 * R7, R10); again and again, on the same folders.
 *
 * @param program the sources by default, of which each start takes most of a second.
 * @param settleMsMax how long the servers may take to become equal; longer is a violation.
 * @param told is called after each cycle.
 */
export async function killCycles(options: {
  readonly cycles: number
  readonly seed: number
  readonly settleMsMax: number
  readonly program?: Program
  readonly told?: (cycle: number, line: string) => void
}): Promise<KillReport> {
  const { cycles, seed, settleMsMax, told = () => {} } = options
  const random = new Random(seed)
  const folder = await DataFolder.make()
  const trio = await Trio.start(folder, 'sync', options.program)
  const ledger = new Ledger()
  const history = new History()
  const writers = await writersFor(trio, ledger, seed)
  const settleMs: number[] = []
  let kills = 0
  let judged: Readonly<Record<string, number>> | 'start' = 'start'
  for (const writer of writers) writer.start()
  try {
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const victims = random.shuffled(ids).slice(0, random.between(1, ids.length))
      kills += victims.length
      await loaded(ledger, random.between(20, 120))
      await Promise.all(victims.map((id) => trio.kill(id)))
      if (victims.length < ids.length) await loaded(ledger, random.between(5, 40))
      const paused = Promise.all(writers.map((writer) => writer.pause()))
      await Promise.all(random.shuffled(victims).map((id) => trio.start(id)))
      const restartedMs = performance.now()
      await trio.agreed(ledger.keys, waitMsMax)
      const tookMs = performance.now() - restartedMs
      settleMs.push(tookMs)
      if (tookMs > settleMsMax) {
        ledger.violations.push(`cycle ${cycle}: the servers were equal after ${Math.round(tookMs)} ms only`)
      }
      await within(paused, () => 'a writer does not get to its end', 4 * waitMsMax)
      const dump = await trio.agreed(ledger.keys, waitMsMax)
      const counts = await Promise.all(ids.map((id) => takeHistory(history, trio.ports[id], judged)))
      if (new Set(counts).size > 1) {
        ledger.violations.push(`cycle ${cycle}: since the last the servers have ${counts.join(', ')} updates`)
      }
      ledger.judge(dump, history)
      judged = dump.applied
      told(
        cycle,
        `killed ${victims.join(', ')}; ${ledger.acknowledged} acknowledged; equal after ${Math.round(tookMs)} ms`,
      )
      if (ledger.violations.length + history.violations.length > 0) break
      for (const writer of writers) writer.resume()
    }
  } finally {
    await Promise.all(writers.map((writer) => writer.end()))
  }
  // From the beginning once more: what was there at its time must still be there.
  for (const id of ids) await takeHistory(history, trio.ports[id], 'start')
  ledger.judge(await trio.agreed(ledger.keys, waitMsMax), history)
  await Promise.all(ids.map((id) => trio.server(id).stop()))
  await folder.remove()
  return {
    cycles: settleMs.length,
    kills,
    acknowledged: ledger.acknowledged,
    refused: ledger.count('refused'),
    unknown: ledger.count('unknown'),
    updates: history.size,
    settleMs,
    violations: [...new Set([...ledger.violations, ...history.violations])],
  }
}

async function writersFor(trio: Trio, ledger: Ledger, seed: number): Promise<readonly Writer[]> {
  const writers: Writer[] = []
  const add = (name: string, sender: Sender): void => {
    // Choices of its own: how fast the others are must not decide what it writes, nor who is killed.
    const random = new Random(seed * 1_000 + writers.length)
    writers.push(new Writer({ name, ledger, random, sender }))
  }
  for (const [index, id] of ids.entries()) {
    const addresses = [...ids.slice(index), ...ids.slice(0, index)].map((other) => `${trio.ports[other]}`)
    const client = await connect(addresses, {
      id: `library ${id}`,
      timeoutMs: clientTimeoutMs,
      onLost: (lost) =>
        ledger.violations.push(`library ${id} was told that these are lost: ${JSON.stringify(lost)}`),
    })
    add(`library ${id}`, new LibrarySender(ledger, client))
    add(`raw ${id}`, new RawSender(ledger, { trio, server: id }))
    add(`bare ${id}`, new RawSender(ledger, { trio, server: id }))
  }
  return writers
}

/** Waits until the writers have been told of so many more writes. */
async function loaded(ledger: Ledger, count: number): Promise<void> {
  await within(
    ledger.acknowledgedMore(count),
    () => `the writers get no further than ${ledger.acknowledged} acknowledged writes`,
    2 * waitMsMax,
  )
}

/** @returns how many updates the server has that the cut does not cover. */
async function takeHistory(
  history: History,
  port: number,
  since: Readonly<Record<string, number>> | 'start',
): Promise<number> {
  const updates = await updatesSince(port, since)
  for (const update of updates) history.add(update)
  return updates.length
}

/** Longer than a restart takes, so that most requests get to know what became of them. */
const clientTimeoutMs = 8_000
