import type { ClientId, Input } from '../replica/input.ts'
import type { ServerId } from '../replica/version.ts'

/** Who an input comes from: a client's connection by its number, or another server by its id. */
export type InputSource = ClientId | ServerId

/** What waits for its turn: an input, or something to be done in its place. */
export type QueuedItem = Input | (() => void)

/**
 * What has arrived and has not been stepped yet: a queue for each source, and the sources take turns, one item each.
 * So whoever sends much waits for itself and not in front of the others.
 *
 * Invariant: of one source, items are taken in the order in which they came. All about another server is one source:
 * its links going up and down as well as what it says on them, over however many connections. Between two sources
 * there is no order, and none is needed: any merge that keeps each source's own order is one in which a network
 * could have delivered the same. Two kinds of input are of no source, and are taken before all others:
 * - `members`, so that whoever is linked to is a member by then (R9). Coming early it can only name a server sooner.
 * - ticks. For the replica an input that is taken after a tick has come after it.
 * What the replica has put off (`continue`) takes turns like a source.
 *
 * A source is *full* when more of it waits than a bound. Whoever reads for it stops then, and is told when less than
 * half of that is left. Of what a server asks, only so much waits as can be of use: its last pull, and a few questions;
 * whoever asked for more asks again, or goes on without the answer.
 */
export class InputQueue {
  readonly #lanes = new Map<InputSource, Lane>()
  readonly #first: Input[] = []
  readonly #continuation = new Lane(undefined, 0)
  /** Of the ring of lanes in which something waits, the one whose turn was last; its `next` is the first. */
  #last: Lane | undefined
  readonly #relieved: (source: InputSource) => void

  /** @param options.relieved called when a source is no longer full. */
  constructor(options: { readonly relieved: (source: InputSource) => void }) {
    this.#relieved = options.relieved
  }

  get isEmpty(): boolean {
    return this.#last === undefined && this.#first.length === 0
  }

  /** Whether so much of a source waits that no more is to be read for it. */
  isFull(source: InputSource): boolean {
    return this.#lanes.get(source)?.isFull === true
  }

  /** @param bytes of the text in which it came. */
  push(input: Input, bytes: number): void {
    switch (input.kind) {
      case 'tick':
        // Of several ticks in a row the last says all, and they come however long the disk takes.
        if (this.#first.at(-1)?.kind === 'tick') this.#first.pop()
        this.#first.push(input)
        return
      case 'members':
        this.#first.push(input)
        return
      case 'continue':
        if (this.#continuation.isEmpty) this.#add(this.#continuation, input, bytes)
        return
      case 'request':
      case 'clientDrained':
      case 'clientStalled':
      case 'clientGone':
        this.#add(this.#laneOf(input.client), input, bytes)
        return
      case 'linkUp':
      case 'linkDown':
      case 'peerHeard':
      case 'peerSilent':
        this.#add(this.#laneOf(input.peer), input, bytes)
        return
      case 'message': {
        const lane = this.#laneOf(input.from)
        if (input.message.kind === 'ask' && lane.questions >= questionsMax) return
        if (input.message.kind === 'pull') lane.dropPull()
        this.#add(lane, input, bytes)
      }
    }
  }

  /** Something that is to be done after all that its source has asked before, and before what it asks later. */
  pushAct(source: InputSource, act: () => void): void {
    this.#add(this.#laneOf(source), act, 0)
  }

  /** @returns what is next, or undefined where nothing waits. */
  take(): QueuedItem | undefined {
    if (this.#first.length > 0) return this.#first.shift()
    const last = this.#last
    if (last === undefined) return undefined
    const lane = last.next
    const item = lane.take()
    if (!lane.isEmpty) this.#last = lane
    else if (lane === last) this.#last = undefined
    else last.next = lane.next
    if (lane.source === undefined) return item
    if (lane.isFull && lane.isRelieved) {
      lane.isFull = false
      this.#relieved(lane.source)
    }
    // Its next input, if there is ever one, makes it anew.
    if (lane.isEmpty && isFarewell(item)) this.#lanes.delete(lane.source)
    return item
  }

  #laneOf(source: InputSource): Lane {
    let lane = this.#lanes.get(source)
    if (lane === undefined) {
      lane = new Lane(source, typeof source === 'number' ? clientBytesMax : peerBytesMax)
      this.#lanes.set(source, lane)
    }
    return lane
  }

  #add(lane: Lane, item: QueuedItem, bytes: number): void {
    if (lane.isEmpty) {
      // Behind all who wait.
      if (this.#last !== undefined) {
        lane.next = this.#last.next
        this.#last.next = lane
      } else {
        lane.next = lane
      }
      this.#last = lane
    }
    lane.push(item, bytes)
  }
}

/** The queue of one source. */
class Lane {
  /** Absent for what comes from nobody. */
  readonly source: InputSource | undefined
  /** The one whose turn comes after this one's, in a ring of all that are not empty. */
  next: Lane = this
  isFull = false
  /** How many questions of a server wait. */
  questions = 0
  readonly #bytesMax: number
  /**
   * From `#head` to `#end`; undefined where an item was dropped, which the last never is. What lies behind is room that is
   * used again: most lanes are emptied in each turn.
   */
  readonly #items: (QueuedItem | undefined)[] = []
  /** Of each item. */
  readonly #sizes: number[] = []
  #head = 0
  #end = 0
  #bytes = 0
  /** Where among `#items` the pull is that waits; -1 for none. */
  #pull = -1

