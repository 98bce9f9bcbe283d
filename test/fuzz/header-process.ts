import { writeSync } from 'node:fs'
import { openGarbledFiles } from './header-fuzz.ts'

/**
 * A process that opens files with a garbled beginning, until it is done or dies of one. What it prints last says of which.
 *
 * Arguments: the seed, and how many files.
 */
const [, , seed = '1', files = '100'] = process.argv

const report = await openGarbledFiles({
  seed: Number(seed),
  files: Number(files),
  told: (numbers) => writeSync(1, `${JSON.stringify({ opens: [numbers.at(0), numbers.at(-1)] })}\n`),
})
writeSync(1, `${JSON.stringify(report)}\n`)
