import { readFileSync } from 'node:fs'
import { Session, type Profiler } from 'node:inspector'
import { fileURLToPath } from 'node:url'
import { rejectionMakers, rejectionSites } from './rejection-sites.ts'

/**
 * A process that meets all rejections that are known, and prints which places in `src/protocol` it has come to and which
 * not, as one line of JSON. The engine counts (V8's precise coverage): what it ran is the compiled text of the sources,
 * in which the same places are looked up again.
 *
 * With the argument `idle` it meets none.
 */
export interface ReachedSite {
  /** Relative to `src/protocol`. */
  readonly file: string
  readonly line: number
  readonly text: string
  readonly isReached: boolean
}

const protocol = new URL('../../src/protocol/', import.meta.url)
/** The modules of the gateway: of the others, none reads what comes from outside. */
const files = [
  'client-answers.ts',
  'client-messages.ts',
  'client-results.ts',
  'errors.ts',
  'json-rpc.ts',
  'json-text.ts',
  'line-decoder.ts',
  'peer-messages.ts',
  'request-id.ts',
  'wire-forms.ts',
] as const

const session = new Session()
session.connect()
const compiled = new Map<string, { readonly scriptId: string; readonly url: string }>()
session.on('Debugger.scriptParsed', ({ params: { scriptId, url } }) => {
  const path = url.split('?')[0] ?? ''
  if (path.startsWith(protocol.href)) compiled.set(path.slice(protocol.href.length), { scriptId, url })
})
session.post('Debugger.enable')
session.post('Profiler.enable')
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })

// Not before: what runs uncounted is not known to have run.
const { meetRejections } = await import('./rejection-corpus.ts')
if (process.argv[2] !== 'idle') await meetRejections()

const coverage = new Map<string, readonly Profiler.FunctionCoverage[]>()
session.post('Profiler.takePreciseCoverage', (error, taken) => {
  if (error !== null) throw error
  for (const { scriptId, functions } of taken.result) coverage.set(scriptId, functions)
})

const sources = new Map(
  files.map((file) => [file, readFileSync(fileURLToPath(new URL(file, protocol)), 'utf8')]),
)
const makers: ReadonlySet<string> = new Set([...sources.values()].flatMap(rejectionMakers))
const sites = [...sources].flatMap(([file, source]): readonly ReachedSite[] => {
  const written = rejectionSites(source, makers)
  if (written.length === 0) return []
  const script = compiled.get(file)
  if (script === undefined) throw new Error(`${file} was never loaded`)
  const run = rejectionSites(sourceOf(script.scriptId), makers)
  if (run.length !== written.length) {
    throw new Error(`${file} has ${written.length} places, and ${run.length} as it is compiled`)
  }
  const functions = coverage.get(script.scriptId) ?? []
  return written.map(({ line, text }, index) => ({
    file,
    line,
    text,
    isReached: countAt(functions, run[index]?.offset ?? 0) > 0,
  }))
})
console.log(JSON.stringify(sites))

function sourceOf(scriptId: string): string {
  let source = ''
  session.post('Debugger.getScriptSource', { scriptId }, (error, { scriptSource }) => {
    if (error !== null) throw error
    source = scriptSource
  })
  return source
}

/** How often the innermost part of a function around a place was run. */
function countAt(functions: readonly Profiler.FunctionCoverage[], offset: number): number {
  let count = 0
  let length = Infinity
  for (const { ranges } of functions) {
    for (const range of ranges) {
      if (range.startOffset > offset || range.endOffset <= offset) continue
      if (range.endOffset - range.startOffset > length) continue
      length = range.endOffset - range.startOffset
      count = range.count
    }
  }
  return count
}
