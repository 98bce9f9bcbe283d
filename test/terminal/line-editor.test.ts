import { Interface } from 'node:readline'
import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { LineEditor } from '../../src/terminal/line-editor.ts'
import type { LineEditorOptions } from '../../src/terminal/line-editor.ts'
import type { Completion } from '../../src/terminal/terminal-line.ts'
import { FakeTerminal } from './fake-terminal.ts'

/*
 * What the editor does, one behaviour at a time. That the screen is right whatever happens in whatever order is shown by
 * `screen.test.ts`.
 */

const opened: { close(): void }[] = []
afterEach(() => {
  for (const editor of opened.splice(0)) editor.close()
})

describe('on a terminal', () => {
  test('the prompt is shown, and a line that is entered is handed over without it', () => {
    const { terminal, lines } = openOnTerminal()
    terminal.type('write x lost\r')
    expect(lines).toEqual(['write x lost'])
    expect(terminal.rows()).toEqual(['1> write x lost', '1>'])
  })

  test('a message appears above the half-typed line, and typing goes on where it was', () => {
    const { terminal, editor, lines } = openOnTerminal()
    terminal.type('write x lo')
    editor.printAbove('x was written')
    editor.flush()
    terminal.type('st\r')
    expect(terminal.rows()).toEqual(['x was written', '1> write x lost', '1>'])
    expect(lines).toEqual(['write x lost'])
  })

  test('all that is printed in one turn of the event loop is one print', async () => {
    const { terminal, editor } = openOnTerminal()
    terminal.type('wri')
    const before = terminal.written.length
    for (const text of ['one', 'two\nthree', 'four']) editor.printAbove(text)
    expect(terminal.written.length).toBe(before)
    await nextTurn()
    expect(terminal.rows()).toEqual(['one', 'two', 'three', 'four', '1> wri'])
    expect(terminal.written.slice(before).split('1> wri')).toHaveLength(2)
  })

  test('the prompt changes under the fingers of who is typing, and the text and the cursor remain', () => {
    const { terminal, editor, lines } = openOnTerminal()
    terminal.type('read y')
    terminal.type(left)
    editor.setPrompt('1 (reconnecting)> ')
    expect(terminal.rows()).toEqual(['1 (reconnecting)> read y'])
    terminal.type('x')
    terminal.type('\r')
    expect(lines).toEqual(['read xy'])
  })

  test('setting the prompt that is already there writes nothing', () => {
    const { terminal, editor } = openOnTerminal()
    const { written } = terminal
    editor.setPrompt('1> ')
    expect(terminal.written).toBe(written)
  })

  test('what is printed while a line is handed over stands between it and the next prompt', () => {
    const { terminal } = openOnTerminal({ onLine: (line, editor) => editor.printAbove(`did ${line}`) })
    terminal.type('status\rkeys\r')
    expect(terminal.rows()).toEqual(['1> status', 'did status', '1> keys', 'did keys', '1>'])
  })

  test('a paste into the middle of a line goes to the middle (Node 20 alone makes "hel-lo worldABC" of this one)', () => {
    const { terminal, lines } = openOnTerminal()
    terminal.type('hello world')
    terminal.type(home)
    terminal.type('ABC-')
    expect(terminal.rows()).toEqual(['1> ABC-hello world'])
    terminal.type('\r')
    expect(lines).toEqual(['ABC-hello world'])
  })

  test('a tab within a paste is a space, and what steers a terminal does not get into the line', () => {
    const { terminal, lines } = openOnTerminal({ complete: () => ({ candidates: ['never'], from: 0 }) })
    terminal.type('write x a\tb\u202E\u009B2J\u2028c\r')
    expect(lines).toEqual(['write x a b2J c'])
    expect(terminal.rows()).toEqual(['1> write x a b2J c', '1>'])
  })

  test('a paste of a megabyte takes time in proportion to its length', () => {
    const { terminal, lines } = openOnTerminal({ columns: 200, rows: 50 })
    const chunk = 'x'.repeat(65_536)
    terminal.type('write x ')
    for (let chunks = 0; chunks < 16; chunks += 1) terminal.type(chunk)
    terminal.type('\r')
    expect(lines.map((line) => line.length)).toEqual([8 + 16 * 65_536])
  }, 30_000)

  test('Ctrl-Z stops the whole job, not only this process, and the half-typed line is drawn again afterwards', async () => {
    const { terminal, lines } = openOnTerminal()
    const kill = vi.spyOn(process, 'kill').mockImplementation(() => {
      expect(terminal.input.isRaw).toBe(false)
      terminal.output.write('[1]+  Stopped\r\n')
      return true
    })
    terminal.type('write x lo')
    terminal.type('\u001A')
    expect(kill.mock.calls).toEqual([[0, 'SIGTSTP']])
    kill.mockRestore()
    await nextTurn()
    expect(terminal.input.isRaw).toBe(true)
    terminal.type('st\r')
    expect(terminal.rows()).toEqual(['1> write x lo', '[1]+  Stopped', '1> write x lost', '1>'])
    expect(lines).toEqual(['write x lost'])
  })

  test('a line that is entered while lines are held back is told at once, and comes in its turn', () => {
    const ahead: string[] = []
    const { terminal, editor, lines } = openOnTerminal({ onAhead: (line) => ahead.push(line) })
    editor.pause()
    terminal.type('exit\r')
    expect([ahead, lines]).toEqual([['exit'], []])
    editor.resume()
    expect([ahead, lines]).toEqual([['exit'], ['exit']])
  })

  test('Ctrl-C abandons the line that is being typed; on an empty one it is told', () => {
    const { terminal, lines, told } = openOnTerminal()
    terminal.type('delete every')
    terminal.type(ctrlC)
    terminal.type('keys\r')
    expect(told).toEqual([])
    expect(lines).toEqual(['keys'])
    expect(terminal.rows()).toEqual(['1> delete every^C', '1> keys', '1>'])
    terminal.type(ctrlC)
    expect(told).toEqual(['interrupt'])
  })

  test('Ctrl-D on an empty line is the end; what is printed afterwards still appears', () => {
    const { terminal, editor, told } = openOnTerminal()
    editor.printAbove('before')
    terminal.type('\u0004')
    expect(told).toEqual(['close'])
    editor.printAbove('after')
    expect(terminal.rows()).toEqual(['before', '1>', 'after'])
    expect(terminal.input.isRaw).toBe(false)
  })

  test('closing leaves the cursor below the whole line, for the shell, and is told once', () => {
    const { terminal, editor, told } = openOnTerminal({ columns: 20 })
    terminal.type('a line that needs several rows')
    terminal.type(home)
    editor.close()
    editor.close()
    expect(terminal.cursor()).toEqual({ row: 2, column: 0 })
    expect(told).toEqual(['close'])
  })

  test('when the terminal goes away, the half-typed line is not carried out', async () => {
    const { terminal, lines, told } = openOnTerminal()
    terminal.type('delete x')
    terminal.input.end()
    await nextTurn()
    expect(lines).toEqual([])
    expect(told).toEqual(['close'])
  })

  test('a terminal that fails to be read is one that has gone away', () => {
    const { terminal, told } = openOnTerminal()
    terminal.input.emit('error', new Error('read EIO'))
    expect(told).toEqual(['close'])
  })

  test('the arrows walk through the history that was handed in, the newest line first, and through new lines', () => {
    const { terminal, lines } = openOnTerminal({ history: ['read a', 'bad \u001B[2J', 'read b'] })
    terminal.type(`${up}\r`)
    terminal.type(`${up}${up}\r`)
    expect(lines).toEqual(['read b', 'read a'])
  })

  test('after Ctrl-C the history begins at its newest line again', () => {
    const { terminal, lines } = openOnTerminal({ history: ['read a', 'read b'] })
    terminal.type(up)
    terminal.type(ctrlC)
    terminal.type(`${up}\r`)
    expect(lines).toEqual(['read b'])
  })

  test('paused, lines wait and typing goes on; resumed, they come in order', () => {
    const { terminal, editor, lines } = openOnTerminal()
    editor.pause()
    terminal.type('one\rtwo\rthr')
    expect(lines).toEqual([])
    editor.resume()
    expect(lines).toEqual(['one', 'two'])
    expect(terminal.rows()).toEqual(['1> one', '1> two', '1> thr'])
  })
})

