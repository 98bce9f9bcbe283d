import { isLoopback, showAddress, type Address } from '../protocol/address.ts'
import type { ShellStatus } from '../protocol/client-answers.ts'
import type { LinkAction } from '../protocol/client-messages.ts'
import { invalidParams, nameOfCode, protocolError, type ProtocolError } from '../protocol/errors.ts'
import { pingTimeoutMs, protocolVersion } from '../protocol/limits.ts'
import type { Input } from '../replica/input.ts'
import type { LinkState, PeerMessage } from '../replica/messages.ts'
import type { Origin, ServerId } from '../replica/version.ts'
import type { PeerHelloParams, PeerHelloResult } from '../protocol/peer-messages.ts'
import type { Member } from '../protocol/wire-forms.ts'
import type { KnownServer } from '../storage/store.ts'
import { AddressBook, type BookEntry } from './address-book.ts'
import type { ServerEvent } from './narrator.ts'
import { Roster } from './roster.ts'
import type { OutgoingLink, OutgoingLinkOptions, Refusal } from './outgoing-link.ts'

/** The other direction of a pair of servers: a connection that a peer dialled, and sends on. */
export interface IncomingLink {
  readonly peer: ServerId
  readonly origin: Origin
  readonly remoteHost: string
  /** @returns whether it answered in time. */
  ping(timeoutMs: number): Promise<boolean>
  close(reason: string): void
}

/** An incoming link, and where its server says that it listens. */
interface Incoming {
  readonly link: IncomingLink
  readonly address: Address | undefined
}

/**
 * The full mesh: to each other server one outgoing link, which this server dials and sends on, and one
 * incoming link, which that server dials and sends on.
 *
 * So a directed link is a connection of its own: one can be held or cut without the other, neither side's
 * backlog delays the other's, and two servers that dial each other at once need no tie-break.
 *
 * An id belongs to one live server (R7): who comes second is refused, unless the first fails to answer a ping,
 * for then it was a connection that had died without a word.
 *
 * A server may be known under several addresses. Only who dials knows that two of them lead to one server, so it is
 * the dialler that closes the connection too many, and keeps that address as a standby; who is dialled keeps both
 * until then.
 */
export class Mesh {
  readonly #self: { readonly server: ServerId; readonly origin: Origin }
  readonly #book: AddressBook
  readonly #links = new Map<BookEntry, OutgoingLink>()
  /** The outgoing link in use for each server, once it has been greeted. */
  readonly #outgoing = new Map<ServerId, OutgoingLink>()
  readonly #incoming = new Map<ServerId, Incoming>()
  /** Second connections of a server that is in `#incoming`, until it closes them. */
  readonly #spare = new Set<IncomingLink>()
  readonly #step: (input: Input) => void
  readonly #tell: (event: ServerEvent) => void
  readonly #dial: LinkFactory
  readonly #idRefused: (error: ProtocolError) => void
  readonly #knownChanged: (known: readonly KnownServer[]) => void
  readonly #roster: Roster
  /** Whether any other server has ever accepted this one; that this one has accepted another says nothing. */
  #wasAdmitted = false
  #isStopped = false
  #beats = 0
  #listening: Address | undefined
  /** What the replica, and whoever keeps what is known of others, were told last. */
  #toldMembers: string | undefined
  #toldKept = ''

