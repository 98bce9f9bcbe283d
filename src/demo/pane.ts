/** One terminal of the demonstration: what runs in it, and what to do there. */
export interface Pane {
  readonly title: string
  /** The words after the program's name. */
  readonly words: readonly string[]
  /** What is printed above, in lines; what to type there, in which order. */
  readonly hints: readonly string[]
}

/** The servers 1, 2 and 3, and a client at each: Alice, Bob, and whoever looks on. */
export type Panes = readonly [Pane, Pane, Pane, Pane, Pane, Pane]

/**
 * The six terminals of the story, and how people play it in them.
 *
 * The servers keep everything in memory: nobody can say when the last of these terminals is closed, so nobody could
 * remove their folders then. One that is ended and started again gets everything back from the others.
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
      words: ['client', `${ports[0]}`, `${ports[1]}`, '--id', 'Alice'],
      hints: [
        'You are Alice. Type:',
        '  1. write x lost      every server gets it',
        '  2. hold 3            the link from server 1 to 3',
        '  3. write y found     stays in that link',
        '  now Bob',
        '  8. release 3         look at server 3: y, then z',
        '  9. Ctrl-C in the terminal of server 1',
        ' 10. read y            found: you are at server 2',
      ],
    },
    {
      title: 'Bob, at server 2',
      words: ['client', `${ports[1]}`, '--id', 'Bob'],
      hints: [
        'You are Bob. When Alice has written y, type:',
        '  4. read y            found',
        '  5. write z glad      look at server 3: it waits',
        '  now the one at server 3',
        '',
        'help tells the other commands, exit ends.',
      ],
    },
    {
      title: 'you, at server 3',
      words: ['client', `${ports[2]}`, '--id', 'onlooker'],
      hints: [
        'You look on. When Bob has written z, type:',
        '  6. read z            not found: it waits',
        '  7. why z             for what, and who has it',
        '  now Alice again',
      ],
    },
  ]
}
