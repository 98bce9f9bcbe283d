import type { Measured } from './measurement.ts'
import { mebibytes, median, table } from './support/table.ts'
import type { Trial, Tried } from './trial.ts'

/**
 * What was measured of one workload: of each candidate the median of its rounds, and how it stands to one of them, round
 * by round, as what disturbs a round disturbs all of it.
 *
 * @param asked the one that the others stand to; where it was not measured, it is the first that was.
 */
export function tableOf(measured: readonly Measured[], asked: string): string {
  const names = [...new Set(measured.map(({ candidate }) => candidate))]
  const of = (candidate: string): readonly Measured[] => measured.filter((one) => one.candidate === candidate)
  const base = names.find((name) => name === asked) ?? names[0] ?? ''
  const rows = names.map((name) => {
    const middle = (figure: (one: Measured) => number): number => median(of(name).map(figure))
    const ratio = (figure: (one: Measured) => number): string =>
      spread(
        of(name).map((one, round) => figure(one) / figure(of(base)[round] as Measured)),
        2,
      )
    return [
      name,
      middle(({ perSecond }) => perSecond).toFixed(0),
      ratio(({ perSecond }) => perSecond),
      middle(({ firstMicros }) => firstMicros).toFixed(1),
      ratio(({ firstMicros }) => firstMicros),
      middle(({ othersMicros }) => othersMicros).toFixed(1),
      middle(({ loadMicros }) => loadMicros).toFixed(1),
      middle(({ p50Ms }) => p50Ms).toFixed(3),
      ratio(({ p50Ms }) => p50Ms),
      middle(({ p99Ms }) => p99Ms).toFixed(2),
      ratio(({ p99Ms }) => p99Ms),
      mebibytes(middle(({ residentBytes }) => residentBytes)),
    ]
  })
  const beside = `of ${base}`
  const heads = [
    'candidate',
    'a second',
    beside,
    'µs of the first',
    beside,
    'µs of the others',
    'µs of the load',
  ]
  return table([...heads, 'p50 ms', beside, 'p99 ms', beside, 'memory'], rows)
}

/** What came of a trial: of each subject the median of its rounds, and the least and the most. */
export function tableOfTrial({ figures }: Trial, tried: readonly Tried[]): string {
  const names = [...new Set(tried.map(({ candidate }) => candidate))]
  const [base = ''] = names
  const rows = names.map((name) => {
    const words = figures.flatMap(({ name: figure, digits, isCompared }) => {
      const of = (candidate: string): readonly number[] =>
        tried.filter((one) => one.candidate === candidate).map(({ figures }) => figures[figure] ?? Number.NaN)
      const first = of(base)
      const ratios = of(name).map((one, round) => one / (first[round] ?? Number.NaN))
      return isCompared === true ? [spread(of(name), digits), spread(ratios, 2)] : [spread(of(name), digits)]
    })
    return [name].concat(words)
  })
  const heads = figures.flatMap(({ name, isCompared }) =>
    isCompared === true ? [name, `of ${base}`] : [name],
  )
  return table(['', ...heads], rows)
}

/** The median, and the least and the most; nothing where there is none. */
function spread(each: readonly number[], digits: number): string {
  const numbers = each.filter((one) => !Number.isNaN(one))
  if (numbers.length === 0) return ''
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)]
  const range = numbers.length === 1 ? '' : ` (${least.toFixed(digits)}–${most.toFixed(digits)})`
  return `${median(numbers).toFixed(digits)}${range}`
}
