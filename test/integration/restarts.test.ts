import { afterEach, describe, expect, it } from 'vitest'
import { DataFolder, removeDataFolders } from '../durability/data-folder.ts'
import { restarts } from '../durability/restarts.ts'

afterEach(removeDataFolders)

describe('R7, R8, R12: a server that was started many times', () => {
  it('costs its peers as many bytes for a write as before', async () => {
    // More of them: npm run restarts -- --restarts 1000
    const report = await restarts(await DataFolder.make(), 10)
    expect(report.after).toEqual(report.before)
    // 11 starts of server 1, each of which wrote; server 2 wrote nothing.
    expect(report.origins).toBe(11)
  })
})
