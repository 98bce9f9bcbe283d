import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { DataFolder, removeDataFolders } from '../durability/data-folder.ts'
import { Trio } from '../durability/trio.ts'
import { stopServers, waitMsMax } from '../integration/processes.ts'
import { RawClient } from '../integration/raw-client.ts'
import { Mesh } from '../replica/mesh.ts'
import { versionOf } from '../replica/update-builder.ts'

afterEach(async () => {
  await stopServers()
  await removeDataFolders()
})
afterAll(stopServers)

/** Loses the pulls in a mesh's links: then nobody gets an update but from the server that took it. */
function losePulls(mesh: Mesh): void {
  for (const from of mesh.ids) {
    for (const to of mesh.ids) {
      for (let index = mesh.queued(from, to).length - 1; index >= 0; index--) {
        if (mesh.queued(from, to)[index]?.kind === 'pull') mesh.drop(from, to, index)
      }
    }
  }
}

/** Lets time pass in a mesh in which each update can be had from its origin only. */
function runWithoutPulls(mesh: Mesh, durationMs: number): void {
  for (let passedMs = 0; passedMs < durationMs; passedMs += 50) {
    mesh.tick(50)
    for (let turn = 0; turn < 50; turn++) {
      losePulls(mesh)
      for (const from of mesh.ids) for (const to of mesh.ids) mesh.deliver(from, to)
    }
  }
}

describe('servers that are connected', () => {
  it('Antidote #204: with A cut off, C cannot show what B wrote, for it depends on updates of A that only B has — here C asks B for them (R8)', () => {
    const mesh = new Mesh({ servers: ['A', 'B', 'C'] })
    mesh.connectAll()
    for (let time = 1; time <= 10; time++) mesh.write('A', 'a', time)
    mesh.settle()
    // At the moment of the partition B has A's updates up to 20, and C up to 10.
    mesh.down('A', 'C')
    for (let time = 11; time <= 20; time++) mesh.write('A', 'a', time)
    while (mesh.deliver('A', 'B'));
    for (const other of ['B', 'C']) mesh.disconnect('A', other)
    mesh.write('B', 'b', 'depends on A at 20')
    const cutOf = (id: string) => mesh.replica(id).applied.get(mesh.originOf('A'))
    expect([cutOf('B'), cutOf('C')]).toEqual([20, 10])

    // Control: asking only the origin, which is not there, C waits for as long as the partition lasts.
    runWithoutPulls(mesh, 60_000)
    expect(mesh.read('C', 'b')).toBeUndefined()
    expect(mesh.answer('C', 'waiting', { method: 'waiting' }).waiting).toMatchObject([
      { keys: ['b'], waitsFor: [versionOf('A', 20)], from: 'B' },
    ])

    mesh.run(6_000)
    expect(mesh.isUp('A', 'B')).toBe(false)
    expect(mesh.read('C', 'b')).toBe('depends on A at 20')
    expect(mesh.read('C', 'a')).toBe(20)
    expect(mesh.state('C')).toEqual(mesh.state('B'))
  })

  it('Antidote #420: a server that was stopped while another wrote never catches up, and buffers whatever comes from then on — here it has all of it, and goes on (R8)', async () => {
    const trio = await Trio.start(await DataFolder.make())
    const client = await RawClient.connect(trio.ports['1'])
    await client.call('write', { key: 'counter', value: 1 })
    await trio.agreed([], waitMsMax)
    await trio.server('2').stop()
    await client.call('write', { key: 'counter', value: 2 })
    const again = await trio.start('2')
    // It comes back with what it had, and the next write follows one that it has never been sent.
    expect(await again.event('recovered')).toMatchObject({ isFresh: false, updates: 1 })
    await trio.meshed()
    await client.call('write', { key: 'counter', value: 3 })
    const dump = await trio.agreed([], waitMsMax)
    expect(dump.keys['counter']).toMatchObject([{ value: 3 }])
    const restarted = await RawClient.connect(trio.ports['2'])
    expect(await restarted.call('status')).toMatchObject({ waiting: 0 })
    restarted.close()
    client.close()
  })

  it('Antidote #489: under partitions that come and go some acknowledged elements never reach all, or are seen and then gone — here all are everywhere in the end, though one pair never meets again (R8)', () => {
    const complete = addUnderPartitions({ losesPulls: false })
    expect(complete.lostInLinks).toBeGreaterThan(10)
    expect(complete.absentMeanwhile).toBeGreaterThan(50)
    expect(complete.missing).toEqual([])
    expect(complete.vanished).toEqual([])

    // Control: the same schedule where each server sends its own updates, and nobody asks for another's.
    const incomplete = addUnderPartitions({ losesPulls: true })
    expect(incomplete.missing.length).toBeGreaterThan(0)
  })
})

