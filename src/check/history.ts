import { Column } from './column.ts'
import {
  HistoryFault,
  type EventLine,
  type FinalLine,
  type HistoryLine,
  type Outcome,
  type SeenVersion,
  type TransactionPart,
} from './history-line.ts'
import { Names } from './names.ts'
import { Versions } from './versions.ts'

/** Stands where a number of something would, and there is none. */
export const none = -1

/** What a part of an event does to its key. */
export const partKinds = ['write', 'delete', 'read', 'push'] as const
export type PartKind = (typeof partKinds)[number]

/**
 * A history in columns: events, sessions, keys and versions are numbers, and a row costs some tens of bytes.
 *
 * An *event* is a line of a session. A *part* is what an event did to one key: a transaction has several, any other
 * event has one. The parts of an event follow each other.
 */
export class History {
  readonly sessions = new Names()
  readonly keys = new Names()
  readonly servers = new Names()
  readonly versions = new Versions()
  /** Versions that need not be in the end state. */
  readonly lost = new Set<number>()

  readonly eventLine = new Column()
  readonly eventSession = new Column()
  /** The first part of each event. */
  readonly eventParts = new Column()
  readonly #eventPlaces: number[] = []
  readonly #eventOutcomes = new Column()
  readonly #eventForms = new Column()

  readonly partEvent = new Column()
  readonly partKey = new Column()
  /** As the line has it, else `none`. */
  readonly partVersion = new Column()
  readonly #partKinds = new Column()
  readonly #partValues: (string | undefined)[] = []
  readonly #writeByValue = new Map<string, number>()

  readonly finalLine = new Column()
  readonly finalServer = new Column()
  readonly finalKey = new Column()
  readonly finalVersion = new Column()
  readonly #finalValues: (string | undefined)[] = []
  readonly #finalPlaces = new Set<number>()

  get eventCount(): number {
    return this.eventLine.length
  }

  get partCount(): number {
    return this.partEvent.length
  }

  get finalCount(): number {
    return this.finalLine.length
  }

  /**
   * @param number where the line stands, from 1.
   * @throws HistoryFault where it contradicts a line before it.
   */
  add(line: HistoryLine, number: number): void {
    switch (line.op) {
      case 'final':
        this.#addFinal(line, number)
        return
      case 'lost':
        this.lost.add(this.versions.numberOf(line.version))
        return
      case 'txn':
        this.#addEvent(line, number, 'transaction')
        for (const part of line.ops) this.#addPart(part, line.ok, number)
        return
      case 'write':
      case 'delete':
      case 'read':
        this.#addEvent(line, number, 'single')
        this.#addPart(line, line.ok, number)
        return
      case 'push':
        this.#addEvent(line, number, 'push')
        this.#addPart(line, true, number)
        return
    }
  }

  /** The part after the last one of an event. */
  partsEnd(event: number): number {
    return event + 1 < this.eventCount ? this.eventParts.get(event + 1) : this.partCount
  }

  placeOf(event: number): number {
    return this.#eventPlaces[event] as number
  }

  outcomeOf(event: number): Outcome {
    const outcome = this.#eventOutcomes.get(event)
    return outcome === outcomes.unknown ? null : outcome === outcomes.happened
  }

  isPush(event: number): boolean {
    return this.#eventForms.get(event) === forms.push
  }

  isTransaction(event: number): boolean {
    return this.#eventForms.get(event) === forms.transaction
  }

  /** Whether the event is a write, a deletion or a batch of them. */
  isUpdate(event: number): boolean {
    return this.isWriting(this.eventParts.get(event))
  }

