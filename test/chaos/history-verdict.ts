import { createReadStream } from 'node:fs'
import { judge } from '../../src/check/check-history.ts'
import { HistoryReader } from '../../src/check/history-reader.ts'
import { History } from '../../src/check/history.ts'
import type { Verdict } from '../../src/check/verdict.ts'

/** What the checker says of a history on a disk. @throws HistoryFault, as a rejection, where it is none. */
export async function verdictOn(path: string): Promise<Verdict> {
  const history = new History()
  const reader = new HistoryReader((line, number) => history.add(line, number))
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) reader.write(chunk as Buffer)
  reader.end()
  return judge(history)
}
