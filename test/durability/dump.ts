/** Whoever can ask a server, and takes no error for an answer. */
export interface Caller {
  call<Result>(method: string, params?: object): Promise<Result>
}

/** A version as it is on the wire. */
export type WireVersion = readonly [timestamp: number, origin: string]

/** A version of a key with what it says; `value` is absent where it says that the key is deleted. */
export interface DumpedSibling {
  readonly version: WireVersion
  readonly value?: unknown
}

/** All that a server shows of what it holds, in one fixed order, so that equal states are equal texts. */
export interface Dump {
  readonly applied: Readonly<Record<string, number>>
  /** How many are deleted, and how many are in conflict. */
  readonly counts: { readonly keys: number; readonly tombstones: number; readonly conflicts: number }
  /** The siblings of each key, the winner first. */
  readonly keys: Readonly<Record<string, readonly DumpedSibling[]>>
}

/** @param keys to be asked for besides those that the server lists. */
export async function dumpOf(client: Caller, keys: readonly string[]): Promise<Dump> {
  const status = await client.call<Dump['counts'] & Pick<Dump, 'applied'>>('status')
  const listed = await listedKeys(client)
  const all = [...new Set([...keys, ...listed])].toSorted()
  const siblings: [string, readonly DumpedSibling[]][] = []
  for (let start = 0; start < all.length; start += keysPerRead) {
    const page = all.slice(start, start + keysPerRead)
    const { values } = await client.call<{ readonly values: readonly ReadAnswer[] }>('read', { keys: page })
    for (const value of values) siblings.push([value.key, siblingsOf(value)])
  }
  return {
    applied: Object.fromEntries(Object.entries(status.applied).toSorted(([a], [b]) => (a < b ? -1 : 1))),
    counts: { keys: status.keys, tombstones: status.tombstones, conflicts: status.conflicts },
    keys: Object.fromEntries(siblings),
  }
}

async function listedKeys(client: Caller): Promise<readonly string[]> {
  const listed: string[] = []
  let from: string | undefined = ''
  while (from !== undefined) {
    const page: { readonly keys: readonly string[]; readonly next?: string } = await client.call('keys', {
      from,
      limit: 10_000,
    })
    listed.push(...page.keys)
    from = page.next
  }
  return listed
}

interface ReadAnswer {
  readonly key: string
  readonly found: boolean
  readonly value?: unknown
  readonly version?: WireVersion
  readonly conflicts?: readonly DumpedSibling[]
}

function siblingsOf({ found, value, version, conflicts = [] }: ReadAnswer): readonly DumpedSibling[] {
  if (version === undefined) return []
  return [found ? { version, value } : { version }, ...conflicts]
}

/** What one `read` may ask for. */
const keysPerRead = 1_000
