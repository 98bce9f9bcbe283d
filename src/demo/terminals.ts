import { Interruption } from './interruption.ts'
import { ownCommand, ownEnvironment, typedCommand } from './own-command.ts'
import { panes, type Pane, type Panes } from './pane.ts'
import { freePorts, isListeningSoon } from './ports.ts'
import { Tmux, TmuxError } from './tmux.ts'

/**
 * `tidings demo --terminals`: the cast of the story in six terminals, for people to play it themselves.
 *
 * With tmux they are panes: of a tmux of their own, which ends, and everything in it, when its user leaves; or, inside
 * of tmux already, of a new window there. Without tmux it says what to type in which terminal.
 *
 * @returns the exit code.
 */
export async function openTerminals(): Promise<number> {
  const ports = await freePorts(3)
  const [one = 0, two = 0, three = 0] = ports
  const cast = panes([one, two, three])
  if (!Tmux.isInstalled()) {
    print(instructions(cast))
    return 0
  }
  try {
    return process.env['TMUX'] === undefined
      ? await openSession({ cast, ports })
      : await openWindow({ cast, ports })
  } catch (error) {
    if (!(error instanceof TmuxError)) throw error
    process.stderr.write(`error: ${error.message}\n`)
    return 5
  }
}

/** What the panes are filled with. */
interface Filling {
  readonly cast: Panes
  /** Where the servers among them will listen. */
  readonly ports: readonly number[]
}

const socketName = 'tidings-demo'
const sessionName = 'tidings'
/** Room for six, until somebody attaches with a terminal of another size. */
const detachedSize = { columns: 200, rows: 50 }

/** What to type where, for people who open the terminals themselves. */
function instructions(cast: readonly Pane[]): readonly string[] {
  const lines = ['There is no tmux here to open the terminals. Open six yourself, in this folder, and type:']
  for (const [index, { title, words, hints }] of cast.entries()) {
    lines.push('', `Terminal ${index + 1} (${title}):`, `  ${typedCommand(words)}`)
    lines.push(...hints.map((hint) => (hint === '' ? '' : `    ${hint}`)))
  }
  lines.push('', 'Ctrl-C ends a server, exit a client.')
  return lines
}

/** A tmux of its own: nobody's settings, nobody's sessions, and one command to end all of it. */
async function openSession(filling: Filling): Promise<number> {
  const tmux = new Tmux(socketName)
  const isOpen = tmux.succeeds('has-session', '-t', sessionName)
  if (!isOpen) {
    const { columns, rows } = process.stdout.isTTY ? process.stdout : detachedSize
    const size = ['-x', `${columns}`, '-y', `${rows}`]
    await fill(tmux, filling, (command) =>
      tmux.run('new-session', '-d', ...printingPane, '-s', sessionName, ...size, ...command),
    )
    tmux.run('set-option', '-g', 'mouse', 'on')
    tmux.run('set-option', '-g', 'status-right-length', '80')
    tmux.run(
      'set-option',
      '-g',
      'status-right',
      'click: another pane · Ctrl-b R: start it again · Ctrl-b d: end all ',
    )
    tmux.run('bind-key', 'R', 'respawn-pane', '-k')
  }
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    print([
      `${isOpen ? 'The panes are open already' : 'Six panes are open'}, in a tmux of their own.`,
      `  look: tmux -L ${socketName} attach`,
      `  end:  tmux -L ${socketName} kill-server`,
    ])
    return 0
  }
  const interruption = new Interruption()
  try {
    return await Promise.race([tmux.attach(sessionName).then(() => 0), interruption.exitCode])
  } finally {
    interruption.dispose()
    // It is gone already where everything in it has ended.
    tmux.succeeds('kill-server')
  }
}

/** Inside of somebody's tmux: a window more there, rather than a tmux within a tmux. */
async function openWindow(filling: Filling): Promise<number> {
  const tmux = new Tmux(undefined)
  const first = await fill(tmux, filling, (command) =>
    tmux.run('new-window', ...printingPane, '-n', sessionName, ...command),
  )
  const window = tmux.run('display-message', '-p', '-t', first, '#{window_id}')
  print([
    `Six panes are open in the window "${sessionName}".`,
    '  another pane: Ctrl-b and an arrow key',
    `  end all:      tmux kill-window -t ${window}`,
  ])
  return 0
}

/**
 * Three servers side by side, and below each its client, once there is something to connect to.
 *
 * @param open opens the first pane, with a command in it, and returns its id.
 * @returns the id of the first pane.
 */
async function fill(
  tmux: Tmux,
  { cast, ports }: Filling,
  open: (command: readonly string[]) => string,
): Promise<string> {
  const [west, central, east, alice, bob, onlooker] = cast
  const entitle = (id: string, { title }: Pane): string => tmux.run('select-pane', '-t', id, '-T', title)
  const split = (beside: string, how: readonly string[], pane: Pane): string => {
    const id = tmux.run('split-window', ...printingPane, '-t', beside, ...how, ...paneCommand(pane))
    entitle(id, pane)
    return id
  }
  const first = open(paneCommand(west))
  try {
    // Somebody may stop a server, to see what the others do, and start it again in its place.
    tmux.run('set-option', '-w', '-t', first, 'remain-on-exit', 'on')
    tmux.run('set-option', '-w', '-t', first, 'pane-border-status', 'top')
    tmux.run('set-option', '-w', '-t', first, 'pane-border-format', ' #{pane_title} ')
    entitle(first, west)
    const second = split(first, ['-h', '-l', '66%'], central)
    split(second, ['-h', '-l', '50%'], east)
    await Promise.all(ports.map(isListeningSoon))
    const below = split(first, ['-f', '-v', '-l', '45%'], alice)
    const belowCentral = split(below, ['-h', '-l', '66%'], bob)
    split(belowCentral, ['-h', '-l', '50%'], onlooker)
    tmux.run('select-pane', '-t', below)
    return first
  } catch (error) {
    tmux.succeeds('kill-window', '-t', first)
    throw error
  }
}

/** tmux prints the id of the pane that it opens. */
const printingPane = ['-P', '-F', '#{pane_id}']

/** The command of one pane: its hints, and then the program in the place of the shell that printed them. */
function paneCommand({ words, hints }: Pane): readonly string[] {
  const unset = Object.keys(process.env).filter((name) => !(name in ownEnvironment()))
  const text = hints.length === 0 ? '' : `${hints.join('\n')}\n\n`
  const script = [...unset.map((name) => `unset ${name}`), 'printf %s "$0"', 'exec "$@"'].join('; ')
  return ['sh', '-c', script, text, ...ownCommand(words)]
}

function print(lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''))
}