  constructor(source: InputSource | undefined, bytesMax: number) {
    this.source = source
    this.#bytesMax = bytesMax
  }

  get isEmpty(): boolean {
    return this.#head === this.#end
  }

  get isRelieved(): boolean {
    return this.#end - this.#head < itemsMax / 2 && this.#bytes < this.#bytesMax / 2
  }

  push(item: QueuedItem, bytes: number): void {
    if (typeof item === 'object' && item.kind === 'message') {
      if (item.message.kind === 'pull') this.#pull = this.#end
      else if (item.message.kind === 'ask') this.questions++
    }
    this.#items[this.#end] = item
    this.#sizes[this.#end++] = bytes
    this.#bytes += bytes
    if (this.#end - this.#head > itemsMax || this.#bytes > this.#bytesMax) this.isFull = true
  }

  /** A newer pull follows, which asks for all that the one that waits asked for. */
  dropPull(): void {
    // Its place is counted until its turn comes, so that however many are dropped, their sender is held back.
    if (this.#pull >= 0) this.#items[this.#pull] = undefined
    this.#pull = -1
  }

  /** Not to be asked of an empty one. */
  take(): QueuedItem | undefined {
    let item: QueuedItem | undefined
    do {
      item = this.#items[this.#head]
      this.#items[this.#head] = undefined
      this.#bytes -= this.#sizes[this.#head++] as number
    } while (item === undefined && this.#head < this.#end)
    if (this.#pull < this.#head) this.#pull = -1
    if (typeof item === 'object' && item.kind === 'message' && item.message.kind === 'ask') this.questions--
    if (this.#head >= cutOffMin && 2 * this.#head >= this.#end) this.#cutOff(this.#head)
    else if (this.#head === this.#end) this.#head = this.#end = 0
    return item
  }

  #cutOff(count: number): void {
    this.#items.splice(0, count)
    this.#sizes.splice(0, count)
    if (this.#pull >= 0) this.#pull -= count
    this.#head = 0
    this.#end -= count
  }
}

/** Whether nothing, or nothing for now, comes from its source after it. */
function isFarewell(item: QueuedItem | undefined): boolean {
  if (typeof item !== 'object') return false
  return item.kind === 'clientGone' || item.kind === 'peerSilent' || item.kind === 'linkDown'
}

/**
 * Items of one source. A client has at most `requestsInFlightMax` of them. A server that keeps to its window may say
 * one update at a time, and while a disk is slow it must not be kept from answering pings: so this is what it says in
 * some seconds.
 */
const itemsMax = 16_384

/** Of one client: twice its longest line. */
const clientBytesMax = 2 << 20

/** Of one server: twice what it may push without hearing that it was applied (`pushedBytesMax`). */
const peerBytesMax = 8 << 20

/** Questions of one server. People ask `why` one at a time, and a server that looks for what is missing asks once. */
const questionsMax = 16

/** What has been taken is cut off when it is this many and the greater part: so rarely that it costs nothing. */
const cutOffMin = 1_024
