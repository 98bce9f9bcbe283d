import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Stage } from './stage.ts'

/**
 * Each file here is a story that is read by people and played by this test, in the manner of etcd raft's `testdata`:
 * commands, `----`, and then what everybody says, up to a blank line. Lines that begin with `#` tell the story;
 * the first of them is the test's title.
 *
 * `TIDINGS_REWRITE=1 npx vitest run test/transcripts` puts what is said now in the place of what was said; read the
 * difference before you keep it. Otherwise any difference fails.
 */
const folder = import.meta.dirname
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.txt'))
  .toSorted()
const isRewriting = process.env['TIDINGS_REWRITE'] === '1'

describe('the transcripts', () => {
  for (const file of files) {
    const path = join(folder, file)
    const written = readFileSync(path, 'utf8')
    it(`${basename(file, '.txt')}: ${titleOf(written)}`, async () => {
      const played = await play(written, file)
      if (isRewriting) writeFileSync(path, played)
      const golden = isRewriting ? played : written
      expect(played, `${file} tells it otherwise; TIDINGS_REWRITE=1 rewrites it`).toBe(golden)
      expect(lastCommandOf(written), 'a story ends with the servers in agreement').toBe('agree')
    })
  }
})

/** The first sentence of the story, over as many comment lines as it takes. */
function titleOf(text: string): string {
  const title: string[] = []
  for (const line of text.split('\n')) {
    if (!line.startsWith('# ')) break
    title.push(line.slice(2))
    if (line.endsWith('.')) break
  }
  return title.join(' ').replace(/\.$/, '')
}

function lastCommandOf(text: string): string | undefined {
  const lines = text.split('\n')
  return lines[lines.lastIndexOf(separator) - 1]
}

/**
 * Plays a story from its commands alone.
 *
 * @returns the same text with what was said this time.
 * @throws naming file and line where a command fails.
 */
async function play(text: string, file: string): Promise<string> {
  const stage = new Stage()
  const told: string[] = []
  let commands: string[] = []
  let isAnswer = false
  for (const [index, line] of text.trimEnd().split('\n').entries()) {
    if (isAnswer) {
      // What was said the last time; it ends with a blank line.
      isAnswer = line !== ''
      if (!isAnswer) told.push('')
      continue
    }
    told.push(line)
    if (line === separator) {
      try {
        const said = await stage.perform(commands)
        told.push(...(said.length === 0 ? [silence] : said))
      } catch (error) {
        throw new Error(`${file}:${index}: ${commands.join('; ')}`, { cause: error })
      }
      commands = []
      isAnswer = true
    } else if (line !== '' && !line.startsWith('#')) commands.push(line)
  }
  if (commands.length > 0) throw new Error(`${file}: no ${separator} after ${commands.join('; ')}`)
  return `${told.join('\n')}\n`
}

const separator = '----'
/** Said where nobody says anything. */
const silence = '(silence)'
