import { defaultLimits } from '../replica/configuration.ts'

/**
 * Every limit of the wire, each with its reason. Bytes are bytes of UTF-8; times are in milliseconds.
 *
 * A limit is there so that one sender can neither hold the memory of a server nor stop it from serving others.
 * What a client sends is bounded by {@link lineBytesMax}. What it is *answered* is not: a reply may hold many
 * values, each as long as a line. Replies have their own bound, {@link replyBytesMax}, which a reader of this
 * protocol has to allow for.
 *
 * What the replica itself bounds (waiting updates, pages, pushes under way) stands with its reasons in
 * `defaultLimits` of `src/replica/configuration.ts`.
 */

/** The version of this protocol. Both sides must speak the same. */
export const protocolVersion = 1

const kibi = 1024
const mebi = 1024 * kibi

// ── what a client sends ──────────────────────────────────────────────────────────────────────────────────

/**
 * One line from a client, its `\n` not counted. Parsing and checking this much takes some milliseconds, and some tens of
 * them where it is nothing but numbers or objects: the longest that one line may keep the others waiting. NATS and MQTT
 * brokers have the same default for a message.
 */
export const lineBytesMax = 1 * mebi

/** A connection that has not shown that it knows the secret can make the server hold this much, and no more. */
export const lineBytesBeforeAuthenticationMax = 16 * kibi

/**
 * All that such a connection may send, in lines or not. A greeting takes less than a kibibyte; the rest is for people
 * who try things out by hand.
 */
export const bytesBeforeAuthenticationMax = 64 * kibi

/** And so many messages, each of a batch counted. A greeting takes two; a challenge costs the server two digests. */
export const requestsBeforeAuthenticationMax = 16

/** Keys are held in memory on every server, in a map and in a sorted index. */
export const keyBytesMax = 1024

/** Nested arrays and objects in one value; a scalar has 0. Everything recursive stays far from the stack's end. */
export const valueDepthMax = 64

/**
 * Levels that a message puts around a value, at most: a JSON-RPC batch array, the message, its params, `writes`
 * and one write. A whole line may be this much deeper than a value.
 */
export const envelopeDepthMax = 5

/**
 * Values in one line of a client, each array and object counted, and what is in it. A mebibyte has room for half a
 * million; so many take some 10 ms to check and to make, twice that where it is done for the first time, and everybody
 * else waits.
 */
export const itemsMax = 32_768

/**
 * Names of members in one line of a client that differ from each other. A mebibyte has room for a hundred thousand,
 * and there is nothing in JSON that takes longer to make; so many take some 20 ms.
 */
export const namesMax = 16_384

/**
 * In a line of at most so many characters neither is counted, for there cannot be too many: nothing in JSON is denser
 * than `[],`, three characters of which two are counted.
 */
export const unweighedLengthMax = (3 * itemsMax) / 2

/** Writes of one `batch`: they are applied in one step, which should take milliseconds. */
export const batchWritesMax = 10_000

/**
 * The text of an update's writes as servers pass it on. It can be longer than the line that it came in, for
 * `1e20` becomes `100000000000000000000`; this bound makes sure that an update fits a peer's frame all the same.
 */
export const writesBytesMax = lineBytesMax + 64 * kibi

/**
 * A number grows by at most 18 bytes when it is written again. So what came in a line and holds no more numbers
 * than this is within {@link writesBytesMax} without a look at its text.
 */
export const numbersUnmeasuredMax = Math.floor((writesBytesMax - lineBytesMax) / 18)

/** Keys of one `read`. */
export const readKeysMax = 1_000

/** What `keys` lists where the request has no `limit`. */
export const keysLimitDefault = 1_000

/** The most that `keys` lists at once; `next` says where to go on. */
export const keysLimitMax = 10_000

/**
 * Origins in a cut that a client shows: as many starts of processes that each wrote something. A watch keeps it, and
 * so does a request that waits for it.
 */
export const cutEntriesMax = 10_000

/** Messages in one JSON-RPC batch array. */
export const rpcBatchLengthMax = 1_000

/** A session's name, a request's id as a string: as long as a key is reasonable, longer is a mistake. */
export const nameBytesMax = 1024

// ── connections ──────────────────────────────────────────────────────────────────────────────────────────

/** Client connections of one server. Each costs a file descriptor and some 10 KiB. */
export const clientConnectionsMax = 1_024

/**
 * Requests of one connection whose answers have not been said yet: those of a batch are said together. Above it, the
 * server stops reading that socket, so that TCP tells the client to slow down; it refuses nothing.
 */
export const requestsInFlightMax = 1_024

/** Watches of one connection: the replica counts them. */
export const watchesPerClientMax = defaultLimits.watchesPerClientMax

