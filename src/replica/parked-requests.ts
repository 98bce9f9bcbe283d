import { entryOf, type Cut } from './cut.ts'
import type { ClientId } from './input.ts'
import type { ClientRequest } from './messages.ts'
import type { Origin, Timestamp } from './version.ts'

/** A request that is to be carried out once `applied` covers its `after` (R9). */
export interface ParkedRequest {
  readonly client: ClientId
  readonly id: number
  readonly request: ClientRequest
  /** What it waits for: the `after` of `request`. Nobody changes it. */
  readonly after: Cut
  /** When its time is up, on the clock of the ticks. */
  readonly deadlineMs: number
  /** About how much memory it holds. */
  readonly bytes: number
}

/**
 * The requests that came before what they are to come after (R9).
 *
 * Invariant: every parked request is either filed under exactly one origin, that of the first entry of its `after`
 * that was found uncovered, or it is ready. So an update that is applied concerns the requests under its origin
 * alone, and of those only the ones that need no later timestamp: they are on top of that origin's heap. Entries of
 * `applied` never fall, so a request that is looked at again goes on where it stopped, and each entry of its `after`
 * is found covered but once.
 *
 * A request becomes ready with the very update that makes `applied` cover its `after`. Those that become ready
 * together do so in the order of their arrival. So a client that sends requests one after the other, each with a cut
 * that covers the cuts before it, has them carried out in that order.
 *
 * With n parked requests, parking, waking, expiring and forgetting cost O(log n) for each request concerned, and an
 * update that nobody waits for costs one look into a map.
 */
export class ParkedRequests {
  /** All, ready or not, in the order of their arrival. */
  readonly #parkings = new Map<ParkedRequest, Parking>()
  readonly #byClient = new Map<ClientId, Set<Parking>>()
  /** Those that wait, by the timestamp that they need of the origin. No heap is empty. */
  readonly #byOrigin = new Map<Origin, ParkingHeap>()
  /** Those that wait, by the end of their time. */
  readonly #deadlines = new ParkingHeap()
  /** Consumed from `#readyNext` on. Some may have been withdrawn since they became ready. */
  readonly #ready: Parking[] = []
  #readyNext = 0
  #readyCount = 0
  #arrivals = 0
  #bytes = 0
  readonly #max: number

  /** @param options `max`: requests of all clients that may be parked, the ready ones included. */
  constructor(options: { readonly max: number }) {
    this.#max = options.max
  }

  /** How many are parked, the ready ones included. */
  get size(): number {
    return this.#parkings.size
  }

  /** Of all that are parked, summed. */
  get bytes(): number {
    return this.#bytes
  }

  get isFull(): boolean {
    return this.#parkings.size >= this.#max
  }

  get readyCount(): number {
    return this.#readyCount
  }

