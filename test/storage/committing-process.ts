import { writeSync } from 'node:fs'
import { openFolderStore } from '../../src/storage/folder-store.ts'
import { StorageError } from '../../src/storage/store.ts'
import { itemOf, updateOf } from './store-conformance.ts'

/**
 * A process that takes a folder and commits to it, several commits at a time, until it is killed or a commit fails.
 * It prints a line of JSON for each thing that a test may want to know.
 *
 * Arguments: the folder, and the length of the value of each update.
 */
const [, , folder = '', length = '0'] = process.argv

function tell(event: object): void {
  // At once: what has been acknowledged has to be known though the process is killed in the next moment.
  writeSync(1, `${JSON.stringify(event)}\n`)
}

const store = await openFolderStore({ folder, server: '1' })
tell({ opened: process.pid })
let next = store.recover().logEnd
let hasFailed = false

async function commitOn(): Promise<void> {
  while (!hasFailed) {
    const position = next++
    const update = updateOf(position + 1, `${position}`.padEnd(Number(length)))
    try {
      await store.commit({ log: [itemOf(position, update)] })
      tell({ acknowledged: position })
    } catch (error) {
      hasFailed = true
      tell({
        failed: position,
        message: (error as Error).message,
        isStorageError: error instanceof StorageError,
      })
    }
  }
}

await Promise.all([commitOn(), commitOn(), commitOn()])
await store.commit({ addresses: [] }).catch(() => tell({ refused: true }))
await store.close()
tell({ closed: true })
// As a server does: to run out would have the library clean up, which it must not after a write that failed.
process.exit(hasFailed ? 5 : 0)
