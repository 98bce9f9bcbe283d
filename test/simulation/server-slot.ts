import { SimulatedDisk } from './simulated-disk.ts'
import { SimulatedProcess, type Durability } from './simulated-process.ts'
import type { World } from './world.ts'
import type { ServerId } from '../../src/replica/version.ts'

/**
 * One server over all runs of its process: its id, its port, its disk, and what an operator does to them.
 *
 * Every start is a new process with a new origin, on whatever the disk holds by then.
 */
export class ServerSlot {
  readonly id: ServerId
  readonly port: number
  readonly durability: Durability
  readonly #world: World
  readonly #peers: () => readonly number[]
  #disk: SimulatedDisk | undefined
  #process: SimulatedProcess | undefined
  #backup: SimulatedDisk | undefined
  #twin: SimulatedProcess | undefined
  #starts = 0
  /** Whether a twin has run, so that who was refused may be in its right. */
  #hadTwin = false

  constructor(
    world: World,
    options: {
      readonly id: ServerId
      readonly port: number
      readonly durability: Durability
      /** Ports that its operator knows. */
      readonly peers: () => readonly number[]
    },
  ) {
    this.#world = world
    this.id = options.id
    this.port = options.port
    this.durability = options.durability
    this.#peers = options.peers
    this.#disk = this.#newDisk()
    if (this.#disk !== undefined) world.idleDisks.set(this.#disk, this.id)
  }

  /** The process that runs; undefined while there is none. */
  get process(): SimulatedProcess | undefined {
    return this.#process
  }

  get twin(): SimulatedProcess | undefined {
    return this.#twin
  }

  get disk(): SimulatedDisk | undefined {
    return this.#disk
  }

  start(): void {
    if (this.#process !== undefined) return
    if (this.#disk !== undefined) this.#world.idleDisks.delete(this.#disk)
    this.#world.trace(() => `server ${this.id} starts`)
    const process = this.#run({ port: this.port, disk: this.#disk }, () => this.#gone(process))
    this.#process = process
    this.#world.processes.add(process)
  }

  /** Ends the process, if it runs. */
  crash(options: { readonly keptCommits: number; readonly isMachineGone: boolean }): void {
    const process = this.#process
    if (process === undefined) return
    this.#world.trace(
      () => `server ${this.id} crashes, keeping ${options.keptCommits} of ${this.#disk?.pending ?? 0}`,
    )
    this.#noteLosses(process, options.keptCommits)
    this.#world.destroying(() => {
      process.crash(options)
      this.#gone(process)
    })
  }

  /** Tells the process to stop. @param ended is called when it has, unless something else has ended it before. */
  stop(ended: () => void): void {
    const process = this.#process
    if (process === undefined) return
    this.#world.trace(() => `server ${this.id} is told to stop`)
    this.#world.time.settleSoon()
    void process.stop().then(() => {
      if (this.#process !== process) return
      const pending = process.disk?.pending ?? 0
      if (pending > 0)
        this.#world.violations.add(
          'R6',
          `${process.origin} has stopped, and ${pending} commits are under way`,
        )
      this.#world.sometimes('a server stopped in order')
      this.crash({ keptCommits: 0, isMachineGone: false })
      ended()
    })
  }

  /** Its disk is gone, and it gets an empty one. */
  wipe(): void {
    this.crash({ keptCommits: 0, isMachineGone: false })
    this.#replaceDisk(this.#newDisk())
  }

  backUp(): void {
    if (this.#disk !== undefined) this.#backup = this.#world.copyDisk(this.#disk)
  }

  /** The last backup takes the place of the disk. @returns whether there is one. */
  restore(): boolean {
    if (this.#backup === undefined) return false
    this.crash({ keptCommits: 0, isMachineGone: false })
    this.#replaceDisk(this.#world.copyDisk(this.#backup))
    return true
  }

  /** A copy of the disk is started beside the original. */
  startTwin(port: number): void {
    if (this.#twin !== undefined || this.#disk === undefined) return
    this.#hadTwin = true
    const disk = this.#world.copyDisk(this.#disk)
    const twin = this.#run({ port, disk }, () => this.stopTwin())
    this.#world.trace(() => `a twin of server ${this.id} starts`)
    this.#twin = twin
    this.#world.processes.add(twin)
  }

  /** The twin ends, and its disk is thrown away. */
  stopTwin(): void {
    const twin = this.#twin
    if (twin === undefined) return
    this.#twin = undefined
    this.#world.trace(() => `the twin of server ${this.id} ends`)
    this.#world.destroying(() => {
      twin.crash({ keptCommits: 0, isMachineGone: false })
      this.#world.processes.delete(twin)
    })
  }

  /** A process of this server was refused because its id is taken: it stops. @returns whether it is one of this server's. */
  refused(process: SimulatedProcess): boolean {
    if (process === this.#twin) {
      this.stopTwin()
      return true
    }
    if (process !== this.#process) return false
    if (!this.#hadTwin) {
      this.#world.violations.add(
        'R7',
        `${process.origin} was refused as a second server ${this.id}, and there is no other`,
      )
    }
    this.crash({ keptCommits: this.#disk?.pending ?? 0, isMachineGone: false })
    return true
  }

  #run(
    where: { readonly port: number; readonly disk: SimulatedDisk | undefined },
    diskFailed: () => void,
  ): SimulatedProcess {
    return new SimulatedProcess(this.#world, {
      id: this.id,
      incarnation: `${this.#starts++}${this.#world.random.between(100, 999)}`,
      ...where,
      durability: this.durability,
      peers: this.#peers().filter((peer) => peer !== where.port),
      diskFailed,
    })
  }

  #gone(process: SimulatedProcess): void {
    if (this.#process !== process) return
    this.#process = undefined
    this.#world.processes.delete(process)
    if (this.#disk !== undefined) this.#world.idleDisks.set(this.#disk, this.id)
  }

  #replaceDisk(disk: SimulatedDisk | undefined): void {
    this.#world.destroying(() => {
      if (this.#disk !== undefined) this.#world.idleDisks.delete(this.#disk)
      this.#disk = disk
      if (disk !== undefined) this.#world.idleDisks.set(disk, this.id)
    })
  }

  #newDisk(): SimulatedDisk | undefined {
    const { time, random, workload } = this.#world
    if (this.durability === 'memory') return undefined
    return new SimulatedDisk({ time, random, observer: this.#world, commitMs: workload.commitMs })
  }

  #noteLosses(process: SimulatedProcess, keptCommits: number): void {
    const pending = process.disk?.pending ?? 0
    if (keptCommits < pending) {
      this.#world.sometimes(
        this.durability === 'async'
          ? 'an asynchronous disk lost a suffix'
          : 'a power loss took commits along',
      )
    } else if (pending > 0) this.#world.sometimes('a start found what no answer had told of')
  }
}
