import type { Random } from '../durability/random.ts'
import { garbled } from './byte-mutation.ts'
import { oneOf } from './choice.ts'
import { printTree, treeOf, type JsonTree } from './json-tree.ts'
import type { Sample } from './message-samples.ts'
import { withMutation } from './structure-mutation.ts'

/**
 * Lines that nearly make sense: each begins as a message of the protocol, and then, most often, something is changed
 * in its structure or its bytes. Of a thousand, one is nothing but bytes at random.
 */
export class FrameSource {
  readonly #random: Random
  /** Trees of late, from which parts are taken. */
  readonly #trees: JsonTree[] = [treeOf({ jsonrpc: '2.0', id: 1, method: 'status' })]
  #count = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** @param sample a message that makes sense. */
  request(sample: () => Sample): Buffer {
    const random = this.#random
    if (random.chance(0.001)) return this.#noise()
    const isBatch = random.chance(0.05)
    const messages = Array.from({ length: isBatch ? random.between(1, 3) : 1 }, () =>
      treeOf({ jsonrpc: '2.0', ...this.#id(), ...sample() }),
    )
    return this.garble(isBatch ? { kind: 'list', items: messages } : (messages[0] as JsonTree))
  }

  /** A tree as text, with something changed in it most often. */
  garble(tree: JsonTree): Buffer {
    const random = this.#random
    this.#trees[this.#count++ % treesKept] = tree
    let changed = tree
    if (random.chance(0.7)) {
      do changed = withMutation(changed, random, this.#trees)
      while (random.chance(0.3))
    }
    const bytes = Buffer.from(printTree(changed))
    return random.chance(0.1) ? garbled(bytes, random) : bytes
  }

  #id(): object {
    const id = oneOf(ids, this.#random)
    return id === undefined ? {} : { id }
  }

  #noise(): Buffer {
    return Buffer.from(
      Array.from({ length: this.#random.between(1, 200) }, () => this.#random.between(0, 255)),
    )
  }
}

const ids: readonly unknown[] = [undefined, undefined, undefined, 1, 2, 'a', '', null, 0.5, -7]
const treesKept = 32
