import { fork } from 'node:child_process'
import { once } from 'node:events'
import { endedWithThis } from './children.ts'
import { compiled } from './compiled-server.ts'

/** What a process is told that does one thing with compiled code of ours; `compiled` is the folder that has it. */
export interface Errand {
  readonly compiled: string
  readonly plan: object
}

/**
 * Has one of our programs do something with compiled code, in a process of its own each time: what one leaves behind is not
 * the next one's garbage.
 *
 * @param program its name in this folder.
 * @throws Error, as a rejection, where it ends without a report.
 */
export async function errand<Report>(
  program: string,
  plan: object,
  nodeWords: readonly string[] = [],
): Promise<Report> {
  const child = endedWithThis(
    fork(new URL(program, import.meta.url), {
      stdio: 'inherit',
      execArgv: [...process.execArgv, ...nodeWords],
    }),
  )
  const ended = once(child, 'exit')
  const failure = ended.then(() => Promise.reject(new Error(`${program} has ended without a report`)))
  child.send({ compiled: compiled(), plan } satisfies Errand)
  const [report] = (await Promise.race([once(child, 'message'), failure])) as [Report]
  failure.catch(() => {})
  child.disconnect()
  await ended
  return report
}
