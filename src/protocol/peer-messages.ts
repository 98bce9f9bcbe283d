import type { Cut } from '../replica/cut.ts'
import type {
  KeptAnswer,
  PeerMessage,
  SessionRecord,
  SnapshotPage,
  SnapshotRow,
  SnapshotSibling,
  VersionKeys,
} from '../replica/messages.ts'
import { dependenciesOf, noDependencies, type JsonValue, type Update } from '../replica/update.ts'
import type { Origin, ServerId } from '../replica/version.ts'
import { invalidParams, protocolError, type ProtocolError } from './errors.ts'
import { hex32At } from './client-messages.ts'
import { encodeNotice } from './json-rpc.ts'
import {
  askedVersionsMax,
  batchWritesMax,
  frameUpdatesMax,
  nameBytesMax,
  peerFrameBytesMax,
  protocolVersion,
  snapshotItemsMax,
} from './limits.ts'
import {
  booleanAt,
  countAt,
  cutAt,
  cutToWire,
  expected,
  faultOfValue,
  hostAt,
  isKey,
  isName,
  isOrigin,
  keyAt,
  linkStateAt,
  listAt,
  membersAt,
  objectAt,
  originAt,
  nameAt,
  portAt,
  protocolAt,
  serverIdAt,
  textAt,
  timestampAt,
  unknownMember,
  versionAt,
  versionToWire,
  type Member,
  type ParsedObject,
} from './wire-forms.ts'

/**
 * What servers say to each other. Every server dials every other; on the connection that it dialled it sends,
 * and nothing but answers comes back. It begins with the request `peer.hello`; afterwards the replica's messages
 * travel as notifications, and `peer.ping` asks whether anybody is there.
 *
 * Members that are not known here are kept on an update, which is passed on as it came, and ignored on all other
 * messages: a newer release may say more.
 */
export type PeerCall =
  | PeerMessage
  | { readonly kind: 'hello'; readonly hello: PeerHelloParams }
  | { readonly kind: 'ping' }
  | { readonly kind: 'members'; readonly members: readonly Member[] }

/** What a server says of itself when it dials another. */
export interface PeerHelloParams {
  readonly server: ServerId
  readonly origin: Origin
  readonly protocol: number
  /** Where it listens; without a host, at the address that it dials from. */
  readonly address?: { readonly host?: string; readonly port: number }
  /** Its proof that it knows the secret. */
  readonly token?: string
  /** The servers that it knows. */
  readonly members: readonly Member[]
}

/** What a server answers to `peer.hello`. */
export interface PeerHelloResult {
  readonly server: ServerId
  readonly origin: Origin
  readonly protocol: number
  readonly applied: Cut
  readonly members: readonly Member[]
}

/**
 * The gate for what a peer sends.
 *
 * @param params as parsed; updates and their writes are used as they are, without a copy.
 * @throws ProtocolError −32601, −32602 with the path, −32010; −32005 for a greeting in another protocol.
 */
export function checkPeerMessage(method: string, params: unknown): PeerCall {
  const given = params === undefined ? {} : objectAt(params, 'params')
  switch (method) {
    case 'peer.updates':
      return { kind: 'updates', updates: updatesAt(given.updates) }
    case 'peer.page':
      return {
        kind: 'page',
        pull: countAt(given.pull, 'params.pull', { min: 1 }),
        updates: updatesAt(given.updates),
        more: booleanAt(given.more, 'params.more'),
      }
    case 'peer.pull':
      return {
        kind: 'pull',
        pull: countAt(given.pull, 'params.pull', { min: 1 }),
        applied: cutAt(given.applied, 'params.applied'),
        except: listAt(given.except, 'params.except', askedVersionsMax).map((origin, index) =>
          originAt(origin, `params.except[${index}]`),
        ),
        ...(given.snapshot === undefined
          ? {}
          : { snapshot: countAt(given.snapshot, 'params.snapshot', { min: 1 }) }),
      }
    case 'peer.snapshot':
      return {
        kind: 'snapshot',
        pull: countAt(given.pull, 'params.pull', { min: 1 }),
        ...snapshotPageOf(given),
      }
    case 'peer.cut':
      return { kind: 'cut', entries: cutAt(given.entries, 'params.entries') }
    case 'peer.link':
      return { kind: 'link', state: linkStateAt(given, 'params') }
    case 'peer.ask':
      return {
        kind: 'ask',
        question: countAt(given.question, 'params.question', { min: 1 }),
        ...(given.key === undefined ? {} : { key: keyAt(given.key, 'params.key') }),
        versions: versionsAt(given.versions, 'params.versions'),
      }
    case 'peer.tell':
      return {
        kind: 'tell',
        question: countAt(given.question, 'params.question', { min: 1 }),
        siblings: versionsAt(given.siblings, 'params.siblings'),
        keys: listAt(given.keys, 'params.keys', askedVersionsMax).map((item, index) =>
          versionKeysAt(item, `params.keys[${index}]`),
        ),
      }
    case 'peer.members':
      return { kind: 'members', members: membersAt(given.members, 'params.members') }
    case 'peer.hello':
      return { kind: 'hello', hello: helloOf(given) }
    case 'peer.ping':
      return { kind: 'ping' }
    default: {
      const message = `there is no method ${method.slice(0, 40)} between servers of protocol ${protocolVersion}; run the same release on all`
      throw protocolError('unknownMethod', message)
    }
  }
}

