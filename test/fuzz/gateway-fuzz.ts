import { Random } from '../durability/random.ts'
import {
  checkClientRequest,
  clientMethods,
  isReplicaCall,
  type ClientMethod,
} from '../../src/protocol/client-messages.ts'
import { checkClientNotification, checkClientResult } from '../../src/protocol/client-results.ts'
import type { ProtocolError } from '../../src/protocol/errors.ts'
import { encodeError, parseRpcLine, type RpcMessage, type Sender } from '../../src/protocol/json-rpc.ts'
import { lineBytesMax, peerLineBytesMax, replyBytesMax } from '../../src/protocol/limits.ts'
import { LineDecoder } from '../../src/protocol/line-decoder.ts'
import {
  checkChallengeResult,
  checkPeerHelloResult,
  checkPeerMessage,
  type PeerCall,
} from '../../src/protocol/peer-messages.ts'
import { answerSamples, resultText, type AnswerSample } from './answer-samples.ts'
import { clientCallText, peerCallText } from './call-text.ts'
import { oneOf } from './choice.ts'
import { FrameSource } from './frame-source.ts'
import { chunksOf, joined } from './framing.ts'
import { treeOf } from './json-tree.ts'
import { lineOfLength } from './long-lines.ts'
import { clientSample, peerSample } from './message-samples.ts'
import { checkAnswerLine, checkError } from './oracles.ts'
import { peers, ReplicaUnderFuzz } from './replica-under-fuzz.ts'

/** What has become of the frames. */
export interface FuzzReport {
  readonly frames: number
  /** Of messages, as a line may hold many or none: those let in, and those refused, by their codes. */
  readonly accepted: ReadonlyMap<string, number>
  readonly refused: ReadonlyMap<number, number>
  /** Updates that a replica has applied. */
  readonly applied: number
  /** What else the replicas have met, see {@link ReplicaUnderFuzz}. */
  readonly reached: ReadonlyMap<string, number>
}

/**
 * Feeds the gateway with lines that nearly make sense, and a real replica with what the gateway lets in.
 *
 * What has to hold, at every frame:
 * - nothing is thrown but ProtocolErrors of documented codes, and each can be told in a line;
 * - however a stream is cut into chunks, it holds the same lines;
 * - what is let in can be sent again, is let in again, and is the same;
 * - all that {@link ReplicaUnderFuzz} looks at.
 *
 * @throws Error for whatever does not, naming the frame; the same seed meets it again after as many frames.
 */
export class GatewayFuzz {
  readonly #random: Random
  readonly #source: FrameSource
  readonly #reached = new Map<string, number>()
  #server = new ReplicaUnderFuzz({ reached: this.#reached })
  #frames = 0
  #framesOfServer = 0
  readonly #accepted = new Map<string, number>()
  readonly #refused = new Map<number, number>()
  #applied = 0
  /** What the last answer was an answer to. */
  #asked: ClientMethod | undefined

  constructor(options: { readonly seed: number }) {
    this.#random = new Random(options.seed)
    this.#source = new FrameSource(this.#random)
  }

  get report(): FuzzReport {
    return {
      frames: this.#frames,
      accepted: this.#accepted,
      refused: this.#refused,
      applied: this.#applied,
      reached: this.#reached,
    }
  }

  /** At least so many frames more. */
  run(frames: number): void {
    const end = this.#frames + frames
    while (this.#frames < end) {
      const random = this.#random
      const sender = random.chance(0.45) ? 'client' : random.chance(0.75) ? 'peer' : 'server'
      const lines = Array.from({ length: random.between(1, 8) }, () => this.#line(sender))
      this.#frames += lines.length
      this.#framesOfServer += lines.length
      this.#receive(sender, chunksOf(joined(lines, random), random))
      this.#liveOn()
    }
    this.#server.checkWhole()
  }

  /** What happens between frames: time passes, clients and links come and go, and now and then the server too. */
  #liveOn(): void {
    const random = this.#random
    const server = this.#server
    if (random.chance(0.3)) server.pass(random.between(0, 300))
    if (random.chance(0.02)) {
      server.tell(
        oneOf(['clientStalled', 'clientDrained', 'clientGone'] as const, random),
        random.between(1, 4),
      )
    }
    if (random.chance(0.01)) server.relink(oneOf(peers, random))
    if (this.#framesOfServer < framesPerServer) return
    server.checkWhole()
    this.#server = new ReplicaUnderFuzz({ reached: this.#reached })
    this.#framesOfServer = 0
  }

  #line(sender: Sender): Buffer {
    const random = this.#random
    const { surroundings } = this.#server
    if (random.chance(sender === 'server' ? 0.000_001 : 0.000_02))
      return lineOfLength(lengthsMax[sender] + random.between(-1, 1), random)
    switch (sender) {
      case 'client':
        return this.#source.request(() => clientSample(surroundings, random))
      case 'peer':
        return this.#source.request(() => peerSample(surroundings, random))
      case 'server': {
        const { method, message } = this.#answer()
        this.#asked = method
        return this.#source.garble(treeOf(message))
      }
    }
  }

