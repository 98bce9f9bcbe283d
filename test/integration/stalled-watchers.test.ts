import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { DataFolder, removeDataFolders } from '../durability/data-folder.ts'
import { stalledWatchers } from '../durability/stalled-watchers.ts'
import { stopServers } from './processes.ts'

afterEach(async () => {
  await stopServers()
  await removeDataFolders()
})
afterAll(stopServers)

describe('R11: watchers that subscribe and stop reading', () => {
  it(
    'cost the server a bounded amount of memory, hold up nobody, and each ends with the last value of every key',
    { timeout: 180_000 },
    async () => {
      // A thousand of them: npm run stalled-watchers -- --watchers 1000
      const report = await stalledWatchers(await DataFolder.make(), {
        watchers: 50,
        keys: 64,
        valueBytes: 16 << 10,
        writes: 3_000,
      })
      expect(report.violations).toEqual([])
      // All that they were not told yet would be more than two gibibytes.
      expect(report.owedBytes).toBeGreaterThan(2 * 2 ** 30)
      expect(report.residentBytes.during - report.residentBytes.before).toBeLessThan(640 << 20)
      // Bounds for what goes wrong altogether; the script says how it is.
      expect(Math.max(...report.readMs)).toBeLessThan(5_000)
      expect(report.writesPerSecond.stalled).toBeGreaterThan(report.writesPerSecond.before / 10)
    },
  )
})