describe('hints', () => {
  test('a hint stands dimmed behind the cursor, and is gone with the next key', () => {
    const { terminal } = openOnTerminal({ hint })
    terminal.type('write')
    expect(terminal.rows()).toEqual(['1> write <key> <value…>'])
    expect(terminal.cursor()).toEqual({ row: 0, column: 8 })
    expect(terminal.written).toContain('\u001B[2m <key> <value…>\u001B[22m')
    terminal.type(' ')
    expect(terminal.rows()).toEqual(['1> write'])
  })

  test('a hint is no part of what is entered, printed above or left behind', () => {
    const { terminal, editor, lines } = openOnTerminal({ hint })
    terminal.type('write')
    editor.printAbove('a message')
    editor.flush()
    expect(terminal.rows()).toEqual(['a message', '1> write <key> <value…>'])
    terminal.type('\rwrite')
    editor.close()
    expect(terminal.rows()).toEqual(['a message', '1> write', '1> write'])
    expect(lines).toEqual(['write'])
  })

  test('there is no hint where the cursor is within the line, or the row has no room for all of it and one cell', () => {
    const within = openOnTerminal({ hint }).terminal
    within.type('write')
    within.type(left)
    expect(within.rows()).toEqual(['1> write'])
    const room = '1> write <key> <value…>'.length
    for (const [columns, shown] of [
      [room, '1> write'],
      [room + 1, '1> write <key> <value…>'],
    ] as const) {
      const { terminal } = openOnTerminal({ hint, columns })
      terminal.type('write')
      expect(terminal.rows()).toEqual([shown])
    }
  })
})

