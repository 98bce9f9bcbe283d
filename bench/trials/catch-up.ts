import { join } from 'node:path'
import { CompiledServer, freePorts, temporaryFolder, wipe } from '../support/compiled-server.ts'
import { ControlClient, type Status } from '../support/control-client.ts'
import { fill } from '../support/fill.ts'
import { leftAlone, settleMs } from '../support/left-alone.ts'
import { PauseMeter } from '../support/pause-meter.ts'
import { pause } from '../support/sockets.ts'
import type { Figures, Requester, Trial, TrialOptions, Underway } from '../trial.ts'

/**
 * How long a server takes to catch up, and what the clients of the others notice of it. Three servers, each with its disk
 * (`sync`); no load but the reads that measure pauses. As much is measured while the third starts and lacks nothing, which
 * tells what of a pause comes from the machine and from a start alone.
 */
interface CatchUp {
  readonly name: string
  /** What the third lacks: so many writes to so many keys. */
  readonly amount: (options: TrialOptions) => Amount
  /** Whether they are written while it is away; otherwise it has lost its folder. */
  readonly isAway: boolean
}

interface Amount {
  readonly count: number
  readonly keys: number
}

const kinds: readonly CatchUp[] = [
  {
    name: 'catch-up by the log',
    amount: ({ isQuick }) => (isQuick ? { count: 20_000, keys: 20_000 } : { count: 100_000, keys: 100_000 }),
    isAway: true,
  },
  {
    name: 'catch-up beyond the log',
    amount: ({ isQuick }) =>
      isQuick ? { count: 220_000, keys: 20_000 } : { count: 1_000_000, keys: 100_000 },
    isAway: true,
  },
  {
    name: 'catch-up of an empty folder',
    amount: ({ isQuick }) => {
      const keys = isQuick ? 220_000 : 1_000_000
      return { count: keys, keys }
    },
    isAway: false,
  },
]

export const catchUps: readonly Trial[] = kinds.map(trialOf)

function trialOf({ name, amount, isAway }: CatchUp): Trial {
  return {
    name,
    figures: [
      { name: 'caught up after s', digits: 2 },
      { name: 'a second', digits: 0 },
      { name: 'longest pause elsewhere ms', digits: 1 },
      { name: "of it the server's", digits: 1 },
      { name: 'at a start alone', digits: 1 },
      { name: 'longest pause there ms', digits: 1 },
      { name: 'resident MiB there', digits: 0 },
    ],
    subjects: (options) => {
      const { count, keys } = amount(options)
      const [counted, among] = [count, keys].map((number) => number.toLocaleString('en'))
      return [
        {
          name: isAway ? `${counted} writes to ${among} keys` : `${among} keys`,
          start: async () => underway(await Trio.start(options.load), { count, keys }, isAway),
        },
      ]
    },
  }
}

async function underway(trio: Trio, amount: Amount, isAway: boolean): Promise<Underway> {
  let third = await trio.third()
  await trio.write(isAway ? { count: 2_000, keys: 2_000 } : amount)
  return {
    measure: async () => {
      await third.kill()
      if (isAway) await trio.write(amount)
      else wipe(trio.thirdFolder)
      const lacking = await trio.starting()
      await pause(settleMs)
      await lacking.third.kill()
      const lackingNothing = await trio.starting()
      third = lackingNothing.third
      return {
        ...lacking.figures,
        'a second': amount.count / (lacking.figures['caught up after s'] ?? Number.NaN),
        'at a start alone': lackingNothing.figures['longest pause elsewhere ms'] ?? Number.NaN,
      }
    },
    stop: () => trio.end(third),
  }
}

class Trio {
  readonly one: CompiledServer
  readonly two: CompiledServer
  readonly thirdFolder: string
  readonly #ports: readonly number[]
  readonly #folder: string
  readonly #load: Requester
  readonly #meter = new PauseMeter()

  private constructor(ports: readonly number[], load: Requester) {
    this.#ports = ports
    this.#folder = temporaryFolder()
    this.#load = load
    this.one = this.#server(0)
    this.two = this.#server(1)
    this.thirdFolder = join(this.#folder, '3')
  }

  static async start(load: Requester): Promise<Trio> {
    const trio = new Trio(await freePorts(3), load)
    await Promise.all([trio.one.listening(), trio.two.listening()])
    await trio.#meter.open(trio.one)
    await trio.#meter.open(trio.two)
    return trio
  }

  async third(): Promise<CompiledServer> {
    const third = this.#server(2)
    await third.listening()
    await coversAll(third, this.one)
    return third
  }

  /** Writes at server 1, until server 2 has all of it and both have been left alone for a while. */
  async write(amount: Amount): Promise<void> {
    await fill(this.#load, { address: this.one.address, ...amount })
    await coversAll(this.two, this.one)
    await leftAlone([this.one.pid, this.two.pid])
  }

  /** Starts server 3 and measures until it has all that server 1 has, and then a while more. It is left running. */
  async starting(): Promise<{ readonly third: CompiledServer; readonly figures: Figures }> {
    await this.#meter.begin()
    const third = this.#server(2)
    const memory = new MostMemory(third)
    await third.listening()
    const beganMs = performance.now()
    await this.#meter.open(third)
    await coversAll(third, this.one)
    const caughtUpMs = performance.now() - beganMs
    // Where it lacks nothing there is nothing to wait for, but the pauses of its start are to be seen.
    await pause(settleMs)
    const pauses = await this.#meter.report()
    await this.#meter.close(third)
    const elsewhere = pauses.filter(({ name }) => name !== third.id)
    const there = pauses.filter(({ name }) => name === third.id)
    return {
      third,
      figures: {
        'caught up after s': caughtUpMs / 1_000,
        'longest pause elsewhere ms': Math.max(...elsewhere.map(({ maxMs }) => maxMs)),
        "of it the server's": Math.max(...elsewhere.map(({ serverMaxMs }) => serverMaxMs)),
        'longest pause there ms': Math.max(...there.map(({ maxMs }) => maxMs)),
        'resident MiB there': memory.end() / 2 ** 20,
      },
    }
  }

  async end(third: CompiledServer): Promise<void> {
    await this.#meter.stop()
    await Promise.all([this.one, this.two, third].map((server) => server.kill()))
    wipe(this.#folder)
  }

  #server(index: number): CompiledServer {
    const id = `${index + 1}`
    const peers = this.#ports.filter((_, other) => other !== index)
    return new CompiledServer({ id, port: this.#ports[index] ?? 0, peers, folder: join(this.#folder, id) })
  }
}

/** Looks now and then how much a server has in RAM, and keeps the most, in bytes. */
class MostMemory {
  readonly #server: CompiledServer
  readonly #timer: NodeJS.Timeout
  #most = 0

  constructor(server: CompiledServer) {
    this.#server = server
    this.#timer = setInterval(() => this.#look(), 50)
  }

  end(): number {
    this.#look()
    clearInterval(this.#timer)
    return this.#most
  }

  #look(): void {
    this.#most = Math.max(this.#most, this.#server.memory().residentBytes)
  }
}

/** Waits until a server has applied all that another has. */
async function coversAll(server: CompiledServer, other: CompiledServer): Promise<void> {
  const asked = await ControlClient.connect(server.address)
  const shown = await ControlClient.connect(other.address)
  const target = (await shown.status()).applied
  while (!covers(await asked.status(), target)) await pause(10)
  asked.close()
  shown.close()
}

function covers({ applied }: Status, target: Status['applied']): boolean {
  return Object.entries(target).every(([origin, timestamp]) => (applied[origin] ?? 0) >= timestamp)
}
