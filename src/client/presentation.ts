import type { ChalkInstance } from 'chalk'
import type {
  ClientResults,
  ReadValue,
  ToldKeyVersions,
  ToldMissingEntry,
  ToldStatus,
  ToldStory,
  ToldWaiting,
} from '../protocol/client-results.ts'
import type { JsonValue, Write } from '../replica/update.ts'
import { serverOf, showVersion, type Version } from '../replica/version.ts'
import { printable } from '../terminal/printable.ts'
import { cutTo, wrapWords } from '../terminal/word-wrap.ts'
import { showRunVersion } from './run-version.ts'
import { duration, storyText } from './story-text.ts'
import { shortTextFromValue, textFromValue } from './value-text.ts'
import type { WatchEvent } from './watch.ts'

/** Where results go: whole lines, without their end. */
export interface Output {
  /** What was asked for. */
  readonly print: (text: string) => void
  /** What only people want to know. */
  readonly note: (text: string) => void
  readonly complain: (text: string) => void
  /** Columns of the terminal, as it is now; undefined where there is none, and lines are as long as they are. */
  readonly width?: () => number | undefined
  /** Settles when what was printed has left, so that a long list waits for its reader. */
  readonly drained: () => Promise<void>
}

/** How results look. */
export interface Presentation {
  written(result: ClientResults['write'], value: JsonValue): void
  deleted(result: ClientResults['delete']): void
  values(values: readonly ReadValue[]): void
  keys(keys: readonly string[]): void
  conflicts(keys: readonly ToldKeyVersions[]): void
  status(status: ToldStatus): void
  waiting(waiting: readonly ToldWaiting[]): void
  story(story: ToldStory, server: string): void
  link(result: ClientResults['link']): void
  event(event: WatchEvent): void
  /** Versions that were seen are lost: nobody has them any more (R9). */
  lost(missing: readonly ToldMissingEntry[]): void
  /**
   * Something went wrong; the message says what, why, and what to try.
   *
   * @param command that it went wrong with, as it was typed, where it may have been typed long before.
   */
  failed(error: Error, command?: string): void
}

/** For people: sentences and short lines, every foreign text made safe for a terminal. */
export class PeoplePresentation implements Presentation {
  readonly #output: Output
  readonly #paint: ChalkInstance

  readonly #paintErrors: ChalkInstance

  /** @param paints each stream has colours of its own. */
  constructor(output: Output, paints: { readonly output: ChalkInstance; readonly errors: ChalkInstance }) {
    this.#output = output
    this.#paint = paints.output
    this.#paintErrors = paints.errors
  }

  written({ key, version }: ClientResults['write'], value: JsonValue): void {
    const text = this.#paint.bold(shortTextFromValue(value))
    this.#output.print(`wrote ${printable(key)} = ${text} ${this.#version(version)}`)
  }

  deleted({ key, version }: ClientResults['delete']): void {
    this.#output.print(`deleted ${printable(key)} ${this.#version(version)}`)
  }

  values(values: readonly ReadValue[]): void {
    for (const { key, value, version, conflicts = [] } of values) {
      const name = printable(key)
      if (value !== undefined && version !== undefined) {
        this.#output.print(`${name} = ${this.#paint.bold(textFromValue(value))} ${this.#version(version)}`)
      } else {
        const what = version === undefined ? 'not found' : 'deleted'
        const which = version === undefined ? '' : ` ${this.#version(version)}`
        this.#output.print(`${name}: ${this.#paint.yellow(what)}${which}`)
      }
      for (const conflict of conflicts)
        this.#output.print(this.#paint.yellow(`  conflicts with ${siblingText(conflict)}`))
    }
  }

  keys(keys: readonly string[]): void {
    if (keys.length === 0) this.#output.note('no keys')
    else this.#output.print(keys.map(printable).join('\n'))
  }

  conflicts(keys: readonly ToldKeyVersions[]): void {
    if (keys.length === 0) this.#output.note('no conflicts')
    for (const conflict of keys) this.#output.print(conflictText(conflict))
  }

