/** An item, and which of the keys asked about begin with its prefix: those from `from` on, before `to`. */
export interface PrefixMatch<Item> {
  readonly item: Item
  readonly from: number
  readonly to: number
}

/**
 * Items by prefix, to be found by keys that begin with it: a radix tree, whose edges are as long as can be.
 *
 * Many keys are looked up together, in order, so that what they have in common is compared once. The cost is a few
 * comparisons for each prefix that is found and for each place where the keys part, however many prefixes of however
 * many lengths there are.
 */
export class PrefixTree<Item> {
  readonly #root: Node<Item> = { edge: '', item: undefined, children: new Map() }

  /** Whether there are others than the empty one: then the order of keys matters. */
  get hasPrefixes(): boolean {
    return this.#root.children.size > 0
  }

  get(prefix: string): Item | undefined {
    let node: Node<Item> | undefined = this.#root
    let depth = 0
    while (node !== undefined && depth < prefix.length) {
      node = node.children.get(prefix.charCodeAt(depth))
      if (node !== undefined && !prefix.startsWith(node.edge, depth)) return undefined
      depth += node?.edge.length ?? 0
    }
    return node?.item
  }

  set(prefix: string, item: Item): void {
    let node = this.#root
    let depth = 0
    while (depth < prefix.length) {
      const unit = prefix.charCodeAt(depth)
      const child = node.children.get(unit)
      if (child === undefined) {
        node.children.set(unit, { edge: prefix.slice(depth), item, children: new Map() })
        return
      }
      const shared = sharedLength(child.edge, prefix, depth)
      if (shared < child.edge.length) split(child, shared)
      node = child
      depth += shared
    }
    node.item = item
  }

  delete(prefix: string): void {
    let parent: Node<Item> | undefined
    let node = this.#root
    let depth = 0
    while (depth < prefix.length) {
      const child = node.children.get(prefix.charCodeAt(depth))
      if (child === undefined || !prefix.startsWith(child.edge, depth)) return
      parent = node
      node = child
      depth += child.edge.length
    }
    node.item = undefined
    if (parent === undefined) return
    if (node.children.size === 0) {
      parent.children.delete(node.edge.charCodeAt(0))
      if (parent !== this.#root) joinOnlyChild(parent)
    } else joinOnlyChild(node)
  }

  /**
   * The items whose prefix some of the keys have.
   *
   * @param keys in the order of their code units, each once; where the empty prefix is the only one, in any order.
   * @throws Error for a key that comes twice.
   */
  matching(keys: readonly string[]): readonly PrefixMatch<Item>[] {
    const found: PrefixMatch<Item>[] = []
    // All keys of a visit begin with what stands on the edges down to its node, `depth` units.
    const visits = [{ node: this.#root, depth: 0, from: 0, to: keys.length }]
    for (let visit = visits.pop(); visit !== undefined; visit = visits.pop()) {
      const { node, depth, from, to } = visit
      if (from === to) continue
      if (node.item !== undefined) found.push({ item: node.item, from, to })
      if (node.children.size === 0) continue
      // The one that has come to its end is the first.
      let start = keys[from]?.length === depth ? from + 1 : from
      while (start < to) {
        const unit = unitAt(keys, start, depth)
        const groupStart = start
        start = firstIndex(start, to, (index) => unitAt(keys, index, depth) !== unit)
        if (start === groupStart) throw new Error('a key was given twice')
        const child = node.children.get(unit)
        if (child === undefined) continue
        const { edge } = child
        const first = firstIndex(groupStart, start, (index) => compareAt(keys[index], edge, depth) >= 0)
        const end = firstIndex(first, start, (index) => compareAt(keys[index], edge, depth) > 0)
        visits.push({ node: child, depth: depth + edge.length, from: first, to: end })
      }
    }
    return found
  }
}

/** Invariant: but for the root, a node has an item or several children. */
interface Node<Item> {
  /** What stands between its parent and it; empty for the root only. */
  edge: string
  item: Item | undefined
  /** By the first unit of their edges. */
  children: Map<number, Node<Item>>
}

/** A node's edge ends after so many units, and another node has the rest and all that the node had. */
function split<Item>(node: Node<Item>, length: number): void {
  const { edge, item, children } = node
  node.children = new Map([[edge.charCodeAt(length), { edge: edge.slice(length), item, children }]])
  node.edge = edge.slice(0, length)
  node.item = undefined
}

/** The opposite, where nothing stands for the node but its only child. */
function joinOnlyChild<Item>(node: Node<Item>): void {
  if (node.item !== undefined || node.children.size !== 1) return
  for (const { edge, item, children } of node.children.values()) {
    node.edge += edge
    node.item = item
    node.children = children
  }
}

function sharedLength(edge: string, prefix: string, depth: number): number {
  let length = 0
  const most = Math.min(edge.length, prefix.length - depth)
  while (length < most && edge.charCodeAt(length) === prefix.charCodeAt(depth + length)) length++
  return length
}

function unitAt(keys: readonly string[], index: number, depth: number): number {
  return (keys[index] as string).charCodeAt(depth)
}

/** Negative where a key's part from `depth` on comes before all that begins with `edge`, 0 where it begins with it. */
function compareAt(key: string | undefined, edge: string, depth: number): number {
  const part = key?.slice(depth, depth + edge.length) ?? ''
  if (part === edge) return 0
  return part < edge ? -1 : 1
}

/** The first index for which a condition holds that then holds for all after it; `to` where it holds for none. */
function firstIndex(from: number, to: number, holds: (index: number) => boolean): number {
  if (from === to || holds(from)) return from
  if (!holds(to - 1)) return to
  let low = from
  let high = to - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (holds(middle)) high = middle
    else low = middle
  }
  return high
}
