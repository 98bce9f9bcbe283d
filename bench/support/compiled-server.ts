import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Durability } from '../../src/server/options.ts'
import { ControlClient } from './control-client.ts'
import { probeWords, type Probed, type ProbeOrder } from './probe.ts'
import { memoryOf, processorSecondsOf, type Memory } from './process-figures.ts'
import { pause, type Address } from './sockets.ts'

/**
 * Real servers for measurements: the sources compiled once, each server a process of its own with a folder of its own
 * on a real disk, on loopback. They say what they do as ever, into nothing.
 *
 * Whatever way the measuring process ends, it ends every server that it has started, each by its own number, and
 * removes what it has written.
 */
export class CompiledServer {
  readonly id: string
  readonly address: Address
  readonly folder: string
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #stderr = ''
  #hasEnded = false

  constructor({
    id,
    port,
    peers,
    folder,
    durability = 'sync',
    nodeWords = [],
    isProbed = false,
  }: ServerStart) {
    this.id = id
    this.address = { host: '127.0.0.1', port }
    this.folder = folder
    const words = ['--port', `${port}`, '--id', id, '--peers', peers.join(' '), '--durability', durability]
    this.#child = spawn(
      process.execPath,
      [
        ...nodeWords,
        ...(isProbed ? probeWords : []),
        join(compiled(), 'dist/tidings.js'),
        'server',
        ...words,
        '--data',
        folder,
      ],
      { stdio: ['ignore', 'ignore', 'pipe', ...(isProbed ? (['ipc'] as const) : [])], env: environment() },
    )
    running.add(this)
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        this.#hasEnded = true
        running.delete(this)
        resolve()
      })
    })
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`server ${this.id} was never started`)
    return this.#child.pid
  }

  /** Waits until it accepts connections. @throws Error where it ends instead, with what it said. */
  async listening(): Promise<void> {
    for (;;) {
      if (this.#hasEnded) throw new Error(`server ${this.id} has ended: ${this.#stderr.trim()}`)
      const client = await ControlClient.connect(this.address).catch(() => undefined)
      if (client !== undefined) {
        client.close()
        return
      }
      await pause(5)
    }
  }

  /** What it has in RAM. */
  memory(): Memory {
    return memoryOf(this.pid)
  }

  /** Of the processor, in seconds since its start; NaN where the system does not say. */
  processorSeconds(): number {
    return processorSecondsOf(this.pid)
  }

  /** What only it can know, if it is one that is probed; with a heap without garbage where that is asked for. */
  async probe(order: ProbeOrder): Promise<Probed> {
    const answered = once(this.#child, 'message')
    this.#child.send(order)
    const [probed] = (await answered) as [Probed]
    return probed
  }

  /** What its folder takes on the disk, in bytes. */
  diskBytes(): number {
    return bytesOnDisk(this.folder)
  }

  /** Ends it in good order. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.#ended
  }

  /** Ends it as a power cut would end its process. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  /** As {@link kill}, without waiting. */
  killNow(): void {
    this.#child.kill('SIGKILL')
  }
}

export interface ServerStart {
  readonly id: string
  readonly port: number
  /** Ports of others. */
  readonly peers: readonly number[]
  readonly folder: string
  readonly durability?: Durability
  /** Words for Node itself, such as for a profile. */
  readonly nodeWords?: readonly string[]
  /** Whether it answers {@link CompiledServer.probe}. */
  readonly isProbed?: boolean
}

/** A folder on the disk that is removed when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-bench-'))
  folders.add(folder)
  return folder
}

/** Removes all that a folder holds, and the folder. */
export function wipe(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
}

/** What a folder takes on the disk, in bytes. */
export function bytesOnDisk(folder: string): number {
  let bytes = 0
  for (const name of readdirSync(folder, { encoding: 'utf8', recursive: true })) {
    const path = join(folder, name)
    // What was there a moment ago may have been removed.
    bytes += 512 * (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0)
  }
  return bytes
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const listeners = await Promise.all(
    Array.from({ length: count }, async () => {
      const listener = createServer()
      await new Promise<void>((resolve) => {
        listener.listen(0, '127.0.0.1', resolve)
      })
      return listener
    }),
  )
  const ports = listeners.map((listener) => {
    const address = listener.address()
    if (address === null || typeof address === 'string') throw new Error('a listener has no port')
    return address.port
  })
  await Promise.all(
    listeners.map(
      (listener) =>
        new Promise((resolve) => {
          listener.close(resolve)
        }),
    ),
  )
  return ports
}

let compiledFolder: string | undefined

/** Compiles the sources where that has not been done. @returns the folder that holds `dist`. */
export function compiled(): string {
  if (compiledFolder !== undefined) return compiledFolder
  const repository = fileURLToPath(new URL('../..', import.meta.url))
  const folder = temporaryFolder()
  const compiler = join(repository, 'node_modules/typescript/bin/tsc')
  const words = ['-p', join(repository, 'tsconfig.build.json'), '--outDir', join(folder, 'dist')]
  // What would take most of the time and changes nothing of the code.
  words.push('--noCheck', '--declaration', 'false', '--sourceMap', 'false')
  execFileSync(process.execPath, [compiler, ...words], { stdio: 'inherit' })
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}\n')
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'))
  compiledFolder = folder
  return folder
}

/** What is set for the user's own servers has no business in these. */
function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('TIDINGS_') && name !== 'NODE_OPTIONS',
  )
  return Object.fromEntries(kept)
}

const running = new Set<CompiledServer>()
const folders = new Set<string>()

process.once('exit', () => {
  for (const server of running) server.killNow()
  for (const folder of folders) wipe(folder)
})
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  // Not `once`: a second signal would end the process while it cleans up.
  process.on(signal, () => process.exit(code))
}
