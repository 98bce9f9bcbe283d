import type { ToldMissing, ToldStory } from '../protocol/client-results.ts'
import type { JsonValue } from '../replica/update.ts'
import { serverOf, showVersion } from '../replica/version.ts'
import { printable } from '../terminal/printable.ts'
import { shortTextFromValue } from './value-text.ts'

/**
 * What `why` knows, in plain sentences: what the key is here, what it waits for, where that is, and what to do.
 *
 * @param server the server that was asked: "here".
 * @returns one paragraph a line, each safe for a terminal.
 */
export function storyText(story: ToldStory, server: string): readonly string[] {
  const paragraphs = [whatItIs(story)]
  for (const { version, from, sinceMs, waitsFor } of story.waiting) {
    const needs = list(waitsFor.map((missing) => `version ${whatIsMissing(missing)}`))
    paragraphs.push(
      [
        `Update ${showVersion(version)} (from server ${from}, waiting ${duration(sinceMs)}) needs ${needs}.`,
        ...waitsFor.flatMap((missing) => whereItIs(missing, { server, isOnly: waitsFor.length === 1 })),
      ].join(' '),
    )
  }
  for (const missing of story.missing) {
    paragraphs.push(
      [
        `Version ${showVersion(missing.version)} of it has not arrived here.`,
        ...whereItIs(missing, { server, isOnly: true }),
      ].join(' '),
    )
  }
  if (story.silent.length > 0) {
    const pronoun = story.silent.length === 1 ? 'it knows' : 'they know'
    paragraphs.push(
      `${servers(story.silent)} could not be asked, or did not answer in time: what ${pronoun} is not in this story.`,
    )
  }
  return paragraphs
}

/** `12 s`, `3 min`, `2 h`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  const seconds = ms / 1_000
  if (seconds < 120) return `${Math.round(seconds)} s`
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`
}

function whatItIs({ key, versions, waiting, missing, silent }: ToldStory): string {
  const name = printable(key)
  const [winner, ...others] = versions
  if (winner === undefined) {
    if (waiting.length > 0) return `${name} has arrived, and is not shown before its causes.`
    if (missing.length > 0) return `${name} has not arrived yet.`
    return silent.length > 0
      ? `Nothing of ${name} is known here; that need not mean that it was never written.`
      : `${name} was never written, as far as anybody here knows.`
  }
  const version = showVersion(winner.version)
  if (others.length === 0) {
    const is = winner.value === undefined ? `${name} was deleted` : shownAs(name, winner.value)
    return `${is} (${version}), and no other version conflicts with it.`
  }
  const losers = others.map((other) => `${shownAs(name, other.value)} (${showVersion(other.version)})`)
  const nobodyKnew =
    others.length === 1 ? 'neither writer knew of the other' : 'none of the writers knew of the others'
  return (
    `${shownAs(name, winner.value)} (${version}) wins over ${list(losers)}: ${nobodyKnew}. ` +
    `To settle it, write ${name} again.`
  )
}

function shownAs(name: string, value: JsonValue | undefined): string {
  return value === undefined ? `the deletion of ${name}` : `${name} = ${shortTextFromValue(value)}`
}

function whatIsMissing({ version, keys }: ToldMissing): string {
  const named = keys === undefined ? '' : ` (key${keys.length === 1 ? '' : 's'} ${list(keys.map(printable))})`
  return `${showVersion(version)}${named} of server ${serverOf(version.origin)}`
}

function whereItIs(
  missing: ToldMissing,
  { server, isOnly }: { readonly server: string; readonly isOnly: boolean },
): string[] {
  const origin = serverOf(missing.version.origin)
  const it = isOnly ? 'it' : showVersion(missing.version)
  const sentences: string[] = []
  if (missing.waitsHere)
    return [`${isOnly ? 'That one' : showVersion(missing.version)} is here too, and waits in its turn.`]
  const link = `The link from ${origin} to ${server}`
  if (missing.link === 'absent') {
    sentences.push(`Server ${origin} is not connected.`)
  } else {
    const { state, delayMs, queued } = missing.link
    const inIt = queued === 0 ? '' : `${queued} update${queued === 1 ? '' : 's'} in it`
    if (state === 'held') sentences.push(`${link} is held by its lab${inIt === '' ? '' : ` (${inIt})`}.`)
    if (state === 'delayed') {
      sentences.push(`${link} is delayed by its lab (${delayMs} ms${inIt === '' ? '' : `, ${inIt}`}).`)
    }
    if (state === 'cut') sentences.push(`${link} is cut by its lab.`)
  }
  const holders = missing.holders.toSorted()
  if (holders.length > 0) {
    sentences.push(`${servers(holders)} ${holders.length === 1 ? 'has' : 'have'} ${it}.`)
  } else if (missing.keys === undefined) {
    // Where its keys are known somebody has it, who has only not told of it yet.
    sentences.push(`No connected server has ${it}.`)
  }
  sentences.push(cure(missing, { server, origin }))
  return sentences
}

function cure(
  missing: ToldMissing,
  { server, origin }: { readonly server: string; readonly origin: string },
): string {
  const state = missing.link === 'absent' ? 'absent' : missing.link.state
  const free = missing.holders.filter((holder) => !missing.heldHolders.includes(holder))
  if (state !== 'held' && missing.holders.length > 0 && free.length === 0) {
    return `To cure: at ${servers(missing.heldHolders).toLowerCase()}, whose link to here its lab holds: release ${server}`
  }
  const canBeFetched = free.length > 0
  switch (state) {
    case 'held':
      return `To cure: at server ${origin}: release ${server}`
    case 'delayed':
      return `It will come by itself; sooner, at server ${origin}: release ${server}`
    case 'cut':
      return canBeFetched
        ? 'It is fetched from there; if that takes long, look at the links between you.'
        : `To cure: at server ${origin}: heal ${server}`
    case 'absent':
      return canBeFetched
        ? 'It is fetched from there.'
        : `To cure: connect server ${origin} again, or any other that has it.`
    case 'open':
      return canBeFetched ? 'It is on its way.' : 'Nobody may have it any more, or it is on its way.'
  }
}

function servers(ids: readonly string[]): string {
  return `Server${ids.length === 1 ? '' : 's'} ${list(ids)}`
}

function list(items: readonly string[]): string {
  if (items.length <= 1) return items.join('')
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`
}
