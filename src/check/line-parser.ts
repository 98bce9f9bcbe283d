import {
  HistoryFault,
  type HistoryLine,
  type Outcome,
  type SeenVersion,
  type TransactionPart,
} from './history-line.ts'

/**
 * Reads one line of a history, strictly: a member that is misspelt, or a version where none can be, would otherwise change
 * the verdict and nobody would know.
 *
 * @param number where the line stands, from 1.
 * @throws HistoryFault that says what is wrong, and where.
 */
export function parseLine(text: string, number: number): HistoryLine {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new HistoryFault(number, `is no JSON (${reason}); a history is one JSON object a line`)
  }
  return new LineReader(number).read(parsed)
}

type Members = Readonly<Record<string, unknown>>

const membersOf: ReadonlyMap<string, readonly string[]> = new Map([
  ['write', ['session', 'i', 'op', 'key', 'value', 'version', 'ok']],
  ['delete', ['session', 'i', 'op', 'key', 'value', 'version', 'ok']],
  ['read', ['session', 'i', 'op', 'key', 'value', 'version', 'ok']],
  ['push', ['session', 'i', 'op', 'key', 'value', 'version', 'ok']],
  ['txn', ['session', 'i', 'op', 'ops', 'ok']],
  ['final', ['op', 'server', 'key', 'value', 'version']],
  ['lost', ['op', 'version']],
])

const partMembers = ['op', 'key', 'value', 'version']

class LineReader {
  readonly #number: number

  constructor(number: number) {
    this.#number = number
  }

  read(parsed: unknown): HistoryLine {
    const line = this.#object(parsed, 'the line')
    const { op } = line
    const members = typeof op === 'string' ? membersOf.get(op) : undefined
    if (members === undefined) {
      throw this.#fault(`op is ${shown(op)}; it is one of ${[...membersOf.keys()].join(', ')}`)
    }
    this.#requireKnown(line, members, `a ${String(op)}`, '')
    switch (op as HistoryLine['op']) {
      case 'write':
      case 'delete':
      case 'read': {
        const ok = this.#outcome(line)
        return { ...this.#placed(line), ok, ...this.#part(line, ok, '') } as HistoryLine
      }
      case 'push':
        return this.#push(line)
      case 'txn':
        return this.#transaction(line)
      case 'final':
        return {
          op: 'final',
          server: this.#name(line, 'server'),
          key: this.#name(line, 'key'),
          ...this.#value(line, ''),
          version: this.#requiredVersion(line, '', 'the end state of a key'),
        }
      case 'lost':
        return { op: 'lost', version: this.#requiredVersion(line, '', 'an update that is lost') }
    }
  }

  #push(line: Members): HistoryLine {
    if (line['ok'] !== undefined && line['ok'] !== true) {
      throw this.#fault(`ok is ${shown(line['ok'])}; a push was seen, so it is true, or absent`)
    }
    return {
      ...this.#placed(line),
      op: 'push',
      key: this.#name(line, 'key'),
      ...this.#value(line, ''),
      version: this.#requiredVersion(line, '', 'a push'),
    }
  }

  #transaction(line: Members): HistoryLine {
    const ok = this.#outcome(line)
    const { ops } = line
    if (!Array.isArray(ops) || ops.length === 0) {
      throw this.#fault(
        `ops is ${Array.isArray(ops) ? 'empty' : shown(ops)}; it is a list of what was done to each key`,
      )
    }
    const keys = new Set<string>()
    const parts = ops.map((item: unknown, index): TransactionPart => {
      const place = `ops[${index}]`
      const members = this.#object(item, place)
      const { op } = members
      if (op !== 'write' && op !== 'delete' && op !== 'read') {
        throw this.#fault(`${place}.op is ${shown(op)}; it is one of write, delete, read`)
      }
      this.#requireKnown(members, partMembers, `an element of ops`, `${place}.`)
      const part = this.#part(members, ok, `${place}.`)
      if (keys.has(part.key)) throw this.#fault(`${place}.key is ${shown(part.key)}, which ops has already`)
      keys.add(part.key)
      return part
    })
    if (parts.some(({ op }) => op === 'read') && parts.some(({ op }) => op !== 'read')) {
      throw this.#fault('ops has reads and writes; a txn is one batch of writes, or one read of several keys')
    }
    return { ...this.#placed(line), op: 'txn', ops: parts, ok }
  }

