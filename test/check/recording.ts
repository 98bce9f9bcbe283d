import { Chalk } from 'chalk'
import { checkHistory } from '../../src/check/check-history.ts'
import type {
  EventLine,
  HistoryLine,
  Outcome,
  SeenVersion,
  TransactionPart,
} from '../../src/check/history-line.ts'
import { reportOf } from '../../src/check/report.ts'
import { readPart, seen, updatePart } from './parts.ts'

/** A version in short: `3@a` is `[3, "a"]`. */
export type ShortVersion = `${number}@${string}`

/** A history that is told in a few words. Places in a session are given in the order of the telling. */
export class Recording {
  readonly lines: HistoryLine[] = []
  readonly #places = new Map<string, number>()

  write(session: string, key: string, value: string, version: ShortVersion): this {
    return this.#add(session, { op: 'write', key, value, version: versionOf(version) }, true)
  }

  delete(session: string, key: string, version: ShortVersion): this {
    return this.#add(session, { op: 'delete', key, version: versionOf(version) }, true)
  }

  /** A write that did not happen, or of which nobody knows. */
  tryWrite(session: string, key: string, value: string, ok: null | false): this {
    return this.#add(session, { op: 'write', key, value }, ok)
  }

  tryDelete(session: string, key: string, ok: null | false): this {
    return this.#add(session, { op: 'delete', key }, ok)
  }

  /** Without a version: it found nothing. Without a value: a tombstone. */
  read(session: string, key: string, value?: string, version?: ShortVersion): this {
    return this.#add(session, readPart(key, value, versionOf(version)), true)
  }

  /** A key that was deleted is read. */
  readDeleted(session: string, key: string, version: ShortVersion): this {
    return this.read(session, key, undefined, version)
  }

  push(session: string, key: string, value: string | undefined, version: ShortVersion): this {
    const place = { session, i: this.#next(session) }
    this.lines.push({ ...place, op: 'push', key, ...seen(value, versionOf(version)), ok: true })
    return this
  }

  /** A batch; `undefined` deletes. Without a version, nobody knows whether it happened. */
  batch(session: string, values: Readonly<Record<string, string | undefined>>, version?: ShortVersion): this {
    const ops = Object.entries(values).map(([key, value]) => updatePart(key, value, versionOf(version)))
    return this.#addAll(session, ops, version === undefined ? null : true)
  }

  /** A read of several keys at one moment: of each its value and version, or nothing. */
  readMany(
    session: string,
    found: Readonly<Record<string, readonly [string | undefined, ShortVersion] | undefined>>,
  ): this {
    const ops = Object.entries(found).map(([key, told]) => readPart(key, told?.[0], versionOf(told?.[1])))
    return this.#addAll(session, ops, true)
  }

  final(server: string, key: string, value: string | undefined, version: ShortVersion): this {
    this.lines.push({
      op: 'final',
      server,
      key,
      ...seen(value, versionOf(version)),
    })
    return this
  }

  lost(version: ShortVersion): this {
    this.lines.push({ op: 'lost', version: versionOf(version) })
    return this
  }

  /** What the checker says of it, as people read it: of each violation its title and its steps. */
  get violations(): readonly string[] {
    const told = reportOf(checkHistory(this.lines), 'the history', new Chalk({ level: 0 }))
    return told.slice(0, -2).filter((line) => line !== '')
  }

  #add(session: string, part: TransactionPart, ok: Outcome): this {
    this.lines.push({ session, i: this.#next(session), ...part, ok } as EventLine)
    return this
  }

  #addAll(session: string, ops: readonly TransactionPart[], ok: Outcome): this {
    this.lines.push({ session, i: this.#next(session), op: 'txn', ops, ok })
    return this
  }

  #next(session: string): number {
    const place = (this.#places.get(session) ?? 0) + 1
    this.#places.set(session, place)
    return place
  }
}

function versionOf(short: ShortVersion): SeenVersion
function versionOf(short: ShortVersion | undefined): SeenVersion | undefined
function versionOf(short: ShortVersion | undefined): SeenVersion | undefined {
  if (short === undefined) return undefined
  const [timestamp, origin] = short.split('@')
  return [Number(timestamp), origin as string]
}
