import { Http2Conversation } from './http2-conversation.ts'
import { LineConversation } from './line-conversation.ts'

/** What is asked. */
export interface Asked {
  readonly kind: 'write' | 'read'
  readonly key: string
  readonly value: string
}

/** One connection of a load, in as much as it depends on how a store is asked: bytes out, answers in. */
export interface Conversation {
  /** What is sent before anything is asked. */
  readonly greeting: string | Buffer
  /** The bytes that ask for these, which are asked for from now on. */
  ask(requests: readonly number[]): string | Buffer
  /**
   * Takes what has come.
   *
   * @returns how many requests it has answered.
   * @throws Error where an answer is an error.
   */
  take(chunk: Buffer): number
}

/** What all connections of a load may ask for, put into words before it begins. */
export type Dialect = (asked: readonly Asked[]) => () => Conversation

/** Stands in a request for what is its connection's own. */
const own = '\0'

/** A string as the Redis protocol has it; ours are ASCII. */
function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`
}

/**
 * How each store is asked. Answers are counted by their ends, each `\n` or, where there are frames, each last one of an
 * answer; none is parsed.
 */
export const dialects = {
  tidings: lines({
    write: ({ key, value }) =>
      `{"jsonrpc":"2.0","id":1,"method":"write","params":{"key":"${key}","value":"${value}"}}\n`,
    read: ({ key }) => `{"jsonrpc":"2.0","id":1,"method":"read","params":{"key":"${key}"}}\n`,
    error: '"error":{',
  }),
  /** The Redis protocol: a line for what is stored, two for a value that is read. */
  redis: lines({
    write: ({ key, value }) => `*3\r\n$3\r\nSET\r\n${bulk(key)}${bulk(value)}`,
    read: ({ key }) => `*2\r\n$3\r\nGET\r\n${bulk(key)}`,
    readEnds: 2,
    error: '-',
  }),
  /**
   * NATS, its key-value buckets being a convention over streams: a message to the key's subject, answered with a line for
   * the head of a message and one for what is in it. A last value is asked for directly, and answered with headers. Each
   * connection has its answers sent to a subject of its own, or it would get those of all.
   */
  nats: lines({
    greeting: `CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\nSUB ${own} 1\r\n`,
    write: ({ key, value }) => `PUB $KV.bench.${key} ${own} ${value.length}\r\n${value}\r\n`,
    writeEnds: 2,
    read: ({ key }) => `PUB $JS.API.DIRECT.GET.KV_bench.$KV.bench.${key} ${own} 0\r\n\r\n`,
    readEnds: 8,
    error: '-ERR',
    isAnswerLine: (first) => first !== capitalI && first !== capitalP,
  }),
  /** gRPC: one stream of HTTP/2 for each request. */
  etcd: (asked: readonly Asked[]) => Http2Conversation.speaking(asked),
} as const satisfies { readonly [name: string]: Dialect }

export type DialectName = keyof typeof dialects

/** What begins a line of NATS that answers nothing: `INFO`, `PING`. */
const capitalI = 0x49
const capitalP = 0x50

function lines(words: {
  readonly greeting?: string
  readonly write: (asked: Asked) => string
  readonly read: (asked: Asked) => string
  /** Ends of lines that an answer has, where it is not one. */
  readonly writeEnds?: number
  readonly readEnds?: number
  readonly error: string
  readonly isAnswerLine?: (first: number) => boolean
}): Dialect {
  const { greeting = '', write, read, writeEnds = 1, readEnds = 1, error, isAnswerLine } = words
  return (asked) => {
    const requests = asked.map((one) => {
      const [head = '', tail] = (one.kind === 'write' ? write(one) : read(one)).split(own)
      return { head, tail, ends: one.kind === 'write' ? writeEnds : readEnds }
    })
    let count = 0
    return () => {
      const name = `answers.${++count}`
      return new LineConversation({
        greeting: greeting.replace(own, name),
        name,
        requests,
        error,
        isAnswerLine,
      })
    }
  }
}