  /** Something that a server has told a client of late, or told another server, or could have. */
  #answer(): AnswerSample {
    const told = this.#server.answers
    if (told.length === 0 || this.#random.chance(0.5)) return oneOf(answerSamples, this.#random)
    const { method, line } = oneOf(told, this.#random)
    return { method, message: JSON.parse(line) }
  }

  #receive(sender: Sender, chunks: readonly Buffer[]): void {
    const { lines, error } = decoded(chunks, lengthsMax[sender])
    if (chunks.length > 1) {
      const whole = decoded([Buffer.concat(chunks)], lengthsMax[sender])
      const isSame =
        whole.lines.join('\n') === lines.join('\n') &&
        whole.lines.length === lines.length &&
        whole.error?.message === error?.message
      if (!isSame) throw new Error(`cut into chunks, these are other lines: ${hexOf(chunks)}`)
    }
    for (const line of lines) {
      try {
        this.#receiveLine(sender, line)
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause)
        throw new Error(`from a ${sender}, ${JSON.stringify(line.slice(0, 4_000))}: ${reason}`, { cause })
      }
    }
    if (error !== undefined) this.#refuse(error)
  }

  #receiveLine(sender: Sender, line: string): void {
    let messages: readonly RpcMessage[]
    try {
      const parsed = parseRpcLine(line, { sender })
      messages = parsed.isBatch ? parsed.messages : [parsed.message]
    } catch (error) {
      this.#refuse(error)
      return
    }
    for (const message of messages) {
      try {
        this.#take(sender, message)
      } catch (error) {
        this.#refuse(error)
      }
    }
  }

  #take(sender: Sender, message: RpcMessage): void {
    if (message.kind === 'invalid') throw message.error
    if (sender === 'server') this.#takeAnswer(message)
    else if (message.kind === 'response') this.#count('response')
    else if (sender === 'client') this.#takeRequest(message.method, message.params)
    else this.#takePeerMessage(message.method, message.params)
  }

  #takeRequest(method: string, params: unknown): void {
    const call = checkClientRequest(method, params)
    this.#count(method)
    const text = clientCallText(call)
    const again = messageOf(text, 'client')
    if (clientCallText(checkClientRequest(again.method, again.params)) !== text) {
      throw new Error(`it is another request when it is sent again: ${text}`)
    }
    if (isReplicaCall(call)) {
      this.#applied += this.#server.request(call, this.#random.between(1, 4)).persist.length
    }
  }

  #takePeerMessage(method: string, params: unknown): void {
    const call = checkPeerMessage(method, params)
    this.#count(method)
    const text = peerCallText(call)
    const calls = text
      .split('\n')
      .slice(0, -1)
      .map((line): PeerCall => {
        const again = messageOf(line, 'server')
        return checkPeerMessage(again.method, again.params)
      })
    if (calls.map(peerCallText).join('') !== text) {
      throw new Error(`it is another message when it is sent again: ${text.slice(0, 1_000)}`)
    }
    if (call.kind === 'hello' || call.kind === 'ping' || call.kind === 'members') return
    this.#applied += this.#server.message(oneOf(peers, this.#random), call).persist.length
  }

  /** What a server says, as a client and as another server read it. */
  #takeAnswer(message: RpcMessage): void {
    if (message.kind !== 'response') {
      if (message.kind === 'invalid') throw message.error
      if (checkClientNotification(message.method, message.params) !== undefined) this.#count(message.method)
      return
    }
    if ('error' in message.outcome) {
      this.#count('error')
      return
    }
    const { result } = message.outcome
    const method =
      this.#asked !== undefined && this.#random.chance(0.8) ? this.#asked : oneOf(readers, this.#random)
    if (method === 'peer.hello') checkPeerHelloResult(result)
    else if (method === 'peer.challenge') checkChallengeResult(result)
    else {
      const text = resultText(checkClientResult(method, result))
      if (resultText(checkClientResult(method, JSON.parse(text))) !== text) {
        throw new Error(`it is another answer to ${method} when it is read again: ${text.slice(0, 1_000)}`)
      }
    }
    this.#count(`answer to ${method}`)
  }

  #refuse(thrown: unknown): void {
    const error = checkError(thrown)
    this.#refused.set(error.code, (this.#refused.get(error.code) ?? 0) + 1)
    checkAnswerLine(encodeError(error))
  }

  #count(what: string): void {
    this.#accepted.set(what, (this.#accepted.get(what) ?? 0) + 1)
  }
}

const lengthsMax: Readonly<Record<Sender, number>> = {
  client: lineBytesMax,
  peer: peerLineBytesMax,
  server: replyBytesMax,
}

const readers: readonly (ClientMethod | 'peer.hello' | 'peer.challenge')[] = [
  ...(Object.keys(clientMethods) as ClientMethod[]),
  'peer.hello',
  'peer.challenge',
]

/** The lines of a stream, and what came after the last that could be read. */
function decoded(
  chunks: readonly Buffer[],
  bytesMax: number,
): { readonly lines: readonly string[]; readonly error: ProtocolError | undefined } {
  const decoder = new LineDecoder({ lineBytesMax: bytesMax })
  const lines: string[] = []
  try {
    for (const chunk of chunks) for (const { text } of decoder.push(chunk)) lines.push(text)
    const last = decoder.end()
    if (last !== undefined) lines.push(last.text)
    return { lines, error: undefined }
  } catch (error) {
    return { lines, error: checkError(error) }
  }
}

function messageOf(line: string, sender: Sender): { readonly method: string; readonly params: unknown } {
  const parsed = parseRpcLine(line.trimEnd(), { sender })
  if (parsed.isBatch || !('method' in parsed.message))
    throw new Error(`it is no message when sent again: ${line}`)
  return parsed.message
}

function hexOf(chunks: readonly Buffer[]): string {
  return chunks.map((chunk) => chunk.toString('hex').slice(0, 2_000)).join(' ')
}

/** After so many a server is replaced by a new one, so that what it keeps for good does not grow without end. */
const framesPerServer = 4_000
