import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import type { ReachedSite } from './rejection-process.ts'
import { rejectionMakers, rejectionSites } from './rejection-sites.ts'

const run = promisify(execFile)

async function sitesReached(...words: readonly string[]): Promise<readonly ReachedSite[]> {
  const path = fileURLToPath(new URL('rejection-process.ts', import.meta.url))
  const { stdout } = await run(process.execPath, ['--import', import.meta.resolve('tsx'), path, ...words], {
    maxBuffer: 16 << 20,
  })
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as readonly ReachedSite[]
}

const nameOf = ({ file, line, text }: ReachedSite): string => `src/protocol/${file}:${line}: ${text}`

describe('every place in src/protocol that rejects something', () => {
  let sites: readonly ReachedSite[]

  beforeAll(async () => {
    sites = await sitesReached()
  })

  it('is come to by the hostile inputs or by fuzzing: whoever adds one adds what comes to it', () => {
    expect(sites.filter(({ isReached }) => !isReached).map(nameOf)).toEqual([])
  })

  it('is known: of each module that throws what goes back', () => {
    expect(sites.length).toBeGreaterThan(100)
    expect(new Set(sites.map(({ file }) => file))).toEqual(
      new Set([
        'client-answers.ts',
        'client-messages.ts',
        'client-results.ts',
        'errors.ts',
        'json-rpc.ts',
        'json-text.ts',
        'line-decoder.ts',
        'peer-messages.ts',
        'wire-forms.ts',
      ]),
    )
  })

  it('is named where nothing comes to it', async () => {
    const unreached = (await sitesReached('idle')).filter(({ isReached }) => !isReached)
    expect(unreached.map(nameOf)).toEqual(sites.map(nameOf))
  })
})

describe('places that reject something', () => {
  const source = `
    export function protocolError(name: string): ProtocolError { return new ProtocolError(name) }
    function expected(path: string): ProtocolError { return protocolError(path) }
    function find(text: string): TextFinding | undefined {
      return text === '' ? { rule: 'surrogate', path: [] } : undefined
    }
    export function faultOfValue(value: unknown): string | undefined {
      if (value === 'x') return 'is an x'
      return value === 1 ? undefined : \`is \${value}\`
    }
    class Decoder {
      take(): void { throw this.#fail(expected('line')) }
      #fail(error: ProtocolError): ProtocolError { return error }
    }`

  it('are found by what makes them, which is found by its type', () => {
    const makers = rejectionMakers(source)
    expect(makers).toEqual(['protocolError', 'expected', '#fail'])
    expect(rejectionSites(source, new Set(makers)).map(({ text }) => text)).toEqual([
      'protocolError(path)',
      "{ rule: 'surrogate', path: [] }",
      "'is an x'",
      '`is ${value}`',
      "this.#fail(expected('line'))",
      "expected('line')",
    ])
  })
})
