import type { Attribution } from './attribution.ts'
import { Column } from './column.ts'
import type { Findings } from './findings.ts'
import { none, type History } from './history.ts'
import type { Step, Violation } from './verdict.ts'

/**
 * What the servers hold in the end: the same, and nothing that happened is missing. A write is missing where a server
 * holds an older version of its key, or none, unless the history says that every copy of it was destroyed.
 */
export class EndState {
  readonly #history: History
  readonly #attribution: Attribution
  /** Of each key, the end at each server; `none` where the server has none. */
  readonly #ends: readonly (readonly number[])[]

  constructor(history: History, attribution: Attribution) {
    this.#history = history
    this.#attribution = attribution
    const ends: number[][] = []
    for (let key = 0; key < history.keys.size; key++) {
      ends.push(Array.from({ length: history.servers.size }, () => none))
    }
    for (let final = 0; final < history.finalCount; final++) {
      const ofKey = ends[history.finalKey.get(final)] as number[]
      ofKey[history.finalServer.get(final)] = final
    }
    this.#ends = ends
  }

  report(findings: Findings): void {
    if (this.#history.servers.size === 0) return
    for (const ends of this.#ends) this.#checkAgreement(ends, findings)
    for (const part of this.#highestWrites()) this.#checkPresence(part, findings)
  }

  /** Finds the first server that differs from the first that has the key. */
  #checkAgreement(ends: readonly number[], findings: Findings): void {
    const first = ends.find((end) => end !== none)
    if (first === undefined) return
    const server = ends.findIndex((end) => !this.#isSame(first, end))
    if (server < 0) return
    const other = ends[server] as number
    const steps = [this.#finalStep(first, '')]
    if (other !== none) steps.push(this.#finalStep(other, 'another server, in the end'))
    const key = JSON.stringify(this.#history.keys.nameOf(this.#history.finalKey.get(first)))
    const without = other === none ? `; ${this.#serverName(server)} has nothing` : ''
    const message = `the servers end with different values of ${key}${without}`
    findings.add({
      size: steps.length,
      line: steps.at(-1)?.line ?? 0,
      word: () => ({ pattern: 'DivergentFinal', message, steps }),
    })
  }

  #isSame(a: number, b: number): boolean {
    if (b === none) return false
    const history = this.#history
    return (
      history.finalVersion.get(a) === history.finalVersion.get(b) &&
      history.finalValueOf(a) === history.finalValueOf(b)
    )
  }

  /** Of each key, the write with the highest version of those that happened and are not lost. */
  *#highestWrites(): Generator<number, void, undefined> {
    const history = this.#history
    const highest = new Column(history.keys.size, none)
    for (let part = 0; part < history.partCount; part++) {
      if (!history.isWriting(part) || !this.#attribution.hasHappened(part)) continue
      const version = this.#versionOf(part)
      if (history.lost.has(version)) continue
      const key = history.partKey.get(part)
      const other = highest.get(key)
      if (other === none || history.versions.isAbove(version, this.#versionOf(other))) highest.set(key, part)
    }
    for (let key = 0; key < history.keys.size; key++) if (highest.get(key) !== none) yield highest.get(key)
  }

  #checkPresence(part: number, findings: Findings): void {
    const history = this.#history
    const ends = this.#ends[history.partKey.get(part)] ?? []
    const server = ends.findIndex(
      (end) => end === none || history.versions.isAbove(this.#versionOf(part), history.finalVersion.get(end)),
    )
    if (server < 0) return
    const end = ends[server] as number
    const isAcknowledged = history.outcomeOf(history.partEvent.get(part)) === true
    findings.add({
      size: 1 + (isAcknowledged ? 0 : 1) + (end === none ? 0 : 1),
      line: history.eventLine.get(history.partEvent.get(part)),
      word: () => this.#lostWrite(part, server, end),
    })
  }

  #lostWrite(part: number, server: number, end: number): Violation {
    const event = this.#history.partEvent.get(part)
    const isAcknowledged = this.#history.outcomeOf(event) === true
    const steps = [this.#step(part, '')]
    if (!isAcknowledged) steps.push(this.#sightingOf(event))
    if (end !== none) steps.push(this.#finalStep(end, 'an older version, in the end'))
    const how = isAcknowledged ? 'was acknowledged' : 'was seen'
    const holds = end === none ? 'has nothing of its key' : 'holds an older version of its key'
    const message = `this write ${how}, and in the end ${this.#serverName(server)} ${holds}`
    return { pattern: 'LostWrite', message, steps }
  }

  /** How it is known that a write of unknown outcome happened. */
  #sightingOf(event: number): Step {
    const history = this.#history
    const isOfEvent = (writer: number): boolean => writer >= 0 && history.partEvent.get(writer) === event
    for (let part = 0; part < history.partCount; part++) {
      if (isOfEvent(this.#attribution.writerOf(part))) return this.#step(part, 'it was seen')
    }
    for (let final = 0; final < history.finalCount; final++) {
      if (isOfEvent(this.#attribution.finalWriterOf(final))) return this.#finalStep(final, 'it is there')
    }
    throw new Error('nobody has seen a write that was seen')
  }

  #step(part: number, because: string): Step {
    const event = this.#history.partEvent.get(part)
    return { line: this.#history.eventLine.get(event), event: this.#history.lineOf(event, [part]), because }
  }

  #finalStep(final: number, because: string): Step {
    return { line: this.#history.finalLine.get(final), event: this.#history.finalLineOf(final), because }
  }

  #versionOf(part: number): number {
    return this.#attribution.versionOf(this.#history.partEvent.get(part))
  }

  #serverName(server: number): string {
    return `server ${this.#history.servers.nameOf(server)}`
  }
}
