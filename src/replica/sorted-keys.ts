/**
 * An ordered set of strings, by code unit, for listing keys by prefix without sorting them all.
 *
 * The keys lie in blocks of bounded length, each sorted and all below the next. So adding costs one binary
 * search over the blocks, one within a block, and the shifting of at most {@link blockLengthMax} entries.
 * Keys are never removed: a deleted key leaves a tombstone (R12), which is a key like any other here.
 */
export class SortedKeys {
  /** No block is empty, but for the only one of an empty set. */
  readonly #blocks: string[][] = [[]]

  /** Adds a key that is not yet in the set. */
  add(key: string): void {
    const blockIndex = this.#blockFor(key)
    const block = this.#blocks[blockIndex] ?? []
    const index = firstAtLeast(block, key)
    if (index === block.length) {
      // Keys that come in order, as those from a disk do, fill one block after the other.
      if (block.length === blockLengthMax && blockIndex === this.#blocks.length - 1) this.#blocks.push([key])
      else block.push(key)
    } else block.splice(index, 0, key)
    if (block.length > blockLengthMax) {
      this.#blocks.splice(blockIndex + 1, 0, block.splice(block.length >> 1))
    }
  }

  /** All keys at or after `from`, in order. The set must not change while this is being consumed. */
  *from(from: string): Generator<string, void, undefined> {
    let blockIndex = this.#blockFor(from)
    let index = firstAtLeast(this.#blocks[blockIndex] ?? [], from)
    for (;;) {
      const block = this.#blocks[blockIndex]
      if (block === undefined) return
      for (; index < block.length; index++) yield block[index] as string
      blockIndex++
      index = 0
    }
  }

  /** The last block whose first key is at or below `key`; the first block where there is none. */
  #blockFor(key: string): number {
    let low = 0
    let high = this.#blocks.length
    // Nor are those looked for anywhere but at the end.
    if ((this.#blocks[high - 1]?.[0] ?? '') <= key) return high - 1
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((this.#blocks[middle]?.[0] ?? '') <= key) low = middle
      else high = middle
    }
    return low
  }
}

/** Long enough that a million keys make few blocks, short enough that one insertion shifts little. */
const blockLengthMax = 512

function firstAtLeast(sorted: readonly string[], key: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}
