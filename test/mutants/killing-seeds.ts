import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Written by `npm run mutants -- --record`. */
export const killingSeedsPath = fileURLToPath(new URL('killing-seeds.json', import.meta.url))

/** By the name of a mutant: the first seed that found it out when this was recorded last. */
export const killingSeeds: ReadonlyMap<string, number> = new Map(
  Object.entries(JSON.parse(readFileSync(killingSeedsPath, 'utf8')) as Record<string, number>),
)
