import { PassThrough, Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  AnswerRefused,
  QuestionInterrupted,
  Questions,
  QuestionUnanswered,
} from '../../src/terminal/questions.ts'

const PORT = 'Server port: '
const ID = 'Server ID: '
const PEERS = "Enter other servers' ports: "

const checkPort = (answer: string) => (/^\d+$/u.test(answer) ? undefined : `"${answer}" is not a port`)

/** An output that remembers what was written to it. */
function screen(isTTY: boolean) {
  const chunks: string[] = []
  const output = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk.toString())
      done()
    },
  })
  return Object.assign(output, { isTTY, columns: 80, rows: 24, shown: () => chunks.join('') })
}

function piped(chunks: Iterable<string | Buffer>) {
  const output = screen(false)
  const input = Readable.from([...chunks].map((chunk) => Buffer.from(chunk)))
  return { input, output, questions: new Questions({ input, output }) }
}

/** One chunk for each byte. */
const bytesOf = (whole: string) => [...Buffer.from(whole)].map((byte) => Buffer.from([byte]))

/** A fake terminal; `type` is what the keyboard sends, one chunk as the system would hand it on. */
function terminal() {
  const output = screen(true)
  const raw: boolean[] = []
  const input = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (isRaw: boolean) => raw.push(isRaw),
  })
  const type = (keys: string) => input.write(keys)
  return { input, output, raw, type, questions: new Questions({ input, output }) }
}

/** Reads what is there by now, as the next reader would. */
async function readable(stream: Readable): Promise<string> {
  await turn()
  await turn()
  return String(stream.read() ?? '')
}

async function askAll(questions: Questions): Promise<string[]> {
  return [await questions.ask(PORT), await questions.ask(ID), await questions.ask(PEERS)]
}

