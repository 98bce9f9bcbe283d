/** How a store is asked over TCP, in as much as a load has to know. */
export interface Dialect {
  /** What is sent first on each connection. */
  readonly greeting: string
  /** `\n` that the answer to the greeting has. */
  readonly greetingEnds: number
  readonly write: (key: string, value: string) => string
  readonly read: (key: string) => string
  /** `\n` that an answer has. */
  readonly writeEnds: number
  readonly readEnds: number
  /** Is in a piece of what comes only where something went wrong. */
  readonly error: string
}

export type DialectName = keyof typeof dialects

const tidings: Dialect = {
  greeting: '',
  greetingEnds: 0,
  write: (key, value) =>
    `{"jsonrpc":"2.0","id":1,"method":"write","params":{"key":"${key}","value":"${value}"}}\n`,
  read: (key) => `{"jsonrpc":"2.0","id":1,"method":"read","params":{"key":"${key}"}}\n`,
  writeEnds: 1,
  readEnds: 1,
  error: '"error":{',
}

export const dialects = {
  tidings,
  redis: {
    greeting: '',
    greetingEnds: 0,
    write: (key, value) => `*3\r\n$3\r\nSET\r\n${bulk(key)}${bulk(value)}`,
    read: (key) => `*2\r\n$3\r\nGET\r\n${bulk(key)}`,
    writeEnds: 1,
    readEnds: 2,
    error: '-ERR',
  },
} as const satisfies { readonly [name: string]: Dialect }

/** A string as the Redis protocol has it; ours are ASCII. */
function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`
}