/** @throws ProtocolError −32005 where the other side speaks another protocol, −32602 for what is no answer. */
export function checkPeerHelloResult(result: unknown): PeerHelloResult {
  const given = objectAt(result, 'result')
  const protocol = protocolAt(given.protocol, 'result.protocol')
  return {
    server: serverIdAt(given.server, 'result.server'),
    origin: ownOriginAt(given, 'result'),
    protocol,
    applied: cutAt(given.applied, 'result.applied'),
    members: membersAt(given.members, 'result.members'),
  }
}

/** The answer to `challenge`: the other side's nonce and its proof. */
export function checkChallengeResult(result: unknown): { readonly nonce: string; readonly proof: string } {
  const { nonce, proof } = objectAt(result, 'result')
  return { nonce: hex32At(nonce, 'result.nonce'), proof: hex32At(proof, 'result.proof') }
}

// ── writing ──────────────────────────────────────────────────────────────────────────────────────────────

/**
 * The text of one message of the replica: one line, or, where its updates would make a line too long, several.
 *
 * A page that is too long goes as `peer.updates` first and ends as the `peer.page`: links keep their order, and
 * a receiver does the same with the updates of both. What a `peer.ask` or `peer.tell` cannot carry is left out:
 * `why` then says less.
 */
export function encodePeerMessage(message: PeerMessage): string {
  switch (message.kind) {
    case 'updates':
      return linesOf(message.updates)
    case 'page': {
      const frames = framesOf(message.updates)
      const last = frames.pop() ?? ''
      const before = frames.map(lineOf).join('')
      const { pull, more } = message
      return `${before}{"jsonrpc":"2.0","method":"peer.page","params":{"pull":${pull},"more":${more},"updates":[${last}]}}\n`
    }
    case 'pull': {
      const { pull, applied, except, snapshot } = message
      const params = { pull, applied: cutToWire(applied), except, snapshot }
      return encodeNotice({ method: 'peer.pull', params })
    }
    case 'snapshot':
      return encodeNotice({ method: 'peer.snapshot', params: snapshotToWire(message) })
    case 'cut':
      return encodeNotice({ method: 'peer.cut', params: { entries: cutToWire(message.entries) } })
    case 'link': {
      const { state, delayMs, queued } = message.state
      return encodeNotice({ method: 'peer.link', params: { state, delayMs, queued } })
    }
    case 'ask': {
      const { question, key } = message
      const versions = message.versions.slice(0, askedVersionsMax).map(versionToWire)
      return encodeNotice({ method: 'peer.ask', params: { question, key, versions } })
    }
    case 'tell': {
      const { question } = message
      const siblings = message.siblings.slice(0, askedVersionsMax).map(versionToWire)
      const keys = keysThatFit(message.keys).map((item) => ({
        version: versionToWire(item.version),
        keys: item.keys,
      }))
      return encodeNotice({ method: 'peer.tell', params: { question, siblings, keys } })
    }
  }
}

/** The notification that tells a peer of other servers. */
export function encodeMembers(members: readonly Member[]): string {
  return encodeNotice({ method: 'peer.members', params: { members } })
}

/**
 * The text of one update as a log keeps it: `JSON.stringify` of it, remembered for a while, because what has been stored
 * goes to the peers next.
 */
export function encodeUpdate(update: Update): string {
  const known = youngTexts.get(update) ?? oldTexts.get(update)
  if (known !== undefined) return known
  const text = JSON.stringify(update)
  if (youngLength > generationLengthMax) {
    oldTexts = youngTexts
    youngTexts = new Map()
    youngLength = 0
  }
  youngTexts.set(update, text)
  youngLength += text.length
  return text
}

