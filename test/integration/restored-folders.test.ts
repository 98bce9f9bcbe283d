import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { DataFolder, removeDataFolders } from '../durability/data-folder.ts'
import type { Dump } from '../durability/dump.ts'
import { ids, Trio, type Id } from '../durability/trio.ts'
import { freePorts, ServerProcess, stopServers, waitMsMax } from './processes.ts'
import { RawClient } from './raw-client.ts'

afterEach(async () => {
  await stopServers()
  await removeDataFolders()
})
afterAll(stopServers)

/** Writes a key at a server, whose value is the key's own name. @returns the origin that took it. */
function write(trio: Trio, id: Id, key: string): Promise<string> {
  return writeAt(trio.ports[id], key)
}

async function writeAt(port: number, key: string): Promise<string> {
  const client = await RawClient.connect(port)
  const { version } = await client.call<{ readonly version: readonly [number, string] }>('write', {
    key,
    value: key,
  })
  client.close()
  return version[1]
}

/** Waits until all agree. @returns the keys whose value is their own name, as {@link write} has it. */
async function keysOfAll(trio: Trio): Promise<{ readonly keys: readonly string[]; readonly dump: Dump }> {
  const dump = await trio.agreed([], waitMsMax)
  const keys = Object.entries(dump.keys).flatMap(([key, [winner]]) => (winner?.value === key ? [key] : []))
  return { keys, dump }
}

describe('R7: a disk that was wiped', () => {
  it('gets back what the others have, its new writes are new to all, and the operator is told', async () => {
    const trio = await Trio.start(await DataFolder.make())
    const former = await write(trio, '3', 'of the former disk')
    await write(trio, '1', 'of another')
    await keysOfAll(trio)
    await trio.server('3').stop()
    await write(trio, '1', 'meanwhile')
    await trio.folder.wipe('3')

    const again = await trio.start('3')
    const told = await again.event('restored')
    expect(told).toMatchObject({ origin: former, here: 0, there: expect.any(Number) })
    expect(again.events).toContainEqual(expect.objectContaining({ kind: 'recovered', isFresh: true }))
    await trio.meshed()
    // It has the numbers of its former run ahead of it, and must use none of them again.
    const origin = await write(trio, '3', 'of the new disk')
    expect(origin).not.toBe(former)
    const { keys } = await keysOfAll(trio)
    expect(keys).toEqual(['meanwhile', 'of another', 'of the former disk', 'of the new disk'])
  })

  it('takes writes at once, before it has heard of its former ones, and all of them stay', async () => {
    const trio = await Trio.start(await DataFolder.make())
    for (let number = 1; number <= 5; number++) await write(trio, '3', `former ${number}`)
    await keysOfAll(trio)
    // With nobody else there, it knows of nothing.
    await Promise.all(ids.map((id) => trio.server(id).stop()))
    await trio.folder.wipe('3')
    await trio.start('3')
    for (let number = 1; number <= 5; number++) await write(trio, '3', `new ${number}`)
    await Promise.all([trio.start('1'), trio.start('2')])
    const { keys } = await keysOfAll(trio)
    expect(keys.join(', ')).toBe(
      'former 1, former 2, former 3, former 4, former 5, new 1, new 2, new 3, new 4, new 5',
    )
    await trio.server('3').event('restored')
  })
})

describe('R7: an older copy of a folder that was put back', () => {
  it('gets back what it had acknowledged since, discards nothing new, and the operator is told how far it was', async () => {
    const trio = await Trio.start(await DataFolder.make())
    await write(trio, '3', 'in the copy')
    await keysOfAll(trio)
    await trio.server('3').stop()
    await trio.folder.copy('3', 'copy of 3')
    await trio.start('3')
    await trio.meshed()
    const since = await write(trio, '3', 'since the copy')
    await write(trio, '1', 'since the copy, of another')
    await keysOfAll(trio)
    await trio.kill('3')

    await trio.folder.copy('copy of 3', '3')
    const again = await trio.start('3')
    expect(await again.event('restored')).toMatchObject({ origin: since, here: 0 })
    await trio.meshed()
    await write(trio, '3', 'after it')
    const { keys } = await keysOfAll(trio)
    expect(keys).toEqual(['after it', 'in the copy', 'since the copy', 'since the copy, of another'])
  })

  it('taken in the middle of a run, the operator is told up to where it knew that run', async () => {
    const trio = await Trio.start(await DataFolder.make())
    const origin = await write(trio, '3', 'in the copy')
    const { dump } = await keysOfAll(trio)
    // As the image of a disk is taken: at one moment, with the server in the middle of its life.
    trio.server('3').signal('SIGSTOP')
    await trio.folder.copy('3', 'copy of 3')
    trio.server('3').signal('SIGCONT')
    expect(await write(trio, '3', 'since the copy')).toBe(origin)
    await keysOfAll(trio)
    await trio.kill('3')
    await trio.folder.copy('copy of 3', '3')
    const again = await trio.start('3')
    const here = dump.applied[origin] ?? 0
    expect(await again.event('restored')).toMatchObject({ origin, here, there: here + 1 })
    await trio.meshed()
    await write(trio, '3', 'later')
    expect((await keysOfAll(trio)).keys).toEqual(['in the copy', 'later', 'since the copy'])
  })

  it('people are told in words what has happened, that nothing is lost, and what to look at', async () => {
    const trio = await Trio.start(await DataFolder.make())
    await trio.server('3').stop()
    await trio.folder.copy('3', 'copy of 3')
    await trio.start('3')
    await trio.meshed()
    const since = await write(trio, '3', 'since the copy')
    await keysOfAll(trio)
    await trio.server('3').stop()
    await trio.folder.copy('copy of 3', '3')
    const again = await trio.start('3', { isJson: false })
    await again.printed('has more of an earlier run of this server than')
    await again.printed(`of run ${since}`)
    await again.printed('Nothing is lost that server')
    await again.printed('check that --data names the right folder')
  })
})

