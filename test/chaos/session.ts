import type { EventLine, TransactionPart } from '../../src/check/history-line.ts'
import type { Write } from '../../src/replica/update.ts'
import type { WireVersion } from '../durability/dump.ts'
import type { Recorder } from './recorder.ts'

/** What a session asks of a server. */
export type Question =
  /** One key, or several all together: a `batch`. */
  | { readonly kind: 'write'; readonly writes: readonly Write[]; readonly isBatch: boolean }
  /** One key, or several at one moment. */
  | { readonly kind: 'read'; readonly keys: readonly string[]; readonly isMany: boolean }

/** A key as it was read. */
export interface FoundKey {
  readonly key: string
  /** Absent where it has none. */
  readonly value?: unknown
  /** Absent where nobody has ever written it. */
  readonly version?: WireVersion
}

/** A key as an answer tells it. `found` is false for one that was deleted, which has a version, and one never written. */
export function foundKey(told: {
  readonly key: string
  readonly found: boolean
  readonly value?: unknown
  readonly version?: WireVersion | undefined
}): FoundKey {
  const { key, found, value, version } = told
  return { key, ...(found ? { value } : {}), ...(version === undefined ? {} : { version }) }
}

/** What a session was told. */
export type Outcome =
  | { readonly kind: 'written'; readonly version: WireVersion }
  | { readonly kind: 'found'; readonly found: readonly FoundKey[] }
  /** It certainly did not happen. `isLost`: something that the session had seen is lost, and it has let go of that. */
  | { readonly kind: 'refused'; readonly isLost: boolean }
  /** Nobody knows whether it happened. */
  | { readonly kind: 'unknown'; readonly isLost: boolean }

/** How a session's questions get to servers. It keeps the cut of what the session has seen. */
export interface Messenger {
  /** Sees one question through to its outcome, retries included. One at a time. */
  ask(question: Question): Promise<Outcome>
  /** Goes to another server, with all that was seen. */
  hop(): Promise<void>
  close(): Promise<void>
}

/** Is told what became of each question, besides the history. */
export interface SessionObserver {
  /** @param values that it was to write, which nobody else writes. */
  came(question: Question, outcome: Outcome, values: readonly string[]): void
}

/**
 * One session of a history: asks one thing at a time, at whatever servers, and records what it was told before it looks
 * at it.
 *
 * Once it is told that something it has seen is lost, it goes on under a new name: what it saw before is another story.
 */
export class Session {
  readonly #baseName: string
  readonly #messenger: Messenger
  readonly #recorder: Recorder
  readonly #observer: SessionObserver
  #name: string
  #life = 1
  #i = 0
  #values = 0

  constructor(options: {
    readonly name: string
    readonly messenger: Messenger
    readonly recorder: Recorder
    readonly observer: SessionObserver
  }) {
    this.#baseName = options.name
    this.#name = options.name
    this.#messenger = options.messenger
    this.#recorder = options.recorder
    this.#observer = options.observer
  }

  /** @param paddingBytes how much longer the value is to be than it need be. */
  async write(key: string, paddingBytes = 0): Promise<Outcome> {
    const writes = [{ key, value: padded(this.#nextValue(), paddingBytes) }]
    return await this.#perform({ kind: 'write', writes, isBatch: false })
  }

  async delete(key: string): Promise<Outcome> {
    return await this.#perform({ kind: 'write', writes: [{ key, deleted: true }], isBatch: false })
  }

  /** Writes some keys and deletes others, all together. No key twice. */
  async batch(changes: readonly { readonly key: string; readonly deleted: boolean }[]): Promise<Outcome> {
    const writes = changes.map(({ key, deleted }): Write =>
      deleted ? { key, deleted } : { key, value: this.#nextValue() },
    )
    return await this.#perform({ kind: 'write', writes, isBatch: true })
  }

  async read(key: string): Promise<Outcome> {
    return await this.#perform({ kind: 'read', keys: [key], isMany: false })
  }

  async readMany(keys: readonly string[]): Promise<Outcome> {
    return await this.#perform({ kind: 'read', keys, isMany: true })
  }

  async hop(): Promise<void> {
    await this.#messenger.hop()
  }

  async close(): Promise<void> {
    await this.#messenger.close()
  }

  async #perform(question: Question): Promise<Outcome> {
    await this.#recorder.room()
    const place = { session: this.#name, i: ++this.#i }
    const outcome = await this.#messenger.ask(question)
    this.#recorder.record({ ...place, ...recorded(question, outcome) })
    this.#observer.came(question, outcome, valuesOf(question))
    if ('isLost' in outcome && outcome.isLost) this.#beginAnew()
    return outcome
  }

  #beginAnew(): void {
    this.#name = `${this.#baseName}.${++this.#life}`
    this.#i = 0
    this.#values = 0
  }

  #nextValue(): string {
    return `${this.#name}-${++this.#values}`
  }
}

/** What of a value is recorded: values are made long by a tail that is the same for all. */
export function recordedValue(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value)
  const end = value.indexOf(' ')
  if (end === -1) return value
  const head = value.slice(0, end)
  return padded(head, value.length - end - 1) === value ? head : value
}

function padded(value: string, bytes: number): string {
  return bytes === 0 ? value : `${value} ${'~'.repeat(bytes)}`
}

function valuesOf(question: Question): readonly string[] {
  if (question.kind === 'read') return []
  return question.writes.flatMap(({ value, deleted }) => (deleted === true ? [] : [recordedValue(value)]))
}

type Unplaced<Line> = Line extends unknown ? Omit<Line, 'session' | 'i'> : never

function recorded(question: Question, outcome: Outcome): Unplaced<EventLine> {
  const ok = outcome.kind === 'refused' ? false : outcome.kind === 'unknown' ? null : true
  const parts = partsOf(question, outcome)
  const isTransaction = question.kind === 'write' ? question.isBatch : question.isMany
  if (isTransaction) return { op: 'txn', ops: parts, ok }
  return { ...(parts[0] as TransactionPart), ok } as Unplaced<EventLine>
}

function partsOf(question: Question, outcome: Outcome): readonly TransactionPart[] {
  if (question.kind === 'write') {
    const version = outcome.kind === 'written' ? { version: outcome.version } : {}
    return question.writes.map(({ key, value, deleted }) =>
      deleted === true
        ? { op: 'delete', key, ...version }
        : { op: 'write', key, value: recordedValue(value), ...version },
    )
  }
  if (outcome.kind !== 'found') return question.keys.map((key) => ({ op: 'read', key }))
  return outcome.found.map(({ key, value, version }) => ({
    op: 'read',
    key,
    ...(value === undefined ? {} : { value: recordedValue(value) }),
    ...(version === undefined ? {} : { version }),
  }))
}