/** Two generations of texts: when the younger has grown to its bound, the older is let go. */
let youngTexts = new Map<Update, string>()
let oldTexts = new Map<Update, string>()
let youngLength = 0
const generationLengthMax = 1 << 20

/** What is not remembered was not stored, and goes nowhere but here: to remember it would be in vain. */
function textOf(update: Update): string {
  return youngTexts.get(update) ?? oldTexts.get(update) ?? JSON.stringify(update)
}

/** What was pushed last. The peers that keep up are pushed the same one after the other, so it is put into words once. */
let lastPushed: { readonly updates: readonly Update[]; readonly lines: string } | undefined

function linesOf(updates: readonly Update[]): string {
  if (lastPushed !== undefined && isSame(lastPushed.updates, updates)) return lastPushed.lines
  const lines = framesOf(updates).map(lineOf).join('')
  lastPushed = { updates, lines }
  return lines
}

function isSame(one: readonly Update[], other: readonly Update[]): boolean {
  if (one.length !== other.length) return false
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false
  return true
}

function lineOf(frame: string): string {
  return `{"jsonrpc":"2.0","method":"peer.updates","params":{"updates":[${frame}]}}\n`
}

/** The updates' texts, joined by commas, in as few parts as fit frames. */
function framesOf(updates: readonly Update[]): string[] {
  const frames: string[] = []
  let texts: string[] = []
  let frameBytes = 0
  for (const update of updates) {
    const text = textOf(update)
    const bytes = Buffer.byteLength(text)
    if (texts.length > 0 && (frameBytes + bytes > peerFrameBytesMax || texts.length === frameUpdatesMax)) {
      frames.push(texts.join(','))
      texts = []
      frameBytes = 0
    }
    texts.push(text)
    frameBytes += bytes + 1
  }
  if (texts.length > 0) frames.push(texts.join(','))
  return frames
}

/**
 * One page is one frame, whatever is in it: whoever fills pages stays far below `peerLineBytesMax`, to which the
 * longest sibling and the longest row may be added. What is absent is left out by `JSON.stringify`.
 */
function snapshotToWire(page: SnapshotPage & { readonly pull: number }): object {
  return {
    pull: page.pull,
    snapshot: page.snapshot,
    page: page.page,
    siblings: page.siblings.map(({ key, version, value, deleted, first }) => ({
      key,
      version: versionToWire(version),
      value,
      deleted,
      first,
    })),
    rows: page.rows.map(({ origin, known }) => ({ origin, known: cutToWire(known) })),
    sessions: page.sessions.map(({ session, letGo, answers }) => ({
      session,
      letGo,
      answers: answers.map(({ number, version, fingerprint }) => [
        number,
        version.timestamp,
        version.origin,
        fingerprint,
      ]),
    })),
    applied: page.applied === undefined ? undefined : cutToWire(page.applied),
  }
}

