import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HistoryFile, historyPath } from '../../src/terminal/history-file.ts'

let folder: string
let path: string

beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'tidings-history-'))
  path = join(folder, 'state', 'tidings', 'history')
})
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

const put = (text: string) => {
  fs.mkdirSync(dirname(path), { recursive: true })
  fs.writeFileSync(path, text, { mode: 0o600 })
}
const content = () => fs.readFileSync(path, 'utf8')
const mode = (path: string) => fs.statSync(path).mode & 0o777
const numbered = (count: number) => Array.from({ length: count }, (_, index) => `write x ${index + 1}`)

describe('the path of the history', () => {
  it('is under XDG_STATE_HOME', () => {
    expect(historyPath({ XDG_STATE_HOME: '/s' }, '/home/alice')).toBe(join('/s', 'tidings', 'history'))
  })

  it('is under ~/.local/state when XDG_STATE_HOME is unset, empty or relative', () => {
    const expected = join('/home/alice', '.local', 'state', 'tidings', 'history')
    expect(historyPath({}, '/home/alice')).toBe(expected)
    expect(historyPath({ XDG_STATE_HOME: '' }, '/home/alice')).toBe(expected)
    expect(historyPath({ XDG_STATE_HOME: 'state' }, '/home/alice')).toBe(expected)
  })
})

describe('a history file', () => {
  it('is empty at first, without a warning and without a file', () => {
    const history = new HistoryFile(path)
    expect(history.load()).toEqual([])
    expect(history.warning).toBeUndefined()
    expect(fs.existsSync(path)).toBe(false)
  })

  it('brings back the lines of earlier prompts, the oldest first', () => {
    const earlier = new HistoryFile(path)
    earlier.append('write x lost')
    earlier.append('read x')
    expect(new HistoryFile(path).load()).toEqual(['write x lost', 'read x'])
  })

  it('is shared by two prompts at once, and loses the lines of neither', () => {
    const [alice, bob] = [new HistoryFile(path), new HistoryFile(path)]
    alice.load()
    bob.load()
    alice.append('write x lost')
    bob.append('write z glad')
    alice.append('write y found')
    expect(new HistoryFile(path).load()).toEqual(['write x lost', 'write z glad', 'write y found'])
  })

  it.skipIf(process.platform === 'win32')('can be read by nobody but its owner', () => {
    new HistoryFile(path).append('read x')
    expect(mode(path)).toBe(0o600)
    expect(mode(dirname(path))).toBe(0o700)
  })

  it.skipIf(process.platform === 'win32')('is as private after it has been shortened', () => {
    put(`${numbered(13).join('\n')}\n`)
    new HistoryFile(path, { lineCountMax: 3 }).load()
    expect(mode(path)).toBe(0o600)
  })

  it.skipIf(process.platform === 'win32')('is made private when it was not', () => {
    put('read x\n')
    fs.chmodSync(path, 0o644)
    new HistoryFile(path).load()
    expect(mode(path)).toBe(0o600)
  })

  it('keeps a line that is repeated once', () => {
    const history = new HistoryFile(path)
    for (const line of ['read x', 'read x', 'read y', 'read x']) history.append(line)
    expect(content()).toBe('read x\nread y\nread x\n')
  })

  it('does not repeat the last line of the prompt before', () => {
    put('read x\n')
    const history = new HistoryFile(path)
    history.load()
    history.append('read x')
    expect(content()).toBe('read x\n')
  })

  it('shows a line once that two prompts appended one after the other', () => {
    put('read x\nread x\nread y\n')
    expect(new HistoryFile(path).load()).toEqual(['read x', 'read y'])
  })

  it('never holds a control character, and never more than one line for one line', () => {
    const history = new HistoryFile(path)
    history.append('write\tx one\r\ntwo\u001B[2J\u0000\u2028three\u009B')
    history.append(' \u0007 ')
    expect(content()).toBe('write x one two[2J three\n')
  })

  it('gives back no control character that somebody else put there', () => {
    put('read x\u001B[2J\r\n\u0007\n')
    expect(new HistoryFile(path).load()).toEqual(['read x[2J'])
  })

  it('leaves out a line that is very long', () => {
    const history = new HistoryFile(path, { lineBytesMax: 10 })
    history.append('write x 12345')
    history.append('read x')
    expect(content()).toBe('read x\n')
    expect(history.warning).toBeUndefined()
  })

  it('brings back the last lines only', () => {
    put(`${numbered(9).join('\n')}\n`)
    expect(new HistoryFile(path, { lineCountMax: 3 }).load()).toEqual(['write x 7', 'write x 8', 'write x 9'])
  })

  it('stays as it is up to four times its limit', () => {
    put(`${numbered(12).join('\n')}\n`)
    new HistoryFile(path, { lineCountMax: 3 }).load()
    expect(content().split('\n')).toHaveLength(13)
  })

  it('is shortened at a start when it is longer than that, and leaves no other file behind', () => {
    put(`${numbered(13).join('\n')}\n`)
    const history = new HistoryFile(path, { lineCountMax: 3 })
    expect(history.load()).toEqual(['write x 11', 'write x 12', 'write x 13'])
    expect(content()).toBe('write x 11\nwrite x 12\nwrite x 13\n')
    expect(fs.readdirSync(dirname(path))).toEqual(['history'])
    expect(history.warning).toBeUndefined()
  })

  it('takes the lines of a prompt that was open while another shortened it', () => {
    put(`${numbered(13).join('\n')}\n`)
    const open = new HistoryFile(path)
    open.load()
    open.append('read a')
    new HistoryFile(path, { lineCountMax: 3 }).load()
    open.append('read b')
    expect(content()).toBe('write x 12\nwrite x 13\nread a\nread b\n')
  })

  it.skipIf(process.platform === 'win32')(
    'may be a link, and still is one when it has been shortened',
    () => {
      const target = join(folder, 'kept-elsewhere')
      fs.writeFileSync(target, `${numbered(13).join('\n')}\n`)
      fs.mkdirSync(dirname(path), { recursive: true })
      fs.symlinkSync(target, path)
      new HistoryFile(path, { lineCountMax: 3 }).load()
      expect(fs.lstatSync(path).isSymbolicLink()).toBe(true)
      expect(fs.readFileSync(target, 'utf8')).toBe('write x 11\nwrite x 12\nwrite x 13\n')
    },
  )

  it('begins a new line after one that was written in part', () => {
    put('read x\nwrite y fou')
    const history = new HistoryFile(path)
    expect(history.load()).toEqual(['read x', 'write y fou'])
    history.append('read z')
    history.append('read y')
    expect(content()).toBe('read x\nwrite y fou\nread z\nread y\n')
  })

  it('reads no more than the end of an enormous file, and shortens it', () => {
    put(`${'x'.repeat(9 * 1024 * 1024)}\nread x\n`)
    expect(new HistoryFile(path).load()).toEqual(['read x'])
    expect(content()).toBe('read x\n')
  })

  it('warns once, and works on, when its folder cannot be made', () => {
    fs.writeFileSync(join(folder, 'state'), 'a file in the way')
    const history = new HistoryFile(path)
    expect(history.load()).toEqual([])
    const warning = history.warning
    expect(warning).toContain(path)
    history.append('read x')
    history.append('read y')
    expect(history.warning).toBe(warning)
  })

  it('warns when a folder bears its name', () => {
    fs.mkdirSync(path, { recursive: true })
    const history = new HistoryFile(path)
    expect(history.load()).toEqual([])
    history.append('read x')
    expect(history.warning).toMatch(/^cannot read the history .*not a regular file/u)
  })
})
