/**
 * What comes before an event: of each strand, up to which position. It is a vector clock whose entries are strands, and
 * it is never changed, so that it can be shared.
 *
 * It consists of blocks, which are shared too. Two pasts that have learnt from each other have most blocks in common, and
 * then joining them is comparing references: so thousands of sessions that have ended long ago cost next to nothing.
 */
export type CausalPast = readonly Block[]

type Block = readonly number[]

const blockBits = 5
const blockLength = 1 << blockBits
const blockMask = blockLength - 1

const emptyBlock: Block = Array.from({ length: blockLength }, () => 0)

/** A past in which nothing is. */
export function emptyPast(strandCount: number): CausalPast {
  return Array.from({ length: (strandCount + blockMask) >> blockBits }, () => emptyBlock)
}

/** Up to which position a strand is in a past; 0 for not at all. */
export function reach(past: CausalPast, strand: number): number {
  return (past[strand >> blockBits] as Block)[strand & blockMask] as number
}

/** The union of two pasts. Where the second has all that the first has, its blocks are taken, so that they become one. */
export function joined(a: CausalPast, b: CausalPast): CausalPast {
  if (a === b) return a
  let result: Block[] | undefined
  for (let index = 0; index < a.length; index++) {
    const [ours, theirs] = [a[index] as Block, b[index] as Block]
    if (ours === theirs) continue
    const block = joinedBlock(ours, theirs)
    if (block !== ours) (result ??= a.slice())[index] = block
  }
  return result ?? a
}

/** A past with a strand up to a position that is above what it has of it. */
export function withReach(past: CausalPast, strand: number, position: number): CausalPast {
  const index = strand >> blockBits
  const block = (past[index] as Block).slice()
  block[strand & blockMask] = position
  const result = past.slice()
  result[index] = block
  return result
}

function joinedBlock(ours: Block, theirs: Block): Block {
  let oursIsAhead = false
  let theirsIsAhead = false
  for (let entry = 0; entry < blockLength; entry++) {
    const difference = (ours[entry] as number) - (theirs[entry] as number)
    if (difference > 0) oursIsAhead = true
    else if (difference < 0) theirsIsAhead = true
  }
  if (!oursIsAhead) return theirs
  if (!theirsIsAhead) return ours
  const block = ours.slice()
  for (let entry = 0; entry < blockLength; entry++) {
    if ((theirs[entry] as number) > (block[entry] as number)) block[entry] = theirs[entry] as number
  }
  return block
}