  constructor(options: {
    readonly server: ServerId
    readonly origin: Origin
    readonly step: (input: Input) => void
    readonly tell: (event: ServerEvent) => void
    readonly dial: LinkFactory
    /** No server has ever accepted this one, and one refused it because its id is taken. */
    readonly idRefused: (error: ProtocolError) => void
    /** All that is to be kept of other servers, in place of what was told before. */
    readonly knownChanged: (known: readonly KnownServer[]) => void
  }) {
    this.#self = { server: options.server, origin: options.origin }
    this.#book = new AddressBook(options.server)
    this.#step = options.step
    this.#tell = options.tell
    this.#roster = new Roster((event) => {
      // That a server which stops loses its peers is no news, and 'stopped' is its last word.
      if (!this.#isStopped) options.tell(event)
    })
    this.#dial = options.dial
    this.#idRefused = options.idRefused
    this.#knownChanged = options.knownChanged
  }

  /**
   * Begins to dial.
   *
   * @param listening where this server itself can be reached.
   * @param from.peers what the operator gave.
   * @param from.remembered what an earlier run knew. An address where nobody had answered is as good as hearsay.
   */
  start(
    listening: Address,
    from: { readonly peers: readonly Address[]; readonly remembered: readonly KnownServer[] },
  ): void {
    this.#listening = listening
    this.#book.markOwn(listening)
    this.#toldKept = nameOf(from.remembered)
    for (const address of from.peers) this.#learn(address, { isConfigured: true })
    for (const known of from.remembered) {
      if (known.id !== undefined) this.#book.addMember(known.id)
      if (!('host' in known)) continue
      const { host, port, ...who } = known
      this.#learn({ host, port }, { isConfigured: false, ...who })
    }
    this.#tellOfChanges()
  }

  stop(): void {
    this.#isStopped = true
    for (const link of this.#links.values()) link.stop()
    for (const { link } of this.#incoming.values()) link.close('shutting down')
  }

  /** Sends a replica's message on the link to a peer, if there is one. */
  send(to: ServerId, message: PeerMessage): void {
    this.#outgoing.get(to)?.send(message)
  }

  /** To be called about once a second: tells all of all now and then, so that nobody stays forgotten. */
  beat(): void {
    this.#beats++
    if (this.#beats % beatsBetweenTellings !== 0) return
    for (const link of this.#outgoing.values()) link.sendMembers(this.members())
    this.flush()
  }

  flush(): void {
    for (const link of this.#links.values()) link.flush()
  }

  /** A peer's message broke a rule (R1): its connection is closed with an error that says so. */
  refuse(peer: ServerId, reason: string): void {
    this.#tell({ kind: 'warning', text: `refused what server ${peer} sent: ${reason}` })
    this.#incoming.get(peer)?.link.close(reason)
  }

  /** The servers that this one sends to, itself first: what others are told. */
  members(): readonly Member[] {
    const members: Member[] = []
    const own = this.#ownAddress().address
    // A wildcard would lead whoever is told of it to itself.
    if (own?.host !== undefined) members.push({ id: this.#self.server, host: own.host, port: own.port })
    for (const [id, link] of this.#outgoing) members.push({ id, ...link.address })
    return members
  }

  status(): ShellStatus['peers'] {
    const byId = new Map<string, ShellStatus['peers'][number]>()
    for (const link of this.#links.values()) {
      const id = link.peer ?? link.knownId
      // An address that has never answered is shown too: it is where an operator looks first.
      const name = id ?? showAddress(link.address)
      const isUsed = id !== undefined && this.#outgoing.get(id) === link
      // Of several addresses of one server, the one in use or the one that is cut tells how it stands.
      if (byId.has(name) && !isUsed && link.state !== 'cut') continue
      byId.set(name, {
        id: id ?? '?',
        address: showAddress(link.address),
        state: isUsed ? (this.#incoming.has(id) ? 'connected' : 'sending only') : link.stateText,
        link: link.linkState.state,
      })
    }
    for (const [id, { link, address }] of this.#incoming) {
      const known = byId.get(id)
      if (known === undefined) {
        byId.set(id, {
          id,
          address: address === undefined ? link.remoteHost : showAddress(address),
          state: 'receiving only',
          link: 'open',
        })
      } else if (known.state !== 'connected') byId.set(id, { ...known, state: 'receiving only' })
    }
    return [...byId.values()]
  }

  /**
   * What a lab does to the link to a peer.
   *
   * @returns undefined where there is no such peer.
   * @throws ProtocolError −32602 where the link is cut, and so cannot be held, released or delayed.
   */
  applyToLink(peer: ServerId, action: LinkAction): LinkState | undefined {
    const known = this.#linksTo(peer)
    const link = this.#outgoing.get(peer) ?? known.find(({ state }) => state === 'cut') ?? known[0]
    if (link === undefined) return undefined
    if (link.linkState.state === 'cut' && action.action !== 'cut' && action.action !== 'heal') {
      throw invalidParams(
        'params.action',
        `is ${action.action}, but the link to ${peer} is cut; heal it first`,
      )
    }
    link.applyAction(action)
    if (action.action === 'heal') this.#wakeDialer(peer)
    this.#tell({ kind: 'link', peer, state: link.linkState.state, queued: link.linkState.queued })
    return link.linkState
  }

  get peerIds(): readonly ServerId[] {
    return [...new Set([...this.#outgoing.keys(), ...this.#incoming.keys()])]
  }

  /**
   * Another server has dialled and said who it is.
   *
   * @throws ProtocolError where it is refused.
   */
  async accept(hello: PeerHelloParams, incoming: IncomingLink): Promise<void> {
    const { server } = hello
    if (server === this.#self.server) throw this.#idInUse(server, this.#listening, this.#self.origin)
    const port = hello.address?.port
    const address =
      port === undefined ? undefined : { host: hello.address?.host ?? incoming.remoteHost, port }
    if (!(await this.#takePlace(server, { link: incoming, address }))) {
      this.#spare.add(incoming)
      return
    }
    this.#makeRoom()
    if (address !== undefined) this.learn([{ id: server, ...address }])
    this.learn(hello.members)
    this.#wakeDialer(server)
    const known = this.#outgoing.get(server)?.address ?? address
    this.#roster.linkUp(server, 'from', known === undefined ? incoming.remoteHost : showAddress(known))
  }

  /**
   * Makes an incoming link the one that is in use for its server. A connection of the same process that does not answer
   * has died without a word, and is replaced. Others may come while it is asked: so the place is taken in the very
   * moment in which it is found free.
   *
   * @returns false where there is one already that does answer.
   * @throws ProtocolError −32006 where another live process has the id.
   */
  async #takePlace(server: ServerId, incoming: Incoming): Promise<boolean> {
    const { origin } = incoming.link
    for (;;) {
      const rival = this.#rivalOf(server, origin)
      if (rival !== undefined) {
        await this.#displace(server, rival)
        continue
      }
      const first = this.#incoming.get(server)
      if (first === undefined) {
        this.#incoming.set(server, incoming)
        this.#book.addMember(server)
        this.#tellOfChanges()
        this.#step({ kind: 'peerHeard', peer: server, origin })
        return true
      }
      const answers = await first.link.ping(pingTimeoutMs)
      // While it was asked, it may have gone, or another may have come.
      if (this.#incoming.get(server) !== first) continue
      if (answers) return false
      this.#incoming.delete(server)
      this.#step({ kind: 'peerSilent', peer: server, origin })
      first.link.close('replaced by a newer connection')
    }
  }

  /** An incoming link has closed. */
  incomingClosed(incoming: IncomingLink, reason: string): void {
    this.#spare.delete(incoming)
    if (this.#incoming.get(incoming.peer)?.link !== incoming) return
    this.#incoming.delete(incoming.peer)
    this.#step({ kind: 'peerSilent', peer: incoming.peer, origin: incoming.origin })
    this.#tellOfChanges()
    this.#roster.linkDown(incoming.peer, 'from', reason)
    // What has come on a second one may have been counted to the first: only a new connection starts afresh.
    for (const spare of this.#spare) {
      if (spare.peer === incoming.peer) spare.close('the connection before it has closed; dial again')
    }
  }

  /** Another server has told of these. */
  learn(members: readonly Member[]): void {
    const { changes } = this.#book
    for (const { id, host, port } of members) {
      this.#book.addMember(id)
      // Its address is known to work; another one for the same server would only be dialled in vain.
      if (id !== this.#self.server && !this.#isSettled(id))
        this.#learn({ host, port }, { isConfigured: false, id })
    }
    // Most of what is told is known.
    if (this.#book.changes !== changes) this.#tellOfChanges()
  }

  #learn(address: Address, from: Parameters<AddressBook['add']>[1]): void {
    if (this.#isStopped) return
    // Who is on this machine alone has its peers here too, and dials nowhere else because somebody says so.
    const isOwnMachine = this.#listening !== undefined && isLoopback(this.#listening.host)
    if (!from.isConfigured && isOwnMachine && !isLoopback(address.host)) return
    if (from.id !== undefined && !from.isConfigured) this.#makeRoomOf(from.id, address)
    const entry = this.#book.add(address, from)
    if (entry === undefined) return
    const link = this.#dial({
      entry,
      hello: () => ({
        ...this.#self,
        protocol: protocolVersion,
        ...this.#ownAddress(),
        members: this.members(),
      }),
      greeted: (greeting, isCurrent) => this.#greeted(link, greeting, isCurrent),
      closed: (reason) => this.#outgoingClosed(link, reason),
      refused: (refusal) => this.#refused(link, refusal),
      unreached: (reason) => this.#tell({ kind: 'unreached', address: showAddress(address), reason }),
      unreachable: () => this.#forgetIfTold(link),
    })
    this.#links.set(entry, link)
    link.start()
  }

  /** A link that this server dialled has been answered. */
  async #greeted(link: OutgoingLink, greeting: PeerHelloResult, isCurrent: () => boolean): Promise<void> {
    const { server, origin } = greeting
    if (server === this.#self.server) throw this.#idInUse(server, this.#listening, origin)
    this.#wasAdmitted = true
    // Looked for last in the very moment in which the link is taken into use.
    for (
      let rival = this.#rivalOf(server, origin);
      rival !== undefined;
      rival = this.#rivalOf(server, origin)
    )
      await this.#displace(server, rival)
    if (!isCurrent()) return
    link.identify(server)
    this.#book.addMember(server)
    this.#tellOfChanges()
    if (this.#isSettled(server)) {
      // Two addresses of one server: one link is enough.
      link.standBy()
      return
    }
    link.admit(greeting)
    this.#outgoing.set(server, link)
    this.#step({ kind: 'linkUp', peer: server, origin, applied: greeting.applied })
    // Whoever is linked to knows of all others who are, before it is told anything else: those that have joined since its
    // hello was sent too. Where it asks what is lost, it has to know whom to ask (R9).
    link.sendMembers(this.members())
    const joined: Member = { id: server, ...link.address }
    for (const [id, other] of this.#outgoing) if (id !== server) other.sendMembers([joined])
    this.learn(greeting.members)
    this.#forgetOtherAddresses(server, link)
    this.#roster.linkUp(server, 'to', showAddress(link.address))
  }

  /** A server that has come back somewhere else is not looked for where it was, unless the operator says so. */
  #forgetOtherAddresses(server: ServerId, inUse: OutgoingLink): void {
    for (const [entry, link] of this.#links) {
      if (link !== inUse && entry.id === server && !entry.isConfigured) this.#forget(link)
    }
  }

  /** A server that has come, and says where it listens, finds room in the book: hearsay gives way to it first. */
  #makeRoom(): void {
    if (!this.#book.isFull) return
    const links = this.#told().filter(({ link }) => link.peer === undefined)
    const leaving = links.find(({ entry }) => !entry.isProven) ?? links[0]
    if (leaving !== undefined) this.#forget(leaving.link)
  }

  /** Of one server no more than a few addresses are kept that nobody but other servers has told. */
  #makeRoomOf(server: ServerId, address: Address): void {
    const name = showAddress(address)
    const links = this.#told().filter(({ entry }) => entry.id === server)
    if (links.length < toldPerServerMax || links.some(({ entry }) => showAddress(entry.address) === name))
      return
    const leaving = links.find(({ entry }) => !entry.isProven) ?? links[0]
    if (leaving !== undefined) this.#forget(leaving.link)
  }

  /** The addresses that the operator has not given, the oldest first. */
  #told(): readonly { readonly entry: BookEntry; readonly link: OutgoingLink }[] {
    return [...this.#links].flatMap(([entry, link]) => (entry.isConfigured ? [] : [{ entry, link }]))
  }

  /**
   * An address that somebody told and where nobody has ever answered is given up; whoever listens there will say so
   * itself, and is a member as before. But who is connected to nobody has nothing else to go by.
   */
  #forgetIfTold(link: OutgoingLink): void {
    if (this.#outgoing.size === 0) return
    for (const told of this.#told()) if (told.link === link && !told.entry.isProven) this.#forget(link)
  }

  #outgoingClosed(link: OutgoingLink, reason: string): void {
    const { peer, origin } = link
    if (peer === undefined || origin === undefined || this.#outgoing.get(peer) !== link) return
    this.#outgoing.delete(peer)
    this.#step({ kind: 'linkDown', peer, origin })
    this.#roster.linkDown(peer, 'to', reason)
    if (this.#isStopped || this.#isSettled(peer)) return
    for (const other of this.#linksTo(peer)) if (other.state === 'standby') other.dialSoon()
  }

  /** One side would not have the other. */
  #refused(link: OutgoingLink, { by, error, isNew }: Refusal): void {
    if (error.data.origin === this.#self.origin) {
      // It dialled itself, under an address that it did not know to be its own.
      this.#book.markOwn(link.address)
      this.#forget(link)
      return
    }
    const where = showAddress(link.address)
    const text = by === 'them' ? `${where} refused this server` : `this server refused ${where}`
    if (isNew) this.#tell({ kind: 'warning', text: `${text}: ${error.message}` })
    if (by === 'them' && nameOfCode(error.code) === 'serverIdInUse' && !this.#wasAdmitted)
      this.#idRefused(error)
  }

  /** A link from or to another process that has this id, if there is one. */
  #rivalOf(server: ServerId, origin: Origin): OutgoingLink | IncomingLink | undefined {
    const links = [this.#outgoing.get(server), this.#incoming.get(server)?.link]
    return links.find((link) => link !== undefined && link.origin !== origin)
  }

  /**
   * Closes the link of another process with this id, if it does not answer: then that is gone. Who answers is in its right.
   *
   * @throws ProtocolError −32006 where it does.
   */
  async #displace(server: ServerId, rival: OutgoingLink | IncomingLink): Promise<void> {
    const { origin } = rival
    const answers = await rival.ping(pingTimeoutMs)
    const outgoing = this.#outgoing.get(server)
    const incoming = this.#incoming.get(server)
    if (answers) throw this.#idInUse(server, outgoing?.address ?? incoming?.address, origin)
    const reason = 'it no longer answers, and its server has come back'
    if (rival === outgoing) {
      outgoing.disconnect(reason)
    } else if (rival === incoming?.link) {
      rival.close(reason)
      this.incomingClosed(rival, reason)
    }
  }

  #idInUse(server: ServerId, address: Address | undefined, origin: Origin | undefined): ProtocolError {
    const where = address === undefined ? '' : ` at ${showAddress(address)}`
    return protocolError(
      'serverIdInUse',
      `server id ${server} is in use by a running server${where}; choose another --id, or stop that one`,
      { data: { origin, ...(address === undefined ? {} : { address: showAddress(address) }) } },
    )
  }

  /** Whether there is no reason to dial a server: a link to it is in use, or a lab has cut it. */
  #isSettled(server: ServerId): boolean {
    return this.#outgoing.has(server) || this.#linksTo(server).some(({ state }) => state === 'cut')
  }

  #linksTo(server: ServerId): readonly OutgoingLink[] {
    return [...this.#links.values()].filter(({ knownId }) => knownId === server)
  }

  #ownAddress(): { address?: { port: number; host?: string } } {
    if (this.#listening === undefined) return {}
    const { host, port } = this.#listening
    // A wildcard says nothing about where others reach it; they see that on their end of the connection.
    return { address: host === '0.0.0.0' || host === '::' ? { port } : { host, port } }
  }

  #forget(link: OutgoingLink): void {
    link.stop()
    for (const [entry, other] of this.#links) {
      if (other !== link) continue
      this.#links.delete(entry)
      this.#book.remove(entry.address)
    }
    this.#tellOfChanges()
  }

  /** Tells the replica which servers there are, and whoever keeps that what is to be kept, where it has changed. */
  #tellOfChanges(): void {
    if (this.#isStopped) return
    const ids = [...new Set([...this.#outgoing.keys(), ...this.#incoming.keys(), ...this.#book.members])]
    const { unidentified, kept } = this.#book
    const told = `${unidentified} ${ids.toSorted().join(' ')}`
    if (told !== this.#toldMembers) {
      this.#toldMembers = told
      this.#step({ kind: 'members', ids, unidentified })
    }
    const toldKept = nameOf(kept)
    if (toldKept === this.#toldKept) return
    this.#toldKept = toldKept
    this.#knownChanged(kept)
  }

  /** It has just dialled us, so it is there: no reason to wait for the next attempt. */
  #wakeDialer(server: ServerId): void {
    if (this.#isSettled(server)) return
    for (const link of this.#linksTo(server)) link.dialSoon()
  }
}

/** The same for the same, in whatever order. */
function nameOf(known: readonly KnownServer[]): string {
  const names = known.map((server) => {
    const where = 'host' in server ? `${showAddress(server)} ${server.isProven ?? false}` : ''
    return `${server.id ?? '?'} ${where}`
  })
  return names.toSorted().join(', ')
}

export type LinkFactory = (options: OutgoingLinkOptions) => OutgoingLink

/** An address, and the one that it may have moved to. */
const toldPerServerMax = 2

/** A line of some hundred bytes a server every half minute. */
const beatsBetweenTellings = 30
