import { SharedConnection } from './shared-connection.ts'

/**
 * The connections that raw sessions share: a few to each server, each made when it is wanted and again after it has
 * broken. A server that has just not answered is left alone for a moment, so that sessions do not queue up in front of it.
 */
export class Switchboard {
  readonly #ports: ReadonlyMap<string, number>
  readonly #lanes: number
  readonly #connections = new Map<string, Promise<SharedConnection | undefined>>()
  readonly #muteUntilMs = new Map<string, number>()
  #isClosed = false

  /** @param lanes how many connections to one server. */
  constructor(ports: ReadonlyMap<string, number>, lanes: number) {
    this.#ports = ports
    this.#lanes = lanes
  }

  get servers(): readonly string[] {
    return [...this.#ports.keys()]
  }

  /** @returns undefined where the server cannot be reached now. */
  async connection(server: string, session: number): Promise<SharedConnection | undefined> {
    if (this.#isClosed || (this.#muteUntilMs.get(server) ?? 0) > performance.now()) return undefined
    const lane = `${server}/${session % this.#lanes}`
    const known = this.#connections.get(lane)
    if (known !== undefined) return await known
    const port = this.#ports.get(server)
    if (port === undefined) throw new Error(`there is no server ${server}`)
    const made = SharedConnection.connect(port, { closed: () => this.#connections.delete(lane) })
    this.#connections.set(lane, made)
    const connection = await made
    if (connection === undefined) {
      this.#connections.delete(lane)
      this.mute(server)
    }
    return connection
  }

  /** The server has not answered: for a moment nobody asks it. */
  mute(server: string): void {
    this.#muteUntilMs.set(server, performance.now() + muteMs)
  }

  /** Breaks all connections to a server between what was asked and its answers. */
  async loseAnswers(server: string): Promise<void> {
    for (const [lane, made] of this.#connections) {
      if (lane.startsWith(`${server}/`)) (await made)?.loseAnswers()
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const made of this.#connections.values()) (await made)?.close()
  }
}

const muteMs = 200
