import { StorageError } from './store.ts'

/** What is wrong with a folder, in words for whoever runs the server. */
export function damaged(folder: string, how: string, cause?: unknown): StorageError {
  return new StorageError(`${folder} is damaged: ${how}; ${afresh}`, { cause })
}

/** One of its files has been taken away, or changed by somebody else, under the server. */
export function lost(folder: string, file: string, what: string): StorageError {
  return new StorageError(
    `the ${file} of ${folder} ${what} while the server was using it: what was acknowledged may be lost; ` +
      'put the folder back as it was, or restore it from a copy, and start the server again',
    { isLoss: true },
  )
}

/** What to try where a folder is of no use as it is. */
export const afresh =
  'restore the folder from a copy, or move it away and start with none, and the other servers send what they have'
