import type { Measured } from './measurement.ts'
import { mebibytes, median, table } from './support/table.ts'

/**
 * What was measured of one workload: of each candidate the median of its rounds, and how it stands to the first that was
 * measured, round by round, as what disturbs a round disturbs all of it.
 */
export function tableOf(measured: readonly Measured[]): string {
  const names = [...new Set(measured.map(({ candidate }) => candidate))]
  const of = (candidate: string): readonly Measured[] => measured.filter((one) => one.candidate === candidate)
  const [base = ''] = names
  const rows = names.map((name) => {
    const middle = (figure: (one: Measured) => number): number => median(of(name).map(figure))
    const ratio = (figure: (one: Measured) => number): string => {
      const each = of(name).map((one, round) => figure(one) / figure(of(base)[round] as Measured))
      return `${median(each).toFixed(2)} (${Math.min(...each).toFixed(2)}–${Math.max(...each).toFixed(2)})`
    }
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
  return table([...heads, 'p50 ms', beside, 'p99 ms', 'memory'], rows)
}
