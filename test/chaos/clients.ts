import { CuttingProxy } from '../durability/cutting-proxy.ts'
import { Random } from '../durability/random.ts'
import { LibraryMessenger } from './library-messenger.ts'
import { LibraryWatcher } from './library-watcher.ts'
import { RawMessenger } from './raw-messenger.ts'
import { RawWatcher } from './raw-watcher.ts'
import type { Recorder } from './recorder.ts'
import { Session, type Messenger, type SessionObserver } from './session.ts'
import { Switchboard } from './switchboard.ts'
import { WatchRecord, type Watcher } from './watcher.ts'

/** A session, and the choices that it makes. */
export interface Actor {
  readonly session: Session
  readonly random: Random
}

/**
 * All clients of a run: sessions over bare sockets and sessions of the library, watches of both, and two sessions with
 * duties of their own.
 *
 * Each makes choices of its own: how fast the others are must not decide what one asks.
 */
export class Clients {
  readonly actors: readonly Actor[]
  /** Writes long values. */
  readonly ballast: Session
  /** Writes what comes last in a round. */
  readonly ender: Session
  readonly watchers: readonly Watcher[]
  readonly switchboard: Switchboard
  /** Before each server, for clients of the library. */
  readonly libraryProxies: ReadonlyMap<string, CuttingProxy>

  private constructor(options: ClientsOptions, libraryProxies: ReadonlyMap<string, CuttingProxy>) {
    const { ports, seed, recorder, observer, complain, dropsCuts } = options
    const randomOf = (index: number): Random => new Random(seed * 10_000 + index)
    this.libraryProxies = libraryProxies
    this.switchboard = new Switchboard(ports, lanes)
    const session = (name: string, messenger: Messenger): Session =>
      new Session({ name, messenger, recorder, observer })
    const raw = (name: string, index: number): Session =>
      session(
        name,
        new RawMessenger({
          switchboard: this.switchboard,
          session: index,
          requestPrefix: `chaos ${seed} `,
          random: randomOf(index),
          complain,
          dropsItsCut: dropsCuts,
        }),
      )
    const library = (name: string, index: number): Session =>
      session(
        name,
        new LibraryMessenger({
          ports: [...libraryProxies.values()].map(({ port }) => port),
          session: name,
          random: randomOf(index),
          complain,
          dropsItsCut: dropsCuts,
        }),
      )
    this.actors = [
      ...Array.from({ length: options.rawSessions }, (_, index) => ({
        session: raw(`r${index + 1}`, index),
        random: randomOf(1_000 + index),
      })),
      ...Array.from({ length: librarySessions }, (_, index) => ({
        session: library(`l${index + 1}`, 2_000 + index),
        random: randomOf(3_000 + index),
      })),
    ]
    this.ballast = raw('ballast', 4_000)
    this.ender = raw('end', 4_001)

    const all = [...ports.values()]
    const record = (name: string, prefix: string): WatchRecord =>
      new WatchRecord({ name, prefix, recorder, complain })
    const rawWatchers = ['hot/', 'chain/', ''].map((prefix, index) => {
      const random = randomOf(5_000 + index)
      return new RawWatcher({ record: record(`w${index + 1}`, prefix), ports: all, random })
    })
    this.watchers = [...rawWatchers, new LibraryWatcher({ record: record('v1', 'chain/'), ports: all })]
  }

  static async start(options: ClientsOptions): Promise<Clients> {
    const proxies = await Promise.all(
      [...options.ports].map(async ([id, port]) => [id, await CuttingProxy.start(port)] as const),
    )
    return new Clients(options, new Map(proxies))
  }

  async close(): Promise<void> {
    await Promise.all(this.watchers.map((watcher) => watcher.close()))
    const sessions = [...this.actors.map(({ session }) => session), this.ballast, this.ender]
    await Promise.all(sessions.map((session) => session.close()))
    await this.switchboard.close()
    for (const proxy of this.libraryProxies.values()) proxy.close()
  }
}

export interface ClientsOptions {
  /** Where they find each server. */
  readonly ports: ReadonlyMap<string, number>
  readonly seed: number
  readonly rawSessions: number
  readonly recorder: Recorder
  readonly observer: SessionObserver
  /** A client was told what none should be. */
  readonly complain: (complaint: string) => void
  /** Sessions forget what they have seen when they go to another server. */
  readonly dropsCuts: boolean
}

const librarySessions = 6
/** Connections to one server that raw sessions share. */
const lanes = 3
