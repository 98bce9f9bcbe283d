import type { Mutant } from './mutant.ts'

const mesh = 'src/server/mesh.ts'

/** Who is who, and what passes on a link (R7, R8). */
export const identityMutants: readonly Mutant[] = [
  {
    name: 'the old origin after a restart',
    rule: 'R7',
    why: 'A start goes on under the name of the run before it. In a process the command makes the name; here, the simulated server does.',
    file: 'test/simulation/server-slot.ts',
    find: 'incarnation: `${this.#starts++}${this.#world.random.between(100, 999)}`,',
    replace: "incarnation: 'run',",
  },
  {
    name: 'a second server with one id is admitted',
    rule: 'R7',
    why: 'The first answers, and the second takes its place all the same.',
    file: mesh,
    find: 'if (answers) throw',
    replace: 'if (answers && rival === undefined) throw',
    faults: { twinRate: 0.2 },
  },
  {
    name: 'a half-open connection keeps its id',
    rule: 'R7',
    why: 'A server that has come back is refused for as long as nobody notices that its earlier run is gone.',
    file: mesh,
    find: 'if (answers) throw',
    replace: 'if (answers || rival !== undefined) throw',
  },
  {
    name: 'a link that went down stays up',
    rule: 'R8',
    why: 'The replica is not told that nothing can be sent any more.',
    file: mesh,
    find: "    this.#step({ kind: 'linkDown', peer, origin })\n",
    replace: '',
    faults: { crashRate: 0.25, powerLossRate: 0.25, partitionRate: 0.4, disconnectRate: 0.3 },
    workload: { durabilities: ['memory', 'async'], hopChance: 0.3 },
  },
  {
    name: 'a broken link is not dialled again',
    rule: 'R8',
    why: 'Whoever loses a connection waits for the other side to dial, which does the same.',
    file: 'src/server/outgoing-link.ts',
    find: 'if (wire !== this.#wire) return\n    this.#end(reason)\n    this.#retryLater(reason)',
    replace: 'if (wire !== this.#wire) return\n    this.#end(reason)',
    faults: { disconnectRate: 0.3 },
  },
  {
    name: 'updates of one turn leave in the wrong order',
    rule: 'R8',
    why: 'They share a frame, into which the last is put first.',
    file: 'src/server/outgoing-link.ts',
    find: "this.#gate.send({ kind: 'updates', updates })",
    replace: "this.#gate.send({ kind: 'updates', updates: updates.toReversed() })",
  },
  {
    name: 'a release turns the order round',
    rule: 'R8',
    why: 'What was held last is let go first.',
    file: 'src/server/link-gate.ts',
    find: 'const carrier = this.#queue.shift()',
    replace: 'const carrier = this.#queue.pop()',
    faults: { labRate: 0.2 },
  },
  {
    name: 'addresses do not spread',
    rule: 'R8',
    why: 'Who joins is not told to the others, and who knows one peer finds no more.',
    file: mesh,
    find: '    for (const { id, host, port } of members) {\n',
    replace: '    for (const { id, host, port } of members.slice(0, 0)) {\n',
  },
]
