import { describe, expect, it } from 'vitest'
import type { Notification } from '../../src/replica/output.ts'
import type { Origin } from '../../src/replica/version.ts'
import { Broadcasts, type SharedLines } from '../../src/server/broadcasts.ts'

const clients = [1, 2, 3]

const pushOf = (timestamp: number, value: string) => ({
  clients,
  watch: 1,
  push: {
    kind: 'update' as const,
    version: { timestamp, origin: '1~a' as Origin },
    writes: [{ key: 'k', value }],
    conflict: [],
  },
})

/** A connection that takes what is shared, or not, and has what it was told in the order of its leaving. */
class Listener {
  readonly told: (string | Notification)[] = []
  shared: SharedLines | undefined
  readonly #takes: boolean

  constructor(takes: boolean) {
    this.#takes = takes
  }

  get text(): string {
    return this.told.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join('')
  }

  share(lines: SharedLines): boolean {
    if (this.#takes) this.shared = lines
    return this.#takes
  }

  notify(notification: Notification): void {
    this.told.push(notification)
  }

  flush(): void {
    for (const part of this.shared?.since(0) ?? []) this.told.push(part.toString())
    this.shared = undefined
  }
}

describe('what several clients are told alike (R11)', () => {
  it('is the same bytes for all of them, once a turn; whoever is apart is told each by itself', () => {
    const listeners = new Map(clients.map((client) => [client, new Listener(client !== 3)]))
    const broadcasts = new Broadcasts((client) => listeners.get(client))
    broadcasts.say(pushOf(1, 'one'))
    broadcasts.say(pushOf(2, 'two'))
    const [first, second, third] = [...listeners.values()] as [Listener, Listener, Listener]
    expect(first.shared?.since(0)[0]).toBe(second.shared?.since(0)[0])
    for (const listener of listeners.values()) listener.flush()
    broadcasts.settle()
    expect(first.told).toEqual(second.told)
    const lines = (first.told as string[]).join('').trimEnd().split('\n')
    expect(lines.map((line) => (JSON.parse(line) as { params: object }).params)).toEqual([
      { watch: 1, version: [1, '1~a'], writes: [{ key: 'k', value: 'one' }] },
      { watch: 1, version: [2, '1~a'], writes: [{ key: 'k', value: 'two' }] },
    ])
    expect(third.told).toMatchObject([
      { client: 3, watch: 1, version: { timestamp: 1 } },
      { client: 3, watch: 1, version: { timestamp: 2 } },
    ])
  })

  it('begins anew each turn, and when much has come', () => {
    const listener = new Listener(true)
    const broadcasts = new Broadcasts(() => listener)
    broadcasts.say(pushOf(1, 'x'.repeat(300_000)))
    expect(listener.text).toContain('xxx')
    expect(listener.shared).toBeUndefined()
    broadcasts.say(pushOf(2, 'short'))
    const { shared } = listener
    broadcasts.settle()
    listener.flush()
    broadcasts.say(pushOf(3, 'later'))
    expect(listener.shared).not.toBe(shared)
    listener.flush()
    expect(listener.text.match(/"version":\[\d/g)).toEqual(['"version":[1', '"version":[2', '"version":[3'])
  })

  it('has, for whoever joins late, what comes from then on', () => {
    const late: SharedLines[] = []
    const broadcasts = new Broadcasts(() => ({
      share: (lines) => late.push(lines) > 0,
      notify: () => {},
      flush: () => {},
    }))
    broadcasts.say(pushOf(1, 'before'))
    const lines = late[0] as SharedLines
    const { count } = lines
    broadcasts.say(pushOf(2, 'after'))
    const text = lines.since(count).join('')
    expect(text).toContain('after')
    expect(text).not.toContain('before')
  })
})
