import { Attribution } from './attribution.ts'
import { CausalCheck } from './causal-check.ts'
import { CausalFindings } from './causal-findings.ts'
import { CausalGraph } from './causal-graph.ts'
import { EndState } from './end-state.ts'
import { Findings } from './findings.ts'
import { History } from './history.ts'
import type { HistoryLine } from './history-line.ts'
import type { Counts, Verdict } from './verdict.ts'

/** As many as somebody reads; the first is usually enough. */
const violationsMaxDefault = 20

/**
 * Judges a history: causal convergence with the order of versions pinned, and the end state where it is told.
 *
 * It knows nothing of any store. Lines are numbered as they come, from 1.
 *
 * @param lines in any order; those of a session are put in the order of their `i`.
 * @throws HistoryFault where the lines contradict each other in a way that no store can be blamed for.
 */
export function checkHistory(
  lines: Iterable<HistoryLine>,
  options: { readonly violationsMax?: number } = {},
): Verdict {
  const history = new History()
  let number = 0
  for (const line of lines) history.add(line, ++number)
  return judge(history, options.violationsMax)
}

/** As {@link checkHistory}, for lines that somebody has gathered. */
export function judge(history: History, violationsMax: number = violationsMaxDefault): Verdict {
  const findings = new Findings()
  const attribution = new Attribution(history, findings)
  const graph = new CausalGraph(history, attribution)
  const check = new CausalCheck(graph)
  new CausalFindings(check, findings).report()
  new EndState(history, attribution).report(findings)
  return {
    ok: findings.found === 0,
    counts: countsOf(graph),
    found: findings.found,
    violations: findings.smallest(violationsMax),
  }
}

function countsOf(graph: CausalGraph): Counts {
  const { history, attribution } = graph
  let [writes, reads, pushes, ignored] = [0, 0, 0, 0]
  for (let event = 0; event < history.eventCount; event++) if (!graph.counts(event)) ignored++
  for (let part = 0; part < history.partCount; part++) {
    if (history.isWriting(part)) {
      if (attribution.hasHappened(part)) writes++
    } else if (graph.counts(history.partEvent.get(part))) {
      if (history.kindOf(part) === 'push') pushes++
      else reads++
    }
  }
  const [events, sessions, servers] = [history.eventCount, history.sessions.size, history.servers.size]
  return { events, sessions, writes, reads, pushes, ignored, servers }
}
