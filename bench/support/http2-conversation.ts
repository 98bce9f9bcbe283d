import type { Asked, Conversation } from './dialects.ts'

/**
 * As much of HTTP/2 (RFC 9113) and gRPC as it takes to ask etcd for one thing after the other: each request is a stream
 * of a HEADERS and a DATA frame that were made before, with the stream's number put in; each answer ends with a frame of
 * HEADERS that ends its stream. A library would take more of the processors than what is measured.
 */
export class Http2Conversation implements Conversation {
  /** Both windows as large as they can be, so that nobody ever waits for one. */
  readonly greeting = Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1'),
    frame({ type: settings, payload: setting(initialWindowSize, windowBytesMax) }),
    frame({ type: windowUpdate, payload: uint32(windowBytesMax - 65_535) }),
  ])
  readonly #requests: readonly Buffer[]
  #nextStream = 1
  #rest: Buffer = Buffer.alloc(0)
  #received = 0
  /** Answers to what the other side asks by itself, to be sent with the next request. */
  #owed: Buffer[] = []

  constructor(requests: readonly Buffer[]) {
    this.#requests = requests
  }

  static speaking(asked: readonly Asked[]): () => Http2Conversation {
    const requests = asked.map((one) => (one.kind === 'write' ? put(one) : serializableRange(one)))
    return () => new Http2Conversation(requests)
  }

  ask(requests: readonly number[]): Buffer {
    const parts = this.#owed
    this.#owed = []
    for (const index of requests) {
      const bytes = Buffer.from(this.#requests[index] as Buffer)
      const dataAt = frameHeadBytes + bytes.readUIntBE(0, 3)
      bytes.writeUInt32BE(this.#nextStream, streamAt)
      bytes.writeUInt32BE(this.#nextStream, dataAt + streamAt)
      this.#nextStream += 2
      parts.push(bytes)
    }
    return Buffer.concat(parts)
  }

  take(chunk: Buffer): number {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let answered = 0
    let at = 0
    while (bytes.length - at >= frameHeadBytes) {
      const length = bytes.readUIntBE(at, 3)
      const end = at + frameHeadBytes + length
      if (end > bytes.length) break
      const type = bytes[at + 3]
      const flags = bytes[at + 4] as number
      if (type === headers && (flags & endStream) !== 0) answered++
      else if (type === settings && (flags & acknowledged) === 0) {
        this.#owed.push(frame({ type: settings, flags: acknowledged, payload: Buffer.alloc(0) }))
      } else if (type === ping && (flags & acknowledged) === 0) {
        const payload = bytes.subarray(at + frameHeadBytes, end)
        this.#owed.push(frame({ type: ping, flags: acknowledged, payload: Buffer.from(payload) }))
      } else if (type === resetStream || type === goAway) {
        throw new Error(`the server has ended a stream, or all: a frame of type ${type}`)
      } else if (type === data) this.#received += length
      at = end
    }
    this.#rest = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at))
    if (this.#received > windowBytesMax / 2) {
      this.#owed.push(frame({ type: windowUpdate, payload: uint32(this.#received) }))
      this.#received = 0
    }
    return answered
  }
}

// ── frames (RFC 9113, sections 4.1 and 6) ────────────────────────────────────────────────────────────────

const data = 0
const headers = 1
const resetStream = 3
const settings = 4
const ping = 6
const goAway = 7
const windowUpdate = 8
const endStream = 1
const acknowledged = 1
const endHeaders = 4
const initialWindowSize = 4
const windowBytesMax = 2 ** 31 - 1
const frameHeadBytes = 9
const streamAt = 5

function frame({
  type,
  flags = 0,
  payload,
}: {
  readonly type: number
  readonly flags?: number
  readonly payload: Buffer
}): Buffer {
  const head = Buffer.alloc(frameHeadBytes)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  return Buffer.concat([head, payload])
}

function uint32(number: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(number)
  return bytes
}

function setting(name: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([0, name]), uint32(value)])
}

// ── requests (gRPC over HTTP/2; etcd's rpc.proto) ────────────────────────────────────────────────────────

function put({ key, value }: Asked): Buffer {
  return request('/etcdserverpb.KV/Put', Buffer.concat([bytesField(1, key), bytesField(2, value)]))
}

/** As the server that is asked has it, whatever the others have: `serializable` is the seventh field. */
function serializableRange({ key }: Asked): Buffer {
  return request('/etcdserverpb.KV/Range', Buffer.concat([bytesField(1, key), Buffer.from([7 << 3, 1])]))
}

function request(path: string, message: Buffer): Buffer {
  const head = Buffer.concat([
    header(':method', 'POST'),
    header(':scheme', 'http'),
    header(':path', path),
    header(':authority', 'localhost'),
    header('content-type', 'application/grpc'),
    header('te', 'trailers'),
  ])
  const body = Buffer.concat([Buffer.from([0]), uint32(message.length), message])
  return Buffer.concat([
    frame({ type: headers, flags: endHeaders, payload: head }),
    frame({ type: data, flags: endStream, payload: body }),
  ])
}

/** A literal that is not to be remembered (RFC 7541, section 6.2.2). Lengths below 127 take one byte. */
function header(name: string, value: string): Buffer {
  return Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name, 'latin1'),
    Buffer.from([value.length]),
    Buffer.from(value, 'latin1'),
  ])
}

/** A field of bytes of a protocol buffer. */
function bytesField(field: number, text: string): Buffer {
  const length: number[] = []
  for (let left = text.length; ; left >>= 7) {
    length.push(left > 0x7f ? (left & 0x7f) | 0x80 : left)
    if (left <= 0x7f) break
  }
  return Buffer.concat([Buffer.from([(field << 3) | 2, ...length]), Buffer.from(text, 'latin1')])
}