describe('completion', () => {
  test('Tab completes the word before the cursor with what all candidates begin with', async () => {
    const { terminal } = openOnTerminal({ complete })
    for (const typed of ['read u!', left + left + right, '\t']) terminal.type(typed)
    await nextTurn()
    expect(terminal.rows()).toEqual(['1> read user/al!'])
  })

  test('where that adds nothing, the candidates are listed above the line', async () => {
    const { terminal } = openOnTerminal({ complete, columns: 32 })
    terminal.type('a line that wraps to two rows user/al')
    terminal.type('\t')
    await nextTurn()
    expect(terminal.rows()).toEqual([
      'user/alice   user/albert',
      '1> a line that wraps to two rows',
      ' user/al',
    ])
  })

  test('a key from the store that would steer the terminal is not offered', async () => {
    const { terminal } = openOnTerminal({ complete })
    terminal.type('read ev')
    terminal.type('\t')
    await nextTurn()
    expect(terminal.rows()).toEqual(['1> read ev'])
  })

  test('while candidates are on their way typing goes on, and an answer to an older line is dropped', async () => {
    const answers: ((offer: Completion) => void)[] = []
    const { terminal, told } = openOnTerminal({
      complete: () => new Promise<Completion>((resolve) => answers.push(resolve)),
    })
    terminal.type('wa')
    terminal.type('\t')
    terminal.type('x')
    answers[0]?.({ candidates: ['watch'], from: 0 })
    await nextTurn()
    expect(terminal.rows()).toEqual(['1> wax'])
    terminal.type(ctrlC)
    terminal.type('\t')
    terminal.type(ctrlC)
    expect(told).toEqual(['interrupt'])
  })

  test('a completion that fails completes nothing', async () => {
    const { terminal } = openOnTerminal({ complete: () => Promise.reject(new Error('not connected')) })
    terminal.type('wa')
    terminal.type('\t')
    await nextTurn()
    expect(terminal.rows()).toEqual(['1> wa'])
  })
})

