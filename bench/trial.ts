import type { Load } from './support/load.ts'

/**
 * A workload that is not the same for all candidates over and over, but has processes of its own: what a start takes, what
 * a mesh of fifteen costs. It is measured in rounds as the others are, its subjects in turns, and told in figures of its own.
 */
export interface Trial {
  readonly name: string
  /** What is told of each subject, in this order. */
  readonly figures: readonly FigureKind[]
  /** How each of them stands to the first is told. */
  readonly subjects: (options: TrialOptions) => readonly Subject[]
}

export interface FigureKind {
  readonly name: string
  /** After the point. */
  readonly digits: number
  /** Whether it is told how it stands to that of the first subject. */
  readonly isCompared?: boolean
}

export interface Subject {
  readonly name: string
  /** Sets up what all rounds need. */
  readonly start: () => Promise<Underway>
}

export interface Underway {
  /** @param first what the first subject has shown in this round; undefined for itself. */
  readonly measure: (first: Figures | undefined) => Promise<Figures>
  readonly stop: () => Promise<void>
}

/** What asks for a trial: `Load`. */
export type Requester = Pick<Load<'requests'>, 'run'>

/** By their names; one that is not there, or not a number, is not told. */
export type Figures = Readonly<Record<string, number>>

/** What it is measured with. */
export interface TrialOptions {
  /** Small sizes: to see that all of it works, and no more. */
  readonly isQuick: boolean
  readonly durations: { readonly warmMs: number; readonly measureMs: number }
  readonly load: Requester
  /** Names of the others beside which it is measured. */
  readonly beside: readonly string[]
}

/** One subject's part of one round of a trial. */
export interface Tried {
  readonly workload: string
  readonly candidate: string
  readonly round: number
  readonly figures: Figures
}

/** A subject for which nothing is to be set up. */
export function subject(name: string, measure: Underway['measure']): Subject {
  return { name, start: async () => ({ measure, stop: async () => {} }) }
}

export async function carryOut(
  trial: Trial,
  options: TrialOptions,
  rounds: number,
): Promise<readonly Tried[]> {
  const underway: { readonly name: string; readonly started: Underway }[] = []
  for (const { name, start } of trial.subjects(options)) underway.push({ name, started: await start() })
  const tried: Tried[] = []
  for (let round = 0; round < rounds; round++) {
    let first: Figures | undefined
    for (const { name, started } of underway) {
      const figures = await started.measure(first)
      first ??= figures
      tried.push({ workload: trial.name, candidate: name, round, figures })
    }
  }
  for (const { started } of underway) await started.stop()
  return tried
}
