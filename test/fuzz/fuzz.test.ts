import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clientMethods } from '../../src/protocol/client-messages.ts'
import { lineBytesMax } from '../../src/protocol/limits.ts'
import { Random } from '../durability/random.ts'
import { stopServers } from '../integration/processes.ts'
import { GatewayFuzz } from './gateway-fuzz.ts'
import { lineOfLength } from './long-lines.ts'
import { RecordFuzz } from './record-fuzz.ts'
import { StoredFolder } from './stored-folder.ts'
import { tcpFuzz } from './tcp-fuzz.ts'

/** A bounded part of what `npm run fuzz` does at length. Whatever fails names its seed. */
describe('lines that nearly make sense', () => {
  it.each([101, 102, 103])('are let in and come back as they were, or are refused (seed %i)', (seed) => {
    const fuzz = new GatewayFuzz({ seed })
    fuzz.run(8_000)
    const { accepted, refused, reached } = fuzz.report
    const ofPeers = [
      'updates',
      'page',
      'pull',
      'snapshot',
      'cut',
      'link',
      'ask',
      'tell',
      'members',
      'hello',
      'ping',
    ]
    const methods = [...Object.keys(clientMethods), ...ofPeers.map((name) => `peer.${name}`)]
    // It would prove little if next to nothing got through, or if what did was always the same.
    expect(methods.filter((method) => (accepted.get(method) ?? 0) < 20)).toEqual([])
    expect([...refused.keys()]).toEqual(
      expect.arrayContaining([-32700, -32600, -32601, -32602, -32603, -32010]),
    )
    expect([...reached.keys()]).toEqual(expect.arrayContaining([...rareStates]))
  })

  it('are met again with the same seed, one by one', () => {
    const reports = [1, 2].map(() => {
      const fuzz = new GatewayFuzz({ seed: 7 })
      fuzz.run(2_000)
      return fuzz.report
    })
    expect(reports[0]).toEqual(reports[1])
  })

  it('fill a line to its last byte, one less and one more', () => {
    const random = new Random(1)
    for (const more of [-1, 0, 1]) {
      expect(lineOfLength(lineBytesMax + more, random)).toHaveLength(lineBytesMax + more)
    }
  })
})

/** What the replica behind the gateway meets in each of these runs. */
const rareStates: readonly string[] = [
  'event applied',
  'event waiting',
  'event conflict',
  'event installed',
  'event lost',
  'refused a peer',
  'push update',
  'push caughtUp',
  'sent pull',
  'sent page',
  'sent snapshot',
  'reply notCaughtUp',
  'reply outcomeUnknown',
  'reply requestReused',
  'reply tooManyWatches',
  'reply noSuchWatch',
  'reply why',
]

describe('a folder with garbled records', () => {
  let folder: StoredFolder

  beforeAll(async () => {
    folder = await StoredFolder.make()
  })
  afterAll(async () => {
    await folder.remove()
  })

  it.each([201, 202])('is refused, or a sound server starts from it (seed %i)', (seed) => {
    const fuzz = new RecordFuzz({ seed, folder })
    fuzz.run(400)
    const { refused, taken } = fuzz.report
    expect(refused).toBeGreaterThan(200)
    // Where a value is another value, nobody can tell.
    expect(taken).toBeGreaterThan(20)
  })

  it('is refused where the file begins with nonsense, and no process dies of it (seed 3)', async () => {
    const path = fileURLToPath(new URL('header-process.ts', import.meta.url))
    const words = ['--import', import.meta.resolve('tsx'), path, '3', '120']
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'ignore'] })
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    expect({ code, signal, said }).toMatchObject({ code: 0, signal: null })
    expect(JSON.parse(said.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({
      files: 120,
      refused: expect.toSatisfy((count: number) => count > 60 && count < 120),
    })
  })
})

describe('a real server that is told what nearly makes sense', () => {
  afterAll(stopServers)

  it('lives, answers whoever asks something sound, and says nothing that cannot be read (seed 301)', async () => {
    const { frames, codes, pings } = await tcpFuzz({ seed: 301, frames: 3_000 })
    expect(frames).toBeGreaterThanOrEqual(3_000)
    expect([...codes.keys()]).toEqual(expect.arrayContaining([-32700, -32600, -32602, -32008]))
    expect(pings.count).toBeGreaterThan(10)
  })
})
