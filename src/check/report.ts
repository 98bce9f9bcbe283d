import type { ChalkInstance } from 'chalk'
import { printable } from '../terminal/printable.ts'
import type { EventLine, FinalLine, TransactionPart } from './history-line.ts'
import type { Counts, Step, Verdict, Violation } from './verdict.ts'

/** A verdict as people read it: each violation with its steps, then one line about the whole. */
export function reportOf(verdict: Verdict, name: string, paint: ChalkInstance): readonly string[] {
  const lines = verdict.violations.flatMap((violation) => [...violationLines(violation, paint), ''])
  lines.push(`${printable(name)}: ${countsText(verdict.counts)}`)
  lines.push(verdict.ok ? paint.green('no violation') : paint.red(totalText(verdict)))
  return lines
}

function violationLines({ pattern, guarantee, message, steps }: Violation, paint: ChalkInstance): string[] {
  const title = guarantee === undefined ? pattern : `${pattern} (${guarantee})`
  const rows = steps.map(cellsOf)
  const widths = [0, 1, 2, 3].map((column) => {
    const longest = Math.max(...rows.map((cells) => cells[column]?.length ?? 0))
    return Math.min(longest, cellWidthMax)
  })
  const table = rows.map((cells) =>
    `  ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd(),
  )
  return [`${paint.red(title)}: ${printable(message)}`, ...table]
}

/** A batch of a hundred writes must not move the reasons of all steps off the screen. */
const cellWidthMax = 60

/** Line, session, place in it, what was done, and why it follows. */
function cellsOf({ line, event, because }: Step): readonly string[] {
  const who = event.op === 'final' ? `server ${word(event.server)}` : word(event.session)
  const place = event.op === 'final' ? 'in the end' : `i ${event.i}`
  return [`line ${line}`, who, place, doingOf(event), because === '' ? '' : `← ${printable(because)}`]
}

function doingOf(event: EventLine | FinalLine): string {
  if (event.op === 'final') return partText({ ...event, op: 'read' }).replace(/^read/, 'holds')
  const outcome = event.ok === null ? '  (outcome unknown)' : event.ok === false ? '  (did not happen)' : ''
  if (event.op !== 'txn') return `${partText(event)}${outcome}`
  return `txn ${event.ops.map(partText).join(', ')}${outcome}`
}

function partText(part: TransactionPart | Exclude<EventLine, { op: 'txn' }>): string {
  const { op, key, version } = part
  const value = part.op === 'delete' ? undefined : part.value
  const absent = op === 'delete' ? '' : version === undefined ? ' nothing' : ' deleted'
  const what = value === undefined || value === null ? absent : ` ${word(value)}`
  return `${op} ${word(key)}${what}${version === undefined ? '' : ` ${printable(JSON.stringify(version))}`}`
}

/** A name as it is where it is one word, else in quotes. */
function word(name: string): string {
  return /^[\p{L}\p{N}_.:~/@+-]+$/u.test(name) ? name : printable(JSON.stringify(name))
}

function countsText({ events, sessions, writes, reads, pushes, ignored, servers }: Counts): string {
  const parts = [
    `${counted(events, 'event')} of ${counted(sessions, 'session')}`,
    `${counted(writes, 'write')}, ${counted(reads, 'read')}, ${counted(pushes, 'push', 'pushes')}`,
    ...(ignored === 0 ? [] : [`${counted(ignored, 'event')} that did not happen, or that nobody saw`]),
    servers === 0 ? 'no end state' : `the end state of ${counted(servers, 'server')}`,
  ]
  return parts.join('; ')
}

function totalText({ found, violations }: Verdict): string {
  const shown = violations.length < found ? `; above are the ${violations.length} smallest` : ''
  return `${counted(found, 'violation')}${shown}`
}

function counted(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en-GB')} ${count === 1 ? one : many}`
}
