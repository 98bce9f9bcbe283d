import { expect, it } from 'vitest'
import { AddressBook } from '../../src/server/address-book.ts'

const address = { host: '127.0.0.1', port: 60002 }

it('a configured address learns who is said to listen there, and stays configured', () => {
  const book = new AddressBook('1')
  const entry = book.add(address, { isConfigured: true })
  expect(book.add(address, { isConfigured: false, id: '2' })).toBeUndefined()
  expect(entry).toEqual({ address, isConfigured: true, id: '2', isProven: false })
  book.add(address, { isConfigured: true })
  expect(entry?.id).toBe('2')
})

it("a server's own address is never an entry", () => {
  const book = new AddressBook('1')
  book.markOwn(address)
  expect(book.add(address, { isConfigured: true })).toBeUndefined()
})

it('where somebody has answered, it is not believed that it is another', () => {
  const book = new AddressBook('1')
  const entry = book.add(address, { isConfigured: false, id: '2', isProven: true })
  book.add(address, { isConfigured: false, id: '3' })
  expect(entry).toEqual({ address, isConfigured: false, id: '2', isProven: true })
  expect(book.kept).toEqual([{ ...address, id: '2', isProven: true }, { id: '3' }])
})
