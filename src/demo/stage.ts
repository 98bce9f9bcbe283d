/**
 * Where the story is told: one place for each participant, in the order in which they stand on the page.
 * What is asked of a stage is lines of text; who prints them is another's business.
 */
export interface Stage {
  /** What is about to be seen; once, at the beginning. */
  open(text: string): readonly string[]
  /** The heading of a scene, and a few sentences on what to look for in it. */
  scene(title: string, text: string): readonly string[]
  /** Something that one participant does or sees by itself. */
  note(note: Note): readonly string[]
  /** What several see at the same moment, on one line. */
  together(notes: readonly Note[]): readonly string[]
  /** Something that goes from one participant to another: both ends of it on one line. */
  message(message: Message): readonly string[]
  /** Words that are nobody's in particular: a quotation, a result. */
  aside(text: readonly string[], tone?: Tone): readonly string[]
}

/** Someone who takes part: a person, or a server with its place on the map. */
export interface Participant {
  readonly name: string
  readonly place?: string
}

export interface Note {
  readonly at: Participant
  readonly text: string
  readonly tone?: Tone
}

export interface Message {
  readonly from: Note
  readonly to: Note
  /** It has left and does not arrive: the link keeps it, or is broken. */
  readonly isStopped?: boolean
}

/** What a piece of text means to the reader; a stage with colours shows it by them. */
export type Tone = 'plain' | 'strong' | 'good' | 'waiting' | 'lab' | 'bad' | 'quiet'
