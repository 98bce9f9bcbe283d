import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { makeNonce, proofMatches, proofOf, type Nonces } from '../protocol/authentication.ts'
import {
  encodeNotification,
  encodeReply,
  heldBytes,
  roomOfReply,
  type Room,
  type ShellStatus,
} from '../protocol/client-answers.ts'
import {
  checkClientRequest,
  isReplicaCall,
  type ClientCall,
  type LinkCall,
  type ReplicaCall,
} from '../protocol/client-messages.ts'
import { invalidParams, protocolError, ProtocolError } from '../protocol/errors.ts'
import {
  encodeBatch,
  encodeError,
  encodeResponse,
  parseRpcLine,
  type JsonRpcId,
  type RpcLine,
  type RpcMessage,
} from '../protocol/json-rpc.ts'
import {
  authenticateMs,
  bytesBeforeAuthenticationMax,
  clientOutboxBytesMax,
  lineBytesBeforeAuthenticationMax,
  lineBytesMax,
  peerLineBytesMax,
  outboxesBytesMax,
  peerOutboxBytesMax,
  protocolVersion,
  replyBytesMax,
  requestsBeforeAuthenticationMax,
  requestsInFlightMax,
  shortAnswerLengthMax,
  silentLinkMs,
} from '../protocol/limits.ts'
import type { Line } from '../protocol/line-decoder.ts'
import { checkPeerMessage, type PeerHelloParams } from '../protocol/peer-messages.ts'
import type { ClientId, Input } from '../replica/input.ts'
import type { ClientResult } from '../replica/messages.ts'
import type { Notification } from '../replica/output.ts'
import type { Origin, ServerId } from '../replica/version.ts'
import type { SharedLines } from './broadcasts.ts'
import { Calls } from './calls.ts'
import { Connection, type Outboxes } from './connection.ts'
import type { InputSource } from './input-queue.ts'
import type { IncomingLink, Mesh } from './mesh.ts'
import type { ServerEvent } from './narrator.ts'
import { sliceMs } from './replica-loop.ts'

/** What a session needs of its server. */
export interface SessionHost {
  readonly server: ServerId
  readonly origin: Origin
  readonly secret: string | undefined
  readonly isLab: boolean
  readonly mesh: Mesh
  /** @param bytes of the text in which the input came; 0 where the other side does not decide how many come. */
  readonly step: (input: Input, bytes: number) => void
  /** Does something once all that this client has asked so far has been carried out, and before what it asks later. */
  readonly inTurn: (source: InputSource, act: () => void) => void
  /** Whether so much from a client or a peer has not been stepped yet that no more of it is to be read. */
  readonly isFull: (source: InputSource) => boolean
  /** What all sessions together hold for others to take. */
  readonly outboxes: Outboxes
  readonly tell: (event: ServerEvent) => void
  readonly status: () => ShellStatus
  /** Whether the disk is so far behind that clients have to wait before they may ask for more. */
  readonly isCongested: () => boolean
  /** Whether one more connection may become a client's. */
  readonly hasRoomForClient: () => boolean
  readonly closed: () => void
}

/** A request that is not answered yet. */
interface Pending {
  /** Undefined for a notification, which is carried out and never answered. */
  readonly id: JsonRpcId | undefined
  readonly call: ReplicaCall | LinkCall | 'peer.hello'
  readonly batch: Batch | undefined
}

/** An answer that has not been put into words yet. */
interface Answer {
  readonly id: JsonRpcId
  /** @param room for an answer that may be long. */
  readonly encode: (room: Room) => string
  /** What it keeps in memory meanwhile, at about. */
  readonly bytes: number
}

/** A JSON-RPC batch whose answers go back together, put into words when the last is there and there is room. */
interface Batch {
  unanswered: number
  readonly answers: Answer[]
  /** Its messages are being handled. An error that closes the connection waits until all have been. */
  isBeingRead: boolean
  fatal: ProtocolError | undefined
}

/**
 * One connection that somebody else has dialled: a client's, or a peer's link to this server. Which of them shows
 * with its first message.
 *
 * Requests go to the replica in the order of their arrival. Their answers are put into words only when there is
 * room for them on their way out: what is owed to a client that does not read costs references, not text.
 */
