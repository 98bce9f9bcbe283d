import { isDeepStrictEqual } from 'node:util'
import { NotSeen } from './claims.ts'

/**
 * Asks again and again until the answer is as expected; for what no event tells of.
 *
 * @param what is asked, in words, for the message.
 * @param ask asks once.
 * @throws NotSeen with the last answer, where none was as expected within {@link pollMsMax} milliseconds.
 */
export async function poll<Answer>(what: string, ask: () => Promise<Answer>, expected: Answer): Promise<Answer> {
  const deadlineMs = performance.now() + pollMsMax
  for (;;) {
    const answer = await ask()
    if (isDeepStrictEqual(answer, expected)) return answer
    if (performance.now() > deadlineMs) {
      throw new NotSeen(`${what}: ${JSON.stringify(expected)}`, `${JSON.stringify(answer)} after ${pollMsMax} ms`)
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}

const pollMsMax = 5_000
/** Short beside anything that a reader would notice, long beside the answer to one question. */
const pauseMs = 10
