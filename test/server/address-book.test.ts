import { expect, it } from 'vitest'
import { AddressBook } from '../../src/server/address-book.ts'

const address = { host: '127.0.0.1', port: 60002 }

it('a configured address learns who is said to listen there, and stays configured', () => {
  const book = new AddressBook()
  const entry = book.add(address, { isConfigured: true })
  expect(book.add(address, { isConfigured: false, id: '2' })).toBeUndefined()
  expect(entry).toEqual({ address, isConfigured: true, id: '2' })
  book.add(address, { isConfigured: true })
  expect(entry?.id).toBe('2')
})

it("a server's own address is never an entry", () => {
  const book = new AddressBook()
  book.markOwn(address)
  expect(book.add(address, { isConfigured: true })).toBeUndefined()
})
