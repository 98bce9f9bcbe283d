import type { Mutant } from './mutant.ts'

const replica = 'src/replica/replica.ts'
const table = 'src/replica/request-table.ts'
const cut = 'src/client/session-cut.ts'
const client = 'test/simulation/simulated-client.ts'

/** Crashes take along what only one server had, and clients go to another at once. */
const whereThingsAreLost: Pick<Mutant, 'faults' | 'workload'> = {
  faults: { crashRate: 0.25, powerLossRate: 0.25, delayRate: 0.5 },
  workload: { durabilities: ['memory', 'async'], hopChance: 0.3, servers: 4 },
}

/** What a client has seen goes with it (R9), and what it asks happens once (R10). */
export const sessionMutants: readonly Mutant[] = [
  {
    name: 'after not awaited',
    rule: 'R9',
    why: 'A server acts at once, whatever the client has seen elsewhere.',
    file: replica,
    find: 'if (this.#parked.readyCount === 0 && coversCut(this.#applied, after)) {',
    replace: 'if (this.#parked.readyCount >= 0) {',
  },
  {
    name: 'one entry of after is enough',
    rule: 'R9',
    why: 'A request goes on when the first of what it waits for has come.',
    file: 'src/replica/parked-requests.ts',
    find: 'if (!this.#file(parking, applied, deadline)) covered.push(parking)',
    replace: 'if (deadline !== undefined) this.#deadlines.remove(deadline)\n      covered.push(parking)',
  },
  {
    name: 'the cut learns nothing',
    rule: 'R9',
    why: 'A session that moves has nothing to show.',
    file: cut,
    find: '    raise(this.#seen, origin, timestamp)\n    if (shownBy',
    replace: '    if (shownBy',
  },
  {
    name: 'the cut is not updated by reads',
    rule: 'R9',
    why: 'Own writes are followed to the next server, and what was read is not. The simulated client stands in for the library here.',
    file: client,
    find: '            this.#saw(sibling.version)\n',
    replace: '            void sibling\n',
  },
  {
    name: 'the cut is not updated by pushes',
    rule: 'R9',
    why: 'What a watch has told is unknown to the session. The simulated client stands in for the library here.',
    file: client,
    find: '      this.#saw(version)\n      const { renewals }',
    replace: '      const { renewals }',
    workload: { watchers: 3 },
  },
  {
    name: 'a move owes nothing',
    rule: 'R9',
    why: 'The next server is taken to have applied what the last one had.',
    file: cut,
    find: 'if (entryOf(applied, origin) < timestamp) this.#owed.set(origin, timestamp)',
    replace: 'if (entryOf(applied, origin) < timestamp) void this.#owed',
  },
  {
    name: 'what is owed is shown but once',
    rule: 'R9',
    why: 'A server that has not caught up in time is asked again as if it had.',
    file: cut,
    find: 'return this.#owed.size === 0 ? undefined : new Map(this.#owed)',
    replace:
      'const owed = this.#owed.size === 0 ? undefined : new Map(this.#owed)\n    this.#owed.clear()\n    return owed',
  },
  {
    name: 'nobody who waits is woken',
    rule: 'R9',
    why: 'What a request waited for is applied, and it waits on until its time is up.',
    file: replica,
    find: 'this.#parked.wake(origin, this.#applied)',
    replace: '',
  },
  {
    name: 'lost without asking around',
    rule: 'R9',
    why: 'What no connected server has told of is called lost, though some member may be away.',
    file: 'src/replica/catch-up.ts',
    find: 'return view !== undefined && view.sends && view.hears',
    replace: 'return view === undefined || (view.sends && view.hears)',
  },
  {
    name: 'lost, though a holder is known',
    rule: 'R9',
    why: 'A version is called lost that a connected server has.',
    file: replica,
    find: '      !this.#catchUp.hasHolder(version) &&\n',
    replace: '',
  },
  {
    name: 'lost, though somebody has it waiting',
    rule: 'R9',
    why: 'A member has it and may not apply it yet; it says nothing of that when it is asked.',
    file: replica,
    find: 'const update = this.#log.find(version) ?? this.#buffer.find(version)?.update',
    replace: 'const update = this.#log.find(version)',
    // It waits for a cause that is gone with its server, as its own server is.
    faults: { crashRate: 0.5, powerLossRate: 0.1, delayRate: 2 },
    workload: { durabilities: ['memory'], hopChance: 0.3, servers: 4, chainChance: 0.9 },
  },
  {
    name: 'lost without being asked for',
    rule: 'R9',
    why: 'One version was asked for and is lost, and so is called whatever else nobody shows, though it waits somewhere.',
    file: replica,
    find: 'versions.set(name, version)',
    replace: 'if (doubted.size === 1) versions.set(name, version)',
    faults: { crashRate: 0.25, oneWayCutRate: 0.3, delayRate: 1, stopRate: 0, isBufferSmall: false },
    workload: { durabilities: ['memory'], hopChance: 0.3, servers: 4, patienceMs: 600 },
  },
  {
    name: 'lost is never said',
    rule: 'R9',
    why: 'Whoever has seen what is gone waits for it at every request, for as long as it has patience.',
    file: replica,
    find: 'if (![...this.#uncovered(after)].some(isLost)) return',
    replace: 'if (this.#nowMs >= 0) return',
  },
  {
    name: 'drop forgets too much',
    rule: 'R9',
    why: 'One version is lost, and all that the session has seen is forgotten with it.',
    file: cut,
    find: 'this.#owed.delete(origin)\n      const kept',
    replace: 'this.#owed.clear()\n      this.#seen.clear()\n      const kept',
    ...whereThingsAreLost,
  },
  {
    name: 'an unknown retry is carried out',
    rule: 'R10',
    why: 'A server that does not know of the first copy makes a second.',
    file: table,
    find: "return stamp.retry === true ? { kind: 'unknown' } : { kind: 'new' }",
    replace: "return { kind: 'new' }",
  },
  {
    name: 'a retry is never recognised',
    rule: 'R10',
    why: 'The answer is kept, and not looked for.',
    file: table,
    find: 'if (answer?.number === stamp.number) {',
    replace: 'if (answer?.number === stamp.number && stamp.number < 0) {',
  },
  {
    name: 'the answer of another request',
    rule: 'R10',
    why: 'Of a session, the answer that is next to the wanted one is given.',
    file: table,
    find: "? { kind: 'known', version: answer.version }",
    replace: "? { kind: 'known', version: (session.answers.at(-1) ?? answer).version }",
  },
  {
    name: 'the answer of another session',
    rule: 'R10',
    why: 'Answers are found by their numbers, whoever asks.',
    file: table,
    find: 'const session = this.#byName.get(stamp.session)\n    if (session !== undefined) {\n      if (stamp',
    replace:
      'const session = this.#byName.get(stamp.session) ?? this.#sessions.first\n    if (session !== undefined) {\n      if (stamp',
  },
  {
    name: "only the own server's requests are recorded",
    rule: 'R10',
    why: 'A retry that goes to another server is not recognised there, though the write has long been applied.',
    file: replica,
    find: '    if (update.request !== undefined) {\n      this.#requests.record(update.request, version, fingerprint ??',
    replace:
      '    if (update.request !== undefined && origin === this.#origin) {\n      this.#requests.record(update.request, version, fingerprint ??',
  },
  {
    name: 'the request is not replicated',
    rule: 'R10',
    why: 'It is not part of the update, and so nobody knows what was asked.',
    file: replica,
    find: '{ ...unstamped, request: { session: stamp.session, number: stamp.number } }',
    replace: 'unstamped',
  },
  {
    name: 'letGo ignored',
    rule: 'R10',
    why: 'A request whose answer is no longer kept is taken for new.',
    file: table,
    find: "if (stamp.number <= session.letGo) return { kind: 'unknown' }",
    replace: '',
  },
]
