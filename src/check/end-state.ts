import type { Attribution } from './attribution.ts'
import { Column } from './column.ts'
import type { Findings } from './findings.ts'
import { none, type History } from './history.ts'
import type { Step } from './verdict.ts'

/**
 * What the servers hold in the end: the same, and nothing that happened is missing. A write is missing where a server
 * holds an older version of its key, or none, unless the history says that every copy of it was destroyed.
 */
export function checkEndState(history: History, attribution: Attribution, findings: Findings): void {
  if (history.servers.size === 0) return
  const ends = endsByKey(history)
  for (let key = 0; key < history.keys.size; key++) {
    const ofKey = ends[key] ?? []
    checkAgreement(history, ofKey, findings)
  }
  checkPresence(history, attribution, ends, findings)
}

/** Of each key, the end at each server; `none` where the server has none. */
function endsByKey(history: History): readonly (readonly number[])[] {
  const ends: number[][] = []
  for (let key = 0; key < history.keys.size; key++) {
    ends.push(Array.from({ length: history.servers.size }, () => none))
  }
  for (let final = 0; final < history.finalCount; final++) {
    const ofKey = ends[history.finalKey.get(final)] as number[]
    ofKey[history.finalServer.get(final)] = final
  }
  return ends
}

/** Finds the first two servers that differ. */
function checkAgreement(history: History, ends: readonly number[], findings: Findings): void {
  const first = ends.find((end) => end !== none)
  if (first === undefined) return
  const server = ends.findIndex((end) => !isSame(history, first, end))
  if (server < 0) return
  const other = ends[server] as number
  const steps = [finalStep(history, first, '')]
  if (other !== none) steps.push(finalStep(history, other, 'another server, in the end'))
  const key = JSON.stringify(history.keys.nameOf(history.finalKey.get(first)))
  const without = other === none ? `; server ${history.servers.nameOf(server)} has nothing` : ''
  findings.add({
    size: steps.length,
    line: steps.at(-1)?.line ?? 0,
    word: () => ({
      pattern: 'DivergentFinal',
      message: `the servers end with different values of ${key}${without}`,
      steps,
    }),
  })
}

function isSame(history: History, a: number, b: number): boolean {
  if (b === none) return false
  return (
    history.finalVersion.get(a) === history.finalVersion.get(b) &&
    history.finalValueOf(a) === history.finalValueOf(b)
  )
}

/** Of each key, the highest version that happened and is not lost has to be what is there, or be below it. */
function checkPresence(
  history: History,
  attribution: Attribution,
  ends: readonly (readonly number[])[],
  findings: Findings,
): void {
  const { versions } = history
  const highest = new Column(history.keys.size, none)
  for (let part = 0; part < history.partCount; part++) {
    if (!history.isWriting(part) || !attribution.hasHappened(part)) continue
    const version = versionOf(part)
    if (history.lost.has(version)) continue
    const key = history.partKey.get(part)
    const other = highest.get(key)
    if (other === none || versions.isAbove(version, versionOf(other))) highest.set(key, part)
  }
  for (let key = 0; key < history.keys.size; key++) {
    const part = highest.get(key)
    if (part === none) continue
    const server = (ends[key] as readonly number[]).findIndex(
      (end) => end === none || versions.isAbove(versionOf(part), history.finalVersion.get(end)),
    )
    if (server < 0) continue
    const end = ends[key]?.[server] as number
    findings.add({
      size: end === none ? 1 : 2,
      line: history.eventLine.get(history.partEvent.get(part)),
      word: () => lostWrite(part, server, end),
    })
  }

  function versionOf(part: number): number {
    return attribution.versionOf(history.partEvent.get(part))
  }

  function lostWrite(part: number, server: number, end: number) {
    const event = history.partEvent.get(part)
    const steps: Step[] = [
      { line: history.eventLine.get(event), event: history.lineOf(event, [part]), because: '' },
    ]
    if (end !== none) steps.push(finalStep(history, end, 'an older version, in the end'))
    const how = history.outcomeOf(event) === true ? 'was acknowledged' : 'was seen'
    const holds = end === none ? 'has nothing of its key' : 'holds an older version of its key'
    const message = `this write ${how}, and in the end server ${history.servers.nameOf(server)} ${holds}`
    return { pattern: 'LostWrite' as const, message, steps }
  }
}

function finalStep(history: History, final: number, because: string): Step {
  return { line: history.finalLine.get(final), event: history.finalLineOf(final), because }
}
