/**
 * "Did you mean …?"
 *
 * A suggestion is worth showing only when it is very probably right, so the bound is tight: one slip for every three
 * characters typed. A slip is an inserted, missing, wrong or swapped character (the optimal string alignment form of the
 * Damerau-Levenshtein distance; Damerau 1964).
 */

/** No command, method or parameter is nearly as long; the cost is quadratic in this, and the word may come from anyone. */
const WORD_CHARACTERS_MAX = 48

/** An abbreviation of one character says too little about what was meant. */
const ABBREVIATION_CHARACTERS_MIN = 2

/**
 * Finds the candidate that somebody who typed `word` most probably meant.
 *
 * Case is ignored. A candidate that begins with the whole word counts as one slip away, however long it is (`conf` for
 * `conflicts`). Between equally distant candidates the longer common beginning wins, then the earlier one in the list.
 *
 * @param word what was typed; it may be hostile, and a very long one is answered at once
 * @param candidates the words that would have been right
 * @returns one of `candidates`, or `undefined` when none is near enough
 */
export function nearestWord(word: string, candidates: readonly string[]): string | undefined {
  if (word.length === 0 || word.length > WORD_CHARACTERS_MAX) return undefined
  const typed = word.toLowerCase()
  const slipsMax = Math.max(1, Math.floor(typed.length / 3))

  let best: { candidate: string; slips: number; beginning: number } | undefined
  for (const candidate of candidates) {
    const meant = candidate.toLowerCase()
    const slips = slipsBetween(typed, meant, slipsMax)
    if (slips > slipsMax) continue
    const beginning = commonBeginning(typed, meant)
    if (best === undefined || slips < best.slips || (slips === best.slips && beginning > best.beginning)) {
      best = { candidate, slips, beginning }
    }
  }
  return best?.candidate
}

/** The slips that turn `typed` into `meant`; `Infinity` where they are certainly more than `slipsMax`. */
function slipsBetween(typed: string, meant: string, slipsMax: number): number {
  if (typed === meant) return 0
  if (typed.length >= ABBREVIATION_CHARACTERS_MIN && meant.startsWith(typed)) return 1
  if (Math.abs(typed.length - meant.length) > slipsMax) return Infinity
  const distance = alignmentDistance(typed, meant)
  // If every character typed was a slip, then nothing of the candidate was typed at all.
  return distance < typed.length ? distance : Infinity
}

function alignmentDistance(left: string, right: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row++) {
    const current = [row]
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1]
      let distance = Math.min(
        at(previous, column) + 1,
        at(current, column - 1) + 1,
        at(previous, column - 1) + (same ? 0 : 1),
      )
      const swapped =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]
      if (swapped) distance = Math.min(distance, at(beforePrevious, column - 2) + 1)
      current.push(distance)
    }
    beforePrevious = previous
    previous = current
  }
  return at(previous, right.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Infinity
}

function commonBeginning(left: string, right: string): number {
  let length = 0
  while (length < left.length && length < right.length && left[length] === right[length]) length++
  return length
}
