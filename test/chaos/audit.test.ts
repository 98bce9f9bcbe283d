import { createServer, type AddressInfo, type Server as Listener, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rm } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ToldUpdate } from '../durability/history.ts'
import { Audit } from './audit.ts'
import { Recorder } from './recorder.ts'
import type { Outcome, Question } from './session.ts'
import { WatchRecord, type Watcher } from './watcher.ts'

const listeners: Listener[] = []
const sockets: Socket[] = []
let complaints: string[] = []
let audit: Audit

beforeEach(() => {
  complaints = []
  audit = new Audit((complaint) => complaints.push(complaint))
})

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
  for (const listener of listeners.splice(0)) listener.close()
})

/** A server that says what it is told to say: real ones do nothing that this audit is there to find. */
async function serverThatTells(updates: readonly ToldUpdate[]): Promise<number> {
  const listener = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.trimEnd().split('\n')) {
        const { id, method } = JSON.parse(line) as { readonly id: number; readonly method: string }
        socket.write(`${JSON.stringify({ id, result: { origin: '1~a', applied: {}, watch: 1 } })}\n`)
        if (method !== 'watch') continue
        for (const params of updates) socket.write(`${JSON.stringify({ method: 'update', params })}\n`)
        socket.write(`${JSON.stringify({ method: 'caughtUp', params: { applied: {} } })}\n`)
      }
    })
  })
  listeners.push(listener)
  await new Promise<void>((resolve) => {
    listener.listen(0, '127.0.0.1', resolve)
  })
  return (listener.address() as AddressInfo).port
}

async function judged(
  told: readonly (readonly ToldUpdate[])[],
  watchers: readonly Watcher[] = [],
  isLost = false,
): Promise<readonly string[]> {
  const ports = await Promise.all(told.map(serverThatTells))
  const mesh = { ports: new Map(ports.map((port, index) => [`${index + 1}`, port])) }
  await audit.judge(mesh, { applied: {}, isLost: () => isLost, watchers })
  return complaints
}

const question: Question = { kind: 'write', writes: [{ key: 'x', value: 's-1' }], isBatch: false }
const update: ToldUpdate = { version: [1, '1~a'], writes: [{ key: 'x', value: 's-1' }] }
const written: Outcome = { kind: 'written', version: [1, '1~a'] }

describe('the audit of a round', () => {
  it('finds nothing where each write happened once, as it was acknowledged, and all servers have it', async () => {
    audit.came(question, written, ['s-1'])
    expect(await judged([[update], [update]])).toEqual([])
  })

  it('finds an acknowledged write that no server has', async () => {
    audit.came(question, written, ['s-1'])
    expect(await judged([[]])).toEqual([
      '1@1~a was acknowledged, and no server has it',
      's-1 was acknowledged as 1@1~a, and applied as nothing',
    ])
  })

  it('asks for no write that was lost with a disk', async () => {
    audit.came(question, written, ['s-1'])
    expect(await judged([[]], [], true)).toEqual([])
  })

  it('finds a write that happened twice', async () => {
    audit.came(question, written, ['s-1'])
    const again = { ...update, version: [2, '2~b'] } as const
    expect(await judged([[update, again]])).toEqual(['s-1 was applied as 1@1~a and 2@2~b'])
  })

  it('finds a write that happened, though it was said that it certainly did not', async () => {
    audit.came(question, { kind: 'refused', isLost: false }, ['s-1'])
    expect(await judged([[update]])).toEqual(['s-1 certainly did not happen, and was applied as 1@1~a'])
  })

  it('finds a version that names two updates', async () => {
    const other = { ...update, writes: [{ key: 'x', deleted: true }] } as const
    const found = await judged([[update], [other]])
    expect(found).toHaveLength(1)
    expect(found[0]).toContain('version 1@1~a is ')
  })

  it('finds a server that lacks an update', async () => {
    const found = await judged([[update], []])
    expect(found).toEqual(['server 1 had 1 updates and server 2 0; the second lacks 1@1~a'])
  })
})

describe('the audit of a watch', () => {
  const path = join(tmpdir(), `tidings-audit-test-${process.pid}.ndjson`)
  let recorder: Recorder
  let record: WatchRecord
  let watcher: Watcher

  beforeEach(() => {
    recorder = new Recorder(path)
    record = new WatchRecord({
      name: 'w',
      prefix: '',
      recorder,
      complain: (complaint) => complaints.push(complaint),
    })
    watcher = { record, stall: () => {}, readOn: () => {}, close: async () => {} }
  })

  afterEach(async () => {
    await recorder.close()
    await rm(path, { force: true })
  })

  it('finds an update that it was never told of', async () => {
    expect(await judged([[update]], [watcher])).toEqual(['watch w of "" was never told of 1@1~a'])
  })

  it('finds an update that it was told of twice', () => {
    record.push(update.version, [{ key: 'x', value: 's-1' }])
    record.push(update.version, [{ key: 'x', value: 's-1' }])
    expect(complaints).toEqual(['watch w was told of 1@1~a twice'])
  })

  it('finds nothing where it may have missed what was overwritten', async () => {
    record.mayCoalesce()
    expect(await judged([[update]], [watcher])).toEqual([])
  })
})
