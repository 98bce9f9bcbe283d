/** Who takes part in the story, and how what they say and see is put. */
import { showVersion, type Version } from '../client/client.ts'
import type { Message, Note, Participant, Tone } from './stage.ts'

export const alice: Participant = { name: 'Alice', place: 'at server 1' }
export const west: Participant = { name: 'server 1', place: 'west' }
export const central: Participant = { name: 'server 2', place: 'central' }
export const east: Participant = { name: 'server 3', place: 'east' }
export const bob: Participant = { name: 'Bob', place: 'at server 2' }

/** In the order in which they stand on the page. */
export const participants: readonly Participant[] = [alice, west, central, east, bob]

const servers: readonly Participant[] = [west, central, east]

/** Something said at one place and heard at another; what is heard is good news unless said otherwise. */
export function message(
  from: Participant,
  said: string,
  to: Participant,
  heard: string,
  tone: Tone = 'good',
): Message {
  return {
    from: { at: from, text: said, tone: tone === 'lab' ? tone : 'plain' },
    to: { at: to, text: heard, tone },
  }
}

export function serverNamed(id: string): Participant {
  return servers.find(({ name }) => name === `server ${id}`) ?? { name: id }
}

/** Paragraphs as lines of one sentence each. */
export function sentences(paragraphs: readonly string[]): readonly string[] {
  return paragraphs.flatMap((paragraph) => paragraph.split(/(?<=\.) (?=\p{Lu})/u))
}

export function atAllServers(text: string, tone: Tone = 'good'): readonly Note[] {
  return servers.map((at) => ({ at, text, tone }))
}

/** Such as `x = lost 1@1`. */
export function entry(key: string, value: string, version: Version): string {
  return `${key} = ${value} ${showVersion(version)}`
}