describe('questions whose answers are piped', () => {
  const whole = '60001\n1\n60002 60003\nwrite x lost\nread ü\nexit\n'

  it.each([
    ['in one chunk', [whole]],
    ['byte by byte', bytesOf(whole)],
    ['line by line', whole.split(/(?<=\n)/u)],
  ])('take one line each and leave the commands to the REPL, %s', async (_how, chunks) => {
    const { questions } = piped(chunks)
    expect(await askAll(questions)).toEqual(['60001', '1', '60002 60003'])
    expect(await text(questions.handOver())).toBe('write x lost\nread ü\nexit\n')
  })

  it.each([
    ['in one chunk', [whole.replaceAll('\n', '\r\n')]],
    ['byte by byte', bytesOf(whole.replaceAll('\n', '\r\n'))],
  ])('take lines that end as on Windows, %s', async (_how, chunks) => {
    const { questions } = piped(chunks)
    expect(await askAll(questions)).toEqual(['60001', '1', '60002 60003'])
    expect(await text(questions.handOver())).toBe('write x lost\r\nread ü\r\nexit\r\n')
  })

  it('appear on the output exactly, each on a line of its own', async () => {
    const { questions, output } = piped(['60001\n1\n\n'])
    await askAll(questions)
    expect(output.shown()).toBe("Server port: \nServer ID: \nEnter other servers' ports: \n")
  })

  it('take an empty line for an empty answer', async () => {
    const { questions } = piped(['60001\n1\n\nstatus\n'])
    expect(await askAll(questions)).toEqual(['60001', '1', ''])
    expect(await text(questions.handOver())).toBe('status\n')
  })

  it('trim the answers, and a byte order mark at the beginning', async () => {
    const { questions } = piped(['\uFEFF 60001\t\n'])
    expect(await questions.ask(PORT)).toBe('60001')
  })

  it('take a last line that nothing ends, and hand over an input that has ended', async () => {
    const { questions } = piped(['60001\nbob'])
    expect(await questions.ask(PORT)).toBe('60001')
    expect(await questions.ask(ID)).toBe('bob')
    expect(await text(questions.handOver())).toBe('')
  })

  it('hand over the first half of a command as soon as it is there, and the rest when it comes', async () => {
    const input = new PassThrough()
    const questions = new Questions({ input, output: screen(false) })
    input.write('60001\nread')
    expect(await questions.ask(PORT)).toBe('60001')
    const rest = questions.handOver()
    expect(await readable(rest)).toBe('read')
    input.end(' x\n')
    expect(await text(rest)).toBe(' x\n')
  })

  it('hand the whole input over when nothing was asked', async () => {
    const { questions } = piped(['status\n', 'exit\n'])
    expect(await text(questions.handOver())).toBe('status\nexit\n')
  })

  it('let go of the input when the reader of the rest does', async () => {
    const input = new PassThrough()
    const rest = new Questions({ input, output: screen(false) }).handOver()
    rest.destroy()
    await turn()
    expect(input.destroyed).toBe(true)
  })

  it('name the question that the input ended before', async () => {
    const { questions } = piped(['60001\n'])
    await questions.ask(PORT)
    const error = await questions.ask(ID).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(QuestionUnanswered)
    expect(error).toMatchObject({ question: ID, message: expect.stringContaining('Server ID:') })
  })

  it('stay unanswered however often they are asked when the input has ended', async () => {
    const { questions } = piped([])
    await expect(questions.ask(PORT)).rejects.toBeInstanceOf(QuestionUnanswered)
    await expect(questions.ask(PORT)).rejects.toBeInstanceOf(QuestionUnanswered)
    expect(await text(questions.handOver())).toBe('')
  })

  it('stay unanswered when the input breaks, and tell why', async () => {
    const input = new PassThrough()
    const questions = new Questions({ input, output: screen(false) })
    const asked = questions.ask(PORT)
    const broken = new Error('EIO: i/o error')
    input.destroy(broken)
    await expect(asked).rejects.toMatchObject({ name: 'QuestionUnanswered', cause: broken })
  })

  it('refuse a wrong answer with the text of the check', async () => {
    const { questions, output } = piped(['here\n60001\n'])
    const error = await questions.ask(PORT, { check: checkPort }).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(AnswerRefused)
    expect(error).toMatchObject({ question: PORT, message: '"here" is not a port' })
    expect(output.shown()).toBe('Server port: \n')
  })

  it('refuse an endless line', async () => {
    const endless = new Readable({
      read() {
        this.push('6'.repeat(1024))
      },
    })
    const questions = new Questions({ input: endless, output: screen(false) })
    await expect(questions.ask(PORT)).rejects.toBeInstanceOf(AnswerRefused)
    endless.destroy()
  })

  it('take a stream that gives text instead of bytes', async () => {
    const input = new PassThrough().setEncoding('utf8')
    input.end('ü\nread ü\n')
    const questions = new Questions({ input, output: screen(false) })
    expect(await questions.ask(ID)).toBe('ü')
    expect(await text(questions.handOver())).toBe('read ü\n')
  })
})

