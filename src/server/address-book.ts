import { showAddress, type Address } from '../protocol/address.ts'
import { membersMax } from '../protocol/limits.ts'
import type { ServerId } from '../replica/version.ts'
import type { KnownServer } from '../storage/store.ts'

/** One place where another server may listen. */
export interface BookEntry {
  readonly address: Address
  /** Given by the operator: dialled for as long as the process lives. */
  readonly isConfigured: boolean
  /** Who answered there last, or is said to listen there. */
  id: ServerId | undefined
  /** Whether that server has been linked to there, in this run or an earlier one. */
  isProven: boolean
}

/**
 * Which other servers there are, and the addresses at which they may be found: those that the operator gave, and those
 * that other servers have told. Addresses spread, so a server that is told of one peer finds the rest (R8).
 *
 * Who has ever been known stays a member, in later runs too, whether or not it can be found: nobody can tell a server
 * that is gone for good from one that will be back, with writes that nobody else has (R9). Addresses are only a means,
 * and may be let go of.
 */
export class AddressBook {
  readonly #entries = new Map<string, BookEntry>()
  readonly #members = new Set<ServerId>()
  readonly #self: ServerId
  readonly #own = new Set<string>()
  #changes = 0

  /** @param self the server whose book it is, which is no member of it. */
  constructor(self: ServerId) {
    this.#self = self
  }

  get entries(): Iterable<BookEntry> {
    return this.#entries.values()
  }

  get members(): ReadonlySet<ServerId> {
    return this.#members
  }

  /** How many more members there may be than are known by their ids. */
  get unidentified(): number {
    // Who did not fit any more is a member all the same.
    let count = this.#members.size >= membersMax ? 1 : 0
    for (const { id } of this.#entries.values()) if (id === undefined) count++
    return count
  }

  /** What a later run is to know. */
  get kept(): readonly KnownServer[] {
    const kept: KnownServer[] = []
    const located = new Set<ServerId>()
    for (const { address, id, isProven } of this.#entries.values()) {
      kept.push({
        ...address,
        ...(id === undefined ? {} : { id }),
        ...(isProven ? { isProven } : {}),
      })
      if (id !== undefined) located.add(id)
    }
    for (const id of this.#members) if (!located.has(id)) kept.push({ id })
    return kept
  }

  /** Rises with every change that is made by way of this book. */
  get changes(): number {
    return this.#changes
  }

  get isFull(): boolean {
    return this.#entries.size >= entriesMax
  }

  /**
   * Adds an address, or notes who is said to listen at a known one. Where somebody has answered, it is not believed
   * that it is another.
   *
   * @returns its entry where it is new, undefined where it is known or this server's own.
   */
  add(
    address: Address,
    from: { readonly isConfigured: boolean; readonly id?: ServerId; readonly isProven?: boolean },
  ): BookEntry | undefined {
    const name = showAddress(address)
    const known = this.#entries.get(name)
    if (from.id !== undefined) this.addMember(from.id)
    if (known !== undefined && (!known.isProven || from.isProven === true)) {
      const { id: idBefore, isProven: wasProven } = known
      known.id = from.id ?? known.id
      known.isProven = from.isProven ?? false
      if (known.id !== idBefore || known.isProven !== wasProven) this.#changes++
    }
    if (this.#own.has(name) || known !== undefined || this.isFull) return undefined
    const { isConfigured, id, isProven = false } = from
    const entry: BookEntry = { address, isConfigured, id, isProven }
    this.#entries.set(name, entry)
    this.#changes++
    return entry
  }

  addMember(id: ServerId): void {
    if (id === this.#self || this.#members.size >= membersMax || this.#members.has(id)) return
    this.#members.add(id)
    this.#changes++
  }

  /** An address turned out to be this very server: it is never dialled again. */
  markOwn(address: Address): void {
    this.#own.add(showAddress(address))
    this.remove(address)
  }

  remove(address: Address): void {
    if (this.#entries.delete(showAddress(address))) this.#changes++
  }
}

/** Far above any full mesh; so that a faulty peer that invents members cannot exhaust memory or sockets. */
const entriesMax = 256