function keysThatFit(items: readonly VersionKeys[]): readonly VersionKeys[] {
  const fitting: VersionKeys[] = []
  let length = 0
  for (const item of items.slice(0, askedVersionsMax)) {
    for (const key of item.keys) length += 3 * key.length
    if (length > peerFrameBytesMax) break
    fitting.push(item)
  }
  return fitting
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

function updatesAt(value: unknown): readonly Update[] {
  const updates = listAt(value, 'params.updates', frameUpdatesMax)
  for (let index = 0; index < updates.length; index++) {
    const update = updates[index]
    if (!isUpdate(update)) throw faultOfUpdate(update, `params.updates[${index}]`)
    shareWhatRepeats(update)
  }
  return updates as readonly Update[]
}

/**
 * Has an update name its origin, and that it depends on nothing, by what those before it named the same by. A parser makes
 * both anew for each; the log would keep them all, and every map that knows origins would compare them letter by letter.
 */
function shareWhatRepeats(update: { -readonly [Name in keyof Update]: Update[Name] }): void {
  if (update.origin === lastOrigin) update.origin = lastOrigin
  else lastOrigin = update.origin
  if (dependenciesOf(update).length === 0) update.dependencies = noDependencies
}

/** Updates come in runs of one origin. */
let lastOrigin: Origin | undefined

/**
 * Whether something is an update by its form (R2); whether it can be, as R1 demands, the replica decides. It says
 * no more than yes or no because it runs for every update; {@link faultOfUpdate} finds out why.
 */
export function isUpdate(value: unknown): value is Update {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const update = value as ParsedObject
  const { origin, timestamp, previous, dependencies, writes } = update
  if (!isOrigin(origin) || !isCount(timestamp, 1) || !isCount(previous, 0)) return false
  if (typeof dependencies !== 'object' || dependencies === null || Array.isArray(dependencies)) return false
  for (const other in dependencies) {
    if (!isOrigin(other) || !isCount((dependencies as ParsedObject)[other], 1)) return false
  }
  for (const name in update) {
    if (ownNames.has(name)) continue
    if (faultOfValue(update[name]) !== undefined || (name === 'request' && !isStamp(update[name])))
      return false
  }
  if (!Array.isArray(writes) || writes.length === 0 || writes.length > batchWritesMax) return false
  for (const write of writes as readonly unknown[]) if (!isWrite(write)) return false
  return writes.length === 1 || repeatedKey(writes as readonly { readonly key: string }[]) === undefined
}

const ownNames: ReadonlySet<string> = new Set(['origin', 'timestamp', 'previous', 'dependencies', 'writes'])

/** Whether something names a request as an update does (R10). A newer release may say more of it, which is kept. */
function isStamp(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const { session, number } = value as ParsedObject
  return isName(session) && isCount(number, 1)
}

/** A write's members are all known: what a value may be is checked, and nothing else may hide beside it. */
const writeNames: ReadonlySet<string> = new Set(['key', 'value', 'deleted'])

function isWrite(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const write = value as ParsedObject
  if (!isKey(write.key)) return false
  for (const name in write) if (!writeNames.has(name)) return false
  if (write.deleted !== undefined) return write.deleted === true && write.value === undefined
  return write.value !== undefined && faultOfValue(write.value) === undefined
}

function isCount(value: unknown, min: number): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= min
}

function repeatedKey(writes: readonly { readonly key: string }[]): string | undefined {
  const keys = new Set<string>()
  for (const { key } of writes) {
    if (keys.has(key)) return key
    keys.add(key)
  }
  return undefined
}

/** Why {@link isUpdate} says no. Throws where one of the readers does. */
function faultOfUpdate(value: unknown, path: string): ProtocolError {
  const update = objectAt(value, path)
  originAt(update.origin, `${path}.origin`)
  timestampAt(update.timestamp, `${path}.timestamp`)
  countAt(update.previous, `${path}.previous`, { min: 0 })
  cutAt(update.dependencies, `${path}.dependencies`)
  for (const name in update) {
    const fault = ownNames.has(name) ? undefined : faultOfValue(update[name])
    if (fault !== undefined) return invalidParams(`${path}[${JSON.stringify(name)}]`, fault)
  }
  if (update.request !== undefined) {
    const request = objectAt(update.request, `${path}.request`)
    nameAt(request.session, `${path}.request.session`)
    countAt(request.number, `${path}.request.number`, { min: 1 })
  }
  const writes = listAt(update.writes, `${path}.writes`, batchWritesMax)
  if (writes.length === 0)
    return invalidParams(`${path}.writes`, 'is empty; an update writes at least one key')
  for (const [index, item] of writes.entries()) {
    const at = `${path}.writes[${index}]`
    const write = objectAt(item, at)
    keyAt(write.key, `${at}.key`)
    for (const name in write) if (!writeNames.has(name)) return unknownMember(at, name, [...writeNames])
    if (write.deleted !== undefined && write.deleted !== true)
      return expected(`${at}.deleted`, 'true, or absent', write.deleted)
    if (write.deleted === true && write.value !== undefined)
      return invalidParams(`${at}.value`, 'stands next to deleted')
    if (write.deleted === undefined && write.value === undefined)
      return invalidParams(`${at}.value`, 'is missing')
    const fault = faultOfValue(write.value)
    if (fault !== undefined) return invalidParams(`${at}.value`, fault)
  }
  return invalidParams(`${path}.writes`, 'names a key twice')
}

function versionsAt(value: unknown, path: string): ReturnType<typeof versionAt>[] {
  return listAt(value, path, askedVersionsMax).map((item, index) => versionAt(item, `${path}[${index}]`))
}

function versionKeysAt(value: unknown, path: string): VersionKeys {
  const { version, keys } = objectAt(value, path)
  return {
    version: versionAt(version, `${path}.version`),
    keys: listAt(keys, `${path}.keys`, batchWritesMax).map((key, index) =>
      keyAt(key, `${path}.keys[${index}]`),
    ),
  }
}

