import { encodeNotification } from '../protocol/client-answers.ts'
import type { LineParts } from '../protocol/line-decoder.ts'
import type { ClientId } from '../replica/input.ts'
import type { Broadcast, Notification } from '../replica/output.ts'

/** A client's connection, as far as it is told what others are told too. */
interface Listener {
  /** @returns whether it will take these lines, as they come from now on, before anything else that it is told. */
  share(lines: SharedLines): boolean
  notify(notification: Notification): void
  flush(): void
}

/**
 * What several clients are told alike in one turn: put into words once, and into bytes once, however many they are. So a
 * turn costs one write for each of them, and an update nothing more.
 */
export class Broadcasts {
  readonly #listenerOf: (client: ClientId) => Listener | undefined
  /** Of this turn, by the list of those who are told. */
  readonly #lines = new Map<readonly ClientId[], SharedLines>()

  constructor(listenerOf: (client: ClientId) => Listener | undefined) {
    this.#listenerOf = listenerOf
  }

  say({ clients, watch, push }: Broadcast): void {
    const lines = this.#linesFor(clients)
    const [first = 0] = clients
    lines.add(encodeNotification({ client: first, watch, ...push }))
    for (const client of lines.apart) this.#listenerOf(client)?.notify({ client, watch, ...push })
    if (lines.length > heldLengthMax) this.#end(clients, lines)
  }

  /** The turn is over: all who were told may take it. */
  settle(): void {
    for (const lines of this.#lines.values()) lines.isOver = true
    this.#lines.clear()
  }

  #linesFor(clients: readonly ClientId[]): SharedLines {
    const known = this.#lines.get(clients)
    if (known !== undefined) return known
    const lines = new SharedLines()
    for (const client of clients) if (this.#listenerOf(client)?.share(lines) !== true) lines.leave(client)
    this.#lines.set(clients, lines)
    return lines
  }

  /** So much is not held back for the sake of one write. */
  #end(clients: readonly ClientId[], lines: SharedLines): void {
    lines.isOver = true
    this.#lines.delete(clients)
    for (const client of clients) this.#listenerOf(client)?.flush()
  }
}

/** Lines that several connections are told in one turn. */
export class SharedLines {
  /** Clients that are told one by one. */
  readonly apart = new Set<ClientId>()
  /** Whether no more come. */
  isOver = false
  readonly #parts: (string | Buffer)[] = []
  #length = 0
  #bytes: Buffer | undefined

  /** How many parts there are: where somebody begins who has heard all so far. */
  get count(): number {
    return this.#parts.length
  }

  get length(): number {
    return this.#length
  }

  add(parts: LineParts): void {
    for (const part of parts) {
      this.#parts.push(part)
      this.#length += part.length
    }
    this.#bytes = undefined
  }

  /** A client is told the rest by itself. */
  leave(client: ClientId): void {
    this.apart.add(client)
  }

  /** What has come since there were so many parts. */
  since(count: number): LineParts {
    if (count > 0) return this.#parts.slice(count)
    if (this.#parts.length === 0) return this.#parts
    this.#bytes ??= Buffer.concat(
      this.#parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)),
    )
    return [this.#bytes]
  }
}

/** In UTF-16 units or bytes. A turn has less, but for long values. */
const heldLengthMax = 256 << 10