  status(status: ToldStatus): void {
    const {
      server,
      origin,
      clock,
      keys,
      tombstones,
      conflicts,
      waiting,
      parked,
      log,
      logBytes,
      origins,
      sessions,
      answers,
      durability,
      folder,
      uptimeMs,
      lab,
      insecure,
    } = status
    const disk = folder === undefined ? durability : `${durability} in ${printable(folder)}`
    const kind = [
      durability === 'memory' ? 'in memory' : disk,
      ...(lab ? ['lab'] : []),
      ...(insecure ? [this.#paint.yellow('open to everybody')] : []),
    ]
    // Servers of the first release do not count these.
    const kept = [
      ...(origins === undefined ? [] : [count(origins, 'origin')]),
      ...(sessions === undefined
        ? []
        : [`${count(sessions, 'session')} (${count(answers ?? 0, 'answer')} kept)`]),
      ...(parked === undefined ? [] : [`${count(parked, 'request')} waiting for what they come after`]),
    ]
    const lines = [
      `server ${this.#paint.bold(server)} (origin ${origin}), up ${duration(uptimeMs)}, clock ${clock}, ${kind.join(', ')}`,
      `${count(keys, 'key')}, ${tombstones} deleted, ${count(conflicts, 'conflict')}, ` +
        `${count(waiting, 'update')} waiting, ${count(log, 'update')} in the log` +
        (logBytes === undefined ? '' : ` (${bytes(logBytes)})`),
      ...(kept.length === 0 ? [] : [kept.join(', ')]),
      ...status.peers.map((peer) => {
        const state =
          peer.state === 'connected'
            ? this.#paint.green(peer.state)
            : this.#paint.yellow(printable(peer.state))
        const link =
          peer.link === 'open' ? '' : this.#paint.magenta(`, the link to it is ${printable(peer.link)}`)
        return `peer ${this.#paint.bold(peer.id)} at ${printable(peer.address)}: ${state}${link}`
      }),
    ]
    this.#output.print(this.#wrapped(lines.join('\n')))
    if (status.peers.length === 0) this.#output.note('no peers')
  }

  waiting(waiting: readonly ToldWaiting[]): void {
    if (waiting.length === 0) this.#output.note('nothing waits here')
    for (const { keys, version, waitsFor, from, sinceMs } of waiting) {
      const needs = waitsFor
        .map((missing) => `${showVersion(missing)} of server ${serverOf(missing.origin)}`)
        .join(' and ')
      this.#output.print(
        `${this.#paint.yellow('waiting')} ${keys.map(printable).join(', ')} (${showVersion(version)}, ` +
          `from server ${from}, for ${duration(sinceMs)}): needs ${needs}`,
      )
    }
  }

  story(story: ToldStory, server: string): void {
    this.#output.print(this.#wrapped(storyText(story, server).join('\n')))
  }

  link({ peer, state, delayMs, queued }: ClientResults['link']): void {
    const delay = state === 'delayed' ? ` by ${delayMs} ms` : ''
    const inIt = queued === 0 ? '' : `, ${count(queued, 'update')} in it`
    this.#output.print(this.#paint.magenta(`the link to ${peer} is ${state}${delay}${inIt}`))
  }

  event(event: WatchEvent): void {
    if (event.kind === 'caughtUp') return
    if (event.kind === 'resync') {
      const said = 'some of what was shown before is lost and need not hold; all keys follow, as they are now'
      this.#output.print(this.#paint.yellow(said))
      return
    }
    const width = this.#output.width?.() ?? Infinity
    const around = `applied  (${showVersion(event.version)})`.length
    const writes = cutTo(event.writes.map(writeText).join(', '), width - around)
    const lines = [`${this.#paint.green('applied')} ${writes} ${this.#version(event.version)}`]
    for (const conflict of event.conflict ?? [])
      lines.push(this.#paint.yellow(cutTo(`  conflict: ${conflictText(conflict)}`, width)))
    this.#output.print(lines.join('\n'))
  }

  lost(missing: readonly ToldMissingEntry[]): void {
    const versions = missing.map(({ version }) => showRunVersion(version)).join(', ')
    const [is, they] = missing.length === 1 ? ['is', 'it'] : ['are', 'them']
    const said = `${versions} ${is} lost: you had seen ${they}, and no server has ${they} any more; what you do next goes on without ${they}`
    this.#output.complain(this.#paintErrors.yellow(this.#wrapped(said)))
  }

  failed(error: Error, command?: string): void {
    // What is a parameter to a program is just a word to people.
    const message = printable(error.message).replace(/^params\.(?=\w)/, '')
    const whose = command === undefined ? '' : `${cutTo(printable(command), commandColumnsMax)}: `
    this.#output.complain(this.#wrapped(`${this.#paintErrors.red('error:')} ${whose}${message}`))
  }

  #wrapped(text: string): string {
    return wrapWords(text, { width: this.#output.width?.(), hangingIndent: 2 })
  }

  #version(version: Version): string {
    return this.#paint.dim(`(${showVersion(version)})`)
  }
}

/** Enough to recognise a command that was typed. */
const commandColumnsMax = 40

function writeText(write: Write): string {
  const key = printable(write.key)
  return write.deleted === true ? `${key} deleted` : `${key} = ${shortTextFromValue(write.value)}`
}

function siblingText({ version, value, omitted }: ToldKeyVersions['versions'][number]): string {
  const text = omitted === true ? '…' : value === undefined ? 'deleted' : shortTextFromValue(value)
  return `${text} (${showVersion(version)})`
}

function conflictText({ key, versions }: ToldKeyVersions): string {
  const [winner, ...others] = versions.map(siblingText)
  return `${printable(key)} = ${winner ?? ''} wins over ${others.join(', ')}`
}

function bytes(number: number): string {
  if (number < 1_024) return count(number, 'byte')
  return number < 1 << 20 ? `${Math.round(number / 1_024)} KiB` : `${Math.round(number / (1 << 20))} MiB`
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
