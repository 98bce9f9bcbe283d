import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Mutant } from './mutant.ts'

/** What a trial's process is to do. */
export interface TrialPlan extends Required<Pick<Mutant, 'faults' | 'workload'>> {
  /** In this order, until something is found wrong. */
  readonly seeds: readonly number[]
}

/** What came of a trial. */
export type Outcome =
  /** Somebody who looked on has found it out. */
  | { readonly kind: 'violation'; readonly seed: number; readonly what: string }
  /** It has found itself out: an assertion failed, or it broke down. */
  | { readonly kind: 'exception'; readonly seed: number; readonly what: string }
  /** A run did not come to its end in time. That proves nothing. */
  | { readonly kind: 'hung'; readonly seed: number }
  | { readonly kind: 'survived' }

/** What a trial's process says, a line each. */
export type TrialWord =
  | Exclude<Outcome, { readonly kind: 'hung' }>
  | { readonly kind: 'begun'; readonly seed: number }

/**
 * Runs a program that {@link CompiledSources} has written in a process of its own, so that a mutant that never comes to
 * an end can be ended.
 *
 * @throws Error where the program does not run at all.
 */
export async function runTrial(program: string, plan: TrialPlan): Promise<Outcome> {
  const process = spawn(globalThis.process.execPath, [program, JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let outcome: Outcome | undefined
  let seed = 0
  let complaint = ''
  process.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  const giveUp = (): void => {
    outcome = { kind: 'hung', seed }
    process.kill('SIGKILL')
  }
  let timer = setTimeout(giveUp, seedMsMax)
  for await (const line of createInterface({ input: process.stdout })) {
    const word = JSON.parse(line) as TrialWord
    clearTimeout(timer)
    if (word.kind === 'begun') {
      seed = word.seed
      timer = setTimeout(giveUp, seedMsMax)
    } else {
      outcome = word
    }
  }
  clearTimeout(timer)
  if (outcome !== undefined) return outcome
  if (seed === 0) throw new Error(`a trial does not run: ${complaint}`)
  return { kind: 'exception', seed, what: `its process died: ${complaint}` }
}

/** Far above what any run takes on a busy machine. */
const seedMsMax = 120_000
