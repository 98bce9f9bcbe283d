import { showAddress, type Address } from '../protocol/address.ts'
import type { ServerId } from '../replica/version.ts'

/** One place where another server may listen. */
export interface BookEntry {
  readonly address: Address
  /** Given by the operator: dialled for as long as the process lives. */
  readonly isConfigured: boolean
  /** Who answered there last, or is said to listen there. */
  id: ServerId | undefined
}

/**
 * The addresses at which other servers may be found: those that the operator gave, and those that other
 * servers have told. Addresses spread, so a server that is told of one peer finds the rest (R8).
 */
export class AddressBook {
  readonly #entries = new Map<string, BookEntry>()
  readonly #own = new Set<string>()

  get entries(): Iterable<BookEntry> {
    return this.#entries.values()
  }

  get isFull(): boolean {
    return this.#entries.size >= entriesMax
  }

  /**
   * Adds an address, or notes who is said to listen at a known one.
   *
   * @returns its entry where it is new, undefined where it is known or this server's own.
   */
  add(
    address: Address,
    from: { readonly isConfigured: boolean; readonly id?: ServerId },
  ): BookEntry | undefined {
    const name = showAddress(address)
    const known = this.#entries.get(name)
    if (known !== undefined) known.id = from.id ?? known.id
    if (this.#own.has(name) || known !== undefined || this.isFull) return undefined
    const entry: BookEntry = { address, isConfigured: from.isConfigured, id: from.id }
    this.#entries.set(name, entry)
    return entry
  }

  /** An address turned out to be this very server: it is never dialled again. */
  markOwn(address: Address): void {
    this.#own.add(showAddress(address))
    this.remove(address)
  }

  remove(address: Address): void {
    this.#entries.delete(showAddress(address))
  }
}

/** Far above any full mesh; so that a faulty peer that invents members cannot exhaust memory or sockets. */
const entriesMax = 256
