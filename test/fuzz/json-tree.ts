/**
 * JSON text in the making. Unlike a value, it can hold what no value can: a name twice, `1e999`, half a surrogate
 * pair, a number with a leading zero. What is `text` is printed as it stands.
 */
export type JsonTree =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly JsonTree[] }
  | { readonly kind: 'object'; readonly members: readonly Member[] }

/** A name as it is printed, quotes included, and what stands under it. */
export interface Member {
  readonly name: string
  readonly value: JsonTree
}

/** The tree of something that `JSON.stringify` could print; absent members are left out. */
export function treeOf(value: unknown): JsonTree {
  if (typeof value !== 'object' || value === null) return textTree(JSON.stringify(value) ?? 'null')
  if (Array.isArray(value)) return { kind: 'list', items: value.map(treeOf) }
  const members: Member[] = []
  for (const [name, member] of Object.entries(value)) {
    if (member !== undefined) members.push({ name: JSON.stringify(name), value: treeOf(member) })
  }
  return { kind: 'object', members }
}

export function textTree(text: string): JsonTree {
  return { kind: 'text', text }
}

/** The tree as text. */
export function printTree(tree: JsonTree): string {
  switch (tree.kind) {
    case 'text':
      return tree.text
    case 'list': {
      let text = '['
      for (let index = 0; index < tree.items.length; index++) {
        if (index > 0) text += ','
        text += printTree(tree.items[index] as JsonTree)
      }
      return `${text}]`
    }
    case 'object': {
      let text = '{'
      for (let index = 0; index < tree.members.length; index++) {
        const { name, value } = tree.members[index] as Member
        text += index > 0 ? `,${name}:` : `${name}:`
        text += printTree(value)
      }
      return `${text}}`
    }
  }
}

/** How many trees there are in a tree, itself counted. */
export function countOf(tree: JsonTree): number {
  if (tree.kind === 'text') return 1
  let count = 1
  if (tree.kind === 'list') for (const item of tree.items) count += countOf(item)
  else for (const { value } of tree.members) count += countOf(value)
  return count
}

/**
 * A copy in which one of the trees within is another.
 *
 * @param index of that tree, in the order in which they are printed; 0 is the whole.
 */
export function replaceAt(tree: JsonTree, index: number, change: (inner: JsonTree) => JsonTree): JsonTree {
  if (index === 0) return change(tree)
  let left = index - 1
  const within = (inner: JsonTree): JsonTree => {
    const count = left < 0 ? 0 : countOf(inner)
    const place = left
    left -= count
    return place >= 0 && place < count ? replaceAt(inner, place, change) : inner
  }
  if (tree.kind === 'list') return { kind: 'list', items: tree.items.map(within) }
  if (tree.kind === 'text') return tree
  return {
    kind: 'object',
    members: tree.members.map(({ name, value }) => ({ name, value: within(value) })),
  }
}
