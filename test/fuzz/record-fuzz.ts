import { Random } from '../durability/random.ts'
import { StorageError } from '../../src/storage/store.ts'
import { garbled } from './byte-mutation.ts'
import { printTree, treeOf, type JsonTree } from './json-tree.ts'
import type { StoredFolder, StoredRecord } from './stored-folder.ts'
import { withMutation } from './structure-mutation.ts'

/** What has become of the garbled folders. */
export interface RecordReport {
  readonly folders: number
  /** Refused when they were opened or read. */
  readonly refused: number
  /** Taken for what they say: a value that is another, and still a value. */
  readonly taken: number
}

/**
 * Garbles a record, or a few, in the folder of a store, again and again, and starts a server's replica from it.
 *
 * What has to hold each time: the folder is refused with a StorageError, or a replica starts from it that holds all its
 * invariants, answers its clients, and tells its peers nothing that they would refuse.
 *
 * @throws Error where it does not, naming the records; the same seed meets them again after as many folders.
 */
export class RecordFuzz {
  readonly #random: Random
  readonly #folder: StoredFolder
  readonly #trees: readonly JsonTree[]
  #count = 0
  #refused = 0

  constructor(options: { readonly seed: number; readonly folder: StoredFolder }) {
    this.#random = new Random(options.seed)
    this.#folder = options.folder
    this.#trees = options.folder.records.map(treeIn)
  }

  get report(): RecordReport {
    return { folders: this.#count, refused: this.#refused, taken: this.#count - this.#refused }
  }

  /** So many folders more. */
  run(folders: number): void {
    for (let left = folders; left > 0; left--) this.#garbleOne()
  }

  #garbleOne(): void {
    const random = this.#random
    const count = random.chance(0.7) ? 1 : random.between(2, 3)
    const records = random.shuffled(this.#folder.records).slice(0, count)
    const changed = records.map((record) => this.#garble(record))
    this.#folder.replace(records, changed)
    this.#count++
    try {
      this.#folder.start()
    } catch (cause) {
      if (!(cause instanceof StorageError)) {
        const reason = cause instanceof Error ? cause.message : String(cause)
        const what = records.map((record, index) => `${shown(record)}, garbled to ${shown(changed[index])}`)
        throw new Error(`${what.join('; ')}: ${reason}`, { cause })
      }
      this.#refused++
    } finally {
      this.#folder.replace(changed, records)
    }
  }

  #garble(record: StoredRecord): StoredRecord {
    const random = this.#random
    // A key is a name in bytes, or a number, or one of a few words.
    if (random.chance(0.1)) {
      if (typeof record.key === 'number') return { ...record, key: record.key + random.between(-3, 3) }
      if (Buffer.isBuffer(record.key)) {
        const key = garbled(record.key, random)
        // The library takes none without a byte.
        return { ...record, key: key.length > 0 ? key : Buffer.of(0) }
      }
    }
    if (random.chance(0.3)) return { ...record, value: garbled(record.value, random) }
    let tree = treeIn(record)
    do tree = withMutation(tree, random, this.#trees)
    while (random.chance(0.3))
    return { ...record, value: Buffer.from(printTree(tree)) }
  }
}

function treeIn({ value }: StoredRecord): JsonTree {
  return treeOf(JSON.parse(value.toString()))
}

function shown(record: StoredRecord | undefined): string {
  if (record === undefined) return 'nothing'
  const { key, value } = record
  return `${JSON.stringify(Buffer.isBuffer(key) ? key.toString() : key)} → ${JSON.stringify(value.toString().slice(0, 1_500))}`
}
