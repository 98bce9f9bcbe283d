import ndjson from 'ndjson'
import type {
  ClientResults,
  ReadValue,
  ToldKeyVersions,
  ToldMissingEntry,
  ToldStatus,
  ToldStory,
  ToldWaiting,
} from '../protocol/client-results.ts'
import type { Output, Presentation } from './presentation.ts'
import { TidingsError } from './tidings-error.ts'
import type { WatchEvent } from './watch.ts'
import { wireResult } from './wire-result.ts'

/** For programs: newline-delimited JSON, each result in the form that it has on the wire. */
export class JsonPresentation implements Presentation {
  readonly #output: Output
  readonly #results = ndjson.stringify()

  constructor(output: Output) {
    this.#output = output
    this.#results.on('data', (line: Buffer | string) => output.print(line.toString().trimEnd()))
  }

  written(result: ClientResults['write']): void {
    this.#results.write(wireResult.written(result))
  }

  deleted(result: ClientResults['delete']): void {
    this.#results.write(wireResult.written(result))
  }

  values(values: readonly ReadValue[]): void {
    for (const value of values) this.#results.write(wireResult.value(value))
  }

  keys(keys: readonly string[]): void {
    for (const key of keys) this.#results.write({ key })
  }

  conflicts(keys: readonly ToldKeyVersions[]): void {
    for (const conflict of keys) this.#results.write(wireResult.keyVersions(conflict))
  }

  status(status: ToldStatus): void {
    this.#results.write(wireResult.status(status))
  }

  waiting(waiting: readonly ToldWaiting[]): void {
    for (const update of waiting) this.#results.write(wireResult.waiting(update))
  }

  story(story: ToldStory): void {
    this.#results.write(wireResult.story(story))
  }

  link(result: ClientResults['link']): void {
    this.#results.write(result)
  }

  event(event: WatchEvent): void {
    this.#results.write(wireResult.event(event))
  }

  lost(missing: readonly ToldMissingEntry[]): void {
    this.#output.complain(JSON.stringify({ lost: missing.map(wireResult.missingEntry) }))
  }

  failed(error: Error, command?: string): void {
    const more = error instanceof TidingsError ? wireResult.error(error) : {}
    const whose = command === undefined ? {} : { command }
    this.#output.complain(JSON.stringify({ error: { message: error.message, ...whose, ...more } }))
  }
}
