import { describe, expect, it } from 'vitest'
import { MemoryDisk } from '../../src/storage/memory-store.ts'
import { StorageError } from '../../src/storage/store.ts'
import { appending, contentOf, describeStore, type Medium } from './store-conformance.ts'

describeStore('the store in memory', async () => mediumOf(new MemoryDisk()))

function mediumOf(disk: MemoryDisk): Medium {
  return {
    open: async (server = '1') => disk.open(server),
    afterCrash: async () => mediumOf(disk.copy()),
    remove: async () => undefined,
  }
}

describe('a disk in memory', () => {
  it('R6: makes commits durable one by one when it is told to, and a crash loses the rest', async () => {
    const disk = new MemoryDisk({ settle: 'when told' })
    const store = disk.open('1')
    const settled: number[] = []
    for (const position of [0, 1, 2]) {
      void store.commit(appending(position)).then(() => settled.push(position))
    }
    expect(disk.pending).toBe(3)
    disk.flush(2)
    await expect.poll(() => settled).toEqual([0, 1])
    disk.crash()
    const again = disk.open('1')
    expect(contentOf(again).logEnd).toBe(2)
    expect(disk.pending).toBe(0)
    expect(settled).toEqual([0, 1])
  })

  it('refuses the commits of a process that has crashed, and that one cannot close what another has open', async () => {
    const disk = new MemoryDisk()
    const crashed = disk.open('1')
    disk.crash()
    const store = disk.open('1')
    await expect(crashed.commit(appending(0))).rejects.toThrow('has crashed')
    await crashed.close()
    expect(() => disk.open('1')).toThrow('in use by server "1"')
    await store.close()
  })

  it('R6: fails for good when it is full, with all commits behind, and can be opened again', async () => {
    const disk = new MemoryDisk({ settle: 'when told' })
    const store = disk.open('1')
    const commits = [0, 1, 2].map((position) => store.commit(appending(position)))
    const outcomes = Promise.allSettled(commits)
    disk.flush(1)
    disk.isFull = true
    disk.flush()
    disk.isFull = false
    expect((await outcomes).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
    await expect(store.commit(appending(3))).rejects.toThrow(StorageError)
    await store.close()
    expect(contentOf(disk.open('1')).logEnd).toBe(1)
  })

  it('R7: is copied as it is durable, and the copy goes its own way', async () => {
    const disk = new MemoryDisk()
    const store = disk.open('1')
    await store.commit(appending(0))
    const copy = disk.copy().open('1')
    await copy.commit(appending(1))
    await store.commit(appending(1, 2))
    await Promise.all([store.close(), copy.close()])
    expect(contentOf(disk.open('1')).logEnd).toBe(3)
  })
})
