import type { Random } from '../durability/random.ts'

/** One of some things, each as likely as the others. */
export function oneOf<Item>(items: readonly Item[], random: Random): Item {
  if (items.length === 0) throw new Error('there is nothing to choose from')
  return items[random.between(0, items.length - 1)] as Item
}
