import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { threads } from './threads.ts'

const folder = new URL('.', import.meta.url)
const document = readFileSync(new URL('../../docs/graveyard.md', import.meta.url), 'utf8')

/** The titles of all tests in this folder, by file; of this file, none. */
const titles = readdirSync(folder)
  .filter((file) => file.endsWith('.test.ts') && file !== 'graveyard.test.ts')
  .flatMap((file) => titlesIn(readFileSync(new URL(file, folder), 'utf8')).map((title) => ({ file, title })))

function titlesIn(source: string): readonly string[] {
  return Array.from(source.matchAll(/^ {2}it\(\s*'((?:[^'\\]|\\.)*)'/gm), ([, title = '']) => title)
}

/** The part of the document that tells of one thread: from its heading to the next. */
function chapterOf(name: string): string {
  const [, chapter = ''] = document.split(`\n### ${name}\n`)
  return chapter.split(/\n##/)[0] ?? ''
}

describe('the graveyard', () => {
  it('holds the 31 threads of the design, each once', () => {
    expect(threads).toHaveLength(31)
    expect(new Set(threads.map(({ name }) => name)).size).toBe(31)
    expect(new Set(threads.map(({ url }) => url)).size).toBe(31)
  })

  it('re-enacts every thread in a test whose title cites it', () => {
    const untold = threads.filter(({ name }) => !titles.some(({ title }) => title.startsWith(`${name}: `)))
    expect(untold).toEqual([])
  })

  it('has no test that cites no thread, or that names no rule', () => {
    expect(titles.length).toBeGreaterThanOrEqual(threads.length)
    for (const { title } of titles) {
      expect(threads.filter(({ name }) => title.startsWith(`${name}: `))).toHaveLength(1)
      expect(title).toMatch(/ \(R\d+(?:, R\d+)*\)$/)
    }
  })

  it('is told in docs/graveyard.md, thread by thread, with a link to each and with the files of its tests', () => {
    for (const { name, url } of threads) {
      const chapter = chapterOf(name)
      expect(chapter, name).toContain(`](${url})`)
      const files = titles.filter(({ title }) => title.startsWith(`${name}: `)).map(({ file }) => file)
      for (const file of files) expect(chapter, name).toContain(`(../test/graveyard/${file})`)
    }
  })
})
