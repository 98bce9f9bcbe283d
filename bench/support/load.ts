import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { endedWithThis } from './children.ts'
import type { DialectName } from './dialects.ts'
import type { Address } from './sockets.ts'

/** What is asked, and how much of it at once. */
export interface LoadPlan {
  readonly dialect: DialectName
  /** Connections go to each in turn. */
  readonly addresses: readonly Address[]
  readonly connections: number
  /** Requests in flight on each connection. */
  readonly inFlight: number
  /** How many of a thousand requests are writes; the others are reads. */
  readonly writesPerThousand: number
  /** That many keys, asked for in turn. */
  readonly keys: number
  readonly valueBytes: number
  /** Until the code of both sides has been compiled by its engine, and caches have filled. */
  readonly warmMs: number
  readonly measureMs: number
  /** To end when so many are answered, and not by the time; each connection has a share of them. */
  readonly count?: number
}

/** Who is told of what is written, and how much of it at once. */
export interface WatchPlan {
  readonly dialect: 'tidings' | 'redis'
  readonly writer: Address
  /** Where the watchers are. */
  readonly watched: Address
  readonly watchers: number
  /** Writes that not all watchers have been told of. */
  readonly inFlight: number
  readonly valueBytes: number
  readonly warmMs: number
  readonly measureMs: number
}

export interface LoadReport {
  /** Answers, or pushes, that came while it was measured. */
  readonly count: number
  readonly seconds: number
  /** What the load itself took of the processor meanwhile. */
  readonly loadProcessorSeconds: number
  /** From the moment in which a request was handed to the system until its answer, or its push, was read. */
  readonly p50Ms: number
  readonly p99Ms: number
}

/** When the measured part begins and ends, so that whoever looks at the servers looks at the same. */
export interface LoadMoments {
  readonly begins: () => void
  readonly ends: () => void
}

const unnoticed: LoadMoments = { begins: () => {}, ends: () => {} }

export type LoadMessage =
  | { readonly kind: 'begins' }
  | { readonly kind: 'ends' }
  | { readonly kind: 'report'; readonly report: LoadReport }
  | { readonly kind: 'failed'; readonly message: string }

const programs = { requests: 'load-process.ts', watches: 'watch-load-process.ts' } as const

interface Plans {
  readonly requests: LoadPlan
  readonly watches: WatchPlan
}

/** The process that asks, or watches: one of its own, that counts what comes and parses none of it. */
export class Load<Kind extends keyof Plans> {
  readonly #child: ChildProcess

  constructor(kind: Kind) {
    this.#child = endedWithThis(fork(new URL(programs[kind], import.meta.url), { stdio: 'inherit' }))
  }

  /** @throws Error, as a rejection, where an answer is an error or a connection breaks. */
  run(plan: Plans[Kind], moments: LoadMoments = unnoticed): Promise<LoadReport> {
    return new Promise((resolve, reject) => {
      const listen = (message: LoadMessage): void => {
        switch (message.kind) {
          case 'begins':
            moments.begins()
            return
          case 'ends':
            moments.ends()
            return
          case 'report':
            this.#child.off('message', listen)
            resolve(message.report)
            return
          case 'failed':
            this.#child.off('message', listen)
            reject(new Error(message.message))
        }
      }
      this.#child.on('message', listen)
      this.#child.send(plan)
    })
  }

  async stop(): Promise<void> {
    this.#child.disconnect()
    await once(this.#child, 'exit')
  }
}