  kindOf(part: number): PartKind {
    return partKinds[this.#partKinds.get(part)] as PartKind
  }

  /** Whether a part writes or deletes. */
  isWriting(part: number): boolean {
    return this.#partKinds.get(part) <= kindNumbers.delete
  }

  valueOf(part: number): string | undefined {
    return this.#partValues[part]
  }

  finalValueOf(final: number): string | undefined {
    return this.#finalValues[final]
  }

  /** The part that writes a value, whether it happened or not. */
  writeOf(value: string): number | undefined {
    return this.#writeByValue.get(value)
  }

  /** The part of an event that is about a key; `none` where there is none. */
  partAbout(event: number, key: number): number {
    const end = this.partsEnd(event)
    for (let part = this.eventParts.get(event); part < end; part++) {
      if (this.partKey.get(part) === key) return part
    }
    return none
  }

  /** An event as its line, with some of its parts. */
  lineOf(event: number, parts: readonly number[]): EventLine {
    const placed = {
      session: this.sessions.nameOf(this.eventSession.get(event)),
      i: this.placeOf(event),
    }
    const ok = this.outcomeOf(event)
    if (this.isTransaction(event))
      return { ...placed, op: 'txn', ops: parts.map((part) => this.#told(part)), ok }
    return { ...placed, ...this.#told(this.eventParts.get(event)), ok } as EventLine
  }

  finalLineOf(final: number): FinalLine {
    const value = this.finalValueOf(final)
    return {
      op: 'final',
      server: this.servers.nameOf(this.finalServer.get(final)),
      key: this.keys.nameOf(this.finalKey.get(final)),
      ...(value === undefined ? {} : { value }),
      version: this.versions.versionOf(this.finalVersion.get(final)),
    }
  }

  #told(
    part: number,
  ): { op: PartKind; key: string; value?: string; version?: SeenVersion } & TransactionPart {
    const value = this.valueOf(part)
    const version = this.partVersion.get(part)
    return {
      op: this.kindOf(part) as TransactionPart['op'],
      key: this.keys.nameOf(this.partKey.get(part)),
      ...(value === undefined ? {} : { value }),
      ...(version === none ? {} : { version: this.versions.versionOf(version) }),
    }
  }

  #addEvent(line: EventLine, number: number, form: keyof typeof forms): void {
    this.eventLine.push(number)
    this.eventSession.push(this.sessions.numberOf(line.session))
    this.eventParts.push(this.partCount)
    this.#eventPlaces.push(line.i)
    const ok = line.ok === undefined ? true : line.ok
    this.#eventOutcomes.push(ok === null ? outcomes.unknown : ok ? outcomes.happened : outcomes.didNotHappen)
    this.#eventForms.push(forms[form])
  }

  #addPart(part: TransactionPart | EventLine, ok: Outcome, number: number): void {
    if (part.op === 'txn') return
    const event = this.eventCount - 1
    const value = part.op === 'delete' ? undefined : (part.value ?? undefined)
    const version = part.version ?? undefined
    const kind = kindNumbers[part.op]
    if (kind <= kindNumbers.delete && ok === true && version === undefined) {
      throw new HistoryFault(number, `a ${part.op} that is ok has a version`)
    }
    if (kind > kindNumbers.delete && value !== undefined && version === undefined && ok === true) {
      throw new HistoryFault(number, `the value ${JSON.stringify(value)} was seen, so it has a version`)
    }
    if (kind === kindNumbers.write && value !== undefined) {
      const before = this.#writeByValue.get(value)
      if (before !== undefined) {
        const line = this.eventLine.get(this.partEvent.get(before))
        throw new HistoryFault(
          number,
          `writes ${JSON.stringify(value)}, which line ${line} writes; each value is written once in a history`,
        )
      }
      this.#writeByValue.set(value, this.partCount)
    }
    this.partEvent.push(event)
    this.partKey.push(this.keys.numberOf(part.key))
    this.partVersion.push(version === undefined ? none : this.versions.numberOf(version))
    this.#partKinds.push(kind)
    this.#partValues.push(value)
  }

  #addFinal(line: FinalLine, number: number): void {
    const server = this.servers.numberOf(line.server)
    const key = this.keys.numberOf(line.key)
    const place = server * placesPerServer + key
    if (this.#finalPlaces.has(place)) {
      throw new HistoryFault(
        number,
        `the end of key ${JSON.stringify(line.key)} at server ${JSON.stringify(line.server)} was told before`,
      )
    }
    this.#finalPlaces.add(place)
    this.finalLine.push(number)
    this.finalServer.push(server)
    this.finalKey.push(key)
    this.finalVersion.push(this.versions.numberOf(line.version))
    this.#finalValues.push(line.value ?? undefined)
  }
}

const outcomes = { happened: 0, didNotHappen: 1, unknown: 2 } as const
const forms = { single: 0, transaction: 1, push: 2 } as const
const kindNumbers = { write: 0, delete: 1, read: 2, push: 3 } as const

/** More keys than a history can hold. */
const placesPerServer = 2 ** 32