export class InboundSession {
  readonly #client: ClientId
  readonly #host: SessionHost
  readonly #connection: Connection
  readonly #calls: Calls
  #role: 'unknown' | 'client' | 'peer' = 'unknown'
  #name: string | undefined
  #isAuthorised: boolean
  /** Messages that have come before that. */
  #messagesUnproven = 0
  #nonces: Nonces | undefined
  #authenticationTimer: NodeJS.Timeout | undefined
  #link: IncomingLink | undefined
  readonly #pending = new Map<number, Pending>()
  #nextRequest = 1
  /** What each message of the line that is being read takes of it. */
  #messageBytes = 0
  /** Answers of batches that are not whole yet. */
  #heldCount = 0
  /** What answers that have not been put into words yet keep in memory. */
  #heldBytes = 0
  /** Answers and pushes that wait for room or for their turn, in order. */
  #owed: (() => void)[] = []
  #isGoingOn = false
  /** The connection is to close, with this as its last line, once everything before has been answered. */
  #farewell: { readonly lastLine: string | undefined; readonly reason: string } | undefined

  constructor(socket: Socket, options: { readonly client: ClientId; readonly host: SessionHost }) {
    this.#client = options.client
    this.#host = options.host
    this.#isAuthorised = options.host.secret === undefined
    this.#connection = new Connection(socket, {
      limits: {
        ...(this.#isAuthorised
          ? { lineBytesMax }
          : { lineBytesMax: lineBytesBeforeAuthenticationMax, bytesMax: bytesBeforeAuthenticationMax }),
        stalledBytes: clientOutboxBytesMax,
        outboxBytesMax: peerOutboxBytesMax,
      },
      outboxes: options.host.outboxes,
      events: {
        line: (line) => this.#read(line),
        unreadable: (error) => this.refuse(error),
        ended: () => this.#finish(undefined, 'connection closed'),
        stalled: () => {
          this.#stopSharing()
          this.#host.step({ kind: 'clientStalled', client: this.#client }, 0)
        },
        drained: () => this.#drained(),
        closed: (reason) => this.#closed(reason),
      },
    })
    this.#calls = new Calls({
      send: (line) => {
        this.#connection.send(line)
        this.#connection.flush()
      },
      received: () => this.#connection.bytesReceived,
    })
    if (!this.#isAuthorised) {
      const error = protocolError(
        'notAuthorised',
        `nobody has shown to know the secret within ${authenticateMs / 1_000} s`,
      )
      this.#authenticationTimer = setTimeout(() => this.refuse(error), authenticateMs)
    }
  }

  get role(): 'unknown' | 'client' | 'peer' {
    return this.#role
  }

  /** Whether it has been told to go, and may not be gone yet. */
  get isLeaving(): boolean {
    return this.#farewell !== undefined
  }

  /** Answers a request with what the replica says. */
  reply(number: number, result: ClientResult): void {
    const pending = this.#pending.get(number)
    if (pending === undefined) return
    this.#pending.delete(number)
    const bytes = heldBytes(result)
    if (pending.batch === undefined && bytes <= shortAnswerLengthMax && this.#maySpeak) {
      // Most are such: said at once, with no need to be held until then.
      if (pending.id !== undefined)
        this.#connection.send(this.#encode(pending, result, this.#roomLeft(roomOfReply)))
    } else this.#answer(pending, (room) => this.#encode(pending, result, room), bytes)
    if (this.#inFlight < requestsInFlightMax / 2) this.#readOn()
    this.#endIfDone()
  }

  /** Who an input of this session comes from. */
  get source(): InputSource {
    return this.#link?.peer ?? this.#client
  }

  /** What kept it waiting has come to its end: {@link SessionHost.isCongested}, or {@link SessionHost.isFull}. */
  relieve(): void {
    this.#readOn()
  }

  #readOn(): void {
    // While it is found out whether a peer's id is free, nothing is read.
    const isGreeting = this.#role === 'peer' && this.#link === undefined
    if (this.#farewell === undefined && !isGreeting && !this.#mustWait()) this.#connection.resume()
  }

  /** Requests whose answers have not been said: of a batch all are said together. */
  get #inFlight(): number {
    return this.#pending.size + this.#heldCount
  }

  /** The disk is no reason not to read a peer, which bounds what it sends, and whose pings must be answered. */
  #mustWait(): boolean {
    if (this.#host.isFull(this.source)) return true
    return this.#role !== 'peer' && (this.#inFlight >= requestsInFlightMax || this.#host.isCongested())
  }

  notify(notification: Notification): void {
    this.#say(() => this.#connection.send(...encodeNotification(notification)))
  }

  /**
   * Takes lines that others are told too, from now to the end of the turn.
   *
   * @returns false where it has to be told by itself: it is in no hurry, or is told more than one thing with others.
   */
  share(lines: SharedLines): boolean {
    const isSharing = this.#stopSharing()
    if (isSharing || this.#connection.isStalled || this.#owed.length > 0) return false
    this.#connection.share(lines)
    return true
  }

  /** From now on it is told by itself what it shared with others. @returns whether it did. */
  #stopSharing(): boolean {
    const lines = this.#connection.unshare()
    lines?.leave(this.#client)
    return lines !== undefined
  }

  /** The replica wants to know when all that it has said to this client has left. */
  awaitDrain(): void {
    this.#connection.awaitDrain()
  }

  flush(): void {
    this.#connection.flush()
  }

  /** Closes with an error that says why, whether or not anything was asked. */
  refuse(error: ProtocolError): void {
    this.#finish(encodeError(error), error.message)
  }

  /** To be called about once a second. */
  beat(): void {
    this.#connection.beat()
    if (this.#role === 'peer' && this.#connection.idleMs() > silentLinkMs) {
      this.#connection.destroy('nothing has come from it any more')
    }
  }

  /** Answers all that was asked, with an error where there is no answer yet, and closes. */
  shutDown(): void {
    const error = protocolError('shuttingDown', 'this server is shutting down; connect to another one')
    for (const pending of this.#pending.values()) {
      this.#answer(pending, () => encodeError(error, pending.id ?? null))
    }
    this.#pending.clear()
    this.#finish(undefined, 'shutting down')
    this.#connection.flush()
  }

  /** The time for an orderly end is over. */
  destroy(reason: string): void {
    this.#connection.destroy(reason)
  }

  // ── what comes in ──────────────────────────────────────────────────────────────────────────────────────

  #read(line: Line): void {
    let parsed: RpcLine
    try {
      parsed = parseRpcLine(line.text, { sender: this.#role === 'peer' ? 'peer' : 'client' })
    } catch (error) {
      this.#refuseLine(error)
      return
    }
    this.#messageBytes = line.bytes / (parsed.isBatch ? parsed.messages.length : 1)
    if (!parsed.isBatch) {
      this.#handle(parsed.message, undefined)
    } else {
      const unanswered = parsed.messages.filter(({ kind }) => kind === 'request' || kind === 'invalid').length
      const batch: Batch = { unanswered, answers: [], isBeingRead: true, fatal: undefined }
      for (const message of parsed.messages) {
        if (this.#connection.isOpen) this.#handle(message, batch)
      }
      batch.isBeingRead = false
      if (batch.fatal !== undefined) this.#finish(undefined, batch.fatal.message)
    }
    if (this.#mustWait()) this.#connection.pause()
  }

  #handle(message: RpcMessage, batch: Batch | undefined): void {
    if (!this.#isAuthorised && ++this.#messagesUnproven > requestsBeforeAuthenticationMax) {
      this.#refuseUnproven(message, batch)
      return
    }
    switch (message.kind) {
      case 'response':
        this.#calls.settle(message)
        return
      case 'invalid':
        // Between servers there are no slips of the keyboard: who sends this is not listened to further.
        if (this.#role === 'peer') this.refuse(message.error)
        else this.#answerNow({ id: message.id, batch }, encodeError(message.error, message.id), message.error)
        return
      case 'request':
      case 'notification': {
        const id = message.kind === 'request' ? message.id : undefined
        try {
          this.#dispatch({ method: message.method, params: message.params, id, batch })
        } catch (error) {
          this.#refuseMessage(error, { id, batch })
        }
      }
    }
  }

  /** Whatever it is: so much of it has come that nothing more is looked at. */
  #refuseUnproven(message: RpcMessage, batch: Batch | undefined): void {
    const error = protocolError(
      'notAuthorised',
      `nobody has shown to know the secret within ${requestsBeforeAuthenticationMax} messages`,
    )
    const isAnswered = message.kind === 'request' || message.kind === 'invalid'
    this.#refuseMessage(error, { id: isAnswered ? message.id : undefined, batch })
  }

  #dispatch(message: Dispatched): void {
    const { method, params, id, batch } = message
    if (method === 'peer.ping' && id !== undefined && this.#isAuthorised) {
      this.#answerNow({ id, batch }, encodeResponse(id, {}))
    } else if (method.startsWith('peer.')) {
      this.#peerMessage(message)
    } else if (this.#role === 'peer') {
      throw protocolError(
        'invalidRequest',
        `this connection is a peer's link, on which ${method} has no place`,
      )
    } else {
      const call = checkClientRequest(method, params)
      if (!this.#isAuthorised && call.method !== 'challenge' && call.method !== 'hello')
        throw this.#notAuthorised()
      this.#clientCall(call, message)
    }
  }

  #clientCall(call: ClientCall, { id, batch }: Dispatched): void {
    // Before it counts as a client: who knows no secret takes no place from those who do.
    if (call.method === 'hello') this.#authorise(call.token, 'client')
    // A peer asks for the challenge too, before it says who it is.
    if (this.#role === 'unknown' && call.method !== 'challenge') {
      if (!this.#host.hasRoomForClient()) {
        throw protocolError(
          'overloaded',
          'this server has as many clients as it takes; try another server, or later',
          {
            data: { retryAfterMs: 1_000 },
          },
        )
      }
      this.#role = 'client'
    }
    switch (call.method) {
      case 'challenge':
        this.#answerNow({ id, batch }, encodeResponse(id ?? null, this.#challenge(call.nonce)))
        return
      case 'link':
        // In its turn: a lab that writes and then holds has sent what it wrote.
        this.#host.inTurn(this.#client, this.#linkActor({ id, call, batch }))
        return
      case 'hello':
        this.#greet(call.session)
        break
      default:
    }
    const number = this.#nextRequest++
    this.#pending.set(number, { id, call, batch })
    this.#host.step(
      { kind: 'request', client: this.#client, id: number, request: call.request },
      this.#messageBytes,
    )
  }

  #greet(session: string | undefined): void {
    if (this.#name !== undefined || session === undefined) return
    this.#name = session
    this.#host.tell({ kind: 'clientJoined', client: session })
  }

  /** Begins a request to a link, and returns how to carry it out. */
  #linkActor(pending: Pending & { readonly call: LinkCall }): () => void {
    const number = this.#nextRequest++
    this.#pending.set(number, pending)
    return () => {
      if (!this.#pending.delete(number)) return
      this.#answer(pending, () => encodeResponse(pending.id ?? null, this.#applyToLink(pending.call)))
      this.#connection.flush()
      this.#endIfDone()
    }
  }

  #applyToLink(call: LinkCall): object {
    const { isLab, mesh } = this.#host
    if (!isLab)
      throw protocolError(
        'onlyInLab',
        'links can be held and cut only at a server that was started with --lab',
      )
    const state = mesh.applyToLink(call.peer, call.action)
    if (state !== undefined) return { peer: call.peer, ...state }
    const known = mesh.peerIds
    throw invalidParams(
      'params.peer',
      `is no peer of this server; its peers are ${known.length === 0 ? 'none' : known.join(', ')}`,
    )
  }

  // ── peers ──────────────────────────────────────────────────────────────────────────────────────────────

  #peerMessage({ method, params, id, batch }: Dispatched): void {
    if (this.#link === undefined && method !== 'peer.hello') {
      throw protocolError('notAuthorised', `${method} is for servers, after peer.hello`)
    }
    const message = checkPeerMessage(method, params)
    switch (message.kind) {
      case 'hello':
        if (this.#role !== 'unknown') {
          throw protocolError('invalidRequest', 'peer.hello must come first on a connection')
        }
        this.#acceptPeer(message.hello, { id: id ?? null, batch })
        return
      case 'members':
        this.#host.mesh.learn(message.members)
        return
      case 'ping':
        // A ping that asks for no answer says only that somebody is there, which the connection shows.
        return
      default:
        if (this.#link !== undefined) {
          this.#host.step({ kind: 'message', from: this.#link.peer, message }, this.#messageBytes)
        }
    }
  }

  #acceptPeer(
    hello: PeerHelloParams,
    to: { readonly id: JsonRpcId; readonly batch: Batch | undefined },
  ): void {
    this.#authorise(hello.token, 'peer')
    this.#role = 'peer'
    this.#connection.trust(peerLineBytesMax)
    const link: IncomingLink = {
      peer: hello.server,
      origin: hello.origin,
      remoteHost: this.#connection.remoteHost,
      // What is not read is not known to be gone.
      ping: async (timeoutMs) => this.#connection.isPaused || (await this.#calls.ping(timeoutMs)),
      close: (reason) => this.refuse(protocolError('invalidRequest', reason)),
    }
    // Whether the id is free may take a ping to find out; until then nothing more is read.
    this.#connection.pause()
    this.#host.mesh.accept(hello, link).then(
      () => {
        if (!this.#connection.isOpen) {
          this.#host.mesh.incomingClosed(link, 'connection closed')
          return
        }
        this.#link = link
        const number = this.#nextRequest++
        this.#pending.set(number, { id: to.id, call: 'peer.hello', batch: to.batch })
        this.#host.step(
          { kind: 'request', client: this.#client, id: number, request: { method: 'hello' } },
          0,
        )
        this.#readOn()
      },
      (error: unknown) => {
        this.#refuseMessage(error, to)
        this.#connection.flush()
      },
    )
  }

  // ── authentication ─────────────────────────────────────────────────────────────────────────────────────

  #challenge(callerNonce: string): object {
    const { secret } = this.#host
    if (secret === undefined)
      throw protocolError('invalidRequest', 'this server has no secret, so it can prove nothing')
    this.#nonces = { caller: callerNonce, responder: makeNonce() }
    return { nonce: this.#nonces.responder, proof: proofOf({ secret, role: 'server', nonces: this.#nonces }) }
  }

  #authorise(token: string | undefined, role: 'client' | 'peer'): void {
    const { secret } = this.#host
    if (secret === undefined || this.#isAuthorised) return
    const nonces = this.#nonces
    // One try for each challenge.
    this.#nonces = undefined
    if (token === undefined || nonces === undefined || !proofMatches(token, { secret, role, nonces })) {
      throw this.#notAuthorised()
    }
    this.#isAuthorised = true
    clearTimeout(this.#authenticationTimer)
    this.#connection.welcome(lineBytesMax)
  }

  #notAuthorised(): ProtocolError {
    return protocolError(
      'notAuthorised',
      'this server asks for its secret first: send `challenge`, then `hello` with the proof (--secret-file does that)',
    )
  }

  // ── what goes out ──────────────────────────────────────────────────────────────────────────────────────

  /** Says something now, or, while the connection is stalled, in its turn. */
  #say(speak: () => void): void {
    if (this.#maySpeak) speak()
    else this.#owed.push(speak)
  }

  get #maySpeak(): boolean {
    return !this.#connection.isStalled && this.#owed.length === 0
  }

  #drained(): void {
    const owed = this.#owed
    const startMs = performance.now()
    let said = 0
    let isOver = false
    while (said < owed.length && !this.#connection.isStalled && !isOver) {
      ;(owed[said++] as () => void)()
      isOver = performance.now() - startMs > sliceMs
    }
    this.#owed = owed.slice(said)
    this.#connection.flush()
    if (this.#owed.length > 0) this.#goOn()
    else if (!this.#connection.isStalled) this.#host.step({ kind: 'clientDrained', client: this.#client }, 0)
    this.#endIfDone()
  }

  /** Says what is owed in a later turn, unless it waits for room: to find out that there is none may take long, too. */
  #goOn(): void {
    if (this.#isGoingOn || this.#connection.isStalled) return
    this.#isGoingOn = true
    setImmediate(() => {
      this.#isGoingOn = false
      if (this.#owed.length > 0) this.#drained()
    })
  }

  #encode(pending: Pending, result: ClientResult, room: Room): string {
    const id = pending.id ?? null
    if (typeof pending.call === 'object' && isReplicaCall(pending.call)) {
      return encodeReply(id, pending.call, result, this.#host, room)
    }
    if (result.method !== 'hello') throw new Error(`a hello was answered with ${result.method}`)
    return encodeResponse(id, {
      server: this.#host.server,
      origin: this.#host.origin,
      protocol: protocolVersion,
      applied: Object.fromEntries(result.applied),
      members: this.#host.mesh.members(),
    })
  }

  /**
   * Gives an answer; a notification has none, and a batch gives all of its own together.
   *
   * @param bytes that it keeps in memory until it is put into words.
   */
  #answer({ id, batch }: Pick<Pending, 'id' | 'batch'>, encode: Answer['encode'], bytes = 0): void {
    if (id === undefined) return
    const answer = this.#hold({ id, encode, bytes })
    if (batch === undefined) {
      this.#say(() => this.#connection.send(this.#inWords(answer, roomOfReply)))
      return
    }
    batch.answers.push(answer)
    this.#heldCount++
    batch.unanswered--
    if (batch.unanswered > 0) return
    this.#heldCount -= batch.answers.length
    this.#say(() => this.#sayBatch(batch.answers))
  }

  #sayBatch(answers: Batch['answers']): void {
    let left = replyBytesMax
    const room: Room = {
      get bytes() {
        return Math.max(left, shortAnswerLengthMax)
      },
      refusal: () => {
        // What comes after it is not tried: that alone could take long.
        left = 0
        const message = `the answers to this batch would be longer than ${replyBytesMax} bytes together; ask for less at once`
        return protocolError('tooLarge', message, { data: { replyBytesMax } })
      },
    }
    const lines = answers.map((answer) => {
      const line = this.#inWords(answer, room)
      left -= Buffer.byteLength(line)
      return line
    })
    const whole = encodeBatch(lines)
    if (whole !== undefined) this.#connection.send(whole)
  }

  /** An answer that waits to be put into words; an error in its place where more is held for others than may be. */
  #hold(answer: Answer): Answer {
    const { outboxes } = this.#host
    const { id } = answer
    if (answer.bytes > shortAnswerLengthMax && outboxes.used + answer.bytes > outboxesBytesMax)
      return { id, encode: () => encodeError(tooMuchOwed(), id), bytes: 0 }
    outboxes.used += answer.bytes
    this.#heldBytes += answer.bytes
    return answer
  }

  /** An answer's line; an error in its place where it is long and there is no room for it. */
  #inWords({ id, encode, bytes }: Answer, room: Room): string {
    const { outboxes } = this.#host
    outboxes.used -= bytes
    this.#heldBytes -= bytes
    try {
      return encode(this.#roomLeft(room))
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      return encodeError(error, id)
    }
  }

  /** Of the room for an answer, what is left where more is held for others than may be. */
  #roomLeft(room: Room): Room {
    // Only what can be asked for again is ever replaced: an acknowledgement is short.
    if (this.#host.outboxes.used <= outboxesBytesMax) return room
    return { bytes: shortAnswerLengthMax, refusal: tooMuchOwed }
  }

  /** Answers what needs no replica; the error, where it is one, may cost the connection. */
  #answerNow(to: Pick<Pending, 'id' | 'batch'>, line: string, error?: ProtocolError): void {
    this.#answer(to, () => line)
    if (error?.closesConnection === true) this.#close(error, to.batch)
  }

  #close(error: ProtocolError, batch: Batch | undefined): void {
    if (batch?.isBeingRead === true) batch.fatal ??= error
    else this.#finish(undefined, error.message)
  }

  #refuseLine(error: unknown): void {
    if (!(error instanceof ProtocolError)) throw error
    if (this.#role === 'peer') this.refuse(error)
    else this.#answerNow({ id: error.id ?? null, batch: undefined }, encodeError(error), error)
  }

  #refuseMessage(error: unknown, to: Pick<Pending, 'id' | 'batch'>): void {
    if (!(error instanceof ProtocolError)) throw error
    // A peer's messages are notifications, and a peer that sends a wrong one is told, and is not listened to further.
    if (this.#role === 'peer' && to.id === undefined) this.refuse(error)
    else if (to.id !== undefined) this.#answerNow(to, encodeError(error, to.id), error)
    else if (error.closesConnection) {
      // It is no answer, so it is none of a batch's either; but whoever is cut off is told why.
      this.#answerNow({ id: null, batch: undefined }, encodeError(error, null))
      this.#close(error, to.batch)
    }
  }

  /** Reads no more, and closes once all that was asked before has been answered. */
  #finish(lastLine: string | undefined, reason: string): void {
    this.#farewell ??= { lastLine, reason }
    this.#connection.pause()
    this.#endIfDone()
  }

  #endIfDone(): void {
    if (this.#farewell === undefined || this.#pending.size > 0 || this.#owed.length > 0) return
    this.#connection.end(this.#farewell.lastLine, this.#farewell.reason)
  }

  #closed(reason: string): void {
    clearTimeout(this.#authenticationTimer)
    this.#calls.abandon(reason)
    this.#pending.clear()
    this.#owed = []
    this.#host.outboxes.used -= this.#heldBytes
    this.#heldBytes = 0
    if (this.#link !== undefined) this.#host.mesh.incomingClosed(this.#link, reason)
    if (this.#name !== undefined) this.#host.tell({ kind: 'clientLeft', client: this.#name })
    this.#host.closed()
  }
}

function tooMuchOwed(): ProtocolError {
  const message = 'too many answers wait for readers that do not take them; ask again a little later'
  return protocolError('overloaded', message, { data: { retryAfterMs: 1_000 } })
}

interface Dispatched {
  readonly method: string
  readonly params: unknown
  readonly id: JsonRpcId | undefined
  readonly batch: Batch | undefined
}
