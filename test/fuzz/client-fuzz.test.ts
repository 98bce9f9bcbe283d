import { afterEach, describe, expect, it } from 'vitest'
import { connect, TidingsError, type Client } from '../../src/client/client.ts'
import { FakeServer, greetingOf, endAll } from '../client/running-server.ts'
import { Random } from '../durability/random.ts'
import { answerSamples } from './answer-samples.ts'
import { oneOf } from './choice.ts'
import { FrameSource } from './frame-source.ts'
import { chunksOf } from './framing.ts'
import { treeOf } from './json-tree.ts'

afterEach(endAll)

/** A server whose answers nearly make sense, and now and then a push that nobody asked for. */
async function garblingServer(random: Random): Promise<FakeServer> {
  const source = new FrameSource(random)
  return await FakeServer.start(({ id, method }, socket) => {
    // Who is not greeted does not ask on.
    if (method === 'hello' && random.chance(0.9)) return greetingOf('9')
    const fitting = answerSamples.filter((sample) => sample.method === method)
    const { message } = oneOf(fitting.length > 0 && random.chance(0.8) ? fitting : answerSamples, random)
    const answer = { ...(message as object), ...('id' in (message as object) ? { id } : {}) }
    for (const chunk of chunksOf(Buffer.concat([source.garble(treeOf(answer)), newline]), random)) {
      socket.write(chunk)
    }
    return undefined
  })
}

const newline = Buffer.from('\n')

/** One thing of each kind that can be asked of a client. */
const questions: readonly ((client: Client) => Promise<unknown>)[] = [
  (client) => client.read('x'),
  (client) => client.readMany(['x', 'y']),
  (client) => client.write('x', { lost: true }),
  (client) => client.delete('x'),
  (client) => client.batch([{ key: 'x', value: 1 }]),
  (client) => client.keys(),
  (client) => client.conflicts(),
  (client) => client.status(),
  (client) => client.waiting(),
  (client) => client.why('x'),
  (client) => client.link('9', { action: 'hold' }),
]

async function outcomeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'an answer'
  } catch (error) {
    if (error instanceof TidingsError) return error.code
    throw error
  }
}

describe('the client library, told by a server what nearly makes sense,', () => {
  it.each([401, 402, 403])(
    'gives an answer or a TidingsError, each time and in time (seed %i)',
    async (seed) => {
      const random = new Random(seed)
      const server = await garblingServer(random)
      const outcomes = new Map<string, number>()
      for (let session = 0; session < 8; session++) {
        let client: Client
        try {
          client = await connect(server.address, { failFast: true, timeoutMs: 150 })
        } catch (error) {
          expect(error).toBeInstanceOf(TidingsError)
          continue
        }
        const watch = client.watch({ since: 'start' })
        const watched = outcomeOf(
          (async () => {
            for await (const event of watch) if (event.kind === 'resync') return
          })(),
        )
        for (const ask of random.shuffled(questions)) {
          const outcome = await outcomeOf(ask(client))
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
        }
        await client.close()
        expect(await watched).toMatch(/^(an answer|ERR_\w+)$/)
      }
      // Some answers came through, and some did not.
      expect(outcomes.get('an answer')).toBeGreaterThan(5)
      expect(outcomes.size).toBeGreaterThan(2)
    },
  )
})
