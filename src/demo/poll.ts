import { isDeepStrictEqual } from 'node:util'
import { NotSeen } from './claims.ts'

/**
 * Asks again and again until the answer is as expected; for what no event tells of.
 *
 * @param options.what is asked, in words, for the message.
 * @param options.ask asks once.
 * @param options.view the part of the answer that `expected` is about.
 * @returns the first answer that was as expected, whole.
 * @throws NotSeen with the last answer, where none was as expected within {@link pollMsMax} milliseconds.
 */
export async function poll<Answer, View>(options: {
  readonly what: string
  readonly ask: () => Promise<Answer>
  readonly view: (answer: Answer) => View
  readonly expected: View
}): Promise<Answer> {
  const { what, ask, view, expected } = options
  const deadlineMs = performance.now() + pollMsMax
  for (;;) {
    const answer = await ask()
    if (isDeepStrictEqual(view(answer), expected)) return answer
    if (performance.now() > deadlineMs) {
      const seen = `${JSON.stringify(view(answer))} after ${pollMsMax} ms`
      throw new NotSeen(`${what} to answer ${JSON.stringify(expected)}`, seen)
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}

const pollMsMax = 5_000
/** Short beside anything that a reader would notice, long beside the answer to one question. */
const pauseMs = 10