/** Between a line's first byte and its `\n`. So nobody holds a buffer by sending a byte now and then. */
export const finishLineMs = 10_000

/** Between a connection's start and the proof that it knows the secret, where the server has one. */
export const authenticateMs = 10_000

/**
 * How long a connection that has been told its last may linger once everything has left, so that the other side
 * takes it before the connection is gone.
 */
export const lingerMs = 1_000

/**
 * How long what was sent may stay without a byte of it moving. A slow reader may be as slow as it likes; one that
 * has stopped is cut off, because what is owed to it is held in memory.
 */
export const stuckMs = 30_000

/** A peer pings every second; a link on which nothing has moved for this long has died without a word. */
export const silentLinkMs = 10_000

/** How long a server that shuts down waits for what it owes to leave. */
export const shutdownMs = 3_000

/**
 * What all connections together have not taken yet. Past it, long answers are refused with −32002 and watches
 * fall back to catching up early, so that many readers who do not read cannot do what one may not.
 */
export const outboxesBytesMax = 256 * mebi

/** An answer up to this length is always given: acknowledgements are, whatever their keys. */
export const shortAnswerLengthMax = 8 * kibi

/**
 * Sent to a client and not yet taken by its socket. Past this the client is stalled: its watches fall back to
 * catching up and its requests are not read until it has drained.
 */
export const clientOutboxBytesMax = 4 * mebi

/** As {@link clientOutboxBytesMax} for a peer: past this its link is closed, and it pulls after it comes back. */
export const peerOutboxBytesMax = 32 * mebi

// ── answers ──────────────────────────────────────────────────────────────────────────────────────────────

/**
 * One line to a client: a reply or a push. A request whose answer would be longer is answered with error −32010
 * and asked to take less at once; a push leaves the values of conflicting versions out.
 */
export const replyBytesMax = 16 * mebi

// ── peers ────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * One frame of a peer. An update is always sent in one frame, and is at most its writes, {@link writesBytesMax},
 * and an envelope whose only part that grows is `dependencies`: at most one entry, some 70 bytes, for each
 * origin. So does a whole cut. Three mebibytes for either are 40,000 origins: as many starts of processes that
 * each wrote something.
 */
export const peerLineBytesMax = 4 * mebi

/**
 * A frame of several updates is split before it gets longer than this. It is parsed in a few milliseconds, and in some
 * 20 ms whatever is in it.
 */
export const peerFrameBytesMax = 128 * kibi

/**
 * Values in one long line of a peer, counted as {@link itemsMax} is. A frame of {@link peerFrameBytesMax} has room for
 * two thirds of this. An update alone has at most {@link itemsMax} in its writes, and no dependencies on more origins
 * than are told of any peer, which are as many. The names of a cut are not counted: they are those of origins.
 */
export const peerItemsMax = 131_072

/** Updates in one frame. A page of the log has at most 1,000; a frame of a faulty peer is bounded too. */
export const frameUpdatesMax = 10_000

/** Versions in one `peer.ask` or `peer.tell`: people read the answer. */
export const askedVersionsMax = 1_000

/**
 * Siblings, rows and sessions of one page of a snapshot, and answers of one session. A page has at most 1,000 of them
 * all together; a page of a faulty peer is bounded too.
 */
export const snapshotItemsMax = 10_000

/** Servers that one message may name. A mesh connects each to each; a hundred would be many. */
export const membersMax = 1_024

/** How long a server that holds an id may take to answer a ping before another with that id replaces it (R7). */
export const pingTimeoutMs = 1_000

// ── sessions and retries ─────────────────────────────────────────────────────────────────────────────────

/** Missing versions that one error names. It counts the others: nobody can do more about a thousand than about these. */
export const missingNamedMax = defaultLimits.missingNamedMax

// The following are the replica's, and stand with their reasons in `defaultLimits`.

/** Answers that are kept of one session, to recognise its retries (R10). */
export const answersPerSessionMax = defaultLimits.requests.answersPerSessionMax

/** Answers that are kept of all sessions together. */
export const answersMax = defaultLimits.requests.answersMax

/** Sessions of which anything is kept. */
export const sessionsMax = defaultLimits.requests.sessionsMax

/** Requests of all clients that wait for what they are to come after (R9). */
export const parkedMax = defaultLimits.parkedMax

// ── time ─────────────────────────────────────────────────────────────────────────────────────────────────

/** How long a request may take where it does not say. */
export const timeoutMsDefault = 5_000

/** The most that a request may ask for. */
export const timeoutMsMax = 60_000

/** What `link` with `delay` accepts: an hour. */
export const linkDelayMsMax = 3_600_000