  /** What was done to one key. */
  #part(members: Members, ok: Outcome, place: string): TransactionPart {
    const op = members['op'] as TransactionPart['op']
    const key = this.#name(members, 'key', place)
    const value = this.#value(members, place)
    const version = this.#version(members, place)
    if (op === 'delete' && value.value !== undefined) throw this.#fault(`${place}value stands on a deletion`)
    if (op === 'write' && value.value === undefined) {
      throw this.#fault(
        `${place}value is missing; a write has a string that no other write of the history has`,
      )
    }
    if (op === 'read') {
      if (value.value !== undefined && version.version === undefined) {
        throw this.#fault(`${place}version is missing; a value that was read has one, [timestamp, origin]`)
      }
      if (ok !== true && version.version !== undefined) {
        throw this.#fault(`${place}version stands on a read that is not ok; such a read has seen nothing`)
      }
    } else if (ok === true && version.version === undefined) {
      throw this.#fault(`${place}version is missing; a ${op} that is ok has one, [timestamp, origin]`)
    } else if (ok !== true && version.version !== undefined) {
      throw this.#fault(`${place}version stands on a ${op} that is not ok; nobody was told one`)
    }
    return { op, key, ...value, ...version }
  }

  #placed(line: Members): { readonly session: string; readonly i: number } {
    const { i } = line
    if (typeof i !== 'number' || !Number.isSafeInteger(i) || i < 0) {
      throw this.#fault(`i is ${shown(i)}; it is a whole number from 0 that rises within a session`)
    }
    return { session: this.#name(line, 'session'), i }
  }

  #outcome(line: Members): Outcome {
    const { ok } = line
    if (ok === true || ok === false || ok === null) return ok
    throw this.#fault(`ok is ${shown(ok)}; it is true, false (certainly did not happen) or null (unknown)`)
  }

  #value(members: Members, place: string): { readonly value?: string } {
    const { value } = members
    if (value === undefined || value === null) return {}
    if (typeof value === 'string') return { value }
    throw this.#fault(`${place}value is ${shown(value)}; it is a string`)
  }

  #version(members: Members, place: string): { readonly version?: SeenVersion } {
    const { version } = members
    if (version === undefined || version === null) return {}
    if (Array.isArray(version) && version.length === 2) {
      const [timestamp, origin] = version as readonly unknown[]
      const isTimestamp = typeof timestamp === 'number' && Number.isSafeInteger(timestamp) && timestamp > 0
      if (isTimestamp && typeof origin === 'string' && origin !== '') return { version: [timestamp, origin] }
    }
    throw this.#fault(
      `${place}version is ${shown(version)}; it is [timestamp, origin], such as [7, "1~m3k9x"]`,
    )
  }

  #requiredVersion(members: Members, place: string, what: string): SeenVersion {
    const { version } = this.#version(members, place)
    if (version === undefined)
      throw this.#fault(`${place}version is missing; ${what} has one, [timestamp, origin]`)
    return version
  }

  #name(members: Members, name: 'session' | 'server' | 'key', place = ''): string {
    const text = members[name]
    if (typeof text === 'string' && text !== '') return text
    throw this.#fault(`${place}${name} is ${shown(text)}; it is a string, and not empty`)
  }

  #object(value: unknown, place: string): Members {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Members
    throw this.#fault(
      `${place} is ${shown(value)}; it is an object such as {"session":"s1","i":0,"op":"read",…}`,
    )
  }

  #requireKnown(members: Members, known: readonly string[], what: string, place: string): void {
    for (const name of Object.keys(members)) {
      if (known.includes(name)) continue
      throw this.#fault(`${place}${name} is not known here; ${what} has ${known.join(', ')}`)
    }
  }

  #fault(message: string): HistoryFault {
    return new HistoryFault(this.#number, message)
  }
}

/** A value as a message names it: in full where it is short, else by what it is. */
function shown(value: unknown): string {
  if (value === undefined) return 'missing'
  if (Array.isArray(value)) {
    return value.length <= 3 && value.every(isShort) ? JSON.stringify(value) : `a list of ${value.length}`
  }
  if (typeof value === 'object' && value !== null) return 'an object'
  return isShort(value) ? JSON.stringify(value) : 'a long string'
}

function isShort(value: unknown): boolean {
  return value === null || (typeof value === 'string' ? value.length <= 100 : typeof value !== 'object')
}