describe('where there is no terminal', () => {
  test('lines go in and out as they are: no prompt, no echo, no escape sequence', async () => {
    const input = new PassThrough()
    const output = new PassThrough({ encoding: 'utf8' })
    const { editor, lines, told } = openOn({ input, output }, { hint: () => ' <key>' })
    editor.setPrompt('1 (reconnecting)> ')
    input.write('write x lost\r\nread')
    editor.printAbove('x was written')
    input.end(' x')
    await nextTurn()
    expect(lines).toEqual(['write x lost', 'read x'])
    expect(told).toEqual(['close'])
    expect(output.read()).toBe('x was written\n')
  })

  test('output to a file keeps the prompt off it, even where the keyboard is a terminal', () => {
    const output = new PassThrough({ encoding: 'utf8' })
    const { terminal } = openOnTerminal()
    const { editor } = openOn({ input: terminal.input, output }, {})
    editor.printAbove('a message')
    expect(output.read()).toBe('a message\n')
  })

  test('a dumb terminal gets a prompt of its own after every message, and no escape sequence', () => {
    const terminal = new FakeTerminal({ columns: 80, rows: 24 })
    const { editor, lines } = openOn(terminal, { environment: { TERM: 'dumb' } })
    terminal.type('read x\n')
    editor.printAbove('a message')
    expect(lines).toEqual(['read x'])
    expect(terminal.written).toBe('1> 1> \na message\n1> ')
  })

  test('on a dumb terminal the prompt comes after the answer to a line, and not at all when that line was the last', () => {
    const terminal = new FakeTerminal({ columns: 80, rows: 24 })
    openOn(terminal, {
      environment: { TERM: 'dumb' },
      onLine: (line, editor) => {
        editor.printAbove(`did ${line}`)
        if (line === 'exit') editor.close()
      },
    })
    terminal.type('keys\nexit\n')
    expect(terminal.written).toBe('1> did keys\n1> did exit\n')
  })

  test('a Node whose readline is another than we know gets plain lines rather than a garbled screen', async () => {
    vi.resetModules()
    const spy = vi.spyOn(Interface.prototype, 'getCursorPos').mockReturnValue({ rows: 0, cols: 0 })
    const fresh = await import('../../src/terminal/line-editor.ts')
    const terminal = new FakeTerminal({ columns: 80, rows: 24 })
    const { editor, lines } = openOn(terminal, { environment: {} }, fresh.LineEditor)
    spy.mockRestore()
    terminal.type('read x\n')
    editor.printAbove('a message')
    expect(lines).toEqual(['read x'])
    expect(terminal.written).toBe('1> 1> \na message\n1> ')
  })

  test('paused, the end of the input waits for the lines before it', async () => {
    const input = new PassThrough()
    const { editor, lines, told } = openOn({ input, output: new PassThrough() }, {})
    editor.pause()
    input.end('one\ntwo\n')
    await nextTurn()
    expect([...lines, ...told]).toEqual([])
    editor.resume()
    await nextTurn()
    expect(lines).toEqual(['one', 'two'])
    expect(told).toEqual(['close'])
  })
})

function hint(line: string): string | undefined {
  return line === 'write' ? ' <key> <value…>' : undefined
}

async function complete(line: string): Promise<Completion> {
  const from = line.lastIndexOf(' ') + 1
  const words = ['user/alice', 'user/albert', 'watch', 'evil\u001B[2J']
  return { candidates: words.filter((word) => word.startsWith(line.slice(from))), from }
}

const left = '\u001B[D'
const right = '\u001B[C'
const up = '\u001B[A'
const home = '\u001B[H'
const ctrlC = '\u0003'

type Settings = Pick<LineEditorOptions, 'complete' | 'hint' | 'history' | 'environment' | 'onAhead'> & {
  readonly onLine?: (line: string, editor: LineEditor) => void
}

function openOnTerminal({
  columns = 80,
  rows = 24,
  ...settings
}: Settings & { readonly columns?: number; readonly rows?: number } = {}): ReturnType<typeof openOn> & {
  terminal: FakeTerminal
} {
  const terminal = new FakeTerminal({ columns, rows })
  return { terminal, ...openOn(terminal, { environment: {}, ...settings }) }
}

function openOn(
  streams: Pick<LineEditorOptions, 'input' | 'output'>,
  { onLine, ...settings }: Settings,
  Editor = LineEditor,
): { editor: LineEditor; lines: string[]; told: string[] } {
  const lines: string[] = []
  const told: string[] = []
  const editor = new Editor({
    ...settings,
    input: streams.input,
    output: streams.output,
    prompt: '1> ',
    onLine: (line) => {
      lines.push(line)
      onLine?.(line, editor)
    },
    onInterrupt: () => told.push('interrupt'),
    onClose: () => told.push('close'),
  })
  opened.push(editor)
  return { editor, lines, told }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(() => setImmediate(resolve))
  })
}
