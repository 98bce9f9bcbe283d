import { describe, expect, it } from 'vitest'
import { MemoryDisk } from '../../src/storage/memory-store.ts'
import { DurableMesh } from './durable-mesh.ts'

const ids = ['n1', 'n2', 'n3', 'n4', 'n5'] as const

/** Five servers that all have what was acknowledged first; from then on no disk makes anything durable. */
async function beforeThePowerCut(mode: 'sync' | 'async'): Promise<DurableMesh> {
  const mesh = new DurableMesh()
  for (const id of ids) mesh.start(id, { incarnation: 'a', mode })
  mesh.connectAll()
  await mesh.settle()
  const first = mesh.write('n1', 'durable', true)
  await mesh.run(200)
  expect(first()).toMatchObject({ method: 'write' })
  for (const id of ids) mesh.holdDisk(id)
  return mesh
}

/** The power fails everywhere at once. Starts all of them again, with what their disks have. */
async function powerCut(mesh: DurableMesh, mode: 'sync' | 'async'): Promise<void> {
  const disks = ids.map((id) => mesh.crash(id))
  for (const [index, id] of ids.entries()) {
    mesh.start(id, { incarnation: 'b', mode, disk: disks[index] as MemoryDisk })
  }
  mesh.connectAll()
  await mesh.run(2_000)
}

describe('what was acknowledged', () => {
  it('NATS #7564: writes are acknowledged before they are on a disk, and gone when the power fails on all servers at once — here no acknowledgement, and no copy for another server, leaves before the disk has it (R6)', async () => {
    const mesh = await beforeThePowerCut('sync')
    const second = mesh.write('n1', 'not yet durable', true)
    await mesh.run(200)
    // It has been taken, and waits between the memory and the disk.
    expect(mesh.valueAt('n1', 'not yet durable')).toBe(true)
    expect(mesh.pendingCommits('n1')).toBe(1)
    expect(second()).toBeUndefined()
    for (const id of ids.slice(1)) {
      expect(mesh.onTheWay('n1', id).filter(({ kind }) => kind === 'updates')).toEqual([])
      expect(mesh.valueAt(id, 'not yet durable')).toBeUndefined()
    }
    await powerCut(mesh, 'sync')
    for (const id of ids) {
      expect(mesh.valueAt(id, 'durable')).toBe(true)
      expect(mesh.valueAt(id, 'not yet durable')).toBeUndefined()
    }
  })

  it('NATS #7564: control: the same cut where the disk follows the acknowledgement, which --durability async chooses in so many words, loses what all five servers had (R6)', async () => {
    const mesh = await beforeThePowerCut('async')
    const second = mesh.write('n1', 'not yet durable', true)
    await mesh.run(200)
    expect(second()).toMatchObject({ method: 'write' })
    for (const id of ids) {
      expect(mesh.valueAt(id, 'not yet durable')).toBe(true)
      expect(mesh.pendingCommits(id)).toBeGreaterThan(0)
    }
    await powerCut(mesh, 'async')
    for (const id of ids) {
      expect(mesh.valueAt(id, 'durable')).toBe(true)
      expect(mesh.valueAt(id, 'not yet durable')).toBeUndefined()
    }
  })

  it('NATS #7564: wherever in a busy server the power fails, all that it acknowledged is there when it comes back, and what is there is a beginning of what was written (R6)', async () => {
    let acknowledgedMost = 0
    let unacknowledgedMost = 0
    for (let steps = 0; steps < 40; steps++) {
      const disk = new MemoryDisk({ settle: 'when told' })
      const mesh = new DurableMesh()
      mesh.start('n1', { incarnation: 'a', disk })
      const answers: (() => unknown)[] = []
      // Writes come in faster than the disk takes them, and the crash comes one step later each time.
      for (let step = 0; step < steps; step++) {
        if (step % 5 === 4) disk.flush(1)
        else if (step % 2 === 1) mesh.turn()
        else answers.push(mesh.write('n1', `key ${answers.length}`, true))
        await new Promise((resolve) => {
          setImmediate(resolve)
        })
      }
      mesh.crash('n1')
      const acknowledged = answers.filter((answer) => answer() !== undefined).length
      mesh.start('n1', { incarnation: 'b', disk })
      await mesh.settle()
      const kept = answers.map((_answer, index) => mesh.valueAt('n1', `key ${index}`) === true)
      const first = kept.indexOf(false)
      const keptCount = first === -1 ? kept.length : first
      expect(kept.slice(keptCount)).not.toContain(true)
      expect(keptCount).toBeGreaterThanOrEqual(acknowledged)
      acknowledgedMost = Math.max(acknowledgedMost, acknowledged)
      unacknowledgedMost = Math.max(unacknowledgedMost, answers.length - acknowledged)
    }
    // Both were among them: writes that the crash found acknowledged, and writes that it took.
    expect(acknowledgedMost).toBeGreaterThan(5)
    expect(unacknowledgedMost).toBeGreaterThan(2)
  })
})