describe('questions that are typed at a terminal', () => {
  it('appear exactly, and take what is typed', async () => {
    const { questions, output, type } = terminal()
    const asked = questions.ask(PORT)
    type('60001\r')
    expect(await asked).toBe('60001')
    expect(output.shown()).toContain(PORT)
    expect(output.shown().endsWith('\r\n')).toBe(true)
  })

  it('can be edited', async () => {
    const { questions, type } = terminal()
    const asked = questions.ask(PORT)
    type('6001\u001B[D\u001B[D0x\u007F')
    type('\r')
    expect(await asked).toBe('60001')
  })

  it('take a paste in the middle of a line where it belongs', async () => {
    const { questions, type } = terminal()
    const asked = questions.ask(ID)
    type('hello world\u0001')
    type('ABC-')
    type('\r')
    expect(await asked).toBe('ABC-hello world')
  })

  it('are asked again after a wrong answer, which is explained', async () => {
    const { questions, output, type } = terminal()
    const asked = questions.ask(PORT, { check: checkPort })
    type('here\r60001\r')
    expect(await asked).toBe('60001')
    expect(output.shown()).toContain('"here" is not a port\n')
    expect(output.shown().split(PORT)).toHaveLength(3)
  })

  it.each([
    ['Enter', '\r'],
    ['line feeds', '\n'],
    ['both', '\r\n'],
  ])('take all answers typed ahead in one chunk with %s, and put the rest back', async (_name, end) => {
    const { questions, input, type } = terminal()
    type(['60001', '1', '', 'write x lost', 'rea'].join(end))
    expect(await askAll(questions)).toEqual(['60001', '1', ''])
    const rest = questions.handOver()
    expect(rest).toBe(input)
    expect(await readable(rest)).toBe(`write x lost${end}rea`)
  })

  it('take answers that come key by key', async () => {
    const { questions, input } = terminal()
    const asked = askAll(questions)
    for (const byte of Buffer.from('60001\rü\r60002\r')) {
      input.write(Buffer.from([byte]))
      await turn()
    }
    expect(await asked).toEqual(['60001', 'ü', '60002'])
  })

  it('put back keys that are typed while nothing is asked', async () => {
    const { questions, type } = terminal()
    const asked = questions.ask(PORT)
    type('60001\r')
    await asked
    const rest = questions.handOver()
    type('exit\r')
    expect(await readable(rest)).toBe('exit\r')
  })

  it('put back arrows and other keys as they were typed', async () => {
    const { questions, type } = terminal()
    type('60001\rread y\u001B[D\u001B[3~x\t')
    await questions.ask(PORT)
    expect(await readable(questions.handOver())).toBe('read y\u001B[D\u001B[3~x\t')
  })

  it('make the terminal raw for as long as they wait, no longer', async () => {
    const { questions, raw, type } = terminal()
    const asked = questions.ask(PORT)
    expect(raw).toEqual([true])
    type('60001\r')
    await asked
    expect(raw).toEqual([true, false])
  })

  it('leave no listener behind', async () => {
    const { questions, input, output, type } = terminal()
    const before = [input, output].map((stream) => stream.eventNames())
    type('60001\r1\r\r')
    await askAll(questions)
    questions.handOver()
    expect([input, output].map((stream) => stream.eventNames())).toEqual(before)
  })

  it('are interrupted by Ctrl-C, which names the question and ends its line', async () => {
    const { questions, output, raw, type } = terminal()
    const asked = questions.ask(ID)
    type('ali\u0003')
    const error = await asked.catch((error: unknown) => error)
    expect(error).toBeInstanceOf(QuestionInterrupted)
    expect(error).toMatchObject({ question: ID })
    expect(output.shown().endsWith('\n')).toBe(true)
    expect(raw.at(-1)).toBe(false)
  })

  it('are unanswered after Ctrl-D on an empty line', async () => {
    const { questions, raw, type } = terminal()
    const asked = questions.ask(ID)
    type('\u0004')
    await expect(asked).rejects.toBeInstanceOf(QuestionUnanswered)
    expect(raw.at(-1)).toBe(false)
  })

  it('are unanswered when the terminal goes away', async () => {
    const { questions, input, type } = terminal()
    const asked = questions.ask(ID)
    type('ali')
    input.end()
    await expect(asked).rejects.toBeInstanceOf(QuestionUnanswered)
  })

  it('are not edited, but asked again, when the output is a file', async () => {
    const input = Object.assign(new PassThrough(), { isTTY: true })
    const output = screen(false)
    const questions = new Questions({ input, output })
    input.write('here\n60001\nstatus\n')
    expect(await questions.ask(PORT, { check: checkPort })).toBe('60001')
    expect(output.shown()).toBe('Server port: \n"here" is not a port\nServer port: \n')
    input.end()
    expect(await text(questions.handOver())).toBe('status\n')
  })
})

describe('whoever asks', () => {
  it('asks one question at a time', async () => {
    const { questions } = piped(['60001\n'])
    const first = questions.ask(PORT)
    expect(() => questions.handOver()).toThrow('while a question waits')
    await expect(questions.ask(ID)).rejects.toThrow('before the question before it was answered')
    expect(await first).toBe('60001')
  })

  it('asks nothing after the input was handed over', async () => {
    const { questions } = piped(['60001\n'])
    questions.handOver()
    await expect(questions.ask(PORT)).rejects.toThrow('after the input was handed over')
    expect(() => questions.handOver()).toThrow('twice')
  })
})