describe('R7: a folder that was copied and is started twice', () => {
  it('the second server is refused by the mesh, with the address of the first, and harms nobody', async () => {
    const trio = await Trio.start(await DataFolder.make())
    await write(trio, '3', 'before')
    await trio.server('3').stop()
    await trio.folder.copy('3', 'copy of 3')
    await trio.start('3')
    await trio.meshed()
    const second = new ServerProcess({ id: '3', peers: [trio.ports['1']], data: trio.folder.at('copy of 3') })
    expect(await second.exit()).toEqual({ code: 5, signal: null })
    expect(second.stderr).toContain(
      `error: server id 3 is in use by a running server at ${trio.server('3').address}; choose another --id, or stop that one`,
    )
    await write(trio, '3', 'after')
    expect((await keysOfAll(trio)).keys).toEqual(['after', 'before'])
  })

  it('once the first has stopped, the second takes its place with all that the first had given away', async () => {
    const trio = await Trio.start(await DataFolder.make())
    await write(trio, '3', 'before')
    await trio.server('3').stop()
    await trio.folder.copy('3', 'copy of 3')
    await trio.start('3')
    await trio.meshed()
    const first = await write(trio, '3', 'of the first')
    await keysOfAll(trio)
    await trio.kill('3')
    const second = await trio.start('3', { data: trio.folder.at('copy of 3') })
    expect(await second.event('restored')).toMatchObject({ origin: first, here: 0 })
    await trio.meshed()
    await write(trio, '3', 'of the second')
    expect((await keysOfAll(trio)).keys).toEqual(['before', 'of the first', 'of the second'])
  })

  it('both take writes while nobody sees the two of them, and no write of either is lost', async () => {
    const trio = await Trio.start(await DataFolder.make())
    await write(trio, '3', 'before')
    await keysOfAll(trio)
    await Promise.all(ids.map((id) => trio.server(id).stop()))
    await trio.folder.copy('3', 'copy of 3')
    await trio.start('3')
    const [port = 0] = await freePorts(1)
    const copy = { port, peers: [trio.ports['1']], data: trio.folder.at('copy of 3') }
    const second = await ServerProcess.start({ id: '3', ...copy })
    await write(trio, '3', 'of the first')
    await writeAt(port, 'of the second')
    await second.kill()
    await Promise.all([trio.start('1'), trio.start('2')])
    expect((await keysOfAll(trio)).keys).toEqual(['before', 'of the first'])

    await trio.kill('3')
    await trio.start('3', { data: copy.data })
    await trio.meshed()
    expect((await keysOfAll(trio)).keys).toEqual(['before', 'of the first', 'of the second'])
  })
})

describe('R7: a folder belongs to one process and to one id', () => {
  it('a second process on it is refused and told which has it, and the first goes on', async () => {
    const folder = await DataFolder.make()
    const first = await ServerProcess.start({ id: '1', data: folder.at('1') })
    const second = new ServerProcess({ id: '1', data: folder.at('1') })
    expect(await second.exit()).toEqual({ code: 5, signal: null })
    expect(second.stderr).toContain(folder.at('1'))
    expect(second.stderr).toContain(`${first.pid}`)
    const client = await RawClient.connect(first.port)
    await client.call('write', { key: 'unharmed', value: 1 })
    client.close()
    await first.kill()
    const third = await ServerProcess.start({ id: '1', data: folder.at('1') })
    const reader = await RawClient.connect(third.port)
    expect(await reader.call('read', { key: 'unharmed' })).toMatchObject({ found: true })
    reader.close()
  })

  it('under another id it is refused, with the id that it has', async () => {
    const folder = await DataFolder.make()
    const first = await ServerProcess.start({ id: '1', data: folder.at('1') })
    await first.stop()
    await folder.copy('1', '2')
    for (const name of ['1', '2']) {
      const other = new ServerProcess({ id: '2', data: folder.at(name) })
      expect((await other.exit()).code).toBe(5)
      expect(other.stderr).toContain(folder.at(name))
      expect(other.stderr).toContain('start it with --id 1')
      expect(other.stderr).not.toContain('    at ')
    }
  })
})
