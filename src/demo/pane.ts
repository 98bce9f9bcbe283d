/** One terminal of the demonstration: what runs in it, and what to do there. */
export interface Pane {
  readonly title: string
  /** The words after the program's name. */
  readonly words: readonly string[]
  /** What is printed above, in lines; what to type there, in which order. */
  readonly hints: readonly string[]
}

/** The servers 1, 2 and 3, Alice and Bob. */
export type Panes = readonly [Pane, Pane, Pane, Pane, Pane]

/**
 * The five terminals of the story, and how people play it in them.
 *
 * @param ports where the three servers are to listen.
 */
export function panes(ports: readonly [number, number, number]): Panes {
  const server = (index: 0 | 1 | 2, place: string, hints: readonly string[]): Pane => {
    const others = ports.filter((port) => port !== ports[index]).join(' ')
    const where = ['--port', `${ports[index]}`, '--id', `${index + 1}`, '--peers', others]
    return {
      title: `server ${index + 1}, ${place}`,
      words: ['server', ...where, '--durability', 'memory', '--lab'],
      hints,
    }
  }
  return [
    server(0, 'west', []),
    server(1, 'central', []),
    server(2, 'east', ['Watch here how z waits for y.']),
    {
      title: 'Alice, at server 1',
      words: ['client', `${ports[0]}`, '--id', 'Alice'],
      hints: [
        'You are Alice. Type:',
        '  1. write x lost      every server gets it',
        '  2. hold 3            the link from server 1 to 3',
        '  3. write y found     stays in that link',
        '  now Bob',
        '  6. release 3         look at server 3: y, then z',
      ],
    },
    {
      title: 'Bob, at server 2',
      words: ['client', `${ports[1]}`, '--id', 'Bob'],
      hints: [
        'You are Bob. When Alice has written y, type:',
        '  4. read y            found',
        '  5. write z glad      look at server 3: it waits',
        '  now Alice again',
        '',
        'help tells the other commands, exit ends.',
      ],
    },
  ]
}
