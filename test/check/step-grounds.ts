import type { EventLine, FinalLine, TransactionPart } from '../../src/check/history-line.ts'
import type { Step } from '../../src/check/verdict.ts'

/** The reasons in a list of steps that are not so, going by nothing but what the steps themselves show. */
export function unfounded(steps: readonly Step[]): readonly string[] {
  return steps.flatMap((step, index) => {
    const before = steps[index - 1]
    if (before === undefined) return []
    // What has no cycle is told in other words, by other steps.
    if (!/^(?:session order|reads|was told|version order)/.test(step.because)) return []
    return step.because
      .split(', and ')
      .filter((reason) => !isFounded(reason, step, before, steps))
      .map((reason) => `line ${step.line}: ${reason}`)
  })
}

function isFounded(reason: string, step: Step, before: Step, steps: readonly Step[]): boolean {
  const line = Number(/ line (\d+)/.exec(reason)?.[1])
  if (reason.startsWith('session order'))
    return line === before.line && isAfterInSession(step.event, before.event)
  if (reason.startsWith('version order'))
    return partsOf(before.event).some((part) => writes(step.event, part.key))
  if (reason === 'finds nothing') {
    return partsOf(step.event).some(
      ({ key, version }) => version === undefined && writes(steps[0]?.event, key),
    )
  }
  const writer = steps.find((other) => other.line === line)
  return writer !== undefined && (writer === before || writer === steps[0]) && sees(step.event, writer.event)
}

function isAfterInSession(event: EventLine | FinalLine, before: EventLine | FinalLine): boolean {
  if (event.op === 'final' || before.op === 'final') return false
  if (event.session !== before.session || event.i <= before.i) return false
  return before.ok !== null && (event.op !== 'push' || before.op === 'push')
}

function sees(event: EventLine | FinalLine, writer: EventLine | FinalLine): boolean {
  const written = partsOf(writer).filter(({ op }) => op === 'write' || op === 'delete')
  return partsOf(event).some((part) =>
    written.some(
      ({ key, value, version }) =>
        key === part.key &&
        value === part.value &&
        part.version !== undefined &&
        (version === undefined || JSON.stringify(version) === JSON.stringify(part.version)),
    ),
  )
}

function writes(event: EventLine | FinalLine | undefined, key: string): boolean {
  if (event === undefined) return false
  return partsOf(event).some((part) => part.key === key && (part.op === 'write' || part.op === 'delete'))
}

function partsOf(event: EventLine | FinalLine): readonly TransactionPart[] {
  if (event.op === 'txn') return event.ops
  return [event.op === 'push' || event.op === 'final' ? { ...event, op: 'read' } : event]
}