function snapshotPageOf(given: ParsedObject): SnapshotPage {
  const itemsOf = (name: 'siblings' | 'rows' | 'sessions'): readonly unknown[] =>
    listAt(given[name], `params.${name}`, snapshotItemsMax)
  return {
    snapshot: countAt(given.snapshot, 'params.snapshot', { min: 1 }),
    page: countAt(given.page, 'params.page', { min: 1 }),
    siblings: itemsOf('siblings').map((item, index) => siblingAt(item, `params.siblings[${index}]`)),
    rows: itemsOf('rows').map((item, index) => rowAt(item, `params.rows[${index}]`)),
    sessions: itemsOf('sessions').map((item, index) => sessionAt(item, `params.sessions[${index}]`)),
    ...(given.applied === undefined ? {} : { applied: cutAt(given.applied, 'params.applied') }),
  }
}

function siblingAt(item: unknown, path: string): SnapshotSibling {
  const given = objectAt(item, path)
  const { value, deleted, first } = given
  const key = keyAt(given.key, `${path}.key`)
  const version = versionAt(given.version, `${path}.version`)
  if (first !== undefined && first !== true) throw expected(`${path}.first`, 'true, or absent', first)
  const place: { readonly first?: true } = first === undefined ? {} : { first }
  if (deleted !== undefined) {
    if (deleted !== true) throw expected(`${path}.deleted`, 'true, or absent', deleted)
    if (value !== undefined) throw invalidParams(`${path}.value`, 'stands next to deleted')
    return { key, version, deleted, ...place }
  }
  if (value === undefined) throw invalidParams(`${path}.value`, 'is missing')
  const fault = faultOfValue(value)
  if (fault !== undefined) throw invalidParams(`${path}.value`, fault)
  return { key, version, value: value as JsonValue, ...place }
}

function rowAt(item: unknown, path: string): SnapshotRow {
  const { origin, known } = objectAt(item, path)
  return { origin: originAt(origin, `${path}.origin`), known: cutAt(known, `${path}.known`) }
}

function sessionAt(item: unknown, path: string): SessionRecord {
  const { session, letGo, answers } = objectAt(item, path)
  return {
    session: nameAt(session, `${path}.session`),
    letGo: countAt(letGo, `${path}.letGo`, { min: 0 }),
    answers: listAt(answers, `${path}.answers`, snapshotItemsMax).map((answer, index) =>
      keptAnswerAt(answer, `${path}.answers[${index}]`),
    ),
  }
}

/** `[number, timestamp, origin, fingerprint]`: there are thousands of them, so that names would be most of it. */
function keptAnswerAt(value: unknown, path: string): KeptAnswer {
  if (!Array.isArray(value) || value.length !== 4) {
    throw expected(path, 'an answer such as [5, 12, "1~m3k9x", 3735928559]', value)
  }
  const [number, timestamp, origin, fingerprint] = value as readonly unknown[]
  return {
    number: countAt(number, `${path}[0]`, { min: 1 }),
    version: { timestamp: timestampAt(timestamp, `${path}[1]`), origin: originAt(origin, `${path}[2]`) },
    fingerprint: wholeAt(fingerprint, `${path}[3]`),
  }
}

function wholeAt(value: unknown, path: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw expected(path, 'a whole number', value)
  return value
}

function helloOf(given: ParsedObject): PeerHelloParams {
  const protocol = protocolAt(given.protocol, 'params.protocol')
  const { address, token } = given
  return {
    server: serverIdAt(given.server, 'params.server'),
    origin: ownOriginAt(given, 'params'),
    protocol,
    ...(address === undefined ? {} : { address: helloAddressAt(address, 'params.address') }),
    ...(token === undefined ? {} : { token: textAt(token, 'params.token', nameBytesMax) }),
    members: membersAt(given.members, 'params.members'),
  }
}

function helloAddressAt(value: unknown, path: string): { readonly host?: string; readonly port: number } {
  const { host, port } = objectAt(value, path)
  const checked = portAt(port, `${path}.port`)
  return host === undefined ? { port: checked } : { host: hostAt(host, `${path}.host`), port: checked }
}

/** The origin of the server that speaks: its id is the server's. */
function ownOriginAt(given: ParsedObject, path: string): Origin {
  const origin = originAt(given.origin, `${path}.origin`)
  if (origin.startsWith(`${String(given.server)}~`)) return origin
  throw invalidParams(`${path}.origin`, `is ${origin}, which is no origin of server ${String(given.server)}`)
}
