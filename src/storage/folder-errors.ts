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

/** @param isBroken see {@link StorageError}. */
export function unwritable(folder: string, cause: unknown, isBroken = false): StorageError {
  const { message } = cause as Error
  return new StorageError(
    `${folder} cannot be written (${message}): its disk may be full or broken; ` +
      'make room on it or replace it, and start the server again',
    { cause, isBroken },
  )
}

/** What to try where a folder is of no use as it is. */
export const afresh =
  'restore the folder from a copy, or move it away and start with none, and the other servers send what they have'