  /** Parks a request; the caller has asked for room. One that is covered is ready at once, after all others. */
  park(parked: ParkedRequest, applied: Cut): void {
    const parking: Parking = {
      parked,
      arrival: this.#arrivals++,
      rest: parked.after.entries(),
      state: { kind: 'gone' },
    }
    this.#parkings.set(parked, parking)
    this.#bytes += parked.bytes
    const ofClient = this.#byClient.get(parked.client)
    if (ofClient === undefined) this.#byClient.set(parked.client, new Set([parking]))
    else ofClient.add(parking)
    if (!this.#file(parking, applied, undefined)) this.#makeReady([parking])
  }

  /** The entry of `origin` in `applied` rose: those that waited for that, and for nothing else, become ready. */
  wake(origin: Origin, applied: Cut): void {
    const heap = this.#byOrigin.get(origin)
    if (heap !== undefined) this.#makeReady(this.#refile(origin, heap, applied))
  }

  /** Any number of entries of `applied` rose at once, as when a snapshot was installed. */
  recheck(applied: Cut): void {
    const covered: Parking[] = []
    // What is filed anew meanwhile needs more than `applied` has, and is not taken a second time.
    for (const [origin, heap] of this.#byOrigin) {
      for (const parking of this.#refile(origin, heap, applied)) covered.push(parking)
    }
    this.#makeReady(covered)
  }

  /** Takes out the request that has been ready for longest. */
  takeReady(): ParkedRequest | undefined {
    while (this.#readyNext < this.#ready.length) {
      const parking = this.#ready[this.#readyNext++] as Parking
      this.#trimReady()
      if (parking.state.kind !== 'ready') continue
      this.#withdraw(parking)
      return parking.parked
    }
    return undefined
  }

  /**
   * Takes out those that still wait at the end of their time, the ones first whose time was up first.
   *
   * @param countMax so many at once, that no step takes long.
   */
  takeExpired(nowMs: number, countMax = Infinity): readonly ParkedRequest[] {
    const expired: ParkedRequest[] = []
    for (;;) {
      const first = this.#deadlines.first
      if (first === undefined || first.rank > nowMs || expired.length >= countMax) return expired
      this.#withdraw(first.parking)
      expired.push(first.parking.parked)
    }
  }

  /** Takes out one that still waits. @returns whether it did. */
  remove(parked: ParkedRequest): boolean {
    const parking = this.#parkings.get(parked)
    if (parking?.state.kind !== 'waiting') return false
    this.#withdraw(parking)
    return true
  }

  /** A client has gone: nobody is left to be answered. */
  forgetClient(client: ClientId): void {
    for (const parking of this.#byClient.get(client) ?? []) this.#withdraw(parking)
  }

  /** Those that still wait, in the order of their arrival. None may be added meanwhile. */
  *[Symbol.iterator](): Generator<ParkedRequest, void, undefined> {
    for (const { parked, state } of this.#parkings.values()) if (state.kind === 'waiting') yield parked
  }

  /**
   * Files a request under the next origin of whose updates it needs more than `applied` covers.
   *
   * @param deadline its place among the deadlines, where it has one already.
   * @returns whether there is such an origin.
   */
  #file(parking: Parking, applied: Cut, deadline: HeapEntry | undefined): boolean {
    for (let next = parking.rest.next(); next.done !== true; next = parking.rest.next()) {
      const [origin, timestamp] = next.value
      if (entryOf(applied, origin) >= timestamp) continue
      let heap = this.#byOrigin.get(origin)
      if (heap === undefined) {
        heap = new ParkingHeap()
        this.#byOrigin.set(origin, heap)
      }
      parking.state = {
        kind: 'waiting',
        origin,
        need: heap.add(timestamp, parking),
        deadline: deadline ?? this.#deadlines.add(parking.parked.deadlineMs, parking),
      }
      return true
    }
    if (deadline !== undefined) this.#deadlines.remove(deadline)
    return false
  }

  /** Takes from an origin's heap what needs no more of it. @returns what needs nothing else either. */
  #refile(origin: Origin, heap: ParkingHeap, applied: Cut): Parking[] {
    const covered: Parking[] = []
    const entry = entryOf(applied, origin)
    for (let first = heap.first; first !== undefined && first.rank <= entry; first = heap.first) {
      heap.remove(first)
      const { parking } = first
      const deadline = parking.state.kind === 'waiting' ? parking.state.deadline : undefined
      if (!this.#file(parking, applied, deadline)) covered.push(parking)
    }
    if (heap.first === undefined) this.#byOrigin.delete(origin)
    return covered
  }

  #makeReady(covered: Parking[]): void {
    for (const parking of covered.sort((a, b) => a.arrival - b.arrival)) {
      parking.state = { kind: 'ready' }
      this.#ready.push(parking)
      this.#readyCount++
    }
  }

  #withdraw(parking: Parking): void {
    const { parked, state } = parking
    switch (state.kind) {
      case 'waiting': {
        const heap = this.#byOrigin.get(state.origin)
        heap?.remove(state.need)
        if (heap?.first === undefined) this.#byOrigin.delete(state.origin)
        this.#deadlines.remove(state.deadline)
        break
      }
      case 'ready':
        this.#readyCount--
        break
      case 'gone':
        return
    }
    parking.state = { kind: 'gone' }
    this.#parkings.delete(parked)
    this.#bytes -= parked.bytes
    const ofClient = this.#byClient.get(parked.client)
    ofClient?.delete(parking)
    if (ofClient?.size === 0) this.#byClient.delete(parked.client)
  }

  /** Cuts off what has been consumed, seldom enough that it costs each a constant time: a shift for each would not. */
  #trimReady(): void {
    if (this.#readyNext < this.#ready.length && this.#readyNext < consumedMax) return
    if (this.#readyNext * 2 < this.#ready.length) return
    this.#ready.splice(0, this.#readyNext)
    this.#readyNext = 0
  }
}

/** A parked request, with where it is. */
interface Parking {
  readonly parked: ParkedRequest
  /** Rises from one to the next. */
  readonly arrival: number
  /** The entries of `after` that have not been looked at. */
  readonly rest: Iterator<readonly [Origin, Timestamp], unknown>
  state:
    | {
        readonly kind: 'waiting'
        /** Whose update it waits for. */
        readonly origin: Origin
        readonly need: HeapEntry
        readonly deadline: HeapEntry
      }
    | { readonly kind: 'ready' }
    /** Taken out, or not yet put in. */
    | { readonly kind: 'gone' }
}

/** Cutting off less is not worth the while. */
const consumedMax = 1_024

/** A place in a heap, by which it is found again. */
interface HeapEntry {
  readonly rank: number
  readonly parking: Parking
  index: number
}

/**
 * A binary heap whose first entry has the lowest rank, and of these arrived first.
 *
 * Invariant: each entry is at its `index`, and none comes before the one at half of that, so that any can be removed.
 */
class ParkingHeap {
  readonly #entries: HeapEntry[] = []

  get first(): HeapEntry | undefined {
    return this.#entries[0]
  }

  add(rank: number, parking: Parking): HeapEntry {
    const entry = { rank, parking, index: this.#entries.length }
    this.#entries.push(entry)
    this.#moveUp(entry)
    return entry
  }

  remove(entry: HeapEntry): void {
    const last = this.#entries.pop()
    if (last === undefined || last === entry) return
    this.#put(last, entry.index)
    this.#moveUp(last)
    this.#moveDown(last)
  }

  #moveUp(entry: HeapEntry): void {
    while (entry.index > 0) {
      const parentIndex = (entry.index - 1) >> 1
      const parent = this.#entries[parentIndex] as HeapEntry
      if (!comesBefore(entry, parent)) return
      this.#put(parent, entry.index)
      this.#put(entry, parentIndex)
    }
  }

  #moveDown(entry: HeapEntry): void {
    for (;;) {
      const left = this.#entries[2 * entry.index + 1]
      const right = this.#entries[2 * entry.index + 2]
      if (left === undefined) return
      const child = right !== undefined && comesBefore(right, left) ? right : left
      if (!comesBefore(child, entry)) return
      const childIndex = child.index
      this.#put(child, entry.index)
      this.#put(entry, childIndex)
    }
  }

  #put(entry: HeapEntry, index: number): void {
    this.#entries[index] = entry
    entry.index = index
  }
}

function comesBefore(a: HeapEntry, b: HeapEntry): boolean {
  return a.rank < b.rank || (a.rank === b.rank && a.parking.arrival < b.parking.arrival)
}