interface Outcome {
  /** Updates that were in links when these broke. */
  readonly lostInLinks: number
  /** Elements that some server lacked when a round ended, over all rounds. */
  readonly absentMeanwhile: number
  /** What some server lacks in the end, as `element at server`. */
  readonly missing: readonly string[]
  /** What some server had when a round ended and has no longer. */
  readonly vanished: readonly string[]
}

/**
 * Five servers to which elements are added all the time, while a partition follows another. In the end all links are up but
 * those between the first server and the last.
 */
function addUnderPartitions({ losesPulls }: { readonly losesPulls: boolean }): Outcome {
  const mesh = new Mesh({ servers: ['n1', 'n2', 'n3', 'n4', 'n5'] })
  mesh.connectAll()
  const run = (durationMs: number): void => {
    if (losesPulls) runWithoutPulls(mesh, durationMs)
    else mesh.run(durationMs)
  }
  const elements: string[] = []
  const seen = new Set<string>()
  const vanished = new Set<string>()
  let lostInLinks = 0
  let absentMeanwhile = 0
  const look = (): void => {
    for (const id of mesh.ids) {
      for (const element of elements) {
        const place = `${element} at ${id}`
        if (mesh.read(id, element) === true) seen.add(place)
        else if (seen.has(place)) vanished.add(place)
        else absentMeanwhile++
      }
    }
  }
  for (let round = 0; round < 20; round++) {
    for (const id of mesh.ids) {
      const element = `${round}/${id}`
      mesh.write(id, element, true)
      elements.push(element)
    }
    // Which servers are on which side: a different split in each round, even and uneven ones.
    const sideOf = (id: string): number => ((round * 7 + 3) >> (Number(id.slice(1)) - 1)) & 1
    for (const a of mesh.ids) {
      for (const b of mesh.ids) {
        if (a >= b) continue
        if (sideOf(a) === sideOf(b) && !isLastPair(a, b, round)) mesh.connect(a, b)
        else {
          lostInLinks += updatesIn(mesh, a, b) + updatesIn(mesh, b, a)
          mesh.disconnect(a, b)
        }
      }
    }
    run(400)
    look()
  }
  for (const a of mesh.ids) for (const b of mesh.ids) if (a < b && !isLastPair(a, b, 20)) mesh.connect(a, b)
  run(10_000)
  look()
  const missing = mesh.ids.flatMap((id) =>
    elements.filter((element) => mesh.read(id, element) !== true).map((element) => `${element} at ${id}`),
  )
  return { lostInLinks, absentMeanwhile, missing, vanished: [...vanished] }
}

/** Whether these are the two that do not meet any more after the first half. */
function isLastPair(a: string, b: string, round: number): boolean {
  return round >= 10 && a === 'n1' && b === 'n5'
}

function updatesIn(mesh: Mesh, from: string, to: string): number {
  return mesh
    .queued(from, to)
    .reduce((sum, message) => sum + ('updates' in message ? message.updates.length : 0), 0)
}
