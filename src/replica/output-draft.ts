import type { ClientId } from './input.ts'
import type { Broadcast, Notification, Output, ReplicaEvent, StageItem } from './output.ts'
import type { LogEntry } from './update-log.ts'

/**
 * An {@link Output} in the making.
 *
 * Most steps have one item of three or four kinds and none of the others, and there are as many steps as requests. So a
 * list is made with its first item; until then it is one that all outputs share.
 */
export class OutputDraft implements Output {
  persist: readonly LogEntry[] = nothing
  stage: readonly StageItem[] = nothing
  readonly send: Output['send'][number][] = []
  broadcast: readonly Broadcast[] = nothing
  readonly notify: Notification[] = []
  reply: Output['reply'] = nothing
  refuse: Output['refuse'] = nothing
  events: readonly ReplicaEvent[] = nothing
  awaitDrain: readonly ClientId[] = nothing
  more = false

  toPersist(entry: LogEntry): void {
    this.persist = withItem(this.persist, entry)
  }

  toStage(item: StageItem): void {
    this.stage = withItem(this.stage, item)
  }

  toBroadcast(broadcast: Broadcast): void {
    this.broadcast = withItem(this.broadcast, broadcast)
  }

  toReply(reply: Output['reply'][number]): void {
    this.reply = withItem(this.reply, reply)
  }

  toRefuse(refusal: Output['refuse'][number]): void {
    this.refuse = withItem(this.refuse, refusal)
  }

  tell(event: ReplicaEvent): void {
    this.events = withItem(this.events, event)
  }
}

const nothing: readonly never[] = []

/** @param list of a draft: nobody else has it. */
function withItem<Item>(list: readonly Item[], item: Item): readonly Item[] {
  if (list.length === 0) return [item]
  ;(list as Item[]).push(item)
  return list
}
