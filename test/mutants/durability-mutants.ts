import type { Mutant } from './mutant.ts'

const loop = 'src/server/replica-loop.ts'
const commits = 'src/server/group-commit.ts'
const checkpointer = 'src/server/checkpointer.ts'
const replica = 'src/replica/replica.ts'
const positions = 'src/storage/positions.ts'

const step = 'this.#commits?.take(output)\n      this.#releaseInOrder(output)\n'

/** Nothing leaves before it is durable, and what is durable comes back (R6). */
export const durabilityMutants: readonly Mutant[] = [
  {
    name: 'acknowledged before durable',
    rule: 'R6',
    why: 'Answers leave with the step, and the commit follows.',
    file: loop,
    find: step,
    replace:
      'this.#commits?.take(output)\n      this.#release({ ...output, send: [], notify: [], refuse: [], awaitDrain: [] })\n      this.#releaseInOrder({ ...output, reply: [] })\n',
  },
  {
    name: 'sent before durable',
    rule: 'R6',
    why: 'Peers are sent an update that its own server may lose.',
    file: loop,
    find: step,
    replace:
      'this.#commits?.take(output)\n      this.#release({ ...output, reply: [], notify: [], refuse: [], awaitDrain: [] })\n      this.#releaseInOrder({ ...output, send: [] })\n',
  },
  {
    name: 'pushed before durable',
    rule: 'R6',
    why: 'Watchers are told an update that its server may lose.',
    file: loop,
    find: step,
    replace:
      'this.#commits?.take(output)\n      this.#release({ ...output, reply: [], send: [], refuse: [], awaitDrain: [] })\n      this.#releaseInOrder({ ...output, notify: [] })\n',
  },
  {
    name: 'a read does not wait for the commit',
    rule: 'R6',
    why: 'A step with nothing of its own to store is released at once, though it shows what is being stored.',
    file: loop,
    find: step,
    replace:
      'this.#commits?.take(output)\n      if (output.persist.length + output.stage.length > 0) this.#releaseInOrder(output)\n      else this.#carryOut(output)\n',
  },
  {
    name: 'the wrong commit is waited for',
    rule: 'R6',
    why: 'What is stepped while a commit is under way leaves behind that one, and is in the next.',
    file: commits,
    find: 'const batch = this.#gathered.at(-1) ?? this.#underWay',
    replace: 'const batch = this.#underWay ?? this.#gathered.at(-1)',
  },
  {
    name: 'released when the commit begins',
    rule: 'R6',
    why: 'The disk has been asked, and has not answered.',
    file: commits,
    find: '    const stored = this.#assemble(batch)\n    const beganMs = this.#now()\n    try {\n      await this.#store.commit(stored)\n',
    replace:
      '    const stored = this.#assemble(batch)\n    const beganMs = this.#now()\n    try {\n      void this.#store.commit(stored).catch(() => undefined)\n      await undefined\n',
  },
  {
    name: 'async acknowledges for ever',
    rule: 'R6',
    why: 'However far the disk has fallen behind, answers leave: a crash costs without bound.',
    file: commits,
    find: 'return this.#now() - oldest.sinceMs > asyncAgeMsMax || this.unsavedBytes > asyncBytesMax',
    replace: 'return this.#now() < oldest.sinceMs',
    faults: { slowDiskRate: 0.3 },
    workload: { durabilities: ['async'] },
  },
  {
    name: 'stopped before the disk is done',
    rule: 'R6',
    why: 'Whoever is told to stop ends while its last commits are under way.',
    file: 'src/server/replica-loop.ts',
    find: 'await this.#commits?.finish()',
    replace: '',
    faults: { stopRate: 0.3 },
  },
  {
    name: 'replayed from the wrong position',
    rule: 'R6',
    why: 'The first update after a checkpoint is taken to be in it.',
    file: replica,
    find: 'if (position < recovered.checkpoint) continue',
    replace: 'if (position <= recovered.checkpoint) continue',
  },
  {
    name: 'newer keys overwritten by the replay',
    rule: 'R6',
    why: 'A key that was stored after the checkpoint began gets an update a second time, and what it had overwritten it back.',
    file: replica,
    find: 'if ((newer.get(write.key) ?? 0) <= position) this.#keySpace.apply(write, version, overwrites)',
    replace: 'this.#keySpace.apply(write, version, overwrites)',
  },
  {
    name: 'rows not recovered',
    rule: 'R5',
    why: 'After a restart nobody is known to have seen anything.',
    file: replica,
    find: 'for (const { origin, known } of recovered.rows) this.#known.merge(origin, known)',
    replace: '',
  },
  {
    name: 'request table lost',
    rule: 'R10',
    why: 'The answers that a checkpoint holds are not taken up, and a retry after a restart is not recognised.',
    file: replica,
    find: 'for (const session of recovered.sessions) this.#requests.merge(session)',
    replace: '',
  },
  {
    name: 'request answers not replayed',
    rule: 'R10',
    why: 'The answers of what the log holds after the checkpoint are lost with a crash.',
    file: replica,
    find: '        this.#requests.record(update.request, version, fingerprintOf(update.writes))\n',
    replace: '',
  },
  {
    name: 'a checkpoint said to be newer than it is',
    rule: 'R6',
    why: 'It is dated at its end, and what came while it was made is not replayed.',
    file: checkpointer,
    find: 'checkpoint: { position: round.position, applied: round.applied, rows: round.rows },',
    replace: 'checkpoint: { position, applied: round.applied, rows: round.rows },',
  },
  {
    name: 'what changed meanwhile is left out',
    rule: 'R6',
    why: 'A round takes note of what has changed, and forgets what the round before it did not come to.',
    file: checkpointer,
    find: 'this.#installation = new Capture(dirty, round?.capture)',
    replace: 'this.#installation = new Capture(dirty)',
    faults: { isLogTrimmedEarly: true, crashRate: 0.25, partitionRate: 0.4 },
    workload: { durabilities: ['sync'], keys: 150, skew: 1 },
  },
  {
    name: 'rows left out of a checkpoint',
    rule: 'R5',
    why: 'The keys are on the disk, and what their writers had seen is not.',
    file: checkpointer,
    find: 'checkpoint: { position: round.position, applied: round.applied, rows: round.rows },',
    replace: 'checkpoint: { position: round.position, applied: round.applied, rows: [] },',
  },
  {
    name: 'the log trimmed past the checkpoint',
    rule: 'R6',
    why: 'The memory needs it no more, and the disk has not got it otherwise.',
    file: positions,
    find: 'return Math.min(trim, checkpoint)',
    replace: 'return Math.max(trim, checkpoint) + 1',
    faults: { isLogTrimmedEarly: true },
  },
  {
    name: 'written on behind a snapshot',
    rule: 'R6',
    why: 'What was applied after a snapshot goes into the commit that installs it, before its position.',
    file: commits,
    find: 'if (last !== undefined && last.install === undefined) return last',
    replace: 'if (last !== undefined) return last',
    faults: { isLogTrimmedEarly: true },
  },
]
