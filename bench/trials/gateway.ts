import { errand } from '../support/errand.ts'
import { gatewayLines } from '../support/gateway-lines.ts'
import type { GatewayPlan, GatewayReport } from '../support/gateway-process.ts'
import { subject, type Trial } from '../trial.ts'

/** What the checks of everything that comes in cost, next to `JSON.parse` of the same lines. */
export const gateway: Trial = {
  name: 'checks of what comes in',
  figures: [
    { name: 'JSON.parse ns', digits: 0 },
    { name: 'with the checks ns', digits: 0 },
    { name: 'of JSON.parse', digits: 2 },
  ],
  subjects: () =>
    gatewayLines.map(({ name }) =>
      subject(name, async () => {
        const plan: GatewayPlan = { name }
        const report = await errand<GatewayReport>('gateway-process.ts', plan)
        return {
          'JSON.parse ns': report.parse,
          'with the checks ns': report.gateway,
          'of JSON.parse': report.gateway / report.parse,
        }
      }),
    ),
}
